"""Images of any number of labels: what is answered, how it is judged, what is drawn.

`Record.output` holds a logit for each class, float32 [classes]; `assets["thresholds"]`, tuned on validation, say from
which probability on a class is among the labels. A baseline is scored with assets that hold none, so at 0.5.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines import scoring
from pipelines.labelled.tables import class_table
from pipelines.task import Assets, Figure, Raw, Scores, Store, Table
from tasks.image_classification.config import Config

_MISTAKES = 24
_SURE = 16.0
"""The logit of what was always so."""


def answer(probabilities: np.ndarray, classes: Sequence[str], thresholds: Sequence[float], k: int) -> dict[str, Any]:
    """What a person reads of probabilities [classes]: the labels, those at their threshold or above, and the k
    likeliest classes; each with its probability, the likeliest first."""
    order = np.argsort(-probabilities, kind="stable")
    ranked = [{"label": classes[index], "probability": float(probabilities[index])} for index in order]
    found = [one for one, index in zip(ranked, order, strict=True) if probabilities[index] >= thresholds[index]]
    return {"labels": found, "top_k": ranked[:k]}


def table(config: Config, assets: Assets) -> Table:
    """The same as a row of CSV; labels stand in one cell as they do in tables that are read."""
    separator = config.label_separator
    return class_table(
        ("labels",),
        assets["classes"],
        lambda record: {"labels": separator.join(one["label"] for one in record.answer["labels"])},
        lambda record: scoring.sigmoid(np.asarray(record.output)).tolist(),
    )


def targets(references: Raw, assets: Assets) -> list[Any]:
    """The true labels of each image."""
    return [[assets["classes"][index] for index in np.flatnonzero(row)] for row in references["label"]]


def thresholds_of(assets: Assets) -> list[float]:
    """Of each class."""
    tuned: list[float] = assets.get("thresholds", [scoring.UNTUNED] * len(assets["classes"]))
    return tuned


def calibrate(assets: Assets, logits: np.ndarray, references: Raw) -> Assets:
    """The assets with the thresholds that are best on the validation split."""
    return {**assets, "thresholds": scoring.best_thresholds(scoring.sigmoid(logits), references["label"])}


def score(logits: np.ndarray, references: Raw, assets: Assets) -> Scores:
    """Mean average precision (the headline), micro and macro F1, exact match, with their intervals; figures by
    class."""
    return scoring.multilabel_scores(
        logits, references["label"], assets["classes"], thresholds=thresholds_of(assets), seed=scoring.SEED
    )


class OneForEach:
    """A logistic regression (scikit-learn, lbfgs) for each class on standardised features: the baseline."""

    def __init__(self, features: np.ndarray, labels: np.ndarray, iterations: int) -> None:
        """Fit to features float32 [images, features], which are changed, and labels bool [images, classes]."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        self._scaler = StandardScaler(copy=False).fit(features)
        scaled = self._scaler.transform(features)
        self._models: list[Any] = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            for column in labels.T:
                # A class that all images have, or none, has nothing to learn.
                learnt = column.any() and not column.all()
                model = LogisticRegression(max_iter=iterations).fit(scaled, column) if learnt else None
                self._models.append(model)
        self.capped = any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
        self._constants = np.where(labels.all(axis=0), _SURE, -_SURE)
        self._offsets = np.zeros(labels.shape[1])

    def tune(self, features: np.ndarray, truth: np.ndarray) -> None:
        """Move the logits so that 0 is where F1 is highest on these: no score but those at a threshold changes."""
        best = np.clip(scoring.best_thresholds(scoring.sigmoid(self.logits(features)), truth), 1e-7, 1 - 1e-7)
        self._offsets = np.log(best / (1 - best))

    def logits(self, features: np.ndarray) -> np.ndarray:
        """float32 [images, classes]; the features are changed."""
        scaled = self._scaler.transform(features)
        columns = [
            model.decision_function(scaled) if model else np.full(len(scaled), constant)
            for model, constant in zip(self._models, self._constants, strict=True)
        ]
        moved: np.ndarray = (np.stack(columns, axis=1) - self._offsets).astype(np.float32)
        return moved


def figures(logits: np.ndarray, references: Raw, config: Config, assets: Assets, store: Store) -> list[Figure]:
    """Average precision and F1 by class, the most confident mistakes."""
    from pipelines.report import charts

    per_class = score(logits, references, assets).breakdowns["per_class"]
    drawn = [
        charts.class_bars(per_class, "average_precision", "Average precision by class"),
        charts.class_bars(per_class),
    ]
    mistakes = _mistakes(logits, references["label"], config, assets, store)
    return drawn + ([mistakes] if mistakes else [])


def _mistakes(logits: np.ndarray, truth: np.ndarray, config: Config, assets: Assets, store: Store) -> Figure | None:
    """The images with the label that is most surely wrong, or most surely missed."""
    from pipelines.report import charts
    from tasks.image_classification.encoding import pixels

    worst = _surest(logits, truth, assets, right=False)[:_MISTAKES]
    if not worst:
        return None
    indices = np.array([index for index, _, _ in worst])
    return charts.pictures(
        np.concatenate(list(pixels(store, [indices], config, config.image_size or 96))),
        [words for _, _, words in worst],
        name="mistakes",
        title="The most confident mistakes",
        caption="A label that was missed, or one that the image does not have; the probability the model gave it.",
    )


def telling(logits: np.ndarray, truth: np.ndarray, assets: Assets, most: int) -> list[tuple[int, int, str]]:
    """The images with the label that was found most surely, then those with the one that is most surely wrong, so many
    of each: the image, the label, and what became of it in words."""
    right, wrong = (_surest(logits, truth, assets, right=right)[:most] for right in (True, False))
    return [*right, *wrong]


def _surest(logits: np.ndarray, truth: np.ndarray, assets: Assets, *, right: bool) -> list[tuple[int, int, str]]:
    """Of each image that has any, the label that was rightly found, or wrongly found or missed; the surest first."""
    from pipelines.report import charts

    probabilities = scoring.sigmoid(logits)
    found = probabilities >= np.asarray(thresholds_of(assets))
    there = truth.astype(bool)
    meant = found & there if right else found != there
    sureness = np.where(meant, probabilities if right else np.abs(there - probabilities), -1.0)
    order = np.argsort(-sureness.max(axis=1), kind="stable")[: int(meant.any(axis=1).sum())]
    labels = sureness.argmax(axis=1)
    verbs = np.where(there, "found" if right else "missed", "not")
    return [
        (
            index,
            int(label),
            f"{verbs[index, label]}: {charts.shorten(assets['classes'][label])}\n{probabilities[index, label]:.1%}",
        )
        for index, label in zip(order.tolist(), labels[order], strict=True)
    ]
