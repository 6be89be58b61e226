"""What networks have in common: convolutions that halve the frames, dropout."""

import zlib
from typing import Any

import keras

from tasks.speech_recognition.config import Config

_KERNEL = 5
"""Frames that a convolution looks at (Deep Speech 2 has more: Amodei et al., 2016)."""


def subsampled(x: Any, counts: Any, config: Config, width: int) -> tuple[Any, Any]:
    """Convolutions that each halve the number of frames; and which of the remaining count."""
    for number in range(1, config.subsampling.bit_length()):
        x = keras.layers.ZeroPadding1D(_KERNEL // 2, name=f"padded_{number}")(x)
        x = keras.layers.Conv1D(width, _KERNEL, strides=2, activation="relu", name=f"convolution_{number}")(x)
        counts = counts[:, ::2]
        x = x * keras.ops.cast(counts, x.dtype)
    return x, counts


def dropped(x: Any, config: Config, name: str) -> Any:
    """Dropout with a seed of its own: of one seed, all layers would drop the same places."""
    seed = zlib.crc32(f"{config.seed} {name}".encode()) % 2**31
    return keras.layers.Dropout(config.dropout, seed=seed, name=name)(x)
