"""One model computed by several devices of the JAX backend: which kernels are split, and that it follows one device."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipelines.config import load_config
from pipelines.devices.jax_parallel import kernels, split_side
from pipelines.errors import ConfigError
from tests.conftest import QUICK_TO_COMPILE

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


def test_what_cannot_be_split_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match="model_parallel 2: the 3 heads or units of the layer .* cannot be split"):
        kernels(model(heads=3), 2)
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="plain")
    with pytest.raises(ConfigError, match="model_parallel: the model plain has no attention"):
        kernels(plain, 2)
    with pytest.raises(ConfigError, match="model_parallel is of the JAX backend alone"):
        load_config("translation", options={"model_parallel": 2})


def test_a_transformer_on_two_devices_follows_one(tmp_path: Path) -> None:
    """Each of them has half of every kernel of attention and of the dense layers, of its slots and of its average."""
    pytest.importorskip("jax", reason="the JAX backend is an extra")
    for count in (1, 2):
        flags = f"{QUICK_TO_COMPILE['XLA_FLAGS']} --xla_force_host_platform_device_count={count}"
        words = [Path(__file__).parent / "contract_run.py", "parallel", tmp_path, count]
        environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, *map(str, words)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=280)
        assert done.returncode == 0, done.stderr[-3000:]
    for task in TASKS:
        one, two = (json.loads((tmp_path / f"{task}-{count}.json").read_text()) for count in (1, 2))
        assert len(one) == 20
        np.testing.assert_allclose(two, one, rtol=1e-4, err_msg=task)
