"""Tables of series: wide (a column each), long (series, time, value), and ragged (a line each, as M4 has them)."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.columns import Columns, Head, Kind, Place, Texts, head, is_number, opened, read_columns
from pipelines.sources.tables import as_text, table_suffix
from pipelines.sources.times import read_times
from pipelines.task import Problem
from tasks.time_series_forecasting.data.rows import COVARIATES, Rows, too_fine

_TIMES = ("time", "date", "ds", "timestamp", "datetime")
_SERIES = ("series", "unique_id")
_VALUES = ("value", "y")
"""What columns are often called, where nobody maps them."""
_PERIODS = ("hourly", "daily", "weekly", "monthly", "quarterly", "yearly")
_HOLDS_A_TIME = re.compile(r"\s*\d{4}\W?\d{1,2}\W?\d{1,2}.*|\s*\d{1,2}[./]\d{1,2}[./]\d{2,4}.*|\d{4}-?[Qq]?\d{1,2}")
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_COMMAS = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?|[-+]?\d*,\d+|[-+]?\d{1,3}(\.\d{3})+,\d*")
"""Numbers as they are written in some countries, and read by nothing here."""


@dataclass(frozen=True)
class Wanted:
    """How tables are read."""

    columns: dict[str, str]
    encoding: str = "utf-8"
    zone: str | None = None
    channels: tuple[str, ...] = ()
    """The columns that a finished model forecasts; none: those that are mapped, or all that are left."""
    inherited: bool = False
    """The mapping is a finished model's: a ragged table, which has no columns to map, may come in place of its."""


@dataclass(frozen=True)
class Layout:
    """Which column of a table is what."""

    time: str | None
    series: str | None
    values: list[str]
    covariates: dict[str, list[str]]

    @property
    def kinds(self) -> dict[str, Kind]:
        """What each column is to hold."""
        kinds: dict[str, Kind] = dict.fromkeys(self.values, "number")
        kinds |= {name: "either" for names in self.covariates.values() for name in names}
        if self.time is not None:
            kinds[self.time] = "time"
        return kinds if self.series is None else {**kinds, self.series: "text"}


def read_rows(place: Place, wanted: Wanted) -> Rows:
    """The rows of a table.

    Raises:
        DataError: it is damaged, empty, or lacks a column.
    """
    names = tuple(name for role in wanted.columns for name in _several(wanted.columns[role]))
    place = replace(place, encoding=wanted.encoding, positions=names)
    first = head(place)
    mapped = bool(names) and not (wanted.inherited and not set(names) & set(first.names))
    ragged = not mapped and _is_ragged(place.path, first)
    _check_first_line(place.path, first, ragged)
    if ragged:
        return _read_ragged(place)
    layout = _layout(place.path, first, wanted)
    columns = read_columns(place, layout.kinds, first)
    return _as_rows(place.path, columns, layout, wanted)


def _as_rows(path: Path, columns: Columns, layout: Layout, wanted: Wanted) -> Rows:
    single = layout.series is None
    name = layout.values[0] if len(layout.values) == 1 else stem(path)
    texts = Texts(np.zeros(len(columns), np.int32), [name])
    bad = list(columns.bad)
    if layout.series is not None:
        found = columns.cells[layout.series]
        assert isinstance(found, Texts)
        texts = found
        bad += [
            Problem("error", "empty-series", columns.where(int(row)), f"has no {layout.series!r}: fill it in.")
            for row in np.flatnonzero(texts.codes < 0)
        ]
    moments = None if layout.time is None else read_times(columns.cells[layout.time], wanted.zone, texts.codes)
    values = np.empty((len(columns), len(layout.values)), np.float32)
    with np.errstate(over="ignore"):
        for at, column in enumerate(layout.values):
            exact = columns.cells[column]
            assert isinstance(exact, np.ndarray)
            values[:, at] = exact
            lost = too_fine(exact, values[:, at], texts.codes, len(texts.names))
            bad += [_too_fine(columns.where(row), column, texts.names[texts.codes[row]]) for row in lost]
    covariates = {role: {one: columns.cells[one] for one in names} for role, names in layout.covariates.items()}
    return Rows(
        texts.names, texts.codes, list(layout.values), values, moments, columns.where, covariates, bad, single=single  # type: ignore[arg-type]
    )  # fmt: skip


