"""The steps on the TensorFlow backend: one device or the replicas of a strategy, in one process or several."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipelines.devices import FIXED_SHAPES
from pipelines.devices.loss_scale import count_overflown, new_scale, next_scale, scaled, told, unscaled
from pipelines.devices.settings import StepSettings
from pipelines.devices.steps import (
    average_decay,
    averaged_variables,
    check_state,
    clip,
    is_kernel,
    kept_model,
    named,
    penalty,
    state_name,
    weighted_sums,
)
from pipelines.devices.tensorflow_shapes import at, in_parts, of_any_length
from pipelines.errors import OutOfMemory, WorkerLost, told_as
from pipelines.task import Built
from pipelines.workers import ALONE, Workers

_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
)
"""What TensorFlow raises where it cannot reach a worker."""
_SEED = "seed_generator_state"
"""Keras' name of the variables that random numbers are drawn from: a seed, and how often it was used."""
_APART = 0x3C6EF35F
"""Between the seeds of two replicas."""


class TensorFlowSteps:
    """See Steps. A whole block is one call: with XLA and one replica it is one compiled loop."""

    def __init__(
        self,
        built: Built,
        optimizer: keras.optimizers.Optimizer,
        settings: StepSettings,
        strategy: Any,
        workers: Workers = ALONE,
    ) -> None:
        self._built, self._model, self._optimizer, self._settings = built, built.model, optimizer, settings
        self._strategy = strategy or tf.distribute.get_strategy()
        self._replicas = self._strategy.num_replicas_in_sync
        self._here = self._replicas // workers.count
        self._average = self._make_average()
        with self._strategy.scope():
            self._scale = new_scale() if settings.scaled else []
        jit = settings.jit and self._replicas == 1
        fused = settings.fused and not jit and self._replicas == 1
        self._update = tf.function(self._change, jit_compile=True, autograph=False) if fused else self._change
        # Replicas share a batch, and must know into how many rows.
        opened = partial(of_any_length, rows=settings.rows and self._here == 1)
        compiled = opened if settings.lengths else tf.function
        self._jit = jit
        self._train = compiled(self._train_block, jit_compile=jit, autograph=False)
        self._evaluate = compiled(self._evaluate_block, jit_compile=jit, autograph=False)

    def train(self, block: Any, rates: np.ndarray) -> np.ndarray:
        """See Steps."""
        with _within_memory(), together(self._replicas > self._here):
            sums: np.ndarray = self._train(block, tf.constant(rates, tf.float32)).numpy()
        return sums

    def evaluate(self, block: Any) -> np.ndarray:
        """See Steps."""
        with _within_memory(), together(self._replicas > self._here):
            sums: np.ndarray = self._evaluate(block).numpy()
        return sums

    def weights(self, *, averaged: bool = True) -> dict[str, np.ndarray]:
        """See Steps."""
        with self.averaged() if averaged else contextlib.nullcontext():
            return {name: variable.numpy() for name, variable in named(kept_model(self._built).variables).items()}

    def release(self) -> None:
        """See Steps."""

    def state(self) -> dict[str, np.ndarray]:
        """See Steps."""
        return {name: np.array(variable.numpy()) for name, variable in self._all().items()}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """See Steps."""
        variables = self._all()
        check_state(state, variables)
        for name, variable in variables.items():
            variable.assign(state[name])

    def _all(self) -> dict[str, Any]:
        groups = {"model": self._model.variables, "optimizer": self._optimizer.variables, "average": self._average}
        groups["scale"] = self._scale
        return {
            state_name(group, place): variable
            for group, variables in groups.items()
            for place, variable in enumerate(variables)
        }

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """See Steps."""
        followed = averaged_variables(self._model) if self._average else []
        kept = [variable.numpy() for variable in followed]
        for variable, average in zip(followed, self._average, strict=True):
            variable.assign(average.numpy())
        try:
            yield
        finally:
            for variable, value in zip(followed, kept, strict=True):
                variable.assign(value)

    def _make_average(self) -> list[Any]:
        if self._settings.average is None:
            return []
        with self._strategy.scope():
            return [
                keras.Variable(
                    v.numpy(), dtype=v.dtype, trainable=False, aggregation="only_first_replica", name="average"
                )
                for v in averaged_variables(self._model)
            ]

    def _train_block(self, block: Any, rates: tf.Tensor) -> tf.Tensor:
        with self._known_shapes():
            return self._over(block, lambda place: (self._train_replica, (at(block, place), rates[place])))

    def _evaluate_block(self, block: Any) -> tf.Tensor:
        with self._known_shapes():
            return self._over(block, lambda place: (self._evaluate_replica, (at(block, place),)))

    @contextlib.contextmanager
    def _known_shapes(self) -> Iterator[None]:
        """In here `shapes_change` says no, if XLA compiles the steps."""
        before = FIXED_SHAPES.set(self._jit)
        try:
            yield
        finally:
            FIXED_SHAPES.reset(before)

    def _over(self, block: Any, call: Callable[[Any], tuple[Any, Any]]) -> tf.Tensor:
        """The sum over the steps of a block; a block of one step needs no loop."""
        length = tf.nest.flatten(block)[0].shape[0]

        def run(place: Any) -> tf.Tensor:
            function, arguments = call(place)
            sums = self._strategy.run(function, args=arguments)
            return self._strategy.reduce(tf.distribute.ReduceOp.SUM, sums, axis=None)

        if length == 1:
            return run(0)
        start = (tf.constant(0), tf.zeros([2 + len(self._built.metrics)]))
        return tf.while_loop(
            lambda place, _: place < length,
            lambda place, total: (place + 1, total + run(place)),
            start,
            parallel_iterations=1,
        )[1]

    def _train_replica(self, batch: Any, rate: tf.Tensor) -> tf.Tensor:
        self._optimizer.learning_rate.assign(rate)
        x, y, weight = self._part(batch, self._settings.accumulate)
        share = tf.math.divide_no_nan(1.0, self._all_sum(tf.reduce_sum(weight)))
        gradients, sums = self._gradients(x, y, weight, share)
        finite: Any = True
        if self._scale:
            gradients = unscaled(gradients, self._scale[0].value)
            finite = self._all_sum(count_overflown(gradients)) == 0
            sums = told(sums, self._scale[0].value, finite)
        if self._settings.clip_norm is not None:
            # The optimizer sums over the replicas by itself: hand it equal parts of the clipped global gradient.
            gradients = [g if g is None else self._all_sum(g) for g in gradients]
            gradients = [g if g is None else g / self._replicas for g in clip(gradients, self._settings.clip_norm)]
        self._update(gradients, finite)
        return sums

    def _change(self, gradients: list[Any], finite: Any) -> None:
        """Update the variables, then their average. Where the loss is scaled, and a gradient is not finite, all of them
        stay as they were."""
        changed = [*self._model.trainable_variables, *self._optimizer.variables, *self._average] if self._scale else []
        before = [tf.identity(v.value) for v in changed]
        self._apply(gradients)
        self._update_average()
        for variable, old in zip(changed, before, strict=True):
            variable.assign(tf.where(finite, variable.value, old))
        if self._scale:
            scale, since = self._scale
            for variable, new in zip(self._scale, next_scale(scale.value, since.value, finite), strict=True):
                variable.assign(new)

    def _apply(self, gradients: list[Any]) -> None:
        """Update the variables; by less where a rate is below 1. The whole update is scaled, decay and all, as a
        smaller learning rate would."""
        variables = self._model.trainable_variables
        slow = [(v, rate) for v, rate in zip(variables, self._settings.rates, strict=False) if rate != 1.0]
        before = [tf.identity(v.value) for v, _ in slow]
        self._optimizer.apply(gradients, variables)
        for (variable, rate), old in zip(slow, before, strict=True):
            variable.assign(old + rate * (variable.value - old))

    def _gradients(self, x: Any, y: Any, weight: Any, share: tf.Tensor) -> tuple[list[Any], tf.Tensor]:
        parts = self._settings.accumulate
        if parts == 1:
            return self._gradient((x, y, weight), share, 1.0)
        split = tf.nest.map_structure(lambda t: in_parts(t, parts), (x, y, weight))

        def add(place: Any, total: Any, sums: Any) -> Any:
            more, values = self._gradient(at(split, place), share, 1.0 / parts)
            return place + 1, [a + b for a, b in zip(total, more, strict=True)], sums + values

        variables = self._model.trainable_variables
        if self._replicas > 1:
            # Synchronized norms talk between replicas, which no loop inside a replica allows (keras#20582).
            each = [self._gradient(at(split, place), share, 1.0 / parts) for place in range(parts)]
            return [tf.add_n(list(column)) for column in zip(*(g for g, _ in each), strict=True)], sum(
                s for _, s in each
            )
        start = (
            tf.constant(0),
            [tf.zeros(v.shape, v.dtype) for v in variables],
            tf.zeros([2 + len(self._built.metrics)]),
        )
        _, gradients, sums = tf.while_loop(lambda place, *_: place < parts, add, start, parallel_iterations=1)
        return gradients, sums

    def _gradient(self, batch: Any, share: tf.Tensor, part: float) -> tuple[list[Any], tf.Tensor]:
        x, y, weight = batch
        variables = self._model.trainable_variables
        with tf.GradientTape() as tape:
            with self._own_numbers():
                outputs = self._model(x, training=True)
            sums = weighted_sums(self._built, y, outputs, weight)
            extra = penalty([v for v in variables if is_kernel(v)], self._settings) + sum(self._model.losses)
            loss = sums[0] * share + extra * (part / self._replicas)
            loss = scaled(loss, self._scale[0].value) if self._scale else loss
        gradients = tape.gradient(loss, [v.value for v in variables])
        # Of a table of embeddings too the whole: from slices Keras' optimizers move the rows of the batch alone, and
        # the result would hang on whether gradients were added up on the way, and on the backend.
        return [g if g is None else tf.convert_to_tensor(g) for g in gradients], sums

    @contextlib.contextmanager
    def _own_numbers(self) -> Iterator[None]:
        """In here each replica draws random numbers of its own: by itself it would draw those of the first."""
        seeds = [v for v in self._model.variables if v.name == _SEED] if self._replicas > 1 else []
        shift = [tf.cast(tf.stack([_APART * replica(), 0]), v.dtype) for v in seeds]
        for seed, by in zip(seeds, shift, strict=True):
            seed.assign(seed + by)
        yield
        for seed, by in zip(seeds, shift, strict=True):
            seed.assign(seed - by)

    def _update_average(self) -> None:
        if self._average:
            decay = average_decay(self._settings.average or 0.0, self._optimizer.iterations)
            for average, variable in zip(self._average, averaged_variables(self._model), strict=True):
                average.assign(average + (1.0 - decay) * (variable - average))

    def _evaluate_replica(self, batch: Any) -> tf.Tensor:
        x, y, weight = self._part(batch)
        return weighted_sums(self._built, y, self._model(x, training=False), weight)

    def _part(self, batch: Any, parts: int = 1) -> Any:
        """This replica's rows of what its worker has of the batch: its share of each of the parts that the batch is
        computed in, so that a part is the same whatever the number of replicas."""
        if self._here == 1:
            return batch
        rows = tf.nest.flatten(batch)[0].shape[0] // (parts * self._here)
        firsts = [(part * self._here + replica() % self._here) * rows for part in range(parts)]
        return tf.nest.map_structure(lambda t: tf.concat([t[first : first + rows] for first in firsts], 0), batch)

    def _all_sum(self, value: Any) -> Any:
        if self._replicas == 1:
            return value
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)


