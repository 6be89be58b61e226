"""From texts, or their tokens, to the padded numbers that the model sees; TensorFlow graphs only."""

from typing import Any

import tensorflow as tf

from pipelines.task import Assets, Encoder
from pipelines.text.tokenizers import Tokenizer, tokenizer
from tasks.text_sentiment.config import Config
from tasks.text_sentiment.lengths import bounds, cut, room, sizes, window_bounds

__all__ = ["bounds", "cut", "encode", "sizes"]


def encode(config: Config, assets: Assets, training: bool) -> Encoder:
    """The encoder of `text` [rows], or of `tokens` with `tokens_splits`, whole texts without what stands before and
    after them.

    x int32 [rows, length], or [rows, windows, length] where `long` is windows, filled up with the tokenizer's padding
    to the smallest of the bounds that holds all rows; y int32 [rows]; weight float32 [rows] (the class's weight in
    training).
    """
    words = tokenizer(assets["tokenizer"])
    weights = tf.constant(assets.get("class_weights", [1.0]), tf.float32)
    weighted = training and config.class_weights == "balanced"
    fit = _windows if config.long == "windows" else _single

    def encoder(raw: Any, keys: Any) -> tuple[Any, Any, Any]:
        del keys
        if "text" in raw:
            tokens = words.encode(raw["text"])
        else:
            tokens = tf.RaggedTensor.from_row_splits(raw["tokens"], raw["tokens_splits"], validate=False)
        x = fit(tf.cast(tokens, tf.int32), words, config)
        label = raw.get("label")
        weight = tf.gather(weights, label) if weighted else tf.ones(tf.shape(x)[:1])
        return x, None if label is None else tf.cast(label, tf.int32), weight

    return encoder


def _single(tokens: tf.RaggedTensor, words: Tokenizer, config: Config) -> tf.Tensor:
    """int32 [rows, length]: one window of each text, the rest cut off."""
    most = room(config, words)
    if config.long == "truncate-head":
        tokens = tokens[:, -most:]
    elif config.long == "truncate-tail":
        tokens = tokens[:, :most]
    else:
        head = most // 4
        tokens = tf.concat([tokens[:, :head], tokens[:, head:][:, head - most :]], axis=1)
    return _padded(_between(tokens, words), words, bounds(config))


def _windows(tokens: tf.RaggedTensor, words: Tokenizer, config: Config) -> tf.Tensor:
    """int32 [rows, windows, length]: each text in as few near-equal windows as hold it; windows that a text does not
    need are padding alone. Where a text has several, all have the greatest length."""
    most, counts = room(config, words), window_bounds(config)
    tokens = tokens[:, : most * counts[-1]]
    lengths = tf.cast(tokens.row_lengths(), tf.int32)
    needed = tf.maximum(-(-lengths // most), 1)
    count = _smallest(tf.reduce_max(needed), counts)
    rows = tf.repeat(tf.range(tf.size(needed)), needed)
    place = tf.ragged.range(needed).values
    total, parts = tf.gather(lengths, rows), tf.gather(needed, rows)
    cuts = (place + 1) * total // parts - place * total // parts
    pieces = _between(tf.RaggedTensor.from_row_lengths(tokens.values, tf.cast(cuts, tf.int64)), words)
    allowed = bounds(config)
    several = tf.cast(tf.reduce_max(needed) > 1, tf.int32) * allowed[-1]
    x = _padded(pieces, words, allowed, several)
    shape = tf.stack([tf.size(needed), count, tf.shape(x)[1]])
    empty = tf.fill(shape, tf.constant(words.pad, tf.int32))
    return tf.ensure_shape(tf.tensor_scatter_nd_update(empty, tf.stack([rows, place], 1), x), [None, None, None])


def _between(tokens: tf.RaggedTensor, words: Tokenizer) -> tf.RaggedTensor:
    """Each row between the tokens that stand before and after a text."""
    before, after = (
        [] if one is None else [tf.fill([tokens.nrows(), 1], tf.constant(one, tf.int32))]
        for one in (words.start, words.end)
    )
    return tf.concat([*before, tokens, *after], axis=1) if before or after else tokens


def _padded(tokens: tf.RaggedTensor, words: Tokenizer, allowed: tuple[int, ...], least: Any = 0) -> tf.Tensor:
    longest = tf.maximum(tf.cast(tf.reduce_max(tokens.row_lengths()), tf.int32), least)
    length = _smallest(longest, allowed)
    return tf.ensure_shape(tokens.to_tensor(words.pad, shape=tf.stack([-1, length])), [None, None])


def _smallest(wanted: tf.Tensor, allowed: tuple[int, ...]) -> tf.Tensor:
    """The smallest of the allowed numbers that is no less."""
    return tf.gather(tf.constant(allowed, tf.int32), tf.searchsorted(tf.constant(allowed, tf.int32), [wanted])[0])
