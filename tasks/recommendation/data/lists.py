"""Lists: a line each, `user item item …`, in the order in which they were taken; and the negatives of NCF."""

from pathlib import Path

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.columns import encoded
from pipelines.sources.tables import binary, translated
from pipelines.sources.texts import decode
from pipelines.task import Problem
from tasks.recommendation.data.interactions import Interactions

_BLANK = np.zeros(256, bool)
_BLANK[[9, 10, 11, 12, 13, 32]] = True


def read_lists(path: Path, encoding: str = "utf-8") -> Interactions:
    """The interactions of a file of lists, whole.

    Raises:
        DataError: it cannot be read or holds nothing.
    """
    with translated(path), binary(path, path.name.lower().endswith(".gz")) as file:
        content = file.read()
    try:
        content = decode(content, encoding).encode() if encoding != "utf-8" else content.removeprefix(b"\xef\xbb\xbf")
        codes, names, lines = _words(content)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not {encoding.upper()} ({error.reason}): name its encoding.") from error
    if not len(codes):
        raise DataError(f"{path} holds no list: nothing to read.")
    first = np.diff(lines, prepend=-1) > 0
    owner = codes[first]
    lengths = np.bincount(np.cumsum(first) - 1) - 1
    user, users = _only(np.repeat(owner, lengths), names)
    item, items = _only(codes[~first], names)
    at = lines[~first]

    def where(row: int) -> str:
        return f"{path} line {int(at[row]) + 1}"

    empty = zip(lines[first][lengths == 0].tolist(), owner[lengths == 0].tolist(), strict=True)
    bad = [
        Problem("error", "empty-list", f"{path} line {line + 1}", f"names {names[code]!r:.40} and no item: mend it.")
        for line, code in empty
    ]
    return Interactions(users, items, user, item, None, None, False, True, where, bad)


def is_lists(path: Path) -> bool:
    """Whether the lines of a file hold different numbers of words, so that they are no rows of a table."""
    with translated(path), binary(path, path.name.lower().endswith(".gz")) as file:
        start = file.read(1 << 16).splitlines()
    whole = [line for line in start[:-1] if line.strip()] or start
    return len({len(line.split()) for line in whole}) > 1 and not any(sign in whole[0] for sign in (b"|", b"::"))


def _words(content: bytes) -> tuple[np.ndarray, list[str], np.ndarray]:
    """(codes int32 [words], what they stand for, the line of each): no word becomes a Python object but the different
    ones."""
    import pyarrow

    data = np.frombuffer(content, np.uint8)
    blank = _BLANK[data]
    start = np.flatnonzero(~blank & np.concatenate([[True], blank[:-1]])) if len(data) else np.zeros(0, np.int64)
    if not len(start):
        return np.zeros(0, np.int32), [], np.zeros(0, np.int64)
    # Each word with the blanks behind it, which `encoded` takes away again.
    offsets = np.append(start, len(data))
    column = pyarrow.LargeStringArray.from_buffers(
        len(start), pyarrow.py_buffer(offsets.astype(np.int64)), pyarrow.py_buffer(content)
    )
    texts = encoded(column)
    lines = np.searchsorted(np.flatnonzero(data == 10), start)
    return texts.codes, texts.names, lines


def _only(codes: np.ndarray, names: list[str]) -> tuple[np.ndarray, list[str]]:
    """Codes into those names alone that are used, in the order of their first use."""
    used, at, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(at)
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order))
    return rank[inverse], [names[code] for code in used[order].tolist()]
