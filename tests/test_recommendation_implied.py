"""What the data and the backbone decide where nothing was set."""

from typing import Any

import pytest

from pipelines.task import Data
from tasks.recommendation import data
from tasks.recommendation.config import Config
from tasks.recommendation.implied import resolve

OF_A_RUN: dict[str, Any] = {"width": 64, "layers": 2, "heads": 2, "max_history": 50, "text_encoder": None}
"""With them nothing is left to be taken from a run that is not there."""


@pytest.fixture(scope="module")
def sample() -> dict[str, Data]:
    return {name: data.load_data(Config(backbone=name)) for name in ("mf", "neumf", "gru4rec", "two-tower", "sasrec")}


@pytest.mark.parametrize(
    ("backbone", "usual"),
    [
        ("mf", {"learning_rate": 0.005, "dropout": 0.0, "l2": 2e-4, "batch_size": 256, "loss": "softmax"}),
        ("neumf", {"learning_rate": 0.003, "negatives": 8, "batch_size": 64, "loss": "pointwise"}),
        ("gru4rec", {"learning_rate": 0.005, "batch_size": 32, "loss": "softmax"}),
        ("two-tower", {"learning_rate": 0.003, "batch_size": 256, "loss": "softmax"}),
        ("sasrec", {"learning_rate": 0.001, "batch_size": 32, "loss": "softmax"}),
    ],
)
def test_each_backbone_is_trained_as_suits_it(backbone: str, usual: dict[str, Any], sample: dict[str, Data]) -> None:
    found = resolve(Config(backbone=backbone), sample[backbone])
    assert {name: getattr(found, name) for name in usual} == usual
    again = resolve(Config(backbone=backbone, pretrained="somewhere", **OF_A_RUN), sample[backbone])
    assert again.learning_rate == usual["learning_rate"]  # not a tenth of it
    set_ = {"learning_rate": 0.02, "batch_size": 100, "negatives": 5}
    asked = resolve(Config(backbone=backbone, **set_), sample[backbone])
    assert {name: getattr(asked, name) for name in set_} == set_


@pytest.mark.parametrize(("users", "at_once"), [(5, 32), (600, 32), (1_090, 64), (2_500, 128), (22_363, 256)])
def test_of_few_users_an_update_sees_fewer(users: int, at_once: int, sample: dict[str, Data]) -> None:
    class Many:
        """A training split of so many."""

        def __len__(self) -> int:
            return users

    some = sample["sasrec"]
    changed = Data({**some.splits, "train": Many()}, some.assets, {}, "", "", {})  # type: ignore[dict-item]
    assert resolve(Config(backbone="sasrec"), changed).batch_size == at_once
