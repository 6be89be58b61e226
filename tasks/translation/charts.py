"""Pictures of translations for the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.task import Figure

_PLACE = 60


@dataclass(frozen=True)
class Looked:
    """How much each piece of a translation looked at each of its source."""

    source: Sequence[str]
    target: Sequence[str]
    weights: np.ndarray
    """float32 [target, source]: each row adds up to 1."""


def place(name: str) -> str:
    """'test.en line 7' of 'data/test.en line 7', the end of a long name."""
    short = name.rsplit("/", 1)[-1]
    return short if len(short) <= _PLACE else f"…{short[-_PLACE + 1 :]}"


def by_length(rows: Mapping[str, tuple[float, float, int]]) -> Figure:
    """BLEU and chrF of the sentences of each length; with how many there are."""
    from pipelines.report import charts

    names = list(rows)

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        for number, (name, colour) in enumerate((("BLEU", charts.BLUE), ("chrF", charts.MUTED))):
            values = [rows[key][number] for key in names]
            places = np.arange(len(names)) + (number - 0.5) * 0.36
            axes.bar(places, values, 0.34, color=colour, label=name)
            for where, value in zip(places.tolist(), values, strict=True):
                axes.annotate(f"{value:.1f}", (where, value), ha="center", va="bottom", color=charts.MUTED)
        axes.set_xticks(range(len(names)), [f"{name}\n{rows[name][2]:,} sentences" for name in names])
        axes.set_ylim(0, 108)
        canvas.legend(*axes.get_legend_handles_labels(), loc="outside upper right", frameon=False, ncols=2)

    caption = "Sentences in parts of about equal number, by the pieces of their source."
    return Figure("scores_by_length", "Scores by length of the source", caption, charts.render(draw, (7.4, 3.1)))


def attention(sentences: Sequence[Looked]) -> Figure:
    """A picture for each sentence, side by side."""
    from pipelines.report import charts

    def draw(canvas: Any) -> None:
        panels = canvas.subplots(1, len(sentences), squeeze=False)[0]
        for axes, one in zip(panels, sentences, strict=True):
            axes.imshow(one.weights, cmap="Blues", vmin=0, vmax=max(float(one.weights.max()), 1e-6), aspect="auto")
            axes.set_xticks(range(len(one.source)), one.source, rotation=90, fontsize=6.5)
            axes.set_yticks(range(len(one.target)), one.target, fontsize=6.5)
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)

    caption = (
        "Across the source, down the reference, each piece as the last layer of the decoder looks at the source when "
        "it is to say it, the mean over the heads; dark is much. A hint: more counts than what is looked at."
    )
    title = "Where the decoder looks"
    return Figure("attention", title, caption, charts.render(draw, (3.2 * len(sentences), 3.4)))
