"""A language model of the training transcripts: n-grams of characters or words, each mixed with its shorter ones as
often as its context was followed by something new (Witten and Bell, 1991). Imports no TensorFlow.

As an asset it is the counts of the longest n-grams; those of shorter ones follow from them.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

EDGE = 0
"""What stands before a transcript and behind it."""
UNKNOWN = -1
"""A word that training does not have."""
_MOST = 2_000_000
"""N-grams that are kept: those that are seen most often."""


def counted(rows: Iterable[Sequence[int]], order: int, size: int) -> dict[str, Any]:
    """The asset of transcripts in numbers, from 1 to size - 1.

    Args:
        rows: the transcripts.
        order: the n of the n-grams.
        size: how many numbers there are, EDGE among them.
    """
    times: Counter[tuple[int, ...]] = Counter()
    for row in rows:
        padded = [EDGE] * (order - 1) + [*row, EDGE]
        times.update(tuple(padded[place : place + order]) for place in range(len(padded) - order + 1))
    kept = sorted(times.items(), key=lambda pair: (-pair[1], pair[0]))[:_MOST]
    kept.sort()
    return {
        "order": order,
        "size": size,
        "ngrams": [number for ngram, _ in kept for number in ngram],
        "counts": [count for _, count in kept],
    }


class NGrams:
    """The model of an asset."""

    def __init__(self, asset: dict[str, Any]) -> None:
        self.order, self._size = int(asset["order"]), int(asset["size"])
        self.first = (EDGE,) * (self.order - 1)
        """The context that a transcript begins in."""
        self._followers: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        self._known: dict[tuple[tuple[int, ...], int], float] = {}
        ngrams = np.array(asset["ngrams"], np.int64).reshape(-1, self.order).tolist()
        for ngram, count in zip(ngrams, asset["counts"], strict=True):
            *context, last = ngram
            for start in range(self.order):
                self._followers[tuple(context[start:])][last] += count
        self._totals = {context: (sum(one.values()), len(one)) for context, one in self._followers.items()}

    def log_probability(self, context: tuple[int, ...], number: int) -> float:
        """Of a number, or EDGE for the end, behind the order - 1 numbers before it."""
        key = (context, number)
        if key not in self._known:
            self._known[key] = math.log(self._probability(context, number))
        return self._known[key]

    def after(self, context: tuple[int, ...], number: int) -> tuple[int, ...]:
        """The context that comes next."""
        return (*context, number)[1:] if self.order > 1 else ()

    def _probability(self, context: tuple[int, ...], number: int) -> float:
        # The shortest is mixed with all numbers alike, and one that is unknown.
        shorter = self._probability(context[1:], number) if context else 1.0 / (self._size + 1)
        if context not in self._totals:
            return shorter
        total, kinds = self._totals[context]
        return (self._followers[context][number] + kinds * shorter) / (total + kinds)
