"""What is fitted on the steps that a series is trained on: its centre and scale, and how wrong a naive forecast is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.time_series_forecasting.data.panel import Panel


@dataclass(frozen=True)
class Scaler:
    """Of each series and channel."""

    center: np.ndarray
    """float32 [series, channels]."""
    scale: np.ndarray
    """float32 [series, channels]; 1 where nothing varies."""


@dataclass(frozen=True)
class Naive:
    """In-sample errors of the value a season before: what MASE and RMSSE are relative to."""

    error: np.ndarray
    """float64 [series, channels]: mean absolute; NaN where there are no two such steps."""
    squared: np.ndarray
    """float64 [series, channels]: mean square, which of large values is beyond float32."""


def fit(panel: Panel, until: np.ndarray, kind: str) -> Scaler:
    """Mean and deviation of the first `until` steps, int64 [series], of each series; what was filled in by guesses does
    not count. Of kind `mean` zero and the mean of absolute values, as DeepAR scales (Salinas et al., 2020)."""
    shape = (len(panel.series), len(panel.channels))
    if kind == "none":
        return Scaler(np.zeros(shape, np.float32), np.ones(shape, np.float32))
    center, scale = np.zeros(shape), np.ones(shape)
    of = panel.of_step
    early = panel.step_of < np.repeat(until, panel.lengths)
    for channel in range(shape[1]):
        column = panel.values[:, channel]
        rows = np.flatnonzero(early & _known(panel, channel))
        values, series = column[rows].astype(np.float64), of[rows]
        counts = np.maximum(np.bincount(series, minlength=shape[0]), 1)
        if kind == "mean":
            size = np.bincount(series, np.abs(values), shape[0]) / counts
            scale[:, channel] = np.where(size > 0, size, 1)
            continue
        center[:, channel] = np.bincount(series, values, shape[0]) / counts
        squares = np.bincount(series, (values - center[series, channel]) ** 2, shape[0]) / counts
        deviation = np.sqrt(squares)
        # What differs by no more than the rounding of float32 does not vary.
        varies = deviation > 1e-6 * np.abs(center[:, channel])
        scale[:, channel] = np.where(varies & (deviation > 0), deviation, 1)
    return Scaler(center.astype(np.float32), scale.astype(np.float32))


def naive(panel: Panel, until: np.ndarray, season: int) -> Naive:
    """Of the same steps; where a series has no season, of the step before."""
    error, squared = _naive(panel, until, season)
    if season > 1:
        again = np.isnan(error)
        if again.any():
            of_one = _naive(panel, until, 1)
            error, squared = np.where(again, of_one[0], error), np.where(again, of_one[1], squared)
    return Naive(error, squared)


def told(scaler: Scaler) -> dict[str, Any]:
    """As an asset."""
    return {"center": scaler.center.tolist(), "scale": scaler.scale.tolist()}


def known(assets: dict[str, Any], series: Sequence[str], fitted: Scaler) -> Scaler:
    """The scaler of a finished model; of series that it does not know, as fitted."""
    places = {name: at for at, name in enumerate(assets["series"])}
    center, scale = fitted.center.copy(), fitted.scale.copy()
    for at, name in enumerate(series):
        if name in places:
            center[at] = assets["scaler"]["center"][places[name]]
            scale[at] = assets["scaler"]["scale"][places[name]]
    return Scaler(center, scale)


def _naive(panel: Panel, until: np.ndarray, season: int) -> tuple[np.ndarray, np.ndarray]:
    shape = (len(panel.series), len(panel.channels))
    error, squared = np.full(shape, np.nan), np.full(shape, np.nan)
    of = panel.of_step
    early = panel.step_of < np.repeat(until, panel.lengths)
    for channel in range(shape[1]):
        good = early & _known(panel, channel)
        rows = np.flatnonzero(good[season:] & good[:-season] & (of[season:] == of[:-season])) + season
        column = panel.values[:, channel].astype(np.float64)
        difference, series = np.abs(column[rows] - column[rows - season]), of[rows]
        counts = np.bincount(series, minlength=shape[0])
        there = counts > 0
        error[there, channel] = np.bincount(series, difference, shape[0])[there] / counts[there]
        squared[there, channel] = np.bincount(series, difference**2, shape[0])[there] / counts[there]
    return error, squared


def _known(panel: Panel, channel: int) -> np.ndarray:
    """bool [steps]: observed, not guessed."""
    good = ~np.isnan(panel.values[:, channel])
    return np.asarray(good if panel.guessed is None else good & ~panel.guessed[:, channel])
