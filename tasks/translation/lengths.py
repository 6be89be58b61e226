"""How many pieces of a sentence the model sees, and in which shapes. Imports no TensorFlow."""

import numpy as np

from pipelines.task import Assets, Batching
from tasks.translation.config import Config

_LENGTHS = (8, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1_024)
"""Each is a shape that costs a trace or a compilation; a data set fills some eight. Sentences are padded by a half at
most."""

FEW = 10
"""Pieces that the translation of the shortest text may have; of n pieces length_factor * n more."""


def bounds(config: Config) -> tuple[int, ...]:
    """The lengths that pairs are padded to, in pieces, by the longer side, ascending; the last is max_tokens."""
    return (*[length for length in _LENGTHS if length < config.max_tokens], config.max_tokens)


def fitting(sizes: np.ndarray, config: Config) -> np.ndarray:
    """bool [n]: pairs of which the model sees all; sizes int32 [n, 2] as the store has them."""
    return np.asarray((sizes <= config.max_tokens).all(axis=1))


def longest_source(config: Config, assets: Assets, beside: int = 1) -> int:
    """Pieces of the longest source that is translated at once, without the marks beside it."""
    return min(int(assets["longest"]) - 1, config.max_tokens - beside)


def batching(config: Config) -> Batching:
    """A bucket for each length that pairs are padded to."""
    limits = bounds(config)
    return Batching(
        cost=lambda sizes: sizes.max(axis=1),
        bounds=limits[:-1],
        batch_sizes=tuple(_batch_size(config, limit) for limit in limits),
    )


def padding(sizes: np.ndarray, config: Config) -> float:
    """The share of an epoch's places, of source and target alike, that hold no piece: int32 [n, 2]. Rows that only fill
    a last batch are not counted."""
    limits = np.array(bounds(config))
    seen = np.minimum(sizes, config.max_tokens)
    places = 2 * limits[np.searchsorted(limits, seen.max(axis=1))]
    return 1 - float(seen.sum()) / max(float(places.sum()), 1.0)


def _batch_size(config: Config, pieces: int) -> int:
    """Of pairs of so many places a side: a multiple of 8 where it can be, which devices share equally, and of the parts
    that it is computed in."""
    if config.tokens_per_batch is None:
        return config.batch_size
    many = config.tokens_per_batch // pieces
    part = config.accumulate * (8 if many >= 8 * config.accumulate else 1)
    return max(many // part, 1) * part
