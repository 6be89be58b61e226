"""What is measured of transcripts: the edits of words and characters from what was heard to what was said, as jiwer
counts them. Imports no TensorFlow."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NORMALISER = (
    "NFKC, case-folded; punctuation and symbols are blanks, but for apostrophes within words; runs of blanks are one"
)
"""What `normalised` does."""
_APOSTROPHES = "'’ʼ"
_SUBSTITUTIONS, _INSERTIONS, _DELETIONS, _LENGTH = range(4)


@dataclass(frozen=True)
class Edits:
    """From each right transcript to the one that was found."""

    counts: np.ndarray
    """float64 [n, 4]: substitutions, insertions, deletions, and units of the right one."""
    pairs: list[list[tuple[str, str]]]
    """Of each transcript the units side by side, right and found, '' where one has none."""

    @property
    def rates(self) -> np.ndarray:
        """float64 [n, 2]: edits and units, whose sums make the error rate."""
        return np.stack([self.counts[:, :_LENGTH].sum(axis=1), self.counts[:, _LENGTH]], axis=1)

    def part(self, kind: str) -> np.ndarray:
        """float64 [n, 2]: edits of one kind (substitutions, insertions, deletions), and units."""
        column = {"substitutions": _SUBSTITUTIONS, "insertions": _INSERTIONS, "deletions": _DELETIONS}[kind]
        return self.counts[:, [column, _LENGTH]]

    @property
    def each(self) -> np.ndarray:
        """float64 [n]: the error rate of every transcript by itself; of an empty one, the number of insertions."""
        edits, units = self.rates.T
        return np.asarray(edits / np.maximum(units, 1))

    def confused(self) -> Counter[tuple[str, str]]:
        """How often each unit was found as another one, or was missed or made up."""
        return Counter(pair for row in self.pairs for pair in row if pair[0] != pair[1])


def words(found: Sequence[str], given: Sequence[str]) -> Edits:
    """Words are what stands between blanks."""
    import jiwer

    return _edits(jiwer.process_words(list(given), list(found)))


def characters(found: Sequence[str], given: Sequence[str]) -> Edits:
    """Characters are Unicode's code points, blanks among them."""
    import jiwer

    return _edits(jiwer.process_characters(list(given), list(found)))


def ratio(means: np.ndarray) -> np.ndarray:
    """Means of edits and of units [resamples, 2] -> the error rate of each resample."""
    return np.asarray(means[:, 0] / np.maximum(means[:, 1], 1e-300))


def normalised(text: str) -> str:
    """As NORMALISER says."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    signs = [
        sign if not unicodedata.category(sign).startswith(("P", "S")) or _within(folded, place) else " "
        for place, sign in enumerate(folded)
    ]
    return " ".join("".join(signs).split())


def _within(text: str, place: int) -> bool:
    """Whether an apostrophe stands there, between two letters."""
    beside = text[place - 1 : place] + text[place + 1 : place + 2]
    return text[place] in _APOSTROPHES and len(beside) == 2 and beside.isalnum()


def _edits(output: Any) -> Edits:
    counts = np.zeros((len(output.references), 4))
    pairs = []
    sides = zip(output.references, output.hypotheses, output.alignments, strict=True)
    for row, (given, found, chunks) in enumerate(sides):
        counts[row, _LENGTH] = len(given)
        own: list[tuple[str, str]] = []
        for chunk in chunks:
            theirs = given[chunk.ref_start_idx : chunk.ref_end_idx]
            ours = found[chunk.hyp_start_idx : chunk.hyp_end_idx]
            if (column := _COLUMNS.get(chunk.type)) is not None:
                counts[row, column] += max(len(theirs), len(ours))
            own += zip(theirs or [""] * len(ours), ours or [""] * len(theirs), strict=True)
        pairs.append(own)
    return Edits(counts, pairs)


_COLUMNS = {"substitute": _SUBSTITUTIONS, "insert": _INSERTIONS, "delete": _DELETIONS}
