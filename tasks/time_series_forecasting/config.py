"""Settings for time-series forecasting. Imports no TensorFlow."""

from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, model_validator

from pipelines.config import RunConfig, setting
from pipelines.config.values import Columns, Split, check_roles
from pipelines.sources.texts import check_encoding
from tasks.time_series_forecasting import frequency as frequencies

LEVELS = (80, 95)
"""Per cent: the intervals that are given beside every forecast."""
QUANTILES = (0.025, 0.1, 0.5, 0.9, 0.975)
"""Their ends and the median."""
ROLES = ("time", "series", "value", "known", "past", "static")
"""What columns are mapped to; of value, known, past and static, several columns with commas between."""
COUNTS = "negative-binomial"
"""The head for counts, which sees units and no scale."""

SEES = {
    "tide": ("past", "known", "static"),
    "itransformer": ("past", "known", "static"),
    "lstm": ("past", "known", "static"),
    "gru": ("past", "known", "static"),
}
"""Which covariates a backbone sees; others see none."""


def check_zone(name: str) -> str:
    """The name of a time zone."""
    if name not in available_timezones():
        raise ValueError(f"{name!r} is no time zone: name one as Europe/Berlin or UTC")
    return name


class Config(RunConfig):
    """What can be set for time-series forecasting."""

    columns: Columns | None = setting(
        None,
        "Which columns of a table to read, as in time=day series=store value=units known=promo,holiday static=region; "
        "without value every other column is a series.",
        group="data",
    )
    split: Split = setting(
        (0.7, 0.1, 0.2), "Shares or counts of steps of train, validation and test, in time.", group="data"
    )
    encoding: Annotated[str, AfterValidator(check_encoding)] = setting(
        "utf-8", "How names and categories are written in tables, as cp1252.", group="data"
    )
    frequency: Annotated[str, AfterValidator(frequencies.check)] = setting(
        "auto",
        "What lies between two steps, as hour, 15 minutes, day, business day, month; auto: told by the times.",
        group="data",
    )
    time_zone: Annotated[str, AfterValidator(check_zone)] | None = setting(
        None, "The zone of times that name none, as Europe/Berlin; steps are then counted in UTC.", group="data"
    )
    season: int | None = setting(
        None,
        "Steps of a season; by default what fits the frequency, as 24 of hours or 12 of months.",
        group="data",
        ge=1,
    )
    fill: Literal["none", "forward", "linear", "zero"] = setting(
        "none",
        "What stands in for missing values and steps: nothing (the data are refused), the last value, the line between "
        "neighbours, or 0.",
        group="data",
    )
    scaler: Literal["standard", "mean", "none"] = setting(
        "standard",
        "Of its training steps, each series less its mean, over its deviation (standard), or over its mean size, so "
        "that errors count as shares of it (mean).",
        group="data",
    )
    calendar: bool = setting(
        False,
        "Tell the model hour, weekday, day and month of every step, as far as the frequency has them.",
        group="data",
    )
    stride: int = setting(1, "Steps from one training window to the next.", group="data", ge=1)
    origins: int | None = setting(
        None,
        "Score this many forecasts of each series, a horizon apart, the last ending with the data; by default one "
        "from every step.",
        group="data",
        ge=1,
    )
    lookback: int = setting(96, "Steps of the past that the model sees.", group="data", ge=1, le=65_536)
    horizon: int = setting(24, "Steps ahead that are forecast.", group="data", ge=1, le=65_536)
    backbone: Literal["auto", "dlinear", "nlinear", "patchtst", "itransformer", "tide", "lstm", "gru"] = setting(
        "auto",
        "dlinear or nlinear (linear layers), patchtst or itransformer (attention), tide (dense, made for covariates), "
        "lstm or gru (encoder and decoder); auto: patchtst with pretrain_on, itransformer where "
        "there are covariates, else dlinear.",
        group="model",
    )
    reversible: Literal["auto", "yes", "no"] = setting(
        "auto",
        "Whether the model takes each window less its own mean, over its deviation (RevIN); auto: as its paper does.",
        group="model",
    )
    kernel: int = setting(25, "Of dlinear: steps of the moving average that is the trend.", group="model", ge=1)
    patch_length: int = setting(16, "Of patchtst: steps that are one token.", group="model", ge=1, le=4_096)
    patch_stride: int = setting(8, "Of patchtst: steps from one token to the next.", group="model", ge=1, le=4_096)
    width: int = setting(
        64,
        "Numbers that patchtst, itransformer and tide embed in; units of lstm and gru.",
        group="model",
        ge=4,
        le=4_096,
    )
    layers: int = setting(2, "Layers of every backbone but the linear ones.", group="model", ge=1, le=24)
    heads: int = setting(4, "Attention heads of patchtst and itransformer.", group="model", ge=1, le=64)
    feedforward: int = setting(
        128, "Units of the dense layers between those of attention, and of tide.", group="model", ge=4, le=16_384
    )
    dropout: float = setting(0.1, "Share of features dropped in training.", group="model", ge=0, lt=1)
    head: Literal["point", "quantile", "student-t", "negative-binomial"] = setting(
        "quantile",
        "What is forecast: one number, quantiles, the parameters of Student's t, or of the negative binomial (counts).",
        group="model",
    )
    loss: Literal["mse", "mae", "huber"] = setting(
        "mse", "What head point minimises; the others have their own.", group="training"
    )
    baseline_lags: Annotated[int, Field(ge=1)] | None = setting(
        None,
        "Steps of the past that the ridge regression beside the model sees; by default as lookback.",
        group="training",
    )

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.backbone in ("auto", "patchtst", "itransformer") and self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}: choose one that is")
        if self.backbone == "patchtst" and self.patch_length > self.lookback:
            raise ValueError(f"patch_length {self.patch_length} is longer than lookback {self.lookback}: shorten it")
        if self.backbone in ("auto", "dlinear") and not self.kernel % 2:
            raise ValueError(f"kernel {self.kernel} has no middle: choose an odd number")
        return self

    @model_validator(mode="after")
    def _columns_known(self) -> Self:
        check_roles(self.columns, ROLES)
        return self
