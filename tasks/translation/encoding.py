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
    the smallest of the bounds that holds both sides of all rows; what is longer than the last is cut: of a source the
    tail before its END, of a target the tail. Without `target` x is {"source"} alone.
    """
    del assets, training
    most = config.max_tokens

    def encoder(raw: Any, keys: Any) -> tuple[Any, Any, Any]:
        del keys
        source = _followed(_ragged(raw, "source")[:, : most - 1], END)
        if "target" not in raw:
            x = _padded(source, _length(config, source))
            return {"source": x}, None, tf.ones(tf.shape(x)[:1])
        pieces = _ragged(raw, "target")
        target = _followed(pieces, END)[:, :most]
        length = _length(config, source, target)
        y = _padded(target, length)
        x = {"source": _padded(source, length), "target": _shifted(y)}
        return x, y, tf.cast(y != PAD, tf.float32)

    return encoder


def padded_pair(raw: Raw, config: Config) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """x, y and weight of a batch as `encode` has them."""
    most = config.max_tokens
    sources = [[*row[: most - 1], END] for row in _rows(raw, "source")]
    targets = [[*row, END][:most] for row in _rows(raw, "target")]
    length = _bound(config, [*sources, *targets])
    y = _filled(targets, length)
    before = np.concatenate([np.full((len(y), 1), START, np.int32), y[:, :-1]], axis=1)
    x = {"source": _filled(sources, length), "target": np.where(y == PAD, np.int32(PAD), before)}
    return x, y, (y != PAD).astype(np.float32)


def _ragged(raw: Any, name: str) -> tf.RaggedTensor:
    return tf.RaggedTensor.from_row_splits(raw[name], raw[f"{name}_splits"], validate=False)


def _followed(rows: tf.RaggedTensor, last: int) -> tf.RaggedTensor:
    return tf.concat([tf.cast(rows, tf.int32), tf.fill([rows.nrows(), 1], tf.constant(last, tf.int32))], axis=1)


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


def _rows(raw: Raw, name: str) -> list[list[int]]:
    splits = raw[f"{name}_splits"]
    return [raw[name][start:end].tolist() for start, end in zip(splits[:-1], splits[1:], strict=True)]


def _bound(config: Config, rows: list[list[int]]) -> int:
    longest = max(map(len, rows), default=0)
    return next(length for length in bounds(config) if length >= longest)


def _filled(rows: list[list[int]], length: int) -> np.ndarray:
    filled = np.full((len(rows), length), PAD, np.int32)
    for place, row in enumerate(rows):
        filled[place, : len(row)] = row
    return filled
