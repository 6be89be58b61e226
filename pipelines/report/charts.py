"""Pictures for the report, each drawn on a canvas of its own: no pyplot, no window, no state left behind."""

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.scoring import expected_calibration_error, reliability_bins
from pipelines.task import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

INK, MUTED, BLUE, AMBER = "#1f2937", "#6b7280", "#2f6690", "#d97b29"

_DOTS_PER_INCH = 200
_MOST_CELLS_WITH_COUNTS = 20
_MOST_NAMED_CLASSES = 40
_MOST_BARS = 30
_LISTED = 15
_MOST_BINS = 60
_GAP = 0.03
"""Between two pictures that belong together, in widths of one."""
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": INK,
    "text.parse_math": False,  # a class may be called $5
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


def confusion(counts: np.ndarray, classes: Sequence[str]) -> Figure:
    """The confusion matrix [true, predicted]; of many classes also the commonest confusions by name."""
    named = len(classes) <= _MOST_NAMED_CLASSES
    side = min(8.0, max(3.4, 1.8 + 0.42 * len(classes)))

    def draw(canvas: "Canvas") -> None:
        if named:
            _matrix(canvas.subplots(), counts, classes)
            return
        left, right = canvas.subplots(1, 2, width_ratios=(1, 0.8))
        _matrix(left, counts, None)
        _commonest(right, counts, classes)

    caption = "Rows are the true classes, columns what was predicted; the colour is the share of the row."
    if not named:
        caption += f" With {len(classes)} classes the names are left out; on the right the commonest confusions."
    size = (side + 0.6, side) if named else (9.0, 4.4)
    return Figure("confusion_matrix", "Confusion matrix", caption, render(draw, size))


def _matrix(axes: "Axes", counts: np.ndarray, classes: Sequence[str] | None) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    colours = LinearSegmentedColormap.from_list("blues", ["#ffffff", "#a9c6dc", BLUE, "#173a57"])
    # Square root: a share of 1 % must still be seen.
    axes.imshow(np.sqrt(shares), cmap=colours, vmin=0, vmax=1, interpolation="nearest")
    axes.set(xlabel="predicted", ylabel="true")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    if classes is None:
        return
    names = [shorten(name) for name in classes]
    axes.set_xticks(range(len(names)), names, rotation=45 if len(names) <= 12 else 90, ha=_anchor(len(names)))
    axes.set_yticks(range(len(names)), names)
    if len(names) <= _MOST_CELLS_WITH_COUNTS:
        for row, column in np.argwhere(counts > 0):
            shade = "white" if shares[row, column] > 0.3 else INK
            axes.text(
                float(column), float(row), f"{counts[row, column]:,}", ha="center", va="center", color=shade, fontsize=7
            )


def _anchor(names: int) -> Any:
    return "right" if names <= 12 else "center"


