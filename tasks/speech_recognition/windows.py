"""Long sound in overlapping windows: of each what lies nearest to its middle counts, so that no seam is heard. Imports
no TensorFlow."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Window:
    """A stretch of a recording, and what of it counts."""

    samples: np.ndarray
    """int16."""
    first: int
    """The sample in it that it counts from."""
    last: int | None
    """The one up to which it counts; None: its end, which is the recording's."""


def windows(blocks: Iterable[np.ndarray], size: int, overlap: int) -> Iterator[Window]:
    """The windows of a recording that comes in blocks, int16 [any]; one of no samples where there is no sound.

    No more than a window and a block are held.

    Args:
        blocks: the sound, in order.
        size: samples of a window.
        overlap: samples that two windows have in common; even, and less than half of size.
    """
    held, first = np.zeros(0, np.int16), 0
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) > size:
            yield Window(held[:size], first, size - overlap // 2)
            held, first = held[size - overlap :], overlap // 2
    yield Window(held, first, None)
