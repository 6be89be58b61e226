"""All interactions that are used, by user and in time, and lists cut from them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

ROOT = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Log:
    """All interactions, by user, each user's by time."""

    users: list[str]
    items: list[str]
    user: np.ndarray
    """int32 [n], ascending."""
    item: np.ndarray
    """int32 [n]; -1 where the model does not know it."""
    rating: np.ndarray | None
    """float32 [n]."""
    part: np.ndarray
    """int8 [n], as in splits."""
    keys: tuple[np.ndarray, np.ndarray]
    """uint64 [users], uint64 [items + 1]: of their names, that of unknown ones last."""

    @cached_property
    def starts(self) -> np.ndarray:
        """int64 [users + 1]: where each user's begin."""
        return np.searchsorted(self.user, np.arange(len(self.users) + 1))

    @property
    def hashes(self) -> np.ndarray:
        """uint64 [n]: of user, item and rating."""
        users, items = self.keys
        found = mix(users[self.user]) + items[self.item]
        if self.rating is not None:
            found += mix(self.rating.view(np.uint32).astype(np.uint64))
        return mix(found)


@dataclass(frozen=True)
class Lists:
    """Items of each of some users, one list after the other."""

    splits: np.ndarray
    """int64 [users + 1]."""
    items: np.ndarray
    """int32 [all]."""

    @property
    def lengths(self) -> np.ndarray:
        """int64 [users]."""
        return np.diff(self.splits)

    def at(self, users: np.ndarray, last: int | None = None) -> "Lists":
        """Those of some users, int64 [rows], in that order; of each the last so many."""
        lengths = self.lengths[users] if last is None else np.minimum(self.lengths[users], last)
        splits = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        starts = self.splits[users + 1] - lengths
        place = np.arange(int(splits[-1])) + np.repeat(starts - splits[:-1], lengths)
        return Lists(splits, self.items[place])


def lists_of(log: Log, rows: np.ndarray) -> Lists:
    """The items of some rows, bool [n], by user: one list for each user there is."""
    lengths = np.bincount(log.user[rows], minlength=len(log.users))
    return Lists(np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]), log.item[rows])


def mix(values: np.ndarray) -> np.ndarray:
    """splitmix64's finaliser, of uint64."""
    with np.errstate(over="ignore"):
        mixed = values + ROOT
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def hashes_of(log: Log, lists: Lists) -> np.ndarray:
    """uint64 [users]: of the user, the items and their order."""
    users, items = log.keys
    place = np.arange(len(lists.items)) - np.repeat(lists.splits[:-1], lists.lengths)
    with np.errstate(over="ignore"):
        each = mix(items[lists.items] + place.astype(np.uint64) * ROOT)
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(each, dtype=np.uint64)])
        return mix(users + sums[lists.splits[1:]] - sums[lists.splits[:-1]])
