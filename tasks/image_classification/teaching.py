"""A trained classifier as teacher of another one: it sees the student's pixels, in its own size and colour."""

from typing import Any

import keras
import numpy as np

from pipelines.errors import ConfigError
from pipelines.task import Assets, Built, Teacher
from pipelines.transfer.distillation import class_divergence, distilled, label_divergence, places_of
from tasks.image_classification.config import Config

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R 601, as `pixels` has it."""


def distil(built: Built, teacher: Teacher, config: Config, assets: Assets) -> Built:
    """The student with its teacher beside it.

    Raises:
        ConfigError: the teacher answers something else.
    """
    if teacher.config.multi_label != config.multi_label:
        ways = ["one label an image", "several labels an image"]
        raise ConfigError(
            f"teacher: {teacher.source} gives {ways[teacher.config.multi_label]}, and this run is to give "
            f"{ways[config.multi_label]}: choose a run with the same multi_label."
        )
    places = places_of(teacher.assets["classes"], assets["classes"], teacher.source)
    pixels = built.model.input
    logits = keras.ops.take(teacher.model(_as_seen(pixels, *teacher.model.input_shape[2:])), places, axis=-1)
    divergence = label_divergence if config.multi_label else class_divergence
    return distilled(built, keras.Model(pixels, logits, name="guide"), divergence, config)


def _as_seen(pixels: Any, size: int, channels: int) -> Any:
    """uint8 [batch, size, size, channels], as the task's own decoding makes it of a larger image; in keras.ops."""
    given, same = pixels.shape[-1], pixels.shape[2] == size
    if given == channels and same:
        return pixels
    x = keras.ops.cast(pixels, "float32")
    if given > channels:
        x = keras.ops.round(keras.ops.sum(x * _LUMA, axis=-1, keepdims=True))
    elif given < channels:
        x = keras.ops.repeat(x, channels, axis=-1)
    if not same:
        weights = _resizing(pixels.shape[2], size)
        x = keras.ops.einsum("bhwc,hi,wj->bijc", x, weights, weights)
    return keras.ops.cast(keras.ops.clip(keras.ops.round(x), 0, 255), "uint8")


def _resizing(given: int, size: int) -> np.ndarray:
    """float32 [given, size]: how much each row or column of the given ones has in each new one, by a triangle that is
    as wide as what a new one covers: tf.image.resize with antialias, which XLA cannot compile."""
    ratio = given / size
    middles = (np.arange(size) + 0.5) * ratio
    apart = np.abs(np.arange(given)[:, None] + 0.5 - middles) / max(ratio, 1.0)
    weights = np.maximum(1 - apart, 0)
    return np.asarray(weights / weights.sum(axis=0), np.float32)
