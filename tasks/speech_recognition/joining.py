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
    pause as a whole, in which nothing is said. What keeps its clip from fitting into the last of the allowed lengths,
    int64, or into twice its own, is left away.

    A partner is another training clip that the example's key names, so that pairs differ from epoch to epoch.

    Args:
        raw: with the partner's columns.
        keys: int64 [rows].
        space: the label of a space; None where transcripts have none.
    """
    audio, other = (_ragged(raw, f"{start}audio") for start in ("", PARTNER))
    text, said = (_ragged(raw, f"{start}text") for start in ("", PARTNER))
    own, more = audio.row_lengths(), other.row_lengths()
    count = audio.nrows()
    rows = tf.range(count)
    pause = tf.cast(uniform(keys, _LASTS) * _PAUSE * rate, tf.int64)
    which = uniform(keys, _WHICH) / config.joined
    paused = (which < 1.0) & (own + pause <= allowed[-1])
    silent = paused & (which < _SILENT)
    twice = own + pause + tf.gather(allowed, tf.minimum(tf.searchsorted(allowed, own), tf.size(allowed) - 1))
    together = paused & (which >= _SILENT + _PAUSED) & (own + pause + more <= tf.minimum(allowed[-1], twice))
    first = uniform(keys, _FIRST) < 0.5
    nothing = tf.fill([count], 3 * count)

    def laid(own: tf.RaggedTensor, between: tf.RaggedTensor, other: tf.RaggedTensor, spaced: tf.Tensor) -> Any:
        """Own and other, whichever comes first, with what is between."""
        pieces = tf.concat([own, between, other, own[:1, :0]], axis=0)
        mine = tf.where(silent, nothing, rows)
        joint = tf.where(together, rows + 2 * count, nothing)
        between = tf.where(spaced, rows + count, nothing)
        every = [tf.where(first, mine, joint), between, tf.where(first, joint, mine)]
        return tf.gather(pieces, tf.stack(every, axis=1)).merge_dims(1, 2)

    pauses = _pauses(keys, tf.where(silent, own, pause))
    spaces = tf.RaggedTensor.from_tensor(
        tf.fill(tf.stack([count, 0 if space is None else 1]), tf.cast(space or 0, text.dtype))
    )
    sound, words = laid(audio, pauses, other, paused), laid(text, spaces, said, together)
    return {
        "audio": sound.flat_values,
        "audio_splits": sound.row_splits,
        "text": words.flat_values,
        "text_splits": words.row_splits,
    }


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
