"""The forecaster: windows in, the parameters of every step ahead out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import keras
import numpy as np

from pipelines.devices import forward
from pipelines.prediction import batched_predictor
from pipelines.task import Assets, Built, Encoder, Metric, Predictor, Raw, Record
from pipelines.task import Head as Top
from tasks.time_series_forecasting import conformal, heads
from tasks.time_series_forecasting.answers import Answer
from tasks.time_series_forecasting.backbones import build_features
from tasks.time_series_forecasting.config import COUNTS, Config
from tasks.time_series_forecasting.encoding import encode, normalization, widths
from tasks.time_series_forecasting.heads import Head, head_of
from tasks.time_series_forecasting.normalization import normalize
from tasks.time_series_forecasting.rollout import roll_out

_UNITS = ("center", "scale", "time")
"""What makes an answer of what the model says."""
_SEEN = ("past", "past_seen", "known_covariates", "past_covariates", "static_covariates", "center", "scale")
"""What it takes to forecast again from another past."""
_VALUES_AT_ONCE = 1 << 20
"""Of the past, in a prediction."""


def build_model(config: Config, assets: Assets) -> Built:
    """A forecaster of a dict of inputs, as `encoding.encode` gives them, into [rows, H, C, numbers]."""
    head = head_of(config)
    inputs = {name: keras.Input(shape, name=name) for name, shape in widths(config, assets).items()}
    seen = inputs.get("past_seen")
    window = normalize(by_channel(inputs["past"]), None if seen is None else by_channel(seen), normalization(config))
    covariates = {name.removesuffix("_covariates"): x for name, x in inputs.items() if name.endswith("_covariates")}
    features = build_features(window.x, covariates, config)
    top = f"forecast_{config.head}"  # by name: other heads' numbers stand for something else
    raw = _last_layer(features, head.numbers, config, top)
    parameters = head.parameters(raw, window, inputs.get("scale"))
    model = keras.Model(inputs, keras.ops.transpose(parameters, (0, 2, 1, 3)), name=config.backbone)
    # XLA is slow with the random numbers of TiDE's many dropouts: 31 s to compile in place of 7, and steps that took 8
    # times as long (2 busy cores); without dropout they were as fast.
    gains = config.backbone != "tide" or not config.dropout
    return Built(model, heads.each(head.loss), _metrics(config, head), head=Top((top,), units=None), gains_by_xla=gains)


def by_channel(values: Any) -> Any:
    """[rows, L, C] -> [rows, C, L]."""
    return keras.ops.transpose(values, (0, 2, 1))


def _last_layer(features: Any, numbers: int, config: Config, name: str) -> Any:
    """float32 [rows, C, H, numbers] of features [rows, C, any], or of those of each step [rows, C, H, any]."""
    each_step = len(features.shape) == 4
    start: Any = "glorot_uniform"
    if config.backbone in ("dlinear", "nlinear"):
        start = keras.initializers.Constant(1 / config.lookback)  # the mean of the window, as in the authors' code
    size = numbers if each_step else config.horizon * numbers
    raw = keras.layers.Dense(size, dtype="float32", kernel_initializer=start, name=name)(features)
    return keras.ops.reshape(raw, (-1, features.shape[1], config.horizon, numbers))


def _metrics(config: Config, head: Head) -> dict[str, Metric]:
    """The mean errors of the forecast, scaled as the model sees the series; first, where the head gives more than a
    point, what it is trained by."""

    def error(size: Callable[[Any], Any]) -> Metric:
        return Metric(heads.each(lambda y, parameters: size(y - head.point(parameters))), higher_is_better=False)

    errors = {"mse": error(keras.ops.square), "mae": error(keras.ops.abs)}
    if config.head == "point":
        return errors
    name = "pinball" if config.head == "quantile" else "nll"
    return {name: Metric(heads.each(head.loss), higher_is_better=False), **errors}


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
