"""Batches as a pure function of (seed, step): which examples, in which order, with which random numbers.

Nothing here has hidden state: the order of an epoch comes from (seed, epoch), an example's random numbers from
(seed, epoch, example), so any step can be computed first, again, or by another worker. Steps are handed out in blocks
of several batches of one shape, so that one Python call and one device call serve many small steps.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.errors import DataError, OutOfMemory
from pipelines.task import Batching, Encoder, Raw, Store

# Encoders are written as graphs; converting them would only cost time, and leave files in the temporary folder.
_graph = tf.autograph.experimental.do_not_convert
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
PARTNER = "partner_"
"""What the names of a partner's columns begin with."""


@dataclass(frozen=True)
class Step:
    """One batch: its examples, of which the first `rows` count; the others only fill the shape, with weight 0."""

    bucket: int
    indices: np.ndarray
    rows: int


@dataclass(frozen=True)
class Share:
    """What of each batch one worker reads: its rows of each of the parts that a batch is computed in.

    All replicas get as many rows of a part; where these do not suffice, some that only fill it.
    """

    rank: int = 0
    workers: int = 1
    parts: int = 1
    replicas: int = 1
    """Of all workers."""

    def rows(self, size: int) -> np.ndarray:
        """int64: the places of its rows in a batch; -1 for what only fills it."""
        parts = np.arange(size).reshape(self.parts, -1)
        filled = np.pad(parts, [(0, 0), (0, -parts.shape[1] % self.replicas)], constant_values=-1)
        return filled.reshape(self.parts, self.workers, -1)[:, self.rank].reshape(-1)


WHOLE = Share()


