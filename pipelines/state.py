"""Arrays on disk that are either whole or not there: written aside, synced, renamed; one safetensors file with its
JSON in the metadata."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import StateError


def save_arrays(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
    """Write the arrays under their names, atomically and durably."""
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    # safetensors keeps no 0-d contiguity flag of its own: ascontiguousarray makes scalars 1-d, the shape is put back.
    shaped = {name: array.reshape(arrays[name].shape) for name, array in contiguous.items()}
    write_bytes(path, save(shaped, {"sixfold": json.dumps(metadata)}))


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the metadata.

    Raises:
        StateError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["sixfold"])  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise StateError(f"{path} cannot be read ({error}): start the run again with --overwrite.") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Put the content under the name in one step: after a crash the file is the old one or the new one, never a
    part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
