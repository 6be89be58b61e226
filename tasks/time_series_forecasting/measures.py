"""What is measured of forecasts: sums for each window and channel, each step and each series, and the scores that they
make. Only observed targets count (future_seen)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from pipelines.scoring.blocks import block_length, resampled_blocks
from pipelines.scoring.intervals import RESAMPLES, SEED, interval, resampled_weights
from pipelines.task import Assets, Interval, Raw
from tasks.time_series_forecasting.answers import intervals
from tasks.time_series_forecasting.config import LEVELS, QUANTILES

Sums = dict[str, np.ndarray]
"""By measure, float64 [..., channels] or [steps]: `count` of observed targets, and over them the sums of the absolute
and squared error in units (`absolute`, `squared`) and divided by the scale (`absolute_scaled`, `squared_scaled`), of
`smape`, of `size` |y|, of `pinball` (twice the pinball loss, the mean over QUANTILES), and for each level of whether
the target lies in the interval (`inside_80`) and how wide that is, divided by the scale (`width_80`)."""

_VALUES = 250_000
"""Targets that are measured at once."""
_FEWEST_UNITS = 5
"""Series or blocks of origins below which resampling them says nothing."""


@dataclass(frozen=True)
class Measured:
    """The sums of a split, and what the series are."""

    windows: Sums
    """Each [windows, channels]."""
    steps: Sums
    """Each [horizon], over all windows and channels."""
    frame: np.ndarray
    """int64 [windows]: the place in `frames` of each window's."""
    frames: np.ndarray
    """int64 [frames]: the numbers that references know them by, ascending."""
    first: np.ndarray
    """int64 [frames]: a window of each."""
    naive_error: np.ndarray
    """float64 [frames, channels]: what MASE divides by; 0 where it is not defined."""
    naive_squared: np.ndarray
    """float64 [frames, channels]: likewise of RMSSE."""

    @classmethod
    def of(cls, outputs: np.ndarray, references: Raw) -> Self:
        """Those of outputs [windows, horizon, channels, 1 + quantiles]."""
        frames, first, frame = np.unique(references["series"], return_index=True, return_inverse=True)
        windows, horizon, channels, _ = outputs.shape
        part = max(1, _VALUES // (horizon * channels))
        pieces = [
            _measures(outputs[rows], {name: references[name][rows] for name in _TRUTH})
            for rows in (slice(start, start + part) for start in range(0, windows, part))
        ]
        names = list(pieces[0])
        return cls(
            {name: np.concatenate([piece[name].sum(axis=1) for piece in pieces]) for name in names},
            {name: np.sum([piece[name].sum(axis=(0, 2)) for piece in pieces], axis=0) for name in names},
            frame.astype(np.int64).ravel(),
            frames,
            first,
            *(np.nan_to_num(references[name][first].astype(np.float64)) for name in ("naive_error", "naive_squared")),
        )

    def by_frame(self) -> Sums:
        """The sums of each frame: [frames, channels]."""
        order = np.argsort(self.frame, kind="stable")
        starts = np.searchsorted(self.frame[order], np.arange(len(self.frames)))
        return {name: np.add.reduceat(values[order], starts, axis=0) for name, values in self.windows.items()}

    def score(self, chosen: np.ndarray) -> dict[str, float]:
        """The scores of these windows alone, int64 [n]; NaN where one is not defined."""
        weights = np.zeros((1, len(self.frame)))
        weights[0, chosen] = 1
        return {name: float(value[0]) for name, value in self.scores(self.resampled(weights)).items()}

    def scores(self, sums: Sums, drawn: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """See `scores_of`; by default every frame is drawn once."""
        drawn = np.ones((1, len(self.frames))) if drawn is None else drawn
        return scores_of(sums, drawn, self.naive_error, self.naive_squared)

    def resampled(self, weights: np.ndarray) -> Sums:
        """The sums of each frame where its windows are drawn so often, weights [resamples, windows]:
        [resamples, frames, channels]."""
        rows = [np.flatnonzero(self.frame == number) for number in range(len(self.frames))]
        return {
            name: np.stack([weights[:, each] @ values[each] for each in rows], axis=1)
            for name, values in self.windows.items()
        }


_TRUTH = ("future", "future_seen", "scale")


def _measures(outputs: np.ndarray, truth: Mapping[str, np.ndarray]) -> Sums:
    """Each measure of each target, 0 where it was not observed: float64 [windows, horizon, channels]."""
    seen = truth["future_seen"].astype(bool)
    future = np.where(seen, truth["future"], 0).astype(np.float64)
    forecast, quantiles = outputs[..., 0].astype(np.float64), outputs[..., 1:].astype(np.float64)
    scale = truth["scale"].astype(np.float64)[:, None, :]
    absolute, size = np.abs(future - forecast), np.abs(future)
    found = {
        "count": np.ones_like(future),
        "absolute": absolute,
        "squared": absolute**2,
        "absolute_scaled": absolute / scale,
        "squared_scaled": (absolute / scale) ** 2,
        "smape": 200 * absolute / np.maximum(np.abs(forecast) + size, np.finfo(np.float64).tiny),
        "size": size,
        "pinball": np.mean(
            [2 * pinball(future, quantiles[..., place], level) for place, level in enumerate(QUANTILES)], axis=0
        ),
    }
    for level, low, high in intervals(quantiles):
        found |= {f"inside_{level}": (low <= future) & (future <= high), f"width_{level}": (high - low) / scale}
    return {name: np.where(seen, values, 0.0) for name, values in found.items()}


def pinball(truth: np.ndarray, forecast: np.ndarray, level: float) -> np.ndarray:
    """The pinball loss of a quantile's forecast (Koenker and Bassett, 1978)."""
    missing = truth - forecast
    found: np.ndarray = np.maximum(level * missing, (level - 1) * missing)
    return found


def with_intervals(
    measured: Measured, origins: np.ndarray, horizon: int
) -> tuple[dict[str, Interval], dict[str, np.ndarray], dict[str, Any]]:
    """The scores that are defined, with their intervals; each on every resample; how those were made: series are
    resampled whole, or blocks of neighbouring origins, whichever there are more of. A block takes at least the origins
    whose futures overlap."""
    places, where = np.unique(origins, return_inverse=True)
    spacing = int(np.median(np.diff(places))) if len(places) > 1 else horizon
    block = block_length(len(places), -(-horizon // spacing))
    frames, blocks = len(measured.frames), len(places) // block
    whole = {name: values[None] for name, values in measured.by_frame().items()}
    about: dict[str, Any] = {"resampled": "series", "units": frames}
    if blocks > frames:
        about = {"resampled": "blocks of origins", "units": blocks, "origins_in_a_block": block}
    parts: list[dict[str, np.ndarray]] = []
    if about["units"] >= _FEWEST_UNITS and blocks > frames:
        drawn = resampled_blocks(where.ravel(), block, RESAMPLES, SEED)
        parts = [measured.scores(measured.resampled(weights)) for weights in drawn]
    elif about["units"] >= _FEWEST_UNITS:
        parts = [measured.scores(whole, weights) for weights in resampled_weights(frames, RESAMPLES, SEED)]
    replicates = {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())}
    found = {}
    for name, value in measured.scores(whole).items():
        if np.isfinite(value[0]):
            each = replicates.get(name, np.empty(0))
            found[name] = _interval(float(value[0]), each[np.isfinite(each)], about["units"])
    if not any(found[f"width_{level}"].value for level in LEVELS):
        # The forecasts are points and have no intervals, of which there is nothing to say.
        found = {name: one for name, one in found.items() if not name.startswith(("coverage", "width"))}
    return found, {name: each for name, each in replicates.items() if name in found}, about


def _interval(value: float, replicates: np.ndarray, units: int) -> Interval:
    """None where every resample says the same, as of a width that is the same in all windows."""
    alike = len(replicates) and np.ptp(replicates) <= 1e-6 * abs(value)
    return interval(value, replicates[:0] if alike else replicates, units)


def scores_of(
    sums: Sums, drawn: np.ndarray, naive_error: np.ndarray, naive_squared: np.ndarray
) -> dict[str, np.ndarray]:
    """Every score of each resample, float64 [resamples]; NaN where it is not defined.

    Over all observed targets of all series alike: mse and mae of values divided by the scale, mse_units and mae_units
    as they are, coverage and width (in scales) of the intervals, and wql, the mean weighted quantile loss (Rangapuram
    et al., 2021; a CRPS from few quantiles): over the quantiles the mean of 2 * sum(pinball) / sum(|y|).
    For each series (a frame's channel) by itself, then their mean, as M4 does (Makridakis et al., 2020): smape, the
    mean of 200 * |y - f| / (|y| + |f|), 0 where both are 0; mase, the mean absolute error divided by that of the
    seasonal naive forecast within the training steps (Hyndman and Koehler, 2006), the headline; rmsse, the root of
    the same with squares. Series whose naive error is 0 have neither.

    Args:
        sums: each [resamples or 1, frames, channels].
        drawn: how often each frame is drawn, [resamples or 1, frames].
        naive_error: [frames, channels].
        naive_squared: [frames, channels].
    """
    total = {name: _total(values.sum(axis=-1), drawn) for name, values in sums.items()}
    count, each = total["count"], sums["count"]
    each_mean = {name: ratio(sums[name], each) for name in ("absolute", "squared", "smape")}
    return {
        "mase": _mean(ratio(each_mean["absolute"], naive_error), drawn),
        "mse": ratio(total["squared_scaled"], count),
        "mae": ratio(total["absolute_scaled"], count),
        "mse_units": ratio(total["squared"], count),
        "mae_units": ratio(total["absolute"], count),
        "smape": _mean(each_mean["smape"], drawn),
        "rmsse": _mean(np.sqrt(ratio(each_mean["squared"], naive_squared)), drawn),
        "wql": ratio(total["pinball"], total["size"]),
        **{
            f"{score}_{level}": ratio(total[f"{sum_of}_{level}"], count)
            for level in LEVELS
            for score, sum_of in (("coverage", "inside"), ("width", "width"))
        },
    }


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """NaN where there is nothing to divide by."""
    found: np.ndarray = np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)
    return found


def _total(values: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Values [resamples or 1, frames] summed as often as each frame is drawn: [resamples]."""
    found: np.ndarray = (drawn @ values[0]) if len(values) == 1 else (drawn * values).sum(axis=1)
    return found


def _mean(values: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The mean over the series that have a value, [resamples or 1, frames, channels] -> [resamples]."""
    known = np.isfinite(values)
    return ratio(_total(np.where(known, values, 0).sum(axis=-1), drawn), _total(known.sum(axis=-1), drawn))


def mean_of_steps(steps: Sums) -> list[dict[str, float | None]]:
    """The scores of each step ahead, over all series alike; None where nothing was observed."""
    names = {"mse": "squared_scaled", "mae": "absolute_scaled", "smape": "smape"}
    names |= {f"coverage_{level}": f"inside_{level}" for level in LEVELS}
    names |= {f"width_{level}": f"width_{level}" for level in LEVELS}
    columns = {name: ratio(steps[of], steps["count"]).tolist() for name, of in names.items()}
    return [
        {name: column[step] if count else None for name, column in columns.items()}
        for step, count in enumerate(steps["count"].tolist())
    ]


def each_series(measured: Measured) -> dict[str, np.ndarray]:
    """The scores of each frame and channel, [frames * channels], NaN where one is not defined."""
    sums = measured.by_frame()
    mean = {name: ratio(values, sums["count"]) for name, values in sums.items()}
    windows = np.bincount(measured.frame, minlength=len(measured.frames))
    columns = {
        "windows": np.broadcast_to(windows[:, None], mean["count"].shape),
        "mase": ratio(mean["absolute"], measured.naive_error),
        "mae": mean["absolute_scaled"],
        "mse": mean["squared_scaled"],
        "mae_units": mean["absolute"],
        "smape": mean["smape"],
        **{f"coverage_{level}": mean[f"inside_{level}"] for level in LEVELS},
    }
    return {name: values.ravel() for name, values in columns.items()}


def series_names(measured: Measured, ids: Sequence[str], assets: Assets) -> list[str]:
    """Of each frame and channel: the channel's where there is one frame of several, the frame's, or both; `ids` as
    "frame@first step" of each window."""
    channels = assets["channels"]
    frames = [ids[first].rpartition("@")[0] for first in measured.first.tolist()]
    if len(channels) == 1:
        return frames
    return [channel if len(frames) == 1 else f"{frame} {channel}" for frame in frames for channel in channels]
