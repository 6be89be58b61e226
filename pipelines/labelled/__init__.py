"""Labelled examples, whatever they are: from sources to splits, and what is wrong with them. Imports no TensorFlow.

`parts` is what a source was read into, `cells` and `labels` what its labels say, `findings` what is odd about the
whole, `assembly` puts it together. A task brings a Kind: how its sources are read and its examples stored.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, cast

import numpy as np

from pipelines.config import RunConfig
from pipelines.errors import DataError
from pipelines.labelled.assembly import (
    Kind,
    LabelledStore,
    assemble,
    examine,
    given_rows,
    refuse,
    refuse_unlabelled,
    split,
    summarise,
    untrained,
)
from pipelines.sources.folders import printable
from pipelines.splits import Splits, first
from pipelines.task import Assets, CheckReport, Data, Problem

__all__ = ["Kind", "LabelledStore", "check_data", "load_data", "load_test", "with_balanced_weights"]


def load_data(config: RunConfig, kind: Kind, advance: Callable[[int, int], None] | None = None) -> Data:
    """The data of a run: train, valid and test, and assets {"classes": [names]}.

    Raises:
        DataError: a source cannot be used, or (on_bad: fail) an example.
    """
    examined = examine(config, kind, advance)
    refuse(config, examined.bad, examined.examples)
    return assemble(config, examined, split(config, examined))


def load_test(config: RunConfig, kind: Kind, assets: Assets) -> Data:
    """What a finished model is scored on, as the only split, test: all of config.data, or its test split if it has one.

    Raises:
        DataError: as load_data; also for labels that are no class of the model.
    """
    examined = examine(config, kind, None, assets["classes"])
    refuse(config, examined.bad, examined.examples)
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


def check_data(config: RunConfig, kind: Kind, advance: Callable[[int, int], None] | None = None) -> CheckReport:
    """Everything that is wrong with the data of a run, in one pass; what load_data would stop at is an error.

    Args:
        config: names the sources.
        kind: of the task.
        advance: told (done so far, total).

    Raises:
        DataError: a source as a whole cannot be used.
    """
    examined = examine(config, kind, advance)
    level: Literal["error", "warning"] = "error" if config.on_bad == "fail" else "warning"
    problems = [replace(problem, level=level) for problem in examined.bad] + examined.warnings
    splits = None
    try:
        splits = split(config, examined)
    except DataError as error:
        problems = [Problem("error", "split", printable(config.data), str(error)), *problems]
    problems += untrained(config, examined, splits)
    return CheckReport(problems, summarise(config, examined, splits))


def with_balanced_weights(data: Data) -> Data:
    """The data with the asset `class_weights`: of each class in the loss, inverse to its share of train, so that all
    count the same."""
    labels = cast(LabelledStore, data.splits["train"]).label
    counts = np.bincount(labels, minlength=len(data.assets["classes"]))
    weights: list[float] = (counts.sum() / (len(counts) * np.maximum(counts, 1))).round(6).tolist()
    return replace(data, assets={**data.assets, "class_weights": weights})
