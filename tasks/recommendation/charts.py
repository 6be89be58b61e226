"""Pictures of recommendations for the report."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.task import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def popularity_bias(shares: Mapping[str, np.ndarray], groups: int) -> Figure:
    """What share each group of items, the most popular first, has of all that is named: each [groups], of 1 in all."""
    from pipelines.report import charts

    looks = (charts.MUTED, charts.INK, charts.BLUE, charts.AMBER)

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        places, width = np.arange(groups), 0.8 / len(shares)
        for number, ((name, values), colour) in enumerate(zip(shares.items(), looks, strict=False)):
            axes.bar(places + (number - (len(shares) - 1) / 2) * width, values, 0.92 * width, color=colour, label=name)
        names = [f"{100 * place / groups:.0f} to {100 * (place + 1) / groups:.0f}" for place in range(groups)]
        axes.set_xticks(places, names)
        axes.set(xlabel="items from the most to the least popular, per cent", ylabel="share")
        axes.legend(frameon=False, loc="upper right")

    caption = (
        "Items in parts of equal number, by their training interactions. A model that recommends the popular more "
        "often than people take them feeds their popularity; where its bars end, items are never shown."
    )
    return Figure("popularity_bias", "What is recommended, by popularity", caption, charts.render(draw, (8.2, 3.2)))


def kinds(rows: Mapping[str, Mapping[str, Any]], caption: str) -> Figure:
    """Of each kind of items its share of the items, of what was held out and of the lists, and of what was held out the
    share found; rows as in scores."""
    from pipelines.report import charts

    names = list(rows)
    items, held_out = (sum(row[name] for row in rows.values()) or 1 for name in ("items", "held_out"))

    def draw(canvas: Any) -> None:
        left, right = canvas.subplots(1, 2, width_ratios=(1.5, 1), sharey=True)
        bars = {
            "of all items": ([rows[name]["items"] / items for name in names], charts.MUTED),
            "of what was held out": ([rows[name]["held_out"] / held_out for name in names], charts.INK),
            "of the lists": ([rows[name]["share_of_lists"] or 0.0 for name in names], charts.BLUE),
        }
        for number, (label, (values, colour)) in enumerate(bars.items()):
            _across(left, values, (number - 1) * 0.26, 0.24, colour, label)
        left.set_yticks(range(len(names)), names)
        left.set_ylim(len(names) - 0.4, -0.6)
        left.set_title("share", loc="left")
        _across(right, [rows[name]["found"] or 0.0 for name in names], 0, 0.4, charts.BLUE, None)
        right.set_title("held-out items found", loc="left")
        canvas.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)

    return Figure("new_items", "New items, the tail and the most popular", caption, charts.render(draw, (8.2, 2.7)))


def _across(
    axes: "Axes", values: Sequence[float], offset: float, height: float, colour: str, label: str | None
) -> None:
    from pipelines.report import charts

    places = np.arange(len(values)) + offset
    axes.barh(places, values, height, color=colour, label=label)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks([])
    reach = max(*axes.get_xlim(), max(values, default=0) * 1.18, 1e-6)
    axes.set_xlim(0, reach)
    for place, value in zip(places.tolist(), values, strict=True):
        axes.annotate(
            f"{value:.1%}", (value, place), xytext=(3, 0), textcoords="offset points", va="center", color=charts.MUTED,
            fontsize=7.5,
        )  # fmt: skip


def item_map(
    points: np.ndarray, groups: Mapping[str, np.ndarray] | None, popularity: np.ndarray, caption: str
) -> Figure:
    """Items as points [n, 2]: coloured by group, bool [n] each, or where there are none by popularity [n], in training
    interactions."""
    from pipelines.report import charts

    def draw(canvas: Any) -> None:
        from matplotlib import colormaps

        axes = canvas.subplots()
        sizes = 6 + 60 * popularity / max(popularity.max(initial=0), 1)
        if groups:
            for number, (name, rows) in enumerate(groups.items()):
                axes.scatter(
                    *points[rows].T,
                    s=sizes[rows],
                    color=colormaps["tab10"](number),
                    alpha=0.7,
                    linewidths=0,
                    label=charts.shorten(name),
                )
            canvas.legend(loc="outside right upper", frameon=False)
        else:
            shown = axes.scatter(*points.T, s=10, c=np.log10(1 + popularity), cmap="viridis", alpha=0.75, linewidths=0)
            bar = canvas.colorbar(shown, ax=axes, shrink=0.8)
            bar.set_label("training interactions")
            ticks = [tick for tick in range(8) if tick <= np.log10(1 + popularity.max(initial=1))]
            bar.set_ticks([np.log10(1 + 10**tick) for tick in ticks], labels=[f"{10**tick:,}" for tick in ticks])
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.set_aspect("equal", adjustable="datalim")

    return Figure("item_map", "Where the model sees the items", caption, charts.render(draw, (7.4, 5.0)))


def predicted_ratings(rating: np.ndarray, predicted: np.ndarray, caption: str) -> Figure:
    """What was predicted where each rating came; both [n]."""
    from pipelines.report import charts

    stars = np.unique(rating)
    if len(stars) > 12:
        stars = np.unique(np.round(rating))
    parts = [predicted[np.abs(rating - star) <= np.abs(rating[:, None] - stars).min(axis=1)] for star in stars]

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        axes.boxplot(
            parts, positions=stars, widths=0.5 * float(np.diff(stars).min(initial=1.0)), whis=(5, 95), showfliers=False,
            patch_artist=True, boxprops={"facecolor": charts.BLUE, "alpha": 0.5, "linewidth": 0.6},
            medianprops={"color": charts.INK}, whiskerprops={"color": charts.MUTED}, capprops={"color": charts.MUTED},
        )  # fmt: skip
        axes.plot([stars[0], stars[-1]], [stars[0], stars[-1]], color=charts.AMBER, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_xticks(stars, [f"{star:g}\n({len(part):,})" for star, part in zip(stars, parts, strict=True)])
        axes.set(xlabel="rating (and how many there are)", ylabel="predicted")

    return Figure("predicted_ratings", "Predicted beside given ratings", caption, charts.render(draw, (7.0, 3.2)))
