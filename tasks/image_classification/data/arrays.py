"""Arrays of images and labels, as they come, into uint8 pixels and class codes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pipelines.errors import DataError
from pipelines.labelled.cells import factorize
from pipelines.sources.folders import printable
from pipelines.sources.scan import content_hash
from tasks.image_classification.data.stores import Pixels

_CHUNK = 4096
_DARK = "the pixels are whole numbers and only 0 and 1, which of 255 is black: store them as bool, or times 255."


def as_pixels(images: dict[str, np.ndarray], name: str) -> tuple[dict[str, Pixels], list[tuple[str, str]]]:
    """Images of each split as uint8 [n, height, width, channels]; and what is to be said of it: (kind, sentence).

    uint8 is left as it is (memory-mapped or not). Other whole numbers must lie in 0..255. Fractions must lie in 0..1 or
    0..255, in all splits alike; they are rounded.

    Raises:
        DataError: another shape or range, or splits of different ranges.
    """
    shaped = {split: _shaped(array, f"{name} {split}") for split, array in images.items()}
    ranges = {split: _range(array, f"{name} {split}") for split, array in shaped.items()}
    low, high = min(low for low, _ in ranges.values()), max(high for _, high in ranges.values())
    if low < 0 or high > 255:
        raise DataError(
            f"{name} holds pixels from {low:g} to {high:g}: rescale them to 0..255, or to 0..1 as fractions."
        )
    small = [split for split, (_, most) in ranges.items() if 0 < most <= 1]
    if high > 1 and small:
        raise DataError(f"{name}: {small[0]} holds pixels in 0..1 and another split in 0..255: give all in one range.")
    fractions = any(array.dtype.kind == "f" for array in shaped.values())
    scale = 255 if high <= 1 and (fractions or all(array.dtype.kind == "b" for array in shaped.values())) else 1
    notes = [("dark-pixels", _DARK)] if high == 1 and scale == 1 else []
    if all(array.dtype == np.uint8 for array in shaped.values()) and scale == 1:
        return {split: Pixels(array, f"{name} {split}") for split, array in shaped.items()}, notes
    types = ", ".join(sorted({str(array.dtype) for array in shaped.values()}))
    notes.append(("converted", f"{types} pixels in 0..{255 // scale} were converted to uint8 in 0..255."))
    return {split: Pixels(_rounded(array, scale), f"{name} {split}") for split, array in shaped.items()}, notes


def as_labels(labels: np.ndarray, name: str) -> tuple[np.ndarray, list[str]]:
    """int32 [n] into names, and the names.

    Raises:
        DataError: no label of one number or text each.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(
            f"{name} labels have shape {labels.shape}: one label an example is needed (one-hot: argmax them)."
        )
    if labels.dtype.kind not in "biufSU":
        raise DataError(f"{name} labels are {labels.dtype}: they must be whole numbers or text.")
    if labels.dtype.kind == "f":
        fraction = np.flatnonzero(~np.isfinite(labels) | (labels != np.round(labels)) | (np.abs(labels) >= 2**63))
        if len(fraction):
            raise DataError(
                f"{name}[{fraction[0]}] has the label {labels[fraction[0]]}: classes must be whole numbers or text."
            )
        labels = labels.astype(np.int64)
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    if labels.dtype.kind == "U":
        texts = labels.tolist()
        half = next((row for row, text in enumerate(texts) if printable(text) != text), None)
        if half is not None:
            raise DataError(f"{name}[{half}] has a label with half a character (a lone surrogate): mend it.")
        return factorize(texts)
    values, codes = np.unique(labels.astype(np.int64) if labels.dtype.kind == "b" else labels, return_inverse=True)
    return codes.astype(np.int32), [str(value) for value in values.tolist()]


def hash_pixels(array: np.ndarray, advance: Callable[[int], Any]) -> np.ndarray:
    """uint64 [n]: the content of each image."""
    hashes = np.empty(len(array), np.uint64)
    for start in range(0, len(array), _CHUNK):
        chunk = np.ascontiguousarray(array[start : start + _CHUNK]).reshape(-1, int(np.prod(array.shape[1:])))
        hashes[start : start + len(chunk)] = [content_hash(row.data) for row in chunk]
        advance(len(chunk))
    return hashes


def _shaped(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name} images are {array.dtype}: they must be numbers.")
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4:
        raise DataError(
            f"{name} images have shape {array.shape}: [n, height, width] or [n, height, width, channels] is needed."
        )
    if array.shape[3] not in (1, 3):
        first = " They look channels-first: move axis 1 to the end." if array.shape[1] in (1, 3) else ""
        raise DataError(
            f"{name} images have {array.shape[3]} channels in the last axis: 1 (grey) or 3 (RGB) are needed.{first}"
        )
    if not min(array.shape[1:]):
        raise DataError(f"{name} images have no pixels (shape {array.shape}).")
    return array


def _range(array: np.ndarray, name: str) -> tuple[float, float]:
    low, high = np.inf, -np.inf
    for start in range(0, len(array), _CHUNK):
        chunk = array[start : start + _CHUNK]
        if chunk.dtype.kind == "f" and not np.isfinite(chunk).all():
            row = start + int(np.flatnonzero(~np.isfinite(chunk).all(axis=(1, 2, 3)))[0])
            raise DataError(f"{name}[{row}] holds a pixel that is no number (NaN or infinite): mend or drop it.")
        low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
        if chunk.dtype == np.uint8 and high > 1:  # no range to doubt: spare reading the rest of what may be mapped
            break
    return low, high


def _rounded(array: np.ndarray, scale: int) -> np.ndarray:
    pixels = np.empty(array.shape, np.uint8)
    for start in range(0, len(array), _CHUNK):
        chunk = array[start : start + _CHUNK]
        pixels[start : start + len(chunk)] = (
            np.round(chunk * float(scale)) if scale > 1 or chunk.dtype.kind == "f" else chunk
        )
    return pixels
