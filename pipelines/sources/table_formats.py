"""How each format of table is opened: its column names, and its rows one by one."""

import codecs
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
from pipelines.sources.texts import LARGEST, decode, is_narrow, misfit, utf16_or_32, wide
from pipelines.task import Problem

Row = tuple[int, list[Any] | Problem]
"""Its number (line of a text file, row of a Parquet file, from 1) and its values, or what is wrong with it."""

_PEEK = 100
"""JSON lines that are looked at for names: the first may lack a key."""

_BLOCK = 1 << 20
"""Bytes of a table that are decoded at a time where lines cannot be told before."""
_AN_OBJECT = 'write one a line, {"name": value, …}, nothing around them'
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Opened:
    """A table whose names are known and whose rows are not read yet."""

    names: list[str]
    rows: Callable[[list[str]], Iterator[Row]]
    """The rows once, with the values of the columns asked for."""
    hint: str = ""
    """What may be wrong where a name is not found."""
    bare: bool = False
    """The first line holds no names but the first row; the names are positions."""


@dataclass(frozen=True)
class Undecodable:
    """A line that is not of the table's encoding."""

    message: str
    about: str
    """What it says nearly."""


def place(path: Path, row: int) -> str:
    """'labels.csv line 7'; Parquet has rows, text has lines."""
    return f"{path} {'row' if '.parquet' in path.name.lower() else 'line'} {row}"


def open_csv(path: Path, file: IO[bytes], positions: Collection[str], encoding: str | None) -> Opened:
    """Comma-separated, quoted as RFC 4180 says."""
    return _open_delimited(path, file, positions, encoding, lambda lines: csv.reader(lines, strict=True))


def open_tsv(path: Path, file: IO[bytes], positions: Collection[str], encoding: str | None) -> Opened:
    """Tab-separated; a quote is a character like any other, as sentences hold them unpaired."""
    return _open_delimited(
        path, file, positions, encoding, lambda lines: csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    )


def open_jsonl(path: Path, file: IO[bytes], positions: Collection[str], encoding: str | None) -> Opened:
    """One JSON object a line; the names are the keys of the first lines."""
    del positions
    lines = enumerate(_lines(path, file, encoding), start=1)
    rows = (_json_row(path, number, line) for number, line in lines if not isinstance(line, str) or line.strip())
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


def open_parquet(path: Path, file: IO[bytes], positions: Collection[str], encoding: str | None) -> Opened:
    """Read a batch of rows at a time, only the columns asked for."""
    import pyarrow
    from pyarrow import parquet

    del positions, encoding
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
    path: Path,
    file: IO[bytes],
    positions: Collection[str],
    encoding: str | None,
    parse: Callable[[Iterator[str]], Any],
) -> Opened:
    csv.field_size_limit(max(csv.field_size_limit(), LARGEST))
    undecodable: list[Undecodable] = []
    reader = parse(_noting(_lines(path, file, encoding), undecodable))
    rows = _records(path, reader)
    number, first = next(rows, (0, []))
    if not first:
        raise DataError(f"{path} is empty: nothing to read.")
    if undecodable:
        raise DataError(f"{place(path, number)} {undecodable[0].message}")
    bare = bool(positions) and not set(positions) <= set(first)
    names = [str(position) for position in range(len(first))] if bare else first
    _check_names(path, names)
    tabs = ".tsv" in path.name.lower()
    hint = f" Its columns must be separated by {'tabs' if tabs else 'commas'}." if _unseparated(names) else ""

    def pick(wanted: list[str]) -> Iterator[Row]:
        places = [names.index(name) for name in wanted]
        for number, values in chain([(number_of_first, first)] if bare else [], rows):
            yield number, _checked(path, number, values, len(names), undecodable) or [values[at] for at in places]

    number_of_first = number
    return Opened(names, pick, hint, bare)


def _unseparated(names: list[str]) -> bool:
    """Whether what is read as one name seems to be several, with something else between them."""
    return len(names) == 1 and not set(",;|\t").isdisjoint(names[0])


