"""Forecasts from a finished run of what it was not trained on: another frequency, another horizon; and their CSV."""

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special

from pipelines import evaluate, predict, run
from pipelines.cli import main
from pipelines.errors import ConfigError, DataError
from pipelines.task import Assets, Raw
from tasks.time_series_forecasting.config import QUANTILES, Config
from tasks.time_series_forecasting.data import inputs, load_data, load_test
from tasks.time_series_forecasting.frequency import Frequency, keep, parse, same
from tasks.time_series_forecasting.rollout import mixed, roll_out

Z = special.ndtri(np.array(QUANTILES))
SMALL: dict[str, Any] = {"lookback": 8, "horizon": 4}


def wide(path: Path, hours: int, count: int = 240, columns: tuple[str, ...] = ("x", "y"), level: float = 0.0) -> str:
    """A noisy wave in each column, a row every so many hours."""
    rng = np.random.default_rng(0)
    times = np.datetime64("2020-01-01T00:00", "m") + 60 * hours * np.arange(count)
    wave = level + np.sin(np.arange(count) * 2 * np.pi / 24)[:, None] + 0.1 * rng.normal(size=(count, len(columns)))
    lines = [f"{time},{','.join(map(str, row))}" for time, row in zip(times, wave.round(4).tolist(), strict=True)]
    path.write_text("\n".join([f"time,{','.join(columns)}", *lines]) + "\n")
    return str(path)


def long(path: Path, ahead: int, role: str = "event", count: int = 40, days: int = 1) -> str:
    """Series a and b of value = step, with a covariate, and rows that know it ahead."""
    first = np.datetime64("2020-01-01", "D")
    rows = [
        f"{name},{first + days * step},{step if step < count else ''},{step % 3}"
        for name in "ab"
        for step in range(count + ahead)
    ]
    path.write_text("\n".join([f"series,time,value,{role}", *rows]) + "\n")
    return str(path)


def trained(path: str, **options: Any) -> tuple[Config, Assets]:
    config = Config(data=path, **(SMALL | {"backbone": "tide"} | options))
    return config, load_data(config).assets


def read(paths: list[str], config: Config, assets: Assets) -> tuple[list[str], Raw]:
    ((ids, raw),) = inputs(paths, config, assets)
    return ids, raw


# ---- frequencies ------------------------------------------------------------------------------------------------


def moments(first: str, step: int, unit: str, count: int) -> np.ndarray:
    return (np.datetime64(first, unit) + step * np.arange(count)).astype("M8[us]").astype(np.int64)


@pytest.mark.parametrize(
    ("before", "times", "found"),
    [
        ("hour", moments("2020-01-01T00", 1, "h", 9), "hour"),
        ("hour", moments("2020-01-01T00", 2, "h", 9), "2 hours"),
        ("hour", moments("2020-01-01T00:00", 15, "m", 9), "15 minutes"),
        # A few days of a week may be of business days or not: the model's it is.
        ("business day", moments("2020-01-06", 1, "D", 4), "business day"),
        ("business day", moments("2020-01-06", 1, "D", 30), "day"),
        # Gaps are no frequency.
        ("hour", np.delete(moments("2020-01-01T00", 1, "h", 40), [3, 4, 9, 17, 18, 19]), "hour"),
        ("hour", moments("2020-01-01T00", 1, "h", 60)[np.cumsum([0, 2, 2, 3, 2, 4, 2, 2, 3, 2])], "hour"),
        ("day", moments("2020-01", 1, "M", 9), "month"),
        ("hour", moments("2020-01-01T00", 1, "h", 1), "hour"),
    ],
)
def test_the_frequency_of_further_data(before: str, times: np.ndarray, found: str) -> None:
    model = parse(before)
    assert model is not None
    assert keep(model, np.zeros(len(times), int), times, True).name == found


def test_a_frequency_cannot_be_told_from_one_step_of_another_kind() -> None:
    with pytest.raises(DataError, match="no series has two steps"):
        keep(Frequency("number", 1, "step"), np.zeros(1, int), np.zeros(1, np.int64), True)


