"""What is found out about a clip by listening to all of it, once."""

import hashlib

import numpy as np

from pipelines.audio.files import FULL, Opened, mixed
from pipelines.sources.scan import BadExample

FACTS = 4
FRAMES, RATE, CHANNELS, CLIPPED = range(FACTS)
"""Of each clip: frames at its own rate, that rate, its channels, samples that are at full scale next to another."""

_SILENT = 5e-4
"""-66 dB: a loudest sample that is below it is no speech, whatever was to be recorded."""


def listen(sound: Opened) -> tuple[int, tuple[int, ...]]:
    """(content hash, facts).

    Raises:
        BadExample: there is nothing to be heard, or no end of it.
    """
    digest = hashlib.blake2b(str(sound.rate).encode(), digest_size=8)
    frames = clipped = 0
    peak = left = 0.0
    for block in sound.blocks:
        one = mixed(block)
        digest.update(one.data)
        frames += len(block)
        peak, left = max(peak, float(np.abs(block).max(initial=0))), max(left, float(np.abs(one).max(initial=0)))
        clipped += _clipped(block)
    if not frames:
        raise BadExample("no-sound", "has a header and no sound behind it (0 samples): leave it out.")
    if peak < _SILENT:
        loudest = "there is nothing but zeros" if not peak else f"its loudest sample is at {20 * np.log10(peak):.0f} dB"
        raise BadExample("silence", f"is silent ({loudest}): leave it out.")
    if left < _SILENT:
        raise BadExample("silence", f"is silent once its {sound.channels} channels are mixed: turn one of them round.")
    return int.from_bytes(digest.digest(), "little"), (frames, sound.rate, sound.channels, clipped)


def _clipped(block: np.ndarray) -> int:
    """Samples at full scale whose neighbour is there too: one alone may be where somebody normalised the peak to."""
    full = np.abs(block) >= (FULL - 1.5) / FULL
    return int(np.count_nonzero(full[1:] & full[:-1]))
