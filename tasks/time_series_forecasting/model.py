"""The forecaster: windows in, the parameters of every step ahead out."""

from collections.abc import Callable
from typing import Any

import keras

from pipelines.task import Assets, Built, Metric
from pipelines.task import Head as Top
from tasks.time_series_forecasting import heads
from tasks.time_series_forecasting.backbones import build_features
from tasks.time_series_forecasting.config import Config
from tasks.time_series_forecasting.encoding import normalization, widths
from tasks.time_series_forecasting.heads import Head, head_of
from tasks.time_series_forecasting.normalization import normalize


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