def test_frequencies_that_are_the_same() -> None:
    hour, numbered, steps = parse("hour"), Frequency("number", 1, "hour"), Frequency("number", 1, "step")
    assert hour is not None
    assert same(Frequency("month end", 1, "month"), Frequency("month", 1, "month"))
    assert same(numbered, steps)
    assert not same(hour, numbered)
    assert not same(numbered, Frequency("number", 1, "week"))
    assert not same(steps, Frequency("number", 10, "step"))


def test_steps_of_another_length_are_scaled_by_themselves_and_know_no_calendar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, assets = trained(wide(tmp_path / "train.csv", 1), calendar=True)
    ids, raw = read([wide(tmp_path / "same.csv", 1, 30, level=5)], config, assets)
    assert ids == ["train@2020-01-02T06:00"]  # the one series that the model knows
    assert np.abs(raw["known_covariates"]).max() > 0
    np.testing.assert_allclose(raw["center"][0], assets["scaler"]["center"][0])
    assert capsys.readouterr().err == ""
    other = wide(tmp_path / "other.csv", 2, 30, level=5)
    ids, raw = read([other], config, assets)
    assert ids == ["other@2020-01-03T12:00"]
    assert [time[-5:] for time in raw["time"][0]] == [b"12:00", b"14:00", b"16:00", b"18:00"]
    assert not raw["known_covariates"].any()
    values = np.genfromtxt(other, delimiter=",", skip_header=1)[:, 1:]
    np.testing.assert_allclose(raw["center"][0], values.mean(axis=0), rtol=1e-5)
    assert capsys.readouterr().err == (
        "note: the steps of the data (2 hours) are others than the model was trained on (hour): it sees them scaled by "
        "the data's own values, and nothing of the calendar, which it was told in training; how often its intervals "
        "hold was fitted to the others.\n"
    )


def test_numbers_of_steps_where_the_model_had_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, assets = trained(wide(tmp_path / "train.csv", 1, columns=("x",)))
    table = tmp_path / "Weekly-train.csv"
    table.write_text("V1,V2,V3,V4,V5\n" + "".join(f"W{row},1,2,3,{row}\n" for row in range(4)))
    ids, raw = read([str(table)], config, assets)
    assert ids == ["W0@4", "W1@4", "W2@4", "W3@4"]
    assert raw["past"][1, :, 0].tolist() == [0, 0, 0, 0, 1, 2, 3, 1]
    assert "steps of the data (week, without times) are others than the model was trained on (hour)" in (
        capsys.readouterr().err
    )


def test_a_ragged_table_needs_no_columns_of_the_run(tmp_path: Path) -> None:
    columns = {"time": "time", "series": "series", "value": "value"}
    path = Path(long(tmp_path / "train.csv", 0))
    path.write_text(re.sub(r",\d$", ",north", path.read_text(), flags=re.MULTILINE))
    config, assets = trained(str(path), columns=columns, group_by="event")
    table = tmp_path / "Daily-train.csv"
    table.write_text("V1,V2,V3,V4\na,1,2,3\nc,4,5,6\n")
    assert read([str(table)], config, assets)[0] == ["a@3", "c@3"]
    # What scores were told apart by is not needed for a forecast.
    plain = tmp_path / "plain.csv"
    plain.write_text("series,time,value\na,2020-03-01,1\na,2020-03-02,2\n")
    assert read([str(plain)], config, assets)[0] == ["a@2020-03-03"]


def test_a_column_of_another_name_is_mapped(tmp_path: Path) -> None:
    config, assets = trained(wide(tmp_path / "train.csv", 1))
    other = wide(tmp_path / "other.csv", 1, 30, columns=("p", "q", "r"))
    _, raw = read([other], config.model_copy(update={"columns": {"value": "r,p"}}), assets)
    values = np.genfromtxt(other, delimiter=",", skip_header=1)
    np.testing.assert_allclose(raw["past"][0], values[-8:][:, [3, 1]], rtol=1e-5)
    with pytest.raises(DataError, match="the model forecasts x, y, and the data hold p, q, r"):
        read([other], config.model_copy(update={"columns": {"value": "p,q,r"}}), assets)


def test_other_data_of_another_frequency_are_scored_as_such(tmp_path: Path) -> None:
    config, assets = trained(wide(tmp_path / "train.csv", 1))
    other = config.model_copy(update={"data": wide(tmp_path / "other.csv", 24, 60)})
    data = load_test(other, assets)
    assert "The steps of the data (day) are others than the model was trained on (hour)" in data.protocol
    assert data.splits["test"].of.season == 7  # type: ignore[attr-defined]


