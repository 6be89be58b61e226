"""Intervals that hold what they promise: moved by how far the validation windows lay outside of them.

Conformalised quantile regression (Romano, Patterson and Candès, "Conformalized quantile regression", 2019): of n
validation windows a value says how far the truth lay outside an interval of level t; by the ceil((n + 1) * t)-th
smallest both ends are moved. Outside it is above 0 and in scales (x / scale), so that series are pooled. Inside it is
below 0 and a share of the way from the end to the median, down to -1: taken in scales too, what makes the intervals of
most series as narrow as they should be would close those of a calmer one. Such intervals grow with the value, which is
all that the promise asks. A point forecast is its own quantiles to begin with, of which this makes split conformal
prediction (Lei et al., 2018): the ends are the point and a quantile of |y - f|. For each step ahead, and each channel.

The promise is exact where windows are exchangeable; those of one series overlap and drift, so scores say what came of
it. Ends moved each by itself promise the same, and take a validation split's trend for lasting: on ETTh1, M4 Hourly and
exchange rates they were never better in weighted quantile loss.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.task import Assets
from tasks.time_series_forecasting.answers import intervals
from tasks.time_series_forecasting.config import COUNTS, LEVELS, QUANTILES

_MOST_SHIFTS = 50_000
"""Numbers that are kept: of more steps and channels the channels are pooled."""
_FEWEST = math.ceil(1 / (1 - max(LEVELS) / 100) - 1e-9) - 1
"""Windows that the widest interval needs: of fewer the ceil((n + 1) * t)-th does not exist."""
_EACH, _EACH_STEP, _ALIKE = "each step and channel", "each step, all channels alike", "all steps and channels alike"
"""What is moved by itself."""
_MEDIAN = QUANTILES.index(0.5)


def fit(outputs: np.ndarray, future: np.ndarray, seen: np.ndarray, scale: np.ndarray) -> dict[str, Any]:
    """What `apply` takes as the asset `conformal`, in JSON values.

    Args:
        outputs: of validation windows, before this, [windows, horizon, channels, 1 + quantiles], in units.
        future: the truth, [windows, horizon, channels].
        seen: whether it was observed, likewise.
        scale: [windows, channels].
    """
    quantiles = outputs[..., 1:]
    median, each = quantiles[..., _MEDIAN], scale[:, None]
    outside = np.stack([_outside(low, median, high, future, each) for _, low, high in intervals(quantiles)], axis=-1)
    outside, alike = _pooled(np.where(seen[..., None].astype(bool), outside, np.nan))
    counts = np.isfinite(outside[..., 0]).sum(axis=0)
    shift = np.stack([_shift(outside[..., place], counts, level) for place, level in enumerate(LEVELS)], axis=-1)
    return {"shifted": alike, "values_each": int(counts.min()), "shift": np.round(shift, 6).tolist()}


def said(fitted: Mapping[str, Any]) -> str:
    """What was done to the intervals, in words."""
    values = f"{fitted['values_each']:,} values"
    by = {
        _EACH: f"for each step and channel by its {values}",
        _EACH_STEP: f"for each step by its {values} of all channels",
        _ALIKE: f"by {values} of all steps and channels",
    }
    return f"widened or narrowed {by[fitted['shifted']]}"


def _outside(
    low: np.ndarray, median: np.ndarray, high: np.ndarray, future: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """How far the truth lies outside of [low, high], in scales; inside, below 0, a share of the way to the median."""
    beyond = np.where(future < median, low - future, future - high)
    way = np.where(future < median, median - low, high - median)
    inside = np.divide(beyond, way, out=np.zeros_like(beyond), where=way > 0)
    found: np.ndarray = np.where(beyond < 0, inside, beyond / scale)
    return found


def _pooled(outside: np.ndarray) -> tuple[np.ndarray, str]:
    """Values [windows, steps, channels, levels] as [n, steps or 1, channels or 1, levels], so that there are enough of
    each, and what is moved alike. The poorest step and channel decides for all."""
    windows, horizon, channels, levels = outside.shape
    alike = _EACH
    if channels > 1 and (_too_few(outside) or horizon * channels * levels > _MOST_SHIFTS):
        outside = outside.transpose(0, 2, 1, 3).reshape(windows * channels, horizon, 1, levels)
        alike = _EACH_STEP
    if horizon > 1 and _too_few(outside):
        outside, alike = outside.reshape(-1, 1, 1, levels), _ALIKE
    return outside, alike


def _too_few(outside: np.ndarray) -> bool:
    return bool(np.isfinite(outside[..., 0]).sum(axis=0).min() < _FEWEST)


def _shift(outside: np.ndarray, counts: np.ndarray, level: int) -> np.ndarray:
    """By what both ends are moved, float64 [steps, channels], of values [windows, steps, channels], NaN where
    unseen, and their counts; by the largest where there are too few, by nothing where there is none."""
    rank = np.ceil((counts + 1) * level / 100 - 1e-9).astype(np.int64)
    place = np.clip(np.minimum(rank, counts) - 1, 0, None)
    ordered = np.sort(outside, axis=0)  # NaN comes last
    found: np.ndarray = np.nan_to_num(np.take_along_axis(ordered, place[None], axis=0)[0])
    return found


def apply(output: np.ndarray, assets: Assets, config: Any, scale: np.ndarray) -> np.ndarray:
    """The same, float32, with its quantiles in order, and their intervals moved once they are fitted. The forecast and
    the median stay, and lie inside.

    Args:
        output: [..., horizon, channels, 1 + quantiles], in units.
        assets: of which `conformal` is used.
        config: of the run; counts are never below 0.
        scale: [..., channels].
    """
    moved = np.array(output, np.float64)
    quantiles = moved[..., 1:]
    quantiles.sort(axis=-1)
    if "conformal" in assets:
        shift, median = np.asarray(assets["conformal"]["shift"]), quantiles[..., _MEDIAN]
        outwards = np.maximum(shift, 0) * np.asarray(scale)[..., None, :, None]
        inwards = np.minimum(shift, 0)
        for place, (_, low, high) in enumerate(intervals(quantiles)):
            np.add(low, (low - median) * inwards[..., place] - outwards[..., place], out=low)
            np.add(high, (high - median) * inwards[..., place] + outwards[..., place], out=high)
        # Outwards from the median, so that no interval becomes narrower than it was fitted.
        np.minimum.accumulate(quantiles[..., _MEDIAN::-1], axis=-1, out=quantiles[..., _MEDIAN::-1])
        np.maximum.accumulate(quantiles[..., _MEDIAN:], axis=-1, out=quantiles[..., _MEDIAN:])
    if config.head == COUNTS:
        moved = np.maximum(moved, 0)
    return moved.astype(np.float32)
