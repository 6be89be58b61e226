"""Ridge regression from the last steps of a window, and what is known ahead, to all steps ahead at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from pipelines.task import Data, Raw, Store
from tasks.time_series_forecasting.config import Config

_MOST_PRODUCTS = 2e10
"""Multiplications that fitting may take: ETTh1 as a whole, at lookback 336 and horizon 96, takes 8e9."""
_MOST_WINDOWS = 100_000
"""Of training, that are fitted to."""
_MOST_VALIDATED = 2_000
"""Windows of the validation split that the penalty is chosen by."""
_PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""For each row that is fitted to, of values that are scaled."""
_MOST_KNOWN = 1_000
"""Numbers known ahead, of all steps together: of more none are used."""
_ROWS = 256


def some(count: int, most: int, seed: int) -> np.ndarray:
    """Ascending indices of that many at most, chosen by the seed: int64 [n]."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).permutation(count)[:most])


def parts(indices: np.ndarray) -> Iterator[np.ndarray]:
    """A few at a time."""
    return (indices[start : start + _ROWS] for start in range(0, len(indices), _ROWS))


@dataclass(frozen=True)
class Ridge:
    """Least squares with a penalty on the weights (Hoerl and Kennard, 1970), one for all series and channels, each step
    ahead with weights of its own (direct, not recursive)."""

    lags: int
    known: bool
    """Whether what is known ahead is among the features."""
    weights: np.ndarray
    """float64 [features, horizon]."""
    intercept: np.ndarray
    """float64 [horizon]."""
    note: str

    @classmethod
    def fit(cls, config: Config, data: Data) -> Self:
        """Fitted to the train split, its penalty chosen by the squared error on the validation split."""
        train, valid = data.splits["train"], data.splits["valid"]
        lags = min(config.baseline_lags or config.lookback, config.lookback)
        known = 0 < config.horizon * len(data.assets["covariates"]["known"]) <= _MOST_KNOWN
        channels = len(data.assets["channels"])
        features = lags + config.horizon * len(data.assets["covariates"]["known"]) * known
        features += len(data.assets["covariates"]["static"])
        most = int(_MOST_PRODUCTS / (channels * features * (features + config.horizon)))
        chosen = some(len(train), min(max(most, 1), _MOST_WINDOWS), config.seed)
        sums = _Sums(features, config.horizon)
        for indices in parts(chosen):
            sums.add(*_rows(train.fetch(indices), lags, known))
        candidates = [sums.solve(penalty) for penalty in _PENALTIES]
        errors = _squared_errors(candidates, valid, some(len(valid), _MOST_VALIDATED, config.seed), lags, known)
        best = int(np.argmin(errors))
        note = f"{lags:,} lags{' and what is known ahead' if known else ''}, penalty {_PENALTIES[best]:g}"
        if len(chosen) < len(train):
            note += f"; fitted to {len(chosen):,} of {len(train):,} training windows, chosen by the seed"
        if sums.left_out:
            note += f"; {sums.left_out:,} futures with missing values left out"
        return cls(lags, known, *candidates[best], note)

    def forecast(self, raw: Raw) -> np.ndarray:
        """float32 [rows, horizon, channels], in units."""
        features = _features(raw, self.lags, self.known)
        steps = features @ self.weights + self.intercept
        rows, channels = raw["scale"].shape
        scaled = steps.reshape(rows, channels, -1).transpose(0, 2, 1)
        level, scale = _level(raw, self.lags), raw["scale"][:, None, :]
        return np.asarray(scaled * scale + level, np.float32)


def _level(raw: Raw, lags: int) -> np.ndarray:
    """The mean of what a window shows, in units [rows, 1, channels]; the series' centre where it shows nothing. The
    model sees and gives what is above it, so that a series may wander off."""
    past, seen = raw["past"][:, -lags:].astype(np.float64), raw["past_seen"][:, -lags:].astype(bool)
    count = seen.sum(axis=1, keepdims=True)
    mean = np.where(seen, past, 0).sum(axis=1, keepdims=True) / np.maximum(count, 1)
    found: np.ndarray = np.where(count > 0, mean, raw["center"][:, None, :])
    return found


def _features(raw: Raw, lags: int, known: bool) -> np.ndarray:
    """float32 [rows * channels, features]: the lags, scaled, 0 where unseen; what is known ahead; what is static."""
    seen = raw["past_seen"][:, -lags:].astype(bool)
    scaled = (raw["past"][:, -lags:] - _level(raw, lags)) / raw["scale"][:, None, :]
    rows, _, channels = seen.shape
    blocks = [np.where(seen, scaled, 0).transpose(0, 2, 1)]
    if known:
        ahead = raw["known_covariates"][:, raw["past"].shape[1] :]
        blocks.append(_for_channels(ahead.reshape(rows, -1), channels))
    if "static_covariates" in raw:
        blocks.append(_for_channels(raw["static_covariates"], channels))
    return np.concatenate(blocks, axis=2, dtype=np.float32).reshape(rows * channels, -1)


def _for_channels(values: np.ndarray, channels: int) -> np.ndarray:
    return np.broadcast_to(values[:, None, :], (len(values), channels, values.shape[1]))


def _rows(raw: Raw, lags: int, known: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features [rows * channels, features], what is to be found [rows * channels, horizon], and whether all of it was
    observed [rows * channels]."""
    horizon = raw["future"].shape[1]
    target = ((raw["future"] - _level(raw, lags)) / raw["scale"][:, None, :]).astype(np.float32)
    seen = raw["future_seen"].transpose(0, 2, 1).reshape(-1, horizon).astype(bool)
    return _features(raw, lags, known), target.transpose(0, 2, 1).reshape(-1, horizon), seen


