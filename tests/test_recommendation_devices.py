"""Recommenders on several devices: losses over the whole batch, tables split by rows."""

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
from pipelines.errors import ConfigError
from pipelines.state import load_arrays

ROOT = Path(__file__).parent.parent
TENSORFLOW = ("in-batch-parts", "in-batch-towers", "in-batch-histories", "sampled")
SPLIT = ("tables", "tables-again", "tables-parts", "tables-dropout")
JAX = ("in-batch-towers", *SPLIT)


def child(backend: str, count: int, folder: Path, names: tuple[str, ...]) -> None:
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={count}"} if backend == "jax" else {}
    environment = {**os.environ, **flags, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(Path(__file__).parent / "devices_run.py"), backend, str(count), str(folder), *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=560)
    assert done.returncode == 0, done.stderr[-3000:]


def both(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What one device and two say."""
    one, two = (json.loads((folder / f"{name}-{count}.json").read_text()) for count in (1, 2))
    return one, two


def test_replicas_share_their_batch(tmp_path: Path) -> None:
    """Twenty steps of each loss that takes its other items from the batch, and the validation loss behind them."""
    for count in (1, 2):
        child("tensorflow", count, tmp_path, TENSORFLOW)
    for name in TENSORFLOW:
        one, two = both(tmp_path, name)
        np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-5, err_msg=name)


@pytest.fixture(scope="module")
def on_jax(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("jax", reason="the JAX backend is an extra")
    folder = tmp_path_factory.mktemp("jax")
    for count in (1, 2):
        child("jax", count, folder, JAX)
    return folder


def test_the_losses_of_one_device(on_jax: Path) -> None:
    """Also of a training that goes on where one device stopped, and with dropout."""
    for name in JAX:
        one, two = both(on_jax, name)
        np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-5, err_msg=name)
    assert both(on_jax, "tables-again")[0]["losses"][0] < both(on_jax, "tables")[0]["losses"][0] - 1


def test_each_device_holds_its_part_of_a_table(on_jax: Path) -> None:
    """Its slots and its average too; 301 rows are 151 on each of two. No step ever has a whole one."""
    # Factors with their bias and both slots of adamw, averaged; with one slot of sgd; a tower's with 2 features.
    wide = {"tables": 4 * 17, "tables-again": 4 * 17, "tables-parts": 2 * 17, "tables-dropout": 2 * 16 + 2}
    for name, columns in wide.items():
        one, two = both(on_jax, name)
        assert one["bytes"] == [301 * columns * 4], name
        assert two["bytes"] == 2 * [151 * columns * 4], name
    one, two = both(on_jax, "tables")
    assert one["whole tables in a step"]
    assert not two["whole tables in a step"]


def test_saved_states_are_whole(on_jax: Path) -> None:
    """With the same names and shapes whatever the number of devices."""
    for name in SPLIT:
        one, two = (load_arrays(on_jax / f"{name}-{count}.state")[0] for count in (1, 2))
        assert {key: array.shape for key, array in one.items()} == {key: array.shape for key, array in two.items()}
        tables = [key for key, array in one.items() if array.shape[:1] == (301,)]
        assert len(tables) >= 2
        for key in tables:
            np.testing.assert_allclose(two[key], one[key], atol=2e-4, err_msg=f"{name}: {key}")


def test_tables_are_split_on_jax_alone() -> None:
    with pytest.raises(ConfigError, match=r"shard_tables is of the JAX backend alone.*add --backend jax"):
        load_config("recommendation", options={"shard_tables": True})
    assert load_config("recommendation", options={"shard_tables": True, "backend": "jax"}).config.shard_tables


def test_a_model_without_tables_has_nothing_to_split() -> None:
    pytest.importorskip("jax", reason="the JAX backend is an extra")
    from pipelines.devices.jax_layout import tables

    with pytest.raises(ConfigError, match="shard_tables: the model plain has no table of embeddings"):
        tables(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="plain"))
    layers = [keras.Input((3,), dtype="int32"), keras.layers.Embedding(7, 2)]
    assert tables(keras.Sequential(layers)) == {(7, 2)}
