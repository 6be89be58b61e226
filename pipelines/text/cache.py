"""The tokens of a split: made once, kept in the cache folder, memory-mapped. Imports no TensorFlow."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipelines.sources.cached import make_room
from pipelines.sources.scan import cache_folder
from pipelines.state import sync
from pipelines.text.chunks import chunks

MOST_BYTES = 4 << 30
"""What the cache may hold; the tokens that were not used for longest go first."""
_VERSION = 1
"""Of how tokens are made and kept: another one makes them anew."""
_MADE_BY = {"preset": ("tensorflow", "keras-hub", "tensorflow-text"), "sentencepiece": ("sentencepiece",)}
"""The packages that tokens depend on, by the kind of tokenizer; of others TensorFlow alone."""
_FILES = ("values.npy", "row_splits.npy")
_CHECKSUM = "checksum"


class Cuts(Protocol):
    """What texts are cut into tokens by."""

    @property
    def size(self) -> int:
        """Tokens there are: 0 to size - 1."""

    def cut(self, texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """(tokens of all texts, one after the other; how many each text has [n])."""


@dataclass(frozen=True)
class Tokens:
    """Whole texts as tokens, without start and end."""

    values: np.ndarray
    """uint16 or int32 [tokens of all texts]."""
    splits: np.ndarray
    """int64 [n + 1]: text i is values[splits[i] : splits[i + 1]]."""

    def __len__(self) -> int:
        return len(self.splits) - 1

    @cached_property
    def lengths(self) -> np.ndarray:
        """int32 [n]: tokens of each text."""
        return np.diff(self.splits).astype(np.int32)

    def take(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Some texts: values int32 [tokens of those], splits int64 [rows + 1]."""
        starts, lengths = self.splits[rows], self.splits[rows + 1] - self.splits[rows]
        splits = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        places = np.arange(splits[-1]) + np.repeat(starts - splits[:-1], lengths)
        return self.values[places].astype(np.int32), splits


def tokenise(
    texts: Sequence[bytes | str],
    tokenizer: Cuts,
    asset: dict[str, Any],
    fingerprint: str,
    advance: Callable[[int], None],
) -> Tokens:
    """The tokens of all texts, from the cache where they are in it.

    Args:
        texts: whole, in the order of the split.
        tokenizer: what cuts them.
        asset: of the tokenizer.
        fingerprint: of the texts and their order.
        advance: told how many texts were done since the last call.
    """
    folder = cache_folder() / "tokens" / _digest(asset, fingerprint, len(texts))
    if (found := _recall(folder, len(texts))) is not None:
        advance(len(texts))
        return found
    made = _make(texts, tokenizer, advance)
    if not _remember(folder, made):
        return made
    make_room(folder, MOST_BYTES)
    return _recall(folder, len(texts)) or made


def _digest(asset: dict[str, Any], fingerprint: str, texts: int) -> str:
    made_by = [_VERSION, *map(_version, _MADE_BY.get(asset["kind"], ("tensorflow",)))]
    text = json.dumps([made_by, fingerprint, texts, asset], sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # TensorFlow comes under several names
        return None


def _make(texts: Sequence[bytes | str], tokenizer: Cuts, advance: Callable[[int], None]) -> Tokens:
    dtype = np.uint16 if tokenizer.size <= 1 << 16 else np.int32
    values, lengths = [np.zeros(0, dtype)], [np.zeros(0, np.int64)]
    for part in chunks(texts):
        tokens, counts = tokenizer.cut(part)
        values.append(tokens.astype(dtype))
        lengths.append(counts)
        advance(len(part))
    splits = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths))])
    return Tokens(np.concatenate(values), splits)


def _recall(folder: Path, texts: int) -> Tokens | None:
    """What is kept there, if it is whole."""
    try:
        with suppress(OSError):  # a cache that may only be read
            os.utime(folder)
        values, splits = (np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in _FILES)
        checksum = (folder / _CHECKSUM).read_text("ascii")
    except (OSError, ValueError, EOFError):
        return None
    if splits.shape != (texts + 1,) or values.shape != (splits[-1],) or checksum != _checksum(values, splits):
        return None
    return Tokens(values, splits)


def _remember(folder: Path, tokens: Tokens) -> bool:
    """Keep them: a folder that is whole or not there. False where there is no place for it (a read-only home, a full
    disk), or another process was quicker: the tokens in memory then do as well."""
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        aside.mkdir(parents=True, exist_ok=True)
        for name, array in zip(_FILES, (tokens.values, tokens.splits), strict=True):
            np.save(aside / name, array)
            sync(aside / name)
        (aside / _CHECKSUM).write_text(_checksum(tokens.values, tokens.splits), "ascii")
        sync(aside / _CHECKSUM)
        shutil.rmtree(folder, ignore_errors=True)  # damaged, or made by another process meanwhile
        aside.replace(folder)
    except OSError:
        return False
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return True


def _checksum(*arrays: np.ndarray) -> str:
    total = hashlib.blake2b(digest_size=16)
    for array in arrays:
        total.update(f"{array.dtype}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).view(np.uint8).data)
    return total.hexdigest()
