"""Scores of a classifier, from its logits and the true labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pipelines.scoring.agreement import Cells, matthews, quadratic_kappa, resample_auc, resample_confusion
from pipelines.scoring.calibration import calibration_gaps, log_softmax, parts
from pipelines.scoring.intervals import drawn_of, resample
from pipelines.task import Scores


@dataclass(frozen=True)
class Outcomes:
    """What became of each example; every array is [examples]."""

    predicted: np.ndarray
    confidence: np.ndarray
    """Probability of the predicted class, after the temperature."""
    log_loss: np.ndarray
    rank: np.ndarray
    """How many classes stand before the true one."""


def outcomes(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> Outcomes:
    """Judge logits [examples, classes], a part at a time. Of equal logits the first class wins."""
    judged = [_outcomes(logits[part], labels[part], temperature) for part in parts(*logits.shape)]
    return Outcomes(*(np.concatenate(column) for column in zip(*judged, strict=True)))


def _outcomes(logits: np.ndarray, labels: np.ndarray, temperature: float) -> tuple[np.ndarray, ...]:
    log_probabilities = log_softmax(logits, temperature)
    rows = np.arange(len(labels))
    # As scikit-learn does, a probability counts as no less than the smallest step at 1: no loss is infinite.
    loss = -np.maximum(log_probabilities[rows, labels], np.log(np.finfo(np.float64).eps))
    return logits.argmax(axis=1), np.exp(log_probabilities.max(axis=1)), loss, _ranks(logits, labels)


def _ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    own = scores[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    ranks: np.ndarray = ((scores > own) | ((scores == own) & earlier)).sum(axis=1)
    return ranks


def top_k_accuracy(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Share of examples whose true class is among the k highest of scores [examples, classes]."""
    return float((_ranks(scores, labels) < k).mean())


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log of the true class's probability, which counts as no less than 2.2e-16."""
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(true, np.finfo(np.float64).eps)).mean())


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts int64 [true class, predicted class]."""
    cells = np.bincount(labels.astype(np.int64) * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes)


def macro_f1(confusion: np.ndarray) -> float:
    """Mean F1 of the classes that occur, as truth or as prediction (scikit-learn's default)."""
    return _macro_f1(Cells.of(confusion))


def _macro_f1(cells: Cells) -> float:
    hits = np.bincount(cells.true, cells.counts * (cells.true == cells.predicted), cells.classes)
    support, predicted = cells.margins()
    seen = support + predicted
    return float((2 * hits[seen > 0] / seen[seen > 0]).mean())


def per_class(confusion: np.ndarray, classes: Sequence[str]) -> dict[str, dict[str, float | int | None]]:
    """Precision, recall, F1 and support (its examples) of each class; None where there is nothing to divide by."""
    hits, support, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    return {
        name: {
            "precision": ratio(hits[index], predicted[index]),
            "recall": ratio(hits[index], support[index]),
            "f1": ratio(2 * hits[index], support[index] + predicted[index]),
            "support": int(support[index]),
        }
        for index, name in enumerate(classes)
    }


def ratio(part: np.integer[Any], whole: np.integer[Any]) -> float | None:
    """The quotient, or None where there is nothing to divide by."""
    return float(part / whole) if whole else None


def classification_scores(
    logits: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    *,
    temperature: float,
    k: int,
    seed: int,
    grades: Sequence[float] | None = None,
) -> Scores:
    """Every score of a classifier, from its logits [examples, classes] before the temperature. Headline: accuracy.

    Left out is what would say nothing: top-k accuracy where k is 1 or covers all classes; Matthews' coefficient,
    AUC (of two classes) and quadratic kappa (of classes with `grades`, a number each) where the truth is one class.
    """
    judged = outcomes(logits, labels, temperature)
    raw = judged if temperature == 1 else outcomes(logits, labels)
    correct = judged.predicted == labels
    columns = {"accuracy": correct}
    if 1 < k < len(classes):
        columns[f"top_{k}_accuracy"] = judged.rank < k
    columns["log_loss"] = judged.log_loss
    columns["ece"] = calibration_gaps(judged.confidence, correct)
    columns["ece_uncalibrated"] = calibration_gaps(raw.confidence, correct)
    calibration = {"ece": _absolute_sum, "ece_uncalibrated": _absolute_sum}
    means = resample(columns, seed, calibration, biased=frozenset(calibration))
    statistics = {"macro_f1": _macro_f1, **_agreement(labels, grades)}
    agreement = resample_confusion(labels, judged.predicted, len(classes), seed, statistics)
    found = {"accuracy": means["accuracy"], **agreement}
    if len(classes) == 2 and _varied(labels):
        found["auc"] = resample_auc(logits[:, 1].astype(np.float64) - logits[:, 0], labels == 1, seed)
    found |= means
    confusion = confusion_matrix(labels, judged.predicted, len(classes))
    breakdowns = {
        "per_class": per_class(confusion, classes),
        "confusion_matrix": {"labels": list(classes), "counts": confusion.tolist()},
        "calibration": {"temperature": temperature},
    }
    scores = {name: one.interval for name, one in found.items()}
    return Scores("accuracy", scores, breakdowns, drawn_of(found))


def _agreement(labels: np.ndarray, grades: Sequence[float] | None) -> dict[str, Callable[[Cells], float]]:
    """The scores of a confusion matrix that ask for two classes in the truth."""
    if not _varied(labels):
        return {}
    if grades is None:
        return {"mcc": matthews}
    return {"mcc": matthews, "quadratic_kappa": partial(quadratic_kappa, grades=np.asarray(grades, np.float64))}


def _varied(labels: np.ndarray) -> bool:
    return bool((labels != labels[0]).any())


def _absolute_sum(means: np.ndarray) -> np.ndarray:
    total: np.ndarray = np.abs(means).sum(axis=1)
    return total
