"""One model computed by several devices of the JAX backend: which kernels are split, and that it follows one device."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipelines.config import load_config
from pipelines.devices.jax_parallel import kernels, split_side
from pipelines.errors import ConfigError
from pipelines.launching import _free_ports
from pipelines.workers import VARIABLE
from tests import test_text_presets as text_presets
from tests.conftest import QUICK_TO_COMPILE, told

ROOT = Path(__file__).parent.parent
TASKS = ("translation", "text-sentiment")


def model(*layers: Any, heads: int = 4) -> keras.Model:
    """Of attention as Keras has it, and of whatever comes behind."""
    x = inputs = keras.Input((5, 24))
    x = keras.layers.MultiHeadAttention(heads, 24 // heads)(x, x)
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x, name="made")


def test_attention_is_split_by_heads_and_what_is_behind_it_by_units() -> None:
    made = model(
        keras.layers.LayerNormalization(),
        keras.layers.Dense(96, name="layer_1_wide"),
        keras.layers.Dense(24, name="layer_1_narrow"),
        keras.layers.Dense(7, name="scores"),
    )
    assert kernels(made, 2) == {(24, 4, 6): 1, (4, 6, 24): 0, (24, 96): 1, (96, 24): 0}


@pytest.mark.parametrize(
    ("equation", "shape", "side"),
    [
        ("btd,dphe->bphte", (3, 4, None, 6), 2),
        ("btd,dhe->bhte", (4, None, 6), 1),
        ("bthe,hed->btd", (None, 24), 0),
        ("btd,df->btf", (None, 48), None),
    ],
)
def test_heads_are_found_in_any_equation(equation: str, shape: tuple[int | None, ...], side: int | None) -> None:
    assert split_side(keras.layers.EinsumDense(equation, shape)) == side


@pytest.mark.parametrize(
    ("family", "size", "shapes"),
    [
        ("DebertaV3", {"num_heads": 2}, {(16, 2, 8): 1, (16, 16): 0, (16, 24): 1, (24, 16): 0}),
        (
            "Gemma",
            {"num_query_heads": 2, "num_key_value_heads": 1, "head_dim": 4},
            {(2, 16, 4): 0, (2, 4, 16): 0, (16, 12): 1, (12, 16): 0},
        ),
    ],
)
def test_what_is_split_of_networks_of_keras_hub(
    family: str, size: dict[str, int], shapes: dict[tuple[int, ...], int]
) -> None:
    """By the names of their layers. Keys and values of fewer heads than queries lie on every device."""
    hub = pytest.importorskip("keras_hub", reason="KerasHub is the extra hub")
    build = getattr(hub.models, f"{family}Backbone")
    assert kernels(build(41, num_layers=1, hidden_dim=16, intermediate_dim=24, **size), 2) == shapes


def test_what_cannot_be_split_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match="model_parallel 2: the 3 heads or units of the layer .* cannot be split"):
        kernels(model(heads=3), 2)
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="plain")
    with pytest.raises(ConfigError, match="model_parallel: the model plain has no attention"):
        kernels(plain, 2)
    with pytest.raises(ConfigError, match="model_parallel is of the JAX backend alone"):
        load_config("translation", options={"model_parallel": 2})


def started(folder: Path, count: int, **environment: str) -> subprocess.Popen[str]:
    flags = f"{QUICK_TO_COMPILE['XLA_FLAGS']} --xla_force_host_platform_device_count={count}"
    words = [Path(__file__).parent / "contract_run.py", "parallel", folder, count]
    command, outputs = [sys.executable, *map(str, words)], {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.Popen(command, env=environment, text=True, **outputs)  # type: ignore[call-overload,no-any-return]


def ended(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        said, _ = process.communicate(timeout=560)
        assert process.returncode == 0, said[-3000:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With what one device does."""
    pytest.importorskip("jax", reason="the JAX backend is an extra")
    folder = tmp_path_factory.mktemp("parallel")
    ended([started(folder, 1)])
    return folder


def compare(folder: Path, name: str, cases: Sequence[str] = TASKS) -> None:
    """The losses of 20 steps, and the sums of everything that is saved then."""
    for task in cases:
        one, other = (json.loads((folder / f"{task}-{each}.json").read_text()) for each in ("1-0-of-1", name))
        assert len(one) == len(other) > 20
        np.testing.assert_allclose(other[:20], one[:20], rtol=1e-4, err_msg=task)
        np.testing.assert_allclose(other[20:], one[20:], rtol=1e-3, atol=1e-6, err_msg=task)


def test_a_transformer_on_two_devices_follows_one(folder: Path) -> None:
    """Each has half of every kernel of attention and of the dense layers, of its slots and of its average."""
    ended([started(folder, 2)])
    compare(folder, "2-0-of-1")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_networks_of_keras_hub_on_two_devices_follow_one(tmp_path: Path) -> None:
    pytest.importorskip("jax", reason="the JAX backend is an extra")
    text_presets.saved(tmp_path / "text-sentiment-Bert", "Bert")
    for count in (1, 2):
        ended([started(tmp_path, count)])
    compare(tmp_path, "2-0-of-1", ["text-sentiment-Bert"])


@pytest.mark.slow
def test_two_workers_of_two_devices_each_follow_one(folder: Path) -> None:
    """Tables are split over all four, and put together again for what is saved."""
    ports = _free_ports(2)
    ended([started(folder, 2, **{VARIABLE: told(rank, ports)}) for rank in range(2)])
    for rank in range(2):
        compare(folder, f"2-{rank}-of-2")
