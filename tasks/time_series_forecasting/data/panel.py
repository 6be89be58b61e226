"""A panel: all series end to end, one row a step, nothing left out between a series' first step and its last."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.columns import Texts
from pipelines.task import Problem
from tasks.time_series_forecasting.data.rows import COVARIATES, Covariate, Rows, taken
from tasks.time_series_forecasting.frequency import (
    DAY,
    STEP,
    Frequency,
    fit_ends,
    infer,
    keep,
    may_be_clock,
    parse,
    precision,
    written,
)

_SPARSE = 20
"""Steps for each row above which the frequency must be wrong."""
_MOST_STEPS = 10_000_000
"""Numbers above which they are seconds since 1970, or dates without marks, rather than steps."""
_SPOKEN = {"valid": "validation", "test": "test"}


@dataclass(frozen=True)
class Panel:
    """Series end to end."""

    series: list[str]
    channels: list[str]
    starts: np.ndarray
    """int64 [series + 1]: where each begins in the columns."""
    values: np.ndarray
    """float32 [steps, channels]; NaN where there is none."""
    first: np.ndarray
    """int64 [series]: the time of the first step, or its number."""
    frequency: Frequency
    zoned: bool
    """Times are in UTC."""
    ends: dict[str, np.ndarray]
    """What each piece was given as (train, valid, test) -> int64 [series]: the steps up to its last value."""
    columns: dict[str, dict[str, Covariate]]
    """known, past -> name -> [steps]; static -> name -> [series]: float32 with NaN, or texts."""
    rows: Callable[[int], str]
    """A step by its place in the columns -> the row it was read from, or the one before."""
    present: np.ndarray | None = None
    """bool [steps]: whether there was a row; None: everywhere."""
    guessed: np.ndarray | None = None
    """bool [steps, channels]: filled in from neighbours, so that it can be looked at but is no truth; None: none is."""
    bad: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    @property
    def lengths(self) -> np.ndarray:
        """int64 [series]: steps with what comes behind the last value."""
        return np.asarray(np.diff(self.starts))

    @property
    def observed(self) -> np.ndarray:
        """int64 [series]: steps up to the last value of any channel."""
        return np.asarray(np.max(np.stack(list(self.ends.values())), axis=0))

    @property
    def of_step(self) -> np.ndarray:
        """int32 [steps]: the series of each."""
        return np.asarray(np.repeat(np.arange(len(self.series), dtype=np.int32), self.lengths))

    @property
    def step_of(self) -> np.ndarray:
        """int64 [steps]: the number of each in its series."""
        return np.asarray(np.arange(int(self.starts[-1])) - np.repeat(self.starts[:-1], self.lengths))

    @property
    def there(self) -> np.ndarray:
        """bool [steps]: whether there was a row."""
        return np.ones(int(self.starts[-1]), bool) if self.present is None else self.present

    @property
    def are_times(self) -> bool:
        """Whether steps have times."""
        return self.frequency.unit != "number"

    @cached_property
    def precision(self) -> str:
        """How much of a time is written."""
        return precision(self.first, self.frequency)

    def times(self, series: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """int64 [n]: when each step of each series is, however far."""
        return self.frequency.at(self.first[series], steps)

    def written(self, series: np.ndarray, steps: np.ndarray) -> list[str]:
        """The same for people."""
        return written(self.times(series, steps), self.precision)


def build(pieces: dict[str, Rows], together: Rows, frequency: str | Frequency) -> Panel:
    """The series that rows make.

    Args:
        pieces: train, valid, test: in the order of time.
        together: all of them joined, in that order.
        frequency: by name, or auto; that of a finished model gives way where the rows keep to another.

    Raises:
        DataError: rows do not follow each other by any frequency.
    """
    piece = np.repeat(np.arange(len(pieces)), [len(rows) for rows in pieces.values()])
    bad = list(together.bad)
    rows, piece = _usable(together, piece, bad)
    if not len(rows):
        why = f", as {bad[0].where}: {bad[0].message}" if bad else ": nothing to read."
        raise DataError(f"no row of the data can be used{why}")
    warnings: list[Problem] = []
    order = _order(rows, warnings)
    if (np.diff(order) != 1).any():
        rows, piece = taken(rows, order), piece[order]
    _check_order(rows, piece, list(pieces))
    warnings += _large_numbers(rows)
    rows, piece = _without_twice(rows, piece, bad)
    found = _frequency(rows, frequency)
    series, of = np.unique(rows.of, return_inverse=True)
    starts = np.searchsorted(of, np.arange(len(series)))
    times = rows.moments.values if rows.moments else np.arange(len(rows)) - starts[of]
    first = times[starts]
    steps = found.steps(first[of], times)
    rows, steps, of, piece = _on_grid(rows, found, first, (steps, of, piece), bad)
    return _filled_in(rows, found, (of, steps, piece), first, list(pieces), (bad, warnings), series)


def _usable(rows: Rows, piece: np.ndarray, bad: list[Problem]) -> tuple[Rows, np.ndarray]:
    """Without rows that are of no series or of no time."""
    good = rows.of >= 0
    if rows.moments and rows.moments.wrong:
        wrong = rows.moments.wrong
        bad += [Problem("error", "bad-time", rows.where(row), why) for row, why in wrong.items()]
        good[list(wrong)] = False
    return (rows, piece) if good.all() else (taken(rows, np.flatnonzero(good)), piece[good])


def _order(rows: Rows, warnings: list[Problem]) -> np.ndarray:
    """Rows by series and time; a warning where they stand otherwise."""
    if rows.moments is None:
        return np.argsort(rows.of, kind="stable")
    by_series = np.argsort(rows.of, kind="stable")
    same = np.diff(rows.of[by_series]) == 0
    back = np.flatnonzero(same & (np.diff(rows.moments.values[by_series]) < 0))
    for at in back[:1].tolist():
        row = int(by_series[at + 1])
        more = f", as {len(back) - 1:,} more do" if len(back) > 1 else ""
        message = f"stands after a later step of {rows.series[rows.of[row]]!r}{more}: steps were sorted by time."
        warnings.append(Problem("warning", "unsorted-rows", rows.where(row), message))
    return np.lexsort((rows.moments.values, rows.of)) if len(back) else by_series


def _check_order(rows: Rows, piece: np.ndarray, names: list[str]) -> None:
    """What is given as the test must come behind what is trained on."""
    back = np.flatnonzero((np.diff(rows.of) == 0) & (np.diff(piece) < 0))
    if not len(back):
        return
    at = int(back[0])
    further = names[int(piece[at])]
    raise DataError(
        f"{rows.where(at)}, given for the {_SPOKEN.get(further, further)}, is not after all that comes before it: "
        f"{rows.where(at + 1)} of {rows.series[rows.of[at]]!r} is later. A further source must go on where the data "
        "end."
    )


def _large_numbers(rows: Rows) -> list[Problem]:
    """A warning where what are read as numbers of steps may be times."""
    if rows.moments is None or rows.moments.are_times or abs(int(rows.moments.values[0])) < _MOST_STEPS:
        return []
    number = int(rows.moments.values[0])
    message = f"has {number} as its time, which is read as a number of steps: write 2020-12-31 23:59 if it is a time."
    return [Problem("warning", "large-steps", rows.where(0), message)]


def _without_twice(rows: Rows, piece: np.ndarray, bad: list[Problem]) -> tuple[Rows, np.ndarray]:
    """Without rows of a step that stands before."""
    if rows.moments is None:
        return rows, piece
    twice = np.flatnonzero((np.diff(rows.of) == 0) & (np.diff(rows.moments.values) == 0)) + 1
    if not len(twice):
        return rows, piece
    when = written(rows.moments.values[twice], _shown(rows))
    by_clock = may_be_clock(rows.moments.values[twice]) & (rows.moments.are_times and not rows.moments.zoned)
    for row, time, back in zip(twice.tolist(), when, by_clock.tolist(), strict=True):
        remedy = "keep one, or, where clocks were set back then, name the --time-zone" if back else "keep one"
        message = f"is the second of {rows.series[rows.of[row]]!r} at {time}, after {rows.where(row - 1)}: {remedy}."
        bad.append(Problem("error", "duplicate-step", rows.where(row), message))
    kept = np.setdiff1d(np.arange(len(rows)), twice)
    return taken(rows, kept), piece[kept]


def _shown(rows: Rows) -> str:
    """How times are written of which no frequency is known."""
    return "s" if rows.moments and rows.moments.are_times else ""


def _frequency(rows: Rows, name: str | Frequency) -> Frequency:
    if isinstance(name, Frequency):
        return _as_before(rows, name)
    if rows.moments is None:
        known = parse(rows.hint or "") if name == "auto" else parse(name)
        return Frequency("number", 1, known.name if known else STEP)
    times, are_times = rows.moments.values, rows.moments.are_times
    if name == "auto":
        return infer(rows.of, times, are_times)
    known = parse(name)
    assert known is not None
    if are_times and known.unit == "number":
        raise DataError(f"frequency {name} is for numbers of steps, and the data have times: name one of time.")
    if not are_times:
        size = known.size if known.unit == "number" else infer(rows.of, times, False).size
        return Frequency("number", size, known.name)
    return fit_ends(known, times)


def _as_before(rows: Rows, before: Frequency) -> Frequency:
    """That of a finished model, unless the rows keep to another."""
    if rows.moments is not None:
        return keep(before, rows.of, rows.moments.values, rows.moments.are_times)
    named = parse(rows.hint or "")
    return Frequency("number", 1, named.name if named else before.name if before.unit == "number" else STEP)


Placed = tuple[np.ndarray, np.ndarray, np.ndarray]
"""step, series and piece of each row."""


def _on_grid(
    rows: Rows, frequency: Frequency, first: np.ndarray, placed: Placed, bad: list[Problem]
) -> tuple[Rows, np.ndarray, np.ndarray, np.ndarray]:
    """Without rows that lie between two steps."""
    steps, of, piece = placed
    if rows.moments is None:
        return rows, steps, of, piece
    odd = np.flatnonzero(frequency.at(first[of], steps) != rows.moments.values)
    if not len(odd):
        return rows, steps, of, piece
    if 2 * len(odd) > len(rows):
        remedy = "name another --frequency, or bring them to regular times."
        if rows.moments.zoned and frequency.unit == "time" and not frequency.size % DAY:
            remedy = (
                "days of a zone with summer time are not all as long, so write dates, without offset or --time-zone."
            )
        raise DataError(
            f"the times are irregular: of {len(rows):,} rows {len(odd):,} are not a whole number of steps "
            f"({frequency.name}) after their series' first, as {rows.where(int(odd[0]))}: {remedy}"
        )
    when = written(rows.moments.values[odd], _shown(rows))
    for row, time in zip(odd.tolist(), when, strict=True):
        message = (
            f"of {rows.series[rows.of[row]]!r} is at {time}, which is no whole number of steps ({frequency.name}) "
            "after the first: mend it, or name another --frequency."
        )
        bad.append(Problem("error", "irregular", rows.where(row), message))
    kept = np.setdiff1d(np.arange(len(rows)), odd)
    return taken(rows, kept), steps[kept], of[kept], piece[kept]


def _filled_in(
    rows: Rows,
    frequency: Frequency,
    placed: Placed,
    first: np.ndarray,
    pieces: list[str],
    found: tuple[list[Problem], list[Problem]],
    series: np.ndarray,
) -> Panel:
    """Every step in its place, and NaN where there was no row."""
    of, steps, piece = placed
    lengths = np.zeros(len(series), np.int64)
    np.maximum.at(lengths, of, steps + 1)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    total = int(starts[-1])
    if total > _SPARSE * len(rows) + 1_000:
        raise DataError(
            f"the times are irregular: {len(rows):,} rows would be {total:,} steps ({frequency.name}): name the "
            "--frequency."
        )
    place = starts[of] + steps
    bad = found[0]
    values = rows.values
    if np.isinf(values).any():
        values = values.copy()
        for row, channel in zip(*(one.tolist() for one in np.nonzero(np.isinf(values))), strict=True):
            message = f"holds a number in {rows.channels[channel]!r} that is too large: mend it."
            bad.append(Problem("error", "infinite", rows.where(row), message))
        values[np.isinf(values)] = np.nan
    whole = total == len(rows) and bool((np.diff(place) == 1).all())
    present = None if whole else np.zeros(total, bool)
    if present is not None:
        present[place] = True
    panel = Panel(
        [rows.series[code] for code in series.tolist()],
        rows.channels,
        starts,
        values if whole else _spread(values, place, total),
        first,
        frequency,
        bool(rows.moments and rows.moments.zoned),
        _ends(values, (of, steps, piece), pieces, len(series)),
        {},
        lambda step: rows.where(max(int(np.searchsorted(place, step, side="right")) - 1, 0)),
        present,
        bad=bad,
        warnings=found[1],
    )
    return replace(panel, columns=_columns(rows, place, total, (of, starts), bad))


def _ends(values: np.ndarray, placed: Placed, pieces: list[str], series: int) -> dict[str, np.ndarray]:
    """The steps of each series up to the last value of each piece."""
    of, steps, piece = placed
    seen = ~np.isnan(values).all(axis=1)
    ends: dict[str, np.ndarray] = {}
    before = np.zeros(series, np.int64)
    for number, name in enumerate(pieces):
        mine = seen & (piece == number)
        end = before.copy()
        np.maximum.at(end, of[mine], steps[mine] + 1)
        ends[name] = before = end
    return ends


def _spread(values: np.ndarray, place: np.ndarray, total: int) -> np.ndarray:
    grid = np.full((total, *values.shape[1:]), np.nan, np.float32)
    grid[place] = values
    return grid


def _columns(
    rows: Rows, place: np.ndarray, total: int, placed: tuple[np.ndarray, np.ndarray], bad: list[Problem]
) -> dict[str, dict[str, Covariate]]:
    of, starts = placed
    columns: dict[str, dict[str, Covariate]] = {role: {} for role in COVARIATES}
    for role in ("known", "past"):
        for name, column in rows.covariates.get(role, {}).items():
            if isinstance(column, Texts):
                codes = np.full(total, -1, np.int32)
                codes[place] = column.codes
                columns[role][name] = Texts(codes, column.names)
            else:
                columns[role][name] = _spread(column.astype(np.float32), place, total)
    for name, column in rows.covariates.get("static", {}).items():
        columns["static"][name] = _of_series(rows, name, column, of, len(starts) - 1, bad)
    return columns


def _of_series(rows: Rows, name: str, column: Covariate, of: np.ndarray, series: int, bad: list[Problem]) -> Covariate:
    """What is the same in every row of a series: the first that says something."""
    cells = column.codes if isinstance(column, Texts) else column
    there = np.flatnonzero(cells >= 0 if isinstance(column, Texts) else ~np.isnan(cells))
    first = np.full(series, -1, np.int64)
    codes, at = np.unique(of[there], return_index=True)
    first[codes] = there[at]
    other = there[cells[there] != cells[first[of[there]]]]
    for code, at_row in zip(*np.unique(of[other], return_index=True), strict=True):
        row = int(other[at_row])
        message = (
            f"says another {name!r} of {rows.series[rows.of[row]]!r} than {rows.where(int(first[code]))}: keep one."
        )
        bad.append(Problem("error", "static-varies", rows.where(row), message))
    if isinstance(column, Texts):
        return Texts(np.where(first >= 0, cells[first], -1).astype(np.int32), column.names)
    return np.where(first >= 0, cells[first], np.nan).astype(np.float32)
