"""The forecasts of a head as a TensorFlow graph: what `heads` and `conformal` compute in NumPy and SciPy."""

from typing import Any

import numpy as np
import tensorflow as tf
from scipy import special

from pipelines.task import Assets
from tasks.time_series_forecasting.answers import intervals
from tasks.time_series_forecasting.config import COUNTS, QUANTILES, Config

_MEDIAN = QUANTILES.index(0.5)
_ENDS = [(int(low), int(high)) for _, low, high in intervals(np.arange(len(QUANTILES)))]
"""Of the interval of each level, which of QUANTILES they are."""
_DEGREE = 24
"""Of the polynomials that give Student's quantiles: exact to 1e-7 of them from 2 degrees of freedom on."""


def forecasts(parameters: Any, center: Any, scale: Any, config: Config, assets: Assets) -> Any:
    """float32 [rows, H, C, 1 + quantiles] in units: the forecast, then its quantiles, calibrated.

    Args:
        parameters: of the head, float32 [rows, H, C, numbers]; scaled, but for counts.
        center: float32 [rows, C], of the scaler.
        scale: likewise.
        config: of the run.
        assets: of which `conformal` is used.
    """
    parameters, center, scale = (tf.cast(one, tf.float64) for one in (parameters, center, scale))
    center, scale = center[:, None, :, None], scale[:, None, :, None]
    quantiles = _QUANTILES[config.head](parameters)
    point = quantiles[..., _MEDIAN] if config.head == "quantile" else parameters[..., 0]
    both = tf.concat([point[..., None], quantiles], axis=-1)
    if config.head != COUNTS:
        both = both * scale + center
    if "conformal" in assets:
        shift = np.asarray(assets["conformal"]["shift"], np.float64)
        moved = _moved(both[..., 1:], scale * np.maximum(shift, 0), np.minimum(shift, 0))
        both = tf.concat([both[..., :1], moved], axis=-1)
    return tf.cast(tf.maximum(both, 0) if config.head == COUNTS else both, tf.float32)


def _moved(quantiles: Any, outwards: Any, inwards: np.ndarray) -> Any:
    """Quantiles with the ends of each interval moved outwards by so much, [rows, H or 1, C, levels], and inwards by
    this share, below 0, of the way to the median, [H or 1, C or 1, levels], in order."""
    values = tf.unstack(quantiles, axis=-1)
    median = values[_MEDIAN]
    for place, (low, high) in enumerate(_ENDS):
        values[low] += (values[low] - median) * inwards[..., place] - outwards[..., place]
        values[high] += (values[high] - median) * inwards[..., place] + outwards[..., place]
    for at in range(_MEDIAN - 1, -1, -1):
        values[at] = tf.minimum(values[at], values[at + 1])
    for at in range(_MEDIAN + 1, len(values)):
        values[at] = tf.maximum(values[at], values[at - 1])
    return tf.stack(values, axis=-1)


def _student_quantiles(parameters: Any) -> Any:
    """TensorFlow knows no inverse of Student's distribution. Of a fixed level it is smooth in one over the degrees of
    freedom, which are more than 2: a polynomial on (0, 1/2), found by SciPy when the graph is made."""
    location, scale, freedom = tf.unstack(parameters, axis=-1)
    shifts = [_chebyshev(_student_series(share), 4 / freedom - 1) for share in QUANTILES]
    return location[..., None] + scale[..., None] * tf.stack(shifts, axis=-1)


def _student_series(share: float) -> np.ndarray:
    def quantile(x: np.ndarray) -> np.ndarray:
        return np.asarray(special.stdtrit(4 / (x + 1), share))

    return np.polynomial.chebyshev.chebinterpolate(quantile, _DEGREE)


def _chebyshev(series: np.ndarray, x: Any) -> Any:
    """A Chebyshev series at x (Clenshaw, 1955)."""
    first, second = tf.zeros_like(x), tf.zeros_like(x)
    for coefficient in series[:0:-1].tolist():
        first, second = 2 * x * first - second + coefficient, first
    return x * first - second + float(series[0])


def _count_quantiles(parameters: Any) -> Any:
    """float64 [..., quantiles]: the smallest count up to which each share lies, by halving between the bounds that mean
    and variance set (Cantelli's inequality)."""
    mean, dispersion = (one[..., None] for one in tf.unstack(parameters, axis=-1))
    shares = tf.constant(QUANTILES, tf.float64)
    deviation = tf.sqrt(mean * (1 + dispersion * mean))
    low = tf.maximum(tf.floor(mean - deviation * tf.sqrt((1 - shares) / shares)), 0) - 1
    high = tf.math.ceil(mean + deviation * tf.sqrt(shares / (1 - shares)))
    successes, chance = (tf.broadcast_to(one, tf.shape(high)) for one in (1 / dispersion, 1 / (1 + dispersion * mean)))

    def halved(low: Any, high: Any) -> tuple[Any, Any]:
        middle = tf.floor((low + high) / 2)
        enough = tf.math.betainc(successes, middle + 1, chance) >= shares  # NaN, so not, below 0
        return tf.where(enough, low, middle), tf.where(enough, middle, high)

    return tf.while_loop(lambda low, high: tf.reduce_any(high - low > 1), halved, (low, high))[1]


_QUANTILES = {
    "point": lambda parameters: tf.concat([parameters] * len(QUANTILES), axis=-1),
    "quantile": lambda parameters: tf.sort(parameters, axis=-1),
    "student-t": _student_quantiles,
    COUNTS: _count_quantiles,
}
"""Of parameters float64 [..., numbers]: [..., quantiles], in order."""
