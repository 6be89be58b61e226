"""The classifier: tokens in, a logit for each class out."""

from functools import partial
from typing import Any

import keras

from pipelines.losses import classification_loss, correct
from pipelines.task import Assets, Built, Head, Metric
from pipelines.text.tokenizers import tokenizer
from tasks.text_sentiment.backbones import POOLER, build_features
from tasks.text_sentiment.config import PRESET, Config


def build_model(config: Config, assets: Assets) -> Built:
    """A classifier of int32 [batch, length] into logits [batch, classes]; where `long` is windows, of
    [batch, windows, length], whose logits are averaged over the windows that hold any token."""
    words = tokenizer(assets["tokenizer"])
    many = config.long == "windows"
    inputs = keras.Input((None, None) if many else (None,), dtype="int32", name="tokens")
    tokens = _one_by_one(inputs) if many else inputs
    features = build_features(tokens, words.pad, words.size, config)
    x = features.output
    if config.dropout:
        x = keras.layers.Dropout(config.dropout, seed=config.seed, name="dropout")(x)
    logits = keras.layers.Dense(len(assets["classes"]), dtype="float32", name="logits")(x)
    outputs = _averaged(logits, inputs, words.pad) if many else logits
    model = keras.Model(inputs, outputs, name=features.name or config.backbone)
    gamma = config.focal_gamma if config.loss == "focal" else 0.0
    loss = partial(classification_loss, smoothing=config.label_smoothing, gamma=gamma)
    head = Head((POOLER, "dropout", "logits"), units="classes")
    # The head sees windows, of which a text has any number: no column of features would be one for each text.
    cacheable = config.backbone == PRESET and not many
    return Built(model, loss, {"accuracy": Metric(correct)}, head=head, cacheable=cacheable, **features.about)


def _one_by_one(windows: Any) -> Any:
    """int32 [batch * windows, length] from [batch, windows, length].

    A reshape in a saved model knows one open side only, and here two are open: so the numbers are looked up.
    """
    rows = _count(keras.ops.reshape(windows[:, :, 0], (-1,)))
    first = windows[0, 0]
    length = keras.ops.sum(keras.ops.ones_like(first))
    places = keras.ops.expand_dims(rows * length, 1) + _count(first)
    return keras.ops.take(keras.ops.reshape(windows, (-1,)), places)


def _averaged(logits: Any, windows: Any, pad: int) -> Any:
    """[batch, classes]: the mean of the logits [batch * windows, classes] over the windows that hold any token."""
    used = keras.ops.cast(keras.ops.any(keras.ops.not_equal(windows, pad), axis=2), "float32")
    rows = _count(windows[:, 0, 0])
    owners = keras.ops.reshape(keras.ops.expand_dims(rows, 1) + keras.ops.zeros_like(windows[:, :, 0]), (-1,))
    mine = keras.ops.cast(keras.ops.equal(keras.ops.expand_dims(rows, 1), owners), "float32")
    total = keras.ops.matmul(mine * keras.ops.reshape(used, (-1,)), logits)
    return total / keras.ops.maximum(keras.ops.sum(used, axis=1, keepdims=True), 1.0)


def _count(values: Any) -> Any:
    """int32 [n]: 0, 1, 2, ... for as many values."""
    return keras.ops.cumsum(keras.ops.ones_like(values, dtype="int32")) - 1
