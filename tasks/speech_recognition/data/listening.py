"""What is found out about a clip by listening to all of it, once."""

import hashlib

import numpy as np

from pipelines.audio.files import FULL, Opened, mixed
from pipelines.sources.scan import BadExample

FACTS = 4
FRAMES, RATE, CHANNELS, CLIPPED = range(FACTS)
"""Of each clip: frames at its own rate, that rate, its channels, samples that are at full scale next to another."""

_SILENT = 5e-4
"""-66 dB: what stays within it, about whichever level, is no speech, whatever was to be recorded."""


def listen(sound: Opened) -> tuple[int, tuple[int, ...]]:
    """(content hash, facts).

    Raises:
        BadExample: there is nothing to be heard, or no end of it.
    """
    digest = hashlib.blake2b(str(sound.rate).encode(), digest_size=8)
    frames = clipped = 0
    every, both = [], []
    for block in sound.blocks:
        one = mixed(block)
        digest.update(one.data)
        frames += len(block)
        if len(block):
            every += [block.min(axis=0), block.max(axis=0)]
            both += [one.min(), one.max()]
        clipped += _clipped(block)
    if not frames:
        raise BadExample("no-sound", "has a header and no sound behind it (0 samples): leave it out.")
    loudest = float(np.ptp(every, axis=0).max()) / 2
    if loudest < _SILENT:
        how = f"it is never louder than {20 * np.log10(loudest):.0f} dB" if loudest else "all its samples are alike"
        raise BadExample("silence", f"is silent ({how}): leave it out.")
    if np.ptp(both) / 2 < _SILENT:
        raise BadExample("silence", f"is silent once its {sound.channels} channels are mixed: turn one of them round.")
    return int.from_bytes(digest.digest(), "little"), (frames, sound.rate, sound.channels, clipped)


def _clipped(block: np.ndarray) -> int:
    """Samples at full scale whose neighbour is there too: one alone may be where somebody normalised the peak to."""
    full = np.abs(block) >= (FULL - 1.5) / FULL
    return int(np.count_nonzero(full[1:] & full[:-1]))
