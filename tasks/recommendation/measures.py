"""What is measured of recommended lists, in NumPy: whether they hold what users went on to take, and what they are made
of. And of predicted ratings how far off they are.

Lists are int32 [users, K] codes of items, best first, -1 where there are fewer; what was held out of each user is
ragged: codes [targets] with splits int64 [users + 1], distinct within a user. Nothing here can see scores, so ties are
none of its business: whoever makes the lists breaks them without knowing the truth (see `ranking`).
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

ACCURACY = ("ndcg", "hr", "recall", "mrr", "map")
"""What is measured of each user's list at a cutoff."""
HEAD = 0.2
"""Share of the items, the most popular ones, that are no tail."""
_PART = 1_000_000
"""Held-out items that are looked for at once."""


@dataclass(frozen=True)
class Found:
    """Where the held-out items stand in the lists."""

    hits: np.ndarray
    """bool [users, K]: whether each place holds one of them."""
    count: np.ndarray
    """int64 [users]: how many there are, at least 1."""

    @classmethod
    def of(cls, lists: np.ndarray, target: np.ndarray, target_splits: np.ndarray) -> Self:
        """Those of lists [users, K] and held-out items [targets] with splits [users + 1]; a held-out item of -1, which
        the model does not know, is missed."""
        count = np.diff(target_splits)
        # One number for each user and item; that of unknown items, -1, is apart from all others.
        span = int(max(lists.max(initial=0), target.max(initial=0))) + 2
        wanted = np.sort(np.repeat(np.arange(len(count)), count) * span + target + 1)
        keys = np.arange(len(count))[:, None] * span + lists + 1
        place = np.searchsorted(wanted, keys)
        hits = wanted[np.minimum(place, len(wanted) - 1)] == keys
        return cls(hits & (lists >= 0), count)

    def at(self, k: int) -> dict[str, np.ndarray]:
        """Each of ACCURACY for every user, float64 [users], of the first k places.

        hr: 1 where any of them is held out, else 0 (hit rate).
        recall: the share of the held-out items that stand there.
        ndcg: the discounted gain, 1 / log2(1 + place) for each hit, over that of a list which begins with all that was
            held out, likewise cut at k (Järvelin and Kekäläinen, 2002, with gains of 0 and 1).
        mrr: one over the place of the first hit, 0 without one (Voorhees, 1999).
        map: the mean over the held-out items of the share of hits among the places up to theirs, 0 for those that do
            not stand there; the mean is over min(k, held-out items), so that the best list scores 1 (the definition of
            Kaggle's MAP@k and of RecBole).
        """
        hits = self.hits[:, :k].astype(np.float64)
        places = np.arange(1, hits.shape[1] + 1)
        possible = np.minimum(self.count, k)
        gains = 1 / np.log2(1 + np.arange(1, k + 1))
        found = hits.sum(axis=1)
        first = np.where(found > 0, hits.argmax(axis=1) + 1, np.inf) if hits.shape[1] else np.full(len(hits), np.inf)
        return {
            "ndcg": (hits @ gains[: hits.shape[1]]) / np.cumsum(gains)[possible - 1],
            "hr": (found > 0).astype(np.float64),
            "recall": found / self.count,
            "mrr": 1 / first,
            "map": (hits * hits.cumsum(axis=1) / places).sum(axis=1) / possible,
        }


def coverage(lists: np.ndarray, items: int) -> float:
    """The share of all items that stand in at least one list (catalogue coverage: Ge et al., 2010)."""
    return float(np.count_nonzero(_times(lists, items)) / items)


def gini(lists: np.ndarray, items: int) -> float:
    """How unequally often items are recommended, those that never are included: 0 where all are alike often, near 1
    where one alone is (Gini's coefficient, as Fleder and Hosanagar, 2009, have it of sales)."""
    times = np.sort(_times(lists, items)).astype(np.float64)
    if not times.sum():
        return 0.0
    ranks = np.arange(1, items + 1)
    return float((2 * ranks - items - 1) @ times / (items * times.sum()))


