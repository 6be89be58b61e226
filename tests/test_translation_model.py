"""The networks of translation and what trains them; on both backends."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax

from pipelines import devices
from pipelines.devices.settings import StepSettings
from pipelines.devices.steps import kept_model
from pipelines.preparation import make_optimizer
from pipelines.text.ids import Ids
from pipelines.transfer.freezing import owners
from pipelines.transfer.lora import enable_lora
from pipelines.transfer.matching import take_rows
from tasks.translation.config import Config
from tasks.translation.model import build_model
from tasks.translation.objective import following

BACKEND = os.environ.get("SIXFOLD_TEST_BACKEND", "tensorflow")
"""test_on_jax runs this file again in a process with the other backend."""
PIECES = [f"p{n}" for n in range(23)]
ASSETS: dict[str, Any] = {"pieces": PIECES, "source_pieces": PIECES[:19], "target_pieces": PIECES}
SOURCE = np.array([[5, 6, 7, 3], [8, 3, 0, 0], [9, 10, 3, 0]], np.int32)
TARGET = np.array([[2, 11, 12, 0, 0], [2, 13, 14, 15, 16], [2, 0, 0, 0, 0]], np.int32)
WANTED = np.array([[11, 12, 3, 0, 0], [13, 14, 15, 16, 3], [3, 0, 0, 0, 0]], np.int32)
WEIGHT = (WANTED > 0).astype(np.float32)


def settings(**more: Any) -> Config:
    known = {"layers": 2, "width": 16, "heads": 2, "dropout": 0.0, "backend": BACKEND}
    return Config(**{**known, **more})


def network_of(config: Config) -> keras.Model:
    """With weights that tell places apart, biases and norms among them."""
    network = kept_model(build_model(config, ASSETS))
    random = np.random.default_rng(1)
    for variable in network.trainable_variables:
        variable.assign(np.array(variable) + 0.1 * random.normal(size=variable.shape))
    return network


def logits(network: keras.Model, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.asarray(network({"source": source, "target": target}))


KINDS = [("transformer", True), ("transformer", False), ("gru", True)]
BACKBONES = ["transformer", "gru"]


@pytest.mark.parametrize(("backbone", "joint"), KINDS)
def test_it_learns(backbone: str, joint: bool) -> None:
    config = settings(backbone=backbone, joint=joint, dropout=0.1)
    built = build_model(config, ASSETS)
    steps = devices.start(config).steps(built, make_optimizer(config, built.model), StepSettings(lengths=True))
    parts = ({"source": SOURCE, "target": TARGET}, WANTED, WEIGHT)
    block = tf.nest.map_structure(lambda part: tf.constant(part[None]), parts)
    found = [steps.train(block, np.full(1, 0.02, np.float32)) for _ in range(12)]
    assert found[0][1] == 9
    assert found[-1][0] < 0.8 * found[0][0]


@pytest.mark.parametrize(("backbone", "joint"), KINDS)
def test_padding_changes_nothing(backbone: str, joint: bool) -> None:
    network = network_of(settings(backbone=backbone, joint=joint))
    whole = logits(network, SOURCE, TARGET)
    for row, (here, there) in enumerate([(4, 3), (2, 5), (3, 1)]):
        alone = logits(network, SOURCE[row : row + 1, :here], TARGET[row : row + 1, :there])
        np.testing.assert_allclose(whole[row : row + 1, :there], alone, atol=1e-5)
    other = np.where(SOURCE[0] == 6, 7, SOURCE[0])[None]
    assert np.abs(logits(network, other, TARGET[:1, :3]) - whole[:1, :3]).max() > 1e-3


@pytest.mark.parametrize("backbone", BACKBONES)
def test_no_place_knows_what_comes_after_it(backbone: str) -> None:
    network = network_of(settings(backbone=backbone))
    other = TARGET[1:2].copy()
    other[0, 3] = 17
    one, two = logits(network, SOURCE[1:2], TARGET[1:2]), logits(network, SOURCE[1:2], other)
    np.testing.assert_allclose(one[:, :3], two[:, :3], atol=1e-5)
    assert np.abs(one[:, 3:] - two[:, 3:]).max(axis=-1).min() > 1e-4


@pytest.mark.parametrize("backbone", BACKBONES)
def test_it_tells_orders_apart(backbone: str) -> None:
    network = network_of(settings(backbone=backbone))
    turned = SOURCE[:1, [1, 0, 2, 3]]
    assert np.abs(logits(network, turned, TARGET[:1]) - logits(network, SOURCE[:1], TARGET[:1])).max() > 1e-3


def test_what_follows_each_piece_is_wanted() -> None:
    np.testing.assert_array_equal(following(keras.ops.convert_to_tensor(TARGET), Ids()), WANTED)
    own = Ids(pad=0, unknown=2, start=0, end=1)  # of T5, which begins with padding
    target = keras.ops.convert_to_tensor(np.where(TARGET == 2, 0, TARGET))
    np.testing.assert_array_equal(following(target, own), np.where(WANTED == 3, 1, WANTED))


def test_losses_are_those_of_the_logits() -> None:
    """In training, where no logits are kept, as in validation; beside NumPy."""
    config = settings(label_smoothing=0.2)
    built = build_model(config, ASSETS)
    x = {"source": SOURCE, "target": TARGET}
    each = -log_softmax(logits(kept_model(built), SOURCE, TARGET), axis=-1)
    nll = np.take_along_axis(each, WANTED[..., None], -1)[..., 0]
    loss = 0.8 * nll + 0.2 * each.mean(-1)
    learning, judging = (
        {name: np.asarray(one) for name, one in built.model(x, training=way).items()} for way in (1, 0)
    )
    np.testing.assert_allclose(WEIGHT * learning["loss"], WEIGHT * loss, rtol=1e-4)
    np.testing.assert_allclose(judging["loss"], loss, rtol=1e-4)
    np.testing.assert_allclose(judging["nll"], nll, rtol=1e-4)
    np.testing.assert_array_equal(judging["right"], each.argmin(-1) == WANTED)
    assert list(built.metrics) == ["nll", "accuracy"]


@pytest.mark.skipif(BACKEND == "jax", reason="two ways of TensorFlow")
def test_no_logits_of_padding_are_computed_where_shapes_may_change() -> None:
    """XLA must know the shapes, and computes them; both learn the same."""
    config = settings(deterministic=False)
    devices.start(config)
    parts = ({"source": SOURCE, "target": TARGET}, WANTED, WEIGHT)
    block = tf.nest.map_structure(lambda part: tf.constant(part[None]), parts)
    found = {}
    for jit in (False, True):
        keras.utils.set_random_seed(0)
        built = build_model(config, ASSETS)
        steps = devices.Runtime("tensorflow", "cpu", "", 1).steps(
            built, make_optimizer(config, built.model), StepSettings(lengths=True, jit=jit)
        )
        found[jit] = [float(steps.train(block, np.full(1, 0.02, np.float32))[0]) for _ in range(4)]
    np.testing.assert_allclose(found[True], found[False], rtol=1e-4)
    assert found[True][-1] < found[True][0]
    assert not np.asarray(built.model(parts[0], training=True)["loss"])[WANTED == 0].any()
    token = devices.FIXED_SHAPES.set(True)
    try:
        whole = np.asarray(built.model(parts[0], training=True)["loss"])
    finally:
        devices.FIXED_SHAPES.reset(token)
    assert whole[WANTED == 0].all()


def test_dropout_differs_from_layer_to_layer() -> None:
    network = kept_model(build_model(settings(dropout=0.3), ASSETS))
    seeds = [layer.seed for layer in network.layers if isinstance(layer, keras.layers.Dropout)]
    assert len(seeds) == len(set(seeds)) == 2 + 2 * (2 + 3)
    x = {"source": SOURCE, "target": TARGET}
    assert np.abs(np.asarray(network(x, training=True)) - np.asarray(network(x, training=True))).max() > 1e-3


@pytest.mark.parametrize("backbone", BACKBONES)
def test_what_is_kept_is_stock_keras(backbone: str, tmp_path: Path) -> None:
    network = network_of(settings(backbone=backbone))
    network.save(tmp_path / "model.keras")
    if backbone == "transformer":
        code = (
            "import sys, keras, numpy as np; model = keras.saving.load_model(sys.argv[1] + '/model.keras'); "
            "x = np.load(sys.argv[1] + '/x.npz'); np.save(sys.argv[1] + '/y.npy', np.asarray(model(dict(x)))); "
            "assert not any(name.startswith('tasks') for name in sys.modules)"
        )
        np.savez(tmp_path / "x.npz", source=SOURCE, target=TARGET)
        words = [sys.executable, "-c", code, str(tmp_path)]
        subprocess.run(words, env={**os.environ, "KERAS_BACKEND": BACKEND}, check=True, timeout=200, cwd=tmp_path)
        again = np.load(tmp_path / "y.npy")
    else:
        again = logits(keras.saving.load_model(tmp_path / "model.keras"), SOURCE, TARGET)
    np.testing.assert_allclose(again, logits(network, SOURCE, TARGET), rtol=1e-5, atol=1e-5)


def test_rows_are_taken_over_by_the_names_of_pieces() -> None:
    before = build_model(settings(joint=False), ASSETS)
    assets = {"source_pieces": ["new", *PIECES[3:8]], "target_pieces": PIECES[::-1]}
    after = build_model(settings(joint=False), assets)
    names = {layer: (ASSETS[asset], assets[asset]) for layer, asset in after.tables.items()}
    matched = take_rows(kept_model(before), kept_model(after), names)
    assert [note.partition("embeddings ")[2] for note in matched.resized] == ["(5 of 6 source_pieces known, new: new)"]
    old, new = (np.array(kept_model(built).get_layer("target_pieces").embeddings) for built in (before, after))
    np.testing.assert_array_equal(new, old[::-1])


def test_low_rank_updates_are_of_attention_alone() -> None:
    built = build_model(settings(), ASSETS)
    found = enable_lora(owners(kept_model(built)), built.lora, 2, "transformer")
    assert found == 2 * 2 + 2 * 5
    assert len(kept_model(built).trainable_variables) > 0
    names = {layer.name for layer in kept_model(built).layers if layer.trainable_variables}
    assert all(name.endswith(built.lora) for name in names)


@pytest.mark.skipif(BACKEND == "jax", reason="this is the run on JAX")
def test_on_jax(again_on_jax: Callable[[str], None]) -> None:
    again_on_jax("(learns and transformer-True) or losses")  # each compiles for itself
