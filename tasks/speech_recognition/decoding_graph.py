"""The likeliest path as a graph of TensorFlow: from the network's answers to text, as `decoding` finds it."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tasks.speech_recognition.alphabet import BLANK


def likeliest(log_probabilities: Any, answers: Any, alphabet: Sequence[str]) -> dict[str, Any]:
    """What `decoding.Greedy` and `decoding.words` make of each recording.

    Args:
        log_probabilities: float32 [rows, places, labels].
        answers: int32 [rows], how many of the places count.
        alphabet: the text of each label.

    Returns: text strings [rows], words with a blank between each two; confidence float32 [rows], the mean over words of
        the mean probability of their characters, NaN where there is no word; likelihood float32 [rows], the
        log-probability of the path.
    """
    counted = tf.sequence_mask(answers, tf.shape(log_probabilities)[1])
    best = tf.where(counted, tf.argmax(log_probabilities, axis=-1, output_type=tf.int32), BLANK)
    sure = tf.reduce_max(log_probabilities, axis=-1)
    begins = best != tf.pad(best[:, :-1], [[0, 0], [1, 0]], constant_values=-1)
    signs = begins & (best != BLANK)
    surest = _within(tf.math.unsorted_segment_max, tf.exp(sure), begins)
    # A label may begin with a blank, and then begins a word; whatever kind of blank it is, words are put together by
    # the usual one.
    opening = [text[:1].isspace() for text in alphabet]
    texts = tf.constant(
        [f"{' ' * opens}{text.lstrip()}".encode() for text, opens in zip(alphabet, opening, strict=True)]
    )
    spelled = signs & tf.gather(tf.constant([bool(text.strip()) for text in alphabet]), best)
    opens = signs & tf.gather(tf.constant(opening), best)
    said = tf.strings.reduce_join(tf.where(signs, tf.gather(texts, best), ""), axis=1)
    return {
        "text": tf.strings.strip(tf.strings.regex_replace(said, " +", " ")),
        "confidence": _mean_of_words(tf.where(spelled, surest, 0.0), spelled, opens),
        "likelihood": tf.reduce_sum(tf.where(counted, sure, 0.0), axis=1),
    }


def _mean_of_words(sure: Any, spelled: Any, opens: Any) -> Any:
    """float32 [rows]: of the characters that are spelled the mean in each word, and the mean of these."""
    one = tf.cast(spelled, tf.float32)
    total, many = (_within(tf.math.unsorted_segment_sum, values, opens) for values in (sure, one))
    # Each character has its share of its word, so that the words need not be told apart any more.
    shares = tf.math.divide_no_nan(one, many)
    words = tf.reduce_sum(shares, axis=1)
    return tf.reduce_sum(shares * tf.math.divide_no_nan(total, many), axis=1) / words


def _within(reduce: Any, values: Any, begins: Any) -> Any:
    """float32 [rows, places]: values reduced over each stretch of a row, at all of its places; stretches go from where
    one begins to where the next one does."""
    rows, places = tf.unstack(tf.shape(values))
    numbers = tf.cumsum(tf.cast(begins, tf.int32), axis=1) + (places + 1) * tf.range(rows)[:, None]
    return tf.gather(reduce(values, numbers, rows * (places + 1)), numbers)
