"""Long arrays of whole numbers as JSON: a text of a few bytes a number, where a list would be many times that."""

import base64
from typing import Any

import numpy as np


def packed(array: np.ndarray) -> dict[str, Any]:
    """JSON of a one-dimensional array of int32 or int64."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return {"dtype": array.dtype.name, "base64": base64.b64encode(little.tobytes()).decode("ascii")}


def unpacked(value: dict[str, Any]) -> np.ndarray:
    """The array again."""
    dtype = np.dtype(value["dtype"])
    if dtype.kind != "i":
        raise ValueError(f"{value['dtype']!r} is no type of whole numbers")
    return np.frombuffer(base64.b64decode(value["base64"]), dtype.newbyteorder("<")).astype(dtype, copy=False)


def packed_flags(flags: np.ndarray) -> dict[str, Any]:
    """JSON of bool [n]: a bit each."""
    bits = np.packbits(flags)
    return {"count": len(flags), **packed(np.pad(bits, (0, -len(bits) % 4)).view("<i4").astype(np.int32))}


def unpacked_flags(value: dict[str, Any]) -> np.ndarray:
    """bool [n] again."""
    bits = np.unpackbits(unpacked(value).astype("<i4").view(np.uint8))
    return bits[: int(value["count"])].astype(bool)
