"""Runs whose weights are averaged: what is scored and kept, and the last epoch's weights beside it."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipelines import registry, run
from pipelines.report import write_report
from pipelines.runs import Run
from pipelines.state import load_arrays

pytestmark = pytest.mark.usefixtures("unserved")

SMALL = {"backbone": "mlp", "hidden": (8,), "limit": 60, "epochs": 3, "batch_size": 16, "baseline_iterations": 5}
KINDS: dict[str, dict[str, Any]] = {
    "last alone": {"average_which": "last"},
    "last two": {"average_epochs": 2, "average_which": "last", "score_last": True},
    "moving": {"average": 0.9, "score_last": True},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("averaging")
    for name, settings in KINDS.items():
        run("image-classification", **SMALL, **settings, run_dir=str(folder / name))
    return {name: folder / name for name in KINDS}


def metrics(folder: Path) -> Any:
    return json.loads((folder / "metrics.json").read_text())


def test_the_last_epoch_is_scored_as_a_run_without_an_average_would_be(runs: dict[str, Path]) -> None:
    """Calibration and all: no average changes what is trained."""
    alone = metrics(runs["last alone"])
    assert "last_epoch" not in alone
    for kind in ("last two", "moving"):
        found = metrics(runs[kind])
        assert found["last_epoch"] == {"epoch": 3, "scores": alone["scores"]}
        assert found["scores"] != alone["scores"]


def test_the_model_that_is_kept_has_the_mean_of_the_epochs(runs: dict[str, Path]) -> None:
    folder = runs["last two"]
    files = Run(folder).events("trained")[-1]["weights"]
    assert [one["epoch"] for one in files] == [2, 3]
    epochs = [load_arrays(folder / "state" / one["file"])[0] for one in files]
    model = keras.models.load_model(folder / "model" / "model.keras", compile=False)
    assert len(model.variables) == len(epochs[0])
    for variable, *arrays in zip(model.variables, *(epoch.values() for epoch in epochs), strict=True):
        if "float" in str(variable.dtype):
            np.testing.assert_array_equal(np.array(variable), np.mean(arrays, axis=0, dtype=np.float64).astype("f4"))


def test_the_report_says_which_weights_were_scored(runs: dict[str, Path]) -> None:
    page, alone = (write_report(runs[kind]).read_text() for kind in ("last two", "last alone"))
    assert "the mean of the weights of epochs 2 and 3 is what was scored" in page
    assert '<th class="n">epoch 3 as it is</th>' in page
    assert "as it is</th>" not in alone
    assert "epoch 3, not averaged" in (runs["last two"] / "MODEL_CARD.md").read_text()


def test_translation_scores_both_unless_told_otherwise() -> None:
    found = {task: registry.config_class(task).model_fields["score_last"].default for task in registry.TASKS}
    assert found == {task: task == "translation" for task in registry.TASKS}
