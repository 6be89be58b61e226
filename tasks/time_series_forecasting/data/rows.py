"""What tables hold, row by row: of which series, when, and the numbers; not yet in order, not yet whole."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.columns import Texts
from pipelines.sources.times import Moments
from pipelines.task import Problem

Covariate = np.ndarray | Texts
"""Numbers float64 [n], NaN where there is none; or texts."""
COVARIATES = ("known", "past", "static")


@dataclass(frozen=True)
class Rows:
    """Rows of one or more series."""

    series: list[str]
    of: np.ndarray
    """int32 [n], into series."""
    channels: list[str]
    """What every series has: the columns that are forecast."""
    values: np.ndarray
    """float32 [n, channels]; NaN where there is none."""
    moments: Moments | None
    """None: rows of a series are steps, one after the other."""
    where: Callable[[int], str]
    covariates: dict[str, dict[str, Covariate]] = field(default_factory=dict)
    """known, past, static -> name -> column."""
    bad: list[Problem] = field(default_factory=list)
    """Rows and cells that cannot be read."""
    hint: str | None = None
    """A frequency that the source itself names."""
    single: bool = False
    """A wide table: one series, whose name is only its file's."""

    def __len__(self) -> int:
        return len(self.of)


def joined(parts: Sequence[Rows]) -> Rows:
    """The rows of several tables as those of one.

    Raises:
        DataError: they do not hold the same columns.
    """
    first, *rest = parts
    if not rest:
        return first
    for other in rest:
        _alike(first, other)
    names: dict[str, int] = {}
    tables = [np.array([names.setdefault(name, len(names)) for name in part.series], np.int32) for part in parts]
    ends = np.cumsum([len(part) for part in parts])

    def where(row: int) -> str:
        at = int(np.searchsorted(ends, row, side="right"))
        return parts[at].where(row - int(ends[at]) + len(parts[at]))

    return Rows(
        list(names),
        np.concatenate([table[part.of] for table, part in zip(tables, parts, strict=True)]),
        first.channels,
        np.concatenate([part.values for part in parts]),
        _moments(parts),
        where,
        {
            role: {name: _stacked([part.covariates[role][name] for part in parts]) for name in columns}
            for role, columns in first.covariates.items()
        },
        [problem for part in parts for problem in part.bad],
        first.hint if all(part.hint == first.hint for part in parts) else None,
    )


def renamed(rows: Rows, name: str) -> Rows:
    """The one series of a wide table under another name."""
    return replace(rows, series=[name])


def _alike(first: Rows, other: Rows) -> None:
    place = other.where(0) if len(other) else "a table"
    if first.channels != other.channels:
        missing = [name for name in first.channels if name not in other.channels]
        odd = missing or [name for name in other.channels if name not in first.channels] or other.channels
        raise DataError(
            f"{place} belongs to a table of other columns than the first: {odd[0]!r} is only in one of the two. Give "
            "them the same names."
        )
    if (first.moments is None) != (other.moments is None):
        raise DataError(f"{place} belongs to a table with times, and others have none: map time in all of them.")
    if first.moments and other.moments:
        if first.moments.are_times != other.moments.are_times:
            raise DataError(f"{place} belongs to a table with times, and others have numbers of steps: choose one.")
        if first.moments.zoned != other.moments.zoned:
            raise DataError(
                f"{place} belongs to a table of which the times have offsets, and others have none: give all of them "
                "one, or name the zone of those without by --time-zone."
            )


def _moments(parts: Sequence[Rows]) -> Moments | None:
    found = [part.moments for part in parts if part.moments is not None]
    if not found:
        return None
    wrong: dict[int, str] = {}
    start = 0
    for moments in found:
        wrong |= {start + row: why for row, why in moments.wrong.items()}
        start += len(moments.values)
    return Moments(np.concatenate([one.values for one in found]), found[0].are_times, found[0].zoned, wrong)


def _stacked(columns: Sequence[Covariate]) -> Covariate:
    if all(isinstance(column, np.ndarray) for column in columns):
        return np.concatenate([np.asarray(column) for column in columns])
    texts = [column if isinstance(column, Texts) else as_texts(column) for column in columns]
    names: dict[str, int] = {}
    codes = []
    for text in texts:
        table = np.array([*(names.setdefault(name, len(names)) for name in text.names), -1], np.int32)
        codes.append(table[text.codes])
    return Texts(np.concatenate(codes), list(names))


def too_fine(exact: np.ndarray, kept: np.ndarray, of: np.ndarray, series: int) -> list[int]:
    """The first row of each series of which float32 leaves little: rounding is more than a twentieth of what varies.

    Args:
        exact: float64 [n].
        kept: the same in float32.
        of: int32 [n]: of each row its series; -1 for none.
        series: how many there are.
    """
    rows = np.flatnonzero(np.isfinite(kept) & (of >= 0))
    codes, first = np.unique(of[rows], return_index=True)
    start = np.zeros(series)
    start[codes] = exact[rows[first]]
    # From the first value, so that what does not vary at all is 0; over the largest, as squares of tiny numbers are 0.
    of = of[rows]
    apart = exact[rows] - start[of]
    # Below the normal ones processors may take numbers for 0.
    held = np.where(np.abs(kept[rows]) < np.finfo(np.float32).tiny, 0, kept[rows])
    lost = exact[rows] - held.astype(np.float64)
    largest = max(float(np.abs(apart).max(initial=0)), np.finfo(np.float64).tiny)
    counts = np.maximum(np.bincount(of, minlength=series), 1)
    apart -= (np.bincount(of, apart, series) / counts)[of]
    varied, rounding = (np.bincount(of, (part / largest) ** 2, series) for part in (apart, lost))
    found = (varied > 0) & (rounding > varied / 400)
    return rows[first[found[codes]]].tolist()  # type: ignore[no-any-return]


def as_texts(column: np.ndarray) -> Texts:
    """Numbers as they would be written, whole ones without a point."""
    values, codes = np.unique(column, return_inverse=True)
    names = [f"{value:g}" if value % 1 else str(int(value)) for value in values[~np.isnan(values)].tolist()]
    return Texts(np.where(np.isnan(column), -1, codes).astype(np.int32), names)


def taken(rows: Rows, which: np.ndarray) -> Rows:
    """Some of the rows, int64 [n], in that order."""
    moments = rows.moments and replace(rows.moments, values=rows.moments.values[which], wrong={})
    covariates: Mapping[str, Mapping[str, Covariate]] = rows.covariates
    return replace(
        rows,
        of=rows.of[which],
        values=rows.values[which],
        moments=moments,
        where=lambda row: rows.where(int(which[row])),
        covariates={
            role: {name: _picked(column, which) for name, column in columns.items()}
            for role, columns in covariates.items()
        },
    )


def _picked(column: Covariate, which: np.ndarray) -> Covariate:
    return Texts(column.codes[which], column.names) if isinstance(column, Texts) else np.asarray(column[which])
