"""Tables: .csv, .tsv, .jsonl and .parquet, each also .gz. Values of text tables stay text: the task interprets them.

CSV is quoted as RFC 4180 says; TSV knows no quotes. Where all mapped columns are numbers, and not all
of them names in the first line (`text=0 label=1`), the table has no header and they are positions.
"""

import difflib
import gzip
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.table_formats import OPENERS, Opened, Row, place
from pipelines.task import Problem

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
_UNNAMED = ".jsonl"


@dataclass(frozen=True)
class Table:
    """The mapped columns of a table."""

    path: Path
    columns: dict[str, np.ndarray]
    """The task's name -> object [n]: text, or what JSON and Parquet hold; None where there is no value."""
    rows: np.ndarray
    """int64 [n]: the number of each row in the file."""
    bad: list[Problem]
    """Malformed rows, which are in no column."""

    def where(self, index: int) -> str:
        """File and row of an example."""
        return place(self.path, int(self.rows[index]))


def table_suffix(path: Path) -> str:
    """'.csv', '.csv.gz', …; '' where the file is no table."""
    name = path.name.lower()
    return next((suffix + end for suffix in TABLE_SUFFIXES for end in ("", ".gz") if name.endswith(suffix + end)), "")


def read_table(
    path: Path,
    columns: Mapping[str, str] | None,
    required: Sequence[str],
    optional: Sequence[str] = (),
    encoding: str | None = None,
) -> Table:
    """The columns a task asks for, whole.

    Args:
        path: of the file.
        columns: the task's name -> the table's; a name that is not mapped is looked up as it is.
        required: the task's names that must be there.
        optional: those that may be.
        encoding: of a table that is text; None: UTF-8, for a task that has no such setting.

    Raises:
        DataError: the file is damaged, has no rows, or lacks a column.
    """
    numbers: list[int] = []
    values: list[list[Any]] = []
    bad: list[Problem] = []
    with open_rows(path, columns, required, optional, encoding) as (names, rows):
        for number, row in rows:
            if isinstance(row, Problem):
                bad.append(row)
            else:
                numbers.append(number)
                values.append(row)
    if not values and not bad:
        raise DataError(f"{path} has no rows: nothing to read.")
    table = {name: _column([row[index] for row in values]) for index, name in enumerate(names)}
    return Table(path, table, np.array(numbers, np.int64), bad)


@contextmanager
def open_rows(
    path: Path,
    columns: Mapping[str, str] | None,
    required: Sequence[str],
    optional: Sequence[str] = (),
    encoding: str | None = None,
) -> Iterator[tuple[list[str], Iterator[Row]]]:
    """The task's names that were found, and the rows streamed, values in that order. Arguments as in read_table. A file
    whose name says of no table, and which a task takes for one all the same, holds JSON lines."""
    suffix = table_suffix(path) or _UNNAMED
    with translated(path), binary(path, suffix.endswith(".gz")) as file:
        opened = OPENERS[suffix.removesuffix(".gz")](path, file, _positions(columns), encoding)
        found = _resolve(path, opened, dict(columns or {}), required, optional)
        yield list(found), opened.rows(list(found.values()))


def peek(path: Path, encoding: str | None = None, most: int = 200) -> tuple[list[str], list[list[str]]]:
    """The first line of a text table and some rows below it, as they stand; of other tables their names alone."""
    suffix = (table_suffix(path) or _UNNAMED).removesuffix(".gz")
    with translated(path), binary(path, table_suffix(path).endswith(".gz")) as file:
        opened = OPENERS[suffix](path, file, ["0"], encoding)
        if suffix not in (".csv", ".tsv") or "0" in opened.names[1:]:
            return opened.names, []
        rows = [row for _, row in islice(opened.rows(opened.names), most + 1) if not isinstance(row, Problem)]
        return rows[0] if rows else opened.names, rows[1:]


def as_text(value: Any) -> str:
    """A value as a text table would hold it: '' for none, a whole number without a point however it is stored."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return value if isinstance(value, str) else str(value)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """What goes wrong in reading a file, as a DataError that names it."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is a damaged .gz file ({error}): fetch it again.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def binary(path: Path, compressed: bool) -> IO[bytes]:
    """A file opened for its bytes, unpacked if it is compressed."""
    return cast("IO[bytes]", gzip.open(path, "rb")) if compressed else path.open("rb")


def _positions(columns: Mapping[str, str] | None) -> list[str]:
    """The columns asked for, if all are numbers: perhaps they are positions."""
    names = list((columns or {}).values())
    return names if all(name.isdecimal() for name in names) else []


def _resolve(
    path: Path, opened: Opened, columns: dict[str, str], required: Sequence[str], optional: Sequence[str]
) -> dict[str, str]:
    known = (*required, *optional)
    for name in columns:
        if name not in known:
            raise DataError(f"columns maps {name!r}, which the task has no use for{_did_you_mean(name, known)}")
    found = {
        name: columns.get(name, name) for name in known if name in required or name in columns or name in opened.names
    }
    for name, column in found.items():
        if column not in opened.names:
            remedy = f" (for {name})" if name in columns else f" (name the one with --columns {name}=COLUMN)"
            raise DataError(
                f"{path} has no column {column!r}{remedy}{_did_you_mean(column, opened.names)}{opened.hint}"
            )
    return found


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    guess = f": did you mean {near[0]!r}? There are" if near else ": there are"
    return f"{guess} {', '.join(known[:20])}{', …' if len(known) > 20 else ''}."


def _column(values: list[Any]) -> np.ndarray:
    column = np.empty(len(values), object)
    column[:] = values
    return column
