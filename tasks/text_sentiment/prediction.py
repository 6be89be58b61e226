"""From texts to classes."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from pipelines.devices import forward
from pipelines.prediction import batched_predictor
from pipelines.scoring import softmax
from pipelines.task import Assets, Predictor, Record
from tasks.text_sentiment.answers import answer
from tasks.text_sentiment.config import Config
from tasks.text_sentiment.encoding import encode

_TOKENS_AT_ONCE = 1 << 14
"""In a prediction."""


def predictor(model: keras.Model, config: Config, assets: Assets, options: Mapping[str, Any]) -> Predictor:
    """Texts to classes. Record.output holds the logits [classes]."""
    classes, temperature = assets["classes"], assets.get("temperature", 1.0)

    def record(name: str, logits: Any) -> Record:
        return Record(name, answer(softmax(logits, temperature), classes), logits)

    return batched_predictor(encode(config, assets, training=False), _in_parts(forward(model)), record)


def _in_parts(compute: Callable[[Any], np.ndarray]) -> Callable[[Any], np.ndarray]:
    """The same a few rows at a time where texts are long, so that memory stays flat."""

    def outputs(x: Any) -> np.ndarray:
        rows = max(_TOKENS_AT_ONCE // math.prod(x.shape[1:]), 1)
        return np.concatenate([compute(x[start : start + rows]) for start in range(0, len(x), rows)])

    return outputs
