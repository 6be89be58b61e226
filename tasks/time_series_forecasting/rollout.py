"""Forecasts further ahead than the model's own horizon: it sees its own forecasts as the past.

Each quantile's path is one way the series may have gone, and the model goes on from each. What it then says of a step
are as many distributions, mixed by how likely their paths are; where the path does not matter, that is the distribution
itself, and where errors last, intervals widen. A path stays at its quantile from step to step, which real ones do not,
so intervals are rather too wide than too narrow.
"""

from collections.abc import Callable

import numpy as np
from scipy import special

from pipelines.task import Raw
from tasks.time_series_forecasting.config import QUANTILES

_LEVELS = np.array(QUANTILES)
_WEIGHTS = np.linalg.solve(np.vander(special.ndtri(_LEVELS), increasing=True).T, [1, 0, 1, 0, 3])
"""Of the paths: with these, a normal distribution at its QUANTILES has its own first five moments."""


def roll_out(first: np.ndarray, raw: Raw, again: Callable[[Raw], np.ndarray], horizon: int, median: bool) -> np.ndarray:
    """float32 [rows, horizon, C, 1 + quantiles], in units.

    Args:
        first: what the model says, [rows, its horizon, C, 1 + quantiles].
        raw: what a store fetches, with covariates known for `horizon` steps ahead.
        again: such columns, with covariates known for the model's horizon -> what it says of them.
        horizon: more than the model's.
        median: whether the forecast is the median.
    """
    own, paths = first.shape[1], first
    while (done := paths.shape[1]) < horizon:
        # The last time fewer steps on, so that nothing need be known beyond the horizon.
        start = min(done, horizon - own)
        branches = np.stack([again(_seen_from(raw, paths[:, :start, :, way], own)) for way in range(paths.shape[-1])])
        new = branches[0][:, done - start :]
        new[..., 1:] = mixed(branches[1:, :, done - start :, :, 1:])
        if median:
            new[..., 0] = new[..., 1 + QUANTILES.index(0.5)]
        paths = np.concatenate([paths, new], axis=1)
    return paths


def mixed(quantiles: np.ndarray) -> np.ndarray:
    """The quantiles [..., Q] of a mixture of distributions, those of each [paths, ..., Q]; between and beyond them its
    distribution function is straight."""
    knots = np.sort(np.moveaxis(quantiles.astype(np.float64), 0, -2).reshape(*quantiles.shape[1:-1], -1), axis=-1)
    shares = np.sum([weight * _shares(each, knots) for weight, each in zip(_WEIGHTS, quantiles, strict=True)], axis=0)
    found = []
    for level in QUANTILES:
        reached = shares >= level - 1e-9
        right = np.where(reached.any(axis=-1), reached.argmax(axis=-1), knots.shape[-1] - 1)[..., None]
        left = np.maximum(right - 1, 0)
        x0, x1 = (np.take_along_axis(knots, at, -1)[..., 0] for at in (left, right))
        y0, y1 = (np.take_along_axis(shares, at, -1)[..., 0] for at in (left, right))
        rise = np.where(y1 > y0, y1 - y0, 1)
        found.append(np.where(y1 > y0, x0 + (x1 - x0) * np.clip((level - y0) / rise, 0, 1), x1))
    return np.stack(found, axis=-1)


def _shares(quantiles: np.ndarray, x: np.ndarray) -> np.ndarray:
    """How much of a distribution of quantiles [..., Q] lies up to each x [..., n]; its outer lines go on."""
    each = np.moveaxis(quantiles.astype(np.float64), -1, 0)[..., None]
    found, last = np.full(x.shape, _LEVELS[0]), len(_LEVELS) - 2
    for place, (low, high) in enumerate(zip(each[:-1], each[1:], strict=True)):
        with np.errstate(over="ignore"):
            share = (x - low) / np.maximum(high - low, np.finfo(np.float64).tiny)
        share = np.where(x >= high, np.maximum(share, 1) if place == last else 1.0, share)
        found += (share if place == 0 else np.maximum(share, 0)) * (_LEVELS[place + 1] - _LEVELS[place])
    clipped: np.ndarray = np.clip(found, 0, 1)
    return clipped


def _seen_from(raw: Raw, path: np.ndarray, own: int) -> Raw:
    """The columns as they were if the steps ahead went along a path [rows, steps, C]."""
    steps, lookback = path.shape[1], raw["past"].shape[1]
    seen = np.ones(path.shape, raw["past_seen"].dtype)
    moved = {
        **raw,
        "past": np.concatenate([raw["past"], path], axis=1)[:, -lookback:],
        "past_seen": np.concatenate([raw["past_seen"], seen], axis=1)[:, -lookback:],
    }
    if "known_covariates" in raw:
        moved["known_covariates"] = raw["known_covariates"][:, steps : steps + lookback + own]
    return moved
