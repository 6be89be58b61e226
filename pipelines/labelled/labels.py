"""The labels of many images, as numbers into names: one each, int32 [n] with -1 for none; or any number each, bool
[n, names]."""

from collections.abc import Sequence

import numpy as np


def missing(labels: np.ndarray) -> np.ndarray:
    """Rows that lack the one label they must have; none where images may have no label."""
    return np.flatnonzero(labels < 0) if labels.ndim == 1 else np.zeros(0, np.int64)


def counts(labels: np.ndarray, classes: int) -> np.ndarray:
    """int64 [classes]: the images of each class."""
    if labels.ndim == 2:
        return np.asarray(labels.sum(axis=0, dtype=np.int64))
    return np.bincount(labels, minlength=classes)


def renumbered(labels: np.ndarray, names: Sequence[str], classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The same labels as numbers into classes; and bool [n], where a label is none of them (or missing)."""
    places = {name: place for place, name in enumerate(classes)}
    place = np.array([places.get(name, -1) for name in names] + [-1], np.int32)
    if labels.ndim == 1:
        known: np.ndarray = place[labels]
        return known, known < 0
    found = np.zeros((len(labels), len(classes)), bool)
    there = place[:-1] >= 0
    found[:, place[:-1][there]] = labels[:, there]
    return found, np.asarray(labels[:, ~there].any(axis=1))


def strata(labels: np.ndarray) -> np.ndarray:
    """int64 [n]: what a split keeps in proportion: the label; of several the rarest, so that rare ones reach every
    split (the first step of Sechidis et al., 2011). Images of no label are a stratum too."""
    if labels.ndim == 1:
        return labels.astype(np.int64)
    rank = np.empty(labels.shape[1], np.int64)
    rank[np.argsort(counts(labels, labels.shape[1]), kind="stable")] = np.arange(labels.shape[1])
    return np.asarray(np.where(labels, rank, labels.shape[1]).min(axis=1, initial=labels.shape[1]))


def codes(labels: np.ndarray) -> np.ndarray:
    """int64 [n]: the same for the same labels."""
    if labels.ndim == 1:
        return labels.astype(np.int64)
    return np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)
