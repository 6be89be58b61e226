"""Speech inside the serialized records of TensorFlow Datasets: samples, or the bytes of a sound file."""

import difflib
import zlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.audio.files import Opened, opened_array, opened_bytes
from pipelines.errors import DataError
from pipelines.sources.folders import printable
from pipelines.sources.scan import BadExample
from pipelines.sources.tfds import Dataset, Records, is_sound, is_text, parse
from tasks.speech_recognition.data.listed import Listed, Wanted, checked_texts

_BLOCK = 256
"""Records that are read in one call."""


@dataclass(frozen=True)
class Stored:
    """How a data set keeps sound."""

    feature: str
    rate: int
    """Samples a second; of sound files, which say so themselves, 0."""
    dtype: str
    channels: int
    packing: str
    """none: a list of numbers; bytes or zlib: their bytes; file: those of a sound file."""

    def opened(self, message: Any) -> AbstractContextManager[Opened]:
        """A clip of a record. Raises BadExample."""
        if self.packing == "none":
            whole = message.WhichOneof("kind") == "int64_list"
            values = message.int64_list.value if whole else message.float_list.value
            return self._array(np.array(values, np.int64 if whole else np.float32))
        data: bytes = message.bytes_list.value[0]
        if self.packing == "file":
            return opened_bytes(data)
        try:
            return self._array(np.frombuffer(zlib.decompress(data) if self.packing == "zlib" else data, self.dtype))
        except (zlib.error, ValueError) as error:
            raise BadExample("undecodable", f"holds a damaged {self.feature}: prepare the data set again.") from error

    def _array(self, samples: np.ndarray) -> AbstractContextManager[Opened]:
        return opened_array(samples.reshape(-1, self.channels), self.rate)


@dataclass(frozen=True)
class Features:
    """What of a data set is read."""

    audio: Stored
    text: str
    names: list[str] | None
    """Of the classes that text holds, where they are what is said."""
    speaker: str | None


@dataclass(frozen=True)
class Recorded:
    """Clips in records."""

    records: Records
    stored: Stored
    name: str

    def __len__(self) -> int:
        return len(self.records)

    def opened(self, row: int) -> AbstractContextManager[Opened]:
        """See Recordings."""
        try:
            return self.stored.opened(parse(self.records.read(np.array([row]))[0])[self.stored.feature])
        except (ValueError, IndexError) as error:
            message = f"is no example with {self.stored.feature}: the file is damaged."
            raise BadExample("undecodable", message) from error

    def keys(self) -> np.ndarray:
        """See Recordings."""
        return self.records.keys()

    def path(self, row: int) -> bytes:
        """None of its own."""
        del row
        return b""

    def where(self, row: int) -> str:
        """'librispeech/2.1.1 train[17]'."""
        return f"{self.name}[{row}]"


def features(dataset: Dataset, columns: Mapping[str, str] | None) -> Features:
    """The features that hold sound, transcript and speaker: as mapped, as called so, as supervised, or the only ones. A
    class is read as the word that it is called.

    Raises:
        DataError: there are none.
    """
    columns = columns or {}
    for role in columns:
        if role not in ("audio", "text", "speaker"):
            raise DataError(
                f"columns maps {role!r}, which a tfds source of speech has no use for: there are audio, text and "
                "speaker."
            )
    audio = _stored(dataset, _feature(dataset, columns, "audio", 0, ("audio", "speech"), is_sound))
    text = _feature(dataset, columns, "text", 1, ("text", "transcript", "sentence"), _is_said)
    speaker = columns.get("speaker") or next(
        (name for name in ("speaker_id", "speaker") if name in dataset.features), None
    )
    if speaker is not None and speaker not in dataset.features:
        raise DataError(_no_feature(dataset, columns["speaker"], "speaker", sorted(dataset.features)))
    names = getattr(dataset.features[text], "names", None)
    return Features(audio, text, None if names is None else list(names), speaker)


def list_records(dataset: Dataset, split: str, of: Features, wanted: Wanted) -> Listed:
    """The clips of a split."""
    stored = dataset.splits[split]
    texts: list[Any] = []
    speakers: list[str] = []
    wrong: dict[int, BadExample] = {}
    for start in range(0, len(stored), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(stored)))
        for row, record in zip(rows.tolist(), stored.read(rows), strict=True):
            try:
                found = parse(record)
                texts.append(_said(found[of.text], of.names))
                speakers.append(_name(found[of.speaker]) if of.speaker else "")
            except (ValueError, IndexError):
                wrong[row] = BadExample("undecodable", f"is no example with {of.text}: the file is damaged.")
            except BadExample as problem:
                wrong[row] = problem
            texts += [""] * (row + 1 - len(texts))
            speakers += [""] * (row + 1 - len(speakers))
    written, wrong = checked_texts(texts, wanted, wrong)
    recordings = Recorded(stored, of.audio, f"{dataset.name} {split}")
    return Listed(recordings, written, wrong, speakers=speakers if of.speaker else None)


def _stored(dataset: Dataset, feature: str) -> Stored:
    sound = dataset.features[feature]
    kept = sound.to_json_content()
    packing = "file" if kept.lazy_decode else str(kept.encoding).lower() or "none"
    if packing != "file" and not kept.sample_rate:
        raise DataError(
            f"{dataset.name} does not say how many samples a second its {feature} has: save its clips as sound files, "
            "with a manifest."
        )
    return Stored(feature, int(kept.sample_rate), kept.dtype, (*sound.shape, 1)[1], packing)


def _said(feature: Any, names: list[str] | None) -> bytes:
    if names is None:
        text: bytes = feature.bytes_list.value[0]
        return text
    name = names[feature.int64_list.value[0]]
    if name.startswith("_"):  # speech_commands' _silence_ and _unknown_
        raise BadExample("no-word", f"is of the class {name}, which is no word that is said: leave it out.")
    return str(name).encode()


def _name(feature: Any) -> str:
    """Bytes as text, a number as it is written."""
    value: Any = (feature.bytes_list.value or feature.int64_list.value)[0]
    return printable(value if isinstance(value, bytes) else str(value))


def _is_said(feature: Any) -> bool:
    return is_text(feature) or hasattr(feature, "num_classes")


def _feature(
    dataset: Dataset,
    columns: Mapping[str, str],
    role: str,
    place: int,
    usual: tuple[str, ...],
    fits: Callable[[Any], bool],
) -> str:
    there = sorted(name for name in dataset.features if fits(dataset.features[name]))
    if role in columns:
        if columns[role] in there:
            return columns[role]
        raise DataError(_no_feature(dataset, columns[role], role, there))
    supervised = [dataset.supervised[place]] if dataset.supervised else []
    for name in (*usual, *supervised, *(there if len(there) == 1 else [])):
        if name in there:
            return str(name)
    choice = ", ".join(there) or f"none of {', '.join(sorted(dataset.features))}"
    raise DataError(
        f"{dataset.name} does not say which feature is the {role}: map columns {role}=FEATURE; there are {choice}."
    )


def _no_feature(dataset: Dataset, name: str, role: str, there: list[str]) -> str:
    near = difflib.get_close_matches(name, there, n=1)
    guess = f"did you mean {near[0]!r}? There are" if near else "there are"
    return f"{dataset.name} has no feature {name!r} that could be the {role}: {guess} {', '.join(there)}."
