"""The best of all items for each user, exactly: what is excluded, and how ties are broken. NumPy only."""

import numpy as np

from tasks.recommendation.data.log import mix

Ragged = tuple[np.ndarray, np.ndarray]
"""Codes int32 [all], and where each row's begin, int64 [rows + 1]; codes below 0 are of none."""

_HALF = np.uint64(32)


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
        among: the only items that it may hold; None: any.
    """
    # 0 is added as the bits of -0 are others than those of 0.
    values = np.where(np.isnan(scores), -np.inf, scores).astype(np.float32, copy=False) + np.float32(0)
    open_ = np.ones(values.shape, bool) if among is None else _marked(among, values.shape)
    if excluded is not None:
        open_ &= ~_marked(excluded, values.shape)
    best, unsure = _contenders(np.where(open_, values, -np.inf), k)
    found = np.full((len(values), k), -1, np.int32), np.full((len(values), k), -np.inf, np.float32)
    everything = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    for rows, columns in ((~unsure, best), (unsure, everything)):
        if rows.any():
            _fill(found, rows, (values[rows], open_[rows], users[rows], columns[rows]))
    return found


def _contenders(values: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """int64 [rows, 2 k], the items of the highest values, so that little is left to be ordered; and bool [rows], where
    an equal of the k-th may be missing among them."""
    wide, items = 2 * k, values.shape[1]
    if wide >= items:
        return np.zeros((len(values), 0), np.int64), np.ones(len(values), bool)
    chosen = np.argpartition(values, items - wide, axis=1)[:, items - wide :]
    highest = np.sort(np.take_along_axis(values, chosen, axis=1), axis=1)
    return chosen, highest[:, wide - k] <= highest[:, 0]


def _fill(found: tuple[np.ndarray, np.ndarray], rows: np.ndarray, of: tuple[np.ndarray, ...]) -> None:
    """Some rows of the lists [rows, k] and their scores, from values, what is open, users, and the columns that they
    are among."""
    values, open_, users, columns = of
    values, open_ = (np.take_along_axis(one, columns, axis=1) for one in (values, open_))
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


def _marked(lists: Ragged, shape: tuple[int, ...]) -> np.ndarray:
    """bool of that shape: where the lists' items are."""
    codes, splits = lists
    rows = np.repeat(np.arange(shape[0]), np.diff(splits))
    marked = np.zeros(shape, bool)
    known = codes >= 0
    marked[rows[known], codes[known]] = True
    return marked
