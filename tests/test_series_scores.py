"""Time-series forecasting: scores beside another implementation's, intervals, tables, conformal quantiles, pictures."""

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from utilsforecast import losses

from pipelines.errors import DataError
from pipelines.evaluation import judge
from pipelines.task import Figure, Record
from tasks.time_series_forecasting import conformal, figures, scores
from tasks.time_series_forecasting.answers import Answer, six_digits
from tasks.time_series_forecasting.config import QUANTILES, Config
from tasks.time_series_forecasting.measures import Measured, each_series

SEASON = 4
NAMES = [f"q{level}" for level in QUANTILES]


def assets(channels: int = 1, **more: Any) -> dict[str, Any]:
    return {"channels": [f"c{number}" for number in range(channels)], "frequency": {"season": SEASON}, **more}


def split(
    frames: int = 3, origins: int = 4, horizon: int = 3, channels: int = 1, seed: int = 0, spacing: int = 1
) -> Any:
    """References, outputs [windows, horizon, channels, 1 + quantiles] and ids of series of positive values; and the
    history that the naive errors are of, [frames, steps, channels]."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(5, 50, size=(frames, 1, channels))
    history = level + rng.normal(size=(frames, 40, channels))
    series = np.repeat(np.arange(frames), origins)
    windows = len(series)
    change = history[:, SEASON:] - history[:, :-SEASON]
    future = level[series] + rng.normal(size=(windows, horizon, channels))
    point = future + rng.normal(size=future.shape)
    spread = np.array([0, -2, -1, 0, 1, 2]) + 0.1 * rng.normal(size=6)
    references = {
        "future": future.astype(np.float32),
        "future_seen": np.ones(future.shape, np.uint8),
        "center": history.mean(axis=1)[series].astype(np.float32),
        "scale": history.std(axis=1)[series].astype(np.float32),
        "series": series.astype(np.int64),
        "origin": np.tile(40 + spacing * np.arange(origins), frames).astype(np.int64),
        "naive_error": np.abs(change).mean(axis=1)[series].astype(np.float32),
        "naive_squared": (change**2).mean(axis=1)[series].astype(np.float32),
        "last_season": history[series, -SEASON:].astype(np.float32),
    }
    outputs = (point[..., None] + spread).astype(np.float32)
    outputs[..., 1:] = np.sort(outputs[..., 1:], axis=-1)
    ids = [f"s{one}@{40 + at % origins}" for at, one in enumerate(series)]
    return references, outputs, ids, history


def records(outputs: np.ndarray, ids: list[str]) -> list[Record]:
    return [Record(name, {}, output) for name, output in zip(ids, outputs, strict=True)]


def found(references: Any, outputs: np.ndarray, ids: list[str], **settings: Any) -> Any:
    config = Config(horizon=outputs.shape[1], **settings)
    return scores.score(records(outputs, ids), references, config, assets(outputs.shape[2]))


def values(result: Any) -> dict[str, float]:
    return {name: one.value for name, one in result.scores.items()}


def frame_of(references: Any, outputs: np.ndarray) -> pd.DataFrame:
    """The same as utilsforecast takes it: a row for each target of each series."""
    windows, horizon, channels, _ = outputs.shape
    window, step, channel = (grid.ravel() for grid in np.indices((windows, horizon, channels)))
    table = {
        "unique_id": [f"{references['series'][one]}-{other}" for one, other in zip(window, channel, strict=True)],
        "ds": 1_000 * window + step,
        "y": references["future"].astype(np.float64).ravel(),
        "model": outputs[..., 0].astype(np.float64).ravel(),
    }
    for place, name in enumerate(NAMES):
        table[name] = outputs[..., 1 + place].astype(np.float64).ravel()
    table |= {"model-lo-80": table["q0.1"], "model-hi-80": table["q0.9"]}
    table |= {"model-lo-95": table["q0.025"], "model-hi-95": table["q0.975"]}
    return pd.DataFrame(table)[references["future_seen"].astype(bool).ravel()]


def past_of(history: np.ndarray) -> pd.DataFrame:
    frames, steps, channels = history.shape
    frame, step, channel = (grid.ravel() for grid in np.indices((frames, steps, channels)))
    names = [f"{one}-{other}" for one, other in zip(frame, channel, strict=True)]
    order = np.lexsort((step, channel, frame))
    return pd.DataFrame({"unique_id": names, "ds": step, "y": history.ravel()}).iloc[order]


# ---- beside another implementation -----------------------------------------------------------------------------


@pytest.mark.parametrize(("frames", "channels"), [(5, 1), (1, 3), (4, 2)])
def test_scores_are_those_of_utilsforecast(frames: int, channels: int) -> None:
    references, outputs, ids, history = split(frames, 6, 3, channels)
    hidden = np.random.default_rng(1).random(references["future"].shape) < 0.2
    references["future_seen"][hidden] = 0
    references["future"][hidden] = 1e9
    mine = values(found(references, outputs, ids))
    theirs, past = frame_of(references, outputs), past_of(history)

    def mean(table: Any) -> float:
        return float(table["model"].mean())

    seasonal = {"models": ["model"], "seasonality": SEASON, "train_df": past}
    assert mine["mase"] == pytest.approx(mean(losses.mase(theirs, **seasonal)), rel=1e-4)
    assert mine["rmsse"] == pytest.approx(mean(losses.rmsse(theirs, **seasonal)), rel=1e-4)
    assert mine["smape"] == pytest.approx(200 * mean(losses.smape(theirs, ["model"])), rel=1e-5)
    together = theirs.assign(unique_id="all")
    assert mine["mae_units"] == pytest.approx(mean(losses.mae(together, ["model"])), rel=1e-5)
    assert mine["mse_units"] == pytest.approx(mean(losses.mse(together, ["model"])), rel=1e-5)
    crps = losses.scaled_crps(together, {"model": NAMES}, np.array(QUANTILES))
    assert mine["wql"] == pytest.approx(mean(crps), rel=1e-5)
    for level in (80, 95):
        assert mine[f"coverage_{level}"] == pytest.approx(mean(losses.coverage(together, ["model"], level)))


def test_scores_by_hand() -> None:
    references, outputs, ids, _ = split(1, 1, 2, 1)
    references |= {"future": np.array([[[2.0], [0.0]]], np.float32), "scale": np.array([[2.0]], np.float32)}
    references |= {"naive_error": np.array([[0.5]], np.float32), "naive_squared": np.array([[4.0]], np.float32)}
    outputs = np.array([[[[1, -1, 0, 1, 1.5, 2]], [[0, 0, 0, 0, 0, 0]]]], np.float32)
    mine = values(found(references, outputs, ids))
    expected = {
        "mase": 0.5 / 0.5,
        "mse": (1 / 2) ** 2 / 2,
        "mae": (1 / 2) / 2,
        "mse_units": 1 / 2,
        "mae_units": 1 / 2,
        "smape": 200 * (1 / 3) / 2,  # of two noughts it is 0
        "rmsse": np.sqrt(0.5 / 4),
        "wql": 2 * np.mean([0.025 * 3, 0.1 * 2, 0.5 * 1, 0.9 * 0.5, 0]) / 2,
        "coverage_80": 0.5,
        "width_80": (1.5 / 2) / 2,
        "coverage_95": 1.0,
        "width_95": (3 / 2) / 2,
    }
    assert mine == pytest.approx(expected)


# ---- what counts -----------------------------------------------------------------------------------------------


def test_what_was_not_observed_never_counts() -> None:
    references, outputs, ids, _ = split(4, 5, 3, 2)
    references["future_seen"][1:3, 1] = 0
    before = found(references, outputs, ids)
    references["future"][1:3, 1] = 777
    outputs[1:3, 1] = -5e8
    assert found(references, outputs, ids) == before
    references["future_seen"][:] = 0
    with pytest.raises(DataError, match="no value of the split was observed"):
        found(references, outputs, ids)


def test_series_that_never_change_have_no_mase() -> None:
    references, outputs, ids, _ = split(6, 2, 3, 1)
    alone = found({name: column[2:] for name, column in references.items()}, outputs[2:], ids[2:])
    references["naive_error"][:2], references["naive_squared"][:2] = 0, np.nan
    both = found(references, outputs, ids)
    assert both.headline == "mase"
    assert both.scores["mase"].value == pytest.approx(alone.scores["mase"].value)
    assert both.scores["rmsse"].value == pytest.approx(alone.scores["rmsse"].value)
    assert both.breakdowns["series"]["s0"]["mase"] is None
    references["naive_error"][:] = np.nan
    none = found(references, outputs, ids)
    assert none.headline == "mae"
    assert "mase" not in none.scores


def test_each_series_counts_the_same_in_its_own_scores_and_each_target_in_the_others() -> None:
    references, outputs, ids, _ = split(2, 4, 3, 1)
    chosen = np.array([0, 1, 2, 3, 4])  # four windows of one series, one of the other
    result = values(found({name: column[chosen] for name, column in references.items()}, outputs[chosen], ids[:5]))
    measured = Measured.of(outputs[chosen], {name: column[chosen] for name, column in references.items()})
    table = each_series(measured)
    assert result["mase"] == pytest.approx(table["mase"].mean())
    assert result["mae_units"] == pytest.approx((4 * table["mae_units"][0] + table["mae_units"][1]) / 5)


def test_parts_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    references, outputs, ids, _ = split(3, 7, 3, 2)
    before = found(references, outputs, ids)
    monkeypatch.setattr("tasks.time_series_forecasting.measures._VALUES", 12)
    after = found(references, outputs, ids)
    assert values(after) == pytest.approx(values(before))


# ---- intervals -------------------------------------------------------------------------------------------------


def test_blocks_of_origins_are_resampled_where_series_are_few() -> None:
    references, outputs, ids, _ = split(2, 80, 4, 2)
    result = found(references, outputs, ids)
    assert result.breakdowns["resampling"] == {"resampled": "blocks of origins", "units": 20, "origins_in_a_block": 4}
    for name, one in result.scores.items():
        if name.startswith("width"):  # the same from every origin
            continue
        assert one.low is not None, name
        assert one.low <= one.value + 1e-9, name
        assert one.high >= one.value - 1e-9, name
    # Origins a horizon apart do not overlap: blocks are as long as the cube root says.
    apart = split(2, 80, 4, 2, spacing=4)
    assert found(*apart[:3]).breakdowns["resampling"]["origins_in_a_block"] == 4
    for again in (found(references, outputs, ids), found(references, outputs, ids, seed=1)):
        assert again.scores == result.scores, "runs of all seeds are resampled alike"
        assert again.breakdowns == result.breakdowns
        np.testing.assert_array_equal(again.resamples["mase"], result.resamples["mase"])


def test_series_are_resampled_where_there_are_many() -> None:
    references, outputs, ids, _ = split(60, 2, 3, 1)
    result = found(references, outputs, ids)
    assert result.breakdowns["resampling"] == {"resampled": "series", "units": 60}
    each = each_series(Measured.of(outputs, references))["mase"]
    error = each.std() / np.sqrt(len(each))
    mase = result.scores["mase"]
    assert mase.high - mase.low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_few_series_with_few_origins_have_no_intervals() -> None:
    result = found(*split(2, 6, 3, 1)[:3])
    assert all(one.low is None and one.high is None for one in result.scores.values())


# ---- tables ----------------------------------------------------------------------------------------------------


def test_tables_by_step_series_and_origin() -> None:
    references, outputs, ids, _ = split(3, 2, 4, 2)
    result = found(references, outputs, ids, origins=2)
    steps = result.breakdowns["horizon"]
    assert list(steps) == ["1", "2", "3", "4"]
    error = np.abs(outputs[..., 0] - references["future"]) / references["scale"][:, None]
    assert [row["mae"] for row in steps.values()] == pytest.approx(error.mean(axis=(0, 2)))
    series = result.breakdowns["series"]
    assert set(series) == {f"s{frame} c{channel}" for frame in range(3) for channel in range(2)}
    assert [row["windows"] for row in series.values()] == [2] * 6
    listed = [row["mase"] for row in series.values()]
    assert listed == sorted(listed, reverse=True)
    assert np.mean(listed) == pytest.approx(result.scores["mase"].value)
    origins = result.breakdowns["origin"]
    assert list(origins) == ["40", "41"], "the first step of each, the earlier first"
    first = found({name: column[::2] for name, column in references.items()}, outputs[::2], ids[::2])
    assert {name: origins["40"][name] for name in first.scores} == pytest.approx(values(first))


def test_of_many_series_the_worst_are_listed_and_the_others_stand_together() -> None:
    references, outputs, ids, _ = split(130, 1, 3, 1)
    table = found(references, outputs, ids).breakdowns["series"]
    assert len(table) == 101
    *listed, last = table
    rest = sorted(each_series(Measured.of(outputs, references))["mase"])[:30]
    assert last == "mean of 30 further series"
    assert table[last]["mase"] == pytest.approx(np.mean(rest))
    assert min(table[name]["mase"] for name in listed) >= max(rest)


def test_groups_go_through_the_same_scores() -> None:
    references, outputs, ids, _ = split(4, 3, 3, 1)
    references["group_by"] = np.array(["north", "south"] * 6, object)

    class Task:
        references = staticmethod(lambda store: references)
        score = staticmethod(scores.score)

    config = Config(horizon=3)
    groups = judge(Task(), records(outputs, ids), None, config, assets()).breakdowns["by_group"]["groups"]  # type: ignore[arg-type]
    assert set(groups) == {"north", "south"}


def test_answers_are_made_when_they_are_read() -> None:
    output = np.arange(12, dtype=np.float32).reshape(2, 1, 6) / 3
    answer = Answer("a@b@2020-01-01", output, ["units"])
    assert dict(answer) == {
        "series": "a@b",
        "start": "2020-01-01",
        "forecast": {"units": [0.0, 2.0]},
        "intervals": {
            "80": {"units": [[0.666667, 1.33333], [2.66667, 3.33333]]},
            "95": {"units": [[0.333333, 1.66667], [2.33333, 3.66667]]},
        },
    }
    assert (len(answer), list(answer)) == (4, list(answer.keys()))
    with pytest.raises(KeyError):
        answer["path"]


def test_targets_are_what_came() -> None:
    references, _, _, _ = split(1, 1, 2, 2)
    references["future"] = np.array([[[1.23456789, -2e-9], [0.0, 123456789.0]]], np.float32)
    references["future_seen"] = np.array([[[1, 1], [0, 1]]], np.uint8)
    assert list(scores.targets(references, assets(2))) == [{"c0": [1.23457, None], "c1": [-2e-9, 123457000.0]}]
    assert six_digits(np.array([0.1, -1e12, 0.0, 7.654321e-5])).tolist() == [0.1, -1e12, 0.0, 7.65432e-5]


# ---- conformal quantiles ---------------------------------------------------------------------------------------


def points(windows: int, horizon: int, channels: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Forecasts of a skewed variable, that know no spread; what came, wider at later steps; the scales."""
    rng = np.random.default_rng(seed)
    scale = rng.uniform(0.5, 20, size=(windows, channels))
    noise = rng.exponential(size=(windows, horizon, channels)) * np.arange(1, horizon + 1)[:, None]
    future = 100 + noise * scale[:, None, :]
    return np.full((windows, horizon, channels, 1 + len(QUANTILES)), 100.0), future, scale


