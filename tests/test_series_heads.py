"""Heads of forecasts: losses and quantiles against SciPy's distributions, on both backends."""

import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from scipy import special, stats

from tasks.time_series_forecasting import heads
from tasks.time_series_forecasting.config import QUANTILES, Config
from tasks.time_series_forecasting.normalization import Normal, normalize

BACKEND = os.environ.get("SIXFOLD_TEST_BACKEND", "tensorflow")
"""test_on_jax runs this file again in a process with the other backend."""
SHAPE = (4, 5, 3)
RNG = np.random.default_rng(0)


def draw(low: float, high: float, *more: int) -> np.ndarray:
    """Numbers of every size between, as they come to a loss."""
    return np.exp(RNG.uniform(np.log(low), np.log(high), (*SHAPE, *more))).astype(np.float32)


def slope(loss: Any, y: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """How the sum of a loss changes with its parameters."""
    if BACKEND == "jax":
        import jax

        return np.asarray(jax.grad(lambda p: loss(y, p).sum())(parameters))
    import tensorflow as tf

    given = tf.constant(parameters)
    with tf.GradientTape() as tape:
        tape.watch(given)
        total = tf.reduce_sum(loss(y, given))
    return np.asarray(tape.gradient(total, given))


@pytest.mark.parametrize(("low", "high"), [(1e-4, 1e-1), (0.1, 10), (10, 1e6)])
@pytest.mark.parametrize("step", [0.5, 1.0, 7.0, 1e4])
def test_the_rise_of_log_gamma(low: float, high: float, step: float) -> None:
    z = draw(low, high)
    wanted = special.gammaln(z.astype(np.float64) + step) - special.gammaln(z.astype(np.float64))
    found = np.asarray(heads._log_rise(z, np.full_like(z, step)))
    np.testing.assert_allclose(found, wanted, rtol=3e-6, atol=3e-6)


def test_students_loss_is_minus_the_log_density() -> None:
    y, location = RNG.normal(0, 5, (2, *SHAPE)).astype(np.float32)
    scale, freedom = draw(1e-3, 10), draw(2, 1e4)
    found = heads.student_loss(y, np.stack([location, scale, freedom], -1))
    wanted = -stats.t.logpdf(y.astype(np.float64), freedom.astype(np.float64), location, scale.astype(np.float64))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("most", [3, 1_000, 1_000_000])
def test_the_loss_of_counts_is_minus_the_log_probability(most: int) -> None:
    y = np.floor(draw(0.5, most)).astype(np.float32)
    mean, dispersion = draw(1e-3, most), draw(1e-3, 10)
    found = heads.count_loss(y, np.stack([mean, dispersion], -1))
    exact_mean, exact = mean.astype(np.float64), dispersion.astype(np.float64)
    wanted = -stats.nbinom.logpmf(y, 1 / exact, 1 / (1 + exact * exact_mean))
    # Of a large count the terms are millions, and float32 keeps 7 digits of them.
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-5 * most)
    assert (np.asarray(heads.count_loss(np.zeros_like(y), np.stack([mean, dispersion], -1))) > 0).all()


def test_the_pinball_loss_is_the_mean_over_the_quantiles() -> None:
    y, quantiles = RNG.normal(size=SHAPE).astype(np.float32), RNG.normal(size=(*SHAPE, 5)).astype(np.float32)
    wanted = np.zeros(SHAPE)
    for place, share in enumerate(QUANTILES):
        error = y - quantiles[..., place]
        wanted += 2 * np.where(error > 0, share * error, (share - 1) * error) / len(QUANTILES)
    np.testing.assert_allclose(heads.pinball(y, quantiles), wanted, rtol=1e-5, atol=1e-6)


def test_the_errors_of_a_point() -> None:
    y, point = RNG.normal(0, 2, (2, *SHAPE)).astype(np.float32)
    error = y - point
    wanted = {
        "mse": error**2,
        "mae": np.abs(error),
        "huber": np.where(np.abs(error) < 1, error**2 / 2, np.abs(error) - 0.5),
    }
    for loss, values in wanted.items():
        found = heads.head_of(Config(head="point", loss=loss)).loss(y, point[..., None])
        np.testing.assert_allclose(found, values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["point", "quantile", "student-t", "negative-binomial"])
