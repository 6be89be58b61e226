"""The networks: pixels from 0 to 255 in, a logit for each class out."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import keras

from pipelines.devices import forward
from pipelines.prediction import batched_predictor
from pipelines.scoring import sigmoid, softmax
from pipelines.task import Assets, Built, Metric, Predictor, Record
from tasks.image_classification import multilabel
from tasks.image_classification.config import Config
from tasks.image_classification.losses import classification_loss, correct, label_f1, multilabel_loss
from tasks.image_classification.pixels import channels_of, encode
from tasks.image_classification.scores import answer

_LARGEST_STAGE = 48
"""Side above which cnn first halves the image: beyond it the first stage would cost more than all the others."""


def build_model(config: Config, assets: Assets) -> Built:
    """A classifier of uint8 [batch, size, size, channels] into logits [batch, classes]."""
    inputs = keras.Input((config.image_size, config.image_size, channels_of(config)), dtype="uint8", name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, name="scale")(inputs)
    x = _BACKBONES[config.backbone](x, config)
    if config.dropout:
        x = keras.layers.Dropout(config.dropout, seed=config.seed, name="dropout")(x)
    logits = keras.layers.Dense(len(assets["classes"]), dtype="float32", name="logits")(x)
    model = keras.Model(inputs, logits, name=config.backbone)
    gamma = config.focal_gamma if config.loss == "focal" else 0.0
    loss = multilabel_loss if config.multi_label else classification_loss
    metrics = {"label_f1": Metric(label_f1)} if config.multi_label else {"accuracy": Metric(correct)}
    return Built(model, partial(loss, smoothing=config.label_smoothing, gamma=gamma), metrics)


def predictor(model: keras.Model, config: Config, assets: Assets, options: Mapping[str, Any]) -> Predictor:
    """Images to classes; `top_k` of the options says how many are listed. Record.output holds the logits [classes]."""
    classes, k = assets["classes"], int(options.get("top_k") or config.top_k)
    temperature = assets.get("temperature", 1.0)

    def record(name: str, logits: Any) -> Record:
        if config.multi_label:
            thresholds = multilabel.thresholds_of(assets)
            return Record(name, multilabel.answer(sigmoid(logits), classes, thresholds, k), logits)
        return Record(name, answer(softmax(logits, temperature), classes, k), logits)

    return batched_predictor(encode(config, assets, training=False), forward(model), record)


def _cnn(x: Any, config: Config) -> Any:
    """A residual network of three stages (He et al., 2016), wider and shallower than ResNet-20: faster on CPUs, no
    worse here."""
    width = config.width
    x = _convolution(x, width, 2 if x.shape[1] > _LARGEST_STAGE else 1)
    while x.shape[1] > _LARGEST_STAGE:
        x = _residual(x, width)
    x = _residual(x, 2 * width)
    x = _residual(x, 4 * width)
    return keras.layers.GlobalAveragePooling2D(name="features")(x)


def _mlp(x: Any, config: Config) -> Any:
    x = keras.layers.Flatten(name="flat")(x)
    for place, units in enumerate(config.hidden, 1):
        x = keras.layers.Dense(units, activation="relu", name=f"hidden_{place}")(x)
    return x


def _lenet(x: Any, config: Config) -> Any:
    """LeNet-5 (LeCun et al., 1998) with rectifiers and max pooling."""
    for filters in (6, 16):
        x = keras.layers.Conv2D(filters, 5, padding="same", activation="relu")(x)
        x = keras.layers.MaxPooling2D(2, padding="same")(x)
    x = keras.layers.Flatten()(x)
    for units in (120, 84):
        x = keras.layers.Dense(units, activation="relu")(x)
    return x


def _alexnet(x: Any, config: Config) -> Any:
    """AlexNet (Krizhevsky et al., 2012) without its local normalisation; images under 128 pixels skip the stride of
    its first layer."""
    large = x.shape[1] >= 128
    x = keras.layers.Conv2D(96, 11 if large else 5, 4 if large else 1, padding="same", activation="relu")(x)
    x = keras.layers.MaxPooling2D(3, 2, padding="same")(x)
    x = keras.layers.Conv2D(256, 5, padding="same", activation="relu")(x)
    x = keras.layers.MaxPooling2D(3, 2, padding="same")(x)
    for filters in (384, 384, 256):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
    x = keras.layers.Flatten()(keras.layers.MaxPooling2D(3, 2, padding="same")(x))
    for units in (1024, 1024) if not large else (4096, 4096):
        x = keras.layers.Dense(units, activation="relu")(x)
    return x


_BACKBONES = {"cnn": _cnn, "mlp": _mlp, "lenet": _lenet, "alexnet": _alexnet}


def _convolution(x: Any, filters: int, stride: int = 1, activation: str | None = "relu") -> Any:
    """Convolution, norm, activation. The norm is shared between replicas where the backend can."""
    x = keras.layers.Conv2D(filters, 3, stride, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    x = keras.layers.BatchNormalization(momentum=0.9, synchronized=keras.backend.backend() == "tensorflow")(x)
    return keras.layers.Activation(activation)(x) if activation else x


def _residual(x: Any, filters: int) -> Any:
    """Halve the sides by max pooling, then two convolutions beside a 1x1 shortcut."""
    x = keras.layers.MaxPooling2D(2, padding="same")(x)
    y = _convolution(_convolution(x, filters), filters, activation=None)
    shortcut = keras.layers.Conv2D(filters, 1, use_bias=False, kernel_initializer="he_normal")(x)
    return keras.layers.Activation("relu")(keras.layers.Add()([y, shortcut]))
