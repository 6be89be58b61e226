"""Learning from windows without their future: patches of each channel are hidden, and the network is to fill them in.

PatchTST's own way (Nie et al., 2023, section 3.2: a masked autoencoder, He et al., 2022). Here steps are hidden, not
patches, so that patches that overlap give nothing away; and hidden steps count as unseen, so neither does the window's
mean.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipelines.errors import ConfigError
from pipelines.stream import uniform
from pipelines.task import Assets, Built, Encoder
from tasks.time_series_forecasting import encoding
from tasks.time_series_forecasting.attention import patch_count
from tasks.time_series_forecasting.config import Config
from tasks.time_series_forecasting.encoding import normalization
from tasks.time_series_forecasting.model import by_channel
from tasks.time_series_forecasting.normalization import normalize


def check(config: Config) -> None:
    """See that the backbone has patches, and a mean to put back.

    Raises:
        ConfigError: it has not.
    """
    if config.backbone != "patchtst":
        raise ConfigError(
            f"pretrain_on: backbone {config.backbone} has no patches to hide: choose patchtst, or leave it out."
        )
    if config.reversible == "no":
        raise ConfigError("pretrain_on: it needs to know what is hidden, which reversible no leaves out: drop one.")


def encode(config: Config, assets: Assets) -> Encoder:
    """x as in training, but that a share `pretrain_mask` of the stretches of patch_length of each channel is unseen; y
    [rows, L, C] the past with all of it; weight float32 [rows, L * C], 1 where an observed step is hidden that is in
    any patch."""
    check(config)
    whole = encoding.encode(config, assets, True)
    values = config.lookback * len(assets["channels"])
    patched = fold(config.lookback, config.patch_length, config.patch_stride).sum(axis=0)[:, None] > 0

    def masked(raw: Any, keys: Any) -> tuple[Any, Any, Any]:
        x, _, _ = whole(raw, keys)
        hidden = hide(keys, config.lookback, len(assets["channels"]), config.patch_length, config.pretrain_mask)
        past, seen, left = x["past"], x["past_seen"], 1 - hidden
        given = {**x, "past": past * left, "past_seen": seen * left}
        return given, past, tf.reshape(seen * hidden * tf.cast(patched, tf.float32), [-1, values])

    return masked


def hide(keys: tf.Tensor, steps: int, channels: int, length: int, share: float) -> tf.Tensor:
    """float32 [rows, steps, channels]: 1 in that share of the stretches of so many steps, the last of which ends with
    the window; at least one, never all; drawn by the key, for each channel anew."""
    count = -(-steps // length)
    most = min(max(round(share * count), 1), max(count - 1, 1))
    drawn = tf.stack([uniform(keys, lane) for lane in range(count * channels)], axis=1)
    rank = tf.argsort(tf.argsort(tf.reshape(drawn, [-1, channels, count]), axis=-1, stable=True), axis=-1)
    stretches = tf.repeat(tf.cast(rank < most, tf.float32), length, axis=-1)[..., count * length - steps :]
    return tf.ensure_shape(tf.transpose(stretches, [0, 2, 1]), [None, steps, channels])


def build_model(built: Built, config: Config, assets: Assets) -> Built:
    """The layers of the forecaster without its last one, and a linear layer from each patch to its steps; a step of
    several patches is the mean of what they say."""
    del assets
    check(config)
    inputs = {one.name: keras.Input(one.shape[1:], name=one.name) for one in built.model.inputs}
    window = normalize(by_channel(inputs["past"]), by_channel(inputs["past_seen"]), normalization(config))
    top = built.model.get_layer(f"layer_{config.layers}_dense_norm").output
    tokens = keras.Model(built.model.input, top)(inputs)
    found = keras.layers.Dense(config.patch_length, dtype="float32", name="decoder")(tokens)
    steps = keras.ops.matmul(
        keras.ops.reshape(found, (-1, found.shape[1] * found.shape[2])),
        fold(config.lookback, config.patch_length, config.patch_stride),
    )
    values = window.level(keras.ops.reshape(steps, (-1, window.x.shape[1], config.lookback)))
    model = keras.Model(inputs, by_channel(values), name=f"{built.model.name}_decoder")
    return Built(model, reconstruction_loss, metrics={})


def fold(steps: int, length: int, stride: int) -> np.ndarray:
    """float32 [patches * length, steps]: the mean, for each step, of what its patches have in its place; 0 for the few
    at the beginning that are in none."""
    first = (steps - length) % stride
    starts = first + stride * np.arange(patch_count(steps, length, stride))
    places = (starts[:, None] + np.arange(length)).ravel()
    one_hot = (places[:, None] == np.arange(steps)).astype(np.float32)
    shares: np.ndarray = one_hot / np.maximum(one_hot.sum(axis=0), 1)
    return shares


def reconstruction_loss(y: Any, outputs: Any) -> Any:
    """[rows, L * C]: the squared error of each step."""
    return keras.ops.reshape(keras.ops.square(y - outputs), (-1, y.shape[1] * y.shape[2]))
