"""Columns of a table read whole and at once: numbers as numbers, texts as codes. For tables of many rows.

What is as it should be goes through Arrow. Where anything is not, the table is read again row by row, so that it can
be named.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.table_formats import OPENERS, Opened, place
from pipelines.sources.tables import as_text, binary, table_suffix, translated
from pipelines.task import Problem

Kind = Literal["number", "text", "either", "time"]
"""What a column holds; either: numbers if all of it are, else texts; time: times, numbers or texts."""

EMPTY = ("", "NA", "N/A", "NaN", "nan", "NAN", "null", "NULL", "None")
"""How tables write that there is no value, in columns of numbers and times."""
_PEEK = 200
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Texts:
    """A column of texts."""

    codes: np.ndarray
    """int32 [n], into names; -1 where there is none."""
    names: list[str]
    """Each once, in the order of their first row."""


@dataclass(frozen=True)
class Times:
    """A column of times, as Parquet has them."""

    micro: np.ndarray
    """int64 [n]: microseconds since 1970, in UTC if aware."""
    aware: bool
    missing: np.ndarray
    """bool [n]."""


Cells = np.ndarray | Texts | Times
"""Numbers are float64 [n], NaN where there is none."""


@dataclass(frozen=True)
class Columns:
    """The columns that were asked for."""

    place: "Place"
    cells: dict[str, Cells]
    bad: list[Problem]
    """Malformed rows, which are in no column, and cells that hold no number where one belongs; those are NaN."""
    rows: np.ndarray | None = None
    """int64 [n]: the number of each row in the file; None where nobody had to look yet."""

    def __len__(self) -> int:
        return _length(next(iter(self.cells.values())))

    def where(self, index: int) -> str:
        """File and row of an example."""
        return place(self.place.path, int(self._numbers[index]))

    @cached_property
    def _numbers(self) -> np.ndarray:
        if self.rows is not None:
            return self.rows
        if ".parquet" in self.place.path.name.lower():
            return np.arange(1, len(self) + 1)
        if (lines := self._line_each()) is not None:
            return lines
        with opened(self.place) as table:
            found = (number for number, row in table.rows([]) if not isinstance(row, Problem))
            return np.fromiter(found, np.int64)

    def _line_each(self) -> np.ndarray | None:
        """The numbers of rows that are a line each, as they are where there are as many lines as rows and names: both
        blank lines and rows of several would make them more."""
        with opened(self.place) as table:
            names = 0 if table.bare else 1
        lines, last = 0, b""
        with _file(self.place) as file:
            while block := file.read(_BLOCK):
                lines, last = lines + block.count(b"\n"), block[-1:]
        lines += last not in (b"", b"\n")
        return np.arange(1 + names, 1 + names + len(self)) if lines == len(self) + names else None


@dataclass(frozen=True)
class Place:
    """A table and how it is read."""

    path: Path
    encoding: str | None = None
    positions: tuple[str, ...] = ()
    """The columns asked for, which may be numbers where it has no line of names."""
    content: "IO[bytes] | None" = None
    """Of the file, where it is not to be opened."""
    format: str = ""
    """What it is read as, where its name does not say: .csv, .tsv, …"""

    @property
    def suffix(self) -> str:
        """'.csv', '.csv.gz', …"""
        return self.format or table_suffix(self.path)


@dataclass(frozen=True)
class Head:
    """A table's names and its first rows."""

    names: list[str]
    rows: list[list[Any]]
    bare: bool
    """It has no line of names: they are positions."""


@contextmanager
def opened(table: Place) -> Iterator[Opened]:
    """A table with all its columns, streamed."""
    suffix = table.suffix
    names = [] if not all(name.isdecimal() for name in table.positions) else list(table.positions)
    with translated(table.path):
        if table.content is not None:
            table.content.seek(0)
            yield OPENERS[suffix](table.path, table.content, names, table.encoding)
            return
        with binary(table.path, suffix.endswith(".gz")) as file:
            yield OPENERS[suffix.removesuffix(".gz")](table.path, file, names, table.encoding)


def head(table: Place) -> Head:
    """What a look at a table shows.

    Raises:
        DataError: it is damaged or empty.
    """
    with opened(table) as found:
        rows = [row for _, row in islice(found.rows(found.names), _PEEK) if not isinstance(row, Problem)]
        return Head(found.names, rows, found.bare)


