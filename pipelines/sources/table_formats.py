"""How each format of table is opened: its column names, and its rows one by one."""

import csv
import gzip
import io
import json
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from pipelines.errors import DataError
from pipelines.task import Problem

Row = tuple[int, list[Any] | Problem]
"""Its number (line of a text file, row of a Parquet file, from 1) and its values, or what is wrong with it."""

_PEEK = 100
"""JSON lines that are looked at for names: the first may lack a key."""


_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Opened:
    """A table whose names are known and whose rows are not read yet."""

    names: list[str]
    rows: Callable[[list[str]], Iterator[Row]]
    """The rows once, with the values of the columns asked for."""
    hint: str = ""
    """What may be wrong where a name is not found."""


def place(path: Path, row: int) -> str:
    """'labels.csv line 7'; Parquet has rows, text has lines."""
    return f"{path} {'row' if '.parquet' in path.name.lower() else 'line'} {row}"


def open_csv(path: Path, file: IO[bytes], positions: Collection[str]) -> Opened:
    """Comma-separated, quoted as RFC 4180 says."""
    return _open_delimited(path, file, positions, lambda lines: csv.reader(lines, strict=True))


def open_tsv(path: Path, file: IO[bytes], positions: Collection[str]) -> Opened:
    """Tab-separated; a quote is a character like any other, as sentences hold them unpaired."""
    return _open_delimited(
        path, file, positions, lambda lines: csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    )


def open_jsonl(path: Path, file: IO[bytes], positions: Collection[str]) -> Opened:
    """One JSON object a line; the names are the keys of the first lines."""
    del positions
    lines = enumerate(file, start=1)
    rows = (_json_row(path, number, line) for number, line in lines if line.strip())
    peeked = list(islice(rows, _PEEK))
    objects = [row for _, row in peeked if isinstance(row, dict)]
    if not objects:
        reason = next(
            (f"{row.where} {row.message}" for _, row in peeked if isinstance(row, Problem)),
            f"{path} is empty: nothing to read.",
        )
        raise DataError(reason)
    names = list(dict.fromkeys(key for row in objects for key in row))

    def pick(wanted: list[str]) -> Iterator[Row]:
        for number, row in chain(peeked, rows):
            yield number, row if isinstance(row, Problem) else _picked(path, number, row, wanted)

    return Opened(names, pick)


def open_parquet(path: Path, file: IO[bytes], positions: Collection[str]) -> Opened:
    """Read a batch of rows at a time, only the columns asked for."""
    import pyarrow
    from pyarrow import parquet

    del positions
    seekable = io.BytesIO(file.read()) if isinstance(file, gzip.GzipFile) else file
    try:
        table = parquet.ParquetFile(seekable)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} is no Parquet file or a damaged one: {_first_line(error)}") from error

    names = list(table.schema_arrow.names)
    _check_names(path, names)

    def pick(wanted: list[str]) -> Iterator[Row]:
        number = 0
        try:
            for batch in table.iter_batches(columns=list(dict.fromkeys(wanted))):
                for values in zip(*(batch.column(name).to_pylist() for name in wanted), strict=True):
                    number += 1
                    yield number, list(values)
        except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
            raise DataError(f"{path} is damaged after row {number}: {_first_line(error)}") from error

    return Opened(names, pick)


OPENERS = {".csv": open_csv, ".tsv": open_tsv, ".jsonl": open_jsonl, ".parquet": open_parquet}


def _open_delimited(
    path: Path, file: IO[bytes], positions: Collection[str], parse: Callable[[Iterator[str]], Any]
) -> Opened:
    undecodable: list[int] = []
    reader = parse(_lines(path, file, undecodable))
    rows = _records(path, reader)
    number, first = next(rows, (0, []))
    if not first:
        raise DataError(f"{path} is empty: nothing to read.")
    if undecodable:
        raise DataError(f"{place(path, number)} is not UTF-8: save the table as UTF-8.")
    bare = bool(positions) and not set(positions) <= set(first)
    names = [str(position) for position in range(len(first))] if bare else first
    _check_names(path, names)
    hint = " Its columns must be separated by commas." if len(names) == 1 and ";" in names[0] else ""

    def pick(wanted: list[str]) -> Iterator[Row]:
        places = [names.index(name) for name in wanted]
        for number, values in chain([(number_of_first, first)] if bare else [], rows):
            yield number, _checked(path, number, values, len(names), undecodable) or [values[at] for at in places]

    number_of_first = number
    return Opened(names, pick, hint)


def _check_names(path: Path, names: list[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path} has two columns named {twice!r}: rename one.")


def _checked(path: Path, number: int, values: list[str], columns: int, undecodable: list[int]) -> Problem | None:
    if undecodable:
        undecodable.clear()
        return Problem("error", "not-utf-8", place(path, number), "is not UTF-8: save the table as UTF-8.")
    if len(values) != columns:
        there = f"{len(values)} value{'' if len(values) == 1 else 's'}"
        message = f"has {there} where the table has {columns} column{'' if columns == 1 else 's'}: mend the line."
        return Problem("error", "malformed-row", place(path, number), message)
    return None


def _lines(path: Path, file: IO[bytes], undecodable: list[int]) -> Iterator[str]:
    """Text line by line; the numbers of lines that are not UTF-8 are noted for the row they belong to."""
    for number, line in enumerate(file, start=1):
        if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(f"{path} is UTF-16: save the table as UTF-8.")
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            undecodable.append(number)
            yield line.decode("utf-8", "replace")


def _records(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """The records that are not blank, each with the number of its last line."""
    try:
        for values in reader:
            if values:
                yield reader.line_num, values
    except csv.Error as error:
        raise DataError(f"{place(path, reader.line_num)} is malformed ({error}): mend its quotes.") from error


def _json_row(path: Path, number: int, line: bytes) -> tuple[int, dict[str, Any] | Problem]:
    try:
        row = json.loads(line)
    except UnicodeDecodeError:
        return number, Problem("error", "not-utf-8", place(path, number), "is not UTF-8: save the table as UTF-8.")
    except ValueError as error:
        return number, Problem("error", "malformed-row", place(path, number), f"is no JSON: {error}.")
    except RecursionError:
        return number, Problem(
            "error", "malformed-row", place(path, number), "is no JSON table row: it nests too deep."
        )
    if not isinstance(row, dict):
        return number, Problem("error", "malformed-row", place(path, number), 'is no JSON object, {"name": value, …}.')
    return number, row


def _picked(path: Path, number: int, row: dict[str, Any], wanted: list[str]) -> list[Any] | Problem:
    values = [row.get(name) for name in wanted]
    if any(isinstance(value, str) and _SURROGATE.search(value) for value in values):
        message = "holds half a character (an escape from \\ud800 to \\udfff that stands alone): mend the line."
        return Problem("error", "malformed-row", place(path, number), message)
    return values


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
