"""What `ranking` does with NumPy as a TensorFlow graph, for where our code is not: the same items in the same order."""

from typing import Any

import numpy as np
import tensorflow as tf

from tasks.recommendation.data.log import ROOT

_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_CLOSED = np.iinfo(np.int64).min
"""Below the key of every item that may be listed."""


def ranked(scores: Any, users: Any, k: Any, excluded: Any) -> tuple[Any, Any]:
    """The items of the k highest scores, best first: int32 [rows, k], -1 where there are fewer, and float32 [rows, k];
    no more than there are items. Equal scores are ordered by the hash of user and item.

    Args:
        scores: float32 [rows, items]; NaN is worst of all.
        users: int32 [rows]: codes, for the hash.
        k: int32.
        excluded: ragged int32 [rows, any], without codes below 0: items that each row's list must not hold.
    """
    # Adding 0 to -0, as ranking does, would be optimised away.
    values = tf.where(tf.equal(scores, 0.0), 0.0, tf.where(tf.math.is_nan(scores), -np.inf, scores))
    places = tf.stack([excluded.value_rowids(), tf.cast(excluded.flat_values, tf.int64)], axis=1)
    open_ = tf.tensor_scatter_nd_update(tf.ones_like(values, tf.bool), places, tf.zeros_like(places[:, 0], tf.bool))
    values = tf.where(open_, values, -np.inf)
    k = tf.minimum(k, tf.shape(values)[1])
    # All that score as high as the k-th, so that no equal of it is missed; only these are hashed and ordered.
    least = tf.math.top_k(values, k).values[:, -1:]
    many = tf.reduce_max(tf.reduce_sum(tf.cast(values >= least, tf.int32), axis=1))
    values, columns = tf.math.top_k(values, tf.maximum(many, k))
    open_ = tf.gather(open_, columns, batch_dims=1)
    keys = tf.where(open_, _ordered(values) * 2**32 + _mixed(users, columns), _CLOSED)
    keys, order = tf.math.top_k(keys, k)
    items, values = (tf.gather(one, order, batch_dims=1) for one in (columns, values))
    return tf.where(keys > _CLOSED, items, -1), tf.where(keys > _CLOSED, values, -np.inf)


def _ordered(values: Any) -> Any:
    """int64 of float32, in the same order, of 32 bits and a sign."""
    bits = tf.bitcast(values, tf.int32)
    return tf.cast(tf.where(bits < 0, tf.bitwise.bitwise_xor(bits, 2**31 - 1), bits), tf.int64)


def _mixed(users: Any, items: Any) -> Any:
    """int64 [rows, any] below 2**32, of users int32 [rows] and items int32 [rows, any]: see ranking.tie_breakers."""
    rows = _mix(_mix(tf.bitcast(tf.cast(users, tf.int64), tf.uint64)))
    mixed = tf.bitwise.bitwise_xor(rows[:, None], _mix(tf.cast(items, tf.uint64))) * _number(_FIRST)
    mixed = _shifted(mixed, 29) * _number(_SECOND)
    return tf.cast(tf.bitwise.right_shift(mixed, _number(32)), tf.int64)


def _mix(values: Any) -> Any:
    """See data.log.mix."""
    mixed = _shifted(values + _number(int(ROOT)), 30) * _number(_FIRST)
    return _shifted(_shifted(mixed, 27) * _number(_SECOND), 31)


def _shifted(values: Any, by: int) -> Any:
    return tf.bitwise.bitwise_xor(values, tf.bitwise.right_shift(values, _number(by)))


def _number(value: int) -> Any:
    return tf.constant(value, tf.uint64)
