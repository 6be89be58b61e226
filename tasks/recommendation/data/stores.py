"""Random access to examples of recommendation: interactions, histories, and users with what is held out of them."""

from dataclasses import dataclass, replace

import numpy as np

from pipelines.task import Raw, Store
from tasks.recommendation.data.log import ROOT, Lists, Log, hashes_of, mix


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
        return np.asarray(self.log.user[self.rows], np.int64)

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
        return np.asarray(self.log.hashes[self.rows])


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
        return np.asarray(np.minimum(self.taken.lengths[self.users], self.most)[:, None], np.int32)

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
        return np.asarray(hashes_of(self.log, self.taken)[self.users])


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
        return np.asarray(np.minimum(lengths, self.most)[:, None], np.int32)

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
        held_out = mix(hashes_of(self.log, self.held_out) + ROOT)
        return np.asarray(mix(hashes_of(self.log, self.before) + held_out)[self.users])


def interactions(store: Store) -> Raw:
    """Those of a training split: user int32 [n], item int32 [n], rating float32 [n] (1 where there is none)."""
    if isinstance(store, PairStore):
        return store.fetch(np.arange(len(store)))
    assert isinstance(store, HistoryStore)
    whole = store.taken.at(store.users)
    user = np.repeat(store.users, whole.lengths).astype(np.int32)
    return {"user": user, "item": whole.items, "rating": np.ones(len(user), np.float32)}
