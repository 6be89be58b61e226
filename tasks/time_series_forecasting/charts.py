"""Pictures of forecasts for the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.task import Figure
from tasks.time_series_forecasting.answers import intervals

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DASHED: Any = (0, (4, 3))
_SHOWN = 99
"""Per cent of the residuals that the histogram's bars hold one by one."""


@dataclass(frozen=True)
class Shown:
    """One window and channel to draw."""

    heading: str
    past: np.ndarray
    """[steps], NaN where unseen."""
    future: np.ndarray
    """[horizon], likewise."""
    output: np.ndarray
    """[horizon, 1 + quantiles]."""
    naive: np.ndarray
    """[horizon]."""
    error: float
    """Mean absolute, of the model."""
    naive_error: float
    """Likewise of the seasonal naive forecast."""


def forecasts(shown: Sequence[Shown]) -> Figure:
    """Windows below each other: what came, the forecast with its intervals, what repeating the season would have
    said."""
    from pipelines.report import charts

    def draw(canvas: Any) -> None:
        grid = canvas.subplots(len(shown), 1, squeeze=False)
        for axes, one in zip(grid[:, 0], shown, strict=True):
            _forecast(axes, one)
        grid[-1, 0].set_xlabel("steps from the origin")
        # Outside, so that it hides nothing.
        canvas.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)

    caption = (
        "By MASE over all their test windows; of each series the window of middling error is shown. Bands are the 80 "
        "and 95 % intervals."
    )
    size = (9.0, 0.6 + 2.15 * len(shown))
    return Figure("forecasts", "Forecasts and what came", caption, charts.render(draw, size))


def _forecast(axes: "Axes", one: Shown) -> None:
    from pipelines.report import charts

    ahead = np.arange(1, len(one.future) + 1)
    before = np.arange(-len(one.past) + 1, 1)
    # A line needs two steps: of one step ahead there are dots.
    dots = "o" if len(ahead) == 1 else None
    for level, low, high in intervals(one.output[:, 1:]):
        alpha = 0.34 if level == 80 else 0.16
        # Half a step of band to either side where there is one step alone.
        across = ahead if len(ahead) > 1 else np.array([0.6, 1.4])
        lower, upper = np.broadcast_to(low, across.shape), np.broadcast_to(high, across.shape)
        axes.fill_between(across, lower, upper, color=charts.BLUE, alpha=alpha, linewidth=0, label=f"{level} %")
    axes.plot(
        np.concatenate([before, ahead]),
        np.concatenate([one.past, one.future]),
        color=charts.INK,
        linewidth=0.9,
        label="what came",
    )
    axes.plot(
        ahead, one.naive, color=charts.AMBER, linewidth=1.0, linestyle=_DASHED, marker=dots, label="seasonal naive"
    )
    axes.plot(ahead, one.output[:, 0], color=charts.BLUE, linewidth=1.5, marker=dots, label="forecast")
    axes.axvline(0.5, color=charts.MUTED, linewidth=0.6)
    figures = f"mean absolute error {one.error:.4g}, seasonal naive {one.naive_error:.4g}"
    axes.set_title(charts.shorten(one.heading, 64), loc="left")
    axes.set_title(figures, loc="right", color=charts.MUTED, fontsize=8)
    axes.margins(x=0.01)


def errors(model: Sequence[float | None], naive: Sequence[float | None]) -> Figure:
    """The mean absolute error of each step ahead, in scales, None where nothing was observed."""
    from pipelines.report import charts

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        _line(axes, naive, charts.AMBER, "seasonal naive", _DASHED)
        _line(axes, model, charts.BLUE, "model")
        axes.set(xlabel="step ahead", ylabel="mean absolute error, scaled")
        axes.set_ylim(0, 1.25 * max((value for value in (*model, *naive) if value is not None), default=0.0) or 1.0)
        axes.legend(frameon=False, ncols=2, loc="upper left")

    caption = "How far off the forecasts of each step ahead are, in standard deviations of each series' training steps."
    return Figure("error_by_step", "Error by step ahead", caption, charts.render(draw, (7.0, 2.8)))


