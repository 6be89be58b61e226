"""Line charts and interval strips as inline SVG: sharp at any size, in the page's own colours, light or dark."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pipelines.report.words import number
from pipelines.scoring import label

Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 310, 206
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 10, 22, 34
_NEAR = 20
"""Of an edge, so that words centred there would stick out."""
_STRIP_WIDTH, _STRIP_MARGIN = 480, 22


Events = Sequence[Mapping[str, Any]]


def training_curves(epochs: Events, steps: Events, best: int | None, before: Events = ()) -> list[str]:
    """A chart for the loss, each metric, the learning rate, and the loss of the pretraining before, from the events of
    a run."""
    names = {**(epochs[0].get("train") or {}), **(epochs[0].get("valid") or {})} if epochs else {}
    charts = [
        line_chart(label(name), {split: _column(epochs, split, name) for split in ("train", "valid")}, "epoch", best)
        for name in names
    ]
    charts = [chart for chart in charts if chart]
    rates = [(step["step"], step.get("learning_rate")) for step in (steps or epochs)]
    if known := _finite(rates):
        charts.append(line_chart("learning rate", {"rate": known}, "step", None))
    if known := _finite([(one["pretraining"], (one.get("train") or {}).get("loss")) for one in before]):
        charts.append(line_chart("loss of the pretraining", {"train": known}, "epoch", None))
    return charts


def curves_together(runs: Mapping[str, tuple[Events, Events]], kinds: Mapping[str, str]) -> list[str]:
    """A chart for each metric of validation, for the loss in training, and for the learning rate, a line each run.

    Args:
        runs: the events of epochs and of steps of each, by what it is called.
        kinds: the CSS class of each.
    """
    names = dict.fromkeys(name for epochs, _ in runs.values() for one in epochs for name in one.get("valid") or {})
    titles = [("valid", name, f"{label(name)}, validation") for name in names] + [("train", "loss", "loss, training")]
    charts = []
    for split, name, title in titles:
        lines = {run: _column(epochs, split, name) for run, (epochs, _) in runs.items()}
        charts.append(line_chart(title, lines, "epoch", None, kinds))
    rates = {
        run: _finite([(one["step"], one.get("learning_rate")) for one in (steps or epochs)])
        for run, (epochs, steps) in runs.items()
    }
    charts.append(line_chart("learning rate", rates, "step", None, kinds))
    return [chart for chart in charts if chart]


def _column(epochs: Events, split: str, name: str) -> list[tuple[float, float]]:
    return _finite([(epoch["epoch"], (epoch.get(split) or {}).get(name)) for epoch in epochs])


def _finite(points: Sequence[tuple[Any, Any]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if isinstance(y, int | float) and math.isfinite(y)]


def line_chart(
    title: str,
    series: Mapping[str, Points],
    across: str,
    marked: float | None,
    kinds: Mapping[str, str] | None = None,
) -> str:
    """One chart; `marked` is the x of the best epoch, `kinds` the CSS class of each series where that is not its
    name."""
    kinds = kinds or {}
    series = {name: points for name, points in series.items() if points}
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    if not xs:
        return ""
    ticks = nice_ticks(min(ys), max(ys))
    frame = _Frame((min(xs), max(xs)), (ticks[0], ticks[-1]))
    parts = [_grid(frame, ticks), _x_axis(frame, across)]
    if marked is not None:
        x = frame.x(marked)
        parts.append(f'<line class="best" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>')
        anchor = "start" if x < _LEFT + _NEAR else "end" if x > _WIDTH - _RIGHT - _NEAR else "middle"
        parts.append(_text(x, _TOP - 4, "best", anchor))  # clear of the numbers, and inside the picture
    parts += [_line(frame, kinds.get(name, name), points) for name, points in series.items()]
    keys = "".join(f'<span class="key {escape(kinds.get(name, name))}">{escape(name)}</span>' for name in series)
    legend = keys if len(series) > 1 else ""
    return (
        f'<figure class="chart"><figcaption>{escape(title)} {legend}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg></figure>'
    )


class _Frame:
    """From values to places in the picture."""

    def __init__(self, across: tuple[float, float], up: tuple[float, float]) -> None:
        self.across, self.up = across, up

    def x(self, value: float) -> float:
        return _place(value, self.across, (_LEFT, _WIDTH - _RIGHT))

    def y(self, value: float) -> float:
        return _place(value, self.up, (_HEIGHT - _BOTTOM, _TOP))


def _place(value: float, values: tuple[float, float], places: tuple[float, float]) -> float:
    share = (value - values[0]) / (values[1] - values[0]) if values[1] > values[0] else 0.5
    return places[0] + share * (places[1] - places[0])


def nice_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers, at most `most` + 2, that enclose low..high."""
    if high <= low:
        pad = abs(low) * 0.05 or 0.5
        low, high = low - pad, high + pad
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _grid(frame: _Frame, ticks: Sequence[float]) -> str:
    lines = [
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{frame.y(tick):.1f}" y2="{frame.y(tick):.1f}"/>'
        + _text(_LEFT - 7, frame.y(tick) + 4, f"{tick:g}", "end")
        for tick in ticks
    ]
    return "".join(lines)


def _x_axis(frame: _Frame, across: str) -> str:
    low, high = frame.across
    ticks = [tick for tick in nice_ticks(low, high) if low <= tick <= high and float(tick).is_integer()] or [low]
    # The last number would stick out of the picture if it stood under the middle of its tick.
    anchors = ["end" if tick > low + 0.95 * (high - low) else "middle" for tick in ticks]
    marks = [
        _text(frame.x(tick), _HEIGHT - _BOTTOM + 16, f"{tick:,.0f}", anchor)
        for tick, anchor in zip(ticks, anchors, strict=True)
    ]
    return "".join(marks) + _text(_WIDTH - _RIGHT, _HEIGHT - 3, across, "end")


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _line(frame: _Frame, name: str, points: Points) -> str:
    places = [(frame.x(x), frame.y(y)) for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    line = f'<polyline class="line {escape(name)}" points="{path}"/>'
    if len(places) > 40:
        return line
    return line + "".join(f'<circle class="dot {escape(name)}" cx="{x:.1f}" cy="{y:.1f}" r="2.2"/>' for x, y in places)


def interval_strip(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Scores and their intervals on one scale, a row each; the rows are (css class, score)."""
    values = [score[key] for _, score in rows for key in ("low", "value", "high") if score.get(key) is not None]
    ticks = nice_ticks(min(values), max(values))
    height = 32 + 20 * len(rows)

    def x(value: float) -> float:
        return _place(value, (ticks[0], ticks[-1]), (_STRIP_MARGIN, _STRIP_WIDTH - _STRIP_MARGIN))

    parts = [
        f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="4" y2="{height - 22}"/>'
        + _text(x(tick), height - 5, f"{tick:g}", "middle")
        for tick in ticks
    ]
    for index, (kind, score) in enumerate(rows):
        y = 17 + 20 * index
        if score.get("low") is not None and score.get("high") is not None:
            ends = f'x1="{x(score["low"]):.1f}" x2="{x(score["high"]):.1f}"'
            parts.append(f'<line class="line {kind}" {ends} y1="{y}" y2="{y}"/>')
        parts.append(f'<circle class="dot {kind}" cx="{x(score["value"]):.1f}" cy="{y}" r="4.5"/>')
    words = escape(", ".join(f"{kind} {number(score['value'])}" for kind, score in rows))
    view = f"0 0 {_STRIP_WIDTH} {height}"
    return f'<svg class="strip" viewBox="{view}" role="img" aria-label="{words}">{"".join(parts)}</svg>'
