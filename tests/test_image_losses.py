"""The losses beside numbers worked out in NumPy, on both backends."""

import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines.losses import classification_loss, correct, label_f1, multilabel_loss
from tasks.image_classification.config import Config
from tasks.image_classification.model import build_model

BACKEND = os.environ.get("SIXFOLD_TEST_BACKEND", "tensorflow")
"""test_on_jax runs this file again in a process with the other backend."""

LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 0.0, 3.0], [-40.0, 0.0, 40.0]], np.float32)
LABELS = np.array([0, 1, 2], np.int32)
P = np.exp(LOGITS.astype(float)) / np.exp(LOGITS.astype(float)).sum(1, keepdims=True)
S = 1 / (1 + np.exp(-LOGITS.astype(float)))


def tensor(values: Any) -> Any:
    return keras.ops.convert_to_tensor(values)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_losses_of_one_label(gamma: float, smoothing: float) -> None:
    each = -np.log(P) * (1 - P) ** gamma
    wanted = ((1 - smoothing) * np.eye(3)[LABELS] + smoothing / 3) @ each.T
    settings = {"smoothing": smoothing, "gamma": gamma}
    for y in (LABELS, np.eye(3, dtype=np.float32)[LABELS]):
        found = np.asarray(classification_loss(tensor(y), tensor(LOGITS), **settings))
        np.testing.assert_allclose(found, np.diag(wanted), rtol=1e-5, atol=1e-6)


def test_the_focal_loss_of_the_paper() -> None:
    """Lin et al.: at gamma 2 an example with p 0.9 counts 100 times less than in cross-entropy."""
    logits = tensor(np.log(np.array([[0.9, 0.1]], np.float32)))
    plain, focal = (float(classification_loss(tensor(np.array([0])), logits, gamma=g)[0]) for g in (0.0, 2.0))
    assert plain == pytest.approx(-np.log(0.9), rel=1e-5)
    assert plain / focal == pytest.approx(100, rel=1e-4)


def test_soft_targets_are_shares_of_hard_ones() -> None:
    share = tensor(np.array([[0.3, 0.7, 0.0]] * 3, np.float32))
    one, two = (np.asarray(classification_loss(tensor(np.full(3, label)), tensor(LOGITS))) for label in (0, 1))
    found = np.asarray(classification_loss(share, tensor(LOGITS)))
    np.testing.assert_allclose(found, 0.3 * one + 0.7 * two, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_losses_of_several_labels(gamma: float, smoothing: float) -> None:
    y = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], np.float32)
    logits = np.clip(LOGITS, -10, 10)
    p = 1 / (1 + np.exp(-logits.astype(float)))
    shares = (1 - smoothing) * y + smoothing / 2
    parts = -shares * np.log(p) * (1 - p) ** gamma - (1 - shares) * np.log(1 - p) * p**gamma
    found = multilabel_loss(tensor(y), tensor(logits), smoothing=smoothing, gamma=gamma)
    np.testing.assert_allclose(np.asarray(found), parts.mean(1), rtol=1e-4)


def test_metrics_follow_the_largest_share() -> None:
    assert np.asarray(correct(tensor(LABELS), tensor(LOGITS))).tolist() == [1, 0, 1]
    shares = tensor(np.array([[0.6, 0.4, 0], [0.4, 0, 0.6], [0.6, 0.4, 0]], np.float32))
    assert np.asarray(correct(shares, tensor(LOGITS))).tolist() == [1, 1, 0]
    y = tensor(np.array([[1, 0, 0], [0, 0, 0], [0, 1, 0.6]], np.float32))
    logits = tensor(np.array([[2, -1, 1], [-1, -1, -1], [-1, -1, 1]], np.float32))
    np.testing.assert_allclose(np.asarray(label_f1(y, logits)), [2 / 3, 1, 2 / 3], rtol=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_gradients_stay_finite_where_the_model_is_sure(gamma: float) -> None:
    logits = keras.Variable(np.array([[60.0, -60.0], [-60.0, 60.0]], np.float32))
    for loss, y in ((classification_loss, [0, 0]), (multilabel_loss, [[1.0, 0.0], [1.0, 0.0]])):
        target = tensor(np.array(y, np.int32 if loss is classification_loss else np.float32))
        if BACKEND == "jax":
            import jax

            slope = jax.grad(lambda v, f=loss, t=target: f(t, v, gamma=gamma).sum())(logits.value)
        else:
            with tf.GradientTape() as tape:
                total = tf.reduce_sum(loss(target, logits.value, gamma=gamma))
            slope = tape.gradient(total, logits.value)
        assert np.isfinite(np.asarray(slope)).all()


def test_the_config_chooses_the_loss() -> None:
    y = tensor(LABELS)
    for settings, wanted in (({}, {}), ({"loss": "focal", "focal_gamma": 3.0}, {"gamma": 3.0})):
        config = Config(image_size=8, color="grey", backbone="mlp", label_smoothing=0.1, **settings)
        found = build_model(config, {"classes": ["a", "b", "c"]}).loss(y, tensor(LOGITS))
        expected = classification_loss(y, tensor(LOGITS), smoothing=0.1, **wanted)
        np.testing.assert_allclose(np.asarray(found), np.asarray(expected))


@pytest.mark.skipif(BACKEND == "jax", reason="this is the run on JAX")
def test_on_jax(again_on_jax: Callable[[str], None]) -> None:
    again_on_jax("")
