"""What a person reads of a forecast."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pipelines.task import Assets, Record, Table
from tasks.time_series_forecasting.config import LEVELS, QUANTILES, Config


def answer(name: str, output: np.ndarray, channels: Sequence[str]) -> dict[str, Any]:
    """Series, first step, and by channel the forecast and its intervals of each level, of Record.output [horizon,
    channels, 1 + quantiles] of the window called "series@first step"; numbers of 6 digits."""
    series, _, start = name.rpartition("@")
    numbers = six_digits(output).transpose(1, 0, 2)
    ends = {level: np.stack([low, high], axis=-1) for level, low, high in intervals(numbers[..., 1:])}
    return {
        "series": series,
        "start": start,
        "forecast": dict(zip(channels, numbers[..., 0].tolist(), strict=True)),
        "intervals": {str(level): dict(zip(channels, ends[level].tolist(), strict=True)) for level in LEVELS},
    }


def table(config: Config, assets: Assets) -> Table:
    """A row of CSV for each channel and step ahead: its time, the forecast, and the quantiles."""
    del config
    channels = assets["channels"]
    numbers = ("forecast", *(f"q{share:g}" for share in QUANTILES))
    beside = ("channel",) if len(channels) > 1 else ()

    def rows(record: Record) -> Iterator[dict[str, Any]]:
        series = record.id.rpartition("@")[0]
        assert record.output is not None
        by_channel = six_digits(record.output).transpose(1, 0, 2).tolist()
        for channel, steps in zip(channels, by_channel, strict=True):
            about = {"series": series, **dict.fromkeys(beside, channel)}
            for time, values in zip(record.beside, steps, strict=True):
                yield {**about, "time": time, **dict(zip(numbers, values, strict=True))}

    return Table(("series", "time", *beside, *numbers), rows)


def intervals(quantiles: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Each level in per cent, and the low and high ends of its interval, of quantiles [..., len(QUANTILES)]."""
    for level in LEVELS:
        low, high = (QUANTILES.index(round(0.5 + side * level / 200, 6)) for side in (-1, 1))
        yield level, quantiles[..., low], quantiles[..., high]


def six_digits(values: np.ndarray) -> np.ndarray:
    """float64, each rounded to 6 significant digits, and so the shortest when it is written."""
    size = np.abs(values.astype(np.float64))
    power = 5 - np.floor(np.log10(np.where(size > 0, size, 1.0)))
    up, down = 10.0 ** np.maximum(power, 0), 10.0 ** np.maximum(-power, 0)
    rounded: np.ndarray = np.rint(values * up / down) / up * down
    return rounded
