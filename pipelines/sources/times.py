"""When a row was: from the cells of a column to microseconds since 1970, or to numbers of steps."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.columns import Cells, Texts, Times, as_array

_FORMATS = (
    *("%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d", "%Y-%m-%d %H:%M", "%Y%m%d", "%Y%m%d %H:%M"),
    *("%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S"),
)
"""Besides ISO 8601. Those with slashes and the year last are read two ways: see _SLASHED."""
_SLASHED = ("%d/%m/%Y", "%m/%d/%Y")
_CLOCKS = ("", " %H:%M", " %H:%M:%S")
_EMPTY = "has no time: fill it in."
_YEAR_1000 = int(np.datetime64("1000-01-01", "us").astype(np.int64))
_OFFSET = r"[T:].*([Zz]|[+-]\d\d(:?\d\d)?)$"


@dataclass(frozen=True)
class Moments:
    """When each row was."""

    values: np.ndarray
    """int64 [n]: microseconds since 1970, in UTC where zoned; or numbers of steps."""
    are_times: bool
    zoned: bool
    wrong: dict[int, str]
    """Rows that cannot be placed in time, and why."""


def read_times(cells: Cells, zone: str | None, series: np.ndarray) -> Moments:
    """The moments of a column.

    Args:
        cells: of a column of the kind `time`.
        zone: of times that name none.
        series: int [n]: of each row. An hour that the clock strikes twice is told by which row of a series comes
            first.

    Raises:
        DataError: no format fits the column.
    """
    if isinstance(cells, Texts):
        moments = _from_texts(cells)
    elif isinstance(cells, Times):
        wrong = dict.fromkeys(np.flatnonzero(cells.missing).tolist(), _EMPTY)
        moments = Moments(cells.micro, True, cells.aware, wrong)
    else:
        raise TypeError("columns of times are read as texts or times")
    if zone is None or not moments.are_times or moments.zoned:
        return moments
    return _localised(moments, zone, series)


def _from_texts(texts: Texts) -> Moments:
    values, missing, zoned = _parsed(texts.names)
    wrong_names = np.append(missing, True)
    wrong = {
        row: f"has the time {texts.names[code]!r:.40}, which is none like the others: mend it." if code >= 0 else _EMPTY
        for row in np.flatnonzero(wrong_names[texts.codes]).tolist()
        for code in [int(texts.codes[row])]
    }
    return Moments(np.append(values, 0)[texts.codes], zoned is not None, bool(zoned), wrong)


def _parsed(names: list[str]) -> tuple[np.ndarray, np.ndarray, bool | None]:
    """(int64 [n], bool [n] of those that are not like the others, whether they have offsets; None: they are numbers).

    The first kind that fits more than half of them is theirs.
    """
    import pyarrow
    import pyarrow.compute as pc

    column = pyarrow.array(names, pyarrow.string())
    if numbers := _whole(names):
        return numbers[0], numbers[1], None
    aware = as_array(pc.match_substring_regex(column, _OFFSET), False)
    if aware.any() and not aware.all():
        one, other = names[int(np.argmin(aware))], names[int(np.argmax(aware))]
        raise DataError(
            f"some times name an offset ({other}) and some do not ({one}): give all of them one, or none and name the "
            "zone with --time-zone."
        )
    if aware.any():
        values, missing = _iso(column, "UTC")
        if missing.any():
            values, missing = _iso_singly(column, "UTC")
        return values, missing, True
    values, missing = _best(column, names)
    if missing.mean() > 0.5:
        values, missing = _slashed(column, names)
    if missing.mean() > 0.5:
        raise DataError(
            f"{names[int(np.argmax(missing))]!r:.40} and others like it are no times that can be read: write "
            "2020-12-31, 2020-12-31 23:59, 2020-12, 2020Q4 or whole numbers of steps."
        )
    return values, missing, False


def _whole(names: list[str]) -> tuple[np.ndarray, np.ndarray] | None:
    """Numbers, where most are; but not dates of eight digits."""
    digits = np.array([name.lstrip("-").isdecimal() and len(name) < 19 for name in names], bool)
    dates = [len(name) == 8 and name[:2] in ("18", "19", "20") and "01" <= name[4:6] <= "12" for name in names]
    if digits.mean() <= 0.5 or np.mean(dates) > 0.5:
        return None
    values = [int(name) if whole else 0 for name, whole in zip(names, digits.tolist(), strict=True)]
    return np.array(values, np.int64), ~digits


def _best(column: Any, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The format that fits the most of them, the first that fits all."""
    readers: list[Callable[[], tuple[np.ndarray, np.ndarray]]] = [
        lambda: _iso(column),
        *(partial(_with_format, column, one) for one in _FORMATS),
        lambda: _months(names),
        lambda: _iso_singly(column),
    ]
    tried = []
    for read in readers:
        values, missing = read()
        if not missing.any():
            return values, missing
        tried.append((values, missing))
    return min(tried, key=lambda one: int(one[1].sum()))


