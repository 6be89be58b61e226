"""What trains a network of speech recognition: CTC, and how far its likeliest transcript is from the right one; or, of
one that writes, the loss of each piece of the transcript."""

from typing import Any

import keras

from pipelines.losses import softmax_loss
from pipelines.text.ids import Ids
from pipelines.transfer.sound_writers import PIECES
from tasks.speech_recognition.backbones import MELS, SOUND, behind_the_features
from tasks.speech_recognition.ctc import BLANK, ctc_loss, label_lengths
from tasks.speech_recognition.features import hidden
from tasks.speech_recognition.preset_networks import encoder_in

INPUTS = {
    "audio": ((None,), "float32"),
    "samples": ((), "int32"),
    "labels": ((None,), "int32"),
    "time_masks": ((None, 2), "int32"),
    "mel_masks": ((None, 2), "int32"),
}
"""The encoder's x: shape behind the rows, and type."""


class Objective(keras.layers.Layer):
    """Of the encoder's x, each float32 [rows], over the number of its labels, or 1: `loss`, the negative
    log-probability of the transcript; and, outside of training, `cer`, the edits from the likeliest labels to the right
    ones. Weighed by that number, their means are those of all labels."""

    def __init__(self, network: keras.Model, **settings: Any) -> None:
        super().__init__(**{**settings, "dtype": "float32"})  # or a mixed precision would round the sound first
        self.network = network
        self._features, self._rest = behind_the_features(network)

    def call(self, x: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """See the class."""
        mels, counts = self._features({name: x[name] for name in SOUND})
        if training:
            mels = hidden(mels, x["time_masks"], x["mel_masks"])
        logits = keras.ops.cast(self._rest([mels, counts], training=training), "float32")
        valid = keras.ops.cast(keras.ops.sum(counts[..., 0], axis=1), "int32")
        # As many as the network makes of them, whatever it halves.
        factor = -(-keras.ops.shape(mels)[1] // keras.ops.shape(logits)[1])
        answers = -(-valid // factor)
        count = keras.ops.cast(keras.ops.maximum(label_lengths(x["labels"]), 1), "float32")
        loss = ctc_loss(x["labels"], logits, answers) / count
        cer = keras.ops.zeros_like(loss) if training else error_rate(x["labels"], logits, answers)
        return {"loss": loss, "cer": cer}

    def compute_output_spec(self, x: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Said, as not every backend can tell of so many open sides."""
        return {name: keras.KerasTensor(x["samples"].shape, "float32") for name in ("loss", "cer")}


class WritingObjective(keras.layers.Layer):
    """The same of a network that writes, over the number of the labels and the end: `loss`, the negative
    log-probability of the transcript, each piece behind the right ones before it; and, outside of training, `accuracy`,
    the share of the places where the likeliest piece is the right one."""

    def __init__(self, network: keras.Model, ids: Ids, **settings: Any) -> None:
        super().__init__(**{**settings, "dtype": "float32"})
        self.network, self._ids = network, ids
        self._features, self._writer = network.get_layer(MELS), encoder_in(network)
        self._table = self._writer.get_layer(PIECES)

    def call(self, x: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """See the class."""
        frames, counts = self._features({name: x[name] for name in SOUND})
        if training:
            frames = hidden(frames, x["time_masks"], x["mel_masks"])
        labels = x["labels"]
        lengths = label_lengths(labels)
        place = keras.ops.arange(keras.ops.shape(labels)[1] + 1, dtype="int32")[None]
        # No place sees what is behind it: what fills a transcript up changes nothing.
        pieces = keras.ops.pad(labels, ((0, 0), (1, 0)), constant_values=self._ids.start)
        wanted = keras.ops.pad(labels, ((0, 0), (0, 1)))
        wanted = keras.ops.where(place == lengths[:, None], self._ids.end, wanted)
        there = keras.ops.cast(place <= lengths[:, None], "float32")
        _, _, states, logits = self._writer([frames, counts, pieces], training=training)
        flat = keras.ops.reshape(states, (-1, states.shape[-1]))
        table = keras.ops.cast(keras.ops.convert_to_tensor(self._table.embeddings), states.dtype)
        loss = softmax_loss(flat, table, keras.ops.reshape(wanted, (-1,)))
        each = {"loss": keras.ops.reshape(loss, keras.ops.shape(wanted))}
        right = keras.ops.cast(keras.ops.argmax(logits, axis=-1), "int32") == wanted
        each["accuracy"] = keras.ops.zeros_like(there) if training else keras.ops.cast(right, "float32")
        total = keras.ops.sum(there, axis=1)
        return {name: keras.ops.sum(one * there, axis=1) / total for name, one in each.items()}

    def compute_output_spec(self, x: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Said, as not every backend can tell of so many open sides."""
        return {name: keras.KerasTensor(x["samples"].shape, "float32") for name in ("loss", "accuracy")}


def error_rate(labels: Any, logits: Any, answers: Any) -> Any:
    """float32 [rows]: Levenshtein's distance between the labels that the likeliest path says and the right ones, over
    the number of these, at least 1.

    Args:
        labels: int32 [rows, L], BLANK behind the end.
        logits: [rows, F, V].
        answers: int32 [rows]: how many of F count.
    """
    best = keras.ops.cast(keras.ops.argmax(logits, axis=-1), "int32")
    before = keras.ops.pad(best, ((0, 0), (1, 0)), constant_values=BLANK)[:, :-1]
    place = keras.ops.arange(keras.ops.shape(best)[1], dtype="int32")[None]
    there = (place < keras.ops.cast(answers, "int32")[:, None]) & (best != before) & (best != BLANK)
    said = keras.ops.transpose(keras.ops.where(there, best, BLANK))
    columns = keras.ops.arange(keras.ops.shape(labels)[1] + 1, dtype="int32")
    # From k to j is j - k insertions, and there is no way back.
    way = keras.ops.where(columns[None] >= columns[:, None], columns[None] - columns[:, None], 1_000_000)

    def step(distance: Any, sign: Any) -> tuple[Any, Any]:
        same = keras.ops.cast(labels == sign[:, None], "int32")
        replaced = keras.ops.pad(distance[:, :-1] + 1 - same, ((0, 0), (1, 0)), constant_values=1_000_000)
        least = keras.ops.minimum(replaced, distance + 1)
        least = keras.ops.min(least[:, :, None] + way[None], axis=1)
        after = keras.ops.where((sign != BLANK)[:, None], least, distance)
        return after, after

    first = keras.ops.zeros_like(labels[:, :1]) + columns[None]
    distance = keras.ops.scan(step, first, said)[0]
    lengths = label_lengths(labels)
    edits = keras.ops.take_along_axis(distance, lengths[:, None], axis=1)[:, 0]
    return keras.ops.cast(edits, "float32") / keras.ops.cast(keras.ops.maximum(lengths, 1), "float32")
