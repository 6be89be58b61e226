"""What the report shows of the test images: confusions, confidence, mistakes, where the model looked, and how training
varies its images."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines import scoring
from pipelines.task import Assets, Figure, Raw, Record, Store
from tasks.image_classification import multilabel
from tasks.image_classification.config import Config

_MISTAKES = 24
_VARIED = 12
_EXPLAINED = 6
"""Right answers, and as many wrong ones."""


def figures(
    records: Sequence[Record], references: Raw, config: Config, assets: Assets, store: Store, model: Any
) -> list[Figure]:
    """What became of the test images, where in them the model saw it, and how training images are varied."""
    from tasks.image_classification import grad_cam

    logits = scoring.outputs_of(records, len(references["label"]), "image")
    judged, chosen = (multilabel.figures, multilabel.telling) if config.multi_label else (_judged, _telling)
    return [
        *judged(logits, references, config, assets, store),
        *grad_cam.figures(model, chosen(logits, references["label"], assets, _EXPLAINED), config, store),
        *_variations(config, assets, store),
    ]


def _judged(logits: np.ndarray, references: Raw, config: Config, assets: Assets, store: Store) -> list[Figure]:
    """The confusion matrix, the reliability diagram, the most confident mistakes, F1 by class."""
    from pipelines.report import charts

    labels, classes = references["label"], assets["classes"]
    temperature = assets.get("temperature", 1.0)
    judged, before = scoring.outcomes(logits, labels, temperature), scoring.outcomes(logits, labels)
    correct = judged.predicted == labels
    confusion = scoring.confusion_matrix(labels, judged.predicted, len(classes))
    drawn = [
        charts.confusion(confusion, classes),
        charts.reliability(before.confidence, judged.confidence, correct, temperature),
        charts.class_bars(scoring.per_class(confusion, classes)),
    ]
    wrong = np.flatnonzero(~correct)
    worst = wrong[np.argsort(-judged.confidence[wrong], kind="stable")[:_MISTAKES]]
    if len(worst):
        drawn.insert(2, _mistakes(worst, judged, references["label"], config, classes, store))
    return drawn


def _telling(logits: np.ndarray, labels: np.ndarray, assets: Assets, most: int) -> list[tuple[int, int, str]]:
    """The most confident right answers, then the most confident mistakes, so many of each: the image, the class that
    was predicted, and both in words."""
    from pipelines.report import charts

    judged, names = scoring.outcomes(logits, labels, assets.get("temperature", 1.0)), assets["classes"]
    correct, surest = judged.predicted == labels, np.argsort(-judged.confidence, kind="stable")
    found = []
    for index in [*surest[correct[surest]][:most].tolist(), *surest[~correct[surest]][:most].tolist()]:
        answer = int(judged.predicted[index])
        truth = "" if correct[index] else f"{charts.shorten(names[labels[index]])} → "
        verdict = "right" if correct[index] else "wrong"
        words = f"{truth}{charts.shorten(names[answer])}\n{verdict}, {judged.confidence[index]:.1%}"
        found.append((index, answer, words))
    return found


def _mistakes(
    worst: np.ndarray,
    judged: scoring.Outcomes,
    labels: np.ndarray,
    config: Config,
    classes: Sequence[str],
    store: Store,
) -> Figure:
    from pipelines.report import charts
    from tasks.image_classification.encoding import pixels

    images = np.concatenate(list(pixels(store, [worst], config, config.image_size or 96)))
    captions = [
        f"{charts.shorten(classes[labels[index]])} → {charts.shorten(classes[judged.predicted[index]])}\n"
        f"{judged.confidence[index]:.1%}"
        for index in worst
    ]
    return charts.pictures(
        images,
        captions,
        name="mistakes",
        title="The most confident mistakes",
        caption="True class → predicted class, and the probability the model gave to its answer.",
    )


def _variations(config: Config, assets: Assets, store: Store) -> list[Figure]:
    """A few images as training would vary them; nothing where it does not."""
    from pipelines.report import charts
    from tasks.image_classification.encoding import varied

    named = {name: getattr(config, name) for name in ("augment", "rand_augment", "erasing", "mixup", "cutmix")}
    used = ", ".join(f"{name} {value}" for name, value in named.items() if value not in (None, 0, "none"))
    if not used:
        return []
    indices = np.unique(np.linspace(0, len(store) - 1, _VARIED).astype(np.int64))
    images, shares = varied(store, indices, config, assets)
    captions = [_shares(row, assets["classes"]) for row in shares]
    caption = f"Test images, varied as training varies its own: {used}."
    title = "How training images are varied"
    return [charts.pictures(images, captions, name="variations", title=title, caption=caption)]


def _shares(row: np.ndarray, classes: Sequence[str]) -> str:
    """'ant 70%\\nbee 30%'; the two largest, their shares where they are mixed."""
    from pipelines.report import charts

    order = [int(index) for index in np.argsort(-row, kind="stable")[:2] if row[index] >= 0.005]
    mixed = any(row[index] < 0.995 for index in order)
    return "\n".join(charts.shorten(classes[index]) + (f" {row[index]:.0%}" if mixed else "") for index in order)
