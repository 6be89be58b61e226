"""Tables of interactions: a row each, with the columns user and item, and perhaps rating and time."""

import difflib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.columns import (
    Cells,
    Head,
    Kind,
    Place,
    Texts,
    head,
    is_number,
    read_columns,
)
from pipelines.sources.tables import as_text, binary, table_suffix, translated
from pipelines.sources.times import read_times
from pipelines.task import Problem
from tasks.recommendation.data.interactions import Interactions

ROLES_CALLED = {
    "user": ("user", "user_id", "userid", "uid", "customer", "customer_id", "reviewerid", "visitorid", "session_id"),
    "item": (
        *("item", "item_id", "itemid", "iid", "sku", "product_id", "productid", "movie_id", "movieid", "book_id"),
        *("artist_id", "artistid", "track_id", "asin", "parent_asin", "business_id"),
    ),
    "rating": ("rating", "user_rating", "stars", "score", "overall"),
    "time": ("time", "timestamp", "ts", "date", "datetime", "unixreviewtime", "event_time"),
}
"""What columns are often called, where nobody maps them."""
_SEPARATORS = (b"\t", b"::", b"|", b";", b",")
_BIGGEST = {"seconds": 1e11, "milliseconds": 1e14, "microseconds": 1e17, "nanoseconds": 1e20}
_UNITS = {"seconds": 1.0, "milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
_NO_POSITION = str(2**64)
"""With it among the columns asked for, the first line of a table is never taken for names."""
_WRONG_SIGNS = {"\t": "tabs", "::": "'::'", "|": "'|'", ";": "';'", ",": "commas"}
_EARLIEST = 1e8
"""Seconds since 1970 are told from other numbers by their size: 1973 and later."""


@dataclass(frozen=True)
class Wanted:
    """How tables are read."""

    columns: dict[str, str]
    """Of a role, the column; none: they are looked for by the names that they often have."""
    encoding: str = "utf-8"


def read_rows(place: Place, wanted: Wanted) -> Interactions:
    """The interactions of a table.

    Raises:
        DataError: it is damaged, empty, or lacks a column.
    """
    place, first = look(replace(place, encoding=wanted.encoding), tuple(wanted.columns.values()))
    layout = wanted.columns or _recognised(place, first)
    _check(place.path, first, layout)
    _refuse_names(place.path, first, layout)
    _refuse_nested(place.path, first, layout)
    kinds: dict[str, Kind] = {layout["user"]: "text", layout["item"]: "text"}
    if "rating" in layout:
        kinds[layout["rating"]] = "number"
    if "time" in layout:
        kinds[layout["time"]] = _kind_of_time(first, layout["time"])
    columns = read_columns(place, kinds, first)
    cells = {role: columns.cells[name] for role, name in layout.items()}
    return from_cells(cells, layout, columns.where, columns.bad)


def look(place: Place, columns: tuple[str, ...] = ()) -> tuple[Place, Head]:
    """A table and its first rows. One that is no table by name has no line of names, unless its first cell is none of
    the kind that the others below it are; then its columns are known by position.

    Raises:
        DataError: it is damaged or empty.
    """
    if columns or table_suffix(place.path):
        bare = columns and all(name.isdecimal() for name in columns) and not table_suffix(place.path)
        place = replace(place, positions=(*columns, _NO_POSITION) if bare else columns)
        return place, head(place)
    without = replace(place, positions=("0", _NO_POSITION))
    first = head(without)
    top = [as_text(cell) for cell in first.rows[0]]
    named = not any(is_number(cell) for cell in top) and any(is_number(cell) for cell in first.rows[-1])
    return (place, head(place)) if named else (without, first)


def as_table(path: Path) -> Place:
    """A file of lines that are rows of a table, as u.data, ratings.dat or lastfm.train.rating, whatever stands between
    their values."""
    packed = path.name.lower().endswith(".gz")
    with translated(path), binary(path, packed) as file:
        start = file.readline()
        separator = next((one for one in _SEPARATORS if one in start), b" ")
        if separator in (b"\t", b","):
            return Place(path, format=(".tsv" if separator == b"\t" else ".csv") + (".gz" if packed else ""))
        content = (start + file.read()).replace(separator, b"\t")
    return Place(path, content=io.BytesIO(content), format=".tsv")


def _recognised(place: Place, first: Head) -> dict[str, str]:
    """By the names of the columns; of a file that is no table by name, by position."""
    found = {role: name for role in ROLES_CALLED if (name := called(role, first)) is not None}
    if "user" in found and "item" in found:
        return found
    width = len(first.names)
    if not table_suffix(place.path) and 2 <= width <= 4 and all(is_number(name) for name in first.names[2:]):
        return {role: str(at) for at, role in enumerate(("user", "item", "rating", "time")[:width])}
    if width == 1 and (sign := next((sign for sign in _WRONG_SIGNS if sign in first.names[0]), None)):
        raise DataError(
            f"{place.path} has one column, {first.names[0]!r:.80}: {_WRONG_SIGNS[sign]} stand between its values, as "
            "its name does not say; call it .tsv where they are tabs, else .dat."
        )
    missing = "user" if "user" not in found else "item"
    places = " ".join(f"{role}={at}" for at, role in enumerate(ROLES_CALLED) if at < width)
    raise DataError(
        f"{place.path} has no column called {missing!r} or the like ({', '.join(first.names[:8])}): map it with "
        f"--columns user=COLUMN item=COLUMN, by position where there is no line of names (--columns {places})."
    )


def _refuse_names(path: Path, first: Head, layout: dict[str, str]) -> None:
    """A line of names read as a row would be a user and an item of its own."""
    if not first.bare or not first.rows:
        return
    top = {role: as_text(first.rows[0][first.names.index(layout[role])]).strip() for role in ("user", "item")}
    if all(name.lower() in ROLES_CALLED[role] for role, name in top.items()):
        named = " ".join(f"{role}={name}" for role, name in top.items())
        raise DataError(
            f"{path} line 1 is a line of names ({', '.join(map(as_text, first.rows[0]))}), and columns are mapped by "
            f"position: map them by name (--columns {named})."
        )


def called(role: str, first: Head) -> str | None:
    """A column of a name that the role often has, however it is capitalised; RecBole writes the type behind it."""
    known = {name.partition(":")[0].strip().lower(): name for name in reversed(first.names)}
    return next((known[name] for name in ROLES_CALLED[role] if name in known), None)


def _check(path: Path, first: Head, layout: dict[str, str]) -> None:
    for role in ("user", "item"):
        if role not in layout:
            raise DataError(f"columns maps no {role}: add {role}=COLUMN; {path} has {', '.join(first.names[:20])}.")
    for role, name in layout.items():
        if name not in first.names:
            near = difflib.get_close_matches(name, first.names, n=1)
            there = f"did you mean {near[0]!r}? There are" if near else "there are"
            raise DataError(f"{path} has no column {name!r} (for {role}): {there} {', '.join(first.names[:20])}.")
    columns = list(layout.values())
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise DataError(f"columns maps {twice[0]!r} of {path} to two roles: keep one.")


def _refuse_nested(path: Path, first: Head, layout: Mapping[str, str]) -> None:
    """A list of items in a cell would be read as one item of that name."""
    for name in (layout["user"], layout["item"]):
        cells = [row[first.names.index(name)] for row in first.rows]
        nested = next((cell for cell in cells if isinstance(cell, list | dict)), None)
        if nested is not None:
            raise DataError(
                f"{path} holds more than an id in a cell of {name!r} ({nested!r:.60}): give each interaction a row."
            )


def _kind_of_time(first: Head, name: str) -> Kind:
    """Numbers as such; what Parquet knows to be times as times; else texts that are read as times."""
    cells = [row[first.names.index(name)] for row in first.rows]
    there = [cell for cell in cells if as_text(cell).strip()]
    if any(isinstance(cell, date) for cell in there):
        return "time"
    numbers = sum(is_number(cell) for cell in there)
    return "either" if 2 * numbers > len(there) and not _eight_digits(there) else "time"


def _eight_digits(cells: Sequence[object]) -> bool:
    """Dates as 20240131, which are no numbers."""
    texts = [as_text(cell).strip() for cell in cells]
    return all(len(text) == 8 and text[:2] in ("18", "19", "20") and "01" <= text[4:6] <= "12" for text in texts)


def from_cells(
    cells: Mapping[str, Cells], names: Mapping[str, str], where: Callable[[int], str], bad: list[Problem]
) -> Interactions:
    """Columns by role as interactions.

    Args:
        cells: of user and item texts, of rating numbers, of time numbers, texts or times.
        names: what the columns are called.
        where: the place of a row.
        bad: what is already known to be wrong.
    """
    users, items = cells["user"], cells["item"]
    assert isinstance(users, Texts)
    assert isinstance(items, Texts)
    wrong: dict[str, np.ndarray] = {"user": users.codes < 0, "item": items.codes < 0}
    rating = time = None
    dated = False
    told: dict[str, dict[int, str]] = {}
    if "rating" in cells:
        rating = np.asarray(cells["rating"]).astype(np.float32)
        wrong["rating"] = ~np.isfinite(rating)
        told["rating"] = dict.fromkeys(
            np.flatnonzero(np.isinf(rating)).tolist(), f"has a {names['rating']!r} that is no finite number: mend it."
        )
    if "time" in cells:
        time, dated, told["time"] = _times(cells["time"], users.codes)
        wrong["time"] = ~np.isfinite(time)
    bad, refused = _refused(where, names, wrong, told, bad)
    return Interactions(
        users.names, items.names, users.codes, items.codes, rating, time, dated, False, where, bad, refused
    )


def _times(cells: Cells, users: np.ndarray) -> tuple[np.ndarray, bool, dict[int, str]]:
    """(float64 [n], whether they are seconds since 1970, what is wrong with a row)."""
    if not len(users):
        return np.zeros(0), False, {}
    if isinstance(cells, np.ndarray):
        return _counted(cells, {})
    moments = read_times(cells, None, users)
    values = moments.values.astype(np.float64)
    if moments.wrong:
        values[list(moments.wrong)] = np.nan
    if moments.are_times:
        return values / 1e6, True, moments.wrong
    return _counted(values, moments.wrong)


def _counted(times: np.ndarray, wrong: dict[int, str]) -> tuple[np.ndarray, bool, dict[int, str]]:
    """Numbers as seconds, where they are as large as the time since 1970 is."""
    unit = _unit(times)
    if unit is None:
        return times, False, wrong
    mixed = _mixed_units(times, unit)
    seconds = times / unit
    seconds[list(mixed)] = np.nan
    return seconds, True, {**wrong, **mixed}


def _unit(values: np.ndarray) -> float | None:
    """How many make a second, where numbers are as large as the time since 1970 is in some unit."""
    there = values[np.isfinite(values)]
    if not len(there) or there.min() < _EARLIEST:
        return None
    return next((_UNITS[unit] for unit, most in _BIGGEST.items() if there.max() < most), None)


def _mixed_units(times: np.ndarray, unit: float) -> dict[int, str]:
    """Rows whose time is in another unit than the largest is: seconds read as milliseconds would be of 1970."""
    name = next(name for name, factor in _UNITS.items() if factor == unit)
    early = np.flatnonzero(times < _EARLIEST * unit).tolist()
    return {row: f"has the time {times[row]:.15g}, which is none in {name}, as others are: mend it." for row in early}


def _refused(
    where: Callable[[int], str],
    names: Mapping[str, str],
    wrong: dict[str, np.ndarray],
    told: Mapping[str, Mapping[int, str]],
    known: list[Problem],
) -> tuple[list[Problem], np.ndarray | None]:
    """What is wrong with which rows, each once, and where they are."""
    refused: np.ndarray = np.logical_or.reduce(list(wrong.values()))
    bad = list(known)
    if not refused.any():
        return bad, None
    named = {problem.where for problem in bad}
    for row in np.flatnonzero(refused).tolist():
        place = where(row)
        if place in named:
            continue
        role = next(role for role, rows in wrong.items() if rows[row])
        message = told.get(role, {}).get(row)
        bad.append(Problem("error", f"empty-{role}", place, message or f"has no {names[role]!r}: fill it in."))
    return bad, refused