def test_gradients_are_numbers_at_any_parameters(kind: str) -> None:
    head = heads.head_of(Config(head=kind))
    x = RNG.normal(size=(4, 3, 9)).astype(np.float32)
    window = normalize(x, np.ones_like(x), "window")
    raw = RNG.normal(0, 30, (4, 3, 5, head.numbers)).astype(np.float32)
    y = np.floor(draw(0.5, 100))
    scale = draw(1e-2, 100)[:, 0, :]

    def loss(y: Any, raw: Any) -> Any:
        parameters = head.parameters(raw, window, scale)
        return head.loss(y, keras.ops.transpose(parameters, (0, 2, 1, 3)))

    found = slope(loss, y, raw)
    assert np.isfinite(found).all()
    assert (found != 0).any(axis=(0, 1, 2)).all()


def test_the_quantiles_of_students_t() -> None:
    location, scale, freedom = RNG.normal(size=SHAPE).astype(np.float32), draw(0.1, 10), draw(2.1, 1e3)
    found = heads.head_of(Config(head="student-t")).quantiles(np.stack([location, scale, freedom], -1))
    for place, share in enumerate(QUANTILES):
        np.testing.assert_allclose(
            found[..., place], stats.t.ppf(share, freedom, location, scale), rtol=1e-5, atol=1e-6
        )


def test_the_quantiles_of_counts() -> None:
    mean, dispersion = draw(0.1, 1e4), draw(1e-3, 5)
    found = heads.head_of(Config(head="negative-binomial")).quantiles(np.stack([mean, dispersion], -1))
    variance = mean + dispersion * mean.astype(np.float64) ** 2
    for place, share in enumerate(QUANTILES):
        spread = stats.nbinom(mean**2 / (variance - mean), mean / variance)
        at = found[..., place]
        # A least count below which lies no smaller a share; where the two ways to write p round otherwise, either.
        assert (spread.cdf(at) >= share - 1e-4).all()
        assert (spread.cdf(at - 1) <= share + 1e-4).all()


@pytest.mark.parametrize("kind", ["point", "quantile", "student-t", "negative-binomial"])
def test_forecasts_are_in_units_and_in_order(kind: str) -> None:
    head = heads.head_of(Config(head=kind))
    parameters = draw(2.5, 9, head.numbers)
    center, scale = RNG.normal(0, 10, (4, 3)), np.exp(RNG.normal(size=(4, 3)))
    found = heads.forecasts(head, parameters, center, scale)
    assert found.shape == (*SHAPE, 1 + len(QUANTILES))
    assert found.dtype == np.float32
    assert (np.diff(found[..., 1:], axis=-1) >= 0).all()
    plain = np.median(parameters, -1) if kind == "quantile" else parameters[..., 0]
    np.testing.assert_allclose(found[..., 0], plain * scale[:, None] + center[:, None], rtol=1e-4, atol=1e-4)
    if kind in ("quantile", "student-t"):
        np.testing.assert_array_equal(found[..., 0], found[..., 1 + QUANTILES.index(0.5)])


def test_deviations_know_no_center() -> None:
    """Twice the deviation of a window is twice the scale of its forecast, wherever it lies."""
    head = heads.head_of(Config(head="student-t"))
    raw = RNG.normal(size=(1, 1, 5, 3)).astype(np.float32)
    near = np.asarray(head.parameters(raw, Normal(None, np.zeros((1, 1, 1), "f4"), np.ones((1, 1, 1), "f4")), None))
    far = np.asarray(head.parameters(raw, Normal(None, np.full((1, 1, 1), 7, "f4"), np.full((1, 1, 1), 2, "f4")), None))
    np.testing.assert_allclose(far[..., 0], 2 * near[..., 0] + 7, rtol=1e-5)
    np.testing.assert_allclose(far[..., 1], 2 * near[..., 1], rtol=1e-3, atol=2e-4)
    np.testing.assert_allclose(far[..., 2], near[..., 2])


@pytest.mark.skipif(BACKEND == "jax", reason="this is the run on JAX")
def test_on_jax(again_on_jax: Callable[[str], None]) -> None:
    again_on_jax("")
