"""What transcripts are written in: characters, or pieces that SentencePiece learnt. Imports no TensorFlow.

A letter and the marks on it are one character, so that a tone is never torn from its vowel.
"""

import re
import sys
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from functools import cache

import numpy as np

from pipelines.text.pieces import prepared

BLANK = 0
"""What CTC says between characters (Graves et al., 2006); its name in the alphabet is ''."""
_JOINERS = "\u200c\u200d"


def normalised(text: str, *, lowercase: bool) -> str:
    """A transcript as the model learns to write it: composed (NFC), single blanks."""
    return prepared(text, lowercase=lowercase)


def characters(text: str) -> list[str]:
    """The characters of a text, each with the marks that follow it."""
    return list(text) if text.isascii() else _pattern().findall(text)


def learnt(texts: Iterable[str]) -> list[str]:
    """Every character of some texts, in order, behind '' for the blank."""
    return ["", *sorted({character for text in texts for character in characters(text)})]


def encoded(texts: Sequence[str], alphabet: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(ids int32 [characters of all texts], splits int64 [n + 1]); what is not in the alphabet is passed over."""
    number = {character: place for place, character in enumerate(alphabet)}
    rows = [[number[one] for one in characters(text) if one in number] for text in texts]
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    ids = np.array([one for row in rows for one in row], np.int32)
    return ids, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def strange(text: str, alphabet: Collection[str]) -> list[str]:
    """The characters of a text that are not in the alphabet, each once."""
    return [one for one in dict.fromkeys(characters(text)) if one not in alphabet]


def steps(text: str) -> int:
    """How many answers of the network a text takes at least: one for each character, and a blank between two that are
    alike."""
    found = characters(text)
    return len(found) + sum(one == other for one, other in zip(found, found[1:], strict=False))


@cache
def _pattern() -> re.Pattern[str]:
    """A character and the marks behind it; or marks that stand alone."""
    signs = (chr(code) for code in range(sys.maxunicode + 1))
    marks = re.escape("".join(sign for sign in signs if unicodedata.category(sign).startswith("M")) + _JOINERS)
    return re.compile(f"[^{marks}][{marks}]*|[{marks}]+", re.DOTALL)
