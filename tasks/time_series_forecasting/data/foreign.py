"""What is read for a finished model: whether it is like what the model was trained on, and what follows if not."""

from dataclasses import dataclass, replace

import numpy as np

from pipelines.errors import ConfigError, DataError
from pipelines.task import Assets
from tasks.time_series_forecasting.config import SEES, Config
from tasks.time_series_forecasting.data import covariates, scaling
from tasks.time_series_forecasting.data.covariates import Features
from tasks.time_series_forecasting.data.panel import Panel
from tasks.time_series_forecasting.data.rows import Rows
from tasks.time_series_forecasting.data.scaling import Scaler
from tasks.time_series_forecasting.frequency import from_asset, same


@dataclass(frozen=True)
class Met:
    """Series that a finished model meets."""

    scaler: Scaler
    """That of the run; of series that it does not know, and of all where steps are others, what the data show."""
    features: Features
    season: int
    note: str | None
    """What is to be said where the steps are others than those it was trained on."""


def meet(panel: Panel, until: np.ndarray, config: Config, assets: Assets) -> Met:
    """What the model of `assets` makes of a panel, of which it may look at the first `until` steps, int64 [series].

    Sums of a day are not on the scale of sums of an hour, and a weekday that changes with every step is none that was
    learnt: where steps are others than in training, only what the data themselves say is used.

    Raises:
        DataError: times have offsets, and those it was trained on have none, or the other way round.
    """
    fitted = scaling.fit(panel, until, config.scaler)
    if is_foreign(panel, assets):
        features = covariates.encode(panel, assets, calendar=False)
        return Met(fitted, features, panel.frequency.season, _note(panel, assets))
    _check_zone(panel, assets)
    scaler = scaling.known(assets, panel.series, fitted)
    return Met(scaler, covariates.encode(panel, assets), assets["frequency"]["season"], None)


def is_foreign(panel: Panel, assets: Assets) -> bool:
    """Whether steps are others than those that the model was trained on."""
    return not same(panel.frequency, from_asset(assets["frequency"]))


def own_horizon(config: Config, assets: Assets) -> int:
    """The steps ahead that the model itself forecasts, whatever is asked for."""
    return int(assets.get("horizon", config.horizon))


def check_horizon(config: Config, assets: Assets) -> str | None:
    """What is to be said where more is asked for than the model itself forecasts.

    Raises:
        ConfigError: it cannot be had, as covariates would have to be known.
    """
    own, unknown = own_horizon(config, assets), assets["covariates"]["past"]
    if config.horizon <= own:
        return None
    if "past" in SEES.get(config.backbone, ()) and unknown:
        raise ConfigError(
            f"horizon {config.horizon:,} is more than the {own:,} steps of the model; behind them it would see its own "
            f"forecasts as the past, of which nobody knows {unknown[0]!r}: ask for {own:,} at most."
        )
    return (
        f"the model forecasts {own:,} steps; those up to {config.horizon:,} come from its own forecasts seen as the "
        "past, and their intervals, from the quantiles seen so, are approximate."
    )


def with_channels(rows: Rows, config: Config, assets: Assets) -> Rows:
    """The rows with the model's names for what is forecast: one column may be called otherwise, and so may as many as
    there are where they are mapped.

    Raises:
        DataError: there are others.
    """
    known = assets["channels"]
    if rows.channels == known:
        return rows
    if len(rows.channels) == len(known) and (len(known) == 1 or "value" in (config.columns or {})):
        return replace(rows, channels=known)
    odd = [name for name in known if name not in rows.channels] or rows.channels
    raise DataError(
        f"the model forecasts {', '.join(known)}, and the data hold {', '.join(rows.channels)}: map {odd[0]!r}, or "
        "give the columns that it was trained on."
    )


def _note(panel: Panel, assets: Assets) -> str:
    before, now = from_asset(assets["frequency"]), panel.frequency
    names = [one.name if one.unit != "number" else f"{one.name}, without times" for one in (now, before)]
    if now.unit == before.unit == "number" and now.name == before.name:
        names = [f"{one.size:,} from one to the next" for one in (now, before)]
    calendar = any(one["kind"] == "calendar" for one in assets["coding"]["known"])
    told = ", and nothing of the calendar, which it was told in training" if calendar else ""
    return (
        f"the steps of the data ({names[0]}) are others than the model was trained on ({names[1]}): it sees them "
        f"scaled by the data's own values{told}; how often its intervals hold was fitted to the others."
    )


def _check_zone(panel: Panel, assets: Assets) -> None:
    zone = assets["frequency"].get("zone")
    if panel.are_times and panel.zoned != (zone is not None):
        has, have = ("offsets", "none") if zone else ("no offsets", "some")
        raise DataError(f"the times that the model was trained on have {has}, and these have {have}: write them alike.")
