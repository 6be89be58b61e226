"""What lies between two steps: so much time, months, business days, or a count of something."""

import re
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np

from pipelines.errors import DataError

Unit = Literal["time", "month", "month end", "business day", "number"]

_MICRO = 1_000_000
HOUR = 3_600 * _MICRO
DAY = 24 * HOUR
_NAMED = {
    "second": _MICRO,
    "minute": 60 * _MICRO,
    "hour": HOUR,
    "day": DAY,
    "week": 7 * DAY,
}
"""Microseconds of each."""
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
_SHORT = {
    "s": "second",
    "sec": "second",
    "t": "minute",
    "min": "minute",
    "h": "hour",
    "d": "day",
    "w": "week",
    "b": "business day",
    "bd": "business day",
    "workday": "business day",
    "m": "month",
    "ms": "month",
    "me": "month",
    "q": "quarter",
    "qs": "quarter",
    "y": "year",
    "a": "year",
    "ys": "year",
    "hourly": "hour",
    "daily": "day",
    "weekly": "week",
    "monthly": "month",
    "quarterly": "quarter",
    "yearly": "year",
}
_WRITTEN = {"D": DAY, "m": 60 * _MICRO, "s": _MICRO, "us": 1}
_SEASONS = {"hour": 24, "day": 7, "business day": 5, "week": 52, "month": 12, "quarter": 4, "year": 1}
_REGULAR = 0.9
"""Share of neighbours that must be one step apart, where data are to have another frequency than a model."""
STEP = "step"
"""The name of steps that nobody said the length of."""


