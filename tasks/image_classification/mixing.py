"""MixUp (Zhang et al., 2018) and CutMix (Yun et al., 2019): each training image with a partner that its key names.

The partner is any other training image, wherever in the epoch it stands: a batch's members never meet.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import tensorflow as tf

from pipelines.stream import uniform
from tasks.image_classification.augmentation import box
from tasks.image_classification.config import Config

_CHOICE, _SHARE, _TOP, _LEFT = range(16, 20)
_CELLS = 4096
_OTHER = 0x5851F42D4C957F2D

Sample = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
"""Images uint8 [rows, side, side, channels], targets float32 [rows, classes], weights float32 [rows]."""


def mixes(config: Config) -> bool:
    """Whether training images need partners."""
    return config.mixup is not None or config.cutmix is not None


def partner_keys(keys: tf.Tensor) -> tf.Tensor:
    """Keys by which the partners vary, so that no pair varies alike."""
    return tf.bitwise.bitwise_xor(keys, tf.constant(_OTHER, tf.int64))


def mix(one: Sample, other: Sample, keys: tf.Tensor, config: Config) -> Sample:
    """The images mixed, and their targets by the share of each; where both ways are asked for, half of the images go
    each."""
    ways: list[Callable[..., tuple[tf.Tensor, tf.Tensor]]] = []
    if config.mixup is not None:
        ways.append(partial(_mixup, share=beta(uniform(keys, _SHARE), config.mixup)))
    if config.cutmix is not None:
        ways.append(partial(_cutmix, share=beta(uniform(keys, _SHARE), config.cutmix)))
    mixed = [way(one[0], other[0], keys) for way in ways]
    images, share = mixed[0]
    if len(mixed) == 2:
        first = uniform(keys, _CHOICE) < 0.5
        images = tf.where(first[:, None, None, None], images, mixed[1][0])
        share = tf.where(first, share, mixed[1][1])
    kept, given = share * one[2], (1 - share) * other[2]
    weight = kept + given
    targets = tf.math.divide_no_nan(kept[:, None] * one[1] + given[:, None] * other[1], weight[:, None])
    return images, targets, weight


def beta(chance: tf.Tensor, alpha: float) -> tf.Tensor:
    """Beta(alpha, alpha) from uniform numbers, by its inverse distribution function in a table."""
    from scipy.special import betaincinv

    table = tf.constant(betaincinv(alpha, alpha, np.linspace(0, 1, _CELLS + 1)), tf.float32)
    place = chance * _CELLS
    cell = tf.cast(place, tf.int32)
    low, high = tf.gather(table, cell), tf.gather(table, cell + 1)
    return low + (high - low) * (place - tf.cast(cell, tf.float32))


def _mixup(one: tf.Tensor, other: tf.Tensor, keys: tf.Tensor, share: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    del keys
    part = share[:, None, None, None]
    mixed = part * tf.cast(one, tf.float32) + (1 - part) * tf.cast(other, tf.float32)
    return tf.cast(tf.round(mixed), tf.uint8), share


def _cutmix(one: tf.Tensor, other: tf.Tensor, keys: tf.Tensor, share: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A square of the partner's, its middle anywhere; what stands out of the image is cut off, and the share is what
    is left."""
    side = one.shape[1]
    half = tf.sqrt(1 - share) * side / 2
    edges = []
    for lane in (_TOP, _LEFT):
        middle = uniform(keys, lane) * side
        edges.append([tf.cast(tf.clip_by_value(tf.round(middle + way * half), 0, side), tf.int32) for way in (-1, 1)])
    (top, bottom), (left, right) = edges
    inside = box(top, left, bottom, right, side)
    taken = tf.cast((bottom - top) * (right - left), tf.float32) / side**2
    return tf.where(inside, other, one), 1 - taken