def _commonest(axes: "Axes", counts: np.ndarray, classes: Sequence[str]) -> None:
    mistakes = counts.copy()
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:_LISTED]
    pairs = [(int(cell) // len(classes), int(cell) % len(classes)) for cell in order]
    pairs = [pair for pair in pairs if mistakes[pair] > 0]
    names = [f"{shorten(classes[true], 16)} → {shorten(classes[predicted], 16)}" for true, predicted in pairs]
    _bars(axes, names, [float(mistakes[pair]) for pair in pairs], AMBER, "{:,.0f}")
    axes.set_title("commonest confusions (true → predicted)", loc="left")


def _bars(axes: "Axes", names: Sequence[str], values: Sequence[float], colour: str, form: str) -> None:
    places = np.arange(len(names))
    axes.barh(places, values, color=colour, height=0.66)
    axes.set_yticks(places, names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks([])
    reach = max(values, default=1.0) or 1.0
    axes.set_xlim(0, reach * 1.15)
    for place, value in zip(places, values, strict=True):
        axes.text(value + reach * 0.01, float(place), form.format(value), va="center", color=MUTED, fontsize=7.5)


def reliability(before: np.ndarray, after: np.ndarray, correct: np.ndarray, temperature: float) -> Figure:
    """Accuracy against confidence, before and after the temperature; all [examples]."""

    def draw(canvas: "Canvas") -> None:
        upper, lower = canvas.subplots(2, 2, height_ratios=(4, 1), sharex=True)
        _reliability_panel(upper[0], lower[0], before, correct, "before")
        _reliability_panel(upper[1], lower[1], after, correct, f"after, temperature {temperature:.2f}")
        upper[0].set_ylabel("accuracy")
        lower[0].set_ylabel("examples")

    caption = (
        "Bars: how often the model was right; orange: how confident it was. A bar below its line is overconfident, "
        "one above it too modest. The strips at the bottom count the answers."
    )
    return Figure("reliability", "Reliability of the probabilities", caption, render(draw, (8.2, 4.6)))


def _reliability_panel(upper: "Axes", lower: "Axes", confidence: np.ndarray, correct: np.ndarray, title: str) -> None:
    found = reliability_bins(confidence, correct)
    width = 1 / len(found["upper"])
    middles = found["upper"] - width / 2
    two = np.stack([confidence, np.zeros_like(confidence)], axis=1)
    ece = expected_calibration_error(two, np.where(correct, 0, 1))
    upper.bar(middles, np.nan_to_num(found["accuracy"]), width * 0.88, color=BLUE)
    filled = found["count"] > 0
    left, right = middles[filled] - width * 0.44, middles[filled] + width * 0.44
    upper.hlines(found["confidence"][filled], left, right, color=AMBER, linewidth=1.8)
    upper.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    upper.set(xlim=(0, 1), ylim=(0, 1.02))
    upper.set_title(f"{title}: ECE {ece:.3f}", loc="left")
    lower.bar(middles, found["count"], width * 0.88, color=MUTED)
    lower.set(xlabel="confidence")
    lower.locator_params(axis="y", nbins=2)


def class_bars(per_class: Mapping[str, Mapping[str, Any]], score: str = "f1", title: str = "F1 by class") -> Figure:
    """A score of each class, the weakest first."""
    known = sorted((row[score], name) for name, row in per_class.items() if row[score] is not None)
    shown = known[:_MOST_BARS]
    names = [f"{shorten(name)}  ({per_class[name]['support']:,})" for _, name in shown]

    def draw(canvas: "Canvas") -> None:
        axes = canvas.subplots()
        _bars(axes, names, [value for value, _ in shown], BLUE, "{:.3f}")
        axes.set_xlim(0, 1.1)

    caption = "Weakest first; the number of examples in brackets."
    if len(known) > len(shown):
        caption += f" The weakest {len(shown)} of {len(known)} classes."
    if len(known) < len(per_class):
        caption += f" {len(per_class) - len(known)} classes occur neither as truth nor as prediction."
    return Figure(f"class_{score}", title, caption, render(draw, (7.0, max(1.6, 0.24 * len(shown) + 0.4))))


def histogram(
    values: np.ndarray, marked: float, mark: str, across: str, *, name: str, title: str, caption: str
) -> Figure:
    """How many examples have which value, whole numbers [examples]; a line at one value, and what it stands for. The
    last bar holds the largest 0.5 % too, so that a few do not squeeze all the others."""
    most = max(int(np.percentile(values, 99.5)), 1)
    edges = np.arange(0, most + 1 + (width := most // _MOST_BINS + 1), width) - 0.5
    counts, _ = np.histogram(np.minimum(values, most), edges)

    def draw(canvas: "Canvas") -> None:
        from matplotlib.ticker import MaxNLocator

        axes = canvas.subplots()
        axes.bar(edges[:-1] + width / 2, counts, 0.9 * width, color=BLUE)
        axes.set(xlabel=across, ylabel="examples", xlim=(edges[0], edges[-1]))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
        if edges[0] < marked < edges[-1]:
            axes.axvline(marked, color=AMBER, linewidth=1.4)
            left = marked > edges[-1] / 2
            axes.annotate(
                mark, (marked, 1), xytext=(-4 if left else 4, -2), xycoords=("data", "axes fraction"),
                textcoords="offset points", ha="right" if left else "left", va="top", color=AMBER,
            )  # fmt: skip

    if values.max() > most:
        caption += f" The last bar also holds the few longer ones, up to {values.max():,}."
    return Figure(name, title, caption, render(draw, (7.0, 2.6)))


def pictures(images: np.ndarray, captions: Sequence[str], *, name: str, title: str, caption: str) -> Figure:
    """A sheet of small pictures uint8 [n, height, width, 1 or 3], each with two lines below it."""
    columns = min(6, len(images))
    rows = -(-len(images) // columns)

    def draw(canvas: "Canvas") -> None:
        grid = canvas.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        for axes, image, text in zip(grid.flat, images, captions, strict=False):
            _picture(axes, image)
            _below(axes, text)

    return Figure(name, title, caption, render(draw, (max(columns, 3) * 1.45, rows * 1.85)))


def heat_maps(
    images: np.ndarray, heat: np.ndarray, captions: Sequence[str], *, name: str, title: str, caption: str
) -> Figure:
    """Small pictures uint8 [n, height, width, 1 or 3], each beside itself under its heat [n, rows, columns] from 0 to
    1, with two lines below both."""
    columns = min(3, len(images))
    rows = -(-len(images) // columns)

    def draw(canvas: "Canvas") -> None:
        grid = canvas.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        for axes, image, each, text in zip(grid.flat, images, heat, captions, strict=False):
            left, right = (0, 1, 1, 0), (1 + _GAP, 2 + _GAP, 1, 0)
            for extent in (left, right):
                _picture(axes, image, extent)
            axes.imshow(each, cmap="turbo", vmin=0, vmax=1, alpha=0.45, interpolation="bilinear", extent=right)
            axes.set_xlim(0, 2 + _GAP)
            _below(axes, text)

    return Figure(name, title, caption, render(draw, (max(columns, 2) * 2.9, rows * 1.85)))


def _picture(axes: "Axes", image: np.ndarray, extent: tuple[float, float, float, float] | None = None) -> None:
    """uint8 [height, width, 1 or 3], at left, right, bottom, top."""
    smooth = "nearest" if image.shape[0] < 64 else "lanczos"
    flat = image.squeeze(-1) if image.shape[-1] == 1 else image
    axes.imshow(flat, cmap="gray", vmin=0, vmax=255, interpolation=smooth, extent=extent)


def _below(axes: "Axes", text: str) -> None:
    axes.text(0.5, -0.04, text, transform=axes.transAxes, ha="center", va="top", fontsize=7, linespacing=1.35)


def shorten(text: str, most: int = 20) -> str:
    """The text on one line, cut in its middle where it is longer: both ends of a class name tell."""
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[: most - 1 - head]}…{text[-head:]}"


def render(draw: Any, size: tuple[float, float]) -> bytes:
    """PNG bytes of what `draw` puts on a canvas of that size in inches."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    buffer = io.BytesIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # DejaVu has no Chinese, no emoji: a box stands for the sign here, the page itself writes it.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        canvas = Canvas(figsize=size, layout="constrained", facecolor="white")
        FigureCanvasAgg(canvas)
        draw(canvas)
        canvas.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()