def _too_fine(where: str, column: str, series: str) -> Problem:
    message = (
        f"begins {series!r}, whose numbers in {column!r} differ by less than 32 bits can tell: take the same amount "
        "off all of them, or write them in another unit."
    )
    return Problem("error", "too-fine", where, message)


def stem(path: Path) -> str:
    """A file's name without what says that it is a table."""
    return path.name[: len(path.name) - len(table_suffix(path))] or path.name


def _several(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _layout(path: Path, first: Head, wanted: Wanted) -> Layout:
    columns = wanted.columns
    time = columns.get("time") or _called(_TIMES, first) or _looks_like_time(first)
    series = columns.get("series") or _called(_SERIES, first)
    covariates = {role: _several(columns[role]) for role in COVARIATES if role in columns}
    taken = {time, series, *(name for names in covariates.values() for name in names)}
    if "value" in columns:
        values = _several(columns["value"])
    elif wanted.channels:
        values = list(wanted.channels)
    elif series is not None:
        values = [name for name in [_called(_VALUES, first)] if name is not None]
        if not values:
            raise DataError(
                f"{path} has series, and nobody says which column holds their values: map columns value=COLUMN; there "
                f"are {', '.join(name for name in first.names if name not in taken)}."
            )
    else:
        values = [name for name in first.names if name not in taken]
    layout = Layout(time, series, values, covariates)
    _check(path, first, layout, mapped="value" in columns or bool(wanted.channels))
    return layout


def _check(path: Path, first: Head, layout: Layout, *, mapped: bool) -> None:
    for name in layout.kinds:
        if name not in first.names:
            near = difflib.get_close_matches(name, first.names, n=1)
            there = f"did you mean {near[0]!r}? There are" if near else "there are"
            raise DataError(f"{path} has no column {name!r}: {there} {', '.join(first.names[:20])}.")
    if not layout.values:
        raise DataError(f"{path} holds no column of values: there are only {', '.join(first.names)}.")
    used = [name for name in (layout.time, layout.series) if name] + layout.values
    used += [name for names in layout.covariates.values() for name in names]
    twice = [name for name in used if used.count(name) > 1]
    if twice:
        raise DataError(f"columns maps {twice[0]!r} of {path} to two roles: keep one.")
    for name in layout.values:
        if cells := _texts_in(first, name):
            _check_texts(f"{path} holds", name, cells, layout, mapped)


def _check_texts(where: str, name: str, cells: list[str], layout: Layout, mapped: bool) -> None:
    """A column of values without a single number."""
    shown = f"in {name!r} ({cells[0]!r:.40})"
    if all(_COMMAS.fullmatch(cell) for cell in cells):
        raise DataError(
            f"{where} numbers with commas {shown}: write a point before decimals, and nothing between thousands."
        )
    if mapped:
        return
    if layout.time is None and all(_HOLDS_A_TIME.fullmatch(cell) for cell in cells):
        raise DataError(f"{where} times {shown}: map columns time={name}.")
    if layout.series is not None:
        raise DataError(f"{where} texts {shown}, where numbers belong: map columns value=COLUMN.")
    raise DataError(
        f"{where} texts {shown}, and every column of a wide table is a series: map it as what it is (time, series, "
        "known, past or static), or name the series with columns value=COLUMN,COLUMN."
    )


def _texts_in(first: Head, name: str) -> list[str]:
    """What a column holds in the first rows, where none of it is a number."""
    cells = [row[first.names.index(name)] for row in first.rows]
    return [] if any(is_number(cell) for cell in cells) else [text for cell in cells if (text := as_text(cell).strip())]


def _check_first_line(path: Path, first: Head, ragged: bool) -> None:
    """See that a text table is parted where it should be, and that its first line holds names."""
    suffix = table_suffix(path).removesuffix(".gz")
    mark = next((mark for mark in _SEPARATORS if mark in first.names[0]), None)
    if suffix == ".csv" and len(first.names) == 1 and mark is not None:
        raise DataError(
            f"{path} parts its columns by {_SEPARATORS[mark]}, and a .csv is read by commas: write commas between "
            "columns, and points before decimals."
        )
    if suffix in (".csv", ".tsv") and not first.bare and _are_values(first.names, ragged):
        raise DataError(
            f"{path} line 1 holds values where the names of the columns belong ({', '.join(first.names[:3])}): put a "
            "line of names before it, or map columns by position, as in time=0 value=1."
        )


def _are_values(names: list[str], ragged: bool) -> bool:
    """Whether they are values: numbers behind a time, or numbers alone (of a ragged table behind a name), unless these
    are whole and ascend, as names may well."""
    if _HOLDS_A_TIME.fullmatch(names[0]) and not is_number(names[0]):
        return all(is_number(name) for name in names[1:])
    numbers = names[1:] if ragged else names
    if not all(is_number(name) for name in numbers):
        return False
    whole = all(name.strip().isdecimal() for name in numbers)
    return not whole or any(int(later) <= int(name) for name, later in pairwise(numbers))


def _called(known: Sequence[str], first: Head) -> str | None:
    """A column of one of these names, however it is capitalised."""
    lower = {name.lower(): name for name in reversed(first.names)}
    return next((lower[name] for name in known if name in lower), None)


def _looks_like_time(first: Head) -> str | None:
    """The first column, where its cells are times."""
    cells = [as_text(row[0]) for row in first.rows]
    return first.names[0] if cells and all(_HOLDS_A_TIME.fullmatch(cell) for cell in cells) else None


def _is_ragged(path: Path, first: Head) -> bool:
    """Whether each line is a series: a name and then its values, of which some have more than others."""
    if table_suffix(path).removesuffix(".gz") not in (".csv", ".tsv") or len(first.names) < 3:
        return False
    if _called(_TIMES, first) or _called(_SERIES, first):
        return False
    names = [str(row[0]).strip() for row in first.rows]
    if 2 * len(set(names)) <= len(names) or any(is_number(name) or _HOLDS_A_TIME.fullmatch(name) for name in names):
        return False
    return all(is_number(row[1]) or not row[1].strip() for row in first.rows)


def _read_ragged(place: Place) -> Rows:
    """Empty cells at a line's end are no values; those between values are missing ones."""
    names: list[str] = []
    values: list[np.ndarray] = []
    numbers: list[int] = []
    bad: list[Problem] = []
    known: set[str] = set()
    with opened(place) as table:
        for number, row in table.rows(table.names):
            if isinstance(row, Problem):
                bad.append(row)
                continue
            name = str(row[0]).strip()
            if name in known:
                message = f"is the second of {name!r}: keep one."
                bad.append(Problem("error", "duplicate-series", f"{place.path} line {number}", message))
                continue
            known.add(name)
            names.append(name)
            numbers.append(number)
            exact = _numbers(place.path, number, row, bad)
            with np.errstate(over="ignore"):
                values.append(exact.astype(np.float32))
            if too_fine(exact, values[-1], np.zeros(len(exact), np.int32), 1):
                bad.append(_too_fine(f"{place.path} line {number}", "value", name))
    lengths = np.array([len(one) for one in values], np.int64)
    of = np.repeat(np.arange(len(names), dtype=np.int32), lengths)
    starts = np.cumsum(lengths) - lengths

    def where(row: int) -> str:
        series = int(of[row])
        return f"{place.path} line {numbers[series]} value {row - int(starts[series]) + 1}"

    flat = np.concatenate([*values, np.empty(0, np.float32)])[:, None]
    period = next((period for period in _PERIODS if period in place.path.name.lower()), None)
    return Rows(names, of, ["value"], flat, None, where, bad=bad, hint=period)


def _numbers(path: Path, line: int, row: list[str], bad: list[Problem]) -> np.ndarray:
    last = next((at for at in range(len(row) - 1, 0, -1) if row[at].strip()), 0)
    cells = row[1 : last + 1]
    try:
        return np.array(cells, np.float64)
    except ValueError:
        found = np.full(len(cells), np.nan)
        for at, cell in enumerate(cells):
            if is_number(cell):
                found[at] = float(cell)
            elif cell.strip():
                message = f"holds {cell!r:.40} as value {at + 1} of {row[0]!r}, where a number belongs: mend it."
                bad.append(Problem("error", "no-number", f"{path} line {line}", message))
        return found