def inside(outputs: np.ndarray, future: np.ndarray) -> dict[int, np.ndarray]:
    """The share of each step and channel."""
    ends = {80: (2, 4), 95: (1, 5)}
    return {
        level: ((outputs[..., low] <= future) & (future <= outputs[..., high])).mean(axis=0)
        for level, (low, high) in ends.items()
    }


@pytest.mark.parametrize(("windows", "channels"), [(400, 2), (25, 1), (10, 3), (4, 2)])
def test_intervals_of_a_point_forecast_hold_what_they_say(windows: int, channels: int) -> None:
    config = Config(horizon=3)
    shares: dict[int, list[np.ndarray]] = {80: [], 95: []}
    for seed in range(40):
        outputs, future, scale = points(windows, 3, channels, seed)
        fitted = {"conformal": conformal.fit(outputs, future, np.ones(future.shape), scale)}
        again, truth, other_scale = points(300, 3, channels, 1_000 + seed)
        calibrated = conformal.apply(again, fitted, config, other_scale)
        assert (np.diff(calibrated[..., 1:], axis=-1) >= 0).all()
        assert (calibrated[..., 0] == 100).all()
        for level, share in inside(calibrated, truth).items():
            shares[level].append(share)
    for level, found_shares in shares.items():
        mean = np.mean(found_shares)
        assert level / 100 - 0.012 <= mean, "the finite-sample correction"
        assert mean <= level / 100 + (0.02 if windows > 100 else 0.1)
        if windows > 20:
            each = np.mean(found_shares, axis=0)
            assert np.abs(each - mean).max() < 0.03, "each step and channel by itself"


