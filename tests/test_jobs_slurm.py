"""Jobs of a real Slurm: `make test-slurm`, after `tests/slurm/one_node.sh start` on a machine that has none."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipelines.cli import main
from pipelines.jobs import ledger, slurm
from pipelines.runs import Run

ROOT = Path(__file__).parent.parent
TASK = ["image-classification", "--backbone", "mlp", "--limit", "80", "--batch-size", "16"]
TRAINING = [*TASK, "--save-every", "1", "--steps-per-execution", "1"]
WORDS = [*TRAINING, "--epochs", "30", "--average-epochs", "3", "--average-which", "last"]
PATIENCE_SECONDS = 400.0


def partitions() -> str:
    """Those there are; '' where there is no Slurm that answers."""
    if shutil.which("sinfo") is None:
        return ""
    told = subprocess.run(
        ["sinfo", "--noheader", "--format=%R"], capture_output=True, text=True, check=False, timeout=60
    )
    return told.stdout


pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif("low" not in partitions(), reason="no Slurm of tests/slurm/one_node.sh answers"),
]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIXFOLD_JOBS", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def eventually(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, slurm.states([entry["id"] for entry in ledger.every()])
        time.sleep(0.5)


def submitted(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["submit", *map(str, words), "--to", "slurm", "--cpus", "1"]) == 0, capsys.readouterr().err
    return capsys.readouterr().out.strip()


def state(number: str) -> str:
    return slurm.states([number])[number]


def ended(number: str) -> None:
    """Well; one that waits to begin again does so now, and not after the two minutes that Slurm gives it."""

    def is_over() -> bool:
        now = state(number)
        assert "failed" not in now, (now, log(number))
        if now.startswith("queued"):
            subprocess.run(["scontrol", "update", f"jobid={number}", "StartTime=now"], check=False)
        return now == "finished"

    eventually(is_over)


def log(number: str) -> str:
    (entry,) = (one for one in ledger.every() if one["id"] == number)
    return "\n".join(file.read_text() for file in slurm.logs(Path(entry["folder"]) / "logs", number))


def sixfold(*words: object) -> None:
    command = [sys.executable, "-m", "pipelines.cli", *map(str, words)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nobody stops."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    sixfold("run", *WORDS, "--run-dir", folder)
    return folder


def test_a_preempted_run_ends_as_one_that_was_left_alone(
    whole: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number = submitted(capsys, *WORDS, "--run-dir", home / "run")
    run = Run(home / "run")
    eventually(lambda: len(run.checkpoints()) > 3)
    subprocess.run(["sbatch", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=sleep 3"], check=True)
    eventually(lambda: "DUE TO JOB REQUEUE" in log(number))
    assert "stopped by SIGTERM after step" in log(number)
    assert 0 < run.checkpoints()[-1]["step"] < 150
    ended(number)
    assert run.finished
    weights = [Run(one).events("trained")[-1]["weights"] for one in (whole, run.path)]
    assert [one["epoch"] for one in weights[0]] == [28, 29, 30]
    assert weights[0] == weights[1]


def test_shards_are_merged_into_what_one_process_predicts(
    whole: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = home / "pictures"
    pictures.mkdir()
    for index in range(23):
        Image.new("L", (8, 8), 10 * index).save(pictures / f"{index:02}.png")
    options = [whole, pictures, "--batch-size", 4]
    number = submitted(capsys, "predict", *options, "--output", home / "shards.jsonl", "--shards", 3)
    ended(number)
    sixfold("predict", *options, "--output", home / "one.jsonl")
    assert (home / "shards.jsonl").read_bytes() == (home / "one.jsonl").read_bytes()


def test_two_tasks_are_two_workers(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    number = submitted(capsys, *TASK, "--epochs", 3, "--workers", 2, "--run-dir", home / "run")
    ended(number)
    assert "device: 2 workers" in log(number)
    assert Run(home / "run").finished


def test_a_cancelled_run_has_saved_and_stays_cancelled(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    number = submitted(capsys, *TRAINING, "--epochs", 3000, "--run-dir", home / "run")
    eventually(lambda: len(Run(home / "run").checkpoints()) > 3)
    assert main(["cancel", number]) == 0
    eventually(lambda: "exit 75, not queued again" in log(number))
    eventually(lambda: state(number) == "cancelled")
    assert "its state saved" in log(number)


@pytest.mark.parametrize("asked", [["--partition", "nosuch"], ["--gpus", "9"], ["--nodes", "9"]])
def test_what_can_never_run_is_not_queued(home: Path, asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", *TASK, "--to", "slurm", "--run-dir", str(home / "run"), *asked]) == 2
    assert "sbatch refuses" in capsys.readouterr().err
    assert not (home / "run.job").exists()
    assert ledger.every() == []
