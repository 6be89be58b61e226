"""Random access to images: an array, files, or encoded bytes in records. Decoding comes later, in the graph."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipelines.sources.folders import printable
from pipelines.sources.tfds import Records
from pipelines.task import Raw


class Images(Protocol):
    """All images of one source."""

    @property
    def column(self) -> str:
        """What the raw column is called: pixels, path or bytes."""

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The raw column of int64 [rows]."""

    def where(self, row: int) -> str:
        """How a person finds it again."""


@dataclass(frozen=True)
class Pixels:
    """Images of one size in an array."""

    array: np.ndarray
    """uint8 [n, height, width, channels]."""
    name: str
    column: str = "pixels"

    def take(self, rows: np.ndarray) -> np.ndarray:
        """uint8 [rows, height, width, channels]."""
        return np.asarray(self.array[rows])

    def where(self, row: int) -> str:
        """'digits.npz x_train[17]'."""
        return f"{self.name}[{row}]"


@dataclass(frozen=True)
class Files:
    """Images in files of their own."""

    paths: np.ndarray
    """object [n], of bytes."""
    place: Callable[[int], str] | None = None
    """Where the example is named, where not by its path: file and row of a table."""
    column: str = "path"

    def take(self, rows: np.ndarray) -> np.ndarray:
        """object [rows], of bytes."""
        return np.asarray(self.paths[rows])

    def where(self, row: int) -> str:
        """The path, and the row of the table that names it."""
        path = printable(self.paths[row])
        return f"{path} ({self.place(row)})" if self.place else path


@dataclass(frozen=True)
class Encoded:
    """Images as encoded bytes inside serialized records."""

    records: Records
    spans: np.ndarray
    """int64 [n, 2]: start and length of the image within its record."""
    name: str
    column: str = "bytes"

    def take(self, rows: np.ndarray) -> np.ndarray:
        """object [rows], of bytes: records are read in one call, and the image cut out of each without parsing it."""
        cut = zip(self.records.read(rows), self.spans[rows].tolist(), strict=True)
        column = np.empty(len(rows), object)
        column[:] = [record[start : start + length] for record, (start, length) in cut]
        return column

    def where(self, row: int) -> str:
        """'mnist/3.0.1 train[17]'."""
        return f"{self.name}[{row}]"


@dataclass(frozen=True)
class UnlabelledStore:
    """Images without what they show."""

    images: Images
    rows: np.ndarray
    """int64 [n], of images."""
    groups: None = None
    sizes: None = None

    def __len__(self) -> int:
        return len(self.rows)

    def ids(self, indices: np.ndarray) -> list[str]:
        """A path, or file and row."""
        return _names(self.images, self.rows[indices])

    def fetch(self, indices: np.ndarray) -> Raw:
        """pixels uint8 [rows, height, width, channels], or path or bytes, object [rows]."""
        return {self.images.column: self.images.take(self.rows[indices])}


@dataclass(frozen=True)
class ImageStore:
    """The examples of one split."""

    images: Images
    rows: np.ndarray
    """int64 [n], of images."""
    label: np.ndarray
    """int32 [n], into assets["classes"]; or bool [n, classes]."""
    groups: np.ndarray | None = None
    compared: np.ndarray | None = None
    """object [n], of texts: what scores are told apart by."""
    sizes: None = None

    def __len__(self) -> int:
        return len(self.rows)

    def ids(self, indices: np.ndarray) -> list[str]:
        """A path, or file and row."""
        return _names(self.images, self.rows[indices])

    def fetch(self, indices: np.ndarray) -> Raw:
        """label int32 [rows] or bool [rows, classes]; and pixels uint8 [rows, height, width, channels], or path or
        bytes, object [rows]."""
        return {self.images.column: self.images.take(self.rows[indices]), "label": self.label[indices]}


def _names(images: Images, rows: np.ndarray) -> list[str]:
    if isinstance(images, Files):
        return [printable(images.paths[row]) for row in rows.tolist()]
    return [images.where(row) for row in rows.tolist()]