def _check_names(path: Path, names: list[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path} has two columns named {twice!r}: rename one.")


def _checked(
    path: Path, number: int, values: list[str], columns: int, undecodable: list[Undecodable]
) -> Problem | None:
    if undecodable:
        message = undecodable[0].message
        undecodable.clear()
        return Problem("error", "wrong-encoding", place(path, number), message)
    if len(values) != columns:
        there = f"{len(values)} value{'' if len(values) == 1 else 's'}"
        message = f"has {there} where the table has {columns} column{'' if columns == 1 else 's'}: mend the line."
        return Problem("error", "malformed-row", place(path, number), message)
    return None


def _lines(path: Path, file: IO[bytes], encoding: str | None) -> Iterator[str | Undecodable]:
    """Text line by line, UTF-8 where no encoding is named."""
    if encoding and not is_narrow(encoding):
        yield from _wide_lines(path, file, encoding)
        return
    for number, line in enumerate(file, start=1):
        if number == 1 and (marked := utf16_or_32(line)):
            remedy = f", or give --encoding {marked}" if encoding else ""
            raise DataError(f"{path} is {marked.upper()}: save the table as UTF-8{remedy}.")
        if number == 1 and (guess := wide(line[: len(line) // 2 * 2])):
            remedy = f", or give --encoding {guess}" if encoding else ""
            raise DataError(f"{path} seems to be {guess.upper()}: save the table as UTF-8{remedy}.")
        try:
            yield decode(line, encoding or "utf-8") if number == 1 else line.decode(encoding or "utf-8")
        except UnicodeDecodeError as error:
            message = misfit(error, encoding or "utf-8", line=number, settable=encoding is not None)
            yield Undecodable(message, line.decode(encoding or "utf-8", "replace"))


def _wide_lines(path: Path, file: IO[bytes], encoding: str) -> Iterator[str]:
    """Of UTF-16 and its like, where a byte that does not fit leaves all that follows in doubt."""
    decoder = codecs.getincrementaldecoder(encoding)()
    offset, rest, start = 0, "", True
    while True:
        block = file.read(_BLOCK)
        pending = len(decoder.getstate()[0])
        try:
            rest += decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            place = f"byte offset {offset - pending + error.start:,} holds 0x{error.object[error.start]:02X}"
            raise DataError(f"{path} is not {encoding.upper()} ({place}): save the table as UTF-8.") from error
        except UnicodeError as error:
            raise DataError(f"{path} is not {encoding.upper()} ({error}): save the table as UTF-8.") from error
        rest, start = rest.removeprefix("\ufeff") if start else rest, start and not rest
        *lines, rest = rest.split("\n")
        yield from (line + "\n" for line in lines)
        offset += len(block)
        if not block:
            break
    if rest:
        yield rest


def _noting(lines: Iterator[str | Undecodable], undecodable: list[Undecodable]) -> Iterator[str]:
    """Text alone; what does not decode is noted for the row it belongs to."""
    for line in lines:
        if isinstance(line, Undecodable):
            undecodable.append(line)
        yield line if isinstance(line, str) else line.about


def _records(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """The records that are not blank, each with the number of its last line."""
    try:
        for values in reader:
            if values:
                yield reader.line_num, values
    except csv.Error as error:
        if "field limit" in str(error):
            long = f"ends a value of more than {LARGEST:,} characters: cut it, or close its quotes."
            raise DataError(f"{place(path, reader.line_num)} {long}") from error
        if "new-line character" in str(error):
            alone = "holds a carriage return (CR) outside quotes: end lines with LF or CRLF, or quote the value."
            raise DataError(f"{place(path, reader.line_num)} {alone}") from error
        raise DataError(f"{place(path, reader.line_num)} is malformed ({error}): mend its quotes.") from error


def _json_row(path: Path, number: int, line: str | Undecodable) -> tuple[int, dict[str, Any] | Problem]:
    if isinstance(line, Undecodable):
        return number, Problem("error", "wrong-encoding", place(path, number), line.message)
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:  # whose own text begins to count lines here
        wrong = f"is no JSON: {error.msg} (column {error.colno})."
        if line.strip() in ("[", "{"):  # pretty-printed
            wrong = f"is no JSON by itself: {_AN_OBJECT}."
        return number, Problem("error", "malformed-row", place(path, number), wrong)
    except ValueError as error:
        return number, Problem("error", "malformed-row", place(path, number), f"is no JSON: {error}.")
    except RecursionError:
        return number, Problem(
            "error", "malformed-row", place(path, number), "is no JSON table row: it nests too deep."
        )
    if not isinstance(row, dict):
        return number, Problem("error", "malformed-row", place(path, number), f"is no JSON object: {_AN_OBJECT}.")
    return number, row


def _picked(path: Path, number: int, row: dict[str, Any], wanted: list[str]) -> list[Any] | Problem:
    values = [row.get(name) for name in wanted]
    if any(isinstance(value, str) and _SURROGATE.search(value) for value in values):
        message = "holds half a character (an escape from \\ud800 to \\udfff that stands alone): mend the line."
        return Problem("error", "malformed-row", place(path, number), message)
    return values


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
