"""The steps on the JAX backend: pure functions of the state, compiled with XLA always, as one program over all
devices: what it computes does not depend on their number."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import jax
import keras
import numpy as np

from pipelines.devices.jax_layout import Layout, split
from pipelines.devices.jax_workers import together
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
from pipelines.errors import OutOfMemory, told_as
from pipelines.task import Built
from pipelines.workers import ALONE, Workers

State = tuple[list[Any], list[Any], list[Any], list[Any], list[Any]]
"""Values of the trainable, the other, the optimizer's and the averaged variables, and of the loss' scale."""


class JaxSteps:
    """See Steps. The state lives in JAX arrays here; the Keras variables are brought up to date in the end."""

    def __init__(
        self,
        built: Built,
        optimizer: keras.optimizers.Optimizer,
        settings: StepSettings,
        workers: Workers = ALONE,
    ) -> None:
        self._built, self._model, self._optimizer, self._settings = built, built.model, optimizer, settings
        followed = {id(v) for v in averaged_variables(self._model)}
        others = [*self._model.trainable_variables, *self._model.non_trainable_variables]
        self._followed = [place for place, v in enumerate(others) if id(v) in followed and settings.average is not None]
        self._rate = next(i for i, v in enumerate(optimizer.variables) if v is optimizer.learning_rate)
        self._others = workers.count > 1
        self._layout = Layout(split(self._model, settings), settings.model_parallel, workers)
        self._like, self._state = self._read()
        shardings = _map(self._layout.sharding, self._like)
        self._train = jax.jit(self._train_block, donate_argnums=0, out_shardings=(shardings, self._layout.whole))
        self._evaluate = jax.jit(self._evaluate_block, out_shardings=self._layout.whole)

    def train(self, block: Any, rates: np.ndarray) -> np.ndarray:
        """See Steps."""
        with _within_memory(), together(self._others):
            given = self._layout.batches(block, self._settings.accumulate)
            self._state, sums = self._train(self._state, given, rates)
            return np.asarray(sums)

    def evaluate(self, block: Any) -> np.ndarray:
        """See Steps."""
        with _within_memory(), together(self._others):
            return np.asarray(self._evaluate(self._state[:2], self._layout.batches(block)))

    def weights(self, *, averaged: bool = True) -> dict[str, np.ndarray]:
        """See Steps."""
        with self.averaged() if averaged else contextlib.nullcontext():
            mine = {id(variable): value for variable, value in self._variables()}
        kept = named(kept_model(self._built).variables)
        return {name: mine[id(v)] if id(v) in mine else np.array(v) for name, v in kept.items()}

    def release(self) -> None:
        """See Steps."""
        if any(value.is_deleted() for value in self._state[0]):
            return  # a step that failed had taken them
        for variable, value in self._variables():
            variable.assign(value)

    def state(self) -> dict[str, np.ndarray]:
        """See Steps."""
        return {name: self._layout.take(value, like) for name, (value, like) in self._all().items()}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """See Steps."""
        mine = {name: like for name, (_, like) in self._all().items()}
        check_state(state, mine)
        values = iter(self._layout.put(state[name].astype(like.dtype)) for name, like in mine.items())
        self._state = tuple([next(values) for _ in part] for part in self._state)  # type: ignore[assignment]

    def _all(self) -> dict[str, tuple[Any, Any]]:
        """The state by name, each with its shape as the model knows it."""
        groups = zip(("trainable", "other", "optimizer", "average", "scale"), self._state, self._like, strict=True)
        return {
            state_name(group, place): pair
            for group, values, likes in groups
            for place, pair in enumerate(zip(values, likes, strict=True))
        }

    def _variables(self) -> Iterator[tuple[Any, np.ndarray]]:
        """The model's variables with their values, on the host."""
        for place, variables in enumerate((self._model.trainable_variables, self._model.non_trainable_variables)):
            for variable, value, like in zip(variables, self._state[place], self._like[place], strict=True):
                yield variable, self._layout.take(value, like)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """See Steps."""
        trainable, others, optimizer, average, scale = kept = self._state
        values = [*trainable, *others]
        for place, value in zip(self._followed, average, strict=True):
            values[place] = value
        self._state = (values[: len(trainable)], values[len(trainable) :], optimizer, average, scale)
        try:
            yield
        finally:
            self._state = kept

    def _read(self) -> tuple[State, State]:
        """The shapes of the state as the model knows it, and the state as it lies on the devices."""
        trainable, others = self._model.trainable_variables, self._model.non_trainable_variables
        followed = [[*trainable, *others][place] for place in self._followed]
        scale = new_scale() if self._settings.scaled else []
        state = _map(lambda v: v.value, (trainable, others, self._optimizer.variables, followed, scale))
        return jax.eval_shape(lambda state: state, state), _map(self._layout.put, state)

    def _train_block(self, state: State, block: Any, rates: Any) -> tuple[State, Any]:
        def step(held: State, given: Any) -> tuple[State, Any]:
            held, sums = self._train_step(_map(self._layout.cut, held, self._like), *given)
            return _map(self._layout.fill, held), sums

        state, sums = jax.lax.scan(step, state, (block, rates))
        return state, sums.sum(0)

    def _train_step(self, state: State, batch: Any, rate: Any) -> tuple[State, Any]:
        trainable, others, optimizer, average, scale = state
        optimizer = [*optimizer[: self._rate], rate.astype(optimizer[self._rate].dtype), *optimizer[self._rate + 1 :]]
        gradients, others, sums = self._gradients(trainable, others, batch, scale)
        finite = True
        if scale:
            gradients = unscaled(gradients, scale[0])
            finite = count_overflown(gradients) == 0
            sums = told(sums, scale[0], finite)
        gradients = clip(gradients, self._settings.clip_norm)
        before = trainable
        trainable, optimizer = self._optimizer.stateless_apply(optimizer, gradients, trainable)
        if self._settings.rates:
            # The whole update is scaled, decay and all, as a smaller learning rate would.
            parts = zip(self._settings.rates, before, trainable, strict=True)
            trainable = [old + rate * (new - old) if rate != 1.0 else new for rate, old, new in parts]
        iterations = optimizer[
            next(i for i, v in enumerate(self._optimizer.variables) if v is self._optimizer.iterations)
        ]
        average = self._new_average(trainable, others, average, iterations)
        if scale:
            changed = zip((trainable, optimizer, average), (state[0], state[2], state[3]), strict=True)
            trainable, optimizer, average = (
                [jax.numpy.where(finite, new, old) for new, old in zip(*pair, strict=True)] for pair in changed
            )
            scale = next_scale(scale[0], scale[1], finite)
        return (trainable, others, optimizer, average, scale), sums

    def _gradients(
        self, trainable: list[Any], others: list[Any], batch: Any, scale: list[Any]
    ) -> tuple[list[Any], list[Any], Any]:
        total = batch[2].sum()
        share = jax.numpy.where(total > 0, 1.0 / jax.numpy.maximum(total, 1e-30), 0.0)

        def part(held: Any, piece: Any) -> tuple[Any, Any]:
            gradients, others = held
            loss = jax.value_and_grad(self._loss, has_aux=True)
            (_, (others, sums)), more = loss(trainable, others, piece, share, scale)
            more = [self._layout.keep(gradient, gradient) for gradient in more]
            return (jax.tree_util.tree_map(jax.numpy.add, gradients, more), others), sums

        start = (jax.tree_util.tree_map(jax.numpy.zeros_like, trainable), others)
        (gradients, others), sums = jax.lax.scan(part, start, batch)
        return gradients, others, sums.sum(0)

    def _loss(
        self, trainable: list[Any], others: list[Any], batch: Any, share: Any, scale: list[Any]
    ) -> tuple[Any, Any]:
        x, y, weight = batch
        outputs, others, losses = self._model.stateless_call(trainable, others, x, training=True, return_losses=True)
        sums = weighted_sums(self._built, y, outputs, weight)
        variables = self._model.trainable_variables
        kernels = [value for value, v in zip(trainable, variables, strict=True) if is_kernel(v)]
        extra = penalty(kernels, self._settings) + sum(losses)
        loss = sums[0] * share + extra / self._settings.accumulate
        return scaled(loss, scale[0]) if scale else loss, (others, sums)

    def _new_average(self, trainable: list[Any], others: list[Any], average: list[Any], iterations: Any) -> list[Any]:
        if not self._followed:
            return average
        values = [*trainable, *others]
        decay = average_decay(self._settings.average or 0.0, iterations)
        pairs = zip(average, (values[place] for place in self._followed), strict=True)
        return [old + (1.0 - decay) * (new - old) for old, new in pairs]

    def _evaluate_block(self, state: tuple[list[Any], list[Any]], block: Any) -> Any:
        def step(total: Any, batch: Any) -> tuple[Any, None]:
            x, y, weight = jax.tree_util.tree_map(lambda tensor: tensor[0], batch)
            outputs, _ = self._model.stateless_call(*state, x, training=False)
            return total + weighted_sums(self._built, y, outputs, weight), None

        state = _map(self._layout.cut, state, self._like[:2])
        return jax.lax.scan(step, jax.numpy.zeros(2 + len(self._built.metrics)), block)[0]


