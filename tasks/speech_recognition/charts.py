"""Pictures of recordings for the report."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.task import Figure
from tasks.speech_recognition.decoding import Word

_PLACE = 60
"""Characters of where a recording stands."""


@dataclass(frozen=True)
class Heard:
    """A recording that is drawn."""

    name: str
    said: str
    mels: np.ndarray
    """float32 [frames, mels]."""
    words: Sequence[Word]
    """That were heard."""


def place(name: str) -> str:
    """'test.jsonl line 7' of 'data/test.jsonl line 7', the end of a long name."""
    short = name.rsplit("/", 1)[-1]
    return short if len(short) <= _PLACE else f"…{short[-_PLACE + 1 :]}"


def in_seconds(tenths: str) -> str:
    """'1.2 to 3.4 s' of '12 to 34 tenths of a second'."""
    numbers = [int(one.replace(",", "")) / 10 for one in re.findall(r"[\d,]+", tenths)]
    return " to ".join(f"{one:.1f}" for one in numbers) + " s"


def rates(rows: Mapping[str, tuple[float, float, int]], name: str, title: str, caption: str) -> Figure:
    """WER and CER of parts of the recordings; with how many there are."""
    from pipelines.report import charts

    names = list(rows)

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        for number, (score, colour) in enumerate((("WER", charts.BLUE), ("CER", charts.MUTED))):
            values = [rows[key][number] for key in names]
            places = np.arange(len(names)) + (number - 0.5) * 0.36
            axes.bar(places, values, 0.34, color=colour, label=score)
            for where, value in zip(places.tolist(), values, strict=True):
                axes.annotate(f"{value:.2f}", (where, value), ha="center", va="bottom", color=charts.MUTED, fontsize=7)
        labels = [f"{charts.shorten(key)}\n{rows[key][2]:,}" for key in names]
        axes.set_xticks(range(len(names)), labels, rotation=60 if len(names) > 8 else 0)
        axes.set_ylim(0, max(1e-3, *(max(row[:2]) for row in rows.values())) * 1.12)
        canvas.legend(*axes.get_legend_handles_labels(), loc="outside upper right", frameon=False, ncols=2)

    about = f"{caption} Below each how many recordings; lower is better."
    return Figure(name, title, about, charts.render(draw, (7.4, 3.1)))


def spectrograms(recordings: Sequence[Heard], hop: float) -> Figure:
    """One below the other, with the words that were heard where they were; hop in seconds."""
    from pipelines.report import charts

    def draw(canvas: Any) -> None:
        panels = canvas.subplots(len(recordings), 1, squeeze=False)[:, 0]
        for axes, one in zip(panels, recordings, strict=True):
            seconds = len(one.mels) * hop
            axes.imshow(
                one.mels.T, origin="lower", aspect="auto", cmap="Greys", vmin=-2, vmax=3, extent=(0, seconds, 0, 1)
            )
            for word in one.words:
                axes.axvline(word.start, color=charts.AMBER, linewidth=0.6)
                axes.annotate(word.text, (word.start, 1), xytext=(1, -9), textcoords="offset points", **_WRITTEN)
            axes.set_title(f"{one.name}: {charts.shorten(one.said, 80)}", loc="left")
            axes.set_yticks([])
        panels[-1].set_xlabel("seconds")

    caption = (
        "Mel bands, low ones below, dark where they are loud; above each what was said, in it "
        "the words that were heard, where they begin."
    )
    size = (7.4, 1.7 * len(recordings))
    return Figure("spectrograms", "The worst recordings as the model sees them", caption, charts.render(draw, size))


_WRITTEN: dict[str, Any] = {"fontsize": 7, "color": "#b45309", "annotation_clip": True}
