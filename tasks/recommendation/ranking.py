"""The best of all items for each user, exactly: what is excluded, and how ties are broken. NumPy only."""

import numpy as np

from tasks.recommendation.data.stores import mix

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
    keys = np.where(open_, (_ordered(values) << _HALF) | tie_breakers(users, values.shape[1]), np.uint64(0))
    return _best(keys, values, min(k, values.shape[1]), k)


def _best(keys: np.ndarray, values: np.ndarray, kept: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """By their keys uint64 [rows, items], of which 0 stands for none; filled up to k."""
    chosen = np.argpartition(keys, -kept, axis=1)[:, -kept:] if kept < keys.shape[1] else np.arange(kept)[None]
    chosen = np.broadcast_to(chosen, (len(keys), kept))
    order = np.argsort(np.take_along_axis(keys, chosen, axis=1), axis=1)[:, ::-1]
    chosen = np.take_along_axis(chosen, order, axis=1)
    there = np.take_along_axis(keys, chosen, axis=1) > 0
    items = np.full((len(keys), k), -1, np.int32)
    best = np.full((len(keys), k), -np.inf, np.float32)
    items[:, :kept] = np.where(there, chosen, -1)
    best[:, :kept] = np.where(there, np.take_along_axis(values, chosen, axis=1), -np.inf)
    return items, best


def tie_breakers(users: np.ndarray, items: int) -> np.ndarray:
    """uint64 [rows, items] below 2**32, well mixed of user and item."""
    # Twice, as a user and an item of one code must not cancel out.
    rows, columns = mix(mix(users.astype(np.int64).view(np.uint64))), mix(np.arange(items, dtype=np.uint64))
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
