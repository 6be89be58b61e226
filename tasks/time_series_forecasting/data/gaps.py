"""What is missing between a series' first value and its last: named, and filled as the settings say."""

from dataclasses import replace

import numpy as np

from pipelines.sources.columns import Texts
from pipelines.task import Problem
from tasks.time_series_forecasting.data.panel import Panel
from tasks.time_series_forecasting.data.rows import Covariate
from tasks.time_series_forecasting.frequency import HOUR, may_be_clock


def close(panel: Panel, fill: str) -> Panel:
    """The panel with its gaps filled, and a problem for each that is left.

    What is filled forward or along a line is something for the model to look at; it is no truth, and no error is
    measured by it. What is filled by 0 is taken for the truth, as of sales on days without any.
    """
    bad: list[Problem] = []
    inside = panel.step_of < np.repeat(panel.observed, panel.lengths)
    missing = np.isnan(panel.values) & inside[:, None]
    values, guessed = panel.values, None
    if missing.any():
        values = panel.values.copy()
        for channel in range(values.shape[1]):
            values[:, channel] = _filled(panel, values[:, channel], missing[:, channel], fill)
        left = np.isnan(values) & missing
        guessed = None if fill in ("none", "zero") else missing & ~left
        bad += _problems(panel, left, panel.channels, "missing-value", fill)
    columns = {**panel.columns}
    for role in ("known", "past"):
        columns[role] = {}
        for name, column in panel.columns[role].items():
            empty = column.codes < 0 if isinstance(column, Texts) else np.isnan(column)
            if role == "past":
                empty &= inside
            filled = _filled_covariate(panel, column, empty, fill, ahead=role == "known") if empty.any() else column
            columns[role][name] = filled
            if empty.any() and fill == "none":
                bad += _problems(panel, empty[:, None], [name], "missing-covariate", fill)
    return replace(panel, values=values, guessed=guessed, columns=columns, bad=panel.bad + bad)


def _filled(panel: Panel, column: np.ndarray, missing: np.ndarray, fill: str, ahead: bool = True) -> np.ndarray:
    """One column of numbers, filled where it is missing and can be."""
    if fill == "none":
        return column
    if fill == "zero":
        return np.where(missing, np.float32(0), column)
    place = np.arange(len(column))
    of = panel.of_step
    seen = ~np.isnan(column)
    before = np.maximum.accumulate(np.where(seen, place, -1))
    has_before = before >= panel.starts[of]
    carried = np.where(missing & has_before, column[before], column)
    if fill == "forward" or not ahead:
        return carried
    after = np.minimum.accumulate(np.where(seen, place, len(column))[::-1])[::-1]
    between = missing & has_before & (after < panel.starts[of + 1])
    left, right = before[between], after[between]
    share = (place[between] - left) / (right - left)
    carried[between] = column[left] + share * (column[right] - column[left])
    return carried


def _filled_covariate(panel: Panel, column: Covariate, missing: np.ndarray, fill: str, *, ahead: bool) -> Covariate:
    """Past covariates are never filled from what comes after; categories are carried forward."""
    if not isinstance(column, Texts):
        return _filled(panel, column, missing, fill, ahead)
    if fill in ("none", "zero"):
        return column
    numbers = np.where(column.codes < 0, np.nan, column.codes).astype(np.float64)
    carried = _filled(panel, numbers, missing, "forward")
    return Texts(np.where(np.isnan(carried), -1, carried).astype(np.int32), column.names)


def _problems(panel: Panel, missing: np.ndarray, names: list[str], kind: str, fill: str) -> list[Problem]:
    """One for each run of missing steps, and of missing cells beside others."""
    gone = missing.all(axis=1) & ~panel.there
    found = [
        _problem(
            panel, start, "missing-step", f"{_steps(length)} {'is' if length == 1 else 'are'} missing", fill, length
        )
        for start, length in _runs(panel, gone)
    ]
    for channel, name in enumerate(names):
        found += [
            _problem(panel, start, kind, f"{name!r} has no value in {_steps(length)}", fill)
            for start, length in _runs(panel, missing[:, channel] & ~gone)
        ]
    return found


def _steps(length: int) -> str:
    return f"{length:,} step{'' if length == 1 else 's'}"


def _problem(panel: Panel, start: int, kind: str, what: str, fill: str, length: int = 0) -> Problem:
    series = int(np.searchsorted(panel.starts, start, side="right")) - 1
    time = panel.written(np.array([series]), np.array([start - panel.starts[series]]))[0]
    row = "after " if kind == "missing-step" else ""
    where = f"series {panel.series[series]!r}, {row}{panel.rows(start)}"
    why = ", before its first value, where nothing can be carried on" if fill in ("forward", "linear") else ""
    clock = (
        ": where clocks were set forward then, name the --time-zone" if _by_clock(panel, series, start, length) else ""
    )
    return Problem("error", kind, where, f"{what} from {time} on{why}{clock}.")


def _by_clock(panel: Panel, series: int, start: int, length: int) -> bool:
    """Whether so many missing steps may be the hour that clocks skip in spring."""
    if panel.zoned or panel.frequency.unit != "time" or length * panel.frequency.size != HOUR:
        return False
    return bool(may_be_clock(panel.times(np.array([series]), np.array([start - panel.starts[series]])))[0])


def _runs(panel: Panel, missing: np.ndarray) -> list[tuple[int, int]]:
    """(start, length) of each run, none across two series."""
    places = np.flatnonzero(missing)
    if not len(places):
        return []
    of = np.searchsorted(panel.starts, places, side="right")
    breaks = np.flatnonzero((np.diff(places) > 1) | (np.diff(of) != 0)) + 1
    return [(int(run[0]), len(run)) for run in np.split(places, breaks)]