def _times(lists: np.ndarray, items: int) -> np.ndarray:
    """How often each item is recommended, int64 [items]."""
    return np.bincount(lists[lists >= 0], minlength=items)


def novelty(lists: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """float64 [users, 2]: the information in bits of what is recommended to each, -log2 of the item's share of the
    training interactions, summed (Zhou et al., 2010; Castells et al., 2015), and how many items that are. Items without
    any count as having one: what nobody took yet is not infinitely new."""
    bits = np.log2(max(counts.sum(), 1)) - np.log2(np.maximum(counts, 1))
    return _sums(lists, bits)


def tail_share(lists: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """float64 [users, 2]: how many of the items recommended to each are of the tail, and how many they are (the mean of
    the ratio is APLT: Abdollahpouri et al., 2019)."""
    return _sums(lists, tail(counts).astype(np.float64))


def _sums(lists: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values [items] of each list's items, summed, and their number: float64 [users, 2]."""
    there = lists >= 0
    summed = np.where(there, values[np.maximum(lists, 0)], 0.0).sum(axis=1)
    return np.stack([summed, there.sum(axis=1).astype(np.float64)], axis=1)


def ratio_of_means(means: np.ndarray) -> np.ndarray:
    """[resamples, 2] -> the first over the second, [resamples]; 0 where there is nothing."""
    found: np.ndarray = means[:, 0] / np.where(means[:, 1] > 0, means[:, 1], 1.0)
    return found


def by_popularity(counts: np.ndarray) -> np.ndarray:
    """The items from the one most taken in training to the one least taken, int64 [items]; of alike ones the lower code
    first."""
    return np.argsort(-counts, kind="stable")


def tail(counts: np.ndarray) -> np.ndarray:
    """bool [items]: all but the HEAD most popular, of their training interactions [items]."""
    found = np.ones(len(counts), bool)
    found[by_popularity(counts)[: int(np.ceil(HEAD * len(counts)))]] = False
    return found


def kinds_of_items(counts: np.ndarray) -> dict[str, np.ndarray]:
    """bool [items] of each kind, of their training interactions [items]: the most popular, the others, and those that
    nobody took yet."""
    new, rare = counts == 0, tail(counts)
    return {f"the most popular {HEAD:.0%}": ~rare & ~new, "the tail": rare & ~new, "new items": new}


def found_by_kind(
    lists: np.ndarray, target: np.ndarray, target_splits: np.ndarray, counts: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Rows for a table: of each kind of items how many there are and how many are held out, what share of these stands
    in their user's list, and what share of all lists the kind has."""
    row = np.repeat(np.arange(len(lists)), np.diff(target_splits))
    parts = (slice(start, start + _PART) for start in range(0, len(row), _PART))
    listed = np.concatenate([(lists[row[part]] == target[part, None]).any(axis=1) for part in parts]) & (target >= 0)
    there = lists[lists >= 0]
    table: dict[str, dict[str, Any]] = {}
    for name, kind in kinds_of_items(counts).items():
        of_kind = (target >= 0) & kind[np.maximum(target, 0)]
        table[name] = {
            "items": int(kind.sum()),
            "held_out": int(of_kind.sum()),
            "found": float(listed[of_kind].mean()) if of_kind.any() else None,
            "share_of_lists": float(kind[there].mean()) if len(there) else None,
        }
    if unknown := int((target < 0).sum()):
        table["unknown to the model"] = {"items": None, "held_out": unknown, "found": 0.0, "share_of_lists": 0.0}
    return table


def errors_by_user(rating: np.ndarray, predicted: np.ndarray, user: np.ndarray) -> dict[str, np.ndarray]:
    """Of ratings [n], predictions [n] and users int [n]: for each user, in ascending order, how many there are
    (`count`), and the sums of squared and absolute errors (`squared`, `absolute`), float64 [users]."""
    _, who = np.unique(user, return_inverse=True)
    error = predicted.astype(np.float64) - rating
    return {
        "count": np.bincount(who).astype(np.float64),
        "squared": np.bincount(who, error**2),
        "absolute": np.bincount(who, np.abs(error)),
    }
