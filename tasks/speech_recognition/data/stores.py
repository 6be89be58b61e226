"""Random access to clips: what is known of each, and their sound and text once they are decoded and encoded."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from pipelines.audio.cache import Sounds
from pipelines.audio.files import Opened
from pipelines.sources.folders import printable
from pipelines.task import Raw


class Recordings(Protocol):
    """The sound of all clips of one source."""

    def __len__(self) -> int: ...

    def opened(self, row: int) -> AbstractContextManager[Opened]:
        """A clip, to be read. Raises BadExample."""

    def keys(self) -> np.ndarray:
        """uint64 [n], by which an unchanged clip is recognised; UNKNOWN where there is none."""

    def path(self, row: int) -> bytes:
        """Of the file that holds it; b"" where it is none of its own."""

    def where(self, row: int) -> str:
        """How a person finds it again, where no row of a manifest names it."""


@dataclass(frozen=True)
class Clips:
    """All clips of one source."""

    recordings: Recordings
    texts: np.ndarray
    """object [n], of texts as they will be written; '' where there is none that can be used."""
    speakers: np.ndarray
    """object [n], of texts; '' where nobody said."""
    seconds: np.ndarray
    """float64 [n]; 0 where there is no sound."""
    rates: np.ndarray
    """int64 [n], samples a second of each as it was recorded; 0 where there is no sound."""
    place: Callable[[int], str] | None = None
    """How a person finds each again, where not by its recording."""

    def where(self, row: int) -> str:
        """'train.jsonl line 7 (clips/7.wav)'."""
        return self.recordings.where(row) if self.place is None else self.place(row)


@dataclass(frozen=True)
class Written:
    """Transcripts as numbers of the alphabet."""

    ids: np.ndarray
    """int32 [characters of all texts]."""
    splits: np.ndarray
    """int64 [n + 1]."""

    def take(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Some texts: ids int32 [characters of those], splits int64 [rows + 1]."""
        starts, lengths = self.splits[rows], self.splits[rows + 1] - self.splits[rows]
        splits = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        return self.ids[np.arange(splits[-1]) + np.repeat(starts - splits[:-1], lengths)], splits


@dataclass(frozen=True)
class ClipStore:
    """The examples of one split."""

    items: Clips
    rows: np.ndarray
    """int64 [n], of items."""
    groups: np.ndarray | None = None
    compared: np.ndarray | None = None
    """object [n], of texts: what scores are told apart by."""
    sounds: Sounds | None = None
    """Of all clips that were decoded, and `places` of these n among them; None before."""
    written: Written | None = None
    """Their transcripts, likewise."""
    places: np.ndarray | None = None
    """int64 [n], into sounds and written; None where they are these n."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sizes(self) -> np.ndarray | None:
        """int32 [n, 1]: samples of each clip."""
        if self.sounds is None:
            return None
        lengths = self.sounds.lengths if self.places is None else self.sounds.lengths[self.places]
        return lengths.astype(np.int32)[:, None]

    @property
    def seconds(self) -> np.ndarray:
        """float64 [n]: of each clip."""
        return np.asarray(self.items.seconds[self.rows])

    @property
    def speakers(self) -> np.ndarray:
        """object [n], of texts: who speaks, '' where nobody said."""
        return np.asarray(self.items.speakers[self.rows])

    def only(self, kept: np.ndarray) -> "ClipStore":
        """Some of the examples, int64 [rows], ascending."""
        places = kept if self.places is None else self.places[kept]
        groups, compared = (None if column is None else column[kept] for column in (self.groups, self.compared))
        return replace(self, rows=self.rows[kept], groups=groups, compared=compared, places=places)

    def ids(self, indices: np.ndarray) -> list[str]:
        """The path of a file, or file and row of a manifest."""
        return [printable(self.items.where(row)) for row in self.rows[indices].tolist()]

    def paths(self, indices: np.ndarray) -> list[str]:
        """Of the sound files, '' where a clip is none of its own."""
        return [printable(self.items.recordings.path(row)) for row in self.rows[indices].tolist()]

    def texts(self, indices: np.ndarray) -> list[str]:
        """What is said, as it would be written down."""
        return list(self.items.texts[self.rows[indices]])

    def fetch(self, indices: np.ndarray) -> Raw:
        """audio int16 [samples of all clips] with audio_splits int64 [rows + 1], text int32 [characters of all texts]
        with text_splits int64 [rows + 1].

        Raises:
            RuntimeError: the sound is not decoded yet.
        """
        if self.sounds is None or self.written is None:
            raise RuntimeError("the clips of this store are not decoded yet")
        at = indices if self.places is None else self.places[indices]
        (audio, audio_splits), (text, text_splits) = self.sounds.take(at), self.written.take(at)
        return {"audio": audio, "audio_splits": audio_splits, "text": text, "text_splits": text_splits}
