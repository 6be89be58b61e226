"""From pieces to the padded numbers that the model sees; a TensorFlow graph for training, NumPy for one batch."""

from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.task import Assets, Encoder, Raw
from pipelines.text.pieces import END, PAD, START
from tasks.translation.config import Config
from tasks.translation.lengths import batching, bounds

__all__ = ["batching", "bounds", "encode", "padded_pair"]


def encode(config: Config, assets: Assets, training: bool) -> Encoder:
    """The encoder of `source` and `target` with their `_splits`, whole texts as pieces.

    x: source int32 [rows, length], its pieces and END; target int32 [rows, length], START and its pieces. y int32
    [rows, length], the target's pieces and END; weight float32 [rows, length], 0 where that is padding. The length is
    the smallest of the bounds that holds both sides of all rows; of what is longer than the last, the tail before END
    is cut off. Without `target` x is {"source"} alone.
    """
    del assets, training

    def encoder(raw: Any, keys: Any) -> tuple[Any, Any, Any]:
        del keys
        source = _ended(raw, "source", config)
        if "target" not in raw:
            x = _padded(source, _length(config, source))
            return {"source": x}, None, tf.ones(tf.shape(x)[:1])
        target = _ended(raw, "target", config)
        length = _length(config, source, target)
        y = _padded(target, length)
        x = {"source": _padded(source, length), "target": _shifted(y)}
        return x, y, tf.cast(y != PAD, tf.float32)

    return encoder


def padded_pair(raw: Raw, config: Config) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """x, y and weight of a batch as `encode` has them."""
    sources, targets = (_rows(raw, name, config) for name in ("source", "target"))
    longest = max(map(len, [*sources, *targets]), default=0)
    length = next(length for length in bounds(config) if length >= longest)
    y = _filled(targets, length)
    before = np.concatenate([np.full((len(y), 1), START, np.int32), y[:, :-1]], axis=1)
    x = {"source": _filled(sources, length), "target": np.where(y == PAD, np.int32(PAD), before)}
    return x, y, (y != PAD).astype(np.float32)


def _ended(raw: Any, name: str, config: Config) -> tf.RaggedTensor:
    """int32 [rows, ragged]: the pieces of each row, as many as there is room for, and END."""
    pieces = tf.RaggedTensor.from_row_splits(tf.cast(raw[name], tf.int32), raw[f"{name}_splits"], validate=False)
    end = tf.fill([pieces.nrows(), 1], tf.constant(END, tf.int32))
    return tf.concat([pieces[:, : config.max_tokens - 1], end], axis=1)


def _shifted(y: tf.Tensor) -> tf.Tensor:
    """START and what stands before each place of y; padding where y is."""
    start = tf.fill([tf.shape(y)[0], 1], tf.constant(START, tf.int32))
    return tf.where(y == PAD, PAD, tf.concat([start, y[:, :-1]], axis=1))


def _length(config: Config, *sides: tf.RaggedTensor) -> tf.Tensor:
    """The smallest of the bounds that holds every row of all sides."""
    longest = tf.reduce_max([tf.reduce_max(side.row_lengths()) for side in sides])
    allowed = tf.constant(bounds(config), tf.int64)
    return tf.cast(tf.gather(allowed, tf.searchsorted(allowed, [longest])[0]), tf.int32)


def _padded(rows: tf.RaggedTensor, length: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(rows.to_tensor(PAD, shape=tf.stack([-1, length])), [None, None])


def _rows(raw: Raw, name: str, config: Config) -> list[list[int]]:
    splits = raw[f"{name}_splits"]
    most = config.max_tokens - 1
    return [[*raw[name][start:end][:most].tolist(), END] for start, end in zip(splits[:-1], splits[1:], strict=True)]


def _filled(rows: list[list[int]], length: int) -> np.ndarray:
    filled = np.full((len(rows), length), PAD, np.int32)
    for place, row in enumerate(rows):
        filled[place, : len(row)] = row
    return filled