@dataclass(frozen=True)
class Frequency:
    """The steps of all series."""

    unit: Unit
    size: int
    """Microseconds, months, business days, or numbers from one step to the next."""
    name: str
    """'hour', '15 minutes', 'business day'; of numbers what they are said to count, else 'step'."""

    @property
    def season(self) -> int:
        """Steps after which things come again, as far as the frequency says."""
        if self.name in _SEASONS:
            return _SEASONS[self.name]
        known = parse(self.name)
        if known is not None and known.unit == "time" and known.size < DAY and not DAY % known.size:
            return DAY // known.size
        if known is not None and known.unit.startswith("month") and known.size < 12 and not 12 % known.size:
            return 12 // known.size
        return 1

    def steps(self, first: np.ndarray, times: np.ndarray) -> np.ndarray:
        """int64 [n]: which step after `first` each time is, or lies in; both int64 microseconds, or numbers."""
        if self.unit in ("time", "number"):
            return np.asarray((times - first) // self.size)
        if self.unit == "business day":
            return np.asarray(np.busday_count(_dates(first), _dates(times)) // self.size)
        return np.asarray((_month(times) - _month(first)) // self.size)

    def at(self, first: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """int64 [n]: the time of each step after `first`, the other way round."""
        if self.unit in ("time", "number"):
            return np.asarray(first + steps * self.size)
        day = first // DAY * DAY
        if self.unit == "business day":
            dates = np.busday_offset(_dates(first), steps * self.size, roll="forward")
            return np.asarray(_micro(dates) + first - day)
        months = (_month(first) + steps * self.size).astype("M8[M]")
        length = ((months + 1).astype("M8[D]") - months.astype("M8[D]")).astype(np.int64)
        wanted = (
            length if self.unit == "month end" else (_dates(first) - _dates(first).astype("M8[M]")).astype(np.int64) + 1
        )
        return np.asarray(_micro(months.astype("M8[D]") + np.minimum(wanted, length) - 1) + first - day)

    def told(self) -> dict[str, Any]:
        """As an asset: name, step, season, and unit and size to make it again."""
        return {
            "name": self.name, "step": self._spelt(), "season": self.season, "unit": self.unit, "size": self.size,
        }  # fmt: skip

    def _spelt(self) -> str:
        if self.unit == "time":
            return f"{self.size / _MICRO:g}s"
        unit = {"number": "step", "month end": "month"}.get(self.unit, self.unit)
        return f"{self.size} {unit}{'' if self.size == 1 else 's'}"


def from_asset(told: dict[str, Any]) -> Frequency:
    """The frequency that an asset tells of."""
    return Frequency(told["unit"], told["size"], told["name"])


def parse(text: str) -> Frequency | None:
    """'hour', '15 minutes', '15min', 'D', 'business day' as a frequency; None where it is none."""
    found = re.fullmatch(r"\s*(\d{0,6})\s*([a-zA-Z ]+?)\s*", text)
    if not found or found[1] and not int(found[1]):
        return None
    size, word = int(found[1] or 1), found[2].lower()
    word = _SHORT.get(word) or next((name for name in (word, word.removesuffix("s")) if name in _ALL), "")
    if not word:
        return None
    if word == STEP:
        return Frequency("number", size, STEP)
    if word == "business day":
        return Frequency("business day", size, _spell(size, word))
    if word in _MONTHS:
        return _of_months(size * _MONTHS[word])
    return Frequency("time", size * _NAMED[word], spell(size * _NAMED[word]))


_ALL = {*_NAMED, *_MONTHS, "business day", STEP}


def check(text: str) -> str:
    """The name of a frequency as it is written in run.yaml.

    Raises:
        ValueError: it is none.
    """
    if text.strip().lower() == "auto":
        return "auto"
    known = parse(text)
    if known is None:
        raise ValueError(
            f"{text!r} is no frequency: write auto, second, minute, hour, day, business day, week, month, quarter, "
            "year or step, with a number before it where it is not one, as in '15 minutes'"
        )
    return known.name


def spell(micro: int) -> str:
    """Microseconds in words: 'hour', '15 minutes', '0.5 seconds'."""
    for name in ("week", "day", "hour", "minute", "second"):
        if not micro % _NAMED[name]:
            return _spell(micro // _NAMED[name], name)
    return f"{micro / _MICRO:g} seconds"


def infer(series: np.ndarray, times: np.ndarray, are_times: bool) -> Frequency:
    """The frequency that most neighbours keep to.

    Args:
        series: int [n], ascending.
        times: int64 [n], microseconds or numbers, ascending within a series and each once.
        are_times: whether they are times.

    Raises:
        DataError: no series has two steps.
    """
    gaps = np.diff(times)[np.diff(series) == 0]
    if not len(gaps):
        raise DataError("no series has two steps, by which a frequency could be told: name it with --frequency.")
    usual = _usual(gaps)
    if not are_times:
        return Frequency("number", usual, STEP)
    days = usual // DAY
    if 28 <= days <= 31 or 89 <= days <= 92 or 365 <= days <= 366 or (days >= 28 and _calendar(series, times)):
        months = _usual(np.diff(_month(times))[np.diff(series) == 0])
        if months > 0 and (_calendar(series, times) or 7 * DAY * (days // 7) != usual):
            return _of_months(months, ends=_all_ends(times))
    if usual == DAY and _only_business_days(times):
        return Frequency("business day", 1, "business day")
    return Frequency("time", usual, spell(usual))


def keep(before: Frequency, series: np.ndarray, times: np.ndarray, are_times: bool) -> Frequency:
    """The frequency of further data: the one before, unless nearly all of their steps follow each other by another.

    Args:
        before: what a model was trained on.
        series, times, are_times: as of `infer`.

    Raises:
        DataError: they are of another kind than before, and no series has two steps.
    """
    same = np.diff(series) == 0
    start, following = times[:-1][same], times[1:][same]
    alike = are_times == (before.unit != "number")
    if alike and not len(start):
        return before
    found = infer(series, times, are_times)
    shares = [float(np.mean(one.at(start, np.ones_like(start)) == following)) for one in (found, before)]
    return before if alike and not (shares[0] > shares[1] and shares[0] >= _REGULAR) else found


def same(one: Frequency, other: Frequency) -> bool:
    """Whether steps are equally long; of numbers that nobody said the meaning of, whether as many lie between them."""
    if one.unit == "number" == other.unit:
        return one.size == other.size and (one.name == other.name or STEP in (one.name, other.name))
    return one.name == other.name and "number" not in (one.unit, other.unit)


def fit_ends(frequency: Frequency, times: np.ndarray) -> Frequency:
    """A frequency of months that somebody named, as the times are: at the ends of months or not."""
    if frequency.unit == "month" and len(times) and _all_ends(times):
        return Frequency("month end", frequency.size, frequency.name)
    return frequency


def may_be_clock(times: np.ndarray) -> np.ndarray:
    """bool [n]: whether clocks are set forward or back then in some countries: a Sunday's first hours."""
    days = times // DAY
    return np.asarray(((days + 3) % 7 == 6) & (times - days * DAY < 4 * HOUR))  # 1970-01-01: a Thursday


def _of_months(months: int, ends: bool = False) -> Frequency:
    word = next(name for name, size in (("year", 12), ("quarter", 3), ("month", 1)) if not months % size)
    return Frequency("month end" if ends else "month", months, _spell(months // _MONTHS[word], word))


def _calendar(series: np.ndarray, times: np.ndarray) -> bool:
    """Whether every series keeps to a day of the month, or to the ends of months."""
    if _all_ends(times):
        return True
    days = (_dates(times) - _dates(times).astype("M8[M]")).astype(np.int64)
    same = (np.diff(days) == 0) | (np.diff(series) != 0)
    return bool(same.all()) if days.max() < 28 else bool(np.mean(same) > 0.5)


def _all_ends(times: np.ndarray) -> bool:
    dates = _dates(times)
    return bool(((dates + 1).astype("M8[M]") != dates.astype("M8[M]")).all())


def _only_business_days(times: np.ndarray) -> bool:
    """Five days of each week, over more than one."""
    if len(times) > 28 and not _only_business_days(times[:28]):
        return False
    days = times // DAY
    weekday = (days + 3) % 7  # 1970-01-01 was a Thursday
    return bool((weekday < 5).all()) and int(days.max() - days.min()) >= 7


def _usual(gaps: np.ndarray) -> int:
    values, counts = np.unique(gaps, return_counts=True)
    return int(values[np.argmax(counts)])


def _dates(micro: np.ndarray) -> np.ndarray:
    return (np.asarray(micro) // DAY).astype("M8[D]")


def _month(micro: np.ndarray) -> np.ndarray:
    return _dates(micro).astype("M8[M]").astype(np.int64)


def _micro(dates: np.ndarray) -> np.ndarray:
    return dates.astype("M8[D]").astype(np.int64) * DAY


def _spell(count: int, name: str) -> str:
    return name if count == 1 else f"{count:,} {name}s"


def precision(first: np.ndarray, frequency: Frequency) -> str:
    """How much of a time is written: D, m, s or us, the least that tells all steps apart; '' for numbers."""
    if frequency.unit == "number":
        return ""
    step = frequency.size if frequency.unit == "time" else DAY
    return next(unit for unit, size in _WRITTEN.items() if not step % size and not (first % size).any())


def written(times: np.ndarray, precision: str) -> list[str]:
    """As people read them: '2018-02-20T00:00', or numbers."""
    if not precision:
        return [str(number) for number in times.tolist()]
    return cast("list[str]", times.astype("M8[us]").astype(f"M8[{precision}]").astype(str).tolist())
