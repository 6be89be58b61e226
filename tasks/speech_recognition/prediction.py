"""From sound to transcripts: windows of recordings, as many at once as make a batch, in order."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from pipelines.audio.files import FULL, chunks
from pipelines.console import Console
from pipelines.devices import forward
from pipelines.scoring import log_softmax
from pipelines.sources.scan import BadExample
from pipelines.task import Assets, Predictor, Raw, Record
from tasks.speech_recognition.answers import answer
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.data.inputs import stretches
from tasks.speech_recognition.decoding import Decoder, words
from tasks.speech_recognition.language import decoder
from tasks.speech_recognition.lengths import answers, bounds, window_and_hop
from tasks.speech_recognition.windows import Window, windows

_SECONDS_AT_ONCE = 160.0
_WORTH_SAYING = 30.0
"""Seconds of sound from which on it is said how fast they were recognised."""
_BLOCK_SECONDS = 10.0
"""Of a file that are decoded at once."""


def predictor(model: keras.Model, config: Config, assets: Assets, options: Mapping[str, Any]) -> Predictor:
    """Recordings, decoded or by their paths, to transcripts. Record.beside is the list of their words with times,
    Record.output float64 [2]: the log-probability of the likeliest path in all, and how many answers it has.

    Options: `beams`, `lm_weight` in place of the run's settings; `timestamps`, whether an answer has its words with
    their times.
    """
    chosen = {name: options[name] for name in ("beams", "lm_weight") if options.get(name) is not None}
    config = config.model_copy(update=chosen)
    made = decoder(config, assets)
    recogniser = Recogniser(model, config, assets, made, timestamps=bool(options.get("timestamps")))

    def predict(batches: Iterable[tuple[list[str], Raw]]) -> Iterator[Record]:
        for ids, raw in batches:
            yield from recogniser.records(ids, raw)
        if recogniser.heard >= _WORTH_SAYING:
            factor = recogniser.spent / recogniser.heard
            Console().say(f"recognised {recogniser.heard:,.0f} s of sound, real-time factor {factor:.4f}")

    return predict


@dataclass
class _Recording:
    """What is known so far of a recording."""

    name: str
    decoder: Decoder
    samples: int = 0
    parts: int = 0
    likelihood: float = 0.0
    answers: int = 0
    error: str | None = None


@dataclass
class _Batch:
    """Windows that are computed at once."""

    windows: list[tuple[_Recording, Window]] = field(default_factory=list)

    @property
    def longest(self) -> int:
        """In samples."""
        return max(len(window.samples) for _, window in self.windows)


class Recogniser:
    """A network and what its answers stand for.

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
        self._forward, self._config, self._decoder, self._timestamps = forward(model), config, decoder, timestamps
        self._rate, self._alphabet = int(assets["rate"]), list(assets["alphabet"])
        self._bounds = bounds(config, self._rate, config.chunk_seconds)
        # What two windows share is even in answers, so that a seam lies between two.
        self._step = window_and_hop(config, self._rate)[1] * config.subsampling
        self.heard = self.spent = 0.0
        """Seconds of sound so far, and those that it took to recognise them, once decoded."""
        self._overlap = 2 * round(config.overlap_seconds * self._rate / 2 / self._step) * self._step

    def records(self, ids: Sequence[str], raw: Raw) -> Iterator[Record]:
        """Of one batch, in order."""
        waiting: list[_Recording] = []
        batch = _Batch()
        for name, why, sound in zip(ids, _refusals(raw, len(ids)), self._sounds(raw), strict=True):
            recording = _Recording(name, self._decoder(), error=why)
            waiting.append(recording)
            if why is not None:
                continue
            try:
                for window in windows(sound, self._bounds[-1], self._overlap):
                    batch.windows.append((recording, window))
                    if len(batch.windows) >= self._rows(batch.longest):
                        batch = self._compute(batch)
            except BadExample as problem:
                recording.error = f"it {problem.message}".removesuffix(".")
                batch.windows = [pair for pair in batch.windows if pair[0] is not recording]
            if not batch.windows:
                yield from map(self._record, waiting)
                waiting = []
        self._compute(batch)
        yield from map(self._record, waiting)

    def _sounds(self, raw: Raw) -> Iterator[Iterable[np.ndarray]]:
        """The sound of each row, in blocks of int16."""
        if "audio" in raw:
            splits = raw["audio_splits"].tolist()
            yield from ([raw["audio"][start:end]] for start, end in zip(splits, splits[1:], strict=False))
        else:
            yield from (chunks(stretch, self._rate, _BLOCK_SECONDS) for stretch in stretches(raw))

    def _rows(self, samples: int) -> int:
        """Windows of so many samples that are computed at once: a power of two, as each number is a shape."""
        seconds = next(bound for bound in self._bounds if bound >= samples) / self._rate
        return 1 << max(int(math.log2(max(_SECONDS_AT_ONCE / seconds, 1))), 0)

    def _compute(self, batch: _Batch) -> _Batch:
        """Hand the answers of each window to its recording's decoder; a new batch."""
        if not batch.windows:
            return batch
        began = time.perf_counter()
        length = next(bound for bound in self._bounds if bound >= batch.longest)
        rows = 1 << math.ceil(math.log2(len(batch.windows)))
        audio, samples = np.zeros((rows, length), np.float32), np.zeros(rows, np.int32)
        for row, (_, window) in enumerate(batch.windows):
            samples[row] = len(window.samples)
            audio[row, : samples[row]] = window.samples / np.float32(FULL)
        logits = self._forward({"audio": audio, "samples": samples})
        for (recording, window), own in zip(batch.windows, logits, strict=False):
            last = int(answers(len(window.samples), self._config, self._rate))
            last = last if window.last is None else window.last // self._step
            log_probabilities = log_softmax(own[window.first // self._step : last])
            recording.decoder.feed(log_probabilities)
            recording.parts += 1
            recording.likelihood += float(log_probabilities.max(axis=-1).sum())
            recording.answers += len(log_probabilities)
            own_samples = (len(window.samples) if window.last is None else window.last) - window.first
            recording.samples += own_samples
            self.heard += own_samples / self._rate
        self.spent += time.perf_counter() - began
        return _Batch()

    def _record(self, recording: _Recording) -> Record:
        if recording.error is not None:
            return Record(recording.name, {}, error=recording.error)
        said = words(recording.decoder.finish(), self._alphabet, self._step / self._rate)
        seconds = recording.samples / self._rate
        given = answer(said, seconds, timestamps=self._timestamps, parts=recording.parts)
        output = np.array([recording.likelihood, recording.answers], np.float64)
        return Record(recording.name, given, output, beside=said)


def _refusals(raw: Raw, rows: int) -> list[str | None]:
    """Of each row why it was refused, if it was."""
    if "path" not in raw:
        return [None] * rows
    return [path[1:].decode("utf-8", "replace") if path[:1] == b"\0" else None for path in raw["path"].tolist()]
