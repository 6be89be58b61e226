"""What a person reads of a forecast."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ConfigDict, Field

from pipelines import predictions
from pipelines.task import Assets, Record, Table
from tasks.time_series_forecasting.config import LEVELS, QUANTILES, Config


class Prediction(predictions.Answer):
    """A series and its next steps."""

    series: str
    start: str = Field(description="The time of the first step that is forecast.")
    forecast: dict[str, list[float]] = Field(description="Of each channel, a number for each step ahead.")
    intervals: dict[str, dict[str, list[tuple[float, float]]]] = Field(
        description="Of each level in per cent (80, 95) and channel, the low and the high end for each step ahead, "
        "calibrated on the validation split."
    )


class Row(predictions.Row):
    """A row of CSV: one for each step ahead, and channel; further columns are the quantiles, q0.1 and the like."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float] = Field(init=False)

    series: str = ""
    time: str = Field("", description="Of the step.")
    channel: str = Field("", description="Where the model has several.")
    forecast: float | None = None


FIELDS = ("series", "start", "forecast", "intervals")
"""Of an answer."""


@dataclass(frozen=True, eq=False)
class Answer(Mapping[str, Any]):
    """Series, first step, and by channel the forecast and its intervals of each level; numbers of 6 digits.

    They are made whenever they are read: as numbers of Python they take ten times the array's memory, and most records
    are only scored.
    """

    name: str
    """Of the window: "series@first step"."""
    output: np.ndarray
    """[horizon, channels, 1 + quantiles]."""
    channels: Sequence[str]

    def __getitem__(self, key: str) -> Any:
        if key == "series":
            return self.name.rpartition("@")[0]
        if key == "start":
            return self.name.rpartition("@")[2]
        if key == "forecast":
            return self._by_channel(six_digits(self.output[..., 0]))
        if key == "intervals":
            ends = intervals(six_digits(self.output[..., 1:]))
            return {str(level): self._by_channel(np.stack([low, high], axis=-1)) for level, low, high in ends}
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(FIELDS)

    def __len__(self) -> int:
        return len(FIELDS)

    def _by_channel(self, numbers: np.ndarray) -> dict[str, list[Any]]:
        """Of [horizon, channels, ...]."""
        return {name: numbers[:, at].tolist() for at, name in enumerate(self.channels)}


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