def read_columns(table: Place, kinds: Mapping[str, Kind], first: Head) -> Columns:
    """The columns asked for, whole.

    Args:
        table: where it lies.
        kinds: what each column is to hold; all of them are there.
        first: what a look at it showed.

    Raises:
        DataError: the file is damaged or has no rows.
    """
    suffix = table.suffix
    with translated(table.path):
        read = _QUICK.get(suffix.removesuffix(".gz"))
        quick = read(table, kinds, first) if read else None
        columns = _row_by_row(table, kinds) if quick is None else Columns(table, quick, [])
    _release()
    if not len(columns) and not columns.bad:
        raise DataError(f"{table.path} has no rows: nothing to read.")
    return columns


def _release() -> None:
    """Give back what Arrow keeps of the memory that it read into, which may be many times the columns."""
    import pyarrow

    pyarrow.default_memory_pool().release_unused()


def is_number(cell: Any) -> bool:
    """Whether a cell holds a number."""
    number = _number(cell)
    return number is not None and not np.isnan(number)


def _number(cell: Any) -> float | None:
    """NaN where there is no value, None where it is no number."""
    if cell is None or (isinstance(cell, str) and cell.strip() in EMPTY):
        return np.nan
    if isinstance(cell, str) and "_" in cell:
        return None
    try:
        return float(cell)
    except (TypeError, ValueError, OverflowError):
        return None


def as_array(column: Any, empty: float) -> np.ndarray:
    """The values of an Arrow column, `empty` where it has none."""
    import pyarrow

    whole = column.combine_chunks() if isinstance(column, pyarrow.ChunkedArray) else column
    if pyarrow.types.is_boolean(whole.type):
        return as_array(whole.cast(pyarrow.uint8()), empty).astype(bool)
    return np.array(np.from_dlpack(whole.fill_null(empty) if whole.null_count else whole))


def _length(cells: Cells) -> int:
    if isinstance(cells, Texts):
        return len(cells.codes)
    return len(cells.micro if isinstance(cells, Times) else cells)


def _from_csv(table: Place, kinds: Mapping[str, Kind], first: Head) -> dict[str, Cells] | None:
    """Through Arrow; None where it cannot be read so."""
    import pyarrow
    from pyarrow import csv

    tsv = table.suffix.startswith(".tsv")
    guessed = {name: kind if kind != "either" else _guess(first, name) for name, kind in kinds.items()}
    types = {name: pyarrow.float64() if kind == "number" else pyarrow.string() for name, kind in guessed.items()}
    options = {
        "read_options": csv.ReadOptions(
            encoding=table.encoding or "utf8", column_names=first.names if first.bare else None
        ),
        "parse_options": csv.ParseOptions(delimiter="\t" if tsv else ",", quote_char=False if tsv else '"'),
        "convert_options": csv.ConvertOptions(
            column_types=types, include_columns=list(types), null_values=list(EMPTY), strings_can_be_null=False
        ),
    }
    try:
        with _file(table) as file:
            read = csv.read_csv(file, **options)
    except (pyarrow.ArrowException, KeyError, UnicodeError):
        return None
    cells: dict[str, Cells] = {}
    for name, kind in guessed.items():
        if kind == "number":
            cells[name] = as_array(read[name], np.nan)
            continue
        times = _written_times(read[name]) if kind == "time" else None
        cells[name] = times or _numbers_or_texts(encoded(read[name]), kinds[name])
    return cells


def _written_times(column: Any) -> Times | None:
    """Times that are all written as ISO 8601, with or without offsets: none of them becomes a text of its own."""
    import pyarrow

    for zone in (None, "UTC"):
        try:
            micro = column.cast(pyarrow.timestamp("us", zone)).cast(pyarrow.int64())
        except pyarrow.ArrowInvalid:
            continue
        return Times(as_array(micro, 0), zone is not None, np.zeros(len(micro), bool))
    return None


def _from_parquet(table: Place, kinds: Mapping[str, Kind], first: Head) -> dict[str, Cells] | None:
    import pyarrow
    from pyarrow import parquet

    del first
    try:
        with _file(table) as file:
            seekable = (
                file if table.content is not None or not table.suffix.endswith(".gz") else io.BytesIO(file.read())
            )
            read = parquet.read_table(seekable, columns=list(kinds))
        return {name: _from_arrow(read[name], kind) for name, kind in kinds.items()}
    except (pyarrow.ArrowException, TypeError, UnicodeError):
        return None


