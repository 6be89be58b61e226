"""Long sound in windows: overlapping ones, of which what lies nearest to the middle counts, so that no seam is heard;
or such as end where it is quiet. Imports no TensorFlow."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

_PAUSE = 10
"""Frames: a fifth of a second."""


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


def between_pauses(blocks: Iterable[np.ndarray], size: int, reach: int, frame: int) -> Iterator[Window]:
    """The same without overlap: each window but the last ends at the quietest place of its last `reach` samples, and
    all of it counts. What writes whole sentences cannot say which word lies where, so that nothing is to be heard
    twice; where nobody pauses for so long, a word is cut.

    Args:
        blocks: the sound, in order.
        size: samples of a window at most.
        reach: samples; less than size.
        frame: samples over which loudness is taken, and that a place is a multiple of.
    """
    held = np.zeros(0, np.int16)
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) > size:
            end = size - reach + _quietest(held[size - reach : size], frame)
            yield Window(held[:end], 0, None)
            held = held[end:]
    yield Window(held, 0, None)


def _quietest(samples: np.ndarray, frame: int) -> int:
    """The middle of the quietest stretch of _PAUSE frames; of equally quiet ones the last."""
    frames = len(samples) // frame
    power = np.square(samples[: frames * frame].astype(np.float64)).reshape(frames, frame).sum(axis=1)
    many = min(_PAUSE, frames)
    around = np.convolve(power, np.ones(many), "valid")
    first = len(around) - 1 - int(np.argmin(around[::-1]))
    return max((first + many // 2) * frame, 1)
