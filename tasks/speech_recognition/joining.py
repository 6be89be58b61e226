"""Training clips with a pause and another clip beside them, as in long recordings; a TensorFlow graph."""

from typing import Any

import tensorflow as tf

from pipelines.stream import PARTNER, uniform
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.noise import LENGTH, white

_PAUSE = 0.5
"""Most seconds between two clips."""
_PAUSED, _SILENT = 0.25, 0.1
"""Of the clips that go on, the share where that is a pause alone, and that of which nothing but a pause is left."""
_LOUDEST = 300.0
"""Deviation of the noise in pauses, at most; of 32,768. Half of them are dead silent."""
_WHICH, _LASTS, _FIRST, _OFFSET, _LOUDNESS = range(1_000, 1_005)
"""Which of an example's random numbers decides what, beyond those of `encoding`."""


def joined(raw: Any, keys: Any, rate: int, allowed: tf.Tensor, space: int | None, config: Config) -> Any:
    """The columns `audio` and `text` with their `_splits`, of which a share goes on: a pause before or behind, of
    silence or faint noise, and beyond it the partner's audio and text, a space between the texts. A few are made a
    pause as a whole, in which nothing is said.

    A partner is another training clip that the example's key names, so that pairs differ from epoch to epoch. It is
    left away where it is longer than its clip may be padded, so that no batch grows out of all proportion, and where
    both do not fit into the last of the allowed lengths.

    Args:
        raw: with the partner's columns.
        keys: int64 [rows].
        allowed: int64, the lengths that clips are padded to.
        space: the label of a space; None where transcripts have none.
    """
    audio, other = (_ragged(raw, f"{start}audio") for start in ("", PARTNER))
    text, said = (_ragged(raw, f"{start}text") for start in ("", PARTNER))
    own, more = audio.row_lengths(), other.row_lengths()
    pause = tf.cast(uniform(keys, _LASTS) * _PAUSE * rate, tf.int64)
    which = uniform(keys, _WHICH) / config.joined
    paused = (which < 1.0) & (own + pause <= allowed[-1])
    silent = paused & (which < _SILENT)
    bound = tf.gather(allowed, tf.minimum(tf.searchsorted(allowed, own), tf.size(allowed) - 1))
    together = paused & (which >= _SILENT + _PAUSED) & (more <= bound) & (own + pause + more <= allowed[-1])
    first = uniform(keys, _FIRST) < 0.5
    spaces = tf.fill(tf.stack([audio.nrows(), 0 if space is None else 1]), tf.cast(space or 0, text.dtype))
    pauses = _pauses(keys, tf.where(silent, own, pause))
    sound = _laid(audio, pauses, other, (~silent, paused, together), first)
    words = _laid(text, tf.RaggedTensor.from_tensor(spaces), said, (~silent, together, together), first)
    return {
        "audio": sound.flat_values,
        "audio_splits": sound.row_splits,
        "text": words.flat_values,
        "text_splits": words.row_splits,
    }


def _laid(
    own: tf.RaggedTensor, between: tf.RaggedTensor, other: tf.RaggedTensor, there: tuple[tf.Tensor, ...], first: Any
) -> tf.RaggedTensor:
    """Those of the three that are there, in this order where own comes first and turned round where it does not."""
    count = own.nrows()
    pieces = tf.concat([own, between, other, own[:1, :0]], axis=0)
    places = [tf.where(one, tf.range(count) + part * count, 3 * count) for part, one in enumerate(there)]
    front, back = tf.where(first, places[0], places[2]), tf.where(first, places[2], places[0])
    return tf.gather(pieces, tf.stack([front, places[1], back], axis=1)).merge_dims(1, 2)


def _pauses(keys: Any, lengths: tf.Tensor) -> tf.RaggedTensor:
    """int16 [rows, lengths]: noise of which half is nothing, the rest as loud as any up to the loudest, in decibels."""
    drawn = uniform(keys, _LOUDNESS)
    loudness = tf.where(drawn < 0.5, 0.0, tf.pow(_LOUDEST, 2.0 * drawn - 1.0))
    begin = tf.cast(uniform(keys, _OFFSET) * LENGTH, tf.int64)
    places = tf.ragged.range(begin, begin + lengths)
    noise = white(places.flat_values) * tf.repeat(loudness, lengths)
    return places.with_flat_values(tf.cast(tf.round(noise), tf.int16))


def _ragged(raw: Any, name: str) -> tf.RaggedTensor:
    return tf.RaggedTensor.from_row_splits(raw[name], tf.cast(raw[name + "_splits"], tf.int64), validate=False)
