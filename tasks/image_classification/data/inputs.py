"""What predict reads: files, folders, tables and paths on stdin, streamed in batches of whatever length the list is."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.folders import printable, walk
from pipelines.sources.paths import named_path
from pipelines.sources.scan import BadExample
from pipelines.sources.table_formats import place
from pipelines.sources.tables import open_rows, table_suffix
from pipelines.task import Assets, Problem, Raw
from tasks.image_classification.config import Config
from tasks.image_classification.data.inspection import EXTENSIONS, OTHER_EXTENSIONS, check_header, quiet_pillow

_Input = tuple[str, bytes]
"""The id of the record, and the file's path; or NUL and the reason why there is none to decode."""
_REFUSED = b"\0"


def inputs(paths: Sequence[str], config: Config, assets: Assets | None = None) -> Iterator[tuple[list[str], Raw]]:
    """Batches of config.batch_size, of (ids, {"path": object [rows], of bytes}), in order.

    A path is an image; a folder, of which every picture is taken, however deep; a table, of which the image column
    names files; or -, for one path a line on stdin. What the decoder must not get, or cannot, comes out as NUL and the
    reason, for its record to say so.

    Raises:
        DataError: a table is damaged or has no such column.
    """
    del assets
    every = (item for path in paths for item in _expand(path, config))
    while some := _next(every, config.batch_size):
        column = np.empty(len(some), object)
        column[:] = [path for _, path in some]
        yield [name for name, _ in some], {"path": column}


def _next(every: Iterator[_Input], batch: int) -> list[_Input]:
    try:
        with quiet_pillow():
            return [
                (printable(name), path if path[:1] == _REFUSED else _checked(path))
                for name, path in islice(every, batch)
            ]
    except DataError as error:
        raise DataError(printable(str(error))) from error


def _checked(path: bytes) -> bytes:
    try:
        check_header(path)
    except BadExample as problem:
        return _refused("there is no such file" if problem.kind == "missing-file" else f"it {problem.message}")
    return path


def _refused(reason: str) -> bytes:
    return _REFUSED + reason.removesuffix(".").encode("utf-8", "replace")


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
    return [(path, os.fsencode(path))]


def _from_folder(folder: str) -> Iterator[_Input]:
    empty = True
    for file in walk(folder):
        if is_picture(file):
            empty = False
            yield file, os.fsencode(file)
    if empty:
        raise DataError(f"{folder} holds no image: name a folder that does.")


def is_picture(path: str) -> bool:
    """Whether a file of a folder is meant: by its extension, supported or not."""
    return os.path.splitext(path)[1].lower() in (*EXTENSIONS, *OTHER_EXTENSIONS)


def _from_lines(lines: Iterable[bytes]) -> Iterator[_Input]:
    for line in lines:
        if path := line.rstrip(b"\r\n"):
            yield printable(path), _refused("it has a NUL in its name") if b"\0" in path else path


def _from_table(table: Path, config: Config) -> Iterator[_Input]:
    columns = {"image": (config.columns or {}).get("image", "image")}
    with open_rows(table, columns, ["image"]) as (_, rows):
        for number, row in rows:
            if isinstance(row, Problem):
                yield row.where, _refused(f"the row {row.message}")
                continue
            try:
                path = named_path(table, row[0])
            except ValueError as error:
                yield place(table, number), _refused(f"the row {error}")
            else:
                yield (printable(path), path) if path else (place(table, number), _refused("the row names no file"))
