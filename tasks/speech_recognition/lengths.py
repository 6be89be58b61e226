"""How long clips are, in samples, frames and the network's answers, and in which shapes. Imports no TensorFlow."""

import math

import numpy as np

from pipelines.task import Batching
from tasks.speech_recognition.config import PRESET, Config

_SECONDS = (
    1.0,
    1.5,
    2.0,
    2.5,
    3.0,
    3.5,
    4.0,
    5.0,
    6.0,
    8.0,
    10.0,
    12.0,
    16.0,
    20.0,
    25.0,
    30.0,
    45.0,
    60.0,
    120.0,
    300.0,
)
"""Each is a shape that costs a trace or a compilation. Alone a clip is padded by a third at most, if not very short."""
_LABELS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1_024)
"""Lengths that transcripts are padded to; beyond, their doubles."""


def window_and_hop(config: Config, rate: int) -> tuple[int, int]:
    """Samples that a frame looks at, and from frame to frame."""
    return round(config.window_ms * rate / 1_000), round(config.hop_ms * rate / 1_000)


def bounds(config: Config, rate: int, longest: float | None = None) -> tuple[int, ...]:
    """The lengths that clips are padded to, in samples, ascending, each a multiple of what one answer takes; the last
    holds `longest` seconds, by default the longest that training stretches a clip to."""
    step = window_and_hop(config, rate)[1] * config.subsampling
    if longest is None:
        # Presets take no more: there a long clip is slowed down as far as it fits.
        longest = config.max_seconds if config.backbone == PRESET else config.max_seconds / (1 - config.speed)
    seconds = [*[one for one in _SECONDS if one < longest], longest]
    return tuple(dict.fromkeys(math.ceil(one * rate / step) * step for one in seconds))


def label_bounds(config: Config, rate: int) -> tuple[int, ...]:
    """The lengths that transcripts are padded to; the last holds as many labels as the longest clip has answers."""
    most = int(answers(bounds(config, rate)[-1], config, rate))
    lengths = list(_LABELS)
    while lengths[-1] < most:
        lengths.append(2 * lengths[-1])
    return tuple(lengths)


def frames(samples: np.ndarray | int, config: Config, rate: int) -> np.ndarray:
    """int [...]: frames of the spectrogram of so many samples."""
    return -(-np.asarray(samples) // window_and_hop(config, rate)[1])


def answers(samples: np.ndarray | int, config: Config, rate: int) -> np.ndarray:
    """int [...]: answers that the network gives of so many samples."""
    return np.asarray(-(-frames(samples, config, rate) // config.subsampling))


def batching(config: Config) -> Batching:
    """A bucket for each length that clips are padded to; sizes are told in samples of config.rate."""
    rate = config.rate
    assert rate is not None, "resolve fills it in"
    limits = bounds(config, rate, config.max_seconds)
    return Batching(
        cost=lambda sizes: sizes[:, 0],
        bounds=limits[:-1],
        batch_sizes=tuple(_batch_size(config, limit / rate) for limit in limits),
        partners=config.joined > 0,
    )


def _batch_size(config: Config, seconds: float) -> int:
    """Of clips of so many seconds: a multiple of 8 where it can be, which devices share equally, and of the parts that
    it is computed in."""
    if config.seconds_per_batch is None:
        return config.batch_size
    many = int(config.seconds_per_batch // seconds)
    part = config.accumulate * (8 if many >= 8 * config.accumulate else 1)
    return max(many // part, 1) * part