def test_intervals_are_moved_by_what_lay_outside() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(999, 1, 1))
    normal = [-1.96, -1.28, 0, 1.28, 1.96]
    for factor in (3.0, 1.0, 0.2, 0.0):
        outputs = np.broadcast_to(np.array([0, -2, -1, 0, 1, 2]) * factor, (999, 1, 1, 6))
        fitted = conformal.fit(outputs, truth, np.ones(truth.shape), np.ones((999, 1)))
        calibrated = conformal.apply(outputs[0], {"conformal": fitted}, Config(horizon=1), np.ones(1))
        np.testing.assert_allclose(calibrated[0, 0, 1:], normal, atol=0.2)
        exact = np.sort(np.abs(truth.ravel()) - factor)[800 - 1]  # the ceil(1000 * 0.8)-th smallest
        exact /= factor if exact < 0 else 1  # inwards, of the way to the median
        assert fitted["shift"][0][0][0] == pytest.approx(exact, abs=1e-6)


def test_intervals_lie_in_each_other_and_hold_the_median() -> None:
    output = np.array([[[0, -2, -1, 0, 1, 2]]], np.float32)
    for shift, expected in (
        ((-1, -1), [0, 0, 0, 0, 0]),
        ((-0.5, -0.25), [-1.5, -0.5, 0, 0.5, 1.5]),
        ((4, 0), [-5, -5, 0, 5, 5]),
        ((0, 1), [-3, -1, 0, 1, 3]),
    ):
        fitted = {"conformal": {"shift": [[shift]]}}
        assert conformal.apply(output, fitted, Config(), np.ones(1))[0, 0, 1:].tolist() == expected
    both = conformal.apply(np.stack([output, output]), fitted, Config(), np.array([[1.0], [10.0]]))
    assert both[:, 0, 0, 1:].tolist() == [[-3, -1, 0, 1, 3], [-12, -1, 0, 1, 12]]


