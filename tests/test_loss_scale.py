"""Training in float16: the loss is scaled, what overflows changes nothing, and a state holds the scale."""

import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines import devices
from pipelines.config import RunConfig
from pipelines.devices import loss_scale
from pipelines.devices.settings import StepSettings
from pipelines.devices.steps import Steps
from pipelines.errors import OutOfMemory
from pipelines.preparation import make_optimizer
from pipelines.task import Built

BACKEND = os.environ.get("SIXFOLD_TEST_BACKEND", "tensorflow")
"""test_on_jax runs this file again in a process with the other backend."""
X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
Y = X.sum(axis=1, keepdims=True)


def squared(y: Any, outputs: Any) -> Any:
    return keras.ops.square(y - outputs)[:, 0]


def made(precision: str = "mixed_float16", weight: float = 1.0, optimizer: str = "adam", **settings: Any) -> Steps:
    """The steps of a line through the origin, its loss weighed."""
    config = RunConfig(precision=precision, backend=BACKEND, optimizer=optimizer, learning_rate=0.05)
    runtime = devices.start(config)
    keras.utils.set_random_seed(1)
    dense = keras.layers.Dense(1, use_bias=False, name="line")
    model = keras.Sequential([keras.Input((3,)), dense, keras.layers.Activation("linear", dtype="float32")])
    built = Built(model, lambda y, outputs: weight * squared(y, outputs), {})
    keras.config.set_dtype_policy("float32")
    settings = {"scaled": precision == "mixed_float16", **settings}
    return runtime.steps(built, make_optimizer(config, model), StepSettings(**settings))


def block(count: int = 1, times: float = 1.0) -> Any:
    parts = times * X, times * Y, np.ones(len(X), np.float32)
    return tuple(tf.constant(np.stack([part] * count)) for part in parts)


def rates(count: int = 1) -> np.ndarray:
    return np.full(count, 0.05, np.float32)


def kernel(steps: Steps) -> np.ndarray:
    return next(array for name, array in steps.weights().items() if name.endswith("/kernel"))


def scale(steps: Steps) -> tuple[float, int]:
    state = steps.state()
    return float(state["scale/0000"]), int(state["scale/0001"])


def test_gradients_below_the_least_float16_are_not_lost() -> None:
    """Of about 1e-8, of which Lion needs the direction alone."""
    moved = {}
    for precision, scaled in (("float32", False), ("mixed_float16", True), ("mixed_float16", False)):
        steps = made(precision, 1e-8, "lion", scaled=scaled)
        before = kernel(steps)
        steps.train(block(4), rates(4))
        moved[precision, scaled] = kernel(steps) - before
    assert np.abs(moved["float32", False]).min() > 0.05
    np.testing.assert_allclose(moved["mixed_float16", True], moved["float32", False], rtol=0.1)
    assert (moved["mixed_float16", False] == 0).all()


@pytest.mark.parametrize("settings", [{}, {"accumulate": 3, "clip_norm": 1.0, "average": 0.9}])
def test_a_step_that_overflows_changes_the_scale_alone(settings: dict[str, Any]) -> None:
    """The loss is a number; its gradient times 2^15 is none in float16."""
    steps = made(weight=2.0, **settings)
    before = steps.state()
    sums = steps.train(block(), rates())
    assert np.isfinite(sums).all()
    after = steps.state()
    assert scale(steps) == (2.0**14, 0)
    own = {name for name in before if not name.startswith("scale") and before[name].ndim}
    assert all((after[name] == before[name]).all() for name in own)
    assert np.isfinite(steps.train(block(20), rates(20))).all()
    assert (kernel(steps) != next(iter(before.values()))).any()
    assert scale(steps)[1] > 10
    assert np.isfinite(kernel(steps)).all()


def test_the_scale_is_doubled_after_many_steps_and_part_of_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_scale, "DOUBLED_AFTER", 6)
    whole, first, second = (made(weight=1e-3) for _ in range(3))
    for steps in (whole, first):
        steps.train(block(4), rates(4))
    second.load_state(first.state())
    assert scale(second) == (loss_scale.FIRST, 4)
    for steps in (whole, second):
        steps.train(block(4), rates(4))
    assert scale(whole) == (2 * loss_scale.FIRST, 2)
    mine, other = whole.state(), second.state()
    assert all(mine[name].tobytes() == other[name].tobytes() for name in mine)


def test_what_overflows_at_the_least_scale_is_a_loss_that_is_no_number() -> None:
    steps = made(weight=1e3)
    state = steps.state()
    steps.load_state({**state, "scale/0000": np.array(1.0, np.float32)})
    assert np.isnan(steps.train(block(times=50.0), rates())[0])


def test_other_formats_have_no_scale() -> None:
    assert not [name for name in made("float32").state() if name.startswith("scale")]


def test_out_of_memory_has_its_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = made("float32")

    def fail(*arguments: Any) -> Any:
        if BACKEND == "jax":
            import jax

            for array in arguments[0][0]:
                array.delete()  # as a step that fails may have done
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 12 bytes.")
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[12]")

    for step in ("_train", "_evaluate"):
        monkeypatch.setattr(steps, step, fail)
    with pytest.raises(OutOfMemory):
        steps.train(block(), rates())
    with pytest.raises(OutOfMemory):
        steps.evaluate(block())
    steps.release()


@pytest.mark.skipif(BACKEND == "jax", reason="this is the run on JAX")
def test_on_jax(again_on_jax: Callable[[str], None]) -> None:
    again_on_jax("")
