"""What recommenders are trained by, beside the same written in NumPy; on both backends."""

import os
from collections.abc import Callable

import keras
import numpy as np
import pytest
from scipy.special import expit, log_softmax, logsumexp

from tasks.recommendation import losses

BACKEND = os.environ.get("SIXFOLD_TEST_BACKEND", "tensorflow")
"""test_on_jax runs this file again in a process with the other backend."""
RNG = np.random.default_rng(0)
QUERIES, TABLE = RNG.normal(size=(6, 4)).astype(np.float32), RNG.normal(size=(9, 4)).astype(np.float32)
TAKEN = np.array([0, 8, 3, 3, 5, 0], np.int32)
OWN, OTHERS = RNG.normal(size=(2, 3)).astype(np.float32), RNG.normal(size=(2, 3, 5)).astype(np.float32)
REAL = RNG.random((2, 1, 5)) < 0.6


def test_softmax_over_drawn_items() -> None:
    expected = np.log(np.array([0.5, 2.0, 1.0, 3.0, 0.1], np.float32))
    rest = np.where(REAL, OTHERS - expected, -np.inf)
    wanted = logsumexp(np.concatenate([OWN[..., None], rest], axis=-1), axis=-1) - OWN
    np.testing.assert_allclose(losses.drawn_softmax_loss(OWN, OTHERS, expected, REAL), wanted, rtol=1e-5)


def test_drawn_items_stand_for_all() -> None:
    """Of very many draws, however unlike the items' shares, the loss is that of the softmax over all."""
    shares = np.array([0.4, 0.2, 0.1, 0.1, 0.06, 0.05, 0.04, 0.03, 0.02])
    scores = (QUERIES @ TABLE.T).astype(np.float32)
    drawn = RNG.choice(9, 200_000, p=shares)
    expected = np.log(shares * len(drawn)).astype(np.float32)[drawn]
    own = scores[np.arange(6), TAKEN][:, None]
    real = (drawn != TAKEN[:, None])[:, None]
    found = losses.drawn_softmax_loss(own, scores[:, None, drawn], expected, real)
    wanted = -log_softmax(scores, axis=1)[np.arange(6), TAKEN]
    np.testing.assert_allclose(np.asarray(found)[:, 0], wanted, rtol=0.01)


def test_bpr() -> None:
    each = -np.log(expit(OWN[..., None] - OTHERS)) * REAL
    np.testing.assert_allclose(losses.bpr_loss(OWN, OTHERS, REAL), each.sum(-1) / REAL.sum(-1), rtol=1e-5)
    assert not np.asarray(losses.bpr_loss(OWN, OTHERS, np.zeros_like(REAL))).any()


def test_pointwise() -> None:
    wanted = -np.log(expit(OWN)) - (np.log(1 - expit(OTHERS)) * REAL).sum(-1)
    np.testing.assert_allclose(losses.pointwise_loss(OWN, OTHERS, REAL), wanted, rtol=1e-5)


def test_squared() -> None:
    np.testing.assert_allclose(losses.squared_loss(OWN, 2 * OWN), OWN**2, rtol=1e-6)


def test_popularity_is_a_share_of_all() -> None:
    np.testing.assert_allclose(np.exp(losses.log_popularity([3, 0, 1])), [4 / 7, 1 / 7, 2 / 7], rtol=1e-6)


def test_gain_of_ranks() -> None:
    ranks = np.array([[0, 3, 7], [4, 0, 0], [0, 1, 2], [9, 10, 11]], np.float32)
    asked = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 1], [1, 1, 1]], np.float32)
    best = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    wanted = [(1 + 1 / np.log2(5)) / best, 1 / np.log2(6), 1, 0]
    found = losses.rank_gain(keras.ops.convert_to_tensor(ranks), keras.ops.convert_to_tensor(asked), 5)
    np.testing.assert_allclose(np.asarray(found)[:, 0], wanted, rtol=1e-5)


@pytest.mark.skipif(BACKEND == "jax", reason="this is the run on JAX")
def test_on_jax(again_on_jax: Callable[[str], None]) -> None:
    again_on_jax("")
