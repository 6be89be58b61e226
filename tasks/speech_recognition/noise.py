"""White noise without end, for what training does to sound; a TensorFlow graph."""

import numpy as np
import tensorflow as tf

LENGTH = 1 << 17
"""Samples after which it begins again."""


def white(places: tf.Tensor) -> tf.Tensor:
    """float32: standard normal noise at these places, int32 or int64 of any shape."""
    table = tf.constant(np.random.default_rng(0).standard_normal(LENGTH, np.float32))
    return tf.gather(table, places % LENGTH)
