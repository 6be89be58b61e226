"""Image data: from a source to splits of encoded images, and what is wrong with it. Imports no TensorFlow."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.folders import printable
from pipelines.splits import Splits, first
from pipelines.task import Assets, CheckReport, Data, Problem, Raw, Store
from tasks.image_classification.config import Config
from tasks.image_classification.data.assembly import (
    assemble,
    examine,
    given_rows,
    refuse_bad,
    refuse_unlabelled,
    split,
    summarise,
    untrained,
)
from tasks.image_classification.data.inputs import inputs
from tasks.image_classification.data.stores import ImageStore
from tasks.image_classification.data.unlabelled import load_unlabelled
from tasks.image_classification.networks import NETWORKS

__all__ = ["check_data", "inputs", "load_data", "load_test", "load_unlabelled", "references", "resolve"]

_LARGEST_OWN = 64
_USUAL = 96
_SMALLEST = 8


def load_data(config: Config, advance: Callable[[int, int], None] | None = None) -> Data:
    """The data of a run: train, valid and test as ImageStore, and assets {"classes": [names]}.

    Raises:
        DataError: a source cannot be used, or (on_bad: fail) an example.
    """
    examined = examine(config, advance)
    refuse_bad(config, examined.bad, examined.examples)
    data = assemble(config, examined, split(config, examined))
    if config.class_weights == "balanced":
        return replace(data, assets={**data.assets, "class_weights": _balanced_weights(data)})
    return data


def load_test(config: Config, assets: Assets) -> Data:
    """What a finished model is scored on, as the only split, test: all of config.data, or its test split if it has one.

    Raises:
        DataError: as load_data; also for labels that are no class of the model.
    """
    examined = examine(config, None, assets["classes"])
    refuse_bad(config, examined.bad, examined.examples)
    rows = examined.good["test"]
    if config.limit is not None:
        rows = rows[first(given_rows(examined, "test"), np.arange(len(rows)), config.limit)]
    if not len(rows):
        raise DataError(f"{printable(config.data)} holds no usable example to score.")
    refuse_unlabelled(examined, "test", rows)
    given = len(examined.good["test"]) + len(examined.bad)
    left_out = f", {len(examined.bad):,} left out as unusable" if examined.bad else ""
    protocol = (
        f"Scored on {len(rows):,} of the {given:,} examples given for the test in {printable(config.data)}{left_out}."
    )
    return assemble(config, examined, Splits({"test": ("test", rows)}, protocol, {"total": 0, "across_splits": 0}))


def check_data(config: Config, advance: Callable[[int, int], None] | None = None) -> CheckReport:
    """Everything that is wrong with the data of a run, in one pass; what load_data would stop at is an error.

    Args:
        config: names the sources.
        advance: told (done so far, total).

    Raises:
        DataError: a source as a whole cannot be used.
    """
    examined = examine(config, advance)
    level: Literal["error", "warning"] = "error" if config.on_bad == "fail" else "warning"
    problems = [replace(problem, level=level) for problem in examined.bad] + examined.warnings
    splits = None
    try:
        splits = split(config, examined)
    except DataError as error:
        problems = [Problem("error", "split", printable(config.data), str(error)), *problems]
    problems += untrained(config, examined, splits)
    return CheckReport(problems, summarise(config, examined, splits))


def resolve(config: Config, data: Data) -> Config:
    """image_size, color and augment filled in where the config leaves them to the data."""
    update: dict[str, Any] = {}
    if config.image_size is None:
        update["image_size"] = _default_size(config, data)
    if config.color == "auto":
        update["color"] = "grey" if set(data.summary["channels"]) == {"grey"} else "rgb"
    if config.augment == "auto":
        update["augment"] = "crop" if update.get("color", config.color) == "grey" else "flip-crop"
    return config.model_copy(update=update)


def references(store: Store) -> Raw:
    """The truth about every example: label int32 [n] or bool [n, classes]; group_by object [n], of texts, where scores
    are told apart."""
    images = cast(ImageStore, store)
    return {"label": images.label} | ({} if images.compared is None else {"group_by": images.compared})


def _balanced_weights(data: Data) -> list[float]:
    """Of each class in the loss: inverse to its share of train, so that all classes count the same."""
    counts = np.bincount(references(data.splits["train"])["label"], minlength=len(data.assets["classes"]))
    weights: list[float] = (counts.sum() / (len(counts) * np.maximum(counts, 1))).round(6).tolist()
    return weights


def _default_size(config: Config, data: Data) -> int:
    network = NETWORKS.get(config.backbone)
    if network is None:
        return _own_size(data.summary["image_sizes"])
    return network.usual if config.pretrained else max(network.least, _own_size(data.summary["image_sizes"]))


def _own_size(sizes: dict[str, Any]) -> int:
    """The images' own side if they are all alike, square and small."""
    width, height = sizes["min"]
    alike = sizes["distinct"] == 1 and width == height <= _LARGEST_OWN
    return max(width, _SMALLEST) if alike else _USUAL
