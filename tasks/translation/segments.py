"""Long paragraphs as parts that a model of sentences can translate, and back. Imports no TensorFlow."""

import re
from collections.abc import Callable, Sequence

_SENTENCE = re.compile(r"(?<=[.!?…])[\"'”’»)\]]*\s+(?=\S)|(?<=[。！？])")
"""Between two sentences; the full stop of a number, as in 3.5, has no blank behind it."""
_CLAUSE = re.compile(r"(?<=[,;:–—])\s+(?=\S)|(?<=[，、；：])")
_WORD = re.compile(r"\s+(?=\S)")
_UNSPACED = "。！？，、；："


def split(text: str, fits: Callable[[str], bool]) -> list[str]:
    """The text as parts that fit: whole, or sentence by sentence, which is what models learn from; one that is too long
    still as few parts as hold its clauses, or its words, and at last cut anywhere.

    Args:
        text: one paragraph.
        fits: whether a part is short enough.
    """
    return _cut(text.strip(), fits, (_SENTENCE, _CLAUSE, _WORD))


def join(parts: Sequence[str]) -> str:
    """The translated parts as one paragraph; with a blank between, but behind signs that take none."""
    found = ""
    for part in parts:
        found += (" " if found and part and found[-1] not in _UNSPACED else "") + part
    return found


def _cut(text: str, fits: Callable[[str], bool], marks: Sequence[re.Pattern[str]]) -> list[str]:
    if not text or fits(text):
        return [text] if text else []
    if not marks:
        middle = max(len(text) // 2, 1)
        return [text] if len(text) < 2 else [*_cut(text[:middle], fits, ()), *_cut(text[middle:], fits, ())]
    pieces = _between(text, marks[0])
    if len(pieces) == 1:
        return _cut(text, fits, marks[1:])
    parts: list[str] = []
    for piece in pieces:
        together = f"{parts[-1]}{piece}" if parts else piece
        if parts and marks[0] is not _SENTENCE and fits(together.strip()):
            parts[-1] = together
        else:
            parts.append(piece)
    return [short for part in parts for short in _cut(part.strip(), fits, marks[1:])]


def _between(text: str, mark: re.Pattern[str]) -> list[str]:
    """The text cut behind each mark; together they are the text."""
    ends = [found.end() for found in mark.finditer(text)]
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True) if start < end]
