"""Inputs that each go with a text to be found: a sentence and its translation, a recording and its transcript. From
sources to splits, and what is wrong with them. Imports no TensorFlow.

`parts` is what a source was read into, `findings` what is odd about the whole, `assembly` puts it together. A task
brings a Kind: how its sources are read and its examples stored.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

from pipelines.config import RunConfig
from pipelines.errors import DataError
from pipelines.paired.assembly import Kind, assemble, examine, given_rows, refuse, split, summarise
from pipelines.sources.folders import printable
from pipelines.splits import Splits, first
from pipelines.task import CheckReport, Data, Problem

__all__ = ["Kind", "check_data", "load_data", "load_test"]


def load_data(config: RunConfig, kind: Kind, advance: Callable[[int, int], None] | None = None) -> Data:
    """The data of a run: train, valid and test, without assets.

    Raises:
        DataError: a source cannot be used, or (on_bad: fail) an example.
    """
    examined = examine(config, kind, advance)
    refuse(config, examined)
    return assemble(config, examined, split(config, examined))


def load_test(config: RunConfig, kind: Kind) -> Data:
    """What a finished model is scored on, as the only split, test: all of config.data, or its test split if it has one.

    Raises:
        DataError: as load_data.
    """
    examined = examine(config, kind, None, testing=True)
    refuse(config, examined)
    rows = examined.good["test"]
    if config.limit is not None:
        rows = rows[first(given_rows(examined, "test"), np.arange(len(rows)), config.limit)]
    if not len(rows):
        raise DataError(f"{printable(config.data)} holds no usable example to score.")
    left_out = f", {len(examined.bad):,} left out as unusable" if examined.bad else ""
    given = len(examined.good["test"]) + len(examined.bad)
    protocol = (
        f"Scored on {len(rows):,} of the {given:,} examples given for the test in {printable(config.data)}{left_out}."
    )
    return assemble(config, examined, Splits({"test": ("test", rows)}, protocol, {}))


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
    return CheckReport(problems, summarise(config, examined, splits))
