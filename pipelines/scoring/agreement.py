"""How well answers and truth agree beyond chance: Matthews' coefficient, quadratic kappa, the area under the ROC."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from pipelines.scoring.intervals import Resampled, resampled_weights, resamples_of


@dataclass(frozen=True)
class Cells:
    """A confusion matrix by the cells that hold anything; every array is [cells]."""

    true: np.ndarray
    predicted: np.ndarray
    counts: np.ndarray
    classes: int

    @classmethod
    def of(cls, confusion: np.ndarray) -> Self:
        """Those of counts [true class, predicted class]."""
        true, predicted = np.nonzero(confusion)
        return cls(true, predicted, confusion[true, predicted], len(confusion))

    def margins(self) -> tuple[np.ndarray, np.ndarray]:
        """How many examples are of each class, and how many were taken for it: float64 [classes]."""
        support, predicted = (np.bincount(of, self.counts, self.classes) for of in (self.true, self.predicted))
        return support, predicted


def resample_confusion(
    labels: np.ndarray,
    predicted: np.ndarray,
    classes: int,
    seed: int,
    statistics: Mapping[str, Callable[[Cells], float]],
) -> dict[str, Resampled]:
    """Scores of a confusion matrix, all from the same 1,000 resamples of the examples; of very many, from fewer.

    Args:
        labels: int64 [examples], the true class of each.
        predicted: int64 [examples], what each was taken for.
        classes: how many there are.
        seed: of the resamples.
        statistics: of a confusion matrix, NaN where it is not defined.
    """
    occurring, cell = np.unique(labels.astype(np.int64) * classes + predicted, return_inverse=True)
    cells = Cells(occurring // classes, occurring % classes, np.bincount(cell.ravel()), classes)
    order = np.argsort(cell, axis=None, kind="stable")
    starts = np.cumsum(cells.counts) - cells.counts
    drawn: dict[str, list[float]] = {name: [] for name in statistics}
    for weights in resampled_weights(len(labels), resamples_of(len(labels)), seed):
        for counts in np.add.reduceat(weights[:, order], starts, axis=1):
            there = replace(cells, counts=counts)
            for name, statistic in statistics.items():
                drawn[name].append(statistic(there))
    return {
        name: Resampled(statistic(cells), np.array(drawn[name]), len(labels)) for name, statistic in statistics.items()
    }


def matthews(cells: Cells) -> float:
    """Matthews' correlation coefficient, of any number of classes (Gorodkin, 2004); 0 where all was taken for one
    class, NaN where all is of one."""
    support, predicted = cells.margins()
    total, hits = support.sum(), cells.counts[cells.true == cells.predicted].sum()
    spread, guessed = total**2 - (support**2).sum(), total**2 - (predicted**2).sum()
    if not spread:
        return float("nan")
    return float((hits * total - support @ predicted) / np.sqrt(spread * guessed)) if guessed else 0.0


def quadratic_kappa(cells: Cells, grades: np.ndarray) -> float:
    """Cohen's kappa with the squared difference of grades, float64 [classes], as weight (Cohen, 1968); NaN where truth
    and answers are one and the same grade. For grades that are evenly spaced it is scikit-learn's."""
    if not np.ptp(grades[np.concatenate([part[cells.counts > 0] for part in (cells.true, cells.predicted)])]):
        return float("nan")
    support, predicted = cells.margins()
    total = support.sum()
    observed = (cells.counts * (grades[cells.true] - grades[cells.predicted]) ** 2).sum() / total
    # The mean of (a - b)^2 over all pairs, without a table of classes by classes.
    middle = grades.mean()
    means = [(part @ (grades - middle) / total, part @ (grades - middle) ** 2 / total) for part in (support, predicted)]
    expected = means[0][1] + means[1][1] - 2 * means[0][0] * means[1][0]
    return float(1 - observed / expected)


def auc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """The area under the ROC curve: how often a positive example scores higher than another, ties counting half.

    Args:
        scores: [examples].
        positive: bool [examples].
        weights: how often each resample draws each example, [resamples, examples]; by default one with all once.

    Returns: float64 [resamples], NaN where all examples are of one class.
    """
    weights = np.ones((1, len(scores))) if weights is None else weights
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.nan) != 0)
    up, down = (_runs(weights, order, mask, starts) for mask in (positive, ~positive))
    below = np.cumsum(down, axis=1) - down / 2
    pairs = up.sum(axis=1) * down.sum(axis=1)
    found: np.ndarray = np.where(pairs > 0, (up * below).sum(axis=1) / np.maximum(pairs, 1), np.nan)
    return found


def _runs(weights: np.ndarray, order: np.ndarray, mask: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The weight of each run of equal scores: [resamples, runs]."""
    summed: np.ndarray = np.add.reduceat(weights[:, order] * mask[order], starts, axis=1)
    return summed


def resample_auc(scores: np.ndarray, positive: np.ndarray, seed: int) -> Resampled:
    """The area under the ROC curve, from 1,000 resamples; down to 200 where ranking them is too much."""
    resamples = resamples_of(len(scores))
    drawn = [auc(scores, positive, weights) for weights in resampled_weights(len(scores), resamples, seed)]
    return Resampled(float(auc(scores, positive)[0]), np.concatenate(drawn), len(scores))
