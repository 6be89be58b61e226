"""Resamples of what follows in time: blocks of neighbours drawn together, so that what they share stays together."""

import math
from collections.abc import Iterator

import numpy as np

from pipelines.scoring.intervals import WEIGHTS


def block_length(places: int, overlapping: int) -> int:
    """How many neighbouring places a block takes: as many as overlap, and no fewer than the cube root of all, at which
    the variance is estimated best where they depend on each other further (Künsch, 1989)."""
    return min(max(overlapping, round(math.cbrt(places)), 1), places)


def block_weights(generator: np.random.Generator, resamples: int, places: int, block: int) -> np.ndarray:
    """How often each place is drawn: float64 [resamples, places], `places` draws in each row.

    Overlapping blocks drawn with replacement (the moving-block bootstrap: Künsch, 1989, "The jackknife and the
    bootstrap for general stationary observations"), the last one cut so that the count fits. They go on from the last
    place to the first (Politis and Romano, 1992), so that the places at the ends are drawn as often as all others.
    """
    lengths = np.full(-(-places // block), block)
    lengths[-1] = places - block * (len(lengths) - 1)
    starts = generator.integers(0, places, size=(resamples, len(lengths)))
    rows = np.arange(resamples)[:, None] * (2 * places + 1)
    size = resamples * (2 * places + 1)
    begun = np.bincount((rows + starts).ravel(), minlength=size)
    ended = np.bincount((rows + starts + lengths).ravel(), minlength=size)
    drawn = np.cumsum((begun - ended).reshape(resamples, -1), axis=1)
    weights: np.ndarray = (drawn[:, :places] + drawn[:, places : 2 * places]).astype(np.float64)
    return weights


def resampled_blocks(where: np.ndarray, block: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each example is drawn, a part of the resamples at a time: [part, examples].

    Args:
        where: int64 [examples], the place in time of each, from 0; those of one place are drawn together.
        block: places of a block.
        resamples: how many in all.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    part = max(1, WEIGHTS // max(len(where), 1))
    for start in range(0, resamples, part):
        count = min(part, resamples - start)
        yield block_weights(generator, count, int(where.max()) + 1, block)[:, where]