# ---- horizons ---------------------------------------------------------------------------------------------------


def test_what_must_be_known_ahead_for_another_horizon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, assets = trained(long(tmp_path / "train.csv", 0), columns={"known": "event"})
    assert assets["horizon"] == 4
    longer = config.model_copy(update={"horizon": 7})
    _, raw = read([long(tmp_path / "7.csv", 7)], longer, assets)
    assert raw["known_covariates"].shape[1] == 8 + 7
    assert raw["time"].shape == (2, 7)
    assert not any(name.startswith(b"\0") for name in raw["name"])
    assert "those up to 7 come from its own forecasts" in capsys.readouterr().err
    _, raw = read([long(tmp_path / "6.csv", 6)], longer, assets)
    assert raw["name"][0] == b"\0'event' is not known at 2020-02-16: give rows behind the last value"
    # The model looks at its whole horizon, however little of it is asked for.
    shorter = config.model_copy(update={"horizon": 2})
    _, raw = read([long(tmp_path / "2.csv", 2)], shorter, assets)
    assert raw["name"][0].startswith(b"\0'event' is not known at 2020-02-12")
    _, raw = read([long(tmp_path / "4.csv", 4)], shorter, assets)
    assert raw["known_covariates"].shape[1] == 8 + 4
    assert raw["time"].shape == (2, 2)


def test_past_covariates_end_where_the_model_does(tmp_path: Path) -> None:
    path = long(tmp_path / "train.csv", 0)
    config, assets = trained(path, columns={"past": "event"})
    with pytest.raises(ConfigError, match="horizon 5 is more than the 4 steps .* nobody knows 'event': ask for 4"):
        read([path], config.model_copy(update={"horizon": 5}), assets)
    blind = config.model_copy(update={"horizon": 5, "backbone": "dlinear"})
    assert read([path], blind, assets)[1]["time"].shape == (2, 5)


def test_a_mixture_of_one_distribution_is_that_distribution() -> None:
    quantiles = np.sort(np.random.default_rng(0).normal(size=(3, 2, 5)), axis=-1)
    np.testing.assert_allclose(mixed(np.stack([quantiles] * 5)), quantiles, atol=1e-9)
    points = np.full((5, 1, 5), 3.0)
    np.testing.assert_allclose(mixed(points), points[0])


def test_a_mixture_of_normals_spreads_as_their_sum() -> None:
    found = mixed((2 * Z[:, None] + Z)[:, None, :])[0]
    np.testing.assert_allclose(found[2], 0, atol=1e-9)
    np.testing.assert_allclose(found, np.sqrt(5) * Z, rtol=0.12)


def walk(own: int, seen: list[Raw] | None = None) -> Callable[[Raw], np.ndarray]:
    """A model of a random walk: from the last value on, as uncertain as the root of the steps."""

    def forecast(raw: Raw) -> np.ndarray:
        if seen is not None:
            seen.append(raw)
        spread = np.sqrt(np.arange(1, own + 1))[None, :, None, None] * np.array([0.0, *Z])
        return np.asarray(raw["past"][:, -1][:, None, :, None] + spread, np.float32)

    return forecast


def test_what_is_further_ahead_is_forecast_from_each_quantile() -> None:
    raw = {
        "past": np.array([[[1.0], [2.0], [5.0]]], np.float32),
        "past_seen": np.array([[[0], [1], [1]]], np.uint8),
        "known_covariates": np.arange(3 + 5, dtype=np.float32).reshape(1, 8, 1),
    }
    seen: list[Raw] = []
    again = walk(2, seen)
    found = roll_out(again(raw), raw, again, 5, median=True)
    assert found.shape == (1, 5, 1, 6)
    np.testing.assert_allclose(found[0, :, 0, 0], 5, atol=1e-5)
    assert (np.diff(found[0, :, 0, -1]) > 0).all()
    np.testing.assert_allclose(found[0, 3, 0, 1:], 5 + 2 * Z, atol=0.15)
    # Of each round 6 paths; the last round begins a step earlier than it might, so as to end with the horizon.
    assert [one["known_covariates"][0, 0, 0] for one in seen] == [0] + [2] * 6 + [3] * 6
    assert seen[1]["known_covariates"].shape == (1, 5, 1)
    assert seen[1]["past"][0, :, 0].tolist() == [5, 5, 5]
    np.testing.assert_allclose(seen[2]["past"][0, :, 0], [5, 5 + Z[0], 5 + np.sqrt(2) * Z[0]], rtol=1e-6)
    assert seen[1]["past_seen"][0, :, 0].tolist() == [1, 1, 1]


