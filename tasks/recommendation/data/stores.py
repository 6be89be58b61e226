"""Random access to examples of recommendation: interactions, histories, and users with what is held out of them."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pipelines.task import Raw

_ROOT = np.uint64(0x9E3779B97F4A7C15)


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
class PairStore:
    """Interactions: an example is one."""

    log: Log
    rows: np.ndarray
    """int64 [examples], into the log."""
    codes: np.ndarray | None = None
    """int32 [users]: what a finished model knows the log's users by; None: as the log."""

    def recoded(self, codes: np.ndarray) -> "PairStore":
        """With the users' codes of a finished model."""
        return replace(self, codes=codes)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sizes(self) -> None:
        """All cost the same."""

    @property
    def groups(self) -> np.ndarray:
        """int64 [examples]: the user."""
        return self.log.user[self.rows].astype(np.int64)

    def ids(self, indices: np.ndarray) -> list[str]:
        """USER ITEM."""
        rows = self.rows[indices]
        users, items = self.log.user[rows].tolist(), self.log.item[rows].tolist()
        names = [*self.log.items, "?"]
        return [f"{self.log.users[user]} {names[item]}" for user, item in zip(users, items, strict=True)]

    def fetch(self, indices: np.ndarray) -> Raw:
        """user, item, rating."""
        rows = self.rows[indices]
        rating = np.ones(len(rows), np.float32) if self.log.rating is None else self.log.rating[rows]
        user = self.log.user[rows]
        return {
            "user": user if self.codes is None else self.codes[user],
            "item": self.log.item[rows],
            "rating": rating,
        }

    def truth(self) -> Raw:
        """What ratings are judged by."""
        return self.fetch(np.arange(len(self)))

    def hashes(self) -> np.ndarray:
        """uint64 [examples]."""
        return self.log.hashes[self.rows]


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


@dataclass(frozen=True)
class HistoryStore:
    """Users: an example is what one took in training, in order."""

    log: Log
    taken: Lists
    """Of every user, in training."""
    users: np.ndarray
    """int64 [examples], into the log's."""
    most: int
    """The latest so many are an example."""

    def __len__(self) -> int:
        return len(self.users)

    @property
    def sizes(self) -> np.ndarray:
        """int32 [examples, 1]: items."""
        return np.minimum(self.taken.lengths[self.users], self.most).astype(np.int32)[:, None]

    @property
    def groups(self) -> np.ndarray:
        """int64 [examples]: the user."""
        return self.users

    def ids(self, indices: np.ndarray) -> list[str]:
        """The users' names."""
        return [self.log.users[user] for user in self.users[indices].tolist()]

    def fetch(self, indices: np.ndarray) -> Raw:
        """user, history."""
        users = self.users[indices]
        found = self.taken.at(users, self.most)
        return {"user": users.astype(np.int32), "history": found.items, "history_splits": found.splits}

    def hashes(self) -> np.ndarray:
        """uint64 [examples]."""
        return _of_lists(self.log, self.taken)[self.users]


@dataclass(frozen=True)
class RankStore:
    """Users: an example is one, what they took before, and what is held out."""

    log: Log
    before: Lists
    """Of every user, what the splits before this one hold."""
    held_out: Lists
    users: np.ndarray
    """int64 [examples], into the log's."""
    most: int
    """Of the latest so many of a history the cost is counted; fetched are all."""
    among: Lists | None = None
    """What each user's are ranked among, themselves included; None: all items."""
    compared: np.ndarray | None = None
    """object [all users], of texts: what scores are told apart by."""
    codes: np.ndarray | None = None
    """int32 [all users]: what a finished model knows the log's users by; None: as the log."""

    def recoded(self, codes: np.ndarray) -> "RankStore":
        """With the users' codes of a finished model."""
        return replace(self, codes=codes)

    def __len__(self) -> int:
        return len(self.users)

    @property
    def sizes(self) -> np.ndarray:
        """int32 [examples, 1]: items that the model sees."""
        lengths = self.before.lengths[self.users] + self.held_out.lengths[self.users]
        return np.minimum(lengths, self.most).astype(np.int32)[:, None]

    @property
    def groups(self) -> np.ndarray:
        """int64 [examples]: the user."""
        return self.users

    def ids(self, indices: np.ndarray) -> list[str]:
        """The users' names."""
        return [self.log.users[user] for user in self.users[indices].tolist()]

    def fetch(self, indices: np.ndarray) -> Raw:
        """user; history, target and, where the test is ranked among some items alone, candidates, each with splits."""
        return self._taken(self.users[indices], {"history": self.before, "target": self.held_out})

    def truth(self) -> Raw:
        """What lists are judged by."""
        raw = self._taken(self.users, {"target": self.held_out})
        names = np.empty(len(self), object)
        names[:] = [self.log.users[user] for user in self.users.tolist()]
        raw |= {"name": names, "activity": self.before.lengths[self.users]}
        return raw if self.compared is None else {**raw, "group_by": self.compared[self.users]}

    def _taken(self, users: np.ndarray, columns: dict[str, Lists]) -> Raw:
        raw: Raw = {"user": users.astype(np.int32) if self.codes is None else self.codes[users]}
        for name, lists in (columns if self.among is None else {**columns, "candidates": self.among}).items():
            found = lists.at(users)
            raw |= {name: found.items, f"{name}_splits": found.splits}
        return raw

    def hashes(self) -> np.ndarray:
        """uint64 [examples]."""
        held_out = mix(_of_lists(self.log, self.held_out) + _ROOT)
        return mix(_of_lists(self.log, self.before) + held_out)[self.users]


def mix(values: np.ndarray) -> np.ndarray:
    """splitmix64's finaliser, of uint64."""
    with np.errstate(over="ignore"):
        mixed = values + _ROOT
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def _of_lists(log: Log, lists: Lists) -> np.ndarray:
    """uint64 [users]: of the user, the items and their order."""
    users, items = log.keys
    place = np.arange(len(lists.items)) - np.repeat(lists.splits[:-1], lists.lengths)
    with np.errstate(over="ignore"):
        each = mix(items[lists.items] + place.astype(np.uint64) * _ROOT)
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(each, dtype=np.uint64)])
        return mix(users + sums[lists.splits[1:]] - sums[lists.splits[:-1]])
