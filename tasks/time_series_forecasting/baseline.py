"""The classical models beside the network: ridge regression on lags, and the season before once more."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from pipelines.task import Assets, Baseline, Data, Frozen, Predictor, Raw, Record, Store
from tasks.time_series_forecasting import conformal
from tasks.time_series_forecasting.config import QUANTILES, Config
from tasks.time_series_forecasting.data.stores import WindowStore
from tasks.time_series_forecasting.ridge import Ridge, parts, some

_MOST_VALIDATED = 5_000
"""Windows of the validation split that the intervals are fitted to."""


@dataclass(frozen=True)
class _Kind:
    """A way to forecast."""

    name: str
    note: str
    forecast: Callable[[Raw], np.ndarray]
    """What `fetch` gives -> float32 [rows, horizon, channels], in units."""
    fetch: Callable[[Store, np.ndarray], Raw]


def baseline(config: Config, data: Data, frozen: Frozen | None = None) -> Baseline:
    """Ridge regression on lags and the seasonal naive forecast, each with conformal intervals from the validation
    split. The one with the lower mean absolute error there (scaled) is the yardstick; the other comes with it."""
    del frozen
    ridge = Ridge.fit(config, data)
    store = cast(WindowStore, data.splits["valid"])
    kinds = [
        _Kind("ridge regression on lags", ridge.note, ridge.forecast, lambda store, indices: store.fetch(indices)),
        _naive(config, store),
    ]
    judged = [_calibrated(kind, store, data.assets, config) for kind in kinds]
    (_, best), *others = sorted(judged, key=lambda pair: pair[0])
    return replace(best, others=tuple(one for _, one in others))


def naive(config: Config, data: Data) -> Baseline:
    """The seasonal naive forecast alone: points without intervals, as there is nothing to fit those to."""
    kind = _naive(config, cast(WindowStore, data.splits["test"]))
    return Baseline(kind.name, _predictor(kind.forecast, {}, config), kind.note, kind.fetch)


def _naive(config: Config, store: WindowStore) -> _Kind:
    season = store.of.season
    repeated = f"the last {season:,} steps once more" if season > 1 else "the last value, as there is no season"
    if (store.windows.first < season)[store.windows.counts > 0].any():
        repeated += "; the last value of series that have no season yet"
    return _Kind(
        "seasonal naive", repeated, lambda raw: seasonal_naive(raw["last_season"], config.horizon), _last_season
    )


def seasonal_naive(last_season: np.ndarray, horizon: int) -> np.ndarray:
    """The last season [..., m, channels], or as much of it as is needed, again and again: [..., horizon, channels]."""
    return last_season[..., np.arange(horizon) % last_season.shape[-2], :]


def _last_season(store: Store, indices: np.ndarray) -> Raw:
    truth = cast(WindowStore, store).truth(indices)
    return {name: truth[name] for name in ("last_season", "scale")}


def _calibrated(kind: _Kind, store: WindowStore, assets: Assets, config: Config) -> tuple[float, Baseline]:
    """Its error on the validation split, and the kind with intervals fitted there."""
    points, truths = [], []
    for indices in parts(some(len(store), _MOST_VALIDATED, config.seed)):
        points.append(kind.forecast(kind.fetch(store, indices)))
        truth = store.truth(indices)
        truths.append({name: truth[name] for name in ("future", "future_seen", "scale")})
    point = np.concatenate(points)
    future, seen, scale = (np.concatenate([truth[name] for truth in truths]) for name in truths[0])
    errors = (np.abs(point - future) / scale[:, None, :])[seen.astype(bool)]
    fitted = {**assets, "conformal": conformal.fit(_as_output(point), future, seen, scale)}
    made = Baseline(kind.name, _predictor(kind.forecast, fitted, config), kind.note, kind.fetch)
    return float(errors.mean()) if len(errors) else np.inf, made


def _as_output(point: np.ndarray) -> np.ndarray:
    """As Record.output: [..., 1 + quantiles], all of them the point."""
    return np.repeat(point[..., None], 1 + len(QUANTILES), axis=-1)


def _predictor(forecast: Callable[[Raw], np.ndarray], assets: Assets, config: Config) -> Predictor:
    """Records without an answer: they are scored, and nobody reads them."""

    def predict(batches: Iterable[tuple[list[str], Raw]]) -> Iterator[Record]:
        for ids, raw in batches:
            outputs = conformal.apply(_as_output(forecast(raw)), assets, config, raw["scale"])
            for name, output in zip(ids, outputs, strict=True):
                yield Record(name, {}, output)

    return predict
