"""The places of items among all others, by their scores; a block of items at a time, so that memory does not grow with
their number. keras.ops only."""

from collections.abc import Callable
from typing import Any

import keras

BLOCK = 1 << 14
"""Items whose scores are held at once."""


def places(score: Callable[[Any], Any], count: int, asked: Any, seen: Any) -> Any:
    """float32 [rows, P], from 0: how many items score higher than each that is asked for, equal ones counting by half.

    Args:
        score: a number of the first item -> float32 [rows, BLOCK or count], the scores of it and those behind it.
        count: of all items.
        asked: int32 [rows, P], -1 where there is none.
        seen: int32 [rows, S], likewise: items that do not count.
    """
    if count <= BLOCK:
        scores = score(0)
        own, others = (keras.ops.take_along_axis(scores, keras.ops.maximum(one, 0), axis=1) for one in (asked, seen))
        higher = _above(scores, own, keras.ops.ones_like(scores[:1]))
    else:
        own, others = _own(score, count, (asked, seen))
        higher = _in_blocks(score, count, own)
    return higher - 0.5 - _above(others, own, keras.ops.cast(seen >= 0, "float32"))


def _own(score: Callable[[Any], Any], count: int, wanted: tuple[Any, ...]) -> Any:
    """Of items int32 [rows, any] their scores float32, taken from the blocks' own, so that equals stay equal."""

    def take(block: Any, found: Any) -> Any:
        first = _first(block, count)
        scores = score(first)
        each = []
        for items, values in zip(wanted, found, strict=True):
            place = items - first
            there = keras.ops.logical_and(place >= 0, place < BLOCK)
            taken = keras.ops.take_along_axis(scores, keras.ops.clip(place, 0, BLOCK - 1), axis=1)
            each.append(keras.ops.where(there, taken, values))
        return tuple(each)

    nothing = tuple(keras.ops.zeros_like(items, "float32") for items in wanted)
    return keras.ops.fori_loop(0, -(-count // BLOCK), take, nothing)


def _in_blocks(score: Callable[[Any], Any], count: int, own: Any) -> Any:
    """As _above, of all items."""

    def add(block: Any, total: Any) -> Any:
        first = _first(block, count)
        # The last block begins where it is full; what the one before it held is not counted again.
        fresh = keras.ops.cast(first + keras.ops.arange(BLOCK) >= block * BLOCK, "float32")
        return total + _above(score(first), own, fresh[None])

    return keras.ops.fori_loop(0, -(-count // BLOCK), add, keras.ops.zeros_like(own))


def _first(block: Any, count: int) -> Any:
    return keras.ops.minimum(block * BLOCK, count - BLOCK)


def _above(scores: Any, own: Any, weights: Any) -> Any:
    """float32 [rows, P]: how many scores [rows, N], by their weights [rows or 1, N], lie above each of one's own
    [rows, P]; equal ones count by half."""
    signs = keras.ops.sign(keras.ops.expand_dims(scores, 1) - keras.ops.expand_dims(own, 2))
    total = keras.ops.matmul(signs, keras.ops.expand_dims(weights, 2))[..., 0]
    return 0.5 * (total + keras.ops.sum(weights, axis=1, keepdims=True))
