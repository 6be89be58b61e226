"""The forecaster as one graph: histories in, the forecast of the next steps and its quantiles out, in units."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from pipelines.served import Core, Serving
from pipelines.task import Assets, Raw, Record, Store
from tasks.time_series_forecasting.answers import Answer
from tasks.time_series_forecasting.config import COUNTS, QUANTILES, Config
from tasks.time_series_forecasting.data.stores import WindowStore
from tasks.time_series_forecasting.encoding import encode, widths
from tasks.time_series_forecasting.heads_graph import forecasts
from tasks.time_series_forecasting.history_graph import NOT_BEGUN, Histories, has_calendar, names_of, seen_by


def serving(model: keras.Model, config: Config, assets: Assets) -> Serving:
    """history float32 [rows, steps, C], series strings [rows], and what the model sees besides -> forecast float32
    [rows, H, C], quantiles float32 [rows, H, C, levels], levels float32 [levels]."""
    config = config.model_copy(update={"horizon": model.output_shape[1]})
    served = _Forecaster(model, config, assets)
    return Serving(
        function=served.answer,
        input=_inputs_of(config, assets),
        what=_what(config, assets),
        inputs=partial(_inputs, config, assets),
        tracked=served.tracked,
        output="quantiles",
        gap=_count_gap if config.head == COUNTS else _gap,
        records=partial(_records, assets),
        core=Core(served.network, served.input, served.what, served.before, served.after, network=True),
    )


class _Forecaster:
    """The model with what stands before and behind it."""

    def __init__(self, model: keras.Model, config: Config, assets: Assets) -> None:
        self._model, self._config, self._assets = model, config, assets
        self._histories = Histories(config, assets)
        self.tracked = (model, *self._histories.tracked)
        self._encoder = encode(config, assets, training=False)
        self._shapes = widths(config, assets)

    @property
    def input(self) -> dict[str, Any]:
        """The network's."""
        return {name: tf.TensorSpec([None, *shape], tf.float32, name=name) for name, shape in self._shapes.items()}

    @property
    def what(self) -> str:
        """The network's inputs, in words."""
        counts = self._config.head == COUNTS
        center = "" if counts else "less the center, "
        parts = [
            f"past: the last {self._config.lookback} values of a series, {center}over the scale that model/scaler.json "
            "has for its channels, 0 where there is none"
        ]
        if "past_seen" in self._shapes:
            parts.append("past_seen: 1 where there is a value, else 0")
        if counts:
            parts.append("scale: of each channel")
        for name in self._shapes:
            if name.endswith("_covariates"):
                features = ", ".join(self._assets["covariates"][name.removesuffix("_covariates")])
                parts.append(f"{name}: {features}; model/coding.json says how columns become them")
        return "; ".join(parts)

    def answer(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """All of it."""
        given = self.before(x)
        return self.after({**given, **self.network(given)})

    def before(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """What the network takes, of histories, and their center and scale."""
        raw = self._histories.raw(x)
        return {**self._encoder(raw, None)[0], "center": raw["center"], "scale": raw["scale"]}

    def network(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of every step ahead, float32 [rows, H, C, numbers]."""
        parameters = self._model({name: x[name] for name in self._shapes}, training=False)
        return {"parameters": tf.cast(parameters, tf.float32)}

    def after(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """Forecast and quantiles."""
        found = forecasts(x["parameters"], x["center"], x["scale"], self._config, self._assets)
        return {"forecast": found[..., 0], "quantiles": found[..., 1:], "levels": tf.constant(QUANTILES, tf.float32)}


def _inputs_of(config: Config, assets: Assets) -> dict[str, Any]:
    """The specification of each input."""
    channels, coding = len(assets["channels"]), seen_by(config, assets)
    shapes: dict[str, tuple[list[int | None], Any]] = {
        "history": ([None, None, channels], tf.float32),
        "series": ([None], tf.string),
    }
    for role, columns in coding.items():
        steps = [None] if role == "static" else [None, None]
        for name, kind, dtype in ((role, "number", tf.float32), (f"{role}_texts", "text", tf.string)):
            if count := len(names_of(columns, kind)):
                shapes[name] = ([*steps, count], dtype)
    if has_calendar(coding):
        shapes["time"] = ([None, None], tf.int64)
    return {name: tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in shapes.items()}


def _what(config: Config, assets: Assets) -> str:
    """The inputs in words."""
    coding = seen_by(config, assets)
    gaps = "unseen" if config.fill == "none" else f"filled ({config.fill})"
    parts = [
        f"history: the values of each series up to its last one, a step every {assets['frequency']['name']}, of "
        f"{', '.join(assets['channels'])}, in units; any number of steps, of which the model sees the last "
        f"{config.lookback}; NaN before a series begins, and where a value is missing, which is {gaps}",
        "series: the name of each as in training; the empty one and others are scaled by their own history, and "
        "without a value there the answer is NaN",
    ]
    for role, columns in coding.items():
        spans = {
            "known": f"the steps of the history and the {config.horizon} ahead",
            "past": "the steps of the history",
        }
        where = spans.get(role, "each series")
        if numbers := names_of(columns, "number"):
            parts.append(f"{role}: of {where} the numbers {', '.join(numbers)}; NaN where one is not known")
        if texts := names_of(columns, "text"):
            parts.append(f"{role}_texts: of {where} {', '.join(texts)}; empty where one is not known")
    if has_calendar(coding):
        zone = "in UTC" if assets["frequency"].get("zone") else "as clocks show it"
        parts.append(
            f"time: of the steps of the history and the {config.horizon} ahead when they are, {zone}, in microseconds "
            "since 1970 (numpy's datetime64[us] as int64); before a series begins NaT, the smallest number"
        )
    return "; ".join(parts)


def _inputs(config: Config, assets: Assets, store: Store, indices: np.ndarray) -> Raw:
    """What windows of a run are made of; covariates as they were before they were encoded."""
    windows = cast(WindowStore, store)
    panel, raw = windows.of.panel, windows.fetch(indices)
    series, origins = windows.windows.at(indices)
    coding = seen_by(config, assets)
    found: Raw = {
        "history": np.where(raw["past_seen"], raw["past"], np.float32(np.nan)),
        "series": _bytes([panel.series[at] for at in series.tolist()]),
    }
    steps = np.arange(-config.lookback, config.horizon) + origins[:, None]
    for role, columns in coding.items():
        features = raw[f"{role}_covariates"]
        numbers, texts = _decoded(features, columns, config.fill)
        if role != "static":
            begun = (steps >= 0)[:, : features.shape[1], None]
            numbers, texts = np.where(begun, numbers, np.float32(np.nan)), np.where(begun, texts, b"")
        found |= {name: one for name, one in ((role, numbers), (f"{role}_texts", texts)) if one.shape[-1]}
    if has_calendar(coding):
        times = panel.times(np.repeat(series, steps.shape[1]), np.maximum(steps, 0).ravel()).reshape(steps.shape)
        found["time"] = np.where(steps >= 0, times, NOT_BEGUN)
    return found


def _decoded(features: np.ndarray, columns: Sequence[Mapping[str, Any]], fill: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers float32 and texts object [..., columns] of the features that were made of them."""
    numbers, texts, at = [], [], 0
    for column in columns:
        if column["kind"] == "text":
            marks = features[..., at : at + len(column["values"])]
            values = _bytes([*column["values"], ""])
            there = marks.any(axis=-1)
            texts.append(values[np.where(there, marks.argmax(axis=-1), -1)] if marks.shape[-1] else values[there * 0])
            at += marks.shape[-1]
            continue
        cells = features[..., at].astype(np.float64)
        at += 1
        if column["kind"] == "number":
            # Where gaps stay, 0 is what nothing became; the center, in float32, might be another number.
            unknown = (cells == 0) & (fill == "none")
            numbers.append(np.where(unknown, np.nan, cells * column["scale"] + column["center"]).astype(np.float32))
    shape = (*features.shape[:-1], 0)
    return (
        np.stack(numbers, axis=-1) if numbers else np.empty(shape, np.float32),
        np.stack(texts, axis=-1) if texts else np.empty(shape, object),
    )


def _records(
    assets: Assets, ids: Sequence[str], inputs: Mapping[str, Any], outputs: Mapping[str, np.ndarray]
) -> list[Record]:
    del inputs
    channels = assets["channels"]
    return [Record(name, Answer(name, one, channels), one) for name, one in zip(ids, _found(outputs), strict=True)]


def _gap(outputs: Mapping[str, np.ndarray], records: Sequence[Record]) -> np.ndarray:
    """float [rows]: the largest difference, of each channel over its largest number where that is above 1."""
    return _largest(*_differences(outputs, records))


def _count_gap(outputs: Mapping[str, np.ndarray], records: Sequence[Record]) -> np.ndarray:
    """The same; quantiles of counts are whole numbers, and rounding of the parameters may make them the next ones."""
    gaps, sizes = _differences(outputs, records)
    gaps[..., 1:] = np.maximum(gaps[..., 1:] - 1, 0)
    return _largest(gaps, sizes)


def _differences(outputs: Mapping[str, np.ndarray], records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray]:
    """[rows, H, C, 1 + quantiles], and the size of the numbers of each channel, [rows, 1, C, 1]."""
    wanted = np.stack([np.asarray(record.output, np.float64) for record in records])
    return np.abs(_found(outputs) - wanted), np.abs(wanted).max(axis=(1, 3), keepdims=True)


def _largest(gaps: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    found: np.ndarray = (gaps / np.maximum(sizes, 1.0)).max(axis=(1, 2, 3))
    return found


def _found(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """float32 [rows, H, C, 1 + quantiles]."""
    return np.concatenate([outputs["forecast"][..., None], outputs["quantiles"]], axis=-1)


def _bytes(names: Sequence[str]) -> np.ndarray:
    """object [names]."""
    found = np.empty(len(names), object)
    found[:] = [name.encode("utf-8", "surrogateescape") for name in names]
    return found
