"""The Conformer (Gulati et al., 2020): attention for what is far, convolution for what is near.

Two things are simpler than there: places are told by sinusoids added to the input, not by relative ones, and the norm
within the convolution is over features, not over the batch, which padding would spoil.
"""

import math
from typing import Any

import keras
import numpy as np

from tasks.speech_recognition.config import Config
from tasks.speech_recognition.parts import dropped, subsampled

_WIDER = 4
"""Times the width, inside the dense parts."""
_NEAR = 15
"""Answers that the convolution sees (there 32, of half the stride)."""


def conformer(mels: Any, counts: Any, config: Config) -> Any:
    """[rows, answers, width] of the spectrogram."""
    layers, width, _ = config.shape
    x, counts = subsampled(mels, counts, config, width)
    x = keras.layers.Dense(width, name="entry")(x)
    x = dropped(x + keras.ops.cast(_places(counts, width), x.dtype), config, "entry_dropout")
    counts = keras.ops.cast(counts, x.dtype)
    for number in range(1, layers + 1):
        name = f"conformer_{number}"
        x = x + 0.5 * _dense_part(x, config, f"{name}_first")
        x = x + _attention(x, counts, config, name)
        x = x + _convolution(x, counts, config, name)
        x = _norm(x + 0.5 * _dense_part(x, config, f"{name}_second"), f"{name}_norm")
    return x


def _dense_part(x: Any, config: Config, name: str) -> Any:
    width = config.shape[1]
    x = _norm(x, f"{name}_norm")
    x = keras.layers.Dense(_WIDER * width, activation="swish", name=f"{name}_wide")(x)
    x = keras.layers.Dense(width, name=f"{name}_narrow")(dropped(x, config, f"{name}_inner_dropout"))
    return dropped(x, config, f"{name}_dropout")


def _attention(x: Any, counts: Any, config: Config, name: str) -> Any:
    _, width, heads = config.shape
    x = _norm(x, f"{name}_attention_norm")
    seen = keras.ops.transpose(counts > 0, (0, 2, 1))
    attend = keras.layers.MultiHeadAttention(heads, width // heads, name=f"{name}_attention")
    return dropped(attend(x, x, attention_mask=seen), config, f"{name}_attention_dropout")


def _convolution(x: Any, counts: Any, config: Config, name: str) -> Any:
    width = config.shape[1]
    x = keras.layers.Dense(2 * width, name=f"{name}_gated")(_norm(x, f"{name}_convolution_norm"))
    x = x[..., :width] * keras.ops.sigmoid(x[..., width:]) * counts
    x = keras.layers.DepthwiseConv1D(_NEAR, padding="same", name=f"{name}_near")(x)
    x = keras.ops.silu(_norm(x, f"{name}_near_norm"))
    return dropped(keras.layers.Dense(width, name=f"{name}_joined")(x), config, f"{name}_convolution_dropout")


def _norm(x: Any, name: str) -> Any:
    return keras.layers.LayerNormalization(epsilon=1e-6, name=name)(x)


def _places(counts: Any, width: int) -> Any:
    """float32 [rows, answers, width]: sines and cosines of the places (Vaswani et al., 2017)."""
    place = keras.ops.cumsum(keras.ops.ones_like(counts), axis=1) - 1
    periods = np.exp(-math.log(10_000) * np.arange(width // 2) / (width // 2)).astype(np.float32)
    angles = place * periods
    return keras.ops.concatenate([keras.ops.sin(angles), keras.ops.cos(angles)], axis=-1)
