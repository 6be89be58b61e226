"""Decoded sound: made once, kept in the cache folder, memory-mapped."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.cached import make_room
from pipelines.sources.scan import cache_folder
from pipelines.state import sync

MOST_BYTES = 200 << 30
"""What the cache may hold; the sound that was not used for longest goes first."""
_VERSION = 1
"""Of how sound is decoded and kept: another one decodes it anew."""
_SAMPLES, _SPLITS, _CHECKSUM = "samples.int16", "splits.npy", "checksum"
_CHUNK = 16
"""Clips that are decoded before they are written."""

Decode = Callable[[int], np.ndarray]
"""A clip's number -> int16 [samples]. Called on several threads."""


@dataclass(frozen=True)
class Sounds:
    """Clips of one rate and one channel."""

    values: np.ndarray
    """int16 [samples of all clips]."""
    splits: np.ndarray
    """int64 [n + 1]: clip i is values[splits[i] : splits[i + 1]]."""

    def __len__(self) -> int:
        return len(self.splits) - 1

    @cached_property
    def lengths(self) -> np.ndarray:
        """int64 [n]: samples of each clip."""
        return np.diff(self.splits)

    def take(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Some clips: values int16 [samples of those], splits int64 [rows + 1]."""
        # A clip is thousands of samples: one copy for each is far cheaper than an index for each sample.
        clips = [self.values[start:end] for start, end in zip(self.splits[rows], self.splits[rows + 1], strict=True)]
        splits = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.lengths[rows])])
        return np.concatenate([np.zeros(0, np.int16), *clips]), splits


def decode_all(clips: int, decode: Decode, rate: int, fingerprint: str, advance: Callable[[int], None]) -> Sounds:
    """The sound of all clips, from the cache where they are in it.

    Args:
        clips: how many there are.
        decode: gives one of them.
        rate: samples a second.
        fingerprint: of the clips and their order.
        advance: told how many clips were done since the last call.

    Raises:
        DataError: there is no room for them.
    """
    folder = cache_folder() / "sounds" / _digest(fingerprint, clips, rate)
    if (found := _recall(folder, clips)) is not None:
        advance(clips)
        return found
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    most = 0

    def tell(done: int) -> None:
        """So many clips are done; what is done a second time is not news."""
        nonlocal most
        advance(max(done - most, 0))
        most = max(done, most)

    try:
        aside.mkdir(parents=True, exist_ok=True)
        with (aside / _SAMPLES).open("wb") as file:
            splits = _write(file, clips, decode, tell)
        _finish(aside, splits)
        shutil.rmtree(folder, ignore_errors=True)  # damaged, or made by another process meanwhile
        aside.replace(folder)
        make_room(folder, MOST_BYTES)
    except OSError:
        # A read-only home, a full disk: a file without a name among the temporary ones lasts as long as the run.
        return _unkept(clips, decode, tell)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return _recall(folder, clips) or _unkept(clips, decode, tell)


def _digest(fingerprint: str, clips: int, rate: int) -> str:
    text = f"{_VERSION}|{clips}|{rate}|{fingerprint}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _unkept(clips: int, decode: Decode, tell: Callable[[int], None]) -> Sounds:
    try:
        with tempfile.TemporaryFile() as file:
            splits = _write(file, clips, decode, tell)
            values = np.memmap(file, np.int16, "r", shape=(int(splits[-1]),)) if splits[-1] else np.zeros(0, np.int16)
    except OSError as error:
        raise DataError(
            f"decoded sound finds no room in {cache_folder()} nor in {tempfile.gettempdir()} ({error.strerror}): name "
            "a folder that has some with SIXFOLD_CACHE."
        ) from error
    return Sounds(values, splits)


def _write(file: IO[bytes], clips: int, decode: Decode, tell: Callable[[int], None]) -> np.ndarray:
    """Every clip behind the one before it; int64 [clips + 1], where each begins and the last one ends."""
    lengths = [0]
    threads = ThreadPoolExecutor(min(os.cpu_count() or 1, 16))
    try:
        for some in _chunks(range(clips)):
            # A chunk at a time, so that not all of it waits in memory to be written.
            for clip in threads.map(decode, some):
                file.write(np.ascontiguousarray(clip, "<i2").data)
                lengths.append(len(clip))
            tell(len(lengths) - 1)
    finally:
        threads.shutdown(cancel_futures=True)
    file.flush()
    return np.cumsum(np.array(lengths, np.int64))


def _chunks(clips: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(clips), _CHUNK):
        yield clips[start : start + _CHUNK]


def _finish(aside: Path, splits: np.ndarray) -> None:
    np.save(aside / _SPLITS, splits)
    (aside / _CHECKSUM).write_text(_checksum(splits), "ascii")
    for name in (_SAMPLES, _SPLITS, _CHECKSUM):
        sync(aside / name)


def _recall(folder: Path, clips: int) -> Sounds | None:
    """What is kept there, if it is whole."""
    try:
        with suppress(OSError):  # a cache that may only be read
            os.utime(folder)
        splits = np.load(folder / _SPLITS, allow_pickle=False)
        checksum = (folder / _CHECKSUM).read_text("ascii")
        size = (folder / _SAMPLES).stat().st_size
        if splits.shape != (clips + 1,) or checksum != _checksum(splits) or size != 2 * splits[-1]:
            return None
        values = np.memmap(folder / _SAMPLES, "<i2", "r") if size else np.zeros(0, np.int16)
    except (OSError, ValueError, EOFError):
        return None
    return Sounds(values, splits)


def _checksum(splits: np.ndarray) -> str:
    """Of where the clips lie alone: reading hours of sound at every start would take longer than it is worth."""
    return hashlib.blake2b(f"{splits.dtype}".encode() + splits.tobytes(), digest_size=16).hexdigest()
