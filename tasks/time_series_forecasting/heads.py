"""What a model says of the future: the parameters of each step, what they cost beside the truth, and the forecast.

The parameters stand behind each other along the last axis, a few numbers for each step and channel:
point: the value; quantile: one for each of QUANTILES; student-t: location, scale, degrees of freedom;
negative-binomial: mean and dispersion, in units.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from scipy import special

from tasks.time_series_forecasting.config import COUNTS, QUANTILES, Config
from tasks.time_series_forecasting.normalization import Normal

_LEAST = 1e-4
"""Of scales and dispersions: below, a likelihood has no bounds."""
_MEDIAN = QUANTILES.index(0.5)


@dataclass(frozen=True)
class Head:
    """One kind of forecast."""

    numbers: int
    """For each step and channel."""
    parameters: Callable[[Any, Normal, Any], Any]
    """(the network's numbers [rows, C, H, numbers], the window, scale [rows, C] or None) -> the parameters."""
    loss: Callable[[Any, Any], Any]
    """(y [rows, H, C], parameters [rows, H, C, numbers]) -> [rows, H, C]."""
    point: Callable[[Any], Any]
    """parameters -> [rows, H, C]; in keras.ops too."""
    quantiles: Callable[[np.ndarray], np.ndarray]
    """parameters -> [rows, H, C, len(QUANTILES)]; NumPy."""
    median: bool = False
    """Whether the forecast is the median of these."""


def head_of(config: Config) -> Head:
    """The head that the settings ask for."""
    return _HEADS[config.head] if config.head != "point" else _point(_ERRORS[config.loss])


def each(loss: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A loss [rows, H, C] as training takes it: [rows, H * C]."""

    def flat(y: Any, parameters: Any) -> Any:
        values = loss(y, parameters)
        return keras.ops.reshape(values, (-1, values.shape[1] * values.shape[2]))

    return flat


def forecasts(head: Head, parameters: np.ndarray, center: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """float32 [rows, H, C, 1 + len(QUANTILES)] in units: the point, then the quantiles.

    Args:
        head: what the parameters are of.
        parameters: [rows, H, C, numbers], scaled, but for counts.
        center: [rows, C], of the scaler; 0 for counts.
        scale: [rows, C]; 1 for counts.
    """
    quantiles = head.quantiles(parameters)
    point = quantiles[..., _MEDIAN] if head.median else head.point(parameters)
    both = np.concatenate([point[..., None], quantiles], axis=-1)
    return np.asarray(both * scale[:, None, :, None] + center[:, None, :, None], np.float32)


# A point


def _point(error: Callable[[Any], Any]) -> Head:
    return Head(
        numbers=1,
        parameters=lambda raw, window, _: window.level(raw),
        loss=lambda y, parameters: error(y - parameters[..., 0]),
        point=lambda parameters: parameters[..., 0],
        quantiles=lambda parameters: np.repeat(parameters, len(QUANTILES), axis=-1),
    )


def _huber(error: Any) -> Any:
    """Squared up to 1, straight beyond (Huber, 1964)."""
    size = keras.ops.abs(error)
    near = keras.ops.minimum(size, 1.0)
    return near * (size - 0.5 * near)


_ERRORS: dict[str, Callable[[Any], Any]] = {"mse": keras.ops.square, "mae": keras.ops.abs, "huber": _huber}


# Quantiles


def pinball(y: Any, quantiles: Any) -> Any:
    """[rows, H, C]: the mean over QUANTILES of twice the pinball loss (Koenker and Bassett, 1978), which comes near the
    continuous ranked probability score; of the median it is the absolute error."""
    error = keras.ops.expand_dims(y, -1) - quantiles
    shares = np.array(QUANTILES, np.float32)
    return 2 * keras.ops.mean(keras.ops.maximum(shares * error, (shares - 1) * error), axis=-1)


# Student's t


def student_loss(y: Any, parameters: Any) -> Any:
    """[rows, H, C]: minus the log density of location, scale, degrees of freedom [..., 3]."""
    location, scale, freedom = (parameters[..., place] for place in range(3))
    z = (y - location) / scale
    return (
        0.5 * keras.ops.log(math.pi * freedom)
        - _log_rise(freedom / 2, 0.5)
        + keras.ops.log(scale)
        + (freedom + 1) / 2 * keras.ops.log1p(keras.ops.square(z) / freedom)
    )


def _student_parameters(raw: Any, window: Normal, scale: Any) -> Any:
    """More than 2 degrees of freedom, so that there is a variance."""
    del scale
    parts = [
        window.level(raw[..., 0]),
        window.width(keras.ops.softplus(raw[..., 1])) + _LEAST,
        2 + keras.ops.softplus(raw[..., 2]),
    ]
    return keras.ops.stack(parts, axis=-1)


def _student_quantiles(parameters: np.ndarray) -> np.ndarray:
    location, scale, freedom = np.moveaxis(parameters.astype(np.float64), -1, 0)
    upper = {share: special.stdtrit(freedom, share) for share in QUANTILES if share > 0.5}
    # The lower ones are the upper ones turned over, which halves the work.
    shifts = [
        upper[share] if share > 0.5 else -upper[round(1 - share, 9)] if share < 0.5 else np.zeros_like(freedom)
        for share in QUANTILES
    ]
    return np.asarray(location[..., None] + scale[..., None] * np.stack(shifts, axis=-1))


# The negative binomial


def count_loss(y: Any, parameters: Any) -> Any:
    """[rows, H, C]: minus the log probability of counts, of mean and dispersion [..., 2]; the variance is mean +
    dispersion mean^2 (as in DeepAR: Salinas et al., 2020)."""
    mean, dispersion = parameters[..., 0], parameters[..., 1]
    successes = 1 / dispersion
    return (
        _log_rise(keras.ops.ones_like(y), y)
        - _log_rise(successes, y)
        + (successes + y) * keras.ops.log1p(dispersion * mean)
        - y * keras.ops.log(dispersion * mean)
    )


def _count_parameters(raw: Any, window: Normal, scale: Any) -> Any:
    """Both grow and shrink with the series' scale, as in DeepAR (Salinas et al., 2020, section 3.3)."""
    scale = keras.ops.expand_dims(scale, -1)
    mean = scale * keras.ops.softplus(window.level(raw[..., 0])) + _LEAST
    dispersion = keras.ops.softplus(raw[..., 1]) / keras.ops.sqrt(scale) + _LEAST
    return keras.ops.stack([mean, dispersion], axis=-1)


def _count_quantiles(parameters: np.ndarray) -> np.ndarray:
    from scipy import stats

    mean, dispersion = np.moveaxis(parameters.astype(np.float64)[..., None], -2, 0)
    return np.asarray(stats.nbinom.ppf(np.array(QUANTILES), 1 / dispersion, 1 / (1 + dispersion * mean)))


def _log_rise(z: Any, step: Any) -> Any:
    """log Gamma(z + step) - log Gamma(z) for z > 0, step >= 0, as keras.ops knows no Gamma.

    Stirling's series (Abramowitz and Stegun, 6.1.41) four places higher, where it is exact to float32; the difference
    is taken term by term, since large values of both would leave nothing of it.
    """
    high = z + 4.0
    below = keras.ops.log1p(step / z) + keras.ops.log1p(step / (z + 1))
    below += keras.ops.log1p(step / (z + 2)) + keras.ops.log1p(step / (z + 3))
    main = (high - 0.5) * keras.ops.log1p(step / high) + step * keras.ops.log(high + step) - step
    return main + _series(high + step) - _series(high) - below


def _series(z: Any) -> Any:
    inverse = 1 / z
    square = inverse * inverse
    return inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))


_HEADS = {
    "quantile": Head(
        numbers=len(QUANTILES),
        parameters=lambda raw, window, _: window.level(raw),
        loss=pinball,
        point=lambda parameters: parameters[..., _MEDIAN],
        # Quantiles that cross are put in order (Chernozhukov et al., 2010).
        quantiles=lambda parameters: np.sort(parameters, axis=-1),
        median=True,
    ),
    "student-t": Head(
        numbers=3,
        parameters=_student_parameters,
        loss=student_loss,
        point=lambda parameters: parameters[..., 0],
        quantiles=_student_quantiles,
    ),
    COUNTS: Head(
        numbers=2,
        parameters=_count_parameters,
        loss=count_loss,
        point=lambda parameters: parameters[..., 0],
        quantiles=_count_quantiles,
    ),
}
