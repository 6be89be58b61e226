"""Who took what: the rows of tables and lists, not yet sorted, filtered or split."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pipelines.errors import DataError
from pipelines.task import Problem

Named = tuple[np.ndarray, list[str]]
"""Codes int32 [n], and what they stand for."""


@dataclass(frozen=True)
class Interactions:
    """Rows of one source or several."""

    users: list[str]
    items: list[str]
    user: np.ndarray
    """int32 [n], into users; -1 where the row names none."""
    item: np.ndarray
    """int32 [n], into items; -1 where the row names none."""
    rating: np.ndarray | None
    """float32 [n]; NaN where there is none."""
    time: np.ndarray | None
    """float64 [n]: seconds since 1970, or whatever the numbers of the source count; NaN where there is none."""
    dated: bool
    """The times are seconds since 1970."""
    ordered: bool
    """The rows of a user stand in the order in which they were."""
    where: Callable[[int], str]
    bad: list[Problem] = field(default_factory=list)
    """Rows that cannot be read: some are in no column."""
    refused: np.ndarray | None = None
    """bool [n]: rows that are named in bad; None where there are none."""

    def __len__(self) -> int:
        return len(self.user)


def joined(parts: Sequence[Interactions]) -> Interactions:
    """The rows of several sources as those of one.

    Raises:
        DataError: one of them has ratings or times and another has none.
    """
    first, *rest = parts
    if not rest:
        return first
    for other in rest:
        _alike(first, other)
    user, users = merged([(part.user, part.users) for part in parts])
    item, items = merged([(part.item, part.items) for part in parts])
    ends = np.cumsum([len(part) for part in parts])

    def where(row: int) -> str:
        at = int(np.searchsorted(ends, row, side="right"))
        return parts[at].where(row - int(ends[at]) + len(parts[at]))

    refused = [np.zeros(len(part), bool) if part.refused is None else part.refused for part in parts]
    return Interactions(
        users,
        items,
        user,
        item,
        _stacked([part.rating for part in parts]),
        _stacked([part.time for part in parts]),
        first.dated,
        all(part.ordered for part in parts),
        where,
        [problem for part in parts for problem in part.bad],
        np.concatenate(refused),
    )


def merged(parts: Sequence[Named]) -> Named:
    """Codes into several lists of names as codes into one."""
    known: dict[str, int] = {}
    codes = []
    for code, names in parts:
        table = np.array([*(known.setdefault(name, len(known)) for name in names), -1], np.int32)
        codes.append(table[code])
    return np.concatenate(codes), list(known)


def taken(rows: Interactions, kept: np.ndarray) -> Interactions:
    """Those rows that a mask, bool [n], keeps."""
    if kept.all():
        return rows
    which = np.flatnonzero(kept)
    return replace(
        rows,
        user=rows.user[which],
        item=rows.item[which],
        rating=None if rows.rating is None else rows.rating[which],
        time=None if rows.time is None else rows.time[which],
        where=lambda row: rows.where(int(which[row])),
        refused=None,
    )


def without(rows: Interactions, what: str) -> Interactions:
    """The same without their rating, or their time."""
    return replace(rows, rating=None) if what == "rating" else replace(rows, time=None, dated=False)


def _alike(first: Interactions, other: Interactions) -> None:
    place = other.where(0) if len(other) else "a table"
    for what, one, two in (("ratings", first.rating, other.rating), ("times", first.time, other.time)):
        if (one is None) != (two is None):
            raise DataError(f"{place} and {first.where(0)} differ: only one of the two has {what}. Give both or none.")
    if first.time is not None and first.dated != other.dated:
        raise DataError(f"{place} and {first.where(0)} differ: only one of the two has dates. Write times alike.")


def _stacked(columns: Sequence[np.ndarray | None]) -> np.ndarray | None:
    found = [column for column in columns if column is not None]
    return np.concatenate(found) if found else None
