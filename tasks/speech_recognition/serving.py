"""The recogniser as one graph: sound in, the likeliest transcript out."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipelines.audio.files import FULL
from pipelines.errors import NotServed
from pipelines.served import Core, Serving
from pipelines.task import Assets, Raw, Record, Store
from tasks.speech_recognition.answers import written
from tasks.speech_recognition.backbones import behind_the_features
from tasks.speech_recognition.config import GENERATE, Config
from tasks.speech_recognition.decoding import Greedy, words
from tasks.speech_recognition.decoding_graph import likeliest
from tasks.speech_recognition.lengths import bounds, window_and_hop
from tasks.speech_recognition.prediction import SECONDS_AT_ONCE

_INPUT = {
    "waveform": tf.TensorSpec([None, None], tf.float32, name="waveform"),
    "samples": tf.TensorSpec([None], tf.int32, name="samples"),
}
_FLIPPED = 0.05
"""Share of transcripts that may be others in float32: where two labels are as likely up to rounding, either is found.
In lower precision that is so often that transcripts are held against the answers that they are made of alone."""


def serving(model: keras.Model, config: Config, assets: Assets) -> Serving:
    """waveform float32 [rows, samples] and samples int32 [rows] -> text strings [rows]; confidence float32 [rows], NaN
    where nothing was heard; likelihood float32 [rows], the log-probability of the likeliest path; log_probabilities
    float32 [rows, answers, labels], of which answers int32 [rows] count; heard int32 [rows], of the samples; alphabet
    strings [labels].

    Raises:
        NotServed: of decoder generate.
    """
    if config.decoder == GENERATE:
        raise NotServed(
            "decoder generate writes the pieces of a preset's own tokenizer, which is no graph here; use predict."
        )
    recogniser = _Recogniser(model, config, assets)
    return Serving(
        function=recogniser.answer,
        input=_INPUT,
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


class _Recogniser(tf.Module):
    """What `prediction` does with recordings of one window by the likeliest path, a few at a time."""

    def __init__(self, network: keras.Model, config: Config, assets: Assets) -> None:
        super().__init__()
        self._network, self._rate, self._alphabet = network, int(assets["rate"]), tuple(assets["alphabet"])
        self._hop, self._subsampling = window_and_hop(config, self._rate)[1], config.subsampling
        self._longest = bounds(config, self._rate, config.chunk_seconds)[-1]

    @property
    def sound(self) -> str:
        """What it takes."""
        return (
            f"sound of one channel at {self._rate:,} samples a second, from -1 to 1, and how many samples each row has"
        )

    @property
    def bound(self) -> str:
        """How much of it."""
        longest = f"{self._longest:,} samples ({self._longest / self._rate:g} s)"
        return f"of more than {longest} the tail is left out, as `heard` tells, where predict hears it in windows"

    def answer(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """See serving."""
        x = self._silent_behind(x)
        return self.after({"logits": self._some_at_once(x), **self._counts(x["samples"])})

    def core(self) -> Core:
        """From the features on: neither LiteRT nor ONNX need know of Fourier transforms."""
        features, network = behind_the_features(self._network)

        def before(x: Mapping[str, Any]) -> dict[str, Any]:
            x = self._silent_behind(x)
            mels, _ = features({"audio": self._padded(x["waveform"]), "samples": self._heard(x["samples"])})
            return {"mels": mels, "samples": x["samples"]}

        def function(x: Mapping[str, Any]) -> dict[str, Any]:
            frames = _parts(self._heard(x["samples"]), self._hop)
            counts = tf.range(tf.shape(x["mels"])[1])[None] < frames[:, None]
            logits = network([x["mels"], tf.cast(counts, tf.float32)[..., None]], training=False)
            return {"logits": tf.cast(logits, tf.float32), **self._counts(x["samples"])}

        bands = network.inputs[0].shape[-1]
        given = {
            "mels": tf.TensorSpec([None, None, bands], tf.float32, name="mels"),
            "samples": _INPUT["samples"],
        }
        what = (
            f"what the layer log_mel makes of {self.sound}: frames {self._hop} samples apart, a multiple of "
            f"{self._subsampling} of them, 0 behind the end; and these numbers of samples; {self.bound}"
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

    def inputs(self, store: Store, indices: np.ndarray) -> Raw:
        """Of long recordings one sample more than is heard."""
        raw = store.fetch(indices)
        samples = np.minimum(np.diff(raw["audio_splits"]), self._longest + 1).astype(np.int32)
        waveform = np.zeros((len(samples), samples.max(initial=0)), np.float32)
        for row, start in enumerate(raw["audio_splits"][:-1].tolist()):
            waveform[row, : samples[row]] = raw["audio"][start : start + samples[row]] / np.float32(FULL)
        return {"waveform": waveform, "samples": samples}

    def records(self, ids: Sequence[str], inputs: Mapping[str, Any], found: Mapping[str, np.ndarray]) -> list[Record]:
        """See Serving."""
        del inputs
        names = ("text", "confidence", "heard", "likelihood", "answers")
        return [
            Record(
                name,
                written(text.decode(), None if np.isnan(sure) else float(sure), int(heard) / self._rate),
                np.array([likelihood, answers], np.float64),
            )
            for name, text, sure, heard, likelihood, answers in zip(ids, *(found[one] for one in names), strict=True)
        ]

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
            return unsure if found["heard"][row] == self._longest else math.inf
        likelihood, answers = np.asarray(record.output)
        if count != answers:
            return math.inf
        return float(max(abs(found["likelihood"][row] - likelihood) / max(1.0, abs(likelihood)), unsure))

    def _some_at_once(self, x: Mapping[str, Any]) -> Any:
        """The logits of all rows, so many at once as predict computes."""
        given = tf.size(x["samples"])
        count = tf.maximum(given, 1)  # convolutions and loops do not take none
        waveform, samples = (
            tf.pad(x["waveform"], [[0, count - given], [0, 0]]),
            tf.pad(x["samples"], [[0, count - given]]),
        )
        some = tf.maximum(int(SECONDS_AT_ONCE * self._rate) // tf.maximum(tf.shape(waveform)[1], 1), 1)
        batches = -(-count // some)
        logits = tf.TensorArray(tf.float32, batches, element_shape=[None, None, len(self._alphabet)], infer_shape=False)

        def compute(number: Any, logits: Any) -> tuple[Any, Any]:
            rows = slice(number * some, tf.minimum((number + 1) * some, count))
            return number + 1, logits.write(number, self._logits(waveform[rows], samples[rows]))

        _, logits = tf.while_loop(lambda number, _: number < batches, compute, (0, logits), parallel_iterations=1)
        return logits.concat()[:given]

    def _silent_behind(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """Zeros behind the end of each row.

        Raises:
            InvalidArgumentError: a row is to have more samples than there are, or fewer than none.
        """
        waveform, samples = x["waveform"], x["samples"]
        width = tf.shape(waveform)[1]
        tf.debugging.assert_less_equal(samples, width, "samples: a row has more than waveform holds of it")
        tf.debugging.assert_non_negative(samples, "samples: a row has fewer than none")
        return {"waveform": tf.where(tf.sequence_mask(samples, width), waveform, 0.0), "samples": samples}

    def _logits(self, waveform: Any, samples: Any) -> Any:
        given = {"audio": self._padded(waveform), "samples": self._heard(samples)}
        return tf.cast(self._network(given, training=False), tf.float32)

    def _padded(self, waveform: Any) -> Any:
        """As many samples as a whole number of answers takes, one at least."""
        step = self._hop * self._subsampling
        audio = waveform[:, : self._longest]
        width = tf.shape(audio)[1]
        return tf.pad(audio, [[0, 0], [0, tf.maximum(-(-width // step), 1) * step - width]])

    def _heard(self, samples: Any) -> Any:
        return tf.minimum(samples, self._longest)

    def _counts(self, samples: Any) -> dict[str, Any]:
        heard = self._heard(samples)
        return {"answers": _parts(_parts(heard, self._hop), self._subsampling), "heard": heard}


def _parts(count: Any, size: int) -> Any:
    """Of this size, the last perhaps not full. Of numbers from 0 on alone, as ONNX rounds quotients towards 0."""
    return (count + size - 1) // size


def _searched(config: Config) -> str:
    """What predict does besides."""
    if config.beams == 1:
        return ""
    model = "" if config.language_model == "none" else f" and a language model of {config.language_model}"
    return f" (predict searches by {config.beams} beams{model}, outside of any graph)"