def _within_memory() -> AbstractContextManager[None]:
    """A computation on a batch. Raises OutOfMemory where it does not fit."""
    return told_as(OutOfMemory, "", tf.errors.ResourceExhaustedError)


def together(others: bool = True) -> AbstractContextManager[None]:
    """What several workers compute. Raises WorkerLost where one is gone; where there are no others, nothing is said of
    what fails."""
    return told_as(WorkerLost, "another worker is gone", _LOST, lambda _: others)


def join(gpus: bool) -> Any:
    """A strategy over the devices of all workers that TF_CONFIG names; it waits for them."""
    options = tf.distribute.experimental.CommunicationOptions
    kinds = tf.distribute.experimental.CommunicationImplementation
    handler = signal.getsignal(signal.SIGTERM)
    with together():
        strategy = tf.distribute.MultiWorkerMirroredStrategy(
            communication_options=options(implementation=kinds.AUTO if gpus else kinds.RING)
        )
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)  # TensorFlow has taken it over, for a notice of its own
    return strategy


def adder(strategy: Any) -> Callable[[np.ndarray], np.ndarray]:
    """See Workers.add."""

    def of_all(numbers: tf.Tensor) -> tf.Tensor:
        # Each worker counts once, however many replicas it has.
        sums = strategy.run(lambda: tf.where(replica() % here == 0, numbers, 0))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, sums, axis=None)

    here = len(strategy.extended.worker_devices)
    call = tf.function(of_all, input_signature=[tf.TensorSpec([None], tf.int32)], autograph=False)

    def add(numbers: np.ndarray) -> np.ndarray:
        with together():
            return np.asarray(call(tf.constant(numbers, tf.int32)))

    return add


