"""The files that the cells of a table name."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np


def named_path(table: Path, value: Any) -> bytes:
    """The file that a cell names, relative to the table's folder; b"" where it names none.

    Raises:
        ValueError: it holds something else than text.
    """
    if isinstance(value, bytes) or (isinstance(value, dict) and isinstance(value.get("bytes"), bytes)):
        raise ValueError(
            "holds a file's bytes where a path belongs: save them as a file beside the table, and name it."
        )
    if not isinstance(value, str | None):
        raise ValueError(f"holds {value!r:.40} where a path belongs: mend it, or map another column.")
    if not value:
        return b""
    return os.path.normpath(os.path.join(os.fsencode(table.parent), value.encode("utf-8", "surrogateescape")))


def named_paths(table: Path, values: Iterable[Any]) -> tuple[np.ndarray, dict[int, str]]:
    """object [n], of bytes: as `named_path`, b"" too where it would raise; and there, by row, what is wrong."""
    found: list[bytes] = []
    wrong: dict[int, str] = {}
    for row, value in enumerate(values):
        try:
            found.append(named_path(table, value))
        except ValueError as error:
            found.append(b"")
            wrong[row] = str(error)
    column = np.empty(len(found), object)
    column[:] = found
    return column, wrong
