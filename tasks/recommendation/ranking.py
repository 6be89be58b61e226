"""The best of all items for each user, exactly: what is excluded, and how ties are broken. NumPy only."""

import numpy as np

from tasks.recommendation.data.log import mix

Ragged = tuple[np.ndarray, np.ndarray]
"""Codes int32 [all], and where each row's begin, int64 [rows + 1]; codes below 0 are of none."""

_HALF = np.uint64(32)
_GROUPS = 8
"""That items are cut into for each item of a list: of more, the bound is nearer, and dearer."""


def ranked(
    scores: np.ndarray, users: np.ndarray, k: int, excluded: Ragged | None = None, among: Ragged | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The items of the k highest scores, best first: int32 [rows, k], -1 where there are fewer, and float32 [rows, k].

    Equal scores are ordered by a hash of user and item, so that the order of the items in the data, by which the one
    held out might be told, decides nothing: a model that gives all items the same score gets a random list.

    Args:
        scores: float32 [rows, items]; NaN is worst of all.
        users: int [rows]: codes, for the hash.
        excluded: items that each row's list must not hold.
        among: the only items that it may hold, each once; None: any.
    """
    # What is no number gives way to the other; 0 is added as the bits of -0 are others than those of 0.
    values = np.fmax(scores, np.float32(-np.inf), dtype=np.float32)
    values += np.float32(0)
    open_ = np.ones(values.shape, bool)
    if among is not None:
        open_ = ~open_
        open_[_places(among)] = True
        values[~open_] = -np.inf
    if excluded is not None:
        open_[_places(excluded)] = False
        values[_places(excluded)] = -np.inf
    best, unsure = _contenders(values, k) if among is None else _candidates(among, values.shape)
    found = np.full((len(values), k), -1, np.int32), np.full((len(values), k), -np.inf, np.float32)
    everything = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    for rows, columns in ((~unsure, best), (unsure, everything)):
        if rows.any():
            _fill(found, rows, (values[rows], open_[rows], users[rows], columns[rows]))
    return found


def _contenders(values: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """int64 [rows, any], the items of the highest values, so that little is left to be ordered, then -1; and bool
    [rows], where they would be too many, as many are equal.

    Of groups that the items are cut into, k have a value as high as the k-th highest of their maxima. So what is lower
    is not among the k highest of all; and few others are as high.
    """
    rows, items = values.shape
    groups = _GROUPS * k
    if (each := items // groups) < 2:
        return np.zeros((rows, 0), np.int64), np.ones(rows, bool)
    highest = values[:, : each * groups].reshape(rows, each, groups).max(axis=1)
    least = np.partition(highest, groups - k, axis=1)[:, groups - k, None]
    row, column = np.divmod(np.flatnonzero(values >= least), items)
    counts = np.bincount(row, minlength=rows)
    unsure = counts > groups
    return _padded(column[~unsure[row]], np.where(unsure, 0, counts)), unsure


def _candidates(among: Ragged, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The same, of what alone may be listed; all items where that is most of them."""
    codes, splits = among
    if 2 * np.diff(splits).max(initial=0) > shape[1]:
        return np.zeros((shape[0], 0), np.int64), np.ones(shape[0], bool)
    return _padded(codes, np.diff(splits)), np.zeros(shape[0], bool)


def _padded(codes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """int64 [rows, any] of codes [all], as many for each row as counts [rows] says, then -1."""
    there = np.arange(counts.max(initial=1)) < counts[:, None]
    found = np.full(there.shape, -1, np.int64)
    found[there] = codes
    return found


def _fill(found: tuple[np.ndarray, np.ndarray], rows: np.ndarray, of: tuple[np.ndarray, ...]) -> None:
    """Some rows of the lists [rows, k] and their scores, from values, what is open, users, and the columns that they
    are among, -1 where there is none."""
    values, open_, users, columns = of
    values, open_ = (np.take_along_axis(one, columns, axis=1) for one in (values, open_))
    open_ = open_ & (columns >= 0)
    keys = np.where(open_, (_ordered(values) << _HALF) | _mixed(users, columns), np.uint64(0))
    kept = min(found[0].shape[1], keys.shape[1])
    chosen = np.argpartition(keys, -kept, axis=1)[:, -kept:]
    order = np.argsort(np.take_along_axis(keys, chosen, axis=1), axis=1)[:, ::-1]
    chosen = np.take_along_axis(chosen, order, axis=1)
    there = np.take_along_axis(keys, chosen, axis=1) > 0
    found[0][rows, :kept] = np.where(there, np.take_along_axis(columns, chosen, axis=1), -1)
    found[1][rows, :kept] = np.where(there, np.take_along_axis(values, chosen, axis=1), -np.inf)


def tie_breakers(users: np.ndarray, items: int) -> np.ndarray:
    """uint64 [rows, items] below 2**32, well mixed of user and item."""
    return _mixed(users, np.arange(items)[None])


def _mixed(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The same of some items [rows or 1, any]."""
    # Twice, as a user and an item of one code must not cancel out.
    rows, columns = mix(mix(users.astype(np.int64).view(np.uint64))), mix(items.astype(np.uint64))
    with np.errstate(over="ignore"):
        mixed = (rows[:, None] ^ columns) * np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(29)
        mixed *= np.uint64(0x94D049BB133111EB)
    mixed >>= _HALF
    return np.asarray(mixed)


def _ordered(values: np.ndarray) -> np.ndarray:
    """uint64 of float32, above 0, in the same order."""
    bits = values.view(np.uint32)
    negative = bits >> np.uint32(31) == 1
    return np.where(negative, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)


def _places(lists: Ragged) -> tuple[np.ndarray, np.ndarray]:
    """int64 [all] each: rows and columns of the lists' items."""
    codes, splits = lists
    rows = np.repeat(np.arange(len(splits) - 1), np.diff(splits))
    known = codes >= 0
    return rows[known], codes[known]
