"""Learning from images without labels: patches of each are hidden, and the network is to fill them in.

A masked autoencoder (He et al., 2022) on convolutions, as context encoders are (Pathak et al., 2016): a light decoder
stands on the last feature map. The loss counts hidden pixels alone.
"""

import math
from typing import Any

import keras
import tensorflow as tf

from pipelines.stream import uniform
from pipelines.task import Assets, Built, Encoder
from tasks.image_classification import encoding
from tasks.image_classification.backbones import feature_map
from tasks.image_classification.config import Config

_PATCHES = 7
"""Along a side: 4x4 pixels of 28x28, 32x32 of 224x224."""
_FILTERS = (64, 64)
"""Of the decoder's convolutions. With none (SimMIM: Xie et al., 2022) the last features had to be pixels, and helped no
training on labels; see benchmarks/README.md."""
_LANE = 1024
"""The random numbers of the patches; augmentation draws from the lanes below."""
_GREY = 128
"""What hidden pixels are painted with."""
_LABELS = {"mixup": None, "cutmix": None, "rand_augment": None, "erasing": 0.0, "class_weights": "none"}
"""Settings that are there for learning labels, off."""


def encode(config: Config, assets: Assets) -> Encoder:
    """x uint8 [rows, side, side, channels], a share `pretrain_mask` of its patches painted grey; y the same without
    that; weight float32 [rows, side * side], 1 where a pixel is hidden. Images are flipped and cropped as in training.
    """
    whole = encoding.encode(config.model_copy(update=_LABELS), assets, True)

    def masked(raw: Any, keys: Any) -> tuple[Any, Any, Any]:
        images, _, _ = whole(raw, keys)
        hidden = hide(keys, images.shape[1], config.pretrain_mask)
        x = tf.where(hidden[..., None], tf.constant(_GREY, tf.uint8), images)
        return x, images, tf.reshape(tf.cast(hidden, tf.float32), [-1, images.shape[1] ** 2])

    return masked


def hide(keys: tf.Tensor, side: int, share: float) -> tf.Tensor:
    """bool [rows, side, side]: True in that share of the patches (at least one, never all), drawn by the key."""
    patch = math.ceil(side / _PATCHES)
    across = math.ceil(side / patch)
    count = min(max(round(share * across**2), 1), across**2 - 1)
    drawn = tf.stack([uniform(keys, _LANE + place) for place in range(across**2)], axis=1)
    rank = tf.argsort(tf.argsort(drawn, axis=1, stable=True), axis=1)
    patches = tf.reshape(rank < count, [-1, across, across])
    hidden = tf.repeat(tf.repeat(patches, patch, axis=1), patch, axis=2)[:, :side, :side]
    return tf.ensure_shape(hidden, [None, side, side])


def build_model(built: Built, config: Config, assets: Assets) -> Built:
    """The network without its head, and a decoder from its last feature map, each place of which becomes the pixels
    that it stands for; where it has no such map, a linear layer from its features to all pixels."""
    del assets
    inputs = keras.Input(built.model.input_shape[1:], dtype="uint8", name="pixels")
    side, channels = inputs.shape[1], inputs.shape[3]
    features = feature_map(inputs, built, config)
    if len(features.shape) == 2:
        decoded = keras.layers.Dense(side * side * channels, dtype="float32", name="decoder")(features)
        outputs = keras.layers.Reshape((side, side, channels))(decoded)
    else:
        for place, filters in enumerate(_FILTERS, 1):
            convolution = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"decoder_{place}")
            features = convolution(features)
        outputs = _unfold(features, side, channels)
    return Built(keras.Model(inputs, outputs, name=f"{built.model.name}_decoder"), reconstruction_loss, metrics={})


def reconstruction_loss(y: Any, outputs: Any) -> Any:
    """[rows, side * side]: the squared error of each pixel, on a scale from -1 to 1; mean of the channels."""
    target = keras.ops.cast(y, "float32") / 127.5 - 1
    error = keras.ops.mean(keras.ops.square(target - keras.ops.cast(outputs, "float32")), axis=-1)
    return keras.ops.reshape(error, (keras.ops.shape(error)[0], -1))


def _unfold(features: Any, side: int, channels: int) -> Any:
    """[batch, height, width, n] -> [batch, side, side, channels]: each place becomes a square of pixels."""
    height, width = features.shape[1:3]
    square = math.ceil(side / min(height, width))
    x = keras.layers.Conv2D(square * square * channels, 1, dtype="float32", name="decoder")(features)
    x = keras.layers.Reshape((height, width, square, square, channels))(x)
    x = keras.layers.Permute((1, 3, 2, 4, 5))(x)
    x = keras.layers.Reshape((height * square, width * square, channels))(x)
    return x[:, :side, :side, :]
