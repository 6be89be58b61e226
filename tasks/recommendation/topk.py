"""From users, or histories, to lists of the best of all items, exactly, a block at a time; or to ratings."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from pipelines.devices import forward
from pipelines.task import Assets, Predictor, Raw, Record
from tasks.recommendation.backbones import QUERY, towers
from tasks.recommendation.config import SEQUENTIAL, Config
from tasks.recommendation.encoding import histories, ragged
from tasks.recommendation.ranking import Ragged, ranked

LEAST_KEPT = 100
"""Items of each list that are kept for scores, though fewer are shown."""
_SCORES_AT_ONCE = 1 << 22
_PAIRS_AT_ONCE = 1 << 17
"""Of users and items, through layers that see both."""
Scorer = Callable[[Raw], np.ndarray]
"""Rows of users or histories -> float32 [rows, items]."""


def predictor(model: keras.Model, config: Config, assets: Assets, options: Mapping[str, Any]) -> Predictor:
    """Users to lists: Record.output holds int32 [100 or k] codes of items, best first, -1 behind the last. Interactions
    to ratings: it holds float32 [1].

    Options: exclude_seen, whether what a user took before is left out (default yes); allow, the codes of the only
    items to recommend.
    """
    scorer = _scorer(model, config, assets)
    rate = _rater(model, assets) if config.rates else None

    def predict(batches: Iterable[tuple[list[str], Raw]]) -> Iterator[Record]:
        for ids, raw in batches:
            if rate is not None and "rating" in raw:
                yield from (
                    Record(name, {"rating": float(one)}, one[None]) for name, one in zip(ids, rate(raw), strict=True)
                )
            else:
                yield from _lists(ids, raw, scorer, (config, assets, options))

    return predict
