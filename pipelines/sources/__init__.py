"""Where examples come from, the same for every task: tables, class folders and archives of them, arrays, idx files,
TensorFlow Datasets.

A source is named by one string (`--data`, `--valid`, `--test`); `locate` says what it is. Each kind has a module that
reads it into columns, per split where the source brings splits. What `sample` means is the task's own affair.
"""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.errors import DataError
from pipelines.sources.archives import ARCHIVE_SUFFIXES, archive_suffix
from pipelines.sources.folders import printable, split_tables
from pipelines.sources.idx import is_idx_folder
from pipelines.sources.tables import TABLE_SUFFIXES, table_suffix

Kind = Literal["sample", "tfds", "table", "tables", "arrays", "idx", "folder", "archive", "lines"]


@dataclass(frozen=True)
class Source:
    """A source and what it is."""

    spec: str
    kind: Kind
    path: Path
    """Where it lies; without meaning for sample and tfds."""


def locate(spec: str, *, lines: bool = False) -> Source:
    """What a source is, by name and a look at the place. With lines, a file of no known kind is one of text, of which
    the task knows what its lines mean.

    Raises:
        DataError: it does not exist, is empty, cannot be read, or is of no known kind.
    """
    if spec == "sample" or spec.startswith(("sample:", "tfds:")):
        return Source(spec, "tfds" if spec.startswith("tfds:") else "sample", Path(spec))
    try:
        path = Path(spec).expanduser()
        exists = bool(spec) and path.exists()
    except (OSError, ValueError, RuntimeError) as error:  # too long, forbidden; a NUL; ~ of nobody
        raise DataError(
            f"{spec!r} cannot be read: {getattr(error, 'strerror', None) or error}".rstrip(".") + "."
        ) from error
    if not exists:
        raise DataError(
            f"{spec!r} does not exist{_near(path)}: a source is sample, tfds:NAME, or the path of a file or folder."
        )
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise DataError(f"{spec} cannot be read: the permission is missing.")
    return Source(spec, _folder_kind(path) if path.is_dir() else _file_kind(path, lines), path)


def _folder_kind(path: Path) -> Kind:
    if not any(path.iterdir()):
        raise DataError(f"{path} is an empty folder: nothing to read.")
    if split_tables(path):
        return "tables"
    return "idx" if is_idx_folder(path) else "folder"


def _file_kind(path: Path, lines: bool) -> Kind:
    if not path.stat().st_size:
        raise DataError(f"{path} is empty (0 bytes): nothing to read.")
    if table_suffix(path):
        return "table"
    if path.suffix.lower() == ".npz":
        return "arrays"
    if archive_suffix(path):
        return "archive"
    if lines:
        return "lines"
    if is_idx_folder(path.parent) and "idx" in path.name:
        raise DataError(f"{path} is one of several idx files: name the folder, {path.parent}.")
    raise DataError(
        f"{path} is of no known kind: a file must end in {', '.join(TABLE_SUFFIXES)} (each also .gz) or .npz, "
        f"or be an archive of class folders ({', '.join(ARCHIVE_SUFFIXES)}); anything else must be a folder."
    )


def _near(path: Path) -> str:
    try:
        there = sorted(os.listdir(path.parent)) if path.name else []
    except (OSError, ValueError):  # no such folder, or none that can be looked into
        return ""
    near = difflib.get_close_matches(path.name, there, n=1)
    return printable(f" (did you mean {path.parent / near[0]}?)") if near else ""