def coverage(inside: Mapping[int, Sequence[float | None]]) -> Figure:
    """Of each level the share of the targets of each step ahead that lie in its interval."""
    from pipelines.report import charts

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        for (level, shares), colour in zip(inside.items(), (charts.BLUE, charts.AMBER), strict=False):
            axes.axhline(level / 100, color=colour, linewidth=0.8, linestyle=_DASHED)
            _line(axes, shares, colour, f"{level} % interval")
        lowest = min((share for shares in inside.values() for share in shares if share is not None), default=0.0)
        axes.set(xlabel="step ahead", ylabel="share inside", ylim=(max(0.0, min(lowest, 0.75) - 0.05), 1.01))
        axes.legend(frameon=False, loc="lower right")

    caption = "How often what came lay inside; dashed, how often it should. Below its line an interval is too narrow."
    return Figure("coverage_by_step", "Coverage by step ahead", caption, charts.render(draw, (7.0, 2.8)))


def _line(axes: "Axes", values: Sequence[float | None], colour: str, name: str, style: Any = "-") -> None:
    from matplotlib.ticker import MaxNLocator

    known = np.array([np.nan if value is None else value for value in values])
    marker = "o" if len(known) < 3 else None
    axes.plot(np.arange(1, len(known) + 1), known, color=colour, linestyle=style, marker=marker, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def residuals(scaled: np.ndarray, autocorrelation: np.ndarray | None) -> Figure:
    """The errors y - f of all targets in scales [n], beside the normal distribution of the same mean and deviation;
    and, where there is one, the autocorrelation [lags] of those one step ahead."""
    from pipelines.report import charts

    def draw(canvas: Any) -> None:
        panels = canvas.subplots(1, 1 if autocorrelation is None else 2, squeeze=False)[0]
        _histogram(panels[0], scaled)
        if autocorrelation is not None:
            _lags(panels[1], autocorrelation)

    caption = (
        f"Left, what came less what was forecast, in standard deviations of each series' training steps: mean "
        f"{scaled.mean():.3f}, deviation {scaled.std():.3f}; the line is the normal distribution of the same. "
    )
    if autocorrelation is None:
        caption = caption.replace("Left, w", "W") + "Origins are too few, or too far apart, for their autocorrelation."
    else:
        caption += (
            "Right, how the errors one step ahead go with those so many origins later, the mean over series: bars far "
            "from 0 are what the model could still have known."
        )
    return Figure("residuals", "Residuals", caption, charts.render(draw, (8.2, 2.9)))


def _histogram(axes: "Axes", scaled: np.ndarray) -> None:
    from pipelines.report import charts

    reach = float(np.percentile(np.abs(scaled), _SHOWN)) or 1.0
    axes.hist(np.clip(scaled, -reach, reach), bins=60, density=True, color=charts.BLUE)
    mean, deviation = float(scaled.mean()), float(scaled.std())
    if deviation > 0:
        x = np.linspace(-reach, reach, 200)
        density = np.exp(-(((x - mean) / deviation) ** 2) / 2) / (deviation * np.sqrt(2 * np.pi))
        axes.plot(x, density, color=charts.AMBER, linewidth=1.4)
    axes.set(xlabel="error, scaled (the outer 1 % in the last bars)", ylabel="density")


def _lags(axes: "Axes", autocorrelation: np.ndarray) -> None:
    from matplotlib.ticker import MaxNLocator

    from pipelines.report import charts

    lags = np.arange(1, len(autocorrelation) + 1)
    axes.bar(lags, autocorrelation, color=charts.BLUE, width=0.7)
    axes.axhline(0, color=charts.MUTED, linewidth=0.6)
    reach = max(0.25, float(np.abs(autocorrelation).max()) * 1.15)
    axes.set(xlabel="origins later", ylabel="autocorrelation", ylim=(-reach, reach))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
