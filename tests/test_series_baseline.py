"""Time-series forecasting: ridge regression on lags beside scikit-learn's, the seasonal naive forecast, their
intervals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge as TheirRidge

from pipelines.evaluation import predict_store
from tasks.time_series_forecasting import baseline as baselines
from tasks.time_series_forecasting import data as series_data
from tasks.time_series_forecasting import ridge, scores
from tasks.time_series_forecasting.config import Config

ETT = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "ett" / "ETTh1.csv"


def table(folder: Path, steps: int = 600, noise: float = 0.3, event: float = 0.0, **settings: Any) -> Config:
    """Settings of a wide table of two hourly series with a daily season; with `event`, of one long one and a known
    covariate that moves it by so much."""
    rng = np.random.default_rng(0)
    hours = np.datetime64("2024-01-01T00") + np.arange(steps)
    season = np.sin(2 * np.pi * np.arange(steps) / 24)
    file = folder / "series.csv"
    if event:
        known = (rng.random(steps) < 0.3).astype(int)
        values = 10 + season + event * known + noise * rng.normal(size=steps)
        rows = [f"{hour},one,{value:.4f},{flag}" for hour, value, flag in zip(hours, values, known, strict=True)]
        file.write_text("\n".join(["time,series,value,promo", *rows]) + "\n", encoding="utf-8")
        settings["columns"] = "time=time series=series value=value known=promo"
    else:
        values = np.stack([10 + season, 500 - 80 * season], axis=1) + noise * rng.normal(size=(steps, 2)) * [1, 80]
        rows = [f"{hour},{one:.4f},{other:.4f}" for hour, (one, other) in zip(hours, values, strict=True)]
        file.write_text("\n".join(["time,a,b", *rows]) + "\n", encoding="utf-8")
        settings["columns"] = "time=time"
    return Config(**{"data": str(file), "lookback": 48, "horizon": 6, **settings})


def judged(config: Config, data: Any, one: Any) -> Any:
    store = data.splits["test"]
    found = predict_store(one.predictor, store, one.fetch)
    return scores.score(found, series_data.references(store), config, data.assets)


def test_it_is_scikit_learns_ridge(tmp_path: Path) -> None:
    config = table(tmp_path)
    data = series_data.load_data(config)
    mine = ridge.Ridge.fit(config, data)
    train = data.splits["train"]
    x, y, seen = ridge._rows(train.fetch(np.arange(len(train))), 48, known=False)
    assert seen.all()
    assert x.shape == (2 * len(train), 48)
    penalty = float(mine.note.split("penalty ")[1])
    theirs = TheirRidge(alpha=penalty * len(x)).fit(x.astype(np.float64), y)
    np.testing.assert_allclose(mine.weights, theirs.coef_.T, atol=1e-4)
    np.testing.assert_allclose(mine.intercept, theirs.intercept_, atol=1e-4)
    raw = data.splits["test"].fetch(np.arange(3))
    level, scale = raw["past"].mean(axis=1), raw["scale"]
    features = ((raw["past"] - level[:, None]) / scale[:, None]).transpose(0, 2, 1)
    expected = (
        theirs.predict(features.reshape(6, 48)).reshape(3, 2, 6).transpose(0, 2, 1) * scale[:, None] + level[:, None]
    )
    np.testing.assert_allclose(mine.forecast(raw), expected, rtol=1e-3, atol=1e-3)


def test_the_better_one_on_validation_comes_first(tmp_path: Path) -> None:
    config = table(tmp_path)
    data = series_data.load_data(config)
    first = baselines.baseline(config, data)
    (second,) = first.others
    assert [first.name, second.name] == ["ridge regression on lags", "seasonal naive"]
    assert not second.others
    for one in (first, second):
        result = judged(config, data, one)
        assert result.headline == "mase"
        assert 0.7 < result.scores["coverage_80"].value < 0.9, one.name
        assert 0.9 < result.scores["coverage_95"].value <= 1, one.name
    assert judged(config, data, first).scores["mase"].value < judged(config, data, second).scores["mase"].value
    plain = table(tmp_path, noise=0.0)
    data = series_data.load_data(plain)
    best = baselines.baseline(plain, data)
    naive = next(one for one in (best, *best.others) if one.name == "seasonal naive")
    assert judged(plain, data, naive).scores["mae"].value < 1e-3, "what repeats itself is known"


def test_seasonal_naive_repeats_the_last_season() -> None:
    season = np.array([[[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]])
    found = baselines.seasonal_naive(season, 5)
    assert found[0, :, 0].tolist() == [1, 2, 3, 1, 2]
    assert found.shape == (1, 5, 2)
    assert baselines.seasonal_naive(season[:, -1:], 2)[0, :, 1].tolist() == [30, 30]


def test_ridge_uses_what_is_known_ahead(tmp_path: Path) -> None:
    config = table(tmp_path, noise=0.05, event=4.0)
    data = series_data.load_data(config)
    fitted = ridge.Ridge.fit(config, data)
    assert "what is known ahead" in fitted.note
    first = baselines.baseline(config, data)
    assert first.name == "ridge regression on lags"
    assert judged(config, data, first).scores["mae_units"].value < 0.5
    assert judged(config, data, first.others[0]).scores["mae_units"].value > 1


def test_it_says_what_it_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = table(tmp_path, baseline_lags=24)
    data = series_data.load_data(config)
    assert ridge.Ridge.fit(config, data).note.startswith("24 lags, penalty")
    monkeypatch.setattr(ridge, "_MOST_WINDOWS", 50)
    note = ridge.Ridge.fit(config, data).note
    assert f"fitted to 50 of {len(data.splits['train'])} training windows, chosen by the seed" in note
    assert ridge.Ridge.fit(config, data).note == note


def test_test_values_change_nothing_that_is_fitted(tmp_path: Path) -> None:
    config = table(tmp_path)
    before = ridge.Ridge.fit(config, series_data.load_data(config))
    file = Path(config.data)
    lines = file.read_text("utf-8").splitlines()
    spoiled = [line.rsplit(",", 2)[0] + ",9999,-9999" for line in lines[-100:]]
    file.write_text("\n".join(lines[:-100] + spoiled) + "\n", "utf-8")
    after = ridge.Ridge.fit(config, series_data.load_data(config))
    assert (before.weights == after.weights).all()
    assert (before.intercept == after.intercept).all()
    assert before.note == after.note


def test_futures_with_gaps_are_left_out_and_windows_that_show_nothing_are_forecast(tmp_path: Path) -> None:
    config = table(tmp_path)
    train = series_data.load_data(config).splits["train"]
    raw = train.fetch(np.arange(8))
    raw["future_seen"][2, 1, 0] = 0
    sums = ridge._Sums(48, 6)
    sums.add(*ridge._rows(raw, 48, known=False))
    assert (sums.rows, sums.left_out) == (15, 1)
    fitted = ridge.Ridge(48, False, *sums.solve(0.1), "")
    raw["past_seen"][0] = 0
    raw["past"][0] = 0
    assert np.isfinite(fitted.forecast(raw)).all()
    np.testing.assert_allclose(
        fitted.forecast(raw)[0], raw["center"][0] + fitted.intercept[:, None] * raw["scale"][0], rtol=1e-4
    )


@pytest.mark.slow
@pytest.mark.skipif(not ETT.exists(), reason="ETTh1 is not here")
def test_ridge_is_strong_on_etth1() -> None:
    config = Config(data=str(ETT), columns="time=date", lookback=336, horizon=96, split=(8640, 2880, 2880))
    data = series_data.load_data(config)
    result = judged(config, data, baselines.baseline(config, data))
    assert result.scores["mse"].value < 0.38, "measured: 0.3702, as the linear models of the literature"
    assert result.scores["mae"].value < 0.40