def replica() -> Any:
    """See devices.replica."""
    context = _replicas()
    return 0 if context is None else context.replica_id_in_sync_group


def gathered(rows: Any) -> Any:
    """See devices.gathered. The gradient of a row is summed over the replicas that used it."""
    context = _replicas()
    return rows if context is None else context.all_gather(rows, axis=0)


def _replicas() -> Any:
    """This replica among several, within a step of theirs; else None."""
    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None


def forward(model: keras.Model) -> Callable[[Any], np.ndarray]:
    """See devices.forward."""
    compiled = tf.function(
        lambda x: tf.cast(model(x, training=False), tf.float32), autograph=False, reduce_retracing=True
    )
    return lambda x: np.asarray(compiled(x))


def compiled(function: Callable[..., Any], model: keras.Model) -> Callable[..., Any]:
    """See devices.compiled."""
    del model  # a graph refers to its variables by itself
    made: list[Callable[..., Any]] = []

    def call(*arguments: Any) -> Any:
        if not made:
            specs = [tf.TensorSpec([None] * np.ndim(one), np.asarray(one).dtype) for one in arguments]
            made.append(tf.function(function, input_signature=specs, autograph=False))
        return made[0](*[tf.constant(one) for one in arguments])

    return call


def slopes(model: keras.Model) -> Callable[..., np.ndarray]:
    """See devices.slopes."""

    def compute(x: Any, outputs: Any, *beside: Any) -> np.ndarray:
        x = tf.convert_to_tensor(x)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            chosen = tf.gather(model([x, *beside] if beside else x, training=False), outputs, batch_dims=1)
        return np.asarray(tf.cast(tape.gradient(chosen, x), tf.float32))

    return compute
