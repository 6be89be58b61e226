"""Cross-entropy over a large table, its gradient and its smoothing, beside Keras' own; on both backends."""

import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from pipelines.losses import softmax_loss

BACKEND = os.environ.get("SIXFOLD_TEST_BACKEND", "tensorflow")
"""test_on_jax runs this file again in a process with the other backend."""
RNG = np.random.default_rng(0)
QUERIES, TABLE = RNG.normal(size=(6, 4)).astype(np.float32), RNG.normal(size=(9, 4)).astype(np.float32)
TAKEN = np.array([0, 8, 3, 3, 5, 0], np.int32)
WEIGHTS = np.array([1, 2, 0, 4, 0.5, 6], np.float32)


def valued(function: Any, *values: np.ndarray) -> list[np.ndarray]:
    """What a sum is, and its gradients, by the backend."""
    if BACKEND == "jax":
        import jax

        value, found = jax.value_and_grad(function, argnums=range(len(values)))(*values)
        return [np.asarray(one) for one in (value, *found)]
    import tensorflow as tf

    variables = [tf.Variable(value) for value in values]
    with tf.GradientTape() as tape:
        total = function(*[variable.value() for variable in variables])
    return [np.asarray(tf.convert_to_tensor(one)) for one in (total, *tape.gradient(total, variables))]


def own(smoothing: float, dtype: str = "float32") -> Any:
    def total(queries: Any, table: Any) -> Any:
        given = (keras.ops.cast(one, dtype) for one in (queries, table))
        loss = softmax_loss(*given, keras.ops.convert_to_tensor(TAKEN), smoothing=smoothing)
        return keras.ops.sum(WEIGHTS * loss)

    return total


def as_keras_has_it(smoothing: float) -> Any:
    def total(queries: Any, table: Any) -> Any:
        logits = keras.ops.matmul(queries, keras.ops.transpose(table))
        wanted = (1 - smoothing) * np.eye(9, dtype=np.float32)[TAKEN] + smoothing / 9
        return keras.ops.sum(WEIGHTS * keras.ops.categorical_crossentropy(wanted, logits, from_logits=True))

    return total


def as_it_was(queries: Any, table: Any) -> Any:
    """The loss of recommenders before it knew of smoothing."""
    taken = keras.ops.convert_to_tensor(TAKEN)

    @keras.ops.custom_gradient
    def loss(queries: Any, table: Any) -> Any:
        logits = keras.ops.matmul(queries, keras.ops.transpose(table))
        top = keras.ops.max(logits, axis=-1, keepdims=True)
        shares = keras.ops.exp(logits - top)
        total = keras.ops.sum(shares, axis=-1, keepdims=True)
        own = keras.ops.take(table, taken, axis=0)
        value = keras.ops.squeeze(keras.ops.log(total) + top, -1) - keras.ops.sum(queries * own, axis=-1)

        def slopes(*upstream: Any) -> Any:
            slope = keras.ops.expand_dims(keras.ops.cast(upstream[-1], queries.dtype), -1)
            each = shares * (slope / total)
            of_queries = keras.ops.matmul(each, table) - slope * own
            of_table = keras.ops.matmul(keras.ops.transpose(each), queries)
            of_own = keras.ops.segment_sum(slope * queries, taken, num_segments=table.shape[0])
            return of_queries, of_table - of_own

        return value, slopes

    return keras.ops.sum(WEIGHTS * keras.ops.cast(loss(queries, table), "float32"))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_loss_and_slopes_are_those_of_keras_own(smoothing: float) -> None:
    mine, wanted = (valued(make(smoothing), QUERIES, TABLE) for make in (own, as_keras_has_it))
    for one, other in zip(mine, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_without_smoothing_nothing_has_changed() -> None:
    """Bit by bit, so that recommenders learn as they did."""
    for one, other in zip(valued(own(0.0), QUERIES, TABLE), valued(as_it_was, QUERIES, TABLE), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_in_half_the_bits_it_is_about_the_same(smoothing: float) -> None:
    mine, wanted = (valued(own(smoothing, dtype), QUERIES, TABLE) for dtype in ("bfloat16", "float32"))
    for one, other in zip(mine, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=0.02, atol=0.02 * np.abs(other).max())


@pytest.mark.skipif(BACKEND == "jax", reason="this is the run on JAX")
def test_on_jax(again_on_jax: Callable[[str], None]) -> None:
    again_on_jax("")
