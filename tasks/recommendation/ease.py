"""EASE, a linear model of items by items in closed form, which many deep ones do not reach."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from pipelines.task import Raw
from tasks.recommendation.judging import Judged
from tasks.recommendation.neighbours import histories

MOST_ITEMS = 20_000
"""Of more, the dense matrix takes more than 1.6 GB and its inverse minutes."""
_PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_TRIED_ITEMS = 4_000
"""Items up to which all penalties are tried: of more, each takes long."""
_USUAL_PENALTY = 300.0
_COLUMNS = 512


@dataclass(frozen=True)
class Ease:
    """Each item's score is a weighted sum of what a user took, the weights those of a ridge regression in which no item
    explains itself (Steck, 2019): B = I - P / diag(P), P the inverse of X'X + penalty I."""

    weights: np.ndarray
    """float32 [items, items], 0 on the diagonal."""
    counts: np.ndarray
    """float32 [items]: how many took each."""
    penalty: float

    @classmethod
    def fit(cls, taken: Any, penalty: float) -> Self:
        """From who took what, csr_array [users, items] of ones, no more than MOST_ITEMS."""
        items = taken.shape[1]
        products = np.empty((items, items), np.float32, order="F")
        columns = taken.T.tocsr()
        for start in range(0, items, _COLUMNS):
            part = slice(start, start + _COLUMNS)
            # The matrix is its own transpose, and whole columns are what lies together.
            products[:, part] = (columns[part] @ taken).toarray().T
        counts = products.diagonal().copy()
        products[np.diag_indices(items)] += np.float32(penalty)
        inverse = _inverse(products)
        inverse /= -inverse.diagonal()[None]
        inverse[np.diag_indices(items)] = 0
        return cls(inverse, counts, penalty)

    def scores(self, raw: Raw) -> np.ndarray:
        """float32 [rows, items] of users' histories; of those without one, how many took each item."""
        found = np.asarray(histories(raw, len(self.counts)) @ self.weights, np.float32)
        found[np.diff(raw["history_splits"]) == 0] = self.counts
        return found


def best_penalty(taken: Any, judged: Judged) -> tuple[float, bool]:
    """The penalty that does best on validation, and True; where items are many a usual one, and False."""
    if taken.shape[1] > _TRIED_ITEMS:
        return _USUAL_PENALTY, False
    return judged.best(_PENALTIES, lambda penalty: Ease.fit(taken, penalty).scores), True


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """Of a symmetric positive definite one, in its place: by Cholesky's decomposition, a third of the work of a general
    inverse."""
    from scipy.linalg.lapack import spotrf, spotri

    factor, failed = spotrf(matrix, lower=0, overwrite_a=1, clean=0)
    if failed:
        raise FloatingPointError("X'X and the penalty are not positive definite")
    inverse, failed = spotri(factor, lower=0, overwrite_c=1)
    if failed:
        raise FloatingPointError("X'X and the penalty have no inverse")
    for start in range(0, len(inverse), _COLUMNS):
        stop = min(start + _COLUMNS, len(inverse))
        # Only the upper triangle was written.
        inverse[start:stop, :start] = inverse[:start, start:stop].T
        corner = inverse[start:stop, start:stop]
        inverse[start:stop, start:stop] = np.triu(corner) + np.triu(corner, 1).T
    # Whole rows together, as what is multiplied with it wants them: it is its own transpose.
    return np.asarray(inverse).T
