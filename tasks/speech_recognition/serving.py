"""The recogniser as one graph: sound in, the likeliest transcript out."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipelines.served import Core, Serving
from pipelines.task import Assets, Record
from tasks.speech_recognition.backbones import behind_the_features
from tasks.speech_recognition.config import GENERATE, Config
from tasks.speech_recognition.decoding import Greedy, words
from tasks.speech_recognition.decoding_graph import likeliest
from tasks.speech_recognition.served_sound import INPUT, Sound
from tasks.speech_recognition.served_writer import writer

_FLIPPED = 0.05
"""Share of transcripts that may be others in float32: where two labels are as likely up to rounding, either is found.
In lower precision that is so often that transcripts are held against the answers that they are made of alone."""


def serving(model: keras.Model, config: Config, assets: Assets) -> Serving:
    """waveform float32 [rows, samples] and samples int32 [rows] -> text strings [rows]; confidence float32 [rows], NaN
    where nothing was heard; likelihood float32 [rows], the log-probability of the likeliest path; log_probabilities
    float32 [rows, answers, labels], of which answers int32 [rows] count; heard int32 [rows], of the samples; alphabet
    strings [labels]. Of decoder generate see `writer`.

    Raises:
        NotServed: of decoder generate, tensorflow_text is not installed.
    """
    if config.decoder == GENERATE:
        return writer(model, config, assets)
    recogniser = _Recogniser(model, config, assets)
    return Serving(
        function=recogniser.answer,
        input=INPUT,
        what=f"{recogniser.sound}, whatever stands behind them; {recogniser.bound}; written down by the likeliest "
        f"path{_searched(config)}",
        inputs=recogniser.inputs,
        tracked=(model, recogniser),
        output="likelihood",
        options={} if config.beams == 1 else {"beams": 1},
        gap=partial(recogniser.gap, flips=_FLIPPED if config.precision == "float32" else 1.0),
        records=recogniser.records,
        whole=lambda record: record.answer.get("parts", 1) == 1,
        core=recogniser.core(),
    )


class _Recogniser(Sound):
    """What `prediction` does with recordings of one window by the likeliest path, a few at a time."""

    def __init__(self, network: keras.Model, config: Config, assets: Assets) -> None:
        super().__init__(config, assets)
        self._network, self._alphabet = network, tuple(assets["alphabet"])

    def answer(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """See serving."""
        x = self.silent_behind(x)
        logits = {"logits": tf.TensorSpec([None, None, len(self._alphabet)], tf.float32)}
        return self.after({**self.some_at_once(x, self._logits, logits), **self._counts(x["samples"])})

    def core(self) -> Core:
        """From the features on: neither LiteRT nor ONNX need know of Fourier transforms."""
        features, network = behind_the_features(self._network)

        def before(x: Mapping[str, Any]) -> dict[str, Any]:
            x = self.silent_behind(x)
            mels, _ = features({"audio": self.padded(x["waveform"]), "samples": self.heard(x["samples"])})
            return {"mels": mels, "samples": x["samples"]}

        def function(x: Mapping[str, Any]) -> dict[str, Any]:
            frames = _parts(self.heard(x["samples"]), self.hop)
            counts = tf.range(tf.shape(x["mels"])[1])[None] < frames[:, None]
            logits = network([x["mels"], tf.cast(counts, tf.float32)[..., None]], training=False)
            return {"logits": tf.cast(logits, tf.float32), **self._counts(x["samples"])}

        bands = network.inputs[0].shape[-1]
        given = {
            "mels": tf.TensorSpec([None, None, bands], tf.float32, name="mels"),
            "samples": INPUT["samples"],
        }
        what = (
            f"what the layer log_mel makes of {self.sound}: frames {self.hop} samples apart, a multiple of "
            f"{self.subsampling} of them, 0 behind the end; and these numbers of samples; {self.bound}"
        )
        return Core(function, given, what, before, self.after)

    def after(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """logits float32 [rows, answers, labels], answers and heard int32 [rows] -> see serving."""
        log_probabilities = tf.nn.log_softmax(found["logits"])
        return {
            **likeliest(log_probabilities, found["answers"], self._alphabet),
            "log_probabilities": log_probabilities,
            "answers": found["answers"],
            "heard": found["heard"],
            "alphabet": tf.constant([text.encode() for text in self._alphabet]),
        }

    def gap(self, found: Mapping[str, np.ndarray], records: Sequence[Record], flips: float) -> np.ndarray:
        """float [rows]: by how much the likelihood differs from the record's, relative where it is above 1, or the
        confidence from what NumPy makes of the same log-probabilities; infinite where the text is not what it makes of
        them, or is another than the record's, unless these are few. What predict heard in windows is passed over, if
        only a part of it was heard here."""
        gaps = np.array([self._gap(found, row, record) for row, record in enumerate(records)])
        texts = [
            (text.decode(), record.answer["transcript"]) for text, record in zip(found["text"], records, strict=True)
        ]
        whole = np.array([record.answer.get("parts", 1) == 1 for record in records])
        other = whole & np.array([text != wanted for text, wanted in texts])
        if np.mean(other) > flips:
            gaps[other] = np.inf
        return gaps

    def _gap(self, found: Mapping[str, np.ndarray], row: int, record: Record) -> float:
        text, sure, count = (found[name][row] for name in ("text", "confidence", "answers"))
        decoder = Greedy()
        decoder.feed(found["log_probabilities"][row, :count])
        said = words(decoder.finish(), self._alphabet, 1.0)
        if text.decode() != " ".join(word.text for word in said) or np.isnan(sure) == bool(said):
            return math.inf
        unsure = abs(sure - np.mean([word.confidence for word in said])) if said else 0.0
        if record.answer.get("parts", 1) > 1:
            return unsure if found["heard"][row] == self.longest else math.inf
        likelihood, answers = np.asarray(record.output)
        if count != answers:
            return math.inf
        return float(max(abs(found["likelihood"][row] - likelihood) / max(1.0, abs(likelihood)), unsure))

    def _logits(self, waveform: Any, samples: Any) -> dict[str, Any]:
        given = {"audio": self.padded(waveform), "samples": self.heard(samples)}
        return {"logits": tf.cast(self._network(given, training=False), tf.float32)}

    def _counts(self, samples: Any) -> dict[str, Any]:
        heard = self.heard(samples)
        return {"answers": _parts(_parts(heard, self.hop), self.subsampling), "heard": heard}


def _parts(count: Any, size: int) -> Any:
    """Of this size, the last perhaps not full. Of numbers from 0 on alone, as ONNX rounds quotients towards 0."""
    return (count + size - 1) // size


def _searched(config: Config) -> str:
    """What predict does besides."""
    if config.beams == 1:
        return ""
    model = "" if config.language_model == "none" else f" and a language model of {config.language_model}"
    return f" (predict searches by {config.beams} beams{model}, outside of any graph)"
