"""The classical models beside the network: what is popular, item k-NN and EASE; for ratings biases and the mean."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from pipelines.raw import rows_of
from pipelines.task import Baseline, Data, Frozen, Predictor, Raw, Record, Store
from tasks.recommendation.biases import Biases
from tasks.recommendation.config import Config
from tasks.recommendation.data.stores import HistoryStore, PairStore
from tasks.recommendation.ease import MOST_ITEMS, Ease
from tasks.recommendation.measures import Found
from tasks.recommendation.neighbours import Neighbours, matrix
from tasks.recommendation.ranking import ranked

DEPTH = 100
"""Length of the lists that are scored, where k is not longer."""
_MOST_VALIDATED = 2_000
"""Users of the validation split that settings and the yardstick are chosen by."""
_NEIGHBOURS = (10, 50, 200)
_PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""Of EASE."""
_TRIED_ITEMS = 4_000
"""Items up to which all penalties of EASE are tried."""
_USUAL_PENALTY = 300.0
_BIAS_PENALTIES = (1.0, 3.0, 10.0, 30.0)
_ROWS = 256
_CELLS = 4_000_000
"""Scores that are ranked at once."""

Scorer = Callable[[Raw], np.ndarray]
"""Users and their histories -> float32 [rows, items]; or of ratings float32 [rows]."""


@dataclass(frozen=True)
class _Kind:
    """A way to recommend, fitted."""

    name: str
    note: str
    score: Scorer


def baseline(config: Config, data: Data, frozen: Frozen | None = None) -> Baseline:
    """Popularity, item k-NN and EASE, or of ratings biases and the mean, fitted to the training split. The one that is
    best on the validation split, by NDCG@k (of ratings RMSE), is the yardstick; the others come with it. What they must
    not recommend, what they rank among and how ties are broken is as with the model."""
    del frozen
    items, valid = len(data.assets["items"]), data.splits["valid"]
    if config.rates:
        judged = _Judged(valid, len(valid), config.seed, _rating_error)
        kinds = list(_rating_kinds(data, judged))
    else:
        judged = _Judged(valid, _MOST_VALIDATED, config.seed, partial(_list_error, k=config.k, items=items))
        kinds = list(_list_kinds(config, data, judged))
    kinds.sort(key=lambda kind: judged.error(kind.score))
    first, *others = (Baseline(kind.name, _predictor(kind.score, config, items), kind.note) for kind in kinds)
    return replace(first, others=tuple(others))


class _Judged:
    """Errors on the validation split, of which a part is fetched once."""

    def __init__(self, store: Store, most: int, seed: int, error: Callable[[Scorer, list[Raw]], float]) -> None:
        chosen = np.arange(len(store))
        if len(store) > most:
            chosen = np.sort(np.random.default_rng(seed).permutation(len(store))[:most])
        self._parts = [store.fetch(chosen[start : start + _ROWS]) for start in range(0, len(chosen), _ROWS)]
        self._error = error

    def error(self, score: Scorer) -> float:
        """Lower is better; 0 where there is nothing to judge by."""
        return self._error(score, self._parts) if self._parts else 0.0

    def best(self, scorers: Mapping[float, Scorer]) -> float:
        """The setting of the best of them."""
        return min(scorers, key=lambda setting: self.error(scorers[setting]))


def _list_kinds(config: Config, data: Data, judged: _Judged) -> Iterator[_Kind]:
    items = len(data.assets["items"])
    train = interactions(data.splits["train"])
    taken = matrix(train["user"], train["item"], (len(data.assets["users"]), items))
    counts = np.asarray(data.assets["counts"], np.float32)
    yield _Kind("popularity", "", lambda raw: np.broadcast_to(counts, (len(raw["user"]), items)))
    every = Neighbours.fit(taken, config.seed)
    near = {count: every.with_count(count) for count in _NEIGHBOURS}
    count = int(judged.best({count: one.scores for count, one in near.items()}))
    notes = [f"cosine, {count} neighbours of each item", every.note]
    if items > MOST_ITEMS:
        notes.append(f"EASE is left out: it takes {MOST_ITEMS:,} items at most, and there are {items:,}")
    yield _Kind("item k-NN", "; ".join(filter(None, notes)), near[count].scores)
    if items <= MOST_ITEMS:
        yield _ease(taken, judged)


