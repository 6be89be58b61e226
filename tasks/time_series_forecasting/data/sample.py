"""The built-in samples: a synthetic panel made by a generator, and a small real series.

`sample`: hourly loads of ten made-up sites, with a trend, a daily and a weekly season, noise that lasts a while, and
events that are known ahead. `sample:co2`: monthly means of CO2 at Mauna Loa, 1959 to 1983.
"""

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.columns import Texts
from pipelines.sources.philox import numbers
from pipelines.sources.times import Moments
from tasks.time_series_forecasting.data.co2 import MONTHLY
from tasks.time_series_forecasting.data.rows import Rows

SERIES = 10
DAYS = 70
NAMES = ("sample", "sample:co2")

_SEED = 11
_START = "2024-01-01"  # a Monday
_KINDS = ("office", "shop")
_DRAWN = 4
"""Random numbers of a step: two of the noise, one of the events, one to spare."""
_LASTING = 0.7
"""Of the noise, what is left an hour later."""


def sample(name: str) -> Rows:
    """The rows of a built-in sample.

    Raises:
        DataError: there is none of that name.
    """
    if name not in NAMES:
        raise DataError(f"there is no built-in sample {name!r}: there are {' and '.join(NAMES)}.")
    return _sites() if name == "sample" else _co2()


def _sites() -> Rows:
    steps = DAYS * 24
    chance = numbers(_SEED, SERIES * steps, _DRAWN).reshape(SERIES, steps, _DRAWN) / 2.0**32
    hours = np.arange(steps)
    events = np.repeat(chance[:, ::24, 2] < 0.08, 24, axis=1) & (hours % 24 >= 9) & (hours % 24 < 17)
    values = np.stack([_site(site, chance[site], events[site]) for site in range(SERIES)])
    of = np.repeat(np.arange(SERIES, dtype=np.int32), steps)
    times = np.datetime64(_START, "us").astype(np.int64) + hours * 3_600_000_000
    kinds = Texts((of % len(_KINDS)).astype(np.int32), list(_KINDS))
    return Rows(
        [f"site {site + 1}" for site in range(SERIES)],
        of,
        ["load"],
        values.reshape(-1, 1).astype(np.float32),
        Moments(np.tile(times, SERIES), True, False, {}),
        lambda row: f"sample[{row}]",
        {"known": {"event": events.reshape(-1).astype(np.float64)}, "past": {}, "static": {"kind": kinds}},
    )


def _site(site: int, chance: np.ndarray, events: np.ndarray) -> np.ndarray:
    """float64 [steps], in kW."""
    hours = np.arange(len(chance))
    level = 50.0 * (1 + site % 5)
    shop = site % len(_KINDS)
    day = np.cos(2 * np.pi * (hours - (15 if shop else 12)) / 24) + 0.3 * np.cos(4 * np.pi * (hours - 9) / 24)
    week = np.where(hours // 24 % 7 >= 5, 0.25 if shop else -0.35, 0.0)
    trend = (0.15 - 0.05 * (site % 3)) * hours / len(hours)
    shock = np.sqrt(-2 * np.log(1 - chance[:, 0])) * np.cos(2 * np.pi * chance[:, 1])  # Box and Muller, 1958
    noise = np.zeros(len(hours))
    for hour in range(1, len(hours)):
        noise[hour] = _LASTING * noise[hour - 1] + 0.03 * shock[hour]
    load = level * (1 + 0.4 * day + week + trend + 0.5 * events + noise)
    return np.maximum(load, 0).round(2)


def _co2() -> Rows:
    months = np.datetime64("1959-01", "M") + np.arange(len(MONTHLY))
    times = months.astype("M8[us]").astype(np.int64)
    return Rows(
        ["co2"],
        np.zeros(len(MONTHLY), np.int32),
        ["ppm"],
        np.array(MONTHLY, np.float32)[:, None],
        Moments(times, True, False, {}),
        lambda row: f"sample:co2[{row}]",
        single=True,
    )
