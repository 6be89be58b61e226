"""Intervals that hold what they promise: quantiles moved by what the validation windows missed them by.

Split conformal prediction (Vovk et al., 2005), for quantiles as Romano, Patterson and Candès have it ("Conformalized
quantile regression", 2019, Theorem 2): each quantile of level t above the median is raised by the
ceil((n + 1) * t)-th smallest of the n values y - q of validation, those below the median lowered alike, so that each
tail holds what it says. A point forecast is its own quantiles to begin with: then the intervals are made of the
residuals. All in scales (x / scale), so that series are pooled; for each step ahead, and each channel.

The promise is exact where windows are exchangeable; those of one series overlap and drift, so scores say what came of
it.
"""

import math
from typing import Any

import numpy as np

from pipelines.task import Assets
from tasks.time_series_forecasting.config import COUNTS, QUANTILES

_MOST_SHIFTS = 100_000
"""Numbers that are kept: of more steps, channels and quantiles the channels are pooled."""
_FEWEST = math.ceil(1 / min(QUANTILES)) - 1
"""Windows that the outermost quantile needs: of fewer the ceil((n + 1) * t)-th does not exist."""


def fit(outputs: np.ndarray, future: np.ndarray, seen: np.ndarray, scale: np.ndarray) -> dict[str, Any]:
    """What `apply` takes as the asset `conformal`, in JSON values.

    Args:
        outputs: of validation windows, before this, [windows, horizon, channels, 1 + quantiles], in units.
        future: the truth, [windows, horizon, channels].
        seen: whether it was observed, likewise.
        scale: [windows, channels].
    """
    residuals = (future[..., None] - outputs[..., 1:]) / scale[:, None, :, None]
    residuals = np.where(seen[..., None].astype(bool), residuals, np.nan)
    residuals, alike = _pooled(residuals)
    counts = np.isfinite(residuals[..., 0]).sum(axis=0)
    shift = np.stack([_shift(residuals[..., place], counts, level) for place, level in enumerate(QUANTILES)], axis=-1)
    return {"shifted": alike, "values_each": int(counts.min()), "shift": np.round(shift, 6).tolist()}


def _pooled(residuals: np.ndarray) -> tuple[np.ndarray, str]:
    """Residuals [windows, steps, channels, quantiles] as [n, steps or 1, channels or 1, quantiles], so that there are
    enough of each, and what is moved alike. The poorest step and channel decides for all."""
    windows, horizon, channels, quantiles = residuals.shape
    alike = "each step and channel"
    if channels > 1 and (_too_few(residuals) or horizon * channels * quantiles > _MOST_SHIFTS):
        residuals = residuals.transpose(0, 2, 1, 3).reshape(windows * channels, horizon, 1, quantiles)
        alike = "each step, all channels alike"
    if horizon > 1 and _too_few(residuals):
        residuals, alike = residuals.reshape(-1, 1, 1, quantiles), "all steps and channels alike"
    return residuals, alike


def _too_few(residuals: np.ndarray) -> bool:
    return bool(np.isfinite(residuals[..., 0]).sum(axis=0).min() < _FEWEST)


def _shift(residuals: np.ndarray, counts: np.ndarray, level: float) -> np.ndarray:
    """By how much a quantile is moved, float64 [steps, channels], of residuals [windows, steps, channels], NaN where
    unseen, and their counts; by the outermost residual where there are too few. The median stays."""
    if level == 0.5 or not counts.any():
        return np.zeros(counts.shape)
    upper = level > 0.5
    side = np.sort(residuals if upper else -residuals, axis=0)  # NaN comes last
    rank = np.ceil((counts + 1) * (level if upper else 1 - level) - 1e-9).astype(np.int64)
    place = np.clip(np.minimum(rank, counts) - 1, 0, None)
    found = np.nan_to_num(np.take_along_axis(side, place[None], axis=0)[0])
    return found if upper else -found


def apply(output: np.ndarray, assets: Assets, config: Any, scale: np.ndarray) -> np.ndarray:
    """The same with its quantiles moved and in order, float32; as it was but for their order before `fit`.

    Args:
        output: [..., horizon, channels, 1 + quantiles], in units.
        assets: of which `conformal` is used.
        config: of the run; counts are never below 0.
        scale: [..., channels].
    """
    moved = np.array(output, np.float64)
    if "conformal" in assets:
        moved[..., 1:] += np.asarray(assets["conformal"]["shift"]) * np.asarray(scale)[..., None, :, None]
    moved[..., 1:] = np.sort(moved[..., 1:], axis=-1)
    if config.head == COUNTS:
        moved = np.maximum(moved, 0)
    return moved.astype(np.float32)
