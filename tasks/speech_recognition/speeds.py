"""Clips played at three speeds, as they are, slower and faster (Ko et al., 2015); a TensorFlow graph."""

from fractions import Fraction
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.stream import uniform

_FINEST = 100
"""Samples of a block at most: a share is rounded to what has no larger denominator."""


def perturbed(
    sound: tf.Tensor, lengths: tf.Tensor, keys: Any, lane: int, share: float, bounds: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """float32 [rows, any], int64 [rows] how many of them are sound -> the same played at speeds that the keys choose,
    padded to the smallest of the bounds that holds all rows. Slower is no clip that would not fit then.

    Args:
        lane: of the keys' random numbers.
        share: how much slower and faster; above 0.
        bounds: int64 [any], lengths in samples, ascending.
    """
    block, apart = _block(share)
    strides = tf.constant([block - apart, block, block + apart], tf.int64)
    which = tf.cast(uniform(keys, lane) * 3.0, tf.int32)
    which = tf.where(_played(lengths, block, tf.gather(strides, which)) > bounds[-1], tf.maximum(which, 1), which)
    samples = tf.minimum(_played(lengths, block, tf.gather(strides, which)), bounds[-1])
    longest = tf.cast(fitting(samples, bounds), tf.int32)
    rows = tf.dynamic_partition(tf.range(tf.size(which)), which, 3)
    slower, same, faster = (tf.gather(sound, one) for one in rows)
    played = [
        _read(slower, block, block - apart, longest),
        _cut(same, longest),
        _read(faster, block, block + apart, longest),
    ]
    return tf.ensure_shape(tf.dynamic_stitch(rows, played), [None, None]), samples


def fitting(lengths: tf.Tensor, bounds: tf.Tensor) -> tf.Tensor:
    """int64: the smallest of the bounds that holds all lengths, or the last."""
    place = tf.searchsorted(bounds, [tf.reduce_max(lengths)])[0]
    return tf.gather(bounds, tf.minimum(place, tf.size(bounds) - 1))


def _block(share: float) -> tuple[int, int]:
    """(n, k): n samples are made of n - k, or of n + k."""
    found = Fraction(share).limit_denominator(_FINEST)
    return found.denominator, found.numerator


def _played(lengths: tf.Tensor, block: int, strides: tf.Tensor) -> tf.Tensor:
    """How many samples there are then."""
    return -(-lengths * block // strides)


def _read(sound: tf.Tensor, block: int, stride: int, longest: tf.Tensor) -> tf.Tensor:
    """[rows, longest]: the sound at every (stride / block)th place, between two samples by how near they are. Of each
    stretch of `stride` samples, and the first behind it, the same matrix makes `block`: a product of matrices is
    several times faster than to look up two samples for each."""
    places = np.arange(block) * stride / block
    near = np.maximum(1.0 - np.abs(np.arange(stride + 1)[:, None] - places), 0.0).astype(np.float32)
    rows, blocks = tf.shape(sound)[0], -(-longest // block)
    sound = _cut(sound, blocks * stride + 1)
    stretches = tf.reshape(sound[:, :-1], [rows * blocks, stride])
    behind = tf.reshape(sound[:, stride::stride], [rows * blocks, 1])
    return tf.reshape(stretches @ near[:-1] + behind * near[-1:], [rows, blocks * block])[:, :longest]


def _cut(sound: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """[rows, length]: what is too long is cut off, what is too short gets zeros."""
    sound = sound[:, :length]
    return tf.pad(sound, [[0, 0], [0, length - tf.shape(sound)[1]]])
