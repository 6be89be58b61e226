"""Item k-NN: what is most like the items that a user took, where items are alike that the same users took."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from pipelines.task import Raw

_MOST_PRODUCTS = 1_000_000_000
"""Pairs of items of one user that are multiplied in all: of MovieLens 1M, 350 million."""
_CELLS = 4_000_000
"""Similarities that are held before the nearest are chosen."""
_MOST = 200
"""Neighbours of each item that are kept."""


@dataclass(frozen=True)
class Neighbours:
    """The cosines between items of which one is taken by a user and one not (Deshpande and Karypis, 2004)."""

    nearest: Any
    """scipy.sparse.csr_array float32 [items, items]: of each item the most alike ones and their cosines."""
    rank: np.ndarray
    """int32, of each value in `nearest`: how many of the row are nearer."""
    popularity: np.ndarray
    """float32 [items], in [-1, 0)."""
    count: int
    """Neighbours that count."""
    note: str

    @classmethod
    def fit(cls, taken: Any, seed: int) -> Self:
        """From who took what, csr_array [users, items] of ones."""
        used, note = _affordable(taken, seed)
        rows = _normalised(used)
        blocks, ranks = zip(*(_nearest(rows, start) for start in _starts(rows.shape[0])), strict=True)
        counts = np.asarray(taken.sum(axis=0), np.float32).ravel()
        popularity = counts / (counts.max(initial=0) + 1) - 1
        return cls(_stacked(blocks), np.concatenate(ranks), popularity.astype(np.float32), _MOST, note)

    def with_count(self, count: int) -> Self:
        """The same with fewer neighbours."""
        kept = self.nearest.copy()
        kept.data = np.where(self.rank < count, kept.data, np.float32(0))
        kept.eliminate_zeros()
        return replace(self, nearest=kept, rank=self.rank[self.rank < count], count=count)

    def scores(self, raw: Raw) -> np.ndarray:
        """float32 [rows, items] of users' histories: cosines summed; what is like none of them comes behind, the most
        popular first."""
        summed = (histories(raw, len(self.popularity)) @ self.nearest).toarray()
        return np.where(summed > 0, summed, self.popularity)


def histories(raw: Raw, items: int) -> Any:
    """csr_array float32 [rows, items]: 1 at what is in each user's history."""
    return matrix(np.repeat(np.arange(len(raw["user"])), np.diff(raw["history_splits"])), raw["history"],
                  (len(raw["user"]), items))  # fmt: skip


def matrix(user: np.ndarray, item: np.ndarray, shape: tuple[int, int]) -> Any:
    """csr_array float32 of that shape: 1 where a user took an item, however often; items below 0 are none."""
    from scipy.sparse import csr_array

    known = item >= 0
    taken = csr_array((np.ones(int(known.sum()), np.float32), (user[known], item[known])), shape=shape)
    taken.sum_duplicates()
    taken.data[:] = 1
    return taken


def _affordable(taken: Any, seed: int) -> tuple[Any, str]:
    """Its rows, or as many, chosen by the seed, as are multiplied in time; and a note on it."""
    lengths = np.diff(taken.indptr).astype(np.float64)
    order = np.random.default_rng(seed).permutation(len(lengths))
    kept = np.sort(order[np.cumsum(lengths[order] ** 2) <= _MOST_PRODUCTS])
    if len(kept) == len(lengths):
        return taken, ""
    return taken[kept], f"fitted to {len(kept):,} of {len(lengths):,} users, chosen by the seed"


def _normalised(taken: Any) -> Any:
    """csr_array [items, users], each row of length 1 (or 0, of items that nobody took)."""
    from sklearn.preprocessing import normalize

    return normalize(taken.T.tocsr(), copy=True)


def _starts(items: int) -> Iterator[tuple[int, int]]:
    step = max(1, _CELLS // max(items, 1))
    return ((start, min(start + step, items)) for start in range(0, items, step))


def _nearest(rows: Any, block: tuple[int, int]) -> tuple[Any, np.ndarray]:
    """Of some items, from and up to: the _MOST nearest others, csr_array [block, items], and their ranks."""
    first, last = block
    alike = (rows[first:last] @ rows.T).tocoo()
    itself = alike.col == alike.row + first
    row, column, value = (part[~itself] for part in (alike.row, alike.col, alike.data))
    order = np.lexsort((column, -value, row))
    row, column, value = row[order], column[order], value[order]
    starts = np.searchsorted(row, np.arange(last - first + 1))
    rank = np.arange(len(row)) - starts[row]
    kept = rank < _MOST
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(row[kept], minlength=last - first))])
    return _csr(value[kept], column[kept], ends, (last - first, rows.shape[0])), rank[kept].astype(np.int32)


def _csr(values: np.ndarray, columns: np.ndarray, ends: np.ndarray, shape: tuple[int, int]) -> Any:
    from scipy.sparse import csr_array

    return csr_array((values.astype(np.float32), columns, ends), shape=shape)


def _stacked(blocks: Any) -> Any:
    from scipy.sparse import vstack

    return vstack(blocks, format="csr")
