"""Networks of attention: between patches of a channel (PatchTST), between whole channels (iTransformer)."""

import math
from typing import Any

import keras

from tasks.time_series_forecasting.config import Config
from tasks.time_series_forecasting.covariates import Covariates


def patchtst(x: Any, covariates: Covariates, config: Config) -> Any:
    """PatchTST (Nie et al., 2023): [rows, C, patches * width], of channels that know nothing of each other."""
    del covariates
    steps = keras.ops.reshape(x, (-1, x.shape[-1]))
    tokens = patches(steps, config.patch_length, config.patch_stride)
    tokens = keras.layers.Dense(config.width, name="patches")(tokens)
    tokens += _positions(tokens, config)
    tokens = keras.layers.Dropout(config.dropout, seed=config.seed, name="patch_dropout")(tokens)
    for number in range(1, config.layers + 1):
        tokens = _layer(tokens, config, f"layer_{number}", _batch_norm)
    return keras.ops.reshape(tokens, (-1, x.shape[1], tokens.shape[1] * config.width))


def patches(x: Any, length: int, stride: int) -> Any:
    """[rows, patches, length] of [rows, L]: every `stride` steps one, the last beginning with the last whole stride and
    running over the end, where the last value counts on, as in the paper; what is left over is left out at the
    beginning."""
    steps = x.shape[-1]
    count = patch_count(steps, length, stride)
    first = steps + stride - length - (count - 1) * stride
    whole = keras.ops.concatenate([x[:, first:], keras.ops.repeat(x[:, -1:], stride, axis=1)], axis=1)
    # Patches that overlap are put together of blocks that do not, which are cut by a mere reshape.
    block = math.gcd(length, stride)
    blocks = keras.ops.reshape(whole, (-1, (steps + stride - first) // block, block))
    hop, last = stride // block, (count - 1) * stride // block
    return keras.ops.concatenate([blocks[:, i : i + last + 1 : hop] for i in range(length // block)], axis=-1)


def patch_count(steps: int, length: int, stride: int) -> int:
    """Patches of so many steps, that over the end counted."""
    return (steps - length) // stride + 2


def itransformer(x: Any, covariates: Covariates, config: Config) -> Any:
    """iTransformer (Liu et al., 2024): [rows, C, width], each channel one token; what is known besides are further
    tokens, which have no answer."""
    tokens = [keras.layers.Dense(config.width, name="channels")(x)]
    for name, values in covariates.items():
        rows = keras.ops.expand_dims(values, 1) if name == "static" else keras.ops.transpose(values, (0, 2, 1))
        tokens.append(keras.layers.Dense(config.width, name=f"{name}_tokens")(rows))
    features = keras.ops.concatenate(tokens, axis=1) if len(tokens) > 1 else tokens[0]
    features = keras.layers.Dropout(config.dropout, seed=config.seed, name="channel_dropout")(features)
    for number in range(1, config.layers + 1):
        features = _layer(features, config, f"layer_{number}", _layer_norm)
    return _layer_norm("norm")(features)[:, : x.shape[1]]


def _layer(x: Any, config: Config, name: str, norm: Any) -> Any:
    """An encoder layer with its norms behind each part (Vaswani et al., 2017)."""
    attention = keras.layers.MultiHeadAttention(config.heads, config.width // config.heads, name=f"{name}_attention")
    y = keras.layers.Dropout(config.dropout, seed=config.seed, name=f"{name}_attention_dropout")(attention(x, x))
    x = norm(f"{name}_attention_norm")(x + y)
    y = keras.layers.Dense(config.feedforward, activation="gelu", name=f"{name}_wide")(x)
    y = keras.layers.Dropout(config.dropout, seed=config.seed, name=f"{name}_wide_dropout")(y)
    y = keras.layers.Dense(config.width, name=f"{name}_narrow")(y)
    y = keras.layers.Dropout(config.dropout, seed=config.seed, name=f"{name}_dense_dropout")(y)
    return norm(f"{name}_dense_norm")(x + y)


def _batch_norm(name: str) -> Any:
    """Over the patches of all rows, which the paper found better than over each one's numbers (appendix A.1.1)."""
    synchronized = keras.backend.backend() == "tensorflow"
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, synchronized=synchronized, name=name)


def _layer_norm(name: str) -> Any:
    return keras.layers.LayerNormalization(epsilon=1e-5, name=name)


def _positions(tokens: Any, config: Config) -> Any:
    """[1, patches, width]: learnt, of each patch, counted from the end of the window, so that they mean the same in
    windows of other lengths."""
    order = keras.ops.cumsum(keras.ops.ones_like(tokens[:1, :, 0], dtype="int32"), axis=1)
    small = keras.initializers.RandomUniform(-0.02, 0.02, seed=config.seed)
    count = tokens.shape[1]
    return keras.layers.Embedding(
        count, config.width, embeddings_initializer=small, name="sequence_position_embedding"
    )(count - order)
