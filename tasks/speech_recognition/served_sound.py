"""Sound as the exports take it, a few rows at a time, as `prediction` hears it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.audio.files import FULL
from pipelines.task import Assets, Raw, Record, Store
from tasks.speech_recognition.answers import written
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.lengths import bounds, window_and_hop
from tasks.speech_recognition.prediction import SECONDS_AT_ONCE

INPUT = {
    "waveform": tf.TensorSpec([None, None], tf.float32, name="waveform"),
    "samples": tf.TensorSpec([None], tf.int32, name="samples"),
}


class Sound(tf.Module):
    """Recordings of one window."""

    counted = "answers"
    """The output that says over how many the likelihood is."""

    def __init__(self, config: Config, assets: Assets) -> None:
        super().__init__()
        self.rate = int(assets["rate"])
        self.hop, self.subsampling = window_and_hop(config, self.rate)[1], config.subsampling
        self.longest = bounds(config, self.rate, config.chunk_seconds)[-1]

    @property
    def sound(self) -> str:
        """What it takes."""
        return (
            f"sound of one channel at {self.rate:,} samples a second, from -1 to 1, and how many samples each row has"
        )

    @property
    def bound(self) -> str:
        """How much of it."""
        longest = f"{self.longest:,} samples ({self.longest / self.rate:g} s)"
        return f"of more than {longest} the tail is left out, as `heard` tells, where predict hears it in windows"

    def inputs(self, store: Store, indices: np.ndarray) -> Raw:
        """Of long recordings one sample more than is heard."""
        raw = store.fetch(indices)
        samples = np.minimum(np.diff(raw["audio_splits"]), self.longest + 1).astype(np.int32)
        waveform = np.zeros((len(samples), samples.max(initial=0)), np.float32)
        for row, start in enumerate(raw["audio_splits"][:-1].tolist()):
            waveform[row, : samples[row]] = raw["audio"][start : start + samples[row]] / np.float32(FULL)
        return {"waveform": waveform, "samples": samples}

    def records(self, ids: Sequence[str], inputs: Mapping[str, Any], found: Mapping[str, np.ndarray]) -> list[Record]:
        """See Serving."""
        del inputs
        names = ("text", "confidence", "heard", "likelihood", self.counted)
        return [
            Record(
                name,
                written(text.decode(), None if np.isnan(sure) else float(sure), int(heard) / self.rate),
                np.array([likelihood, count], np.float64),
            )
            for name, text, sure, heard, likelihood, count in zip(ids, *(found[one] for one in names), strict=True)
        ]

    def some_at_once(
        self, x: Mapping[str, Any], compute: Callable[[Any, Any], Mapping[str, Any]], outputs: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What `compute` makes of waveform [some, samples] and samples [some], of all rows, so many at once as predict
        computes; tf.TensorSpec of each of its outputs by name."""
        given = tf.size(x["samples"])
        count = tf.maximum(given, 1)  # convolutions and loops do not take none
        waveform, samples = (
            tf.pad(x["waveform"], [[0, count - given], [0, 0]]),
            tf.pad(x["samples"], [[0, count - given]]),
        )
        some = tf.maximum(int(SECONDS_AT_ONCE * self.rate) // tf.maximum(tf.shape(waveform)[1], 1), 1)
        batches = -(-count // some)
        found = {
            name: tf.TensorArray(spec.dtype, batches, element_shape=spec.shape, infer_shape=False)
            for name, spec in outputs.items()
        }

        def advance(number: Any, found: Any) -> tuple[Any, Any]:
            rows = slice(number * some, tf.minimum((number + 1) * some, count))
            made = compute(waveform[rows], samples[rows])
            return number + 1, {name: one.write(number, made[name]) for name, one in found.items()}

        _, found = tf.while_loop(lambda number, _: number < batches, advance, (0, found), parallel_iterations=1)
        return {name: one.concat()[:given] for name, one in found.items()}

    def silent_behind(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """Zeros behind the end of each row.

        Raises:
            InvalidArgumentError: a row is to have more samples than there are, or fewer than none.
        """
        waveform, samples = x["waveform"], x["samples"]
        width = tf.shape(waveform)[1]
        tf.debugging.assert_less_equal(samples, width, "samples: a row has more than waveform holds of it")
        tf.debugging.assert_non_negative(samples, "samples: a row has fewer than none")
        return {"waveform": tf.where(tf.sequence_mask(samples, width), waveform, 0.0), "samples": samples}

    def padded(self, waveform: Any) -> Any:
        """As many samples as a whole number of answers takes, one at least."""
        step = self.hop * self.subsampling
        audio = waveform[:, : self.longest]
        width = tf.shape(audio)[1]
        return tf.pad(audio, [[0, 0], [0, tf.maximum(-(-width // step), 1) * step - width]])

    def heard(self, samples: Any) -> Any:
        """How many of them."""
        return tf.minimum(samples, self.longest)
