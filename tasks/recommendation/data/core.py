"""What of the interactions is kept: each user and item once, and none of users and items with too few."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Core:
    """What a k-core leaves (Seidman, 1983: the largest part in which all have at least so many neighbours)."""

    kept: np.ndarray
    """bool [n]."""
    rounds: int
    users: int
    """Left out."""
    items: int
    """Left out."""


def in_order(user: np.ndarray, time: np.ndarray | None) -> np.ndarray:
    """int64 [n]: the rows by user, each user's by time; those of one time as they stand."""
    if time is None:
        return np.argsort(user, kind="stable")
    first = np.argsort(time, kind="stable")
    return first[np.argsort(user[first], kind="stable")]


def repeated(user: np.ndarray, item: np.ndarray, keep: Literal["first", "last"]) -> np.ndarray:
    """bool [n], of rows in the order of time: those that name a user and an item that an earlier (keep: first) or later
    one names."""
    if keep == "last":
        return repeated(user[::-1], item[::-1], "first")[::-1]
    pair = user.astype(np.int64) * (int(item.max(initial=0)) + 1) + item
    order = np.argsort(pair, kind="stable")
    same = np.zeros(len(pair), bool)
    pair = pair[order]
    same[order[1:]] = pair[1:] == pair[:-1]
    return same


def core(user: np.ndarray, item: np.ndarray, least_user: int, least_item: int) -> Core:
    """The rows whose user and item have at least so many rows, of those that are left."""
    kept = np.ones(len(user), bool)
    rounds = 0
    while least_user > 1 or least_item > 1:
        few_users = np.bincount(user[kept], minlength=int(user.max(initial=-1)) + 1) < least_user
        few_items = np.bincount(item[kept], minlength=int(item.max(initial=-1)) + 1) < least_item
        again = kept & ~few_users[user] & ~few_items[item]
        if again.sum() == kept.sum():
            break
        kept, rounds = again, rounds + 1
    return Core(kept, rounds, _fewer(user, kept), _fewer(item, kept))


def _fewer(codes: np.ndarray, kept: np.ndarray) -> int:
    return int(np.count_nonzero(np.bincount(codes)) - np.count_nonzero(np.bincount(codes[kept])))


def told(core: Core, users: int, items: int) -> Mapping[str, int]:
    """JSON for the report."""
    return {
        "min_user": users,
        "min_item": items,
        "rounds": core.rounds,
        "interactions": int((~core.kept).sum()),
        "users": core.users,
        "items": core.items,
    }
