"""The classical models beside the network: what is popular, item k-NN and EASE; for ratings biases and the mean."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipelines.task import Baseline, Data, Frozen, Predictor, Raw, Record
from tasks.recommendation.biases import Biases
from tasks.recommendation.config import Config
from tasks.recommendation.data.stores import interactions
from tasks.recommendation.ease import MOST_ITEMS, Ease, best_penalty
from tasks.recommendation.judging import Judged, Scorer, lists
from tasks.recommendation.neighbours import Neighbours, matrix

DEPTH = 100
"""Length of the lists that are scored, where k is not longer."""
_NEIGHBOURS = (10, 50, 200)
_BIAS_PENALTIES = (1.0, 3.0, 10.0, 30.0)


@dataclass(frozen=True)
class _Kind:
    """A way to recommend, fitted."""

    name: str
    note: str
    score: Scorer


def baseline(config: Config, data: Data, frozen: Frozen | None = None) -> Baseline:
    """Popularity, item k-NN and EASE, or of ratings biases and the mean, fitted to the training split. The one that is
    best on the validation split, by NDCG@k (of ratings RMSE), is the yardstick; the others come with it. What they must
    not recommend, what they rank among and how ties are broken is as with the model. EASE is left out where it is the
    model."""
    del frozen
    items, judged = len(data.assets["items"]), Judged(config, data)
    kinds = list(_rating_kinds(data, judged) if config.rates else _list_kinds(config, data, judged))
    kinds.sort(key=lambda kind: judged.error(kind.score))
    first, *others = (Baseline(kind.name, _predictor(kind.score, config, items), kind.note) for kind in kinds)
    return replace(first, others=tuple(others))


def _list_kinds(config: Config, data: Data, judged: Judged) -> Iterator[_Kind]:
    items = len(data.assets["items"])
    train = interactions(data.splits["train"])
    taken = matrix(train["user"], train["item"], (len(data.assets["users"]), items))
    counts = np.asarray(data.assets["counts"], np.float32)
    yield _Kind("popularity", "", lambda raw: np.broadcast_to(counts, (len(raw["user"]), items)))
    every = Neighbours.fit(taken, config.seed)
    count = judged.best(_NEIGHBOURS, lambda one: every.with_count(one).scores)
    notes = [f"cosine, {count} neighbours of each item", every.note]
    solved = config.backbone == "ease"
    if items > MOST_ITEMS and not solved:
        notes.append(f"EASE is left out: it takes {MOST_ITEMS:,} items at most, and there are {items:,}")
    yield _Kind("item k-NN", "; ".join(filter(None, notes)), every.with_count(count).scores)
    if items <= MOST_ITEMS and not solved:
        yield _ease(taken, judged)


def _ease(taken: Any, judged: Judged) -> _Kind:
    penalty, tuned = best_penalty(taken, judged)
    note = f"penalty {penalty:g}" + ("" if tuned else ", not tuned as there are many items")
    return _Kind("EASE", note, Ease.fit(taken, penalty).scores)


def _rating_kinds(data: Data, judged: Judged) -> Iterator[_Kind]:
    train = interactions(data.splits["train"])
    sizes = len(data.assets["users"]), len(data.assets["items"])
    penalty = judged.best(_BIAS_PENALTIES, lambda one: Biases.fit(train, *sizes, one).ratings)
    yield _Kind("user and item biases", f"penalty {penalty:g}", Biases.fit(train, *sizes, penalty).ratings)
    yield _Kind("mean rating", "", Biases.fit(train, *sizes, np.inf).ratings)


def _predictor(score: Scorer, config: Config, items: int) -> Predictor:
    """Records without an answer: they are scored, and nobody reads them."""

    def predict(batches: Iterable[tuple[list[str], Raw]]) -> Iterator[Record]:
        for ids, raw in batches:
            outputs = score(raw)[:, None] if config.rates else lists(score, raw, max(DEPTH, config.k), items)
            for name, output in zip(ids, outputs, strict=True):
                yield Record(name, {}, output)

    return predict
