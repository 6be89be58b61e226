"""From users, or histories, to lists of the best of all items, exactly, a block at a time; or to ratings."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipelines.devices import forward
from pipelines.raw import rows_of
from pipelines.task import Assets, Predictor, Raw, Record
from tasks.recommendation.backbones import QUERY, towers
from tasks.recommendation.config import READING, SEQUENTIAL, Config
from tasks.recommendation.data import allowed, learnt
from tasks.recommendation.encoding import histories, ragged
from tasks.recommendation.folding import Folding
from tasks.recommendation.neighbours import histories as taken
from tasks.recommendation.ranking import Ragged, ranked

LEAST_KEPT = 100
"""Items of each list that are kept for scores, though fewer are shown."""
_SCORES_AT_ONCE = 1 << 22
_PAIRS_AT_ONCE = 1 << 17
"""Of users and items, through layers that see both."""
_FOLDED_FROM = 100_000
"""Users that tell how histories become vectors, at most."""


@dataclass(frozen=True)
class Scored:
    """Rows of users or histories and all items."""

    scores: np.ndarray
    """float32 [rows, items]."""
    known: np.ndarray
    """bool [rows]: whether the model knows anything of them."""
    folded: np.ndarray | None = None
    """bool [rows]: whether it knows of them by what they took alone, where it learns users one by one."""


Scorer = Callable[[Raw], Scored]


def predictor(model: keras.Model, config: Config, assets: Assets, options: Mapping[str, Any]) -> Predictor:
    """Users to lists: Record.output holds int32 [100 or k], the codes of items, best first, -1 behind the last, and
    Record.beside their scores, float32. Where ratings are predicted, users with an item to ratings: Record.output holds
    float32 [1].

    Options: `exclude_seen`, whether what a user took before is left out, by default yes; `allow`, the names of the only
    items to recommend.
    """
    scorer, rate = _scorer(model, config, assets), _rater(model, config, assets)
    allow = options.get("allow")
    lists = _Lists(config, assets, options, None if allow is None else allowed(allow, assets))

    def predict(batches: Iterable[tuple[list[str], Raw]]) -> Iterator[Record]:
        for ids, raw in batches:
            if "item" in raw:
                yield from _rated(ids, raw, rate(raw), assets["trained"])
            else:
                rows = max(_SCORES_AT_ONCE // max(len(assets["items"]), 1), 1)
                for start in range(0, len(ids), rows):
                    part = slice(start, min(start + rows, len(ids)))
                    yield from lists.records(ids[part], rows_of(raw, np.arange(part.start, part.stop)), scorer)

    return predict


def _rated(ids: Sequence[str], raw: Raw, ratings: np.ndarray, trained: Mapping[str, int]) -> Iterator[Record]:
    """A rating each, and whether training knows its user, and its item: where not, the average one stands for it."""
    known = (raw["user"] >= 0) & (raw["user"] < trained["users"])
    known_item = (raw["item"] >= 0) & (raw["item"] < trained["items"])
    for row, (name, rating) in enumerate(zip(ids, ratings, strict=True)):
        if (why := _refusal(raw, row)) is not None:
            yield Record(name, {}, error=why)
        else:
            marks = {"known": bool(known[row]), "known_item": bool(known_item[row])}
            yield Record(name, {"rating": round(float(rating), 4), **marks}, rating[None])


@dataclass(frozen=True)
class _Lists:
    """From scores to records."""

    config: Config
    assets: Assets
    options: Mapping[str, Any]
    allowed: np.ndarray | None
    """int32: the only items to recommend."""

    def records(self, ids: Sequence[str], raw: Raw, scorer: Scorer) -> Iterator[Record]:
        """A list for each row; one whose user was refused becomes an error."""
        found = scorer(raw)
        scores = np.where(found.known[:, None], found.scores, np.asarray(self.assets["counts"], np.float32))
        # Candidates that a protocol gives are all ranked, those taken before too, or the score would flatter.
        excluding = self.options.get("exclude_seen", True) and "candidates" not in raw
        excluded = (raw["history"], raw["history_splits"]) if excluding else None
        kept = min(max(LEAST_KEPT, self.config.k), len(self.assets["items"]))
        items, values = ranked(scores, raw["user"], kept, excluded, self._among(raw, len(ids)))
        for row, name in enumerate(ids):
            if (why := _refusal(raw, row)) is not None:
                yield Record(name, {}, error=why)
            else:
                answer = self._answer(items[row], values[row], known=bool(found.known[row]))
                folded = {"folded_in": True} if found.folded is not None and found.folded[row] else {}
                yield Record(name, {**answer, **folded, **_unknown(raw, row)}, items[row], beside=values[row])

    def _among(self, raw: Raw, rows: int) -> Ragged | None:
        """The only items that each list may hold."""
        if self.allowed is not None:
            return np.tile(self.allowed, rows), np.arange(rows + 1) * len(self.allowed)
        return (raw["candidates"], raw["candidates_splits"]) if "candidates" in raw else None

    def _answer(self, items: np.ndarray, values: np.ndarray, *, known: bool) -> dict[str, Any]:
        shown = [code for code in items[: self.config.k].tolist() if code >= 0]
        scores = [round(value, 4) for value in values[: len(shown)].tolist()]
        return {"items": [self.assets["items"][code] for code in shown], "scores": scores, "known": known}


def _unknown(raw: Raw, row: int) -> dict[str, list[str]]:
    """The items of a history that the model does not know, where there are any."""
    names = json.loads(raw["unknown"][row]) if "unknown" in raw else []
    return {"unknown_items": names} if names else {}


def _refusal(raw: Raw, row: int) -> str | None:
    """Why an input was refused before it came here: NUL and the reason stand in its name's place."""
    name = raw["name"][row] if "name" in raw else b""
    return str(name[1:].decode("utf-8", "replace")) if name[:1] == b"\0" else None


