"""How time-series forecasting is judged: scores, conformal intervals, scores by step, series and origin; the baselines
and the figures lie beside.

`Record.output` holds float32 [horizon, channels, 1 + quantiles] in units: the forecast, then QUANTILES, calibrated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines import scoring
from pipelines.errors import DataError
from pipelines.task import Assets, Raw, Record, Scores
from tasks.time_series_forecasting import conformal
from tasks.time_series_forecasting.answers import six_digits
from tasks.time_series_forecasting.measures import (
    Measured,
    each_series,
    mean_of_steps,
    series_names,
    with_intervals,
)

_MOST_SERIES = 100
"""Series that are listed by name: the worst."""


@dataclass(frozen=True)
class _Targets(Sequence[Any]):
    """Made whenever they are read, as answers are."""

    references: Raw
    channels: Sequence[str]

    def __len__(self) -> int:
        return len(self.references["future"])

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[at] for at in range(len(self))[place]]
        rounded = six_digits(self.references["future"][place]).astype(object)
        rounded[self.references["future_seen"][place] == 0] = None
        return dict(zip(self.channels, rounded.T.tolist(), strict=True))


def targets(references: Raw, assets: Assets) -> Sequence[Any]:
    """What came: of each channel the values of all steps, None where none was observed."""
    return _Targets(references, assets["channels"])


def calibrate(config: Any, assets: Assets, records: Sequence[Record], references: Raw) -> Assets:
    """The assets with what moves the quantiles so that the validation windows lie in them as often as they say."""
    del config
    outputs = scoring.outputs_of(records, len(references["series"]), "window")
    truth = (references[name] for name in ("future", "future_seen", "scale"))
    return {**assets, "conformal": conformal.fit(outputs, *truth)}


def score(records: Sequence[Record], references: Raw, config: Any, assets: Assets) -> Scores:
    """MASE (the headline), MSE and MAE (scaled and in units), sMAPE, RMSSE, the weighted quantile loss, coverage and
    width of the intervals, with their 95 % intervals; by step ahead, by series, by origin. See `measures.scores_of`.

    Why MASE: it is one number for series of any unit and level, zeros and signs included, and below 1 it says that
    the forecasts are better than the seasonal naive's within the training steps. The fields' own, mse and mae of wide
    tables and smape of M4, stand beside it.

    Raises:
        DataError: no target was observed, or a record has no forecast.
    """
    outputs = scoring.outputs_of(records, len(references["series"]), "window")
    measured = Measured.of(outputs, references)
    if not measured.steps["count"].any():
        raise DataError("there is nothing to score: no value of the split was observed. Give more data, or fill gaps.")
    found, drawn, about = with_intervals(measured, references["origin"], config.horizon)
    breakdowns: dict[str, Any] = {
        "horizon": {str(1 + step): row for step, row in enumerate(mean_of_steps(measured.steps))},
        "series": _by_series(measured, series_names(measured, [record.id for record in records], assets)),
    }
    if config.origins is not None:
        breakdowns["origin"] = _by_origin(measured, references["origin"], records)
    if "conformal" in assets:
        breakdowns["calibration"] = {"intervals": conformal.said(assets["conformal"])}
    return Scores("mase" if "mase" in found else "mae", found, {**breakdowns, "resampling": about}, drawn)


def _by_series(measured: Measured, names: Sequence[str]) -> dict[str, dict[str, float | int | None]]:
    """Rows for a table, the worst MASE first; of many series one row stands for all that are not listed."""
    table = each_series(measured)
    order = np.argsort(-np.nan_to_num(table["mase"], nan=-1.0), kind="stable")
    listed = order if len(order) <= _MOST_SERIES + 1 else order[:_MOST_SERIES]
    rows = {names[place]: _row({name: column[place] for name, column in table.items()}) for place in listed.tolist()}
    if len(listed) < len(order):
        others = {name: column[order[_MOST_SERIES:]] for name, column in table.items()}
        means = {
            name: values[known].mean() if (known := np.isfinite(values)).any() else np.nan
            for name, values in others.items()
        }
        rows[f"mean of {len(order) - len(listed):,} further series"] = _row(means)
    return rows


def _by_origin(measured: Measured, origins: np.ndarray, records: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """Rows for a table: how the forecasts of each origin did, over all series. Series that end at other steps are
    counted from their own ends; the row names the first step where that is the same in all."""
    order = np.lexsort((-origins, measured.frame))
    starts = np.searchsorted(measured.frame[order], np.arange(len(measured.frames)))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - starts[measured.frame[order]]
    whens = np.array([record.id.rpartition("@")[2] for record in records], object)
    rows = {}
    for back in range(int(rank.max()), -1, -1):
        chosen = np.flatnonzero(rank == back)
        when = set(whens[chosen])
        name = when.pop() if len(when) == 1 else f"{back + 1} from the end"
        rows[name] = {"series": len(np.unique(measured.frame[chosen])), **_row(measured.score(chosen))}
    return rows


def _row(values: Mapping[str, Any]) -> dict[str, float | int | None]:
    return {
        name: None if not np.isfinite(value) else int(value) if name == "windows" else float(value)
        for name, value in values.items()
    }
