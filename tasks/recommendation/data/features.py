"""What tables of users and items say of them: categories, sets of them, numbers and texts, as a model takes them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import DataError
from pipelines.sources import locate
from pipelines.sources.columns import Cells, Place, Texts, read_columns
from pipelines.sources.folders import printable
from pipelines.sources.tables import as_text, table_suffix
from pipelines.task import Problem
from tasks.recommendation.data.packing import packed
from tasks.recommendation.data.tables import as_table, called, look

_TITLES = ("title", "name", "product_title", "movie_title")
_SET = "|"
"""Between the categories of one cell, as in Action|Comedy."""
_MOST_CATEGORIES = 10_000
_FEW_CATEGORIES = 50


@dataclass(frozen=True)
class Table:
    """What a table says of users, or of items."""

    path: Path
    names: list[str]
    """Of the users or items, each once."""
    columns: dict[str, Cells]
    """[rows], as the names."""
    title: str | None
    """Which column people know an item by."""
    bad: list[Problem]


def read_features(spec: str, role: str, encoding: str) -> Table:
    """A table of users or items.

    Args:
        spec: the file.
        role: user or item.
        encoding: of a table that is text.

    Raises:
        DataError: it is damaged or has no features.
    """
    source = locate(spec, lines=True)
    if source.kind not in ("table", "lines"):
        raise DataError(f"{role}s {spec} is no table: give a .csv, .tsv, .jsonl or .parquet, each also .gz.")
    place = Place(source.path) if table_suffix(source.path) else as_table(source.path)
    place, first = look(replace(place, encoding=encoding))
    key = called(role, first) or first.names[0]
    others = [name for name in first.names if name != key]
    if not others:
        raise DataError(f"{source.path} holds ids alone ({key!r}): give columns that say something of {role}s.")
    read = read_columns(place, {key: "text", **dict.fromkeys(others, "either")}, first)
    names = read.cells[key]
    assert isinstance(names, Texts)
    keep, bad = _once(names, role, read.where)
    columns = {name: _rows(read.cells[name], keep) for name in others}
    titles = [name for name in _TITLES for column in others if column.lower() == name]
    title = next((column for name in titles for column in others if column.lower() == name), None)
    return Table(
        source.path, [names.names[code] for code in names.codes[keep].tolist()], columns, title, read.bad + bad
    )


def code(table: Table, role: str, names: list[str]) -> tuple[dict[str, Any], list[Problem]]:
    """JSON of the features of all users or items in the order of names, and what is to be said of them.

    Each column is one of: category (`names`, `codes` int32 [n], -1 where there is none), set (`names`, `codes` and
    `splits` [n + 1]), number (`values`, standardised, None where there is none; `mean`, `scale`), text (`texts`).
    """
    place = {name: row for row, name in enumerate(table.names)}
    row = np.array([place.get(name, -1) for name in names], np.int64)
    warnings = _unknown(table, role, names, row)
    coded: list[dict[str, Any]] = []
    for name, cells in table.columns.items():
        found = _number(cells, row) if isinstance(cells, np.ndarray) else _texts(cells, row)  # type: ignore[arg-type]
        if found is None:
            message = f"{name!r} is empty, or another in nearly every row, as an id or an address: it is not used."
            warnings.append(Problem("warning", "unused-feature", printable(str(table.path)), message))
        else:
            coded.append({"name": name, **found})
    return {"columns": coded, "titles": _titles(table, row)}, warnings


def values_of(table: Table, column: str, names: list[str]) -> np.ndarray:
    """object [n], of texts: one column, for each of names.

    Raises:
        DataError: the table has no such column, or too many values in it.
    """
    if column not in table.columns:
        raise DataError(f"{table.path} has no column {column!r} (group_by): there are {', '.join(table.columns)}.")
    cells = table.columns[column]
    texts = _written(cells)
    if len(set(texts)) > 100:
        raise DataError(
            f"{table.path} has {len(set(texts)):,} values in {column!r}, by which group_by would tell scores apart: "
            "choose a column of at most 100."
        )
    place = dict(zip(table.names, texts, strict=True))
    found = np.empty(len(names), object)
    found[:] = [place.get(name, "") for name in names]
    return found


def _once(names: Texts, role: str, where: Any) -> tuple[np.ndarray, list[Problem]]:
    """The rows that name somebody, of those of one name the first; and what is wrong with the others."""
    there = np.flatnonzero(names.codes >= 0)
    _, first = np.unique(names.codes[there], return_index=True)
    keep = np.sort(there[first])
    bad = [
        Problem("error", f"empty-{role}", where(int(row)), f"names no {role}: fill it in.")
        for row in np.flatnonzero(names.codes < 0).tolist()
    ]
    for row in np.setdiff1d(there, keep).tolist():
        message = f"is the second of {names.names[names.codes[row]]!r:.40}: keep one."
        bad.append(Problem("error", f"duplicate-{role}", where(row), message))
    return keep, bad


def _rows(cells: Cells, rows: np.ndarray) -> Cells:
    return Texts(cells.codes[rows], cells.names) if isinstance(cells, Texts) else cells[rows]  # type: ignore[index]


def _number(cells: np.ndarray, row: np.ndarray) -> dict[str, Any]:
    values = np.append(cells, np.nan)[row]
    there = values[np.isfinite(values)]
    mean, scale = (float(there.mean()), float(there.std()) or 1.0) if len(there) else (0.0, 1.0)
    scaled = [round((value - mean) / scale, 6) if np.isfinite(value) else None for value in values.tolist()]
    return {"kind": "number", "mean": mean, "scale": scale, "values": scaled}


def _texts(cells: Texts, row: np.ndarray) -> dict[str, Any] | None:
    codes = np.append(cells.codes, -1)[row].astype(np.int32)
    used = int((codes >= 0).sum())
    if any(_SET in name for name in cells.names):
        return _sets(cells.names, codes)
    if not used:
        return None
    different = len(np.unique(codes[codes >= 0]))
    many = different > max(_FEW_CATEGORIES, used // 2) or different > _MOST_CATEGORIES
    if not many:
        return {"kind": "category", "names": cells.names, "codes": packed(codes)}
    if np.mean([" " in name for name in cells.names]) > 0.5:
        return {"kind": "text", "texts": [cells.names[code] if code >= 0 else "" for code in codes.tolist()]}
    return None


def _sets(names: list[str], codes: np.ndarray) -> dict[str, Any]:
    known: dict[str, int] = {}
    of = [
        list(dict.fromkeys(known.setdefault(one.strip(), len(known)) for one in name.split(_SET) if one.strip()))
        for name in names
    ] + [[]]
    found = [of[code] for code in codes.tolist()]
    splits = np.cumsum([0, *(len(one) for one in found)])
    flat = np.array([code for one in found for code in one], np.int32)
    return {"kind": "set", "names": list(known), "codes": packed(flat), "splits": packed(splits.astype(np.int64))}


def _titles(table: Table, row: np.ndarray) -> list[str | None] | None:
    if table.title is None:
        return None
    texts = [*_written(table.columns[table.title]), ""]
    return [texts[place] or None for place in row.tolist()]


def _written(cells: Cells) -> list[str]:
    if isinstance(cells, Texts):
        return ["" if code < 0 else cells.names[code] for code in cells.codes.tolist()]
    assert isinstance(cells, np.ndarray)
    return [as_text(value) for value in cells.tolist()]


def _unknown(table: Table, role: str, names: list[str], row: np.ndarray) -> list[Problem]:
    missing = np.flatnonzero(row < 0)
    if not len(missing):
        return []
    shown = ", ".join(repr(names[at]) for at in missing[:3].tolist()) + (", …" if len(missing) > 3 else "")
    message = f"says nothing of {len(missing):,} of {len(names):,} {role}s ({shown}): their features are empty."
    return [Problem("warning", "no-features", printable(str(table.path)), message)]