def _from_arrow(column: Any, kind: Kind) -> Cells:
    """TypeError or ArrowException where it holds something else."""
    import pyarrow
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_temporal(column.type) and kind == "time":
        aware = getattr(column.type, "tz", None) is not None
        micro = column.cast(pyarrow.timestamp("us", "UTC" if aware else None), safe=False)
        return Times(as_array(micro.cast(pyarrow.int64()), 0), aware, as_array(micro.is_null(), True))
    texts = types.is_string(column.type) or types.is_large_string(column.type)
    if kind in ("number", "either") and not texts:
        return as_array(column.cast(pyarrow.float64(), safe=False), np.nan)
    if texts and kind != "number":
        return encoded(column)
    if kind == "number":
        raise TypeError
    found = column.combine_chunks().dictionary_encode()
    return tidy(
        as_array(found.indices, -1),
        [as_text(value) for value in found.dictionary.to_pylist()],
    )


_QUICK: dict[str, Callable[[Place, Mapping[str, Kind], Head], dict[str, Cells] | None]] = {
    ".csv": _from_csv,
    ".tsv": _from_csv,
    ".parquet": _from_parquet,
}


@contextmanager
def _file(table: Place) -> Iterator[IO[bytes]]:
    if table.content is not None:
        table.content.seek(0)
        yield table.content
        return
    with binary(table.path, table.suffix.endswith(".gz")) as file:
        yield file


def _guess(first: Head, name: str) -> Kind:
    """By the first rows."""
    cells = [row[first.names.index(name)] for row in first.rows]
    numbers = [_number(cell) for cell in cells]
    return "text" if None in numbers or all(number is None or np.isnan(number) for number in numbers) else "number"


def encoded(column: Any) -> Texts:
    """An Arrow column of texts."""
    import pyarrow

    whole = column.combine_chunks() if isinstance(column, pyarrow.ChunkedArray) else column
    found = whole.dictionary_encode()
    return tidy(as_array(found.indices, -1), found.dictionary.to_pylist())


def tidy(codes: np.ndarray, names: Sequence[str]) -> Texts:
    """Without blanks around, each name once, and the empty one for none."""
    known: dict[str, int] = {"": -1}
    again = [known.setdefault(name.strip(), len(known) - 1) for name in names]
    table = np.array([*again, -1], np.int32)  # the code -1 finds the last
    return Texts(table[codes], list(known)[1:])


def _numbers_or_texts(texts: Texts, kind: Kind) -> Cells:
    """The numbers that texts say, if either is wanted and all of them are."""
    numbers = [_number(name) for name in texts.names] if kind == "either" else []
    if None in numbers or not numbers:
        return texts
    found: np.ndarray = np.array([*numbers, np.nan], np.float64)[texts.codes]
    return found


def _row_by_row(table: Place, kinds: Mapping[str, Kind]) -> Columns:
    numbers: list[int] = []
    values: list[list[Any]] = []
    bad: list[Problem] = []
    with opened(table) as found:
        for number, row in found.rows(list(kinds)):
            if isinstance(row, Problem):
                bad.append(row)
            else:
                numbers.append(number)
                values.append(row)
    rows = np.array(numbers, np.int64)
    cells: dict[str, Cells] = {}
    for at, (name, kind) in enumerate(kinds.items()):
        column = [row[at] for row in values]
        read, wrong = _numbers_of(column) if kind in ("number", "either") else (None, [])
        if read is None or (kind == "either" and wrong):
            cells[name] = tidy(np.arange(len(column), dtype=np.int32), [as_text(cell) for cell in column])
            continue
        cells[name] = read
        bad += [_no_number(table.path, int(rows[row]), name, column[row]) for row in wrong]
    return Columns(table, cells, bad, rows)


def _numbers_of(column: list[Any]) -> tuple[np.ndarray, list[int]]:
    """float64 [n], and the rows that hold something else."""
    numbers = [_number(cell) for cell in column]
    wrong = [row for row, number in enumerate(numbers) if number is None]
    return np.array([np.nan if number is None else number for number in numbers], np.float64), wrong


def _no_number(path: Path, row: int, name: str, cell: Any) -> Problem:
    message = f"holds {as_text(cell)!r:.40} in {name!r}, where a number belongs: mend it."
    return Problem("error", "no-number", place(path, row), message)
