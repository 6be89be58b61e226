"""The hand-written pages name what is there."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from pipelines import registry
from pipelines.task import Task

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_adding_a_task_explains_every_field_of_the_record() -> None:
    page = (ROOT / "docs" / "adding-a-task.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert sorted(explained) == sorted(field.name for field in fields(Task))


@pytest.mark.parametrize("page", PAGES)
def test_links_to_files_lead_somewhere(page: str) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text(encoding="utf-8"))
    assert [target for target in targets if not (ROOT / page).parent.joinpath(target).exists()] == []


@pytest.mark.parametrize("task", registry.TASKS)
def test_a_readme_of_a_task_lists_its_files(task: str) -> None:
    folder = registry.folder(task)
    table = (folder / "README.md").read_text(encoding="utf-8").partition("## Files\n")[2]
    (data,) = (line for line in table.splitlines() if line.startswith("| `data/`"))
    there = {place: {file.stem for file in place.glob("[a-z]*.py")} for place in (folder, folder / "data")}
    assert set(re.findall(r"`(\w+)\.py`", table)) == there[folder]
    assert set(re.findall(r"`(\w+)`", data)) == there[folder / "data"]


def test_every_task_has_the_files_that_all_have() -> None:
    """Those that docs/adding-a-task.md names."""
    page = (ROOT / "docs" / "adding-a-task.md").read_text(encoding="utf-8")
    promised = set(re.findall(r"^\| `([\w/]+\.py)` \|", page, re.MULTILINE))
    assert len(promised) > 10
    folders = [registry.folder(task) for task in registry.TASKS]
    assert [str(folder / name) for folder in folders for name in promised if not (folder / name).is_file()] == []
