"""What is trained and what stays: frozen layers, batch norms, low-rank updates, on both backends."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipelines import devices, transfer
from pipelines.artefact import load_model, save_model
from pipelines.config import RunConfig
from pipelines.devices.settings import StepSettings
from pipelines.errors import ConfigError
from pipelines.preparation import make_optimizer
from pipelines.runs import Run
from pipelines.task import Built, Head
from pipelines.transfer.freezing import layer_rates

BACKEND = os.environ.get("SIXFOLD_TEST_BACKEND", "tensorflow")
"""test_on_jax runs this file again in a process with the other backend."""

RNG = np.random.default_rng(0)
X = RNG.normal(3, 2, size=(1, 8, 3)).astype(np.float32)
Y = RNG.integers(0, 2, size=(1, 8)).astype(np.int32)
BLOCK = (X, Y, np.ones((1, 8), np.float32))


def build(inner: list[keras.layers.Layer] | None = None) -> Built:
    """Dense, norm, dense, norm in a nested model; a head of two classes."""
    keras.utils.set_random_seed(1)
    layers = inner or [
        keras.layers.Dense(4, name="first"),
        keras.layers.BatchNormalization(momentum=0.5, name="first_norm"),
        keras.layers.Dense(5, activation="relu", name="second"),
        keras.layers.BatchNormalization(momentum=0.5, name="second_norm"),
    ]
    inputs = keras.Input((3,))
    network = keras.Sequential([keras.Input((3,)), *layers])
    logits = keras.layers.Dense(2, name="logits")(network(inputs))
    model = keras.Model(inputs, logits, name="small")

    def loss(y: Any, outputs: Any) -> Any:
        return keras.ops.sparse_categorical_crossentropy(y, outputs, from_logits=True)

    return Built(model, loss, {}, head=Head(("logits",), units="classes"), network=network)


def trained(steps: int = 3, built: Built | None = None, **settings: Any) -> tuple[Built, set[str]]:
    """A model after some updates, and the names of the variables that they changed."""
    config = RunConfig(
        **{"optimizer": "sgd", "learning_rate": 0.1, "backend": BACKEND, "pretrained": "elsewhere", **settings}
    )
    runtime = devices.start(config)
    built = built or build()
    transfer.prepare(built, config, {}, lambda text: None, load=False)
    transfer.unfreeze(built, config, config.unfreeze, lambda text: None)
    before = [np.array(v) for v in built.model.variables]
    compiled = runtime.steps(built, make_optimizer(config, built.model), StepSettings(average=config.average))
    for _ in range(steps):
        compiled.train(tuple(tensor(part) for part in BLOCK), np.array([0.1], np.float32))
    for variable, value in zip(built.model.variables, compiled.weights().values(), strict=True):
        variable.assign(value)
    changed = zip(built.model.variables, before, strict=True)
    return built, {path(v) for v, old in changed if not np.array_equal(np.array(v), old)}


def tensor(array: np.ndarray) -> Any:
    import tensorflow as tf

    return tf.constant(array)


def path(variable: Any) -> str:
    return "/".join(variable.path.split("/")[-2:])


HEAD = {"logits/kernel", "logits/bias"}
SECOND = {"second/kernel", "second/bias"}
STATISTICS = {f"{place}_norm/moving_{what}" for place in ("first", "second") for what in ("mean", "variance")}


def test_a_frozen_backbone_keeps_all_its_weights_and_statistics() -> None:
    assert trained(unfreeze="none")[1] == HEAD
    assert trained(unfreeze="none", train_norms=True)[1] == HEAD


def test_the_last_layers_are_trained_and_norms_stay_frozen() -> None:
    assert trained(unfreeze="last:2")[1] == HEAD | SECOND


def test_norms_are_trained_when_asked_for_within_what_is_trained() -> None:
    found = trained(unfreeze="last:2", train_norms=True)[1]
    assert found & STATISTICS == {"second_norm/moving_mean", "second_norm/moving_variance"}
    assert {"second_norm/gamma", "second_norm/beta"} <= found
    assert trained(train_norms=True)[1] >= STATISTICS


def test_norms_are_frozen_in_pretrained_models_only() -> None:
    assert not trained()[1] & STATISTICS
    assert trained(pretrained=None)[1] >= STATISTICS


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop", "lion"])
def test_every_optimizer_and_the_average_leave_frozen_weights_alone(optimizer: str) -> None:
    found = trained(unfreeze="last:2", optimizer=optimizer, weight_decay=0.1, average=0.5)[1]
    assert found == HEAD | SECOND


def test_low_rank_updates_are_all_that_is_trained() -> None:
    built, found = trained(lora_rank=2)
    assert found - HEAD == {
        *("first/lora_kernel_a", "first/lora_kernel_b", "first/bias"),
        *("second/lora_kernel_a", "second/lora_kernel_b", "second/bias"),
    }
    count = sum(int(np.prod(v.shape)) for v in built.model.trainable_variables)
    assert count == (3 * 2 + 2 * 4 + 4) + (4 * 2 + 2 * 5 + 5) + (5 * 2 + 2)


def test_low_rank_updates_of_the_last_layers_only() -> None:
    assert {name for name in trained(lora_rank=1, unfreeze="last:2")[1] if "lora" in name} == {
        "second/lora_kernel_a",
        "second/lora_kernel_b",
    }


def test_low_rank_updates_learn_slower_in_lower_layers() -> None:
    built, _ = trained(lora_rank=2)
    assert built.head is not None
    rates = layer_rates(built.model, built.head, 0.5)
    found = dict(zip((v.path for v in built.model.trainable_variables), rates, strict=True))
    lower = {rate for name, rate in found.items() if "first/" in name}
    upper = {rate for name, rate in found.items() if "second/" in name}
    assert (len(lower), len(upper)) == (1, 1)
    assert lower.pop() < upper.pop() < 1
    assert {rate for name, rate in found.items() if "logits/" in name} == {1.0}


def test_a_model_with_low_rank_updates_is_saved_merged(tmp_path: Path) -> None:
    built, _ = trained(lora_rank=2)
    run = Run(tmp_path)
    run.write_json("manifest.json", {"task": "small"})
    save_model(run, built.model, {})
    again, _ = load_model(run)
    np.testing.assert_allclose(again(X[0], training=False), built.model(X[0], training=False), rtol=1e-5, atol=1e-6)
    kernels = [layer.kernel for layer in again._flatten_layers() if layer.name == "first"]
    plain = [layer._kernel for layer in built.model._flatten_layers() if layer.name == "first"]
    assert not np.array_equal(np.array(kernels[0]), np.array(plain[0]))


def test_no_layer_for_low_rank_updates_is_an_error_that_says_what_was_looked_for() -> None:
    layers = [keras.layers.Reshape((3, 1)), keras.layers.Conv1D(2, 2, name="conv"), keras.layers.Flatten()]
    with pytest.raises(ConfigError, match=r"looked for Dense, EinsumDense and Embedding layers in small.*\(1 Conv1D\)"):
        trained(built=build(layers), lora_rank=2)


def test_a_layer_of_layers_is_opened() -> None:
    inner = [keras.layers.Reshape((3, 1)), Attention(), keras.layers.Flatten()]
    assert trained(built=build(inner), unfreeze="last:1")[1] == HEAD | {
        "attention_output/kernel",
        "attention_output/bias",
    }
    assert (
        trained(built=build([keras.layers.Reshape((3, 1)), Attention(), keras.layers.Flatten()]), unfreeze="none")[1]
        == HEAD
    )


class Attention(keras.layers.Layer):
    """Of a sequence to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = keras.layers.MultiHeadAttention(1, 2)

    def build(self, shape: Any) -> None:
        self.attention.build(shape, shape)

    def call(self, x: Any) -> Any:
        return x + self.attention(x, x)


@pytest.mark.skipif(BACKEND == "jax", reason="this is the run on JAX")
def test_on_jax(again_on_jax: Callable[[str], None]) -> None:
    again_on_jax("")