def _iso(column: Any, zone: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """All or none."""
    import pyarrow
    import pyarrow.compute as pc

    try:
        return _micro(pc.cast(column, pyarrow.timestamp("us", zone)))
    except pyarrow.ArrowInvalid:
        return np.zeros(len(column), np.int64), np.ones(len(column), bool)


def _iso_singly(column: Any, zone: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    import pyarrow

    found = [_one(name, zone) for name in column.to_pylist()]
    return _micro(pyarrow.array(found, pyarrow.timestamp("us", zone)))


def _one(name: str, zone: str | None) -> Any:
    """Where some are none: one at a time."""
    import pyarrow
    import pyarrow.compute as pc

    try:
        return pc.cast(pyarrow.scalar(name), pyarrow.timestamp("us", zone))
    except pyarrow.ArrowInvalid:
        return None


def _with_format(column: Any, format: str) -> tuple[np.ndarray, np.ndarray]:
    """A year of two digits is none: %Y would take 24 for the year 24."""
    import pyarrow.compute as pc

    values, missing = _micro(pc.strptime(column, format=format, unit="us", error_is_null=True))
    return values, missing | (values < _YEAR_1000)


def _slashed(column: Any, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Day or month first, as far as a day above 12 tells."""
    tried = [
        min((_with_format(column, order + clock) for clock in _CLOCKS), key=lambda one: int(one[1].sum()))
        for order in _SLASHED
    ]
    (days, day_missing), (months, month_missing) = tried
    if day_missing.sum() == month_missing.sum() and not day_missing.all() and not np.array_equal(days, months):
        raise DataError(f"{names[0]!r} may be day or month first, and no row tells: write dates as 2020-12-31.")
    return (days, day_missing) if day_missing.sum() <= month_missing.sum() else (months, month_missing)


def _months(names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """2020-12, 2020/12, 2020M12 and 2020Q4."""
    found = [re.fullmatch(r"(\d{4})\s*[-/ ]?\s*([QqMm]?)(\d{1,2})", name) for name in names]
    values = np.zeros(len(names), np.int64)
    missing = np.ones(len(names), bool)
    for row, match in enumerate(found):
        if match is None:
            continue
        month = 3 * int(match[3]) - 2 if match[2] in ("Q", "q") else int(match[3])
        if 1 <= month <= 12:
            values[row] = np.datetime64(f"{match[1]}-{month:02}", "us").astype(np.int64)
            missing[row] = False
    return values, missing


def _micro(column: Any) -> tuple[np.ndarray, np.ndarray]:
    import pyarrow

    return as_array(column.cast(pyarrow.int64()), 0), as_array(column.is_null(), True)


def _localised(moments: Moments, zone: str, series: np.ndarray) -> Moments:
    """In UTC. Of two rows of a series in the hour that the clock strikes twice, the first is the earlier."""
    different, places = np.unique(moments.values, return_inverse=True)
    early, late = _utc(different, zone, 0), _utc(different, zone, 1)
    # Where the clock is set forward, what it skips comes back as another time.
    skipped = _local(early, zone) != different
    values, twice = early[places], (early < late)[places]
    rows = np.flatnonzero(twice)
    pairs = np.stack([series[rows].astype(np.int64), moments.values[rows]])
    _, first = np.unique(pairs, axis=1, return_index=True)
    again = np.setdiff1d(rows, rows[first])
    values[again] = late[places[again]]
    gone = dict.fromkeys(np.flatnonzero(skipped[places]), f"is at a time that the clock of {zone} skips: mend it.")
    return Moments(values, True, True, {**moments.wrong, **{int(row): why for row, why in gone.items()}})


def _utc(local: np.ndarray, zone: str, fold: int) -> np.ndarray:
    place, start = ZoneInfo(zone), datetime(1970, 1, 1)
    offsets = [
        (start + timedelta(microseconds=micro)).replace(tzinfo=place, fold=fold).utcoffset() for micro in local.tolist()
    ]
    return local - np.array([_whole_micro(one) for one in offsets], np.int64)


def _local(utc: np.ndarray, zone: str) -> np.ndarray:
    place, start = ZoneInfo(zone), datetime(1970, 1, 1, tzinfo=UTC)
    offsets = [(start + timedelta(microseconds=micro)).astimezone(place).utcoffset() for micro in utc.tolist()]
    return utc + np.array([_whole_micro(one) for one in offsets], np.int64)


def _whole_micro(offset: timedelta | None) -> int:
    assert offset is not None
    return offset // timedelta(microseconds=1)