class _Sums:
    """The sums of products that least squares needs, from a few rows at a time: rows are never held together."""

    def __init__(self, features: int, horizon: int) -> None:
        self.rows, self.left_out = 0, 0
        self._of_x, self._of_y = np.zeros(features), np.zeros(horizon)
        self._xx, self._xy = np.zeros((features, features)), np.zeros((features, horizon))

    def add(self, x: np.ndarray, y: np.ndarray, seen: np.ndarray) -> None:
        """Rows x [rows, features] and y [rows, horizon], but those not seen [rows, horizon] as a whole."""
        whole = seen.all(axis=1)
        self.left_out += int((~whole).sum())
        x, y = x[whole], y[whole]
        self.rows += len(x)
        self._of_x += x.sum(axis=0, dtype=np.float64)
        self._of_y += y.sum(axis=0, dtype=np.float64)
        self._xx += x.T @ x
        self._xy += x.T @ y

    def solve(self, penalty: float) -> tuple[np.ndarray, np.ndarray]:
        """Weights [features, horizon] and intercept [horizon] that minimise the mean squared error and `penalty` times
        the squared weights; the intercept is free."""
        rows = max(self.rows, 1)
        x, y = self._of_x / rows, self._of_y / rows
        within = self._xx / rows - np.outer(x, x)
        weights = np.linalg.solve(within + penalty * np.eye(len(x)), self._xy / rows - np.outer(x, y))
        return weights, y - x @ weights


def _squared_errors(
    candidates: list[tuple[np.ndarray, np.ndarray]], store: Store, chosen: np.ndarray, lags: int, known: bool
) -> list[float]:
    """Of each pair of weights and intercept, over all observed targets of these windows."""
    found = [0.0] * len(candidates)
    for indices in parts(chosen):
        x, y, seen = _rows(store.fetch(indices), lags, known)
        for place, (weights, intercept) in enumerate(candidates):
            found[place] += float((((x @ weights + intercept) - y)[seen] ** 2).sum(dtype=np.float64))
    return found
