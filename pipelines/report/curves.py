"""Line charts and interval strips as inline SVG: sharp at any size, in the page's own colours, light or dark."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pipelines.report.words import label, number

Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 400, 236
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 26, 34


def training_curves(epochs: Sequence[Mapping[str, Any]], steps: Sequence[Mapping[str, Any]], best: int | None) -> list[str]:
    """A chart for the loss, each metric and the learning rate, from the events of a run."""
    names = [name for name in (epochs[0].get("valid") or epochs[0]["train"]) if any(_column(epochs, "train", name))] if epochs else []
    charts = [
        line_chart(label(name), {split: _column(epochs, split, name) for split in ("train", "valid")}, "epoch", best)
        for name in names
    ]
    rates = [(step["step"], step.get("learning_rate")) for step in (steps or epochs)]
    if known := _finite(rates):
        charts.append(line_chart("learning rate", {"rate": known}, "step", None))
    return charts


def _column(epochs: Sequence[Mapping[str, Any]], split: str, name: str) -> list[tuple[float, float]]:
    return _finite([(epoch["epoch"], (epoch.get(split) or {}).get(name)) for epoch in epochs])


def _finite(points: Sequence[tuple[Any, Any]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if isinstance(y, int | float) and math.isfinite(y)]


def line_chart(title: str, series: Mapping[str, Points], across: str, marked: float | None) -> str:
    """One chart; `marked` is the x of the best epoch."""
    series = {name: points for name, points in series.items() if points}
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    if not xs:
        return ""
    ticks = nice_ticks(min(ys), max(ys))
    frame = _Frame((min(xs), max(xs)), (min(ticks[0], min(ys)), max(ticks[-1], max(ys))))
    parts = [_grid(frame, ticks), _x_axis(frame, across)]
    if marked is not None:
        x = frame.x(marked)
        parts.append(f'<line class="best" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>')
        parts.append(_text(x, _TOP - 4, "best", "middle"))
    parts += [_line(frame, name, points) for name, points in series.items()]
    legend = "".join(f'<span class="key {escape(name)}">{escape(name)}</span>' for name in series) if len(series) > 1 else ""
    return (
        f'<figure class="chart"><figcaption>{escape(title)} {legend}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg></figure>'
    )


class _Frame:
    """From values to places in the picture."""

    def __init__(self, across: tuple[float, float], up: tuple[float, float]) -> None:
        self.across, self.up = across, up

    def x(self, value: float) -> float:
        low, high = self.across
        share = (value - low) / (high - low) if high > low else 0.5
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self.up
        share = (value - low) / (high - low) if high > low else 0.5
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


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
    marks = [_text(frame.x(tick), _HEIGHT - _BOTTOM + 16, f"{tick:,.0f}", "middle") for tick in ticks]
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
    values = [row[1][key] for row in rows for key in ("low", "value", "high") if row[1].get(key) is not None]
    ticks = nice_ticks(min(values), max(values))
    frame = _Frame((ticks[0], ticks[-1]), (0, 1))
    height = 30 + 22 * len(rows)
    parts = [
        f'<line class="grid" x1="{frame.x(tick):.1f}" x2="{frame.x(tick):.1f}" y1="4" y2="{height - 22}"/>'
        + _text(frame.x(tick), height - 6, f"{tick:g}", "middle")
        for tick in ticks
    ]
    for index, (kind, score) in enumerate(rows):
        y = 18 + 22 * index
        if score.get("low") is not None and score.get("high") is not None:
            low, high = frame.x(score["low"]), frame.x(score["high"])
            parts.append(f'<line class="line {kind}" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>')
        parts.append(f'<circle class="dot {kind}" cx="{frame.x(score["value"]):.1f}" cy="{y}" r="4.5"/>')
    words = ", ".join(f"{kind} {number(score['value'])}" for kind, score in rows)
    return f'<svg class="strip" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(words)}">{"".join(parts)}</svg>'
