"""What predict reads: the last window of every series, what is known ahead behind it, and what is refused."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.errors import DataError
from pipelines.task import Assets, Raw
from tasks.time_series_forecasting.config import Config
from tasks.time_series_forecasting.data import inputs, load_data

SMALL: dict[str, Any] = {"lookback": 4, "horizon": 2}


def days(first: int, last: int) -> list[str]:
    return (np.datetime64("2020-01-01", "D") + np.arange(first, last)).astype(str).tolist()


def table(path: Path, first: int = 0, last: int = 40, ahead: int = 0, series: str = "ab") -> str:
    """Value = step, event = whether the step is a multiple of 3; `ahead` rows without values behind."""
    lines = ["series,time,value,event"]
    for name in series:
        for step, day in zip(range(first, last + ahead), days(first, last + ahead), strict=True):
            lines.append(f"{name},{day},{step if step < last else ''},{int(step % 3 == 0)}")
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def trained(tmp_path: Path, **options: Any) -> tuple[Config, Assets]:
    config = Config(data=table(tmp_path / "train.csv"), **(SMALL | options))
    return config, load_data(config).assets


def read(paths: list[str], config: Config, assets: Assets) -> tuple[list[str], Raw]:
    batches = list(inputs(paths, config, assets))
    names = [name for ids, _ in batches for name in ids]
    return names, {key: np.concatenate([raw[key] for _, raw in batches]) for key in batches[0][1]}


def test_the_last_window_of_every_series_with_the_scaler_of_the_run(tmp_path: Path) -> None:
    config, assets = trained(tmp_path, batch_size=2)
    ids, raw = read([table(tmp_path / "now.csv", 30, 50, series="abc")], config, assets)
    assert ids == ["a@2020-02-20", "b@2020-02-20", "c@2020-02-20"]
    assert raw["past"][:, :, 0].tolist() == [[46, 47, 48, 49]] * 3
    assert "future" not in raw
    assert raw["name"].tolist() == [b"a", b"b", b"c"]
    np.testing.assert_allclose(raw["center"][:, 0], [assets["scaler"]["center"][0][0]] * 2 + [39.5])


def test_what_is_known_ahead_stands_behind_the_last_value(tmp_path: Path) -> None:
    config, assets = trained(tmp_path, columns={"known": "event"}, calendar=True)
    path = table(tmp_path / "now.csv", 30, 50, ahead=2)
    ids, raw = read([path], config, assets)
    assert ids == ["a@2020-02-20", "b@2020-02-20"]
    coding = assets["coding"]["known"][0]
    event = raw["known_covariates"][0, :, 0] * coding["scale"] + coding["center"]
    np.testing.assert_allclose(event, [step % 3 == 0 for step in range(46, 52)], atol=1e-6)
    # 2020-02-22 is a Saturday: the calendar goes on by itself.
    names = assets["covariates"]["known"]
    np.testing.assert_allclose(raw["known_covariates"][0, -1, names.index("weekday")], 4 / 6 - 0.5, atol=1e-6)
    _, raw = read([table(tmp_path / "short.csv", 30, 50, ahead=1)], config, assets)
    assert raw["name"][0] == b"\0'event' is not known at 2020-02-21: give rows behind the last value"


def test_the_calendar_alone_needs_no_rows_ahead(tmp_path: Path) -> None:
    config, assets = trained(tmp_path, calendar=True)
    _, raw = read([table(tmp_path / "now.csv", 30, 50)], config, assets)
    assert raw["known_covariates"].shape == (2, 6, 3)
    assert not any(name.startswith(b"\0") for name in raw["name"])


def test_short_series_are_padded_and_gaps_the_model_would_see_refused(tmp_path: Path) -> None:
    config, assets = trained(tmp_path)
    path = tmp_path / "now.csv"
    lines = ["series,time,value", "a,2020-01-01,1", "a,2020-01-02,2"]
    lines += [f"b,{day},{step}" for step, day in enumerate(days(0, 9)) if step != 6]
    lines += [f"c,{day},{step}" for step, day in enumerate(days(0, 9)) if step != 2]
    lines += [f"d,{day}," for day in days(0, 3)]
    path.write_text("\n".join(lines) + "\n")
    ids, raw = read([str(path)], config, assets)
    assert raw["past_seen"][0, :, 0].tolist() == [0, 0, 1, 1]
    assert raw["past"][0, :, 0].tolist() == [0, 0, 1, 2]
    assert raw["name"].tolist() == [
        b"a",
        b"\0it has no value of 'value' at 2020-01-07, which the model would see",
        b"c",
        b"\0it has no value to forecast from",
    ]
    _, raw = read([str(path)], config.model_copy(update={"fill": "forward"}), assets)
    assert raw["past"][1, :, 0].tolist() == [5, 5, 7, 8]
    assert raw["name"][1] == b"b"
    assert len(ids) == 4


def test_a_row_that_cannot_be_read_is_a_record_of_its_own(tmp_path: Path) -> None:
    config, assets = trained(tmp_path)
    path = tmp_path / "now.csv"
    path.write_text(Path(table(tmp_path / "whole.csv", 30, 50)).read_text() + "a,2020-02-19,7,0\n")
    ids, raw = read([str(path)], config, assets)
    assert ids[2] == f"{path} line 42"
    assert raw["name"][2].startswith(b"\0it is the second of 'a' at 2020-02-19")


def test_stdin_folders_and_wide_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = "date,x,y\n" + "".join(f"{day},{step},{-step}\n" for step, day in enumerate(days(0, 40)))
    (tmp_path / "load.csv").write_text(wide)
    config = Config(data=str(tmp_path / "load.csv"), **SMALL)
    assets = load_data(config).assets
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(wide.encode())))
    ids, raw = read(["-"], config, assets)
    assert ids == ["load@2020-02-10"]
    assert raw["past"][0].tolist() == [[36, -36], [37, -37], [38, -38], [39, -39]]
    (tmp_path / "now").mkdir()
    for name in ("north", "south"):
        (tmp_path / "now" / f"{name}.csv").write_text("extra," + wide.replace("\n", "\n7,").removesuffix("7,"))
    ids, _ = read([str(tmp_path / "now")], config, assets)
    assert ids == ["north@2020-02-10", "south@2020-02-10"]


def test_data_that_the_model_cannot_take(tmp_path: Path) -> None:
    config, assets = trained(tmp_path, columns={"known": "event"})
    other = tmp_path / "other.csv"
    other.write_text("series,time,value,event\na,2020-01-01T00:00Z,1,0\na,2020-01-02T00:00Z,2,0\n")
    with pytest.raises(DataError, match="have no offsets, and these have some"):
        list(inputs([str(other)], config, assets))
    other.write_text("series,time,value\na,2020-01-01,1\n")
    with pytest.raises(DataError, match="has no column 'event'"):
        list(inputs([str(other)], config, assets))
    ((ids, raw),) = inputs([str(tmp_path / "none.csv")], config, assets)
    assert ids == [str(tmp_path / "none.csv")]
    assert raw["name"][0].startswith(b"\0it does not exist")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match="is no table"):
        list(inputs([str(tmp_path / "a.txt")], config, assets))