def test_what_narrows_the_intervals_of_some_series_does_not_close_those_of_calmer_ones() -> None:
    rng = np.random.default_rng(0)
    spread = np.array([-2, -1, 0, 1, 3]) * np.where(np.arange(999) % 9, 3.0, 0.1)[:, None]  # a ninth of them calm
    truth = rng.normal(size=999) * spread[:, 3] / 3  # all are thrice as wide as they should be
    outputs = np.concatenate([np.zeros((999, 1)), spread], axis=1)[:, None, None]
    fitted = {"conformal": conformal.fit(outputs, truth[:, None, None], np.ones((999, 1, 1)), np.ones((999, 1)))}
    calibrated = conformal.apply(outputs, fitted, Config(horizon=1), np.ones((999, 1)))
    for calm in (np.arange(999) % 9 == 0, np.arange(999) % 9 > 0):
        width = np.diff(calibrated[calm][:, 0, 0][:, [2, 4]], axis=1) / np.diff(spread[calm][:, [1, 3]], axis=1)
        np.testing.assert_allclose(width, 0.43, atol=0.04)
        assert inside(calibrated[calm], truth[calm][:, None, None])[80] == pytest.approx(0.8, abs=0.08)


def test_what_is_pooled_follows_from_how_much_there_is() -> None:
    for windows, words, shape in (
        (19, "each step and channel", (4, 3, 2)),
        (18, "each step, all channels alike", (4, 1, 2)),
        (4, "all steps and channels alike", (1, 1, 2)),
    ):
        outputs, future, scale = points(windows, 4, 3, 0)
        fitted = conformal.fit(outputs, future, np.ones(future.shape), scale)
        assert fitted["shifted"] == words
        assert np.shape(fitted["shift"]) == shape
    nothing = conformal.fit(outputs, future, np.zeros(future.shape), scale)
    assert not np.any(nothing["shift"])


