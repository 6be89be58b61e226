"""Errors of a way to recommend on the validation split, by which settings are chosen where nothing is trained."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TypeVar

import numpy as np

from pipelines.raw import rows_of
from pipelines.task import Data, Raw, Store
from tasks.recommendation.config import Config
from tasks.recommendation.measures import Found
from tasks.recommendation.ranking import ranked

_MOST_VALIDATED = 2_000
"""Users of the validation split that lists are judged by."""
_ROWS = 256
_CELLS = 4_000_000
"""Scores that are ranked at once."""

Scorer = Callable[[Raw], np.ndarray]
"""Users and their histories -> float32 [rows, items]; or of ratings float32 [rows]."""
Setting = TypeVar("Setting")


class Judged:
    """Errors on the validation split, of which a part is fetched once: of lists less NDCG@k, of ratings the mean
    squared error."""

    def __init__(self, config: Config, data: Data) -> None:
        store, items = data.splits["valid"], len(data.assets["items"])
        self._error: Callable[[Scorer, list[Raw]], float] = _rating_error
        most = len(store)
        if not config.rates:
            self._error, most = partial(_list_error, k=config.k, items=items), _MOST_VALIDATED
        self._parts = _fetched(store, most, config.seed)

    def error(self, score: Scorer) -> float:
        """Lower is better; 0 where there is nothing to judge by."""
        return self._error(score, self._parts) if self._parts else 0.0

    def best(self, settings: Iterable[Setting], fit: Callable[[Setting], Scorer]) -> Setting:
        """The one whose scores are best; none but one is kept in memory at a time."""
        errors: Mapping[Setting, float] = {setting: self.error(fit(setting)) for setting in settings}
        return min(errors, key=lambda one: errors[one])


def lists(score: Scorer, raw: Raw, k: int, items: int) -> np.ndarray:
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


def _fetched(store: Store, most: int, seed: int) -> list[Raw]:
    chosen = np.arange(len(store))
    if len(store) > most:
        chosen = np.sort(np.random.default_rng(seed).permutation(len(store))[:most])
    return [store.fetch(chosen[start : start + _ROWS]) for start in range(0, len(chosen), _ROWS)]


def _list_error(score: Scorer, parts: list[Raw], k: int, items: int) -> float:
    """Less NDCG@k, the mean over users."""
    found = [Found.of(lists(score, raw, k, items), raw["target"], raw["target_splits"]).at(k)["ndcg"] for raw in parts]
    return -float(np.concatenate(found).mean())


def _rating_error(score: Scorer, parts: list[Raw]) -> float:
    """The mean squared error."""
    return float(np.concatenate([(score(raw) - raw["rating"]) ** 2 for raw in parts]).mean())
