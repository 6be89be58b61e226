"""Sound files, a block at a time: whatever libsndfile reads, mixed down to one channel and resampled by soxr."""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import soundfile
import soxr

from pipelines.sources.scan import BadExample

EXTENSIONS = (".wav", ".flac", ".ogg", ".opus", ".oga", ".mp3", ".aiff", ".aif", ".au", ".w64", ".caf", ".sph")
"""Of files that are taken for sound where a folder is looked through."""
FULL = 32_768
"""What 1 is as an int16."""

_BLOCK_SECONDS = 10
_UNSCALED = 8.0
"""A sample above it is no fraction of full scale, however hot the recording."""
_RATES = (1_000, 768_000)
"""What anything records at."""
_PROMISED = re.compile(r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
"""What libsndfile notes of a file that ends before its header says: WAV, AIFF, AU, W64, RF64."""
_NO_END = "lacks an end-of-stream bit"
"""And of an Ogg file without the mark at its end."""
_GOES_ON = "Junk after the last page"
"""Of an Ogg file of several streams one behind the other, of which it reads the first; or with anything behind it."""
_ENDLESS = 2**63 - 1
"""Frames that libsndfile gives a file whose header says none."""
_UNKNOWN_LENGTH = 0x7FFF_0000
"""And more: what a program writes into the header that does not know yet."""


@dataclass(frozen=True)
class Stretch:
    """A sound file, or what is cut out of one."""

    file: bytes
    """Its path."""
    start: float = 0.0
    """Seconds."""
    seconds: float | None = None
    """None: to the end."""


@dataclass(frozen=True)
class Opened:
    """A sound whose header is read."""

    rate: int
    channels: int
    frames: int
    """That the header promises."""
    blocks: Iterator[np.ndarray]
    """float32 [frames, channels], about -1 to 1, one after the other; BadExample where it breaks off, or is of another
    scale."""


@contextmanager
def opened(stretch: Stretch) -> Iterator[Opened]:
    """A sound file, opened.

    Raises:
        BadExample: there is none, or it is empty, damaged or of a format that is not read; or the stretch lies beyond
            its end.
    """
    _check(stretch.file)
    with _opening(stretch.file) as sound:
        whole = sound.frames
        first = _frames(stretch.start, sound.samplerate)
        last = whole if stretch.seconds is None else first + _frames(stretch.seconds, sound.samplerate)
        if first and first >= whole or last > whole + 0.05 * sound.samplerate:
            raise BadExample(
                "beyond-end",
                f"is {whole / sound.samplerate:.2f} s long, and the clip is to be {first / sound.samplerate:.2f} to "
                f"{last / sound.samplerate:.2f} s of it: mend the row.",
            )
        if stretch.seconds is not None and last <= first:
            raise BadExample("no-sound", f"is to give a clip of {stretch.seconds:g} s: mend the row.")
        last = min(last, whole)
        yield Opened(sound.samplerate, sound.channels, last - first, _blocks(sound, first, last))


def _frames(seconds: float, rate: int) -> int:
    """Of so many seconds, also of a number that somebody's table has and that no sound lasts."""
    return round(min(seconds * rate, _ENDLESS))


@contextmanager
def opened_bytes(data: bytes) -> Iterator[Opened]:
    """A sound file that is in memory already. Raises BadExample."""
    if not data:
        raise BadExample("empty-file", "is empty (0 bytes).")
    with _opening(BytesIO(data)) as sound:
        yield Opened(sound.samplerate, sound.channels, sound.frames, _blocks(sound, 0, sound.frames))


@contextmanager
def opened_array(samples: np.ndarray, rate: int) -> Iterator[Opened]:
    """Sound that is decoded already: [frames, channels], fractions or whole numbers. These are of 16 bits, whatever
    their type, unless one is too large for that; then of 32."""
    sound = samples.astype(np.float32)
    if samples.dtype.kind in "iu":
        sound /= FULL if np.abs(sound).max(initial=0) <= FULL else 2.0**31
    yield Opened(rate, sound.shape[1], len(sound), map(_scaled, [sound]))


def resampled(sound: Opened, rate: int) -> Iterator[np.ndarray]:
    """int16 [samples], a block at a time: one channel, `rate` samples a second."""
    stream = None if sound.rate == rate else soxr.ResampleStream(sound.rate, rate, 1, "float32")
    for block in sound.blocks:
        one = mixed(block)
        yield _as_int16(one if stream is None else stream.resample_chunk(one))
    if stream is not None:
        yield _as_int16(stream.resample_chunk(np.zeros(0, np.float32), last=True))


def decoded(sound: Opened, rate: int) -> np.ndarray:
    """int16 [samples]: the whole of it."""
    return np.concatenate([np.zeros(0, np.int16), *resampled(sound, rate)])


def mixed(block: np.ndarray) -> np.ndarray:
    """float32 [frames]: the mean of all channels, [frames, channels]."""
    one: np.ndarray = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
    return np.ascontiguousarray(one)


def chunks(stretch: Stretch, rate: int, seconds: float) -> Iterator[np.ndarray]:
    """int16 [samples], `seconds` at a time and the last one shorter: a file of any length in little memory.

    Raises:
        BadExample: as `opened`, and where it breaks off or is of another scale.
    """
    size = max(round(seconds * rate), 1)
    with opened(stretch) as sound:
        yield from _rechunked(resampled(sound, rate), size)


def _rechunked(blocks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    held = np.zeros(0, np.int16)
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) >= size:
            yield held[:size]
            held = held[size:]
    if len(held):
        yield held


def _as_int16(samples: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = np.clip(np.rint(samples * FULL), -FULL, FULL - 1)
    return scaled.astype(np.int16)


def _check(path: bytes) -> None:
    """libsndfile's own words for these mislead."""
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise BadExample("missing-file", "does not exist.") from error
    except (OSError, ValueError) as error:
        raise BadExample("unreadable", f"cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if not stat.S_ISREG(status.st_mode):
        raise BadExample("unreadable", "is no file.")
    if not status.st_size:
        raise BadExample("empty-file", "is empty (0 bytes).")
    if not os.access(path, os.R_OK):
        raise BadExample("unreadable", "cannot be read: the permission is missing.")


class _SoundFile(soundfile.SoundFile):
    """FLAC that was written into a pipe does not say how long it is: such a file is read to its end, without jumps."""

    @property
    def endless(self) -> bool:
        """Whether `frames` says nothing."""
        return bool(self.frames == _ENDLESS)

    def seekable(self) -> bool:
        """See soundfile, which asks at each block."""
        return not self.endless and bool(super().seekable())


@contextmanager
def _opening(source: bytes | BytesIO) -> Iterator[_SoundFile]:
    """A path, or the bytes of a file."""
    try:
        sound = _SoundFile(source)
    except (soundfile.SoundFileError, TypeError) as error:  # the latter of a .raw, which says nothing of itself
        raise BadExample("undecodable", f"is no sound file, or a damaged one ({_reason(error)}).") from error
    with sound:
        if not _RATES[0] <= sound.samplerate <= _RATES[1]:
            raise BadExample("undecodable", f"has a damaged header ({sound.samplerate:,} samples a second).")
        promised = _PROMISED.search(sound.extra_info)
        if promised and int(promised[2]) < int(promised[1]) < _UNKNOWN_LENGTH:
            raise BadExample(
                "cut-short",
                f"is cut short: its header promises {int(promised[1]):,} bytes of sound and it holds "
                f"{int(promised[2]):,}: fetch it again.",
            )
        if _NO_END in sound.extra_info:
            raise BadExample(
                "cut-short", "is cut short: the mark at the end of an Ogg file is missing: fetch it again."
            )
        if _GOES_ON in sound.extra_info:
            raise BadExample(
                "goes-on",
                "goes on behind its first Ogg stream, which alone can be read: make it one stream (ffmpeg -i IN OUT).",
            )
        yield sound


def _blocks(sound: _SoundFile, first: int, last: int) -> Iterator[np.ndarray]:
    """float32 [frames, channels], from frame `first` up to `last`."""
    try:
        _skip(sound, first)
        while first < last:
            wanted = min(last - first, _BLOCK_SECONDS * sound.samplerate)
            block = sound.read(wanted, dtype="float32", always_2d=True)
            if not np.isfinite(block).all():
                raise BadExample("undecodable", "holds a sample that is no number (NaN or infinite): mend or drop it.")
            first += len(block)
            yield _scaled(block)
            if len(block) < wanted:
                if last == _ENDLESS:
                    return
                raise BadExample("cut-short", f"is cut short: {(last - first) / sound.samplerate:.2f} s are missing.")
    except soundfile.SoundFileError as error:
        at = first / sound.samplerate
        raise BadExample("undecodable", f"is damaged after {at:.2f} s ({_reason(error)}): fetch it again.") from error


def _skip(sound: _SoundFile, frames: int) -> None:
    """Go to a frame of a file that is at its start."""
    if frames and not sound.endless:
        sound.seek(frames)
        return
    while frames and (read := len(sound.read(min(frames, _BLOCK_SECONDS * sound.samplerate), dtype="float32"))):
        frames -= read


def _scaled(block: np.ndarray) -> np.ndarray:
    """The block as it is, if it is fractions of full scale."""
    if (peak := float(np.abs(block).max(initial=0))) > _UNSCALED:
        raise BadExample(
            "unscaled", f"holds fractions up to {peak:,.0f}, where 1 is full scale: divide them, or save whole numbers."
        )
    return block


def _reason(error: Exception) -> str:
    """libsndfile's words without the file's name, which stands before them already."""
    text = str(error).rpartition("': ")[2] or str(error)
    if "does not exist" in text or isinstance(error, TypeError):  # said of what is no MP3
        return "format not recognised"
    return text.removeprefix("Error : ").strip().rstrip(".").lower()
