"""tensorboard/: what the ledger says, read by TensorFlow's own reader of event files; nothing twice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from pipelines import resume, run
from pipelines.runs import Run
from pipelines.tracking import Tracking
from tests.conftest import stopped_at

pytestmark = pytest.mark.usefixtures("unserved")

SETTINGS: dict[str, Any] = {"limit": 160, "epochs": 4, "batch_size": 16, "backbone": "mlp"}
QUICK = {"steps_per_execution": 2, "jit": "off"}


def events(folder: Path) -> Iterator[Any]:
    """Those of the one event file of a folder."""
    (file,) = folder.glob("*tfevents*")
    yield from tf.compat.v1.train.summary_iterator(str(file))


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """By tag, (step, value) in order."""
    found: dict[str, list[tuple[int, float]]] = {}
    for event in events(folder):
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def hold_against_the_ledger(folder: Path) -> None:
    """Each epoch stands once in train and valid, each step once."""
    ledger, board = Run(folder), folder / "tensorboard"
    for split in ("train", "valid"):
        found = scalars(board / split)
        for name in ledger.events("epoch")[0][split]:
            expected = [(one["step"], one[split][name]) for one in ledger.events("epoch")]
            assert [step for step, _ in found[name]] == [step for step, _ in expected]
            assert [value for _, value in found[name]] == pytest.approx([value for _, value in expected])
    steps = scalars(board / "steps")
    assert [step for step, _ in steps["loss"]] == [one["step"] for one in ledger.events("step")]
    assert set(steps) >= {"loss", "learning_rate"}


def test_a_stopped_run_goes_on_without_a_step_twice(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with stopped_at(14):
        run("image-classification", run_dir=str(folder), **SETTINGS, **QUICK)
    assert 0 < len(Run(folder).events("epoch")) < 4
    hold_against_the_ledger(folder)
    assert not (folder / "tensorboard" / "test").exists()
    resume(folder)
    assert len(Run(folder).events("epoch")) == 4
    hold_against_the_ledger(folder)
    metrics = Run(folder).read_json("metrics.json")
    test = scalars(folder / "tensorboard" / "test")
    last = Run(folder).events("epoch")[-1]["step"]
    assert test["accuracy"] == [(last, pytest.approx(metrics["scores"]["accuracy"]["value"]))]


def test_what_was_trained_and_lost_is_forgotten(tmp_path: Path) -> None:
    """A killed process wrote two epochs; the one that goes on does the second again."""
    ledger = Run(tmp_path)
    first = Tracking(ledger)
    first.begin()
    for epoch in (1, 2):
        first.add(ledger.record("epoch", epoch=epoch, step=10 * epoch, train={"loss": 1.0}, valid={"loss": 1.5}))
    ledger.record("resume", epoch=1, step=10)
    again = Tracking(ledger)
    again.begin()
    again.add(ledger.record("epoch", epoch=2, step=20, train={"loss": 0.25}, valid={"loss": 2.5}))
    again.close()
    board = tmp_path / "tensorboard"
    assert scalars(board / "train") == {"loss": [(10, 1.0), (20, 0.25)]}
    assert scalars(board / "valid") == {"loss": [(10, 1.5), (20, 2.5)]}
    kinds = [one.WhichOneof("what") for one in events(board / "train")]
    assert kinds == ["file_version", "session_log", "summary", "summary"]


def test_scores_of_a_run_without_epochs_stand_at_0(tmp_path: Path) -> None:
    for value in (0.5, 0.25):
        Tracking(Run(tmp_path)).add_test({"ndcg@10": {"value": value}, "empty": {"value": None}})
        assert scalars(tmp_path / "tensorboard" / "test") == {"ndcg@10": [(0, value)]}
