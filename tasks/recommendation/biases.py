"""Ratings from the mean and what is special to each user and item alone."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from pipelines.task import Raw

_ROUNDS = 15
"""Of alternating; ML-100k does not move by 1e-4 after ten."""


@dataclass(frozen=True)
class Biases:
    """rating = mean + user + item, with a penalty on both (Koren, 2010: "Factor in the neighbors")."""

    mean: float
    user: np.ndarray
    """float64 [users]."""
    item: np.ndarray
    """float64 [items]."""
    low: float
    high: float
    penalty: float

    @classmethod
    def fit(cls, train: Raw, users: int, items: int, penalty: float) -> Self:
        """Least squares with `penalty` times the squared biases, by alternating between users and items: each bias is
        the sum of what is left of its ratings over their number plus the penalty."""
        user, item, rating = train["user"], train["item"], train["rating"].astype(np.float64)
        mean = float(rating.mean())
        of_user, of_item = np.zeros(users), np.zeros(items)
        per_user, per_item = np.bincount(user, minlength=users), np.bincount(item, minlength=items)
        for _ in range(_ROUNDS if np.isfinite(penalty) else 0):
            left = rating - mean - of_user[user]
            of_item = np.bincount(item, left, items) / (per_item + penalty)
            left = rating - mean - of_item[item]
            of_user = np.bincount(user, left, users) / (per_user + penalty)
        return cls(mean, of_user, of_item, float(rating.min()), float(rating.max()), penalty)

    def ratings(self, raw: Raw) -> np.ndarray:
        """float32 [rows], no lower and no higher than any rating in training; users and items below 0 have no bias."""
        user = np.where(raw["user"] >= 0, self.user[raw["user"]], 0)
        item = np.where(raw["item"] >= 0, self.item[raw["item"]], 0)
        return np.clip(self.mean + user + item, self.low, self.high).astype(np.float32)
