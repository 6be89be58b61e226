"""Series from tables to windows: what is cut, what is fitted, and that nothing of the test reaches the training."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from pipelines.errors import DataError
from pipelines.task import Data
from tasks.time_series_forecasting.config import Config
from tasks.time_series_forecasting.data import check_data, load_data, load_test, references
from tasks.time_series_forecasting.data.stores import WindowStore

ETT = Path("../shared/data/ett/ETTh1.csv")
M4 = Path("../shared/data/m4")
SMALL: dict[str, Any] = {"lookback": 6, "horizon": 3}


def hours(count: int, start: str = "2020-01-01") -> list[str]:
    return (np.datetime64(start, "h") + np.arange(count)).astype("M8[m]").astype(str).tolist()


def wide(path: Path, values: np.ndarray, names: str = "a,b", start: str = "2020-01-01") -> str:
    rows = zip(hours(len(values), start), values.tolist(), strict=True)
    path.write_text(f"date,{names}\n" + "".join(f"{when},{','.join(map(str, row))}\n" for when, row in rows))
    return str(path)


def random(steps: int, columns: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(5, 3, (steps, columns)).round(3).astype(np.float32)


def long(path: Path, series: dict[str, np.ndarray], extra: dict[str, Any] | None = None) -> str:
    """A column each of `extra`: name -> (series, step) -> text."""
    lines = [",".join(["series", "time", "value", *(extra or {})])]
    for name, values in series.items():
        for step, (when, value) in enumerate(zip(hours(len(values)), values.tolist(), strict=True)):
            lines.append(
                ",".join([name, when, str(value), *(str(tell(name, step)) for tell in (extra or {}).values())])
            )
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def store(data: Data, split: str) -> WindowStore:
    return cast(WindowStore, data.splits[split])


def everything(data: Data, split: str) -> dict[str, np.ndarray]:
    found = store(data, split)
    return found.fetch(np.arange(len(found)))


def test_every_window_of_a_wide_table_is_where_it_should_be(tmp_path: Path) -> None:
    values = random(50)
    data = load_data(Config(data=wide(tmp_path / "load.csv", values), split=(30, 10, 10), **SMALL))
    assert {name: len(found) for name, found in data.splits.items()} == {"train": 22, "valid": 8, "test": 8}
    train, test = everything(data, "train"), everything(data, "test")
    np.testing.assert_array_equal(train["past"], [values[at : at + 6] for at in range(22)])
    np.testing.assert_array_equal(train["future"], [values[at + 6 : at + 9] for at in range(22)])
    np.testing.assert_array_equal(test["past"], [values[at - 6 : at] for at in range(40, 48)])
    np.testing.assert_array_equal(test["future"], [values[at : at + 3] for at in range(40, 48)])
    assert train["past_seen"].all()
    assert test["future_seen"].all()
    np.testing.assert_allclose(train["center"][0], values[:30].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(train["scale"][0], values[:30].std(axis=0), rtol=1e-6)
    assert store(data, "test").ids(np.array([0, 7])) == ["load@2020-01-02T16:00", "load@2020-01-02T23:00"]
    assert "none dropped at its end" in data.protocol


def test_unused_steps_are_said_and_shares_leave_none(tmp_path: Path) -> None:
    path = wide(tmp_path / "load.csv", random(50))
    assert "(5 steps at the end are not used)" in load_data(Config(data=path, split=(30, 10, 5), **SMALL)).protocol
    data = load_data(Config(data=path, **SMALL))
    assert "train 35, validation 5, test 10 steps" in data.protocol
    with pytest.raises(DataError, match="split asks for 60 steps of every series, and 'load' has 50"):
        load_data(Config(data=path, split=(40, 10, 10), **SMALL))
    with pytest.raises(DataError, match="the validation split would be empty: .* a window needs horizon 3"):
        load_data(Config(data=path, split=(40, 2, 8), **SMALL))


def test_references_hold_the_naive_error_of_training_and_the_last_season(tmp_path: Path) -> None:
    values = random(50)
    data = load_data(Config(data=wide(tmp_path / "load.csv", values), split=(30, 10, 10), season=4, **SMALL))
    found = references(data.splits["test"])
    difference = np.abs(values[4:30] - values[:26])
    np.testing.assert_allclose(found["naive_error"][0], difference.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found["naive_squared"][0], (difference**2).mean(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(found["last_season"], [values[at - 4 : at - 1] for at in range(40, 48)])
    assert found["origin"].tolist() == list(range(40, 48))
    assert found["name"].tolist() == ["load"] * 8


def test_a_season_that_is_longer_than_what_there_is(tmp_path: Path) -> None:
    values = random(50)
    path = wide(tmp_path / "load.csv", values)
    data = load_data(Config(data=path, split=(30, 10, 10), season=42, **SMALL))
    found = references(data.splits["test"])
    # As the naive error that MASE divides by: of the step before, where there is no season before.
    np.testing.assert_allclose(found["naive_error"][0], np.abs(np.diff(values[:30], axis=0)).mean(axis=0), rtol=1e-5)
    for at, last in zip(range(40, 48), found["last_season"], strict=True):
        expected = values[at - 42 : at - 39] if at >= 42 else np.repeat(values[at - 1 : at], 3, axis=0)
        np.testing.assert_array_equal(last, expected)
    # A season of a day in seconds takes no more than the horizon does.
    data = load_data(Config(data=path, split=(30, 10, 10), season=86_400, **SMALL))
    assert references(data.splits["test"])["last_season"].shape == (8, 3, values.shape[1])


def test_a_lookback_that_no_series_fills_is_said(tmp_path: Path) -> None:
    path = wide(tmp_path / "load.csv", random(50))
    (said,) = load_data(Config(data=path, lookback=33, horizon=3)).summary["warnings"]
    assert said.startswith("lookback 33: is more than any series has to train on: the longest past is of 32 steps")
    assert not load_data(Config(data=path, lookback=32, horizon=3)).summary["warnings"]


def test_stride_origins_and_limit(tmp_path: Path) -> None:
    path = wide(tmp_path / "load.csv", random(60))
    data = load_data(Config(data=path, split=(30, 10, 20), stride=5, origins=4, limit=3, **SMALL))
    assert references(data.splits["train"])["origin"].tolist() == [6, 11, 21]
    assert references(data.splits["test"])["origin"].tolist() == [48, 51, 54]
    data = load_data(Config(data=path, split=(30, 10, 20), origins=4, **SMALL))
    assert references(data.splits["test"])["origin"].tolist() == [48, 51, 54, 57]
    with pytest.raises(DataError, match="origins 9 of horizon 3 need 27 steps"):
        load_data(Config(data=path, split=(30, 10, 20), origins=9, **SMALL))


def test_series_of_different_lengths_are_cut_each_at_its_end_and_padded(tmp_path: Path) -> None:
    series = {
        "a": random(40, 1)[:, 0],
        "short": random(14, 1, 1)[:, 0],
        "tiny": random(5, 1, 2)[:, 0],
        "ten": random(10, 1, 3)[:, 0],
    }
    data = load_data(Config(data=long(tmp_path / "sales.csv", series), **SMALL))
    test = references(data.splits["test"])
    assert test["origin"][test["name"] == "a"].tolist() == [32, 33, 34, 35, 36, 37]
    assert test["origin"][test["name"] == "short"].tolist() == [11]
    found = references(data.splits["train"])
    # 'short' has 8 steps to train on, fewer than a past and a future; 'tiny' has too few for three splits.
    assert found["origin"][found["name"] == "short"].tolist() == [3, 4, 5]
    assert found["origin"][found["name"] == "tiny"].tolist() == [2]
    raw = everything(data, "train")
    row = int(np.flatnonzero(found["name"] == "short")[0])
    np.testing.assert_array_equal(raw["past"][row, :, 0], [0, 0, 0, *series["short"][:3]])
    assert raw["past_seen"][row, :, 0].tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(raw["future"][row, :, 0], series["short"][3:6])
    assert any("tiny: too short to be validated on" in one for one in data.summary["warnings"])
    assert any("every series is cut at its own end" in one for one in data.summary["warnings"])
    # Of ten steps, three are validated on and three tested on, and a past and a future are left.
    assert [
        references(data.splits[split])["origin"][references(data.splits[split])["name"] == "ten"].tolist()
        for split in ("train", "valid", "test")
    ] == [[1], [4], [7]]
    assert data.assets["series"] == ["a", "short", "tiny", "ten"]
    assert store(data, "test").groups.tolist() == test["series"].tolist()


def test_a_further_source_goes_on_where_the_data_end(tmp_path: Path) -> None:
    values = random(50)
    first = wide(tmp_path / "past.csv", values[:40])
    later = wide(tmp_path / "later.csv", values[40:], start="2020-01-02T16")
    data = load_data(Config(data=first, test=later, **SMALL))
    assert references(data.splits["test"])["origin"].tolist() == list(range(40, 48))
    np.testing.assert_array_equal(everything(data, "test")["past"][0], values[34:40])
    assert "the test is as given, validation is the end of the train data (train 35, validation 5" in data.protocol
    with pytest.raises(DataError, match="A further source must go on where the data end"):
        load_data(Config(data=later, test=first, **SMALL))
    with pytest.raises(DataError, match="1 place.*\n.*8 steps are missing"):
        load_data(Config(data=first, test=wide(tmp_path / "late.csv", values[:9], start="2020-01-03"), **SMALL))


def planted(folder: Path, values: np.ndarray, events: list[str], kinds: dict[str, str]) -> Config:
    folder.mkdir()
    path = long(
        folder / "sales.csv",
        {"a": values[:, 0], "b": values[:, 1]},
        {
            "event": lambda name, step: events[step],
            "price": lambda name, step: step % 7 + (100 if step >= 40 and "9" in events else 0),
            "region": lambda name, step: kinds[name],
        },
    )
    text = (folder / "sales.csv").read_text().splitlines(keepends=True)
    gap = [line for line in text if not line.startswith(tuple(f"a,{when}" for when in hours(44)[38:]))]
    (folder / "sales.csv").write_text("".join(gap))
    columns = {"series": "series", "time": "time", "value": "value", "known": "event", "past": "price"}
    return Config(
        data=path, columns={**columns, "static": "region"}, split=(35, 5, 16), fill="linear", calendar=True, **SMALL
    )


def test_nothing_of_the_test_reaches_what_is_fitted(tmp_path: Path) -> None:
    """Other values, events and prices in the test, beside a gap that reaches from validation into it."""
    values = random(56)
    other = values.copy()
    other[40:] = 1e6
    events = ["none" if step % 3 else "fair" for step in range(56)]
    changed = events[:40] + ["9"] * 16
    kinds = {"a": "north", "b": "south"}
    one = load_data(planted(tmp_path / "one", values, events, kinds))
    two = load_data(planted(tmp_path / "two", other, changed, kinds))
    assert one.assets == two.assets
    for split in ("train", "valid"):
        first, second = everything(one, split), everything(two, split)
        for name, column in first.items():
            kept = column if name != "future" else column * first["future_seen"]
            np.testing.assert_array_equal(kept, second[name], err_msg=f"{split} {name}")
        if split == "train":
            np.testing.assert_array_equal(one.hashes[split], two.hashes[split])
            for name, column in references(one.splits[split]).items():
                np.testing.assert_array_equal(column, references(two.splits[split])[name], err_msg=name)
    # The detector can tell: what differs does show in the test.
    assert not np.array_equal(everything(one, "test")["future"], everything(two, "test")["future"])
    # Two windows of 'a' lie wholly before what differs, as its rows there are missing.
    assert (one.hashes["test"] == two.hashes["test"]).sum() == 2
    assert one.fingerprint != two.fingerprint


def test_the_leak_detector_sees_a_leak(tmp_path: Path) -> None:
    values = random(56)
    other = values.copy()
    other[20] += 1
    one, two = (
        load_data(Config(data=wide(tmp_path / name, one), split=(35, 5, 16), **SMALL))
        for name, one in (("one.csv", values), ("two.csv", other))
    )
    assert one.assets != two.assets
    assert (one.hashes["train"] != two.hashes["train"]).sum() == 9


def test_a_gap_up_to_the_origin_is_not_filled_from_what_comes_after(tmp_path: Path) -> None:
    values = np.arange(40, dtype=np.float32)[:, None]
    path = Path(wide(tmp_path / "load.csv", values, "a"))
    lines = path.read_text().splitlines(keepends=True)
    del lines[1 + 31 : 1 + 34]
    path.write_text("".join(lines))
    data = load_data(Config(data=str(path), fill="linear", split=(20, 6, 14), **SMALL))
    origins = references(data.splits["test"])["origin"].tolist()
    raw = everything(data, "test")
    before, after = origins.index(33), origins.index(36)
    assert raw["past"][before, :, 0].tolist() == [27, 28, 29, 30, 30, 30]
    assert raw["past"][after, :, 0].tolist() == [30, 31, 32, 33, 34, 35]
    assert raw["future_seen"][before, :, 0].tolist() == [0, 1, 1]
    assert raw["future"][before, :, 0].tolist() == [0, 34, 35]


def test_covariates_are_told_by_training_and_the_calendar_by_time(tmp_path: Path) -> None:
    values = random(50, 1)[:, 0]
    extra = {
        "promo": lambda name, step: "yes" if step % 5 == 0 else "no",
        "price": lambda name, step: step,
        "region": lambda name, step: name,
    }
    path = long(tmp_path / "sales.csv", {"x": values, "y": values + 1}, extra)
    columns = {"known": "promo", "past": "price", "static": "region"}
    data = load_data(Config(data=path, columns=columns, calendar=True, split=(30, 10, 10), **SMALL))
    assert data.assets["covariates"] == {
        "known": ["promo=no", "promo=yes", "hour", "weekday", "day", "yearday"],
        "past": ["price"],
        "static": ["region=x", "region=y"],
    }
    raw, at = everything(data, "test"), references(data.splits["test"])
    row = int(np.flatnonzero((at["name"] == "y") & (at["origin"] == 41))[0])
    steps = np.arange(35, 44)
    np.testing.assert_array_equal(raw["known_covariates"][row, :, 1], steps % 5 == 0)
    np.testing.assert_allclose(raw["known_covariates"][row, :, 2], steps % 24 / 23 - 0.5, atol=1e-6)
    np.testing.assert_allclose(raw["past_covariates"][row, :, 0], (steps[:6] - 14.5) / np.arange(30).std(), atol=1e-5)
    assert raw["static_covariates"][row].tolist() == [0, 1]


def test_a_category_that_training_does_not_know_is_nothing_and_said(tmp_path: Path) -> None:
    path = long(
        tmp_path / "s.csv", {"x": random(50, 1)[:, 0]}, {"kind": lambda name, step: "new" if step > 45 else "old"}
    )
    data = load_data(Config(data=path, columns={"known": "kind"}, split=(30, 10, 10), **SMALL))
    assert any("values that no training step has: new" in one for one in data.summary["warnings"])
    assert everything(data, "test")["known_covariates"][-1, :, 0].tolist() == [1, 1, 1, 1, 1, 0, 0, 0, 0]
    path = long(tmp_path / "t.csv", {"x": random(50, 1)[:, 0]}, {"kind": lambda name, step: f"k{step}"})
    with pytest.raises(DataError, match="'kind' has 50 categories|'kind' has 40 categories|'kind' has 35 categories"):
        load_data(Config(data=path, columns={"known": "kind"}, **SMALL))


def test_scores_may_be_told_apart_by_a_column_that_changes_nothing_else(tmp_path: Path) -> None:
    path = long(
        tmp_path / "s.csv",
        {"x": random(50, 1)[:, 0], "y": random(50, 1, 1)[:, 0]},
        {"shop": lambda name, step: name * 2},
    )
    plain = load_data(Config(data=path, **SMALL))
    told = load_data(Config(data=path, group_by="shop", **SMALL))
    assert set(references(told.splits["test"])["group_by"]) == {"xx", "yy"}
    assert told.fingerprint == plain.fingerprint
    assert told.assets == plain.assets
    with pytest.raises(DataError, match="no column 'shap': did you mean 'shop'"):
        load_data(Config(data=path, group_by="shap", **SMALL))


def test_a_finished_model_is_scored_on_other_data_by_its_own_scaler(tmp_path: Path) -> None:
    series = {"x": random(50, 1)[:, 0], "y": random(50, 1, 1)[:, 0]}
    run = load_data(Config(data=long(tmp_path / "s.csv", series), **SMALL))
    other = long(tmp_path / "t.csv", {"y": series["y"] * 2, "new": series["x"] + 100})
    data = load_test(Config(data=other, **SMALL), run.assets)
    assert list(data.splits) == ["test"]
    found = references(data.splits["test"])
    known, new = found["name"] == "y", found["name"] == "new"
    assert found["origin"][known].tolist() == list(range(6, 48))
    np.testing.assert_allclose(found["center"][known][0], run.assets["scaler"]["center"][1])
    np.testing.assert_allclose(found["center"][new][0], (series["x"][:6] + 100).mean(), rtol=1e-6)


def test_scaled_by_their_size_series_keep_their_zero(tmp_path: Path) -> None:
    series = {"x": random(50, 1)[:, 0] - 0.5, "flat": np.zeros(50)}
    data = load_data(Config(data=long(tmp_path / "s.csv", series), scaler="mean", split=(30, 10, 10), **SMALL))
    place = [data.assets["series"].index(name) for name in ("x", "flat")]
    scaler = {name: np.array(values)[place, 0] for name, values in data.assets["scaler"].items()}
    np.testing.assert_array_equal(scaler["center"], 0)
    np.testing.assert_allclose(scaler["scale"], [np.abs(series["x"][:30]).mean(), 1], rtol=1e-5)


def test_the_samples() -> None:
    data = load_data(Config())
    assert data.assets["covariates"] == {"known": ["event"], "past": [], "static": ["kind=office", "kind=shop"]}
    assert data.assets["frequency"]["season"] == 24
    assert data.fingerprint == load_data(Config()).fingerprint
    assert "synthetic" in data.protocol
    co2 = load_data(Config(data="sample:co2", lookback=36, horizon=12))
    assert co2.assets["frequency"]["name"] == "month"
    assert store(co2, "test").ids(np.array([0])) == ["co2@1979-01-01"]
    assert everything(co2, "train")["past"].max() < everything(co2, "test")["future"].max() < 347
    with pytest.raises(DataError, match="columns were given and sample has none"):
        load_data(Config(columns={"time": "date"}))
    with pytest.raises(DataError, match="no built-in sample 'sample:x'"):
        load_data(Config(data="sample:x"))
    assert check_data(Config()).problems == []


@pytest.mark.skipif(not ETT.exists(), reason="needs ../shared/data/ett")
def test_the_standard_protocol_of_ett() -> None:
    data = load_data(
        Config(data=str(ETT), lookback=336, horizon=96, split=(8640, 2880, 2880), columns={"time": "date"})
    )
    assert {name: len(found) for name, found in data.splits.items()} == {"train": 8209, "valid": 2785, "test": 2785}
    assert data.summary["frequency"] == "hour (inferred)"


@pytest.mark.skipif(not M4.exists(), reason="needs ../shared/data/m4")
def test_m4_as_it_is_published() -> None:
    data = load_data(
        Config(data=str(M4 / "Train/Hourly-train.csv"), test=str(M4 / "Test/Hourly-test.csv"), lookback=96, horizon=48)
    )
    assert len(data.splits["test"]) == 414
    assert store(data, "test").ids(np.array([0])) == ["H1@700"]
    assert data.assets["frequency"]["season"] == 24
