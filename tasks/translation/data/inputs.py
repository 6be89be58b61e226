"""What predict reads: texts from lines on stdin and in files, folders of files and tables, streamed in batches."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from pipelines.errors import DataError
from pipelines.sources.folders import printable, walk
from pipelines.sources.scan import BadExample
from pipelines.sources.table_formats import place
from pipelines.sources.tables import binary, open_rows, table_suffix, translated
from pipelines.sources.texts import decode, from_cell, is_narrow, misfit, utf16_or_32
from pipelines.task import Assets, Problem, Raw
from tasks.translation.config import Config
from tasks.translation.data.aligned import read_lines
from tasks.translation.data.header import source_column
from tasks.translation.data.stores import as_column

_Input = tuple[str, bytes]
"""The id of the record and the text; or NUL and the reason why there is none."""


def inputs(paths: Sequence[str], config: Config, assets: Assets | None = None) -> Iterator[tuple[list[str], Raw]]:
    """Batches of config.batch_size, of (ids, {"text": object [rows], of bytes in UTF-8}), in order.

    A path is a file of texts, one a line; a folder of such files, however deep; a table with a column of texts; or -,
    for one text a line on stdin. Lines that are blank are texts too, and empty, so that what comes out has as many.
    What is no text comes out as NUL and the reason, for its record to say so.

    Raises:
        DataError: a file is damaged or has no such column.
    """
    language = config.source_lang or ((assets or {}).get("languages") or {}).get("source")
    every = (item for path in paths for item in _expand(path, config, language))
    while some := list(islice(every, config.batch_size)):
        yield [printable(name) for name, _ in some], {"text": as_column([text for _, text in some])}


def _expand(path: str, config: Config, language: str | None) -> Iterable[_Input]:
    if path == "-":
        if not is_narrow(config.encoding):
            raise DataError(f"standard input is read by the line, which {config.encoding} hides: pass it on as UTF-8.")
        return _from_lines(sys.stdin.buffer, "", config.encoding)
    if os.path.isdir(path):
        return _from_folder(path, config)
    if not os.path.lexists(path):
        remedy = b"a text itself is given on standard input, as in: echo TEXT | sixfold predict RUN -"
        return [(path, b"\0it does not exist; " + remedy)]
    if table_suffix(Path(path)):
        return _from_table(Path(path), config, language)
    return _from_file(path, config.encoding)


def _from_folder(folder: str, config: Config) -> Iterator[_Input]:
    empty = True
    for file in walk(folder):
        empty = False
        yield from _from_file(file, config.encoding)
    if empty:
        raise DataError(f"{folder} holds no file: name a folder of texts.")


def _from_file(path: str, encoding: str) -> Iterator[_Input]:
    if not is_narrow(encoding):
        for row, text in enumerate(read_lines(Path(path), encoding)[0], start=1):
            yield f"{path} line {row}", _text(text)
        return
    with translated(Path(path)), binary(Path(path), path.lower().endswith(".gz")) as file:
        yield from _from_lines(file, f"{path} ", encoding)


def _from_lines(lines: Iterable[bytes], where: str, encoding: str) -> Iterator[_Input]:
    for number, line in enumerate(lines, start=1):
        if number == 1 and (marked := utf16_or_32(line)):
            raise DataError(f"{where or 'standard input '}is {marked.upper()}: pass it on as UTF-8.")
        try:
            text = decode(line, encoding) if number == 1 else line.decode(encoding)
        except UnicodeDecodeError as error:
            yield f"{where}line {number}", _refused(BadExample("", misfit(error, encoding)))
        else:
            yield f"{where}line {number}", _text(text)


def _from_table(table: Path, config: Config, language: str | None) -> Iterator[_Input]:
    column = source_column(table, config.columns, language, config.encoding)
    columns = {} if column == "source" else {"source": column}
    with open_rows(table, columns, ["source"], encoding=config.encoding) as (_, rows):
        for number, row in rows:
            if isinstance(row, Problem):
                yield row.where, _refused(BadExample(row.kind, f"is a row that {row.message}"))
            else:
                yield place(table, number), _text(row[0], config.encoding)


def _text(value: object, encoding: str = "utf-8") -> bytes:
    try:
        return from_cell(value, encoding).strip().encode()
    except BadExample as problem:
        return b"" if problem.kind == "empty-text" else _refused(problem)


def _refused(problem: BadExample) -> bytes:
    """Without the clause on how to mend it, which is for who has the file at hand."""
    return b"\0" + f"it {problem.message}".removesuffix(".").encode("utf-8", "replace")
