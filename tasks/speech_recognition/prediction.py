"""From sound to transcripts: windows of recordings, as many at once as make a batch, in order."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from pipelines.audio.files import FULL, chunks
from pipelines.console import Console
from pipelines.errors import ConfigError
from pipelines.sources.scan import BadExample
from pipelines.task import Assets, Predictor, Raw, Record
from tasks.speech_recognition.config import GENERATE, Config
from tasks.speech_recognition.data.inputs import stretches
from tasks.speech_recognition.language import decoder
from tasks.speech_recognition.lengths import bounds
from tasks.speech_recognition.readers import PathReader, Reader, Recording, TextReader
from tasks.speech_recognition.windows import Window

SECONDS_AT_ONCE = 160.0
"""Of sound that the network computes."""
_WORTH_SAYING = 30.0
"""Seconds of sound from which on it is said how fast they were recognised."""
_SAID = set[tuple[str, float]]()
"""Of splits, which a run predicts more than once: what was said of each, and how many seconds it had."""
_BLOCK_SECONDS = 10.0
"""Of a file that are decoded at once."""


def predictor(model: keras.Model, config: Config, assets: Assets, options: Mapping[str, Any]) -> Predictor:
    """Recordings, decoded or by their paths, to transcripts. Record.output is float64 [2]: of CTC the log-probability
    of the likeliest path in all, and how many answers it has, and Record.beside the list of the words with their times;
    of decoder generate the log-probability of what was written, and how many pieces that are, ends counted.

    Options: `beams`, `lm_weight` in place of the run's settings; `timestamps`, whether an answer has its words with
    their times.

    Raises:
        ConfigError: the run's decoder has no such option.
    """
    chosen = {name: options[name] for name in ("beams", "lm_weight") if options.get(name) is not None}
    config = config.model_copy(update=chosen)
    recogniser = Recogniser(_reader(model, config, assets, options), config, assets)

    def predict(batches: Iterable[tuple[list[str], Raw]]) -> Iterator[Record]:
        by_path, clips, empty = False, 0, True
        for ids, raw in batches:
            by_path = by_path or "path" in raw
            for record in recogniser.records(ids, raw):
                clips, empty = clips + 1, empty and not record.answer.get("transcript")
                yield record
        speed, silence = ("speed", recogniser.heard), ("silence", recogniser.heard)
        if recogniser.heard >= _WORTH_SAYING and (by_path or speed not in _SAID):
            factor = recogniser.spent / recogniser.heard
            Console().say(f"recognised {recogniser.heard:,.0f} s of sound, real-time factor {factor:.4f}")
        if empty and clips and not by_path and silence not in _SAID:
            Console().say(f"all {clips:,} transcripts are empty: where clips say something, train longer (--epochs)")
            _SAID.add(silence)
        _SAID.add(speed)

    return predict


def _reader(model: keras.Model, config: Config, assets: Assets, options: Mapping[str, Any]) -> Reader:
    timestamps = bool(options.get("timestamps"))
    if config.decoder != GENERATE:
        if options.get("lm_weight") is not None and (why := _no_judge(config)):
            raise ConfigError(f"lm_weight: {why}.")
        return PathReader(model, config, assets, decoder(config, assets), timestamps=timestamps)
    if timestamps:
        raise ConfigError(
            "timestamps: this run has decoder generate, which writes words and does not say where they lie: leave "
            "timestamps out; a run with decoder ctc has them."
        )
    if options.get("lm_weight") is not None:
        raise ConfigError("lm_weight: this run has decoder generate, and no language model beside it: leave it out.")
    return TextReader(model, config, assets)


def _no_judge(config: Config) -> str | None:
    """Why nothing beside the sound judges, if nothing does."""
    if config.language_model == "none":
        return "this run has no language model, which only training gives one (--language-model): leave it out"
    return "of 1 beam there is nothing to choose: add --beams 16" if config.beams == 1 else None


@dataclass
class _Waiting:
    """A recording whose windows are not all computed."""

    name: str
    heard: Recording
    samples: int = 0
    parts: int = 0
    error: str | None = None


@dataclass
class _Batch:
    """Windows that are computed at once."""

    windows: list[tuple[_Waiting, Window]] = field(default_factory=list)

    @property
    def longest(self) -> int:
        """In samples."""
        return max(len(window.samples) for _, window in self.windows)


class Recogniser:
    """Recordings of any number and length, their windows computed together.

    Args:
        reader: makes transcripts of them.
        config: settings of the run.
        assets: of the model.
    """

    def __init__(self, reader: Reader, config: Config, assets: Assets) -> None:
        self._reader, self._rate = reader, int(assets["rate"])
        self._bounds = bounds(config, self._rate, config.chunk_seconds)
        self.heard = self.spent = 0.0
        """Seconds of sound so far, and those that it took to recognise them, once decoded."""

    def records(self, ids: Sequence[str], raw: Raw) -> Iterator[Record]:
        """Of one batch, in order."""
        waiting: list[_Waiting] = []
        batch = _Batch()
        for name, why, sound in zip(ids, _refusals(raw, len(ids)), self._sounds(raw), strict=True):
            recording = _Waiting(name, self._reader.begin(), error=why)
            waiting.append(recording)
            if why is not None:
                continue
            try:
                for window in self._reader.windows(sound, self._bounds[-1]):
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
        return 1 << max(int(math.log2(max(SECONDS_AT_ONCE / seconds, 1))), 0)

    def _compute(self, batch: _Batch) -> _Batch:
        """Hand what the network makes of each window to its recording; a new batch."""
        if not batch.windows:
            return batch
        began = time.perf_counter()
        length = next(bound for bound in self._bounds if bound >= batch.longest)
        rows = 1 << math.ceil(math.log2(len(batch.windows)))
        audio, samples = np.zeros((rows, length), np.float32), np.zeros(rows, np.int32)
        for row, (_, window) in enumerate(batch.windows):
            samples[row] = len(window.samples)
            audio[row, : samples[row]] = window.samples / np.float32(FULL)
        for (recording, window), own in zip(batch.windows, self._reader.compute(audio, samples), strict=False):
            recording.heard.hear(window, own)
            recording.parts += 1
            own_samples = (len(window.samples) if window.last is None else window.last) - window.first
            recording.samples += own_samples
            self.heard += own_samples / self._rate
        self.spent += time.perf_counter() - began
        return _Batch()

    def _record(self, recording: _Waiting) -> Record:
        if recording.error is not None:
            return Record(recording.name, {}, error=recording.error)
        return recording.heard.record(recording.name, recording.samples / self._rate, recording.parts)


def _refusals(raw: Raw, rows: int) -> list[str | None]:
    """Of each row why it was refused, if it was."""
    if "path" not in raw:
        return [None] * rows
    return [path[1:].decode("utf-8", "replace") if path[:1] == b"\0" else None for path in raw["path"].tolist()]
