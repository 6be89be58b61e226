"""What predict reads: texts from lines on stdin, files, folders of files and tables, streamed in batches."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from pipelines.errors import DataError
from pipelines.sources.folders import printable, walk
from pipelines.sources.scan import BadExample
from pipelines.sources.table_formats import place
from pipelines.sources.tables import open_rows, table_suffix
from pipelines.sources.texts import from_cell, from_file, is_narrow, read_file
from pipelines.task import Assets, Problem, Raw
from tasks.text_sentiment.config import Config
from tasks.text_sentiment.data.header import text_column
from tasks.text_sentiment.data.stores import as_column

_Input = tuple[str, bytes]
"""The id of the record and the text; or NUL and the reason why there is none."""


def inputs(paths: Sequence[str], config: Config, assets: Assets | None = None) -> Iterator[tuple[list[str], Raw]]:
    """Batches of config.batch_size, of (ids, {"text": object [rows], of bytes in UTF-8}), in order.

    A path is a file that holds one text; a folder of such files, however deep; a table with a column of texts; or -,
    for one text a line on stdin. What is no text comes out as NUL and the reason, for its record to say so.

    Raises:
        DataError: a table is damaged or has no such column, or a path does not exist.
    """
    del assets
    every = (item for path in paths for item in _expand(path, config))
    while some := list(islice(every, config.batch_size)):
        yield [printable(name) for name, _ in some], {"text": as_column([text for _, text in some])}


def _expand(path: str, config: Config) -> Iterable[_Input]:
    if path == "-":
        return _from_lines(sys.stdin.buffer, config)
    if os.path.isdir(path):
        return _from_folder(path, config)
    if table_suffix(Path(path)) and os.path.isfile(path):
        return _from_table(Path(path), config)
    if not os.path.lexists(path):
        remedy = b"a text itself is given on standard input, as in: echo TEXT | sixfold predict RUN -"
        return [(path, b"\0it does not exist; " + remedy)]
    return [_from_file(path, config)]


def _from_lines(lines: Iterable[bytes], config: Config) -> Iterator[_Input]:
    if not is_narrow(config.encoding):
        raise DataError(f"standard input is read by the line, which {config.encoding} hides: pass it on as UTF-8.")
    for number, line in enumerate(lines, start=1):
        try:
            yield f"line {number}", from_file(line.rstrip(b"\r\n"), config.encoding).encode()
        except BadExample as problem:
            yield f"line {number}", _refused(problem)


def _from_folder(folder: str, config: Config) -> Iterator[_Input]:
    empty = True
    for file in walk(folder):
        empty = False
        yield _from_file(file, config)
    if empty:
        raise DataError(f"{folder} holds no file: name a folder of texts.")


def _from_file(path: str, config: Config) -> _Input:
    try:
        return path, from_file(read_file(os.fsencode(path)), config.encoding).encode()
    except BadExample as problem:
        return path, _refused(problem)


def _from_table(table: Path, config: Config) -> Iterator[_Input]:
    columns = {"text": (config.columns or {}).get("text") or text_column(table, config.encoding)}
    columns = {name: column for name, column in columns.items() if column != name}
    with open_rows(table, columns, ["text"], encoding=config.encoding) as (_, rows):
        for number, row in rows:
            if isinstance(row, Problem):
                yield row.where, b"\0" + f"the row {row.message}".removesuffix(".").encode()
                continue
            try:
                yield place(table, number), from_cell(row[0], config.encoding).encode()
            except BadExample as problem:
                yield place(table, number), _refused(problem)


def _refused(problem: BadExample) -> bytes:
    """Without the clause on how to mend it, which is for who has the file at hand."""
    return b"\0" + f"it {problem.message}".removesuffix(".").encode("utf-8", "replace")