class Order:
    """The batches of each epoch of a split.

    Every example stands in exactly one batch of an epoch. A bucket's last batch is filled up with examples from its
    start. With several buckets the batches themselves are shuffled too.
    """

    def __init__(self, store: Store, batching: Batching, seed: int, *, shuffle: bool) -> None:
        self._examples = len(store)
        self._seed = seed
        self._shuffle = shuffle
        self._batch_sizes = batching.batch_sizes
        self._buckets = _buckets(store, batching)
        counts = np.bincount(self._buckets, minlength=len(batching.batch_sizes))
        self.steps = int(sum(-(-count // size) for count, size in zip(counts, batching.batch_sizes, strict=True)))
        """Batches of an epoch: the same in each."""
        self.shapes = int(np.count_nonzero(counts))
        """Buckets that hold any example."""
        self.epoch = lru_cache(maxsize=2)(self._epoch)

    def _epoch(self, epoch: int) -> list[Step]:
        random = np.random.Generator(np.random.Philox(key=[self._seed, epoch]))
        order = random.permutation(self._examples) if self._shuffle else np.arange(self._examples)
        steps = []
        for bucket, size in enumerate(self._batch_sizes):
            members = order[self._buckets[order] == bucket]
            full = np.resize(members, -(-len(members) // size) * size).reshape(-1, size)
            rows = np.minimum(size, len(members) - size * np.arange(len(full)))
            steps += [Step(bucket, *pair) for pair in zip(full, rows.tolist(), strict=True)]
        if self._shuffle and len(self._batch_sizes) > 1:
            steps = [steps[place] for place in random.permutation(len(steps))]
        return steps

    def blocks(self, first: int, last: int, longest: int) -> Iterator[tuple[int, int]]:
        """The steps from first up to last, cut into (start, length): of one epoch, one bucket, and near-equal
        lengths.

        Where the cuts lie depends on the epoch and `longest` alone, so that a training that goes on at a cut is the
        same as one that was never stopped.
        """
        for epoch in range(first // self.steps, -(-last // self.steps)):
            for start, length in self._cut(epoch, longest):
                begin, end = max(start, first), min(start + length, last)
                if begin < end:
                    yield begin, end - begin

    def _cut(self, epoch: int, longest: int) -> Iterator[tuple[int, int]]:
        """The blocks of a whole epoch."""
        steps, place = self.epoch(epoch), 0
        while place < self.steps:
            run = next((i for i in range(place, self.steps) if steps[i].bucket != steps[place].bucket), self.steps)
            run -= place
            length = -(-run // -(-run // longest))
            for start in range(place, place + run, length):
                yield epoch * self.steps + start, min(length, place + run - start)
            place += run


class Stream:
    """The encoded batches of a split as tf.data.

    Args:
        store: the raw examples.
        encode: the task's encoder; called on whole blocks, as a graph.
        batching: buckets and their (global) batch sizes.
        seed: of the order and of the examples' keys.
        training: whether the order is shuffled anew each epoch.
        share: of each batch, that is read here; by default all.
        alike: where all workers' shares must have the same sides, as long as the longest of them all: int32 [n], none
            below 0, of each worker -> the largest each.
    """

    def __init__(
        self,
        store: Store,
        encode: Encoder,
        batching: Batching,
        seed: int,
        *,
        training: bool,
        share: Share = WHOLE,
        alike: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self.store, self.batching, self.seed, self.training = store, batching, seed, training
        self.share, self.alike = share, alike
        self._store = store
        self._encode = encode
        self._seed = seed
        self._partners = training and batching.partners
        self.order = Order(store, batching, seed, shuffle=training)
        self._columns = {
            name: tf.TensorSpec([None, *column.shape[1:]], _dtype(column))
            for name, column in self._raw(np.zeros(1, np.int64), 0).items()
        }

    @property
    def examples(self) -> int:
        """Examples of an epoch."""
        return len(self._store)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return self.order.steps

    def in_order(self) -> "Stream":
        """The same examples, encoded alike, bucket by bucket; for encoders that vary nothing."""
        return Stream(self._store, self._encode, replace(self.batching, partners=False), self._seed, training=False)

    def rows(self, first: int, last: int) -> int:
        """Examples of the steps from first up to last, of one epoch; those that only fill the shape not counted."""
        epoch, place = divmod(first, self.steps_per_epoch)
        return sum(step.rows for step in self.order.epoch(epoch)[place : place + last - first])

    def blocks(self, first: int, last: int, longest: int) -> tf.data.Dataset:
        """(x, y, weight) of the steps from first up to last, each tensor [steps of the block, batch, ...]."""
        options = tf.data.Options()
        options.deterministic = True
        epochs = tf.data.Dataset.range(first // self.steps_per_epoch, -(-last // self.steps_per_epoch))

        def table(epoch: np.int64) -> np.ndarray:
            start = int(epoch) * self.steps_per_epoch
            part = self.order.blocks(max(first, start), min(last, start + self.steps_per_epoch), longest)
            return np.array(list(part), np.int64).reshape(-1, 2)

        def rows(epoch: tf.Tensor) -> tf.data.Dataset:
            found = tf.numpy_function(table, [epoch], tf.int64, stateful=False)
            return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(found, [None, 2]))

        starts = epochs.flat_map(_graph(rows))
        blocks = starts.map(_graph(partial(self._block, self.share)), num_parallel_calls=tf.data.AUTOTUNE)
        return blocks.prefetch(2).with_options(options)

    def iterate(self, first: int, last: int, longest: int) -> Iterator[Any]:
        """The same blocks, one by one.

        Raises:
            DataError: an example cannot be encoded: which, and why.
            OutOfMemory: a block does not fit.
        """
        step = first
        try:
            for block in self.blocks(first, last, longest):
                length = int(block[2].shape[0])
                yield block if self.alike is None else self._as_long(block, step, length)
                step += length
        except tf.errors.ResourceExhaustedError as error:
            raise OutOfMemory from error
        except tf.errors.OpError as error:
            raise self._blame(step, min(last, step + 8 * longest), error) from error

    def _blame(self, first: int, last: int, error: Exception) -> Exception:
        """Encode the examples of the steps around a failure one by one, until one fails."""
        for step in range(first, last):
            epoch, place = divmod(step, self.steps_per_epoch)
            for index in self._involved(self.order.epoch(epoch)[place].indices, epoch):
                row = np.array([index])
                try:
                    # By itself: where partners are asked for, the example is its own.
                    columns = self._store.fetch(row)
                    columns |= {PARTNER + name: column for name, column in columns.items()} if self._partners else {}
                    raw = {name: tf.constant(column) for name, column in columns.items()}
                    self._encode(raw, tf.constant(example_keys(self._seed, epoch, row)))
                except tf.errors.OpError as found:
                    name = self._store.ids(row)[0]
                    return DataError(
                        f"{name} cannot be read any more ({reason(found)}): was it changed during the run?"
                    )
        return error

    def _as_long(self, block: Any, step: int, length: int) -> Any:
        """The same, as long as it is in the batch that all workers have together.

        How long rows are made hangs on the longest, which another worker may have: then all of them are encoded.
        """
        assert self.alike is not None
        sides = np.array([side for tensor in tf.nest.flatten(block) for side in tensor.shape[2:]], np.int32)
        if np.array_equal(self.alike(sides), sides):
            return block
        whole = self._block(WHOLE, tf.constant([step, length], tf.int64))
        rows = self.share.rows(int(whole[2].shape[1]))
        x, y, weight = tf.nest.map_structure(lambda tensor: tf.gather(tensor, np.maximum(rows, 0), axis=1), whole)
        counted = tf.reshape(tf.constant(rows >= 0, weight.dtype), [1, -1] + [1] * (weight.shape.rank - 2))
        return x, y, weight * counted

    def _block(self, share: Share, row: tf.Tensor) -> Any:
        start, length = row[0], row[1]
        names = ["_key", "_weight", *self._columns]
        specs = [tf.TensorSpec([None], tf.int64), tf.TensorSpec([None], tf.float32), *self._columns.values()]
        types, fetch = [spec.dtype for spec in specs], partial(self._fetch, share)
        columns = tf.numpy_function(fetch, [start, length], types, stateful=False)
        for column, spec in zip(columns, specs, strict=True):
            column.set_shape(spec.shape)
        raw = dict(zip(names, columns, strict=True))
        keys, filled = raw.pop("_key"), raw.pop("_weight")
        x, y, weight = self._encode(raw, keys)
        weight = weight * tf.reshape(filled, [-1] + [1] * (weight.shape.rank - 1))
        return tf.nest.map_structure(lambda tensor: _fold(tensor, length), (x, y, weight))

    def _fetch(self, share: Share, start: np.int64, length: np.int64) -> list[np.ndarray]:
        epoch, place = divmod(int(start), self.order.steps)
        steps = self.order.epoch(epoch)[place : place + int(length)]
        mine = share.rows(steps[0].indices.size)
        indices = np.concatenate([step.indices[mine] for step in steps])
        weight = np.concatenate([(mine >= 0) & (mine < step.rows) for step in steps]).astype(np.float32)
        return [example_keys(self._seed, epoch, indices), weight, *self._raw(indices, epoch).values()]

    def _raw(self, indices: np.ndarray, epoch: int) -> Raw:
        raw = self._store.fetch(indices.astype(np.int64))
        if not self._partners:
            return raw
        others = self._store.fetch(partners(self._seed, epoch, indices, len(self._store)))
        return {**raw, **{PARTNER + name: column for name, column in others.items()}}

    def _involved(self, indices: np.ndarray, epoch: int) -> np.ndarray:
        """Everything that is fetched for these examples."""
        if not self._partners:
            return indices
        return np.concatenate([indices, partners(self._seed, epoch, indices, len(self._store))])


def example_keys(seed: int, epoch: int, indices: np.ndarray) -> np.ndarray:
    """int64 [rows]: a well-mixed key for each (seed, epoch, example); SplitMix64 (Steele et al., 2014) over all
    three."""
    with np.errstate(over="ignore"):
        key = _mix(np.uint64(seed) * np.uint64(_GOLDEN) + np.uint64(epoch))
        keys: np.ndarray = _mix(key + indices.astype(np.uint64) * np.uint64(_GOLDEN)).view(np.int64)
    return keys


def partners(seed: int, epoch: int, indices: np.ndarray, examples: int) -> np.ndarray:
    """int64 [rows]: for each example another of all `examples`, a pure function of (seed, epoch, example)."""
    # Mixed as it is, a key gives the number before the first of those that `uniform` draws.
    drawn = _mix(example_keys(seed, epoch, indices).view(np.uint64))
    offset = 1 + (drawn % np.uint64(max(examples - 1, 1))).astype(np.int64)
    others: np.ndarray = (indices.astype(np.int64) + offset) % examples
    return others


def _mix(value: Any) -> Any:
    value = np.asarray(value, np.uint64)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(_MIX_1)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(_MIX_2)
    return value ^ (value >> np.uint64(31))


def uniform(keys: tf.Tensor, lane: int) -> tf.Tensor:
    """float32 [rows] in [0, 1): the lane-th random number of each key, with 24 bits.

    A vectorised, stateless counterpart of tf.random.stateless_uniform, which takes one seed a call.
    """
    value = tf.bitcast(keys, tf.uint64) + tf.constant((lane + 1) * _GOLDEN % 2**64, tf.uint64)
    for shift, factor in ((30, _MIX_1), (27, _MIX_2)):
        value = tf.bitwise.bitwise_xor(value, tf.bitwise.right_shift(value, tf.constant(shift, tf.uint64)))
        value *= tf.constant(factor, tf.uint64)
    value = tf.bitwise.bitwise_xor(value, tf.bitwise.right_shift(value, tf.constant(31, tf.uint64)))
    return tf.cast(tf.bitwise.right_shift(value, tf.constant(40, tf.uint64)), tf.float32) / 2.0**24


def reason(error: Any) -> str:
    """The first line of a TensorFlow error, without the graph's names."""
    line = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", str(error.message).strip().splitlines()[0]).strip()
    if isinstance(error, tf.errors.NotFoundError):
        return "there is no such file" if line.partition(";")[0] else "no file is named"
    line = line.removeprefix("assertion failed: [").partition("] [Condition")[0].removesuffix("]")
    return line or type(error).__name__


def _buckets(store: Store, batching: Batching) -> np.ndarray:
    if batching.cost is None or store.sizes is None:
        return np.zeros(len(store), np.int64)
    buckets: np.ndarray = np.searchsorted(np.asarray(batching.bounds), batching.cost(store.sizes), side="left")
    return buckets


def _dtype(column: np.ndarray) -> tf.DType:
    return tf.string if column.dtype.kind in "OSU" else tf.as_dtype(column.dtype)


def _fold(tensor: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """[steps * batch, ...] -> [steps, batch, ...]."""
    shape = tf.shape(tensor)
    folded = tf.reshape(tensor, tf.concat([[tf.cast(length, tf.int32), -1], shape[1:]], 0))
    folded.set_shape([None, None, *tensor.shape[1:]])
    return folded