def _ease(taken: Any, judged: _Judged) -> _Kind:
    """With the penalty that does best on validation; where items are many a usual one, as each takes long."""
    if taken.shape[1] > _TRIED_ITEMS:
        ease = Ease.fit(taken, _USUAL_PENALTY)
        return _Kind("EASE", f"penalty {_USUAL_PENALTY:g}, not tuned as there are many items", ease.scores)
    # None is kept, as each is a dense matrix; one is fitted again.
    errors = {penalty: judged.error(Ease.fit(taken, penalty).scores) for penalty in _PENALTIES}
    penalty = min(errors, key=lambda one: errors[one])
    return _Kind("EASE", f"penalty {penalty:g}", Ease.fit(taken, penalty).scores)


def _rating_kinds(data: Data, judged: _Judged) -> Iterator[_Kind]:
    train = interactions(data.splits["train"])
    sizes = len(data.assets["users"]), len(data.assets["items"])
    fitted = {penalty: Biases.fit(train, *sizes, penalty) for penalty in _BIAS_PENALTIES}
    penalty = judged.best({penalty: one.ratings for penalty, one in fitted.items()})
    yield _Kind("user and item biases", f"penalty {penalty:g}", fitted[penalty].ratings)
    yield _Kind("mean rating", "", Biases.fit(train, *sizes, np.inf).ratings)


def interactions(store: Store) -> Raw:
    """Those of a training split: user int32 [n], item int32 [n], rating float32 [n] (1 where there is none)."""
    if isinstance(store, PairStore):
        return store.fetch(np.arange(len(store)))
    assert isinstance(store, HistoryStore)
    whole = store.taken.at(store.users)
    user = np.repeat(store.users, whole.lengths).astype(np.int32)
    return {"user": user, "item": whole.items, "rating": np.ones(len(user), np.float32)}


def _list_error(score: Scorer, parts: list[Raw], k: int, items: int) -> float:
    """Less NDCG@k, the mean over users."""
    found = [Found.of(_lists(score, raw, k, items), raw["target"], raw["target_splits"]).at(k)["ndcg"] for raw in parts]
    return -float(np.concatenate(found).mean())


def _rating_error(score: Scorer, parts: list[Raw]) -> float:
    """The mean squared error."""
    return float(np.concatenate([(score(raw) - raw["rating"]) ** 2 for raw in parts]).mean())


def _lists(score: Scorer, raw: Raw, k: int, items: int) -> np.ndarray:
    """Of each user, int32 [rows, k]; all of their scores are never held together."""
    step = max(1, _CELLS // items)
    found = []
    for start in range(0, len(raw["user"]), step):
        part = rows_of(raw, np.arange(start, min(start + step, len(raw["user"]))))
        # Given candidates are all ranked, those that the user took before too, or the score would flatter.
        history = None if "candidates" in part else (part["history"], part["history_splits"])
        among = (part["candidates"], part["candidates_splits"]) if "candidates" in part else None
        found.append(ranked(score(part), part["user"], k, history, among)[0])
    return np.concatenate(found)


def _predictor(score: Scorer, config: Config, items: int) -> Predictor:
    """Records without an answer: they are scored, and nobody reads them."""

    def predict(batches: Iterable[tuple[list[str], Raw]]) -> Iterator[Record]:
        for ids, raw in batches:
            outputs = score(raw)[:, None] if config.rates else _lists(score, raw, max(DEPTH, config.k), items)
            for name, output in zip(ids, outputs, strict=True):
                yield Record(name, {}, output)

    return predict
