"""Cheap things stay cheap: each proof runs in a fresh interpreter, where nothing is loaded yet."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import registry

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("tensorflow", "tensorflow_datasets", "keras", "jax", "sklearn", "scipy", "matplotlib")
CHEAP = (
    "pipelines",
    "pipelines.cli",
    "pipelines.clusters",
    "pipelines.config",
    "pipelines.console",
    "pipelines.doctor",
    "pipelines.errors",
    "pipelines.jobs.queue",
    "pipelines.jobs.targets",
    "pipelines.machine",
    "pipelines.pairing",
    "pipelines.predictions",
    "pipelines.registry",
    "pipelines.report",
    "pipelines.runs",
    "pipelines.resuming",
    "pipelines.scoring",
    "pipelines.shards",
    "pipelines.sources",
    "pipelines.splits",
    "pipelines.task",
)


def run_python(code: str, *, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter whose first place to look for modules is `path`, then the repository."""
    lines = [f"import sys; sys.path[:0] = [{str(path)!r}, {str(ROOT)!r}]", code]
    command = [sys.executable, "-c", "\n".join(lines)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def loaded_by(module: str) -> list[str]:
    """Which heavy packages importing a module loads."""
    code = f"import {module}; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("module", CHEAP)
def test_runtime_module_loads_nothing_heavy(module: str) -> None:
    assert loaded_by(module) == []


@pytest.mark.parametrize("part", ["config", "data"])
@pytest.mark.parametrize("task", registry.TASKS)
def test_task_part_loads_nothing_heavy(task: str, part: str) -> None:
    assert loaded_by(f"tasks.{task.replace('-', '_')}.{part}") == []


@pytest.mark.parametrize("foreign", ["tasks.py", "tasks/__init__.py"])
def test_foreign_tasks_on_the_path_is_a_sentence(tmp_path: Path, foreign: str) -> None:
    """`tasks` is a common name: a user's own must not end in a traceback."""
    file = tmp_path / foreign
    file.parent.mkdir(exist_ok=True)
    file.write_text('"""Not ours."""\n', encoding="utf-8")
    code = (
        "from pipelines import errors, registry\n"
        "try:\n    registry.config_class('image-classification')\n"
        "except errors.ConfigError as error:\n    print(error)"
    )
    done = run_python(code, path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "not ours" in done.stdout
    assert str(tmp_path) in done.stdout


def test_namespace_folder_called_tasks_is_harmless(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    done = run_python("from pipelines import registry; registry.config_class('image-classification')", path=tmp_path)
    assert done.returncode == 0, done.stderr
