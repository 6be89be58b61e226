"""From interactions and histories to what the model sees, others drawn by key; TensorFlow graphs only."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.stream import uniform
from pipelines.task import Assets, Batching, Encoder
from tasks.recommendation.config import DRAWING, SEQUENTIAL, Config
from tasks.recommendation.losses import log_popularity, rivals

_KEYS = 0x9E3779B97F4A7C15
"""From a key to that of the next number drawn by it, as `uniform` has it."""
_TARGETS = (1, 5, 20)
"""Held-out items of a user that validation asks for, at most the last of these; each is a shape."""
_LENGTHS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 50, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072)
"""Of histories, in items, as they are padded."""


def lengths(config: Config) -> tuple[int, ...]:
    """What histories are padded to, ascending; the last is max_history."""
    return (*[length for length in _LENGTHS if length < config.max_history], config.max_history)


def batching(config: Config) -> Batching:
    """A bucket for each length that histories are padded to; pairs all cost the same."""
    if config.backbone not in SEQUENTIAL:
        return Batching(batch_sizes=(config.batch_size,))
    limits = lengths(config)
    # A history is learnt from by all but its last item.
    return Batching(lambda sizes: sizes[:, 0] - 1, limits[:-1], (config.batch_size,) * len(limits))


def encode(config: Config, assets: Assets, training: bool) -> Encoder:
    """The encoder of interactions (user, item, rating), of histories to learn from, or of users with held-out items.

    x a dict of int32, -1 where there is none: `user` [rows], or `history` [rows, T]; `positive` [rows, P], the items
    asked for, of a history to learn from the one after each of its items; `seen` [rows, S], what is not to be
    recommended; `negative` [rows, N], drawn, where the loss wants them. y float32 [rows, P], ratings where there are
    any; weight float32 [rows, P], in training 1 for each item asked for, else all of a user together 1.
    """
    sequential, draw = config.backbone in SEQUENTIAL, _drawing(config, assets)
    learnt = training and not config.rates and sequential

    def encoder(raw: Any, keys: Any) -> tuple[Any, Any, Any]:
        if learnt:
            x = _next_items(ragged(raw, "history"), config)
        elif "target" in raw:
            x = _held_out(raw, config, sequential)
        else:
            x = {"user": raw["user"], "positive": raw["item"][:, None]}
        x = {name: tf.cast(values, tf.int32) for name, values in x.items()}
        x.setdefault("seen", tf.fill([tf.shape(x["positive"])[0], 1], -1))
        if draw is not None:
            x["negative"] = draw(keys)
        asked = tf.cast(x["positive"] >= 0, tf.float32)
        share = 1.0 if training else tf.math.divide_no_nan(1.0, tf.reduce_sum(asked, axis=1, keepdims=True))
        y = raw["rating"][:, None] if config.rates else tf.zeros_like(asked)
        return x, y, asked * share

    return encoder


def ragged(raw: Any, name: str) -> tf.RaggedTensor:
    """A column of any number of items in each row."""
    return tf.RaggedTensor.from_row_splits(raw[name], raw[f"{name}_splits"], validate=False)


def histories(history: tf.RaggedTensor, config: Config) -> tf.Tensor:
    """int32 [rows, T]: the latest items of each, as the model sees them."""
    return padded(tf.cast(history[:, -config.max_history :], tf.int32), lengths(config))


def padded(values: tf.RaggedTensor, allowed: tuple[int, ...]) -> tf.Tensor:
    """[rows, length] with -1 behind the end, in the smallest of the allowed lengths that holds all; what is more than
    the last is cut off."""
    values = values[:, : allowed[-1]]
    longest = tf.cast(tf.reduce_max(values.row_lengths()), tf.int32)
    places = tf.constant(allowed, tf.int32)
    length = tf.gather(places, tf.minimum(tf.searchsorted(places, [longest])[0], len(allowed) - 1))
    return tf.ensure_shape(values.to_tensor(-1, shape=tf.stack([-1, length])), [None, None])


def _next_items(history: tf.RaggedTensor, config: Config) -> dict[str, tf.Tensor]:
    """Every item of a history but the last, and the one after it."""
    latest = tf.cast(history[:, -config.max_history - 1 :], tf.int32)
    return {"history": padded(latest[:, :-1], lengths(config)), "positive": padded(latest[:, 1:], lengths(config))}


def _held_out(raw: Any, config: Config, sequential: bool) -> dict[str, tf.Tensor]:
    """What a user took before, and what after."""
    history = ragged(raw, "history")
    known = {"history": histories(history, config)} if sequential else {"user": raw["user"]}
    doubling = tuple(2**power for power in range(4, 20))
    seen = padded(tf.cast(history, tf.int32), doubling)
    return {**known, "positive": padded(tf.cast(ragged(raw, "target"), tf.int32), _TARGETS), "seen": seen}


def _drawing(config: Config, assets: Assets) -> Callable[[Any], tf.Tensor] | None:
    """keys [rows] -> int32 [rows, N], items drawn by them: all alike, or for sampled-softmax by how often they are
    taken. None where the loss draws none."""
    if config.loss not in DRAWING:
        return None
    count, each = rivals(config, assets), drawn_each(config)
    shares = np.full(count, 1 / count)
    if config.loss == "sampled-softmax":
        shares = np.exp(log_popularity(assets["counts"][:count]))
    bounds = tf.constant(np.cumsum(shares, dtype=np.float64)[:-1], tf.float32)
    lanes = tf.constant([(_KEYS * lane + 2**63) % 2**64 - 2**63 for lane in range(each)], tf.int64)

    def draw(keys: Any) -> tf.Tensor:
        numbers = uniform(tf.reshape(keys[:, None] + lanes, [-1]), 0)
        return tf.reshape(tf.searchsorted(bounds, numbers, side="right"), [-1, each])

    return draw


def drawn_each(config: Config) -> int:
    """Items that are drawn for each row: of sampled-softmax, whose rows share them, its part of them all."""
    return -(-config.negatives // config.batch_size) if config.loss == "sampled-softmax" else config.negatives
