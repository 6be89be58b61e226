"""What the report shows of the test windows: forecasts beside what came, errors and coverage by step, residuals."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines import scoring
from pipelines.task import Assets, Figure, Raw, Record, Store
from tasks.time_series_forecasting import charts
from tasks.time_series_forecasting.baseline import seasonal_naive
from tasks.time_series_forecasting.charts import Shown
from tasks.time_series_forecasting.config import LEVELS, QUANTILES, Config
from tasks.time_series_forecasting.measures import Measured, each_series, mean_of_steps, ratio, series_names

_PAST = 3
"""Horizons of the past that are drawn, at most."""
_LAGS = 48
_FEWEST_PAIRS = 30
"""Origins below which the autocorrelation of their errors says nothing."""
_MOST_RESIDUALS = 1_000_000


def figures(
    records: Sequence[Record], references: Raw, config: Config, assets: Assets, store: Store, model: Any
) -> list[Figure]:
    """Forecasts of the best, the median and the worst series, errors and coverage by step ahead, the residuals; beside
    the errors those of the seasonal naive forecast, which takes no fitting."""
    del model
    outputs = scoring.outputs_of(records, len(references["series"]), "window")
    point = seasonal_naive(references["last_season"], config.horizon)
    naive = np.broadcast_to(point[..., None], (*point.shape, 1 + len(QUANTILES)))
    measured, of_naive = Measured.of(outputs, references), Measured.of(naive, references)
    ids = [record.id for record in records]
    steps, naive_steps = mean_of_steps(measured.steps), mean_of_steps(of_naive.steps)
    shown = []
    for title, window, channel, name in _chosen(measured, series_names(measured, ids, assets)):
        raw = store.fetch(np.array([window]))
        values, seen = (raw[key][0, -_PAST * config.horizon :, channel] for key in ("past", "past_seen"))
        truth, known = (references[key][window, :, channel] for key in ("future", "future_seen"))
        errors = [
            float(ratio(one.windows["absolute"], one.windows["count"])[window, channel]) for one in (measured, of_naive)
        ]
        shown.append(
            Shown(
                f"{title}: {name}, from {ids[window].rpartition('@')[2]}",
                np.where(seen.astype(bool), values, np.nan),
                np.where(known.astype(bool), truth, np.nan),
                outputs[window, :, channel],
                point[window, :, channel],
                errors[0],
                errors[1],
            )
        )
    coverage = {level: [row[f"coverage_{level}"] for row in steps] for level in LEVELS}
    return [
        charts.forecasts(shown),
        charts.errors([row["mae"] for row in steps], [row["mae"] for row in naive_steps]),
        charts.coverage(coverage),
        charts.residuals(*_residuals(outputs[..., 0], references)),
    ]


def _chosen(measured: Measured, names: Sequence[str]) -> list[tuple[str, int, int, str]]:
    """The best, the median and the worst series: a heading, a window of middling error, the channel, the name. By MASE,
    or where no series has one by the scaled error."""
    table = each_series(measured)
    by = table["mase"] if np.isfinite(table["mase"]).any() else table["mae"]
    order = [int(place) for place in np.argsort(by, kind="stable") if np.isfinite(by[place])]
    places = {"best": order[0], "median": order[(len(order) - 1) // 2], "worst": order[-1]}
    if len(order) < 3:
        places = dict(zip(("better", "worse"), order, strict=False)) if len(order) == 2 else {"one": order[0]}
    found = []
    for title, place in places.items():
        frame, channel = divmod(place, measured.naive_error.shape[1])
        errors = ratio(measured.windows["absolute"], measured.windows["count"])[:, channel]
        windows = np.flatnonzero((measured.frame == frame) & np.isfinite(errors))
        middle = windows[np.argsort(errors[windows], kind="stable")[(len(windows) - 1) // 2]]
        found.append((f"{title} series" if title != "one" else "a typical window", int(middle), channel, names[place]))
    return found


def _residuals(forecast: np.ndarray, references: Raw) -> tuple[np.ndarray, np.ndarray | None]:
    """The scaled errors y - f of all observed targets (a share of many) [n], and the autocorrelation of those one step
    ahead [lags], the mean over frames and channels; None where origins are too few or not one step apart."""
    seen = references["future_seen"].astype(bool)
    scaled = (references["future"] - forecast) / references["scale"][:, None, :]
    every = -(-seen.size // _MOST_RESIDUALS)
    first = np.where(seen[:, 0], scaled[:, 0], np.nan)
    found = []
    for frame in np.unique(references["series"]):
        rows = np.flatnonzero(references["series"] == frame)
        rows = rows[np.argsort(references["origin"][rows], kind="stable")]
        if len(rows) >= _FEWEST_PAIRS and (np.diff(references["origin"][rows]) == 1).all():
            found += [one for one in map(_autocorrelation, first[rows].T) if one is not None]
    lags = min(map(len, found), default=0)
    mean = np.mean([one[:lags] for one in found], axis=0) if found else None
    return scaled[seen][::every], mean


def _autocorrelation(errors: np.ndarray) -> np.ndarray | None:
    """Of errors [origins] with themselves, 1, 2, … origins later: [lags]; None where they do not vary."""
    if not np.isfinite(errors).all() or not errors.std() > 0:
        return None
    centred = errors - errors.mean()
    lags = range(1, min(_LAGS, len(errors) // 3) + 1)
    found: np.ndarray = np.array([centred[lag:] @ centred[:-lag] for lag in lags]) / (centred @ centred)
    return found
