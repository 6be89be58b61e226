"""The classifier: pixels from 0 to 255 in, a logit for each class out."""

from collections.abc import Mapping
from typing import Any

import keras

from pipelines.devices import forward
from pipelines.prediction import batched_predictor
from pipelines.scoring import softmax
from pipelines.task import Assets, Built, Head, Metric, Predictor, Record
from tasks.image_classification.backbones import build_features
from tasks.image_classification.config import Config
from tasks.image_classification.pixels import channels_of, encode
from tasks.image_classification.scores import answer


def build_model(config: Config, assets: Assets) -> Built:
    """A classifier of uint8 [batch, size, size, channels] into logits [batch, classes]."""
    size = config.image_size
    assert size is not None
    inputs = keras.Input((size, size, channels_of(config)), dtype="uint8", name="pixels")
    features = build_features(inputs, config, size)
    x = features.output
    if config.dropout:
        x = keras.layers.Dropout(config.dropout, seed=config.seed, name="dropout")(x)
    logits = keras.layers.Dense(len(assets["classes"]), dtype="float32", name="logits")(x)
    model = keras.Model(inputs, logits, name=features.name or config.backbone)
    smoothing = config.label_smoothing
    return Built(
        model,
        lambda y, outputs: cross_entropy(y, outputs, smoothing),
        {"accuracy": Metric(correct)},
        head=Head(("logits",), units="classes"),
        **features.about,
    )


def predictor(model: keras.Model, config: Config, assets: Assets, options: Mapping[str, Any]) -> Predictor:
    """Images to classes; `top_k` of the options says how many are listed. Record.output holds the logits [classes]."""
    classes, k = assets["classes"], int(options.get("top_k") or config.top_k)
    temperature = assets.get("temperature", 1.0)

    def record(name: str, logits: Any) -> Record:
        return Record(name, answer(softmax(logits, temperature), classes, k), logits)

    return batched_predictor(encode(config, assets, training=False), forward(model), record)


def cross_entropy(y: Any, logits: Any, smoothing: float) -> Any:
    """float32 [batch]: cross-entropy with a share of the target spread over all classes (Szegedy et al., 2016)."""
    hard = keras.ops.sparse_categorical_crossentropy(y, logits, from_logits=True)
    if not smoothing:
        return hard
    return (1 - smoothing) * hard - smoothing * keras.ops.mean(keras.ops.log_softmax(logits), axis=-1)


def correct(y: Any, logits: Any) -> Any:
    """float32 [batch]: 1 where the likeliest class is the right one."""
    return keras.ops.cast(keras.ops.equal(keras.ops.argmax(logits, axis=-1), y), "float32")
