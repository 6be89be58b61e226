"""idx files, the format MNIST is published in: train-images-idx3-ubyte[.gz], train-labels-idx1-ubyte[.gz], t10k-…"""

import gzip
import math
import os
import re
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.arrays import Pair, check_lengths

_NAME = re.compile(
    r"(?P<set>.*?)(?P<split>train|valid|test|t10k)-(?P<what>images|labels)[-.]idx\d-ubyte(\.gz)?", re.IGNORECASE
)
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def is_idx_folder(root: Path) -> bool:
    """Whether the folder holds idx files of a train split."""
    return any((found := _NAME.fullmatch(name)) and found["split"].lower() == "train" for name in os.listdir(root))


def idx_pairs(root: Path) -> dict[str, Pair]:
    """(images, labels) by split of a folder of idx files.

    Raises:
        DataError: a file is missing or damaged, or the folder holds several data sets.
    """
    files: dict[tuple[str, str], Path] = {}
    for name in sorted(os.listdir(root)):
        if found := _NAME.fullmatch(name):
            split = found["split"].lower().replace("t10k", "test")
            key = (split, found["what"].lower())
            if key in files:
                raise DataError(f"{root} holds both {files[key].name} and {name}: keep one.")
            files[key] = root / name
    return {
        split: _pair(root, files, split)
        for split in ("train", "valid", "test")
        if any(key[0] == split for key in files)
    }


def read_idx(path: Path) -> np.ndarray:
    """The array of one file; memory-mapped where it is not compressed.

    Raises:
        DataError: it is no idx file, or shorter or longer than its header says.
    """
    try:
        with cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb") as file:
            dtype, shape = _header(path, file)
            if path.suffix != ".gz":
                _check_size(path, path.stat().st_size - file.tell(), dtype, shape)
                return np.memmap(path, dtype, "r", file.tell(), shape)
            data = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}. Fetch it again.") from error
    _check_size(path, len(data), dtype, shape)
    return np.frombuffer(data, dtype).reshape(shape)


def _pair(root: Path, files: dict[tuple[str, str], Path], split: str) -> Pair:
    for what in ("images", "labels"):
        if (split, what) not in files:
            there = ", ".join(path.name for path in files.values())
            raise DataError(f"{root} lacks the idx file with the {what} of the {split} split; there are: {there}.")
    images, labels = files[split, "images"], files[split, "labels"]
    x, y = read_idx(images), read_idx(labels)
    check_lengths(str(images), x, labels.name, y)
    return x, y


def _header(path: Path, file: IO[bytes]) -> tuple[np.dtype[np.generic], tuple[int, ...]]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or not magic[3]:
        raise DataError(f"{path} is no idx file: its first four bytes are {magic.hex() or 'missing'}.")
    sizes = file.read(4 * magic[3])
    shape = tuple(np.frombuffer(sizes[: len(sizes) // 4 * 4], ">u4").tolist())
    if len(shape) < magic[3]:
        raise DataError(f"{path} is cut short: its header is incomplete. Fetch it again.")
    return np.dtype(_TYPES[magic[2]]), shape


def _check_size(path: Path, size: int, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> None:
    wanted = math.prod(shape) * dtype.itemsize
    if size != wanted:
        raise DataError(f"{path} holds {size:,} bytes where its header says {wanted:,}: fetch it again.")
