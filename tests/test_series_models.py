"""Forecasters: every network on what a panel's windows are encoded as, on both backends."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines import devices
from pipelines.devices.settings import StepSettings
from pipelines.errors import ConfigError
from pipelines.preparation import make_optimizer
from pipelines.stream import Stream, example_keys
from pipelines.task import Batching, Raw
from pipelines.transfer.freezing import backbone_layers
from pipelines.transfer.matching import align, take_head, take_over
from tasks.time_series_forecasting import pretraining
from tasks.time_series_forecasting.answers import six_digits
from tasks.time_series_forecasting.attention import patches
from tasks.time_series_forecasting.backbones import moving_average
from tasks.time_series_forecasting.config import QUANTILES, Config
from tasks.time_series_forecasting.data.covariates import unseen
from tasks.time_series_forecasting.encoding import encode, widths
from tasks.time_series_forecasting.model import build_model
from tasks.time_series_forecasting.normalization import normalize
from tasks.time_series_forecasting.prediction import predictor

BACKEND = os.environ.get("SIXFOLD_TEST_BACKEND", "tensorflow")
"""test_on_jax runs part of this file again in a process with the other backend."""
BACKBONES = ("dlinear", "nlinear", "patchtst", "itransformer", "tide", "lstm", "gru")
WITH_COVARIATES = ("itransformer", "tide", "lstm", "gru")
ALONE = ("dlinear", "nlinear", "patchtst", "tide", "lstm", "gru")
"""Those in which no channel sees another."""
ROWS, PAST, AHEAD = 6, 20, 4
SMALL: dict[str, Any] = {
    **{"lookback": PAST, "horizon": AHEAD, "kernel": 5, "patch_length": 6, "patch_stride": 4, "width": 8, "heads": 2},
    **{"feedforward": 16, "layers": 1, "dropout": 0.0, "batch_size": 4, "backbone": "dlinear"},
}
COVARIATES = {"past": ["rain"], "known": ["promo", "monday"], "static": ["north", "south", "size"]}


def settings(**options: Any) -> Config:
    return Config(**{**SMALL, "backend": BACKEND, **options})


def assets(channels: int = 2, covariates: bool = False) -> dict[str, Any]:
    return {"channels": [f"c{i}" for i in range(channels)], "covariates": COVARIATES if covariates else {}}


def windows(channels: int = 2, seed: int = 0, rows: int = ROWS) -> Raw:
    """Windows of sines in units far from 0, a few steps unseen."""
    rng = np.random.default_rng(seed)
    steps = np.arange(PAST + AHEAD)[:, None]
    phase = rng.uniform(0, 6, (rows, 1, channels))
    values = np.sin(steps / 3 + phase) + 0.1 * rng.normal(size=(rows, PAST + AHEAD, channels))
    seen = (rng.uniform(size=values.shape) > 0.05).astype(np.uint8)
    values = ((40 + 8 * values) * seen).astype(np.float32)
    return {
        "past": values[:, :PAST],
        "past_seen": seen[:, :PAST],
        "future": values[:, PAST:],
        "future_seen": seen[:, PAST:],
        "center": np.full((rows, channels), 40, np.float32),
        "scale": np.full((rows, channels), 8, np.float32),
        "past_covariates": rng.normal(size=(rows, PAST, 1)).astype(np.float32),
        "known_covariates": rng.normal(size=(rows, PAST + AHEAD, 2)).astype(np.float32),
        "static_covariates": rng.normal(size=(rows, 3)).astype(np.float32),
    }


def encoded(config: Config, raw: Raw, about: dict[str, Any], training: bool = False) -> tuple[Any, Any, Any]:
    tensors = {name: tf.constant(column) for name, column in raw.items()}
    x, y, weight = encode(config, about, training)(tensors, None)
    as_arrays = {name: tensor.numpy() for name, tensor in x.items()}
    return as_arrays, None if y is None else y.numpy(), weight.numpy()


def answers(config: Config, model: keras.Model, raw: Raw, about: dict[str, Any]) -> np.ndarray:
    return devices.forward(model)(encoded(config, raw, about)[0])


class Windows:
    """Windows in memory."""

    sizes = None
    groups = None

    def __init__(self, raw: Raw) -> None:
        self._raw = raw

    def __len__(self) -> int:
        return len(self._raw["past"])

    def ids(self, indices: np.ndarray) -> list[str]:
        return [f"s@{index}" for index in indices]

    def fetch(self, indices: np.ndarray) -> Raw:
        return {name: column[indices] for name, column in self._raw.items()}


# What the model sees


def test_windows_are_scaled_and_unseen_steps_are_0() -> None:
    config, raw = settings(backbone="tide"), windows()
    x, y, weight = encoded(config, raw, assets(covariates=True))
    seen = raw["past_seen"].astype(bool)
    np.testing.assert_allclose(x["past"][seen], (raw["past"][seen] - 40) / 8, rtol=1e-5)
    assert (x["past"][~seen] == 0).all()
    assert (~seen).any()
    np.testing.assert_allclose(y, (raw["future"] - 40) / 8, rtol=1e-5)
    np.testing.assert_array_equal(weight, raw["future_seen"].reshape(ROWS, -1))
    assert {name: column.shape[1:] for name, column in x.items()} == widths(config, assets(covariates=True))
    assert encoded(config, {k: v for k, v in raw.items() if "future" not in k}, assets())[1] is None


def test_counts_keep_their_units() -> None:
    x, y, _ = encoded(settings(head="negative-binomial"), windows(), assets())
    np.testing.assert_array_equal(y, windows()["future"])
    np.testing.assert_allclose(x["past"], windows()["past"] / 8)
    np.testing.assert_array_equal(x["scale"], windows()["scale"])


def test_covariates_that_are_not_looked_at_are_named() -> None:
    for backbone in BACKBONES:
        said = unseen(settings(backbone=backbone), assets(covariates=True))
        assert bool(said) == (backbone not in WITH_COVARIATES)
        assert not said or "monday, north, promo, rain, size, south changes nothing" in said[0].message
        assert not unseen(settings(backbone=backbone), {"covariates": {}})


# The parts


def test_the_moving_average_repeats_the_ends() -> None:
    x = np.random.default_rng(0).normal(size=(3, 2, 10)).astype(np.float32)
    longer = np.pad(x, ((0, 0), (0, 0), (2, 2)), mode="edge")
    wanted = np.stack([longer[..., i : i + 5].mean(-1) for i in range(10)], axis=-1)
    np.testing.assert_allclose(moving_average(x, 5), wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(moving_average(x, 1), x, rtol=1e-5)


@pytest.mark.parametrize(("length", "stride"), [(6, 4), (6, 3), (4, 4), (5, 1), (3, 4), (20, 7)])
def test_patches_end_one_stride_beyond_the_window(length: int, stride: int) -> None:
    x = np.arange(40, dtype=np.float32).reshape(2, 20)
    found = np.asarray(patches(x, length, stride))
    longer = np.concatenate([x, np.repeat(x[:, -1:], stride, axis=1)], axis=1)
    for back, patch in enumerate(found.transpose(1, 0, 2)[::-1]):
        end = longer.shape[1] - back * stride
        np.testing.assert_array_equal(patch, longer[:, end - length : end])
    assert found.shape[1] == (20 - length) // stride + 2


def test_normalizing_counts_what_was_seen_alone() -> None:
    rng = np.random.default_rng(0)
    x, seen = rng.normal(3, 2, (2, 2, 9)).astype(np.float32), np.ones((2, 2, 9), np.float32)
    seen[0, 0, 4:], seen[1, 1] = 0, 0
    window = normalize(x * seen, seen, "window")
    np.testing.assert_allclose(window.center[0, 0], x[0, 0, :4].mean(), rtol=1e-5)
    np.testing.assert_allclose(window.spread[0, 0], x[0, 0, :4].std(), rtol=1e-3)
    np.testing.assert_allclose(np.asarray(window.level(window.x)) * seen, x * seen, rtol=1e-4, atol=1e-5)
    assert (np.asarray(window.x)[seen == 0] == 0).all()
    last = normalize(x * seen, seen, "last")
    assert np.asarray(last.center)[:, :, 0].tolist() == [[x[0, 0, 3], x[0, 1, 8]], [x[1, 0, 8], 0]]


# The networks


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_network_learns_and_is_saved_as_it_is(backbone: str, tmp_path: Path) -> None:
    """Student's t, so that a center and a width are put back; gradients reach all weights."""
    config, about = settings(backbone=backbone, head="student-t"), assets(covariates=True)
    runtime = devices.start(config)
    built, raw = build_model(config, about), windows(rows=16)
    before = [np.array(variable) for variable in built.model.trainable_variables]
    steps = runtime.steps(built, make_optimizer(config, built.model), StepSettings())
    stream = Stream(Windows(raw), encode(config, about, True), Batching(batch_sizes=(4,)), 0, training=True)
    losses = []
    for block in stream.iterate(0, 12 * stream.steps_per_epoch, 4):
        sums = steps.train(block, np.full(len(block[2]), 0.01, np.float32))
        losses.append(sums[0] / sums[1])
    assert np.mean(losses[-3:]) < losses[0] - 0.1
    steps.release()
    for variable, old in zip(built.model.trainable_variables, before, strict=True):
        assert not np.array_equal(variable, old), variable.path
    keras.saving.save_model(built.model, tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    wanted = answers(config, built.model, raw, about)
    assert wanted.shape == (16, AHEAD, 2, 3)
    np.testing.assert_allclose(answers(config, again, raw, about), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_no_answer_knows_the_future(backbone: str) -> None:
    """Nor what lies in unseen steps, nor the covariates that are known of the past alone."""
    config, about, raw = settings(backbone=backbone), assets(covariates=True), windows()
    model = build_model(config, about).model
    wanted = answers(config, model, raw, about)
    other = {**raw, "future": raw["future"] + 1e6, "future_seen": 1 - raw["future_seen"]}
    other["past"] = np.where(raw["past_seen"] == 1, raw["past"], 1e6).astype(np.float32)
    np.testing.assert_array_equal(answers(config, model, other, about), wanted)
    for name in ("past_covariates", "known_covariates", "static_covariates"):
        changed = answers(config, model, {**raw, name: raw[name] + 1}, about)
        assert np.array_equal(changed, wanted) == (backbone not in WITH_COVARIATES), name


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_window_that_is_shifted_and_stretched_has_the_same_forecast(backbone: str) -> None:
    config, about, raw = settings(backbone=backbone, reversible="yes"), assets(), windows()
    model = build_model(config, about).model
    moved = {**raw, "past": (raw["past"] * 5 - 300) * raw["past_seen"]}
    found, wanted = (answers(config, model, one, about) for one in (moved, raw))
    units = (wanted * 8 + 40) * 5 - 300
    np.testing.assert_allclose(found * 8 + 40, units, rtol=1e-3, atol=1e-2)
    if backbone not in ("dlinear", "nlinear"):  # those are linear
        plain = settings(backbone=backbone, reversible="no")
        model = build_model(plain, about).model
        found, wanted = (answers(plain, model, one, about) for one in (moved, raw))
        assert not np.allclose(found * 8 + 40, (wanted * 8 + 40) * 5 - 300, rtol=1e-2)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_channels_are_forecast_by_themselves_but_in_itransformer(backbone: str) -> None:
    config, raw = settings(backbone=backbone), windows()
    model = build_model(config, assets()).model
    wanted = answers(config, model, raw, assets())
    other = {**raw, "past": np.stack([raw["past"][..., 0], raw["past"][:, ::-1, 0] ** 2], -1)}
    found = answers(config, model, other, assets())
    assert not np.allclose(found[:, :, 1], wanted[:, :, 1])
    assert np.allclose(found[:, :, 0], wanted[:, :, 0], rtol=1e-4, atol=1e-5) == (backbone in ALONE)
    # The same weights on both channels give the same answer to the same window.
    same = {**raw, "past": raw["past"][:, :, :1].repeat(2, 2), "past_seen": raw["past_seen"][:, :, :1].repeat(2, 2)}
    found = answers(config, model, same, assets())
    np.testing.assert_allclose(found[:, :, 0], found[:, :, 1], rtol=1e-4, atol=1e-5)


def test_dlinear_is_two_linear_layers_on_trend_and_rest() -> None:
    config, raw = settings(backbone="dlinear", head="point"), windows()
    model = build_model(config, assets()).model
    rng = np.random.default_rng(1)
    trend, rest, bias = rng.normal(size=(PAST, AHEAD)), rng.normal(size=(PAST, AHEAD)), rng.normal(size=AHEAD)
    model.set_weights([np.concatenate([trend, rest]), bias])
    past = encoded(config, raw, assets())[0]["past"].transpose(0, 2, 1)
    average = np.asarray(moving_average(past, 5))
    wanted = average @ trend + (past - average) @ rest + bias
    np.testing.assert_allclose(
        answers(config, model, raw, assets())[..., 0], wanted.transpose(0, 2, 1), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("head", ["point", "quantile", "negative-binomial"])
def test_unseen_targets_cost_nothing(head: str) -> None:
    config, raw = settings(head=head), windows()
    raw["future_seen"][1, 2:] = 0
    built = build_model(config, assets())
    x, y, weight = encoded(config, raw, assets())
    outputs = built.model(x)
    losses = np.asarray(built.loss(y, outputs))
    assert losses.shape == weight.shape == (ROWS, AHEAD * 2)
    hidden = np.where(raw["future_seen"] == 1, y, y + 100)
    others = np.asarray(built.loss(hidden, outputs))
    np.testing.assert_allclose(losses * weight, others * weight, rtol=1e-5)
    assert not np.allclose(losses, others)
    wanted = {"point": ["mse", "mae"], "quantile": ["pinball", "mse", "mae"]}.get(head, ["nll", "mse", "mae"])
    assert list(built.metrics) == wanted
    for metric in built.metrics.values():
        assert metric.function(y, outputs).shape == weight.shape
        assert not metric.higher_is_better


# Forecasts


@pytest.mark.parametrize("head", ["point", "quantile", "student-t", "negative-binomial"])
def test_a_record_is_in_units_and_named_by_series_and_start(head: str) -> None:
    config, about, raw = settings(head=head, backbone="patchtst"), assets(), windows()
    built = build_model(config, about)
    ids = [f"a@b@2026-01-0{day}T00:00" for day in range(1, ROWS + 1)]
    given = {name: column for name, column in raw.items() if "future" not in name}
    shift = {"conformal": {"shift": [[[0.25, 0.5]]]}}
    plain, wider = (
        list(predictor(built.model, config, one, {})(iter([(ids[:4], first), (ids[4:], second)])))
        for first, second in [({k: v[:4] for k, v in given.items()}, {k: v[4:] for k, v in given.items()})]
        for one in (about, {**about, **shift})
    )
    outputs = answers(config, built.model, raw, about)
    middle = outputs[..., 0] if head != "quantile" else np.median(outputs, -1)
    units = middle if head == "negative-binomial" else middle * 8 + 40
    np.testing.assert_allclose(np.stack([record.output for record in plain])[..., 0], units, rtol=1e-4)
    for record, other in zip(plain, wider, strict=True):
        assert record.output is not None
        assert other.output is not None
        assert record.output.shape == (AHEAD, 2, 1 + len(QUANTILES))
        moved = record.output[..., 1:] + 8 * np.array([-0.5, -0.25, 0, 0.25, 0.5])
        moved = np.maximum(moved, 0) if head == "negative-binomial" else moved
        np.testing.assert_allclose(other.output[..., 1:], moved, rtol=1e-4, atol=1e-3)
    first = wider[1]
    assert first.output is not None
    assert (first.answer["series"], first.answer["start"]) == ("a@b", "2026-01-02T00:00")
    np.testing.assert_allclose(first.answer["forecast"]["c1"], first.output[:, 1, 0], rtol=1e-5)
    np.testing.assert_allclose(first.answer["intervals"]["80"]["c1"], first.output[:, 1, [2, 4]], rtol=1e-5)
    np.testing.assert_allclose(first.answer["intervals"]["95"]["c0"], first.output[:, 0, [1, 5]], rtol=1e-5)


def test_six_digits_are_written_as_six() -> None:
    values = np.array([0, 1 / 3, -2e7 / 3, 123456.7, 1e-9 / 3, 1.1e20, 100, 0.1], np.float32)
    assert six_digits(values).tolist() == [0.0, 0.333333, -6.66667e6, 123457.0, 3.33333e-10, 1.1e20, 100.0, 0.1]


# Transfer


@pytest.mark.parametrize("backbone", BACKBONES)
def test_weights_go_over_to_other_channels_and_horizons(backbone: str) -> None:
    """All but the last layer, of which the steps that both have go over."""
    source_config, config = settings(backbone=backbone), settings(backbone=backbone, horizon=6)
    source, built = build_model(source_config, assets(3)), build_model(config, assets(1))
    assert built.head is not None
    layers = [backbone_layers(one.model, built.head) for one in (source, built)]
    body = take_over(align(*layers))
    top = take_head(source.model, built.model, built.head, None)
    if backbone == "tide":  # its decoder and its skip give a number for each step
        assert len(body.taken) > len(body.new) > 0
    else:
        assert not body.new
        assert not body.resized
    if backbone in ("tide", "lstm", "gru"):
        assert len(top.taken) == 2
    else:
        assert top.resized == [
            f"forecast_quantile/{name} ({AHEAD * 5} of {6 * 5} outputs known)" for name in ("kernel", "bias")
        ]
        raw = windows(1)
        longer = answers(config, built.model, raw, assets(1))
        same = build_model(source_config, assets(1))
        same.model.set_weights(source.model.get_weights())
        np.testing.assert_allclose(
            longer[:, :AHEAD], answers(source_config, same.model, raw, assets(1)), rtol=1e-4, atol=1e-5
        )


def test_another_head_is_a_new_one() -> None:
    source, built = (build_model(settings(head=head), assets()) for head in ("point", "quantile"))
    assert built.head is not None
    assert len(take_head(source.model, built.model, built.head, None).new) == 2


# Masked patches


def pretraining_of(**options: Any) -> Config:
    return settings(backbone="patchtst", pretrain_mask=0.4, **options)


def test_a_share_of_the_stretches_is_hidden_by_the_key() -> None:
    config, raw = pretraining_of(), windows(rows=50)
    keys = tf.constant(example_keys(0, 0, np.arange(50)))
    tensors = {name: tf.constant(column) for name, column in raw.items()}
    x, y, weight = (pretraining.encode(config, assets()))(tensors, keys)
    whole, _, _ = encoded(config, raw, assets())
    np.testing.assert_array_equal(y, whole["past"])
    hidden = pretraining.hide(keys, PAST, 2, 6, 0.4).numpy()
    # 20 steps are 4 stretches, the first of 2 steps: round(0.4 * 4) are hidden of each channel.
    starts = [slice(0, 2), slice(2, 8), slice(8, 14), slice(14, 20)]
    stretches = np.stack([hidden[:, part].mean(1) for part in starts])
    assert set(np.unique(stretches)) == {0, 1}
    assert (stretches.sum(0) == 2).all()
    assert len(np.unique(hidden.reshape(50, -1), axis=0)) > 20
    assert not np.array_equal(hidden[..., 0], hidden[..., 1])
    np.testing.assert_array_equal(x["past"], whole["past"] * (1 - hidden))
    np.testing.assert_array_equal(x["past_seen"], whole["past_seen"] * (1 - hidden))
    in_patches = np.arange(PAST)[:, None] >= (PAST - 6) % 4
    np.testing.assert_array_equal(weight, (hidden * raw["past_seen"] * in_patches).reshape(50, -1))
    again = pretraining.encode(config, assets())(tensors, keys)[0]
    np.testing.assert_array_equal(x["past"], again["past"])


@pytest.mark.parametrize(("length", "stride"), [(6, 4), (6, 3), (4, 4), (3, 4)])
def test_folding_is_the_way_back_from_patches(length: int, stride: int) -> None:
    x = np.random.default_rng(0).normal(size=(2, 20)).astype(np.float32)
    shares = pretraining.fold(20, length, stride)
    back = np.asarray(patches(x, length, stride)).reshape(2, -1) @ shares
    np.testing.assert_allclose(back, x * (shares.sum(0) > 0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("head", ["quantile", "negative-binomial"])
def test_what_is_hidden_is_learned_by_the_forecasters_own_layers(head: str) -> None:
    config = pretraining_of(head=head)
    runtime = devices.start(config)
    built = build_model(config, assets())
    task = pretraining.build_model(built, config, assets())
    before = {variable.path: np.array(variable) for variable in built.model.variables}
    steps = runtime.steps(task, make_optimizer(config, task.model), StepSettings())
    encoder = pretraining.encode(config, assets())
    stream = Stream(Windows(windows(rows=32)), encoder, Batching(batch_sizes=(8,)), 0, training=True)
    losses = []
    for block in stream.iterate(0, 30 * stream.steps_per_epoch, 4):
        sums = steps.train(block, np.full(len(block[2]), 0.01, np.float32))
        losses.append(sums[0] / sums[1])
    assert np.mean(losses[-4:]) < 0.75 * np.mean(losses[:4])
    steps.release()
    same = [path for path, old in before.items() if np.array_equal(old, dict(named(built.model))[path])]
    assert [path for path in same if "seed" not in path] == [f"forecast_{head}/kernel", f"forecast_{head}/bias"]


def named(model: keras.Model) -> list[tuple[str, np.ndarray]]:
    return [(variable.path, np.array(variable)) for variable in model.variables]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"backbone": "dlinear"}, "has no patches"), ({"backbone": "patchtst", "reversible": "no"}, "reversible no")],
)
def test_what_cannot_be_pretrained_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pretraining.encode(settings(**options), assets())


@pytest.mark.skipif(BACKEND == "jax", reason="this is the run on JAX")
@pytest.mark.parametrize(
    "which",
    [
        "(learns and dlinear) or (hidden and quantile)",
        pytest.param("learn or record", marks=pytest.mark.slow),
    ],
)
def test_on_jax(which: str, again_on_jax: Callable[[str], None]) -> None:
    again_on_jax(which)


def test_tide_does_without_xla_on_a_cpu_where_it_draws_random_numbers() -> None:
    found = {
        (backbone, dropout): build_model(settings(backbone=backbone, dropout=dropout), assets()).gains_by_xla
        for backbone, dropout in (("tide", 0.1), ("tide", 0.0), ("patchtst", 0.1))
    }
    assert found == {("tide", 0.1): False, ("tide", 0.0): True, ("patchtst", 0.1): True}
