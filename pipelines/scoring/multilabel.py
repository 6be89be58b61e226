"""Scores where an input may have any number of labels, from a logit for each and the true labels."""

from collections.abc import Sequence

import numpy as np

from pipelines.scoring.classification import ratio
from pipelines.scoring.intervals import Resampled, drawn_of, resample, resampled_weights, resamples_of
from pipelines.task import Scores

UNTUNED = 0.5
"""The threshold of a class without a positive example to tune it on."""


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities float64 of the same shape, each label by itself."""
    probabilities: np.ndarray = np.exp(-np.logaddexp(0, -np.asarray(logits, np.float64)))
    return probabilities


def best_thresholds(probabilities: np.ndarray, truth: np.ndarray) -> list[float]:
    """For each class the threshold at which F1 is highest: halfway between the least probable answer that it takes in
    and the next below; of equals the highest. 0.5 for a class without a positive example.

    Args:
        probabilities: [examples, classes].
        truth: bool [examples, classes].
    """
    return [_best_threshold(column, true) for column, true in zip(probabilities.T, truth.T, strict=True)]


def _best_threshold(probabilities: np.ndarray, truth: np.ndarray) -> float:
    if not truth.any():
        return UNTUNED
    order, ends = _ranking(probabilities)
    taken = probabilities[order][ends]
    f1 = 2 * np.cumsum(truth[order])[ends] / (ends + 1 + truth.sum())
    best = int(f1.argmax())
    below = taken[best + 1] if best + 1 < len(taken) else 0.0
    return float((taken[best] + below) / 2)


def average_precision(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The area under the steps of precision over recall, as scikit-learn's average_precision_score: float64
    [resamples], NaN where no example is positive.

    Args:
        scores: [examples]; equal ones are one step.
        truth: bool [examples].
        weights: how often each resample draws each example, [resamples, examples].
    """
    order, ends = _ranking(scores)
    ranked = weights[:, order]
    everything = np.cumsum(ranked, axis=1)[:, ends]
    hits = np.cumsum(ranked * truth[order], axis=1)[:, ends]
    gained = np.diff(hits, axis=1, prepend=0)
    total = hits[:, -1]
    area = (gained * hits / np.maximum(everything, 1)).sum(axis=1)
    found: np.ndarray = np.where(total > 0, area / np.maximum(total, 1), np.nan)
    return found


def _ranking(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order from the highest score down, and the places in it where a run of equal scores ends."""
    order = np.argsort(-scores, kind="stable")
    return order, np.flatnonzero(np.diff(scores[order], append=np.nan) != 0)


def multilabel_scores(
    logits: np.ndarray, truth: np.ndarray, classes: Sequence[str], *, thresholds: Sequence[float], seed: int
) -> Scores:
    """Every score of logits [examples, classes] beside truth, bool [examples, classes]. Headline: map.

    map is the mean average precision of the classes that occur, left out where none does; micro F1 is over all labels,
    macro F1 the mean of the classes that occur, as truth or as answer; exact_match is the share of examples of which
    every label is right.
    """
    answers = sigmoid(logits) >= np.asarray(thresholds)
    hits, both = truth & answers, truth.astype(np.int8) + answers
    columns = {
        "micro_f1": np.stack([hits.sum(axis=1), both.sum(axis=1)], axis=1),
        "macro_f1": np.concatenate([hits, both], axis=1),
        "exact_match": (truth == answers).all(axis=1),
    }
    found = resample(columns, seed, {"micro_f1": _f1, "macro_f1": _f1})
    each = np.array(
        [average_precision(*one, np.ones((1, len(truth))))[0] for one in zip(logits.T, truth.T, strict=True)]
    )
    if truth.any():
        found = {"map": _resample_map(logits, truth, float(np.nanmean(each)), seed), **found}
    scores = {name: one.interval for name, one in found.items()}
    breakdowns = {"per_class": _per_class(truth, answers, each, classes, thresholds)}
    return Scores("map", scores, breakdowns, drawn_of(found))


def _f1(means: np.ndarray) -> np.ndarray:
    """Mean over the classes that occur, of columns hits then occurrences as truth and as answer: [resamples]."""
    hits, both = np.split(means, 2, axis=1)
    there = both > 0
    f1 = 2 * hits / np.where(there, both, 1)
    mean: np.ndarray = f1.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return mean


def _resample_map(logits: np.ndarray, truth: np.ndarray, value: float, seed: int) -> Resampled:
    """Mean average precision, from 1,000 resamples; down to 200 where ranking them is too much."""
    examples, classes = truth.shape
    occurring = np.flatnonzero(truth.any(axis=0))
    replicates = []
    for weights in resampled_weights(examples, resamples_of(examples * classes), seed):
        areas = [average_precision(logits[:, one], truth[:, one], weights) for one in occurring]
        total, count = np.nansum(areas, axis=0), np.isfinite(areas).sum(axis=0)
        replicates.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
    return Resampled(value, np.concatenate(replicates), examples)


def _per_class(
    truth: np.ndarray, answers: np.ndarray, areas: np.ndarray, classes: Sequence[str], thresholds: Sequence[float]
) -> dict[str, dict[str, float | int | None]]:
    """Of each class; None where there is nothing to divide by."""
    hits, support, answered = (part.sum(axis=0) for part in (truth & answers, truth, answers))
    return {
        name: {
            "average_precision": float(areas[place]) if support[place] else None,
            "precision": ratio(hits[place], answered[place]),
            "recall": ratio(hits[place], support[place]),
            "f1": ratio(2 * hits[place], support[place] + answered[place]),
            "support": int(support[place]),
            "threshold": float(thresholds[place]),
        }
        for place, name in enumerate(classes)
    }