def _scorer(model: keras.Model, config: Config, assets: Assets) -> Scorer:
    """Of all items at once."""
    known = _known(config, assets)
    if QUERY not in {layer.name for layer in model.layers}:
        return _pair_scorer(model, len(assets["items"]), known)
    query, candidates = (forward(tower) for tower in towers(model))
    table = candidates({"item": np.arange(len(assets["items"]), dtype=np.int32)[None]})[0]
    if config.backbone == "ease":
        weights = np.ascontiguousarray(table.T)  # each item taken adds a row: few are
        return lambda raw: Scored(np.asarray(taken(raw, len(weights)) @ weights, np.float32), known(raw))
    if config.backbone not in SEQUENTIAL:
        return _user_scorer(query, table, assets, known)

    def score(raw: Raw) -> Scored:
        history = ragged({name: tf.constant(raw[name]) for name in ("history", "history_splits")}, "history")
        history = tf.ragged.boolean_mask(history, history >= 0)
        return Scored(query({"history": histories(history, config).numpy()}) @ table.T, known(raw))

    return score


def _user_scorer(
    query: Callable[[Any], np.ndarray], table: np.ndarray, assets: Assets, known: Callable[[Raw], np.ndarray]
) -> Scorer:
    """Of users by their own vectors; those without one, who took something, by a vector made of that."""

    @cache
    def folding() -> Folding:
        return fitted_folding(query, table, assets)

    def score(raw: Raw) -> Scored:
        vectors = query({"user": raw["user"]})
        own = (raw["user"] >= 0) & (raw["user"] < assets["trained"]["users"])
        folded = ~own & _any_known(raw)
        if folded.any():
            some = rows_of({name: raw[name] for name in ("history", "history_splits")}, np.flatnonzero(folded))
            vectors = np.array(vectors)
            vectors[folded] = folding().vectors((some["history"], some["history_splits"]))
        return Scored(vectors @ table.T, known(raw) | folded, folded)

    return score


