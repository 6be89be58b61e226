"""What predict reads: files, folders, tables and paths on stdin, streamed in batches of whatever length the list is."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.folders import walk
from pipelines.sources.tables import open_rows, table_suffix
from pipelines.task import Problem, Raw
from tasks.image_classification.config import Config
from tasks.image_classification.data.inspection import EXTENSIONS, OTHER_EXTENSIONS
from tasks.image_classification.data.parts import table_paths
from tasks.image_classification.data.stores import printable

_Input = tuple[str, bytes]
"""The id of the record, and the file's path; b'' where a row names none."""


def inputs(paths: Sequence[str], config: Config, batch: int = 64) -> Iterator[tuple[list[str], Raw]]:
    """Batches of (ids, {"path": object [rows], of bytes}), in order.

    A path is an image; a folder, of which every picture is taken, however deep; a table, of which the image column
    names files; or -, for one path a line on stdin. What does not exist comes out too, for its record to say so.

    Raises:
        DataError: a table is damaged or has no such column.
    """
    every = (item for path in paths for item in _expand(path, config))
    while some := list(islice(every, batch)):
        column = np.empty(len(some), object)
        column[:] = [path for _, path in some]
        yield [name for name, _ in some], {"path": column}


def _expand(path: str, config: Config) -> Iterable[_Input]:
    if path == "-":
        return _from_lines(sys.stdin.buffer)
    if os.path.isdir(path):
        return _from_folder(path)
    if os.path.splitext(path)[1].lower() == ".npz":
        raise DataError(
            f"{path}: predict takes images, folders, tables and lists of paths, not arrays: save images first."
        )
    if table_suffix(Path(path)) and os.path.isfile(path):
        return _from_table(Path(path), config)
    return [(_name(path), os.fsencode(path))]


def _from_folder(folder: str) -> Iterator[_Input]:
    empty = True
    for file in walk(folder):
        if is_picture(file):
            empty = False
            yield _name(file), os.fsencode(file)
    if empty:
        raise DataError(f"{folder} holds no image: name a folder that does.")


def is_picture(path: str) -> bool:
    """Whether a file of a folder is meant: by its extension, supported or not."""
    return os.path.splitext(path)[1].lower() in (*EXTENSIONS, *OTHER_EXTENSIONS)


def _from_lines(lines: Iterable[bytes]) -> Iterator[_Input]:
    for line in lines:
        if path := line.rstrip(b"\r\n"):
            yield printable(path), path


def _from_table(table: Path, config: Config) -> Iterator[_Input]:
    columns = {"image": (config.columns or {}).get("image", "image")}
    with open_rows(table, columns, ["image"]) as (_, rows):
        for _, row in rows:
            if isinstance(row, Problem):
                yield row.where, b""
            else:
                path = table_paths(table, row)[0]
                yield printable(path) or f"{table}: a row that names no file", path


def _name(path: str) -> str:
    return printable(os.fsencode(path))
