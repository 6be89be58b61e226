"""Where the sound of clips lies: files and stretches of files, or the records of a TensorFlow data set."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.audio.files import Opened, Stretch, opened
from pipelines.sources.folders import printable
from pipelines.sources.scan import UNKNOWN, BadExample, content_hash, file_keys


@dataclass(frozen=True)
class Files:
    """Clips that are files, or are cut out of some."""

    paths: np.ndarray
    """object [n], of bytes; b"" where none is named."""
    starts: np.ndarray
    """float64 [n], seconds; NaN where the clip is the whole file."""
    seconds: np.ndarray
    """float64 [n]; NaN where it goes to the end."""

    @classmethod
    def whole(cls, paths: list[bytes]) -> "Files":
        """Every file a clip."""
        nowhere = np.full(len(paths), np.nan)
        return cls(as_column(paths), nowhere, nowhere)

    def __len__(self) -> int:
        return len(self.paths)

    def stretch(self, row: int) -> Stretch:
        """A clip."""
        start, seconds = float(self.starts[row]), float(self.seconds[row])
        return Stretch(self.paths[row], 0.0 if np.isnan(start) else start, None if np.isnan(seconds) else seconds)

    def opened(self, row: int) -> AbstractContextManager[Opened]:
        """See Recordings."""
        if not self.paths[row]:
            raise BadExample("no-path", "names no file: fill it in.")
        return opened(self.stretch(row))

    def keys(self) -> np.ndarray:
        """See Recordings."""
        files, place = np.unique(self.paths, return_inverse=True)
        keys = file_keys(files.tolist())[place]
        cut = np.flatnonzero(~(np.isnan(self.starts) & np.isnan(self.seconds)) & (keys != UNKNOWN))
        for row in cut.tolist():
            keys[row] = content_hash(f"{keys[row]}|{self.starts[row]}|{self.seconds[row]}".encode())
        return keys

    def path(self, row: int) -> bytes:
        """See Recordings."""
        path: bytes = self.paths[row]
        return path

    def where(self, row: int) -> str:
        """The path, and what of it."""
        name = printable(os.fsdecode(self.paths[row]))
        stretch = self.stretch(row)
        return name if np.isnan(self.starts[row]) else f"{name} from {stretch.start:g} s"


def as_column(values: Sequence[Any]) -> np.ndarray:
    """object [n]."""
    column = np.empty(len(values), object)
    column[:] = values
    return column
