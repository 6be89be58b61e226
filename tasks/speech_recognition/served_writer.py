"""A preset's own decoder as one graph: sound in, the transcript that it writes out."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipelines.served import Serving
from pipelines.task import Assets, Record
from pipelines.text.ids import Ids
from pipelines.text.pieces_graph import NEEDS
from pipelines.text.preset_pieces import PresetPieces
from pipelines.text.search import Search
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.generation import FEW
from tasks.speech_recognition.served_sound import INPUT, Sound
from tasks.speech_recognition.steppers import PresetStepper

_FLIPPED = 0.05
"""Share of transcripts that may be others in float32: where two pieces are as likely up to rounding, either is written.
In lower precision that is so often that any may be."""
_WRITTEN = {
    "text": tf.TensorSpec([None], tf.string),
    "score": tf.TensorSpec([None], tf.float32),
    "pieces": tf.TensorSpec([None], tf.int32),
}


def writer(model: keras.Model, config: Config, assets: Assets) -> Serving:
    """waveform float32 [rows, samples] and samples int32 [rows] -> text strings [rows]; confidence float32 [rows], the
    geometric mean of the probabilities of its pieces, NaN where nothing was written; likelihood float32 [rows], their
    log-probability; pieces int32 [rows], how many, the end counted; heard int32 [rows], of the samples.

    Raises:
        NotServed: tensorflow_text is not installed.
    """
    writes = _Writer(model, config, assets)
    return Serving(
        function=writes.answer,
        input=INPUT,
        what=f"{writes.sound}, whatever stands behind them; {writes.bound}; written by the preset's own decoder with "
        f"{config.beams} beams",
        inputs=writes.inputs,
        needs=(NEEDS,),
        tracked=(model, writes),
        output="likelihood",
        gap=partial(writes.gap, exact=config.precision == "float32"),
        records=writes.records,
        whole=_whole,
        searched=True,
        coreless="a preset's own decoder writes in the SavedModel alone.",
    )


class _Writer(Sound):
    """What `prediction` does with recordings of one window by `generation`, a few at a time."""

    counted = "pieces"

    def __init__(self, network: keras.Model, config: Config, assets: Assets) -> None:
        super().__init__(config, assets)
        ids = Ids.of(assets)
        self._search, self._stepper, self._pad = Search(config.beams, ids=ids), PresetStepper(network, ids), ids.pad
        self._pieces = PresetPieces(assets["tokenizer"], lowercase=False).graph
        self._each_second = config.pieces_per_second or 0.0

    def answer(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """See writer."""
        x = self.silent_behind(x)
        found = self.some_at_once(x, self._written, _WRITTEN)
        heard = self.heard(x["samples"])
        text = tf.where(heard > 0, found["text"], "")
        count = tf.where(heard > 0, found["pieces"], 0)
        return {
            "text": text,
            "confidence": tf.where(text != "", tf.exp(found["score"]), math.nan),
            "likelihood": tf.where(heard > 0, found["score"] * tf.cast(count, tf.float32), 0.0),
            "pieces": count,
            "heard": heard,
        }

    def gap(self, found: Mapping[str, np.ndarray], records: Sequence[Record], exact: bool) -> np.ndarray:
        """float [rows]: by how much likelihoods differ, relative where they are above 1; infinite where transcripts do,
        or 0 if these are few or it need not be exact: another text has another likelihood. What predict heard in
        windows is passed over, if only a part of it was heard here."""
        whole = np.array([_whole(record) for record in records])
        texts = [record.answer["transcript"].encode() for record in records]
        other = whole & np.array([text != wanted for text, wanted in zip(found["text"], texts, strict=True)])
        wanted = np.array([np.asarray(record.output)[0] for record in records])
        gaps: np.ndarray = np.abs(found["likelihood"] - wanted) / np.maximum(1.0, np.abs(wanted))
        gaps[other] = np.inf if exact and np.mean(other) > _FLIPPED else 0.0
        gaps[~whole] = np.where(found["heard"][~whole] == self.longest, 0.0, np.inf)
        return gaps

    def _written(self, waveform: Any, samples: Any) -> dict[str, Any]:
        heard = self.heard(samples)
        seconds = tf.cast(heard, tf.float64) / self.rate
        limits = tf.cast(tf.math.ceil(seconds * self._each_second), tf.int32) + FEW
        blank = tf.fill([tf.shape(waveform)[0], tf.reduce_max(limits)], self._pad)
        given = {"audio": self.padded(waveform), "samples": heard}
        found, scores = self._search(self._stepper, given, limits, blank, tf.constant(1.0))
        pieces = tf.RaggedTensor.from_tensor(found[:, 0], padding=self._pad)
        counts = tf.cast(pieces.row_lengths(), tf.int32) + 1
        return {"text": self._pieces.decode(pieces), "score": scores[:, 0], "pieces": counts}


def _whole(record: Record) -> bool:
    return int(record.answer.get("parts", 1)) == 1
