"""The loss of connectionist temporal classification beside all paths, counted one by one; on both backends."""

import itertools
import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from tasks.speech_recognition.ctc import BLANK, ctc_loss, feasible, label_lengths

BACKEND = os.environ.get("SIXFOLD_TEST_BACKEND", "tensorflow")
"""test_on_jax runs this file again in a process with the other backend."""
CASES: list[tuple[list[int], int]] = [
    ([1, 2], 5),
    ([1, 1], 5),  # a blank must stand between
    ([2, 2, 2], 5),  # one path alone
    ([1, 2, 1], 4),
    ([3], 1),
    ([], 3),  # blanks all along
    ([], 0),
    ([2, 1], 3),
]
"""Labels and frames: of 3 labels and the blank, in 5 frames at most."""
LONGEST, FRAMES, SIGNS = 4, 5, 4


def collapsed(path: tuple[int, ...]) -> list[int]:
    return [sign for sign, _ in itertools.groupby(path) if sign != BLANK]


def counted(labels: list[int], logits: np.ndarray) -> tuple[float, np.ndarray]:
    """The negative logarithm of the summed probabilities of all paths that say the labels, and its slope: each sign's
    probability less how often those paths say it."""
    shares = np.exp(logits - logits.max(-1, keepdims=True)).astype(np.float64)
    shares /= shares.sum(-1, keepdims=True)
    total, said = 0.0, np.zeros_like(shares)
    for path in itertools.product(range(logits.shape[-1]), repeat=len(logits)):
        if collapsed(path) == labels:
            at = np.arange(len(path)), np.array(path, int)
            probability = shares[at].prod()
            total += probability
            said[at] += probability
    return -float(np.log(total)), shares - said / total


def batch(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels = np.array([[*one, *[BLANK] * (LONGEST - len(one))] for one, _ in CASES], np.int32)
    logits = np.random.default_rng(seed).normal(size=(len(CASES), FRAMES, SIGNS)).astype(np.float32) * 2
    return labels, logits, np.array([frames for _, frames in CASES], np.int32)


def with_slope(labels: np.ndarray, logits: np.ndarray, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The loss of each row, and the gradient of their sum by the backend."""
    if BACKEND == "jax":
        import jax

        def total(given: Any) -> tuple[Any, Any]:
            loss = ctc_loss(keras.ops.convert_to_tensor(labels), given, keras.ops.convert_to_tensor(frames))
            return loss.sum(), loss

        slope, loss = jax.jit(jax.grad(total, has_aux=True))(logits)
        return np.asarray(loss), np.asarray(slope)
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None, None, SIGNS])])
    def both(labels: Any, given: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(given)
            loss = ctc_loss(labels, given, tf.constant(frames))
            total = tf.reduce_sum(loss)
        return loss, tape.gradient(total, given)

    loss, slope = both(tf.constant(labels), tf.constant(logits))
    return loss.numpy(), slope.numpy()


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_sum_over_all_paths(seed: int) -> None:
    labels, logits, frames = batch(seed)
    found, _ = with_slope(labels, logits, frames)
    wanted = [counted(one, logits[row, :count])[0] for row, (one, count) in enumerate(CASES)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_its_gradient_is_that_of_the_sum_over_all_paths() -> None:
    labels, logits, frames = batch()
    _, found = with_slope(labels, logits, frames)
    for row, (one, count) in enumerate(CASES):
        np.testing.assert_allclose(found[row, :count], counted(one, logits[row, :count])[1], atol=1e-5)
        assert not found[row, count:].any()


def test_padding_changes_nothing() -> None:
    labels, logits, frames = batch()
    loss, slope = with_slope(labels, logits, frames)
    wide = np.pad(logits, ((0, 0), (0, 3), (0, 0)), constant_values=7.0)
    again, more = with_slope(np.pad(labels, ((0, 0), (0, 2))), wide, frames)
    np.testing.assert_allclose(again, loss, rtol=1e-6)
    np.testing.assert_allclose(more[:, :FRAMES], slope, atol=1e-6)
    assert not more[:, FRAMES:].any()


def test_what_cannot_be_said_costs_nothing_and_teaches_nothing() -> None:
    labels = np.array([[1, 1, 0], [1, 2, 3], [1, 2, 1], [0, 0, 0]], np.int32)
    frames = np.array([2, 2, 3, 0], np.int32)
    np.testing.assert_array_equal(np.asarray(feasible(labels, frames)), [False, False, True, True])
    np.testing.assert_array_equal(np.asarray(label_lengths(labels)), [2, 3, 3, 0])
    logits = np.random.default_rng(0).normal(size=(4, 3, SIGNS)).astype(np.float32)
    loss, slope = with_slope(labels, logits, frames)
    np.testing.assert_array_equal(loss[[0, 1, 3]], 0)
    assert loss[2] > 0
    np.testing.assert_array_equal(slope[[0, 1, 3]], 0)
    assert np.isfinite(slope).all()


def test_labels_of_no_length_at_all() -> None:
    logits = np.random.default_rng(0).normal(size=(2, 3, SIGNS)).astype(np.float32)
    frames = np.array([3, 2], np.int32)
    loss, _ = with_slope(np.zeros((2, 0), np.int32), logits, frames)
    np.testing.assert_allclose(loss, [counted([], logits[0])[0], counted([], logits[1, :2])[0]], rtol=1e-5)


def test_a_sure_wrong_answer_costs_much_and_stays_finite() -> None:
    labels, frames = np.array([[1, 2, 3, 1] * 10], np.int32), np.array([200], np.int32)
    logits = np.full((1, 200, SIGNS), -60.0, np.float32)
    logits[..., BLANK] = 60
    loss, slope = with_slope(labels, logits, frames)
    assert 4000 < loss[0] < 5000  # 40 labels of 120 each, many ways
    assert np.isfinite(slope).all()
    np.testing.assert_allclose(slope[..., 1:].sum(), -40, rtol=1e-3)


@pytest.mark.skipif(BACKEND == "jax", reason="TensorFlow's own kernel")
def test_it_agrees_with_tensorflow() -> None:
    import tensorflow as tf

    random = np.random.default_rng(1)
    rows, frames, signs, longest = 6, 60, 30, 20
    logits = random.normal(size=(rows, frames, signs)).astype(np.float32)
    lengths, counts = random.integers(1, longest + 1, rows), random.integers(45, frames + 1, rows).astype(np.int32)
    labels = np.where(np.arange(longest) < lengths[:, None], random.integers(1, signs, (rows, longest)), 0)
    labels = labels.astype(np.int32)
    found = keras.ops.convert_to_numpy(ctc_loss(labels, logits, counts))
    at = tf.where(labels > 0)
    sparse = tf.SparseTensor(at, tf.gather_nd(labels, at), labels.shape)
    wanted = tf.nn.ctc_loss(sparse, logits, None, counts, logits_time_major=False, blank_index=0)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_on_jax(again_on_jax: Callable[[str], None]) -> None:
    if BACKEND == "tensorflow":
        again_on_jax("not on_jax")
