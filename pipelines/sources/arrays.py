"""Arrays of one .npz file. What is stored uncompressed (`np.savez`) is memory-mapped, the rest is read."""

import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from pipelines.errors import DataError

Pair = tuple[np.ndarray, np.ndarray]
"""Inputs and targets: [n, ...] and [n, ...]."""

_NAMES = {"train": ("train",), "valid": ("valid", "val"), "test": ("test",)}
_LOCAL_HEADER = 30


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of the file by name.

    Raises:
        DataError: it is damaged, or holds Python objects, which only pickle could read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            return {info.filename.removesuffix(".npy"): _member(path, archive, info) for info in members}
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError) as error:
        raise DataError(f"{path} is no .npz file or a damaged one: {error}.") from error
    except (NotImplementedError, RuntimeError) as error:  # zipfile's words for a compression or a password
        raise DataError(f"{path} cannot be read ({error}): save it with np.savez.") from error


def read_pairs(path: Path) -> dict[str, Pair]:
    """(x, y) by split: x_train, y_train, optionally x_valid (or x_val) and x_test with theirs; or x, y alone, as train.

    Raises:
        DataError: an array is missing or empty, or x and y differ in length.
    """
    arrays = read_arrays(path)
    pairs: dict[str, Pair] = {}
    for split, names in _NAMES.items():
        for end in [f"_{name}" for name in names] + ([""] if split == "train" else []):
            if f"x{end}" in arrays or f"y{end}" in arrays:
                pairs[split] = _pair(path, arrays, end)
                break
    if "train" not in pairs:
        there = ", ".join(arrays) or "none"
        raise DataError(f"{path} needs the arrays x_train and y_train, or x and y; there are: {there}.")
    return pairs


def _pair(path: Path, arrays: dict[str, np.ndarray], end: str) -> Pair:
    for name in (f"x{end}", f"y{end}"):
        if name not in arrays:
            raise DataError(f"{path} lacks the array {name}; there are: {', '.join(arrays)}.")
        if not arrays[name].ndim:
            raise DataError(f"{path}: {name} is a single number, not an array with a row an example.")
    x, y = arrays[f"x{end}"], arrays[f"y{end}"]
    check_lengths(f"{path}: x{end}", x, f"y{end}", y)
    return x, y


def check_lengths(x_name: str, x: np.ndarray, y_name: str, y: np.ndarray) -> None:
    """DataError where inputs and targets differ in number, or there are none."""
    if len(x) != len(y):
        raise DataError(
            f"{x_name} holds {len(x):,} example{'s' * (len(x) != 1)} and {y_name} {len(y):,}: they must be as many."
        )
    if not len(x):
        raise DataError(f"{x_name} holds no example.")


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as file:
        shape, fortran, dtype = _header(file)
        if dtype.hasobject:
            raise ValueError(f"{info.filename} holds Python objects: save numbers or text")
        if info.compress_type != zipfile.ZIP_STORED or not np.prod(shape):
            file.seek(0)
            array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
            return array
        offset = _data_start(path, info) + file.tell()
    return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)


def _data_start(path: Path, info: zipfile.ZipInfo) -> int:
    """Where a member's bytes start: behind a header of its own, whose length the directory does not tell."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER)
    return (
        info.header_offset
        + _LOCAL_HEADER
        + int.from_bytes(header[26:28], "little")
        + int.from_bytes(header[28:30], "little")
    )
