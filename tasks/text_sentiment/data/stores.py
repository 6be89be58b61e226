"""Random access to texts, and to their tokens once they are known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipelines.sources.folders import printable
from pipelines.task import Raw


class TokenTable(Protocol):
    """The tokens of many texts, whole."""

    @property
    def lengths(self) -> np.ndarray:
        """int64 [n]: tokens of each."""

    def take(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(values int32 [tokens], row splits int64 [rows + 1]) of int64 [rows], in that order."""


@dataclass(frozen=True)
class Texts:
    """All texts of one source."""

    texts: np.ndarray
    """object [n], of bytes in UTF-8; b"" where there is none that can be used."""
    place: Callable[[int], str]
    """How a person finds each again: path, or file and row."""

    def where(self, row: int) -> str:
        """'reviews.csv line 7'."""
        return self.place(row)


@dataclass(frozen=True)
class TextStore:
    """The examples of one split."""

    items: Texts
    rows: np.ndarray
    """int64 [n], of items."""
    label: np.ndarray
    """int32 [n], into assets["classes"]."""
    groups: np.ndarray | None = None
    compared: np.ndarray | None = None
    """object [n], of texts: what scores are told apart by."""
    tokens: TokenTable | None = None
    """Of these n texts; None before they are tokenised."""
    sizes: np.ndarray | None = None
    """int32 [n, 2]: places that the model sees of each text, its special tokens and padding within windows included,
    and how many windows they stand in."""

    def __len__(self) -> int:
        return len(self.rows)

    def ids(self, indices: np.ndarray) -> list[str]:
        """A path, or file and row."""
        return [printable(self.items.where(row)) for row in self.rows[indices].tolist()]

    def encoded(self, indices: np.ndarray) -> np.ndarray:
        """The texts of int64 [rows]: object [rows], of bytes in UTF-8."""
        return np.asarray(self.items.texts[self.rows[indices]])

    def texts(self, indices: np.ndarray) -> list[str]:
        """The same, for people."""
        return [text.decode("utf-8", "replace") for text in self.encoded(indices)]

    @property
    def length(self) -> np.ndarray:
        """int64 [n]: tokens of each whole text."""
        assert self.tokens is not None
        return self.tokens.lengths

    def fetch(self, indices: np.ndarray) -> Raw:
        """label int32 [rows]; tokens int32 [all tokens of the rows] and tokens_splits int64 [rows + 1], or text object
        [rows], of bytes."""
        label = {"label": self.label[indices]}
        if self.tokens is None:
            return {"text": self.encoded(indices), **label}
        values, splits = self.tokens.take(indices)
        return {"tokens": values, "tokens_splits": splits, **label}


def as_column(texts: Sequence[bytes]) -> np.ndarray:
    """object [n], of bytes."""
    column = np.empty(len(texts), object)
    column[:] = texts
    return column
