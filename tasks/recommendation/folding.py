"""Users that training did not know, from what they took: a vector beside those that were learnt. NumPy and SciPy
only."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from tasks.recommendation.ranking import Ragged

_PENALTY = 0.01
"""Of the regression, in the mean variance of what a history sums up to."""


@dataclass(frozen=True)
class Folding:
    """From histories to vectors of users: what the items' vectors sum up to over the square root of their number, as
    SVD++ has it (Koren, 2008), mapped to the vectors of the users that were learnt by ridge regression, as attributes
    are for users without a history (Gantner et al., 2010).

    Every number is the exact solution of a small linear system: nothing is drawn or iterated.
    """

    items: np.ndarray
    """float64 [items, width]: the items' vectors."""
    slope: np.ndarray
    """float64 [width, width]."""
    offset: np.ndarray
    """float64 [width]."""

    @classmethod
    def fit(cls, users: np.ndarray, items: np.ndarray, taken: Ragged) -> "Folding":
        """From what was learnt.

        Args:
            users: [users, width], the vectors of those with training interactions.
            items: [items, width].
            taken: what each of these users took in training.
        """
        items, users = items.astype(np.float64), users.astype(np.float64)
        sums = _sums(items, taken)
        middle, mean = sums.mean(axis=0), users.mean(axis=0)
        apart = sums - middle
        scatter = apart.T @ apart
        scatter += _PENALTY * max(float(np.trace(scatter)) / len(scatter), 1e-12) * np.eye(len(scatter))
        slope = np.linalg.solve(scatter, apart.T @ (users - mean))
        return cls(items, slope, mean - middle @ slope)

    def vectors(self, histories: Ragged) -> np.ndarray:
        """float32 [rows, width]."""
        return np.asarray(_sums(self.items, histories) @ self.slope + self.offset, np.float32)


def _sums(items: np.ndarray, lists: Ragged) -> np.ndarray:
    """float64 [rows, width]: of each row's items, over the square root of their number; -1 is none."""
    codes, splits = lists
    known = codes >= 0
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(known)])[splits]
    rows, counts = len(splits) - 1, np.diff(ends)
    taken = csr_array((np.ones(int(ends[-1])), codes[known], ends), shape=(rows, len(items)))
    return np.asarray(taken @ items) / np.sqrt(np.maximum(counts, 1))[:, None]