def test_without_a_fit_quantiles_are_put_in_order_and_counts_are_never_negative() -> None:
    output = np.array([[[1, 3, 2, 1, 0, -1]]], np.float32)
    assert conformal.apply(output, {}, Config(), np.ones(1)).tolist() == [[[1, -1, 0, 1, 2, 3]]]
    counts = conformal.apply(output, {}, Config(head="negative-binomial"), np.ones(1))
    assert counts.tolist() == [[[1, 0, 0, 1, 2, 3]]]


def test_calibrate_changes_the_records_of_validation_alone() -> None:
    references, outputs, ids, _ = split(3, 30, 3, 1)
    outputs[..., 1:] = outputs[..., :1]
    fitted = scores.calibrate(Config(horizon=3), assets(), records(outputs, ids), references)
    assert fitted.keys() == assets().keys() | {"conformal"}
    calibrated = conformal.apply(outputs, fitted, Config(horizon=3), references["scale"])
    config = Config(horizon=3)
    before = scores.score(records(outputs, ids), references, config, assets())
    after = scores.score(records(calibrated, ids), references, config, fitted)
    assert "coverage_80" not in before.scores
    assert after.scores["coverage_80"].value > 0.75
    assert after.scores["wql"].value < before.scores["wql"].value
    assert after.scores["mase"] == before.scores["mase"]
    assert after.breakdowns["calibration"] == {
        "intervals": "widened or narrowed for each step and channel by its 90 values"
    }