def _within_memory() -> AbstractContextManager[None]:
    """A computation on a batch. Raises OutOfMemory where it does not fit."""
    return told_as(OutOfMemory, "", jax.errors.JaxRuntimeError, lambda error: "RESOURCE_EXHAUSTED" in str(error))


def forward(model: keras.Model) -> Callable[[Any], np.ndarray]:
    """See devices.forward."""
    state = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]
    compiled = jax.jit(lambda state, x: model.stateless_call(*state, x, training=False)[0])
    return lambda x: np.asarray(compiled(state, _arrays(x)), np.float32)


def compiled(function: Callable[..., Any], model: keras.Model) -> Callable[..., Any]:
    """See devices.compiled."""
    variables = model.variables

    @jax.jit
    def call(state: list[Any], *arguments: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, state, strict=True))):
            return function(*arguments)

    return lambda *arguments: call([variable.value for variable in variables], *_arrays(list(arguments)))


def slopes(model: keras.Model) -> Callable[..., np.ndarray]:
    """See devices.slopes."""
    state = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]

    def chosen(x: Any, outputs: Any, beside: Any, state: Any) -> Any:
        answers = model.stateless_call(*state, [x, *beside] if beside else x, training=False)[0]
        return jax.numpy.take_along_axis(answers, outputs[:, None], axis=1).sum()

    compiled = jax.jit(jax.grad(chosen))
    return lambda x, outputs, *beside: np.asarray(
        compiled(np.asarray(x), np.asarray(outputs), _arrays(list(beside)), state), np.float32
    )


def _map(function: Callable[..., Any], *states: Any) -> Any:
    """Of each array of the groups of a state, or of the same one of several."""
    return tuple([function(*each) for each in zip(*groups, strict=True)] for groups in zip(*states, strict=True))


def _arrays(block: Any) -> Any:
    return jax.tree_util.tree_map(np.asarray, block)
