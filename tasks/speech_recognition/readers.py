"""What makes a transcript of the windows of a recording: the answers of CTC, or a decoder that writes."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import keras
import numpy as np

from pipelines.devices import forward
from pipelines.scoring import log_softmax
from pipelines.task import Assets, Record
from pipelines.text.ids import Ids
from pipelines.text.preset_pieces import PresetPieces
from tasks.speech_recognition.answers import answer, written
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.decoding import Decoder, words
from tasks.speech_recognition.generation import Generator, Written
from tasks.speech_recognition.lengths import answers, window_and_hop
from tasks.speech_recognition.windows import Window, between_pauses, windows

_FRAME_SECONDS = 0.02
"""Over which loudness is taken, to find a pause."""


class Recording(Protocol):
    """What is known so far of one recording."""

    def hear(self, window: Window, heard: Any) -> None:
        """The next window, and what the network made of it."""

    def record(self, name: str, seconds: float, parts: int) -> Record:
        """What was said in all of it."""


class Reader(Protocol):
    """A network, and how its recordings are cut and read."""

    def begin(self) -> Recording:
        """A new recording."""

    def windows(self, sound: Iterable[np.ndarray], size: int) -> Iterator[Window]:
        """Of a recording that comes in blocks int16 [any], of `size` samples at most."""

    def compute(self, audio: np.ndarray, samples: np.ndarray) -> Sequence[Any]:
        """For each row of float32 [rows, samples], of which int32 [rows] are sound, what Recording.hear takes."""


class PathReader:
    """CTC: of each stretch of sound what it says; windows overlap.

    Args:
        model: audio and samples in, logits out.
        config: settings of the run.
        assets: of the model.
        decoder: makes one for each recording.
        timestamps: whether answers have words with their times.
    """

    def __init__(
        self,
        model: keras.Model,
        config: Config,
        assets: Assets,
        decoder: Callable[[], Decoder],
        *,
        timestamps: bool = False,
    ) -> None:
        self._forward, self._decoder, self.config, self.timestamps = forward(model), decoder, config, timestamps
        self.rate, self.alphabet = int(assets["rate"]), list(assets["alphabet"])
        # What two windows share is even in answers, so that a seam lies between two.
        self.step = window_and_hop(config, self.rate)[1] * config.subsampling
        self._overlap = 2 * round(config.overlap_seconds * self.rate / 2 / self.step) * self.step

    def begin(self) -> Recording:
        """See Reader."""
        return _Path(self, self._decoder())

    def windows(self, sound: Iterable[np.ndarray], size: int) -> Iterator[Window]:
        """See Reader."""
        return windows(sound, size, self._overlap)

    def compute(self, audio: np.ndarray, samples: np.ndarray) -> Sequence[Any]:
        """The logits of each row."""
        return list(self._forward({"audio": audio, "samples": samples}))


class _Path:
    def __init__(self, reader: PathReader, decoder: Decoder) -> None:
        self._reader, self._decoder = reader, decoder
        self._likelihood, self._answers = 0.0, 0

    def hear(self, window: Window, heard: Any) -> None:
        reader = self._reader
        last = int(answers(len(window.samples), reader.config, reader.rate))
        last = last if window.last is None else window.last // reader.step
        log_probabilities = log_softmax(heard[window.first // reader.step : last])
        self._decoder.feed(log_probabilities)
        self._likelihood += float(log_probabilities.max(axis=-1).sum())
        self._answers += len(log_probabilities)

    def record(self, name: str, seconds: float, parts: int) -> Record:
        reader = self._reader
        said = words(self._decoder.finish(), reader.alphabet, reader.step / reader.rate, seconds)
        given = answer(said, seconds, timestamps=reader.timestamps, parts=parts)
        return Record(name, given, np.array([self._likelihood, self._answers], np.float64), beside=said)


class TextReader:
    """A decoder that writes a transcript for each window; windows end where it is quiet.

    Args:
        model: as `build_network` makes it for decoder generate.
        config: settings of the run.
        assets: of the model.
    """

    def __init__(self, model: keras.Model, config: Config, assets: Assets) -> None:
        self._rate = int(assets["rate"])
        self._generator = Generator(model, config, Ids.of(assets), self._rate)
        self._pieces = PresetPieces(assets["tokenizer"], lowercase=False)
        self._reach = round(config.overlap_seconds * self._rate)

    def begin(self) -> Recording:
        """See Reader."""
        return _Texts(self._pieces)

    def windows(self, sound: Iterable[np.ndarray], size: int) -> Iterator[Window]:
        """See Reader."""
        return between_pauses(sound, size, self._reach, round(_FRAME_SECONDS * self._rate))

    def compute(self, audio: np.ndarray, samples: np.ndarray) -> Sequence[Any]:
        """What was written of each row."""
        return self._generator.generate(audio, samples)


class _Texts:
    def __init__(self, pieces: PresetPieces) -> None:
        self._pieces = pieces
        self._written: list[Written] = []

    def hear(self, window: Window, heard: Written) -> None:
        if len(window.samples):  # of no sound at all, nothing is said
            self._written.append(heard)

    def record(self, name: str, seconds: float, parts: int) -> Record:
        texts = self._pieces.decode([one.pieces for one in self._written])
        transcript = " ".join(text for text in texts if text)
        likelihood = sum(one.likelihood for one in self._written)
        count = sum(len(one.pieces) + 1 for one in self._written)
        # The geometric mean of the probabilities of all pieces, ends counted.
        sure = math.exp(likelihood / count) if transcript else None
        return Record(name, written(transcript, sure, seconds, parts), np.array([likelihood, count], np.float64))
