"""Models that take a dict of tensors go through the shared pipelines as those do that take one."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines import devices
from pipelines.config import RunConfig
from pipelines.console import Console
from pipelines.devices.settings import StepSettings
from pipelines.errors import RunError
from pipelines.prediction import batched_predictor
from pipelines.preparation import choose_steps, make_optimizer
from pipelines.served import Serving
from pipelines.stream import Stream
from pipelines.task import Batching, Built, Head, Metric, Raw, Record
from pipelines.transfer.distillation import distilled
from pipelines.transfer.features import cached, split_model
from pipelines.transfer.matching import take_head, take_over

BACKEND = os.environ.get("SIXFOLD_TEST_BACKEND", "tensorflow")
"""test_on_jax runs this file again in a process with the other backend."""
RNG = np.random.default_rng(0)
LEFT, RIGHT = RNG.normal(size=(20, 3)).astype(np.float32), RNG.normal(size=(20, 4, 2)).astype(np.float32)
Y = RNG.normal(size=(20, 1)).astype(np.float32)


class Points:
    """Twenty examples of two parts."""

    sizes = None
    groups = None

    def __len__(self) -> int:
        return len(Y)

    def ids(self, indices: np.ndarray) -> list[str]:
        return [str(i) for i in indices]

    def fetch(self, indices: np.ndarray) -> Raw:
        return {"left": LEFT[indices], "right": RIGHT[indices], "y": Y[indices]}


def apart(raw: Any, keys: Any) -> tuple[Any, Any, Any]:
    positive = tf.debugging.assert_less(raw["left"], 99.0, message="the left is too large")
    with tf.control_dependencies([positive]):
        return {"right": raw["right"], "left": tf.identity(raw["left"])}, raw.get("y"), tf.ones_like(raw["left"][:, 0])


def together(raw: Any, keys: Any) -> tuple[Any, Any, Any]:
    x = tf.concat([raw["left"], tf.reshape(raw["right"], [-1, 8])], axis=1)
    return x, raw["y"], tf.ones_like(x[:, 0])


def squared(y: Any, outputs: Any) -> Any:
    return keras.ops.square(y - outputs)[:, 0]


def build(*, several: bool) -> Built:
    """The same layers, behind two inputs or one."""
    keras.utils.set_random_seed(1)
    inputs: Any
    if several:
        inputs = {"left": keras.Input((3,), name="left"), "right": keras.Input((4, 2), name="right")}
        x = keras.layers.Concatenate()([inputs["left"], keras.ops.reshape(inputs["right"], (-1, 8))])
    else:
        inputs = x = keras.Input((11,))
    x = keras.layers.Dense(4, activation="tanh", name="body")(x)
    model = keras.Model(inputs, keras.layers.Dense(1, name="top")(x))
    return Built(model, squared, {"same": Metric(squared)}, head=Head(("top",), units=None), cacheable=True)


def stream_of(encode: Any, *, training: bool = True) -> Stream:
    return Stream(Points(), encode, Batching(batch_sizes=(8,)), 0, training=training)


def trained(*, several: bool, settings: StepSettings) -> list[np.ndarray]:
    """The losses of two epochs, then of an evaluation."""
    config = RunConfig(batch_size=8, backend=BACKEND, accumulate=settings.accumulate)
    runtime, built = devices.start(config), build(several=several)
    steps = runtime.steps(built, make_optimizer(config, built.model), settings)
    stream = stream_of(apart if several else together)
    found = [steps.train(block, np.full(len(block[2]), 0.05, np.float32)) for block in stream.iterate(0, 6, 2)]
    return [*found, *(steps.evaluate(block) for block in stream.in_order().iterate(0, 3, 3))]


@pytest.mark.parametrize(
    "settings",
    [StepSettings(accumulate=2, average=0.9), StepSettings(lengths=True), StepSettings(jit=True)],
)
def test_steps_are_those_of_one_tensor(settings: StepSettings) -> None:
    several, one = (trained(several=several, settings=settings) for several in (True, False))
    np.testing.assert_allclose(several, one, rtol=1e-4)
    assert one[-2][0] < one[0][0]


def test_blocks_hold_each_tensor_by_steps_and_rows() -> None:
    x, y, weight = next(iter(stream_of(apart, training=False).iterate(0, 3, 3)))
    assert {name: tuple(tensor.shape) for name, tensor in x.items()} == {"left": (3, 8, 3), "right": (3, 8, 4, 2)}
    np.testing.assert_array_equal(np.reshape(x["right"], (24, 4, 2))[:20], RIGHT)
    assert np.asarray(weight).sum() == 20
    assert choose_steps(build(several=True).model, stream_of(apart), 8) == 3


def test_records_come_in_order_and_a_broken_input_is_one_of_them() -> None:
    model = build(several=True).model
    predictor = batched_predictor(apart, devices.forward(model), lambda name, output: Record(name, {}, output))
    left = LEFT.copy()
    left[[2, 7]] = 100
    parts = [np.arange(start, start + 5) for start in range(0, 20, 5)]
    batches = [([str(i) for i in part], {"left": left[part], "right": RIGHT[part]}) for part in parts]
    records = list(predictor(iter(batches)))
    assert [record.id for record in records] == [str(i) for i in range(20)]
    assert [record.id for record in records if record.error] == ["2", "7"]
    assert "the left is too large" in str(records[2].error)
    wanted = np.asarray(model({"left": LEFT, "right": RIGHT}))
    for place, record in enumerate(records):
        if not record.error:
            np.testing.assert_allclose(record.output, wanted[place], rtol=1e-4, atol=1e-6)


def test_features_of_a_frozen_backbone_are_computed_once(tmp_path: Path) -> None:
    built = build(several=True)
    backbone, top = split_model(built.model, built.head)
    wanted = np.asarray(backbone({"left": LEFT, "right": RIGHT}))
    head, streams = cached(built, {"train": stream_of(apart)}, tmp_path, "print", Console())
    store = streams["train"].store
    np.testing.assert_allclose(store.fetch(np.arange(20))["x"], wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(head.model(wanted), top(wanted))


def test_a_teacher_sees_what_its_student_sees() -> None:
    student, guide = build(several=True), build(several=True)
    guide.model.set_weights([2 * weight for weight in guide.model.get_weights()])
    both = distilled(student, guide.model, lambda wanted, found, _: squared(wanted, found), RunConfig())
    x = {"left": LEFT, "right": RIGHT}
    found, wanted = (np.asarray(one) for one in both.model(x))
    np.testing.assert_allclose(found, student.model(x), rtol=1e-5)
    np.testing.assert_allclose(wanted, guide.model(x), rtol=1e-5)


@pytest.mark.skipif(BACKEND == "jax", reason="a SavedModel is TensorFlow's")
def test_a_saved_model_takes_each_by_its_name(tmp_path: Path) -> None:
    from pipelines.saved_model import check_served, save_served

    model = build(several=True).model
    specs = {"left": tf.TensorSpec([None, 3], name="left"), "right": tf.TensorSpec([None, 4, 2], name="right")}

    def inputs(store: Any, indices: np.ndarray) -> Raw:
        return {name: store.fetch(indices)[name] for name in specs}

    serving = Serving(lambda x: {"sum": model(x)}, specs, "a left and a right", inputs, output="sum", tracked=(model,))
    place = save_served(tmp_path, serving)
    rows = np.arange(5)
    outputs = np.asarray(model({"left": LEFT[rows], "right": RIGHT[rows]}))
    records = [Record(str(row), {}, output) for row, output in enumerate(outputs)]
    given = serving.inputs(Points(), rows)
    assert check_served(place, given, records, serving.output)["examples"] == 5
    about = json.loads((tmp_path / "serving.json").read_text())
    assert about["input"] == {"types": {"left": "float32", "right": "float32"}, "what": "a left and a right"}
    with pytest.raises(RunError, match="answers otherwise for 3: its sum differ"):
        check_served(place, given, [*records[:3], Record("3", {}, outputs[3] + 1), records[4]], serving.output)


def test_outputs_that_are_places_are_taken_over_up_to_the_shorter() -> None:
    def model(steps: int) -> keras.Model:
        x = inputs = keras.Input((3,))
        return keras.Model(inputs, keras.layers.Dense(steps, name="top")(x))

    for there, here in ((5, 3), (3, 5)):
        source, target = model(there), model(here)
        before = np.array(target.weights[0])
        matched = take_head(source, target, Head(("top",), units=None), None)
        assert matched.resized == [
            f"top/kernel ({min(3, here)} of {here} outputs known)",
            f"top/bias (3 of {here} outputs known)",
        ]
        np.testing.assert_array_equal(np.array(target.weights[0])[:, :3], np.array(source.weights[0])[:, :3])
        np.testing.assert_array_equal(np.array(target.weights[0])[:, 3:], before[:, 3:])
    assert take_head(model(4), model(4), Head(("top",), units=None), None).taken == ["top/kernel", "top/bias"]


def test_positions_in_a_row_are_taken_over_from_the_first() -> None:
    """36 and 49 are squares, and yet no grid."""
    layers = []
    for count in (36, 49):
        layer = keras.layers.Embedding(count, 2, name=f"sequence_position_{count}")
        layer.build()
        layers.append(layer)
    for source, target in (layers, layers[::-1]):
        before = np.array(target.weights[0])
        (note,) = take_over([(source, target)]).resized
        assert note.endswith(f"({source.input_dim} positions to {target.input_dim})")
        np.testing.assert_array_equal(np.array(target.weights[0])[:36], np.array(source.weights[0])[:36])
        np.testing.assert_array_equal(np.array(target.weights[0])[36:], before[36:])


@pytest.mark.skipif(BACKEND == "jax", reason="this is the run on JAX")
def test_on_jax(again_on_jax: Callable[[str], None]) -> None:
    again_on_jax("")