# ---- pictures --------------------------------------------------------------------------------------------------


class Pasts:
    """A store that knows the past alone."""

    def __init__(self, history: np.ndarray, series: np.ndarray) -> None:
        self.past = history[series].astype(np.float32)

    def fetch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {"past": self.past[indices], "past_seen": np.ones_like(self.past[indices], np.uint8)}


@pytest.mark.parametrize(
    ("frames", "origins", "horizon", "channels"), [(1, 60, 3, 4), (5, 1, 3, 1), (1, 1, 1, 1), (2, 40, 1, 1)]
)
def test_pictures_are_drawn(frames: int, origins: int, horizon: int, channels: int) -> None:
    references, outputs, ids, history = split(frames, origins, horizon, channels)
    references["future_seen"][0, 0, 0] = frames * origins == 1
    store: Any = Pasts(history, references["series"])
    config = Config(horizon=horizon)
    drawn = figures.figures(records(outputs, ids), references, config, assets(channels), store, None)
    assert [figure.name for figure in drawn] == ["forecasts", "error_by_step", "coverage_by_step", "residuals"]
    for figure in drawn:
        assert isinstance(figure, Figure)
        assert Image.open(io.BytesIO(figure.png)).size[0] > 1_000
    assert ("Right, how" in drawn[-1].caption) == (origins >= 30)


def test_a_width_that_never_varies_has_no_interval_and_points_have_no_width() -> None:
    references, outputs, ids, _ = split(frames=30)
    references["scale"][:] = 1
    outputs[..., 1:] = outputs[..., :1] + np.array([-2, -1, 0, 1, 2])
    found = scores.score(records(outputs, ids), references, Config(horizon=3), assets()).scores
    assert found["width_80"].value == pytest.approx(2)
    assert found["width_80"].low is None
    assert found["coverage_80"].low is not None
    outputs[..., 1:] = outputs[..., :1]
    bare = scores.score(records(outputs, ids), references, Config(horizon=3), assets()).scores
    assert found.keys() - bare.keys() == {"coverage_80", "coverage_95", "width_80", "width_95"}
    assert bare["mase"] == found["mase"]
