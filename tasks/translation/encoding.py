"""From pieces to the padded numbers that the model sees; a TensorFlow graph for training, NumPy for one batch."""

from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.task import Assets, Encoder, Raw
from pipelines.text.ids import Ids
from tasks.translation.config import Config
from tasks.translation.lengths import bounds

__all__ = ["bounds", "encode", "marks", "padded_pair"]


def encode(config: Config, assets: Assets, training: bool) -> Encoder:
    """The encoder of `source` and `target` with their `_splits`, whole texts as pieces.

    x: source int32 [rows, length], its pieces and the end; target int32 [rows, length], the start and its pieces. y
    int32 [rows, length], the target's pieces and the end; weight float32 [rows, length], 0 where that is padding. The
    length is the smallest of the bounds that holds both sides of all rows; of what is longer than the last, the tail
    before the end is cut off. Without `target` x is {"source"} alone.
    """
    del training
    ids = Ids.of(assets)

    def encoder(raw: Any, keys: Any) -> tuple[Any, Any, Any]:
        del keys
        source = _ended(raw, "source", config, ids)
        if "target" not in raw:
            x = _padded(source, _length(config, source), ids)
            return {"source": x}, None, tf.ones(tf.shape(x)[:1])
        target = _ended(raw, "target", config, ids)
        length = _length(config, source, target)
        y = _padded(target, length, ids)
        x = {"source": _padded(source, length, ids), "target": _shifted(y, ids)}
        return x, y, tf.cast(y != ids.pad, tf.float32)

    return encoder


def padded_pair(raw: Raw, config: Config, ids: Ids) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """x, y and weight of a batch as `encode` has them."""
    sources, targets = (_rows(raw, name, config, ids) for name in ("source", "target"))
    longest = max(map(len, [*sources, *targets]), default=0)
    length = next(length for length in bounds(config) if length >= longest)
    y = _filled(targets, length, ids)
    before = np.concatenate([np.full((len(y), 1), ids.start, np.int32), y[:, :-1]], axis=1)
    x = {"source": _filled(sources, length, ids), "target": np.where(y == ids.pad, np.int32(ids.pad), before)}
    return x, y, (y != ids.pad).astype(np.float32)


def marks(side: str, ids: Ids) -> tuple[list[int], list[int]]:
    """What stands before the pieces of a source or a target and behind them, as the model reads and writes them."""
    return [ids.first] if side == "source" and ids.first is not None else [], [ids.end]


def _ended(raw: Any, name: str, config: Config, ids: Ids) -> tf.RaggedTensor:
    """int32 [rows, ragged]: the pieces of each row between their marks, as many as there is room for."""
    pieces = tf.RaggedTensor.from_row_splits(tf.cast(raw[name], tf.int32), raw[f"{name}_splits"], validate=False)
    before, behind = marks(name, ids)
    most = config.max_tokens - len(before) - len(behind)
    around = [tf.tile(tf.constant([mark], tf.int32), [pieces.nrows(), 1]) for mark in (before, behind) if mark]
    return tf.concat([*around[:-1], pieces[:, :most], around[-1]], axis=1)


def _shifted(y: tf.Tensor, ids: Ids) -> tf.Tensor:
    """The start and what stands before each place of y; padding where y is."""
    start = tf.fill([tf.shape(y)[0], 1], tf.constant(ids.start, tf.int32))
    return tf.where(y == ids.pad, ids.pad, tf.concat([start, y[:, :-1]], axis=1))


def _length(config: Config, *sides: tf.RaggedTensor) -> tf.Tensor:
    """The smallest of the bounds that holds every row of all sides."""
    longest = tf.reduce_max([tf.reduce_max(side.row_lengths()) for side in sides])
    allowed = tf.constant(bounds(config), tf.int64)
    return tf.cast(tf.gather(allowed, tf.searchsorted(allowed, [longest])[0]), tf.int32)


def _padded(rows: tf.RaggedTensor, length: tf.Tensor, ids: Ids) -> tf.Tensor:
    return tf.ensure_shape(rows.to_tensor(ids.pad, shape=tf.stack([-1, length])), [None, None])


def _rows(raw: Raw, name: str, config: Config, ids: Ids) -> list[list[int]]:
    splits, (before, behind) = raw[f"{name}_splits"], marks(name, ids)
    most = config.max_tokens - len(before) - len(behind)
    every = zip(splits[:-1], splits[1:], strict=True)
    return [[*before, *raw[name][start:end][:most].tolist(), *behind] for start, end in every]


def _filled(rows: list[list[int]], length: int, ids: Ids) -> np.ndarray:
    filled = np.full((len(rows), length), ids.pad, np.int32)
    for place, row in enumerate(rows):
        filled[place, : len(row)] = row
    return filled