def fitted_folding(query: Callable[[Any], np.ndarray], table: np.ndarray, assets: Assets) -> Folding:
    """From what some of the users of training took, to their vectors."""
    count = assets["trained"]["users"]
    users = np.unique(np.linspace(0, count - 1, min(count, _FOLDED_FROM)).astype(np.int64))
    splits, items = learnt(assets)
    taken = rows_of({"item": items, "item_splits": splits}, users)
    return Folding.fit(query({"user": users.astype(np.int32)}), table, (taken["item"], taken["item_splits"]))


def _known(config: Config, assets: Assets) -> Callable[[Raw], np.ndarray]:
    """bool [rows]: whether the model has learnt of a user, or is told what one took, or what one is like."""
    if config.backbone in READING:
        return _any_known
    most = known_users(config, assets)
    return lambda raw: (raw["user"] >= 0) & (raw["user"] < most)


def known_users(config: Config, assets: Assets) -> int:
    """How many of the first users the model has learnt of, or is told what they are like."""
    described = config.backbone == "two-tower" and "users" in assets.get("features", {})
    return len(assets["users"]) if described else int(assets["trained"]["users"])


def _any_known(raw: Raw) -> np.ndarray:
    before = np.concatenate([[0], np.cumsum(raw["history"] >= 0)])
    return np.asarray(np.diff(before[raw["history_splits"]]) > 0)


def _pair_scorer(model: keras.Model, items: int, known: Callable[[Raw], np.ndarray]) -> Scorer:
    """Through layers that see a user and an item together."""
    compute = forward(model)
    everything = np.arange(items, dtype=np.int32)
    rows = max(_PAIRS_AT_ONCE // items, 1)

    def score(raw: Raw) -> Scored:
        users = raw["user"]
        parts = [users[start : start + rows] for start in range(0, len(users), rows)]
        found = [compute({"user": part, "item": np.tile(everything, (len(part), 1))}) for part in parts]
        return Scored(np.concatenate(found), known(raw))

    return score


def _rater(model: keras.Model, config: Config, assets: Assets) -> Callable[[Raw], np.ndarray]:
    """Rows of users and items -> float32 [rows], within the ratings there are; where one of the two is new, the average
    one stands for it."""
    if not config.rates:
        return lambda raw: np.zeros(0, np.float32)
    least, most = assets["rating"]["min"], assets["rating"]["max"]
    users, items = assets["trained"]["users"], assets["trained"]["items"]
    if QUERY in {layer.name for layer in model.layers}:
        query, candidate = rating_vectors(model, assets)

        def score(user: np.ndarray, item: np.ndarray) -> np.ndarray:
            return np.asarray(np.einsum("nd,nd->n", query[user], candidate[item]))
    else:
        compute, mean = forward(model), assets["rating"]["mean"]

        def score(user: np.ndarray, item: np.ndarray) -> np.ndarray:
            there = (user >= 0) & (item >= 0)
            return np.asarray(np.where(there, compute({"user": user, "item": item[:, None]})[:, 0], mean))

    def rate(raw: Raw) -> np.ndarray:
        user, item = (np.where(raw[name] < most, raw[name], -1) for name, most in (("user", users), ("item", items)))
        return np.asarray(np.clip(score(user, item), least, most), np.float32)

    return rate


def rating_vectors(model: keras.Model, assets: Assets) -> tuple[np.ndarray, np.ndarray]:
    """float32 [users + 1, width] and [items + 1, width], whose products are ratings: of each that training knows, and
    the mean behind the last."""
    users, items = (np.arange(assets["trained"][side], dtype=np.int32) for side in ("users", "items"))
    query, candidate = (forward(tower) for tower in towers(model))
    return _with_average(query({"user": users})), _with_average(candidate({"item": items[None]})[0])


def _with_average(vectors: np.ndarray) -> np.ndarray:
    """The same, and their mean behind the last."""
    return np.concatenate([vectors, vectors.mean(axis=0, keepdims=True)])
