"""docs/adding-a-task.md, followed: its blocks are written down as a package of somebody else's, which is installed and
run by the document's own commands, in processes of their own."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.runs import Run

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "adding-a-task.md").read_text(encoding="utf-8")
TASK = "tabular-regression"
FILES = dict(re.findall(r"^`([\w./-]+)`\n\n```\w+\n(.*?^)```$", PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^\$ (.*)$", PAGE, re.MULTILINE)
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


class Newcomer:
    """A person with the package's folder, and an environment that it was installed into."""

    def __init__(self, home: Path) -> None:
        self.home, self.site = home, home / "site"
        self.env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(self.site), str(ROOT)])}

    def sixfold(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "pipelines.cli", *words]

    def do(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.home, env=self.env, capture_output=True, text=True, check=False, timeout=560
        )

    def follow(self, line: str) -> str:
        """What a command of the document prints. Ours is run as a module, and pip finds nothing outside: the build
        backend is here, and so is what is depended on."""
        program, *words = shlex.split(line)
        offline = ("--no-deps", "--no-index", "--no-build-isolation", "--target", str(self.site))
        done = self.do(*([*PIP, *words, *offline] if program == "pip" else self.sixfold(*words)))
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    """The files of the document, written down."""
    home = tmp_path_factory.mktemp("newcomer")
    for name, text in FILES.items():
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(text, encoding="utf-8")
    return Newcomer(home)


@pytest.fixture(scope="module")
def said(newcomer: Newcomer) -> dict[str, str]:
    """Every command of the document, in its order, and what it printed."""
    return {line: newcomer.follow(line) for line in COMMANDS}


def test_every_block_is_a_file_or_the_commands() -> None:
    blocks = re.findall(r"^```(\w+)$", PAGE, re.MULTILINE)
    assert len(blocks) == len(FILES) + 1
    assert blocks.count("console") == 1
    verbs = [line.split()[1] for line in COMMANDS]
    assert verbs == ["install", "tasks", "data", "run", "predict", "evaluate", "verify"]


def test_its_code_keeps_the_house_rules(newcomer: Newcomer) -> None:
    ruff = [sys.executable, "-m", "ruff"]
    config = ("--no-cache", "--config", str(ROOT / "pyproject.toml"), ".")
    for words in (["check"], ["format", "--check"]):
        done = newcomer.do(*ruff, *words, *config)
        assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_its_types_fit_the_record(newcomer: Newcomer) -> None:
    config = ("--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", os.devnull)
    newcomer.env["MYPYPATH"] = str(ROOT)
    done = newcomer.do(sys.executable, "-m", "mypy", "--strict", *config, "-p", "tabular_regression")
    assert done.returncode == 0, done.stdout


def test_it_is_listed_behind_ours(said: dict[str, str]) -> None:
    assert said["sixfold tasks"].splitlines()[-1] == f"{TASK}       Predict a number from the other numbers of a row."


def test_its_data_can_be_checked(newcomer: Newcomer, said: dict[str, str]) -> None:
    assert "0 errors" in said[f"sixfold data check {TASK}"]
    table = newcomer.home / "bad.csv"
    table.write_text("a,b,target\n" + "1,2,3\n2,3,4\n3,4,5\n1,,3\n1,2\n", encoding="utf-8")
    done = newcomer.do(*newcomer.sixfold("data", "check", TASK, "--data", table.name, "--split", "1,1,1"))
    assert done.returncode == 3
    assert "bad.csv line 5: it lacks a number" in done.stdout
    assert "bad.csv line 6: has 2 values" in done.stdout


def test_its_run_is_whole_and_beats_its_baseline(newcomer: Newcomer, said: dict[str, str]) -> None:
    folder = newcomer.home / "first"
    assert {"report.html", "MODEL_CARD.md", "model", "predictions.jsonl"} <= {file.name for file in folder.iterdir()}
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["scores"]["rmse"]["high"] < metrics["baseline"]["scores"]["rmse"]["low"]
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "Predicted and true" in report
    assert "linear regression" in report
    assert json.loads((folder / "manifest.json").read_text())["versions"][TASK] == "0.1.0"
    assert "as the run left them" in said["sixfold verify first"]
    assert f"{metrics['scores']['rmse']['value']:.4f}" in said["sixfold evaluate first"]


def test_it_predicts_in_order(newcomer: Newcomer, said: dict[str, str]) -> None:
    records = [json.loads(line) for line in said["sixfold predict first new.csv"].splitlines()]
    assert [record["id"] for record in records] == ["new.csv line 2", "new.csv line 3"]
    truths = [7.93, 17.01]  # of the function that the sample was made with
    assert [record["predicted"] for record in records] == pytest.approx(truths, abs=2)
    (newcomer.home / "gap.csv").write_text("x1,x2,x3,x4,x5\n.1,,.3,.4,.5\n", encoding="utf-8")
    done = newcomer.do(*newcomer.sixfold("predict", "first", "gap.csv", "nowhere.csv", "--max-bad", "1"))
    assert [set(json.loads(line)) for line in done.stdout.splitlines()] == [{"id", "error"}] * 2


def test_a_stopped_run_goes_on_to_the_same_bits(newcomer: Newcomer, said: dict[str, str]) -> None:
    (line,) = (line for line in said if line.startswith("sixfold run"))
    words = newcomer.sixfold(*shlex.split(line.replace("first", "stopped"))[1:])
    child = subprocess.Popen(words, cwd=newcomer.home, env=newcomer.env, stderr=subprocess.PIPE, text=True)
    run, ends = Run(newcomer.home / "stopped"), time.monotonic() + 240
    while not run.events("epoch"):
        assert time.monotonic() < ends
        time.sleep(0.02)
    child.send_signal(signal.SIGTERM)
    _, told = child.communicate(timeout=240)
    assert child.returncode == 75, told
    assert "its state saved: go on with sixfold resume stopped" in told
    assert run.finished_stages() == ["data"]
    resumed = newcomer.do(*newcomer.sixfold("resume", "stopped"))
    assert resumed.returncode == 0, resumed.stderr
    other = Run(newcomer.home / "first")
    assert run.events("trained")[-1]["weights"] == other.events("trained")[-1]["weights"]
    for file in ("metrics.json", "predictions.jsonl", "run.yaml"):
        assert (run.path / file).read_bytes() == (other.path / file).read_bytes(), file


def test_two_tasks_of_one_name_are_a_sentence(newcomer: Newcomer, said: dict[str, str], tmp_path: Path) -> None:
    del said
    about = tmp_path / "other-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 0.1\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(f"[sixfold.tasks]\n{TASK} = other\n", encoding="utf-8")
    both = Newcomer(newcomer.home)
    both.env["PYTHONPATH"] += os.pathsep + str(tmp_path)
    done = both.do(*both.sixfold("tasks"))
    assert done.returncode == 2
    assert f"both bring a task {TASK}: uninstall" in done.stderr
    assert "other" in done.stderr


def test_a_task_without_its_package_is_a_sentence(tmp_path: Path) -> None:
    about = tmp_path / "site" / "other-0.1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 0.1\n", encoding="utf-8")
    (about / "entry_points.txt").write_text("[sixfold.tasks]\nother = not_there\n", encoding="utf-8")
    newcomer = Newcomer(tmp_path)
    done = newcomer.do(*newcomer.sixfold("run", "other"))
    assert done.returncode == 2
    assert "task other of the package other has no module not_there: install it again." in done.stderr
