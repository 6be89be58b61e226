"""Files that are either whole or not there: written aside, synced, renamed. Arrays with their JSON and a digest in one
safetensors file."""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import StateError

_LEFT_OVER = re.compile(r"\..+\.\d+(\.keras)?")


def save_arrays(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> str:
    """Write the arrays under their names, atomically and durably.

    Returns: sha256 over names, types, shapes, values and metadata; it stands in the file too.
    """
    from safetensors.numpy import save_file

    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    # safetensors keeps no 0-d contiguity flag of its own: ascontiguousarray makes scalars 1-d, the shape is put back.
    shaped = {name: array.reshape(arrays[name].shape) for name, array in contiguous.items()}
    text = json.dumps(metadata)
    digest = _digest(shaped, text)
    with replacing(path) as aside:
        aside.touch()
        mode = aside.stat().st_mode
        try:
            save_file(shaped, aside, {"sixfold": text, "sha256": digest})
            aside.chmod(mode)  # safetensors makes files that only their owner can read
        except OSError:
            raise
        except Exception as error:  # safetensors has its own class for what the system refuses
            raise OSError(*_errno(error), str(path)) from error
    return digest


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any], str]:
    """The arrays, the metadata and the digest, which is verified.

    Raises:
        StateError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            arrays, about = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
        metadata, digest = json.loads(about["sixfold"]), about["sha256"]
        if not isinstance(metadata, dict) or _digest(arrays, about["sixfold"]) != digest:
            raise ValueError("its checksum differs")
    except FileNotFoundError:
        raise StateError(f"{path} is missing.") from None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise StateError(f"{path} is damaged ({error}).") from error
    return arrays, metadata, digest


def write_bytes(path: Path, content: bytes) -> None:
    """Put the content under the name in one step: after a crash the file is the old one or the new one, never a
    part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as aside:
        aside.write_bytes(content)


def put(made: Path, place: Path) -> None:
    """Give what was written, a file or a folder, its name: after a crash what has that name is the old one or the new
    one, or, of a folder, for a moment neither; never a part."""
    for file in [made, *made.rglob("*")] if made.is_dir() else [made]:
        sync(file)
    before = made.with_name(f"{made.name}.before")
    if place.is_dir():
        place.replace(before)
    made.replace(place)
    shutil.rmtree(before, ignore_errors=True)
    sync(place.parent)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write to; in the end it is synced and renamed to `path`, or removed where something was raised."""
    # By chance, as two containers that write the same file have the same process ids.
    aside = path.with_name(f".{path.name}.{secrets.randbits(48)}")
    try:
        yield aside
        sync(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync(path.parent)


def is_left_over(name: str) -> bool:
    """Whether a file of this name is what a killed process left of a write."""
    return _LEFT_OVER.fullmatch(name) is not None


def sync(path: Path) -> None:
    """Put a file's content, or a folder's names, on disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _digest(arrays: dict[str, np.ndarray], text: str) -> str:
    total = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        total.update(f"\0{name}\0{arrays[name].dtype}\0{arrays[name].shape}\0".encode())
        total.update(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def _errno(error: Exception) -> tuple[int, str]:
    """Number and text of the system's refusal, out of a message like 'I/O error: No space left ... (os error 28)'."""
    number = int(str(error).rpartition("os error ")[2].rstrip(") \n") or 5) if "os error" in str(error) else 5
    return number, os.strerror(number)
