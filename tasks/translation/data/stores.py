"""Random access to pairs of texts, and to their pieces once they are known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from pipelines.sources.folders import printable
from pipelines.task import Raw


class PieceTable(Protocol):
    """The pieces of many texts, whole."""

    @property
    def lengths(self) -> np.ndarray:
        """int32 [n]: pieces of each."""

    def take(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(values int32 [pieces], row splits int64 [rows + 1]) of int64 [rows], in that order."""


@dataclass(frozen=True)
class Pairs:
    """All pairs of one source."""

    source: np.ndarray
    """object [n], of bytes in UTF-8; b"" where there is none that can be used."""
    target: np.ndarray
    """The same of the translations."""
    place: Callable[[int], str]
    """How a person finds each again: file and line."""
    languages: tuple[str, str]
    """Of source and target."""

    def where(self, row: int) -> str:
        """'train.en line 7'."""
        return self.place(row)


@dataclass(frozen=True)
class PairStore:
    """The examples of one split."""

    items: Pairs
    rows: np.ndarray
    """int64 [n], of items."""
    groups: np.ndarray | None = None
    compared: np.ndarray | None = None
    """object [n], of texts: what scores are told apart by."""
    pieces: tuple[PieceTable, PieceTable] | None = None
    """Of all sources and all targets that were tokenised, and `places` of these n among them; None before."""
    places: np.ndarray | None = None
    """int64 [n], into pieces; None where they are these n."""
    marks: tuple[int, int] = (1, 1)
    """How many pieces the model sees of a source beside its own, and of a target: the end at least."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sizes(self) -> np.ndarray | None:
        """int32 [n, 2]: pieces of each whole source and of each whole target, with their marks."""
        if self.pieces is None:
            return None
        lengths = [table.lengths if self.places is None else table.lengths[self.places] for table in self.pieces]
        return np.stack(lengths, axis=1).astype(np.int32) + np.array(self.marks, np.int32)

    @property
    def length(self) -> np.ndarray:
        """int64 [n]: pieces of each whole source."""
        assert self.sizes is not None
        return self.sizes[:, 0].astype(np.int64) - self.marks[0]

    def only(self, kept: np.ndarray) -> "PairStore":
        """Some of the examples, int64 [rows], ascending."""
        places = kept if self.places is None else self.places[kept]
        groups, compared = (None if column is None else column[kept] for column in (self.groups, self.compared))
        return replace(self, rows=self.rows[kept], groups=groups, compared=compared, places=places)

    def ids(self, indices: np.ndarray) -> list[str]:
        """File and line."""
        return [printable(self.items.where(row)) for row in self.rows[indices].tolist()]

    def encoded(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sources and targets of int64 [rows]: object [rows] each, of bytes in UTF-8."""
        rows = self.rows[indices]
        return self.items.source[rows], self.items.target[rows]

    def sources(self, indices: np.ndarray) -> list[str]:
        """What is to be translated."""
        return [text.decode("utf-8", "replace") for text in self.encoded(indices)[0]]

    def targets(self, indices: np.ndarray) -> list[str]:
        """What it is translated to."""
        return [text.decode("utf-8", "replace") for text in self.encoded(indices)[1]]

    def fetch(self, indices: np.ndarray) -> Raw:
        """source, target int32 [all pieces of the rows] with source_splits, target_splits int64 [rows + 1], nothing
        before or behind a text; not tokenised: text, target, object [rows], of bytes."""
        if self.pieces is None:
            return dict(zip(("text", "target"), self.encoded(indices), strict=True))
        at = indices if self.places is None else self.places[indices]
        (source, source_splits), (target, target_splits) = (table.take(at) for table in self.pieces)
        return {"source": source, "source_splits": source_splits, "target": target, "target_splits": target_splits}


def as_column(texts: Sequence[bytes]) -> np.ndarray:
    """object [n], of bytes."""
    column = np.empty(len(texts), object)
    column[:] = texts
    return column
