"""Series from tables to windows, and what is wrong with them. Imports no TensorFlow.

What a store fetches for n windows, of lookback L, horizon H and C channels:

    past, future               float32 [n, L, C], [n, H, C]: in units, 0 where unseen; no future in predict
    past_seen, future_seen     uint8, of the same shapes: 1 where observed
    time                       object [n, H], of bytes: when each step ahead is; in predict alone
    center, scale              float32 [n, C]: of the window's series, fitted on its training steps
    past_covariates            float32 [n, L, P]; known_covariates [n, L + H, K]; static_covariates [n, S]: where
                               there are any
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, cast

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.folders import printable
from pipelines.task import Assets, CheckReport, Data, Problem, Raw, Store
from tasks.time_series_forecasting.config import Config
from tasks.time_series_forecasting.data.assembly import (
    assemble,
    assemble_test,
    examine,
    refuse,
    split,
    summarise,
)
from tasks.time_series_forecasting.data.inputs import inputs
from tasks.time_series_forecasting.data.spans import untested
from tasks.time_series_forecasting.data.stores import WindowStore
from tasks.time_series_forecasting.data.unlabelled import load_unlabelled as unlabelled_of

__all__ = ["check_data", "inputs", "load_data", "load_test", "load_unlabelled", "references"]


def load_data(config: Config, advance: Callable[[int, int], None] | None = None) -> Data:
    """The data of a run: train, valid and test, and the assets channels, series, scaler, frequency, covariates, coding.

    Raises:
        DataError: a source cannot be used, or (on_bad: fail) a part of it.
    """
    examined = examine(config, advance)
    refuse(config, examined)
    return assemble(config, examined, *split(config, examined.panel))


def load_unlabelled(config: Config, data: Data) -> Data:
    """What config.pretrain_on has to learn from, as the split train alone. Raises DataError as load_data."""
    return unlabelled_of(config, data, load_data)


def load_test(config: Config, assets: Assets) -> Data:
    """What a finished model is scored on, as the only split, test: the test of config.data, or all of it where it has
    none.

    Raises:
        DataError: as load_data.
    """
    examined = examine(config, None, assets)
    refuse(config, examined)
    return assemble_test(config, examined, assets)


def check_data(config: Config, advance: Callable[[int, int], None] | None = None) -> CheckReport:
    """Everything that is wrong with the data of a run, in one pass; what load_data would stop at is an error.

    Raises:
        DataError: a source as a whole cannot be used.
    """
    examined = examine(config, advance)
    level: Literal["error", "warning"] = "error" if config.on_bad == "fail" else "warning"
    problems = [replace(problem, level=level) for problem in examined.bad]
    try:
        spans, windows = split(config, examined.panel)
    except DataError as error:
        problems = [Problem("error", "split", printable(config.data), str(error)), *problems, *examined.warnings]
        return CheckReport(problems, summarise(config, examined, {}))
    warnings = examined.warnings + untested(examined.panel, windows, config.lookback)
    data = assemble(config, examined, spans, windows)
    return CheckReport(problems + warnings, data.summary)


def references(store: Store) -> Raw:
    """The truth about every window of a split: future, future_seen, center, scale, as fetched; series and origin (the
    number of the first step ahead), int64 [n]; naive_error and naive_squared, float64 [n, C], of the value a season
    before, in the training steps; last_season float32 [n, m, C], what a seasonal naive forecast says of the first m
    steps, m the shorter of season and horizon; and group_by, where scores are told apart."""
    return cast(WindowStore, store).truth(np.arange(len(store)))
