"""The SavedModel of forecasting forecasts what predict does, in a process that knows TensorFlow alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from pipelines import devices, predict, run
from pipelines.devices.steps import kept_model
from pipelines.errors import RunError
from pipelines.evaluation import predict_store
from pipelines.runs import Run
from pipelines.saved_model import check_served, save_served
from pipelines.served import Serving
from pipelines.task import Assets, Record, Store
from tasks.time_series_forecasting import conformal, data, scores
from tasks.time_series_forecasting.config import QUANTILES, Config
from tasks.time_series_forecasting.data.covariates import _calendar
from tasks.time_series_forecasting.data.inputs import inputs
from tasks.time_series_forecasting.heads_graph import _count_quantiles, _student_quantiles, forecasts
from tasks.time_series_forecasting.history_graph import NOT_BEGUN, calendar, filled, fitted
from tasks.time_series_forecasting.implied import resolve
from tasks.time_series_forecasting.model import build_model
from tasks.time_series_forecasting.prediction import predictor
from tasks.time_series_forecasting.serving import _count_gap, serving
from tests.conftest import served

STEPS, AHEAD = 70, 3
SMALL: dict[str, Any] = {"lookback": 8, "horizon": AHEAD, "batch_size": 16, "width": 8, "heads": 2, "feedforward": 8}
CASES: dict[str, dict[str, Any]] = {
    "wide": {"backbone": "dlinear", "kernel": 3},
    "rich": {
        **{"backbone": "tide", "head": "student-t", "fill": "linear", "calendar": True},
        "columns": {"known": "promo,kind", "past": "rain,sky", "static": "size,place"},
    },
    "counts": {
        **{"backbone": "lstm", "head": "negative-binomial", "fill": "zero", "scaler": "mean"},
        "columns": {"known": "promo", "static": "size,place"},
    },
    "gaps": {"backbone": "gru", "head": "point", "on_bad": "skip", "columns": {"static": "size,place"}},
}
COLUMNS = ("sold", "back", "promo", "kind", "rain", "sky", "size", "place")


def shop(name: str, steps: int, level: float = 20.0) -> dict[str, Any]:
    """A series of two channels with gaps, and what stands beside it, also ahead."""
    rng = np.random.default_rng(sum(name.encode()))
    values = rng.poisson(level * (1.2 + np.sin(np.arange(steps) * 0.9)), (2, steps)).T.astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    values[[0, -1]] = level
    known = rng.integers(0, 5, steps + AHEAD).astype(np.float32)
    kinds = rng.choice(["a", "bé", ""], steps + AHEAD)
    rain, sky = rng.normal(size=steps).astype(np.float32), rng.choice(["grey", "blue"], steps)
    rain[rng.random(steps) < 0.1] = np.nan
    rain[0], kinds[0] = 0.5, "a"
    beside = {"promo": known, "kind": kinds, "rain": rain, "sky": sky, "size": level, "place": "north"}
    return {"name": name, "values": values, **beside}


def table(path: Path, shops: list[dict[str, Any]], ahead: int = 0) -> str:
    """A row for each day, those ahead without values; all end on the same one."""
    lines = ["shop,day," + ",".join(COLUMNS)]
    for one in shops:
        steps = len(one["values"])
        for step, day in enumerate(days(steps + ahead)):
            now = [*one["values"][step], one["rain"][step], one["sky"][step]] if step < steps else ["", "", "", ""]
            cells = [now[0], now[1], one["promo"][step], one["kind"][step], now[2], now[3], one["size"], one["place"]]
            lines.append(f"{one['name']},{day},{','.join(str(cell) for cell in cells)}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def days(steps: int) -> np.ndarray:
    """The last so many."""
    return np.datetime64("2024-03-20") - np.arange(steps)[::-1]


def kept(case: str, tmp_path: Path) -> tuple[Any, Config, Assets, Store]:
    """An untrained model with calibrated intervals, its config, its assets and the test split."""
    settings = SMALL | CASES[case]
    if case == "wide":
        rng = np.random.default_rng(1)
        walk = rng.normal(size=(STEPS, 3)).cumsum(axis=0).round(3)
        rows = [f"{day},{','.join(map(str, row))}" for day, row in zip(days(STEPS), walk.tolist(), strict=True)]
        source = tmp_path / "wide.csv"
        source.write_text("\n".join(["day,x,y,z", *rows]) + "\n")
    else:
        source = Path(table(tmp_path / f"{case}.csv", [shop("łódź", STEPS), shop("b", STEPS - 20, 500.0)]))
        settings["columns"] = {"series": "shop", "time": "day", "value": "sold,back"} | settings["columns"]
    config = Config(data=str(source), **settings)
    devices.start(config)
    found = data.load_data(config)
    config = resolve(config, found)
    model = kept_model(build_model(config, found.assets))
    valid = found.splits["valid"]
    records = predict_store(predictor(model, config, found.assets, {}), valid)
    assets = scores.calibrate(config, found.assets, records, data.references(valid))
    return model, config, assets, found.splits["test"]


def given(case: str, shops: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """The inputs of series that end together, made without a store; shorter ones begin later."""
    most = max(len(one["values"]) for one in shops)

    def stacked(make: Any, nothing: Any, ahead: int = 0) -> np.ndarray:
        columns = [np.asarray(make(one)) for one in shops]
        found = np.full((len(shops), most + ahead, columns[0].shape[1]), nothing, columns[0].dtype)
        for row, column in enumerate(columns):
            found[row, most + ahead - len(column) :] = column
        return found

    def texts(*names: str, ahead: int = 0) -> np.ndarray:
        def column(one: dict[str, Any]) -> np.ndarray:
            cells = np.stack([one[name] for name in names], axis=-1)
            return np.array([text.encode() for text in cells.ravel()], object).reshape(cells.shape)

        return stacked(column, b"", ahead)

    found = {
        "history": stacked(lambda one: one["values"], np.nan),
        "series": np.array([one["name"].encode() for one in shops], object),
    }
    if case in ("rich", "counts"):
        found["known"] = stacked(lambda one: one["promo"][:, None], np.nan, AHEAD)
    if case == "rich":
        found["known_texts"] = texts("kind", ahead=AHEAD)
        found["past"] = stacked(lambda one: one["rain"][:, None], np.nan)
        found["past_texts"] = texts("sky")
        times = stacked(
            lambda one: days(len(one["values"]) + AHEAD).astype("M8[us]").astype(np.int64)[:, None], NOT_BEGUN, AHEAD
        )
        found["time"] = times[..., 0]
    if case in ("rich", "counts", "gaps"):
        found["static"] = np.array([[one["size"]] for one in shops], np.float32)
        found["static_texts"] = np.array([[one["place"].encode()] for one in shops], object)
    return found


def alike(made: Serving, outputs: dict[str, np.ndarray], records: list[Record]) -> None:
    """Outputs, and the records that are made of them, are those of predict."""
    wanted = np.stack([np.asarray(record.output) for record in records])
    np.testing.assert_allclose(outputs["forecast"], wanted[..., 0], rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(outputs["quantiles"], wanted[..., 1:], rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(outputs["levels"], QUANTILES, rtol=1e-6)
    assert made.records is not None
    for one, record in zip(made.records([record.id for record in records], {}, outputs), records, strict=True):
        assert (one.id, one.error) == (record.id, None)
        assert one.answer.keys() == record.answer.keys()
        assert (one.answer["series"], one.answer["start"]) == (record.answer["series"], record.answer["start"])
        for channel, numbers in record.answer["forecast"].items():
            np.testing.assert_allclose(one.answer["forecast"][channel], numbers, rtol=5e-5, atol=5e-5)
            ends = record.answer["intervals"]["80"][channel]
            np.testing.assert_allclose(one.answer["intervals"]["80"][channel], ends, rtol=5e-5, atol=5e-5)


def test_forecasts_are_those_of_predict(tmp_path: Path) -> None:
    """Series that the run knows, short ones and strangers, from tables and from arrays."""
    asked: dict[str, Any] = {}
    wanted: dict[str, Any] = {}
    for case in CASES:
        model, config, assets, store = kept(case, tmp_path)
        made = serving(model, config, assets)
        place = str(save_served(tmp_path / case, made))
        give = predictor(model, config, assets, {})
        windows = np.arange(len(store))
        requests, records = [made.inputs(store, windows)], [predict_store(give, store)]
        _core_alike(made, requests[0])
        if case != "wide":
            shops = [shop("łódź", 30), shop("stranger", 30, 7.0), shop("b", 30), shop("young", 3, 300.0)]
            path = table(tmp_path / f"{case} now.csv", shops, AHEAD)
            records.append([record for batch in inputs([path], config, assets) for record in give([batch])])
            requests.append(given(case, shops))
            one = {name: values[1:2] for name, values in requests[1].items()}
            requests += [one, {name: values[:0] for name, values in one.items()}]
            records.append(records[1][1:2])
        asked[place] = [("serving_default", request) for request in requests]
        wanted[place] = made, records
        about = json.loads((tmp_path / case / "serving.json").read_text())
        assert about["input"]["types"].keys() == requests[0].keys()
        assert all(f"{name}: " in about["input"]["what"] for name in requests[0])
    for place, answers in served(asked, tmp_path).items():
        made, by_request = wanted[place]
        for outputs, records in zip(answers, by_request, strict=False):
            good = [row for row, record in enumerate(records) if record.error is None]
            assert len(good) > 0
            alike(
                made,
                {name: one if name == "levels" else one[good] for name, one in outputs.items()},
                [records[row] for row in good],
            )
            assert outputs["forecast"].std(axis=0).max() > 1e-3 or len(good) == 1
        if len(answers) > 2:
            assert answers[3]["forecast"].shape[0] == 0


def _core_alike(made: Serving, x: dict[str, np.ndarray]) -> None:
    """The core between what stands round it, each compiled by itself, is the whole; it holds numbers alone."""
    core = made.core
    assert core is not None
    tensors = {name: tf.constant(values) for name, values in x.items()}
    before = tf.function(core.before, input_signature=[made.input])(tensors)
    function = tf.function(core.function, input_signature=[dict(core.input)])
    assert before.keys() - core.input.keys() <= {"center", "scale"}
    outputs = function({name: before[name] for name in core.input})
    found, whole = core.after({**before, **outputs}), made.function(tensors)
    for name in whole:
        np.testing.assert_allclose(found[name], whole[name], rtol=1e-5, atol=1e-5)
    assert all(value.dtype == tf.float32 for value in [*before.values(), *outputs.values()])


def test_histories_of_any_length(tmp_path: Path) -> None:
    model, config, assets, store = kept("rich", tmp_path)
    made = serving(model, config, assets)
    x = made.inputs(store, np.arange(4))
    names = {"history", "known", "known_texts", "past", "past_texts", "time"}
    whole = made.function({name: tf.constant(values) for name, values in x.items()})
    # A longer one, of which the model sees the end.
    longer = {
        name: np.concatenate([values[:, :5], values], axis=1) if name in names else values for name, values in x.items()
    }
    again = made.function({name: tf.constant(values) for name, values in longer.items()})
    np.testing.assert_allclose(again["quantiles"], whole["quantiles"], rtol=1e-5)
    # A shorter one is one that begins later.
    shorter = {name: values[:, 5:] if name in names else values for name, values in x.items()}
    later = {name: np.array(values) for name, values in x.items()}
    for name in names:
        nothing = {"time": NOT_BEGUN, "known_texts": b"", "past_texts": b""}.get(name, np.nan)
        later[name][:, :5] = nothing
    pair = [made.function({name: tf.constant(values) for name, values in one.items()}) for one in (shorter, later)]
    np.testing.assert_allclose(pair[0]["quantiles"], pair[1]["quantiles"], rtol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="known must have as many steps as the history"):
        made.function({name: tf.constant(values) for name, values in {**x, "known": x["known"][:, 1:]}.items()})
    # Of a stranger without a value nothing can be said; of the others in the call it can.
    x["history"][1], x["series"][1] = np.nan, b"nobody"
    found = made.function({name: tf.constant(values) for name, values in x.items()})
    assert np.isnan(found["forecast"][1]).all()
    assert np.isnan(found["quantiles"][1]).all()
    np.testing.assert_allclose(found["quantiles"].numpy()[[0, 2, 3]], whole["quantiles"].numpy()[[0, 2, 3]], rtol=1e-5)


@pytest.mark.parametrize("name", ["hour", "weekday", "day", "month", "yearday"])
def test_the_calendar_is_that_of_training(name: str) -> None:
    class Hourly:
        """As much of a panel as the calendar asks for."""

        class frequency:
            size = 3_600_000_000

        of_step = step_of = np.arange(4000)

        def times(self, series: np.ndarray, steps: np.ndarray) -> np.ndarray:
            hours = np.random.default_rng(0).integers(-1_500_000, 1_500_000, len(series))
            leap = np.datetime64("2000-02-29", "h").astype(np.int64) + np.arange(48)
            hours[:48] = leap
            return np.asarray(hours * self.frequency.size)

    panel = Hourly()
    times = panel.times(panel.of_step, panel.step_of)
    found = calendar(tf.constant(times.reshape(40, 100)), name, panel.frequency.size)
    np.testing.assert_allclose(found.numpy().ravel(), _calendar(panel, name), atol=1e-6)  # type: ignore[arg-type]
    assert calendar(tf.constant([NOT_BEGUN]), name, panel.frequency.size).numpy().tolist() == [0]


def test_gaps_are_filled_as_in_tables() -> None:
    nan = np.nan
    values = tf.constant(np.array([[nan, 1, nan, nan, 4, nan], [nan] * 6, [1, nan, 3, 4, 5, 6]], np.float32)[..., None])
    begun = tf.constant(np.array([[0, 1, 1, 1, 1, 1], [0] * 6, [1] * 6], bool)[..., None])
    wanted = {
        "none": values.numpy()[..., 0],
        "forward": [[nan, 1, 1, 1, 4, 4], [nan] * 6, [1, 1, 3, 4, 5, 6]],
        "linear": [[nan, 1, 2, 3, 4, 4], [nan] * 6, [1, 2, 3, 4, 5, 6]],
        "zero": [[nan, 1, 0, 0, 4, 0], [nan] * 6, [1, 0, 3, 4, 5, 6]],
    }
    for fill, rows in wanted.items():
        np.testing.assert_array_equal(filled(values, fill, begun).numpy()[..., 0], np.array(rows, np.float32))


def test_strangers_are_scaled_by_what_they_are() -> None:
    history = np.array([[[1e6, 5], [1e6, np.nan], [1e6 + 0.0625, 9]]], np.float32)
    (center,), (scale,) = (one.numpy() for one in fitted(tf.constant(history), "standard"))
    np.testing.assert_allclose(center, [1e6, 7])
    np.testing.assert_allclose(scale, [1, 2])  # what differs by rounding alone does not vary
    assert [one.numpy().tolist() for one in fitted(tf.constant(-history[..., 1:]), "mean")] == [[[0]], [[7]]]
    assert [one.numpy().tolist() for one in fitted(tf.constant(history[..., 1:]), "none")] == [[[0]], [[1]]]


def test_quantiles_are_those_of_scipy() -> None:
    freedom = np.concatenate([2 + np.logspace(-7, 7, 2000), [2.0001, 3, 30]])
    parameters = np.stack([np.full_like(freedom, 3), np.full_like(freedom, 2), freedom], axis=-1)
    found = _student_quantiles(tf.constant(parameters)).numpy()
    wanted = 3 + 2 * special.stdtrit(freedom[:, None], np.array(QUANTILES))
    np.testing.assert_allclose(found, wanted, rtol=1e-7)
    mean, dispersion = np.meshgrid(np.logspace(-4, 6, 60), np.logspace(-4, 2, 40))
    parameters = np.stack([mean, dispersion], axis=-1)
    found = _count_quantiles(tf.constant(parameters)).numpy()
    mean, dispersion = mean[..., None], dispersion[..., None]
    exact = stats.nbinom.ppf(np.array(QUANTILES), 1 / dispersion, 1 / (1 + dispersion * mean))
    np.testing.assert_array_equal(found[exact < 1e5], exact[exact < 1e5])
    np.testing.assert_allclose(found, exact, rtol=2e-6)
    assert _count_quantiles(tf.zeros([0, 3, 2, 2], tf.float64)).shape == (0, 3, 2, 5)


def test_counts_may_be_one_apart_and_forecasts_may_not() -> None:
    output = np.array([[[2.5, 0, 1, 2, 4, 6]]], np.float32)
    outputs = {"forecast": output[None, ..., 0], "quantiles": output[None, ..., 1:]}
    record = Record("a", {}, output)
    assert _count_gap(outputs, [record])[0] == 0
    assert _count_gap({**outputs, "quantiles": outputs["quantiles"] + 1}, [record])[0] == 0
    assert _count_gap({**outputs, "quantiles": outputs["quantiles"] + 2}, [record])[0] > 0.1
    assert _count_gap({**outputs, "forecast": outputs["forecast"] + 0.1}, [record])[0] > 0.01


def test_intervals_are_moved_in_a_graph_as_outside() -> None:
    rng = np.random.default_rng(0)
    quantiles, center, scale = rng.normal(size=(4, AHEAD, 2, 5)), rng.normal(size=(4, 2)), rng.uniform(1, 9, (4, 2))
    shift = rng.uniform(-1, 1, (AHEAD, 2, 2)).round(6)
    assets, config = {"conformal": {"shift": shift.tolist()}}, Config(head="quantile")
    found = forecasts(quantiles, center, scale, config, assets).numpy()
    ordered = np.sort(quantiles, axis=-1) * scale[:, None, :, None] + center[:, None, :, None]
    wanted = conformal.apply(np.concatenate([ordered[..., 2:3], ordered], axis=-1), assets, config, scale)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_run_leaves_one_that_it_has_tried(tmp_path: Path) -> None:
    """The built-in series, whose model sees an event that is known ahead, and the kind of each site."""
    settings: dict[str, Any] = {"lookback": 24, "horizon": 6, "epochs": 1, "limit": 400, "width": 8, "heads": 2}
    run("time-series-forecasting", data="sample", run_dir=str(tmp_path / "run"), calendar=True, **settings)
    parity = json.loads((tmp_path / "run" / "export" / "parity.json").read_text())["saved_model"]
    assert parity["examples"] == 64
    assert parity["largest_difference"] < 1e-4
    files = Run(tmp_path / "run").manifest()["files"]
    assert {"export/serving.json", "export/saved_model/saved_model.pb"} <= files.keys()
    hours = np.datetime64("2024-05-01T00", "us") + np.timedelta64(3600, "s") * np.arange(36)
    load, event = 50 + 20 * np.sin(np.arange(36) * 2 * np.pi / 24), (np.arange(36) % 24 > 20).astype(int)
    lines = [
        f"site 3,{hour},{value if step < 30 else ''},{event[step]},office"
        for step, (hour, value) in enumerate(zip(hours, load.tolist(), strict=True))
    ]
    (tmp_path / "now.csv").write_text("\n".join(["series,time,load,event,kind", *lines]) + "\n")
    (record,) = predict(tmp_path / "run", [str(tmp_path / "now.csv")], columns={"known": "event", "static": "kind"})
    signature = tf.saved_model.load(str(tmp_path / "run" / "export" / "saved_model")).signatures["serving_default"]
    found = signature(
        history=tf.constant(load[None, :30, None], tf.float32),
        series=tf.constant(["site 3"]),
        known=tf.constant(event[None, :, None], tf.float32),
        static_texts=tf.constant([["office"]]),
        time=tf.constant(hours.astype(np.int64)[None]),
    )
    np.testing.assert_allclose(found["forecast"][0, :, 0], record["forecast"]["load"], rtol=1e-4)


def test_an_export_that_forecasts_otherwise_is_refused(tmp_path: Path) -> None:
    model, config, assets, store = kept("wide", tmp_path)
    made = serving(model, config, assets)
    place = save_served(tmp_path, made)
    records = predict_store(predictor(model, config, assets, {}), store)
    given = made.inputs(store, np.arange(len(store)))
    assert check_served(place, given, records, made.output, gap=made.gap)["largest_difference"] < 1e-4
    with pytest.raises(RunError, match="its quantiles differ"):
        check_served(place, given, records[::-1], made.output, gap=made.gap)
