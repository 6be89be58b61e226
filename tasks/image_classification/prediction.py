"""From images to classes."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from pipelines.devices import forward
from pipelines.prediction import batched_predictor
from pipelines.scoring import sigmoid, softmax
from pipelines.task import Assets, Predictor, Record
from tasks.image_classification import multilabel
from tasks.image_classification.answers import answer
from tasks.image_classification.config import Config
from tasks.image_classification.encoding import encode


def predictor(model: keras.Model, config: Config, assets: Assets, options: Mapping[str, Any]) -> Predictor:
    """Images to classes; `top_k` of the options says how many are listed. Record.output holds the logits [classes]."""
    return batched_predictor(
        encode(config, assets, training=False), forward(model), recorder(config, assets, options.get("top_k"))
    )


def recorder(config: Config, assets: Assets, top_k: int | None = None) -> Callable[[str, Any], Record]:
    """(id, logits [classes]) -> the record."""
    classes, k = assets["classes"], int(top_k or config.top_k)
    temperature = assets.get("temperature", 1.0)

    def record(name: str, logits: Any) -> Record:
        if config.multi_label:
            thresholds = multilabel.thresholds_of(assets)
            return Record(name, multilabel.answer(sigmoid(logits), classes, thresholds, k), logits)
        return Record(name, answer(softmax(logits, temperature), classes, k), logits)

    return record
