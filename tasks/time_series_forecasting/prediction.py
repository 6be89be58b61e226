"""From windows to forecasts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import keras
import numpy as np

from pipelines.devices import forward
from pipelines.prediction import batched_predictor
from pipelines.task import Assets, Encoder, Predictor, Raw, Record
from tasks.time_series_forecasting import conformal, heads
from tasks.time_series_forecasting.answers import Answer
from tasks.time_series_forecasting.config import COUNTS, Config
from tasks.time_series_forecasting.encoding import encode
from tasks.time_series_forecasting.heads import head_of
from tasks.time_series_forecasting.rollout import roll_out

_UNITS = ("center", "scale", "time")
"""What makes an answer of what the model says."""
_SEEN = ("past", "past_seen", "known_covariates", "past_covariates", "static_covariates", "center", "scale")
"""What it takes to forecast again from another past."""
_VALUES_AT_ONCE = 1 << 20
"""Of the past, in a prediction."""


def predictor(model: keras.Model, config: Config, assets: Assets, options: Mapping[str, Any]) -> Predictor:
    """Windows to forecasts of config.horizon steps: the first of the model's own, or what `rollout` makes of them.
    Record.output holds float32 [H, C, 1 + len(QUANTILES)] in units: the forecast, then its quantiles, calibrated."""
    del options
    head, compute, asked = head_of(config), forward(model), config.horizon
    config = config.model_copy(update={"horizon": model.output_shape[1]})
    encoder = encode(config, assets, training=False)

    def forecasts(given: Mapping[str, Any]) -> np.ndarray:
        center, scale = np.asarray(given["center"]), np.asarray(given["scale"])
        parameters = _in_parts(compute, given["x"], config.lookback * center.shape[1])
        bare = (np.zeros_like(center), np.ones_like(scale)) if config.head == COUNTS else (center, scale)
        return conformal.apply(heads.forecasts(head, parameters, *bare), assets, config, scale)

    def again(raw: Raw) -> np.ndarray:
        return forecasts({**raw, "x": encoder(raw, None)[0]})

    def outputs(given: Mapping[str, Any]) -> Iterator[tuple[np.ndarray, Any]]:
        found = forecasts(given)
        if asked > config.horizon:
            raw = {name: np.asarray(column) for name, column in given.items() if name in _SEEN}
            found = roll_out(found, raw, again, asked, head.median)
        times = [[time.decode() for time in row] for row in given["time"].numpy()] if "time" in given else repeat(None)
        return zip(found[:, :asked], times, strict=False)

    def record(name: str, found: tuple[np.ndarray, Any]) -> Record:
        output, times = found
        return Record(name, Answer(name, output, assets["channels"]), output, beside=times)

    kept = _UNITS + _SEEN if asked > config.horizon else _UNITS
    return batched_predictor(_with_units(encoder, config, kept), outputs, record)


def _with_units(encoder: Encoder, config: Config, kept: Sequence[str]) -> Encoder:
    """The same, of the model's own horizon, with these columns as they come."""
    steps = config.lookback + config.horizon

    def both(raw: Any, keys: Any) -> tuple[Any, Any, Any]:
        known = {"known_covariates": raw["known_covariates"][:, :steps]} if "known_covariates" in raw else {}
        x, y, weight = encoder({**raw, **known}, keys)
        return {**{name: raw[name] for name in kept if name in raw}, "x": x}, y, weight

    return both


def _in_parts(compute: Callable[[Any], np.ndarray], x: Mapping[str, Any], values: int) -> np.ndarray:
    """The model's answers, a few windows of so many values at a time where they are large, so that memory stays
    flat."""
    rows = max(_VALUES_AT_ONCE // values, 1)
    parts = range(0, len(x["past"]), rows)
    return np.concatenate([compute({name: one[start : start + rows] for name, one in x.items()}) for start in parts])