# ---- a run ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("further")
    settings: dict[str, Any] = {**SMALL, "backbone": "dlinear", "epochs": 1, "device": "cpu"}
    run("time-series-forecasting", data=wide(folder / "train.csv", 1, 300), run_dir=str(folder / "run"), **settings)
    return folder / "run"


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_a_row_for_each_channel_and_step(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    latest = wide(tmp_path / "latest.csv", 1, 30)
    words = ["predict", str(finished), "--format", "csv", "--max-bad", "1", "--data", latest]
    assert main([*words, "nowhere.csv"]) == 2
    assert main([*words, "--data", "nowhere.csv"]) == 0
    rows = table(capsys.readouterr().out)
    assert list(rows[0]) == [
        *("id", "series", "time", "channel", "forecast", "q0.025", "q0.1", "q0.5", "q0.9", "q0.975", "error")
    ]
    assert rows[0]["id"] == "nowhere.csv"
    assert rows[0]["error"].startswith("it does not exist")
    assert rows[0]["time"] == ""
    assert [(row["series"], row["channel"], row["time"]) for row in rows[1:]] == [
        ("train", channel, f"2020-01-02T{hour:02}:00") for channel in "xy" for hour in range(6, 10)
    ]
    ((record,), line) = [list(predict(finished, [latest])), rows[6]]
    assert set(record) == {"id", "series", "start", "forecast", "intervals"}
    assert float(line["forecast"]) == record["forecast"]["y"][1]
    assert [float(line["q0.1"]), float(line["q0.9"])] == record["intervals"]["80"]["y"][1]
    assert [float(line["q0.025"]), float(line["q0.975"])] == record["intervals"]["95"]["y"][1]


def test_another_horizon_is_a_part_or_goes_on(finished: Path, tmp_path: Path) -> None:
    latest = wide(tmp_path / "latest.csv", 1, 30)
    (four,), (two,), (ten,) = (list(predict(finished, [latest], horizon=horizon)) for horizon in (4, 2, 10))
    assert two["forecast"]["x"] == four["forecast"]["x"][:2]
    assert two["intervals"]["80"]["x"] == four["intervals"]["80"]["x"][:2]
    assert ten["forecast"]["x"][:4] == four["forecast"]["x"]
    assert len(ten["forecast"]["x"]) == 10
    ends = np.array(ten["intervals"]["95"]["x"])
    assert np.isfinite(ends).all()
    assert np.ptp(ends[-1]) > np.ptp(ends[3])


def test_a_run_scores_another_frequency_beside_the_season_before(finished: Path, tmp_path: Path) -> None:
    found = evaluate(finished, data=wide(tmp_path / "daily.csv", 24, 80))
    assert found["baseline"]["name"] == "seasonal naive"
    assert found["baseline"]["note"] == "the last 7 steps once more"
    assert found["scores"]["coverage_80"]["value"] > 0
    assert not {"coverage_80", "width_80"} & found["baseline"]["scores"].keys()
    assert "(day) are others than the model was trained on (hour)" in found["protocol"]
    # Seven steps once more, by hand: the test's first window is that of step 8.
    rows = np.genfromtxt(tmp_path / "daily.csv", delimiter=",", skip_header=1)[:, 1:]
    origins = range(8, 77)
    naive = np.mean([np.abs(rows[at : at + 4] - rows[at - 7 : at - 3]).mean() for at in origins])
    np.testing.assert_allclose(found["baseline"]["scores"]["mae_units"]["value"], naive, rtol=1e-5)


def test_an_option_of_other_tasks_is_refused(finished: Path) -> None:
    with pytest.raises(ConfigError, match="time-series-forecasting has no top_k, so there is nothing to set"):
        predict(finished, ["x.csv"], top_k=3)
