"""The loop: what an update computes, which epoch is kept, when it stops."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines import devices
from pipelines.checkpoints import Checkpoints, load_weights, mean_weights
from pipelines.config import RunConfig
from pipelines.console import Console
from pipelines.devices.settings import StepSettings
from pipelines.devices.steps import Steps
from pipelines.errors import OutOfMemory, RunError, StateError
from pipelines.interrupts import Interrupted, Interrupts
from pipelines.preparation import choose_jit, choose_steps, make_optimizer
from pipelines.runs import Run
from pipelines.schedules import learning_rates
from pipelines.stages import plan
from pipelines.state import load_arrays
from pipelines.stream import Stream
from pipelines.task import Batching, Built, Metric, Raw
from pipelines.training import Progress, Trainer, evaluate, train

BACKEND = os.environ.get("SIXFOLD_TEST_BACKEND", "tensorflow")
"""test_on_jax runs this file again in a process with the other backend."""

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3)).astype(np.float32)
Y = (X @ RNG.normal(size=(3, 1)) + 0.5).astype(np.float32)


class Points:
    """Fifty points of a plane."""

    sizes = None
    groups = None

    def __init__(self, y: np.ndarray = Y) -> None:
        self.y = y

    def __len__(self) -> int:
        return len(X)

    def ids(self, indices: np.ndarray) -> list[str]:
        return [str(i) for i in indices]

    def fetch(self, indices: np.ndarray) -> Raw:
        return {"x": X[indices], "y": self.y[indices]}


def encode(raw: Any, keys: Any) -> tuple[Any, Any, Any]:
    return raw["x"], raw["y"], tf.ones([tf.shape(raw["x"])[0]])


def squared(y: Any, outputs: Any) -> Any:
    return keras.ops.square(y - outputs)[:, 0]


def absolute(y: Any, outputs: Any) -> Any:
    return keras.ops.abs(y - outputs)[:, 0]


def build(layers: list[keras.layers.Layer] | None = None) -> Built:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((3,)), *(layers or [keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(1)])]
    )
    return Built(model, squared, {"absolute": Metric(absolute, higher_is_better=False)})


def configured(**settings: Any) -> RunConfig:
    return RunConfig(
        **{
            "batch_size": 20,
            "epochs": 3,
            "optimizer": "sgd",
            "learning_rate": 0.05,
            "steps_per_execution": 2,
            "backend": BACKEND,
            **settings,
        }
    )


def steps_for(config: RunConfig, built: Built, jit: bool = False) -> Steps:
    runtime = devices.start(config)
    settings = StepSettings(config.accumulate, config.clip_norm, config.l1, config.l2, config.average, jit)
    return runtime.steps(built, make_optimizer(config, built.model), settings)


def trainer_for(folder: Path, config: RunConfig, built: Built | None = None, y: np.ndarray = Y) -> Trainer:
    built = built or build()
    streams = [
        Stream(Points(y), encode, Batching(batch_sizes=(config.batch_size,)), config.seed, training=training)
        for training in (True, False)
    ]
    run, stage = Run(folder), plan(config)[0]
    places = run, config, built, steps_for(config, built), *streams, Console(), "point"
    return Trainer(*places, Checkpoints(run), stage)


def variables(steps: Steps, built: Built) -> list[np.ndarray]:
    """The trainable variables as they are now. JAX holds them itself until it is asked."""
    weights = {id(v): array for v, array in zip(built.model.variables, steps.weights().values(), strict=True)}
    return [weights[id(v)] for v in built.model.trainable_variables]


def weights_after(folder: Path, **settings: Any) -> list[np.ndarray]:
    folder.mkdir()
    trainer = trainer_for(folder, configured(**settings))
    train(trainer)
    return variables(trainer.steps, trainer.built)


def test_the_loss_of_a_partial_batch_is_the_mean_of_its_real_rows(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, configured())
    outputs = np.asarray(trainer.built.model(X))
    found = evaluate(trainer.steps, trainer.valid, trainer.built, 2)
    np.testing.assert_allclose(found["loss"], np.mean((Y - outputs) ** 2), rtol=1e-5)
    np.testing.assert_allclose(found["absolute"], np.mean(np.abs(Y - outputs)), rtol=1e-5)


def test_an_update_is_that_of_the_weighted_mean(tmp_path: Path) -> None:
    config = configured(momentum=0.0)
    built = build([keras.layers.Dense(1)])
    kernel, bias = (np.array(v, np.float64) for v in built.model.trainable_variables)
    x, y, weight = X[:4].astype(np.float64), Y[:4].astype(np.float64), np.array([1.0, 2.0, 0.0, 0.5])
    error = x @ kernel + bias - y
    slope = 2 * weight[:, None] * error / weight.sum()
    block = tuple(tf.constant(a[None].astype(np.float32)) for a in (x, y, weight))
    steps = steps_for(config, built)
    sums = steps.train(block, np.array([0.1], np.float32))
    new_kernel, new_bias = variables(steps, built)
    np.testing.assert_allclose(new_kernel, kernel - 0.1 * x.T @ slope, rtol=1e-4)
    np.testing.assert_allclose(new_bias, bias - 0.1 * slope.sum(0), rtol=1e-4)
    np.testing.assert_allclose(sums[:2], [np.sum(weight * error[:, 0] ** 2), 3.5], rtol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"accumulate": 4},
        {"steps_per_execution": 1},
        {"jit": "on"},
        {"accumulate": 2, "clip_norm": 1e9, "steps_per_execution": 3},
    ],
)
def test_parts_calls_and_compilation_do_not_change_the_update(tmp_path: Path, settings: dict[str, Any]) -> None:
    plain, other = weights_after(tmp_path / "a"), weights_after(tmp_path / "b", **settings)
    for one, two in zip(plain, other, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)


def test_training_twice_gives_the_same_bits(tmp_path: Path) -> None:
    for one, two in zip(
        weights_after(tmp_path / "a", average=0.9), weights_after(tmp_path / "b", average=0.9), strict=True
    ):
        np.testing.assert_array_equal(one, two)


def test_clipping_bounds_the_global_norm(tmp_path: Path) -> None:
    built = build([keras.layers.Dense(1)])
    before = [np.array(v) for v in built.model.trainable_variables]
    block = tuple(tf.constant(a[None]) for a in (X * 100, Y, np.ones(50, np.float32)))
    steps = steps_for(configured(clip_norm=0.5, momentum=0.0), built)
    steps.train(block, np.array([1.0], np.float32))
    moved = [new - old for new, old in zip(variables(steps, built), before, strict=True)]
    np.testing.assert_allclose(np.sqrt(sum(np.sum(m**2) for m in moved)), 0.5, rtol=1e-4)


@pytest.mark.parametrize(("settings", "change"), [({"weight_decay": 0.5}, 0.95), ({"l2": 0.5}, 0.9)])
def test_decay_and_penalties_leave_biases_alone(settings: dict[str, Any], change: float) -> None:
    built = build([keras.layers.Dense(1, bias_initializer="ones")])
    kernel = np.array(built.model.trainable_variables[0])
    block = (tf.zeros([1, 4, 3]), tf.ones([1, 4, 1]), tf.ones([1, 4]))
    steps = steps_for(configured(momentum=0.0, **settings), built)
    steps.train(block, np.array([0.1], np.float32))
    new_kernel, bias = variables(steps, built)
    np.testing.assert_allclose(new_kernel, kernel * change, rtol=1e-5)
    np.testing.assert_allclose(bias, [1.0], rtol=1e-6)


def test_l1_pulls_kernels_towards_zero_by_a_constant() -> None:
    built = build([keras.layers.Dense(1)])
    kernel = np.array(built.model.trainable_variables[0])
    block = (tf.zeros([1, 4, 3]), tf.zeros([1, 4, 1]), tf.ones([1, 4]))
    steps = steps_for(configured(momentum=0.0, l1=0.5), built)
    steps.train(block, np.array([0.1], np.float32))
    np.testing.assert_allclose(variables(steps, built)[0], kernel - 0.05 * np.sign(kernel), rtol=1e-5)


def test_the_average_follows_the_weights_and_is_what_is_kept() -> None:
    block = tuple(tf.constant(a[None]) for a in (X, Y, np.ones(50, np.float32)))

    def after(average: float | None, updates: int) -> np.ndarray:
        built = build([keras.layers.Dense(1, kernel_initializer=keras.initializers.GlorotUniform(seed=0))])
        steps = steps_for(configured(average=average, momentum=0.0), built)
        for _ in range(updates):
            variables(steps, built)  # looking at the average must not disturb the training
            steps.train(block, np.array([0.1], np.float32))
        return variables(steps, built)[0]

    start, one, two = (after(None, updates) for updates in range(3))
    first = start + (1 - 2 / 11) * (
        one - start
    )  # the decay grows from 2/11, so that the first weights are soon forgotten
    np.testing.assert_allclose(after(0.9, 1), first, rtol=1e-5)
    np.testing.assert_allclose(after(0.9, 2), first + (1 - 3 / 12) * (two - first), rtol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop", "lion"])
def test_every_optimizer_learns(tmp_path: Path, optimizer: str) -> None:
    trainer = trainer_for(tmp_path, configured(optimizer=optimizer, epochs=8, learning_rate=0.02, weight_decay=0.01))
    train(trainer)
    losses = [event["valid"]["loss"] for event in trainer.run.events("epoch")]
    assert losses[-1] < 0.7 * losses[0]


def test_a_loss_that_is_no_number_names_the_step_and_keeps_the_best(tmp_path: Path) -> None:
    trainer = trainer_for(
        tmp_path, configured(learning_rate=1e20, momentum=0.0, clip_norm=None, schedule="constant", warmup=0.9)
    )
    with pytest.raises(
        RunError, match=r"not a number any more at step \d+ .*lower --learning-rate \(now 1e\+20\) or set --clip-norm"
    ):
        train(trainer)
    assert RunError.exit_code == 5


def test_out_of_memory_says_what_to_lower_and_keeps_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_for(tmp_path, configured(steps_per_execution=1))
    compute, calls = trainer.steps.train, list[int]()

    def fail(block: Any, rates: np.ndarray) -> np.ndarray:
        calls.append(1)
        if len(calls) == 5:  # of 3 steps an epoch
            raise OutOfMemory
        return compute(block, rates)

    monkeypatch.setattr(trainer.steps, "train", fail)
    with pytest.raises(RunError, match=r"^out of memory after step 4 \(epoch 2\), in float32: lower ") as raised:
        train(trainer)
    for part in (
        "--batch-size (now 20)",
        "--accumulate 2",
        "--precision mixed_bfloat16",
        "the state of step 3 is kept",
    ):
        assert part in str(raised.value)
    again = trainer_for(tmp_path, configured(steps_per_execution=1))
    assert go_on(again).epoch == 3


def test_patience_stops_and_the_best_epoch_is_kept(tmp_path: Path) -> None:
    trainer = trainer_for(
        tmp_path, configured(epochs=30, learning_rate=0.9, schedule="constant", patience=2, warmup=0.0)
    )
    progress = train(trainer)
    events = trainer.run.events("epoch")
    assert progress.status == "stopped early"
    assert len(events) == progress.best_epoch + 2 < 30
    best = min(events, key=lambda event: event["valid"]["absolute"])
    (kept,) = progress.files
    _, metadata, _ = load_arrays(tmp_path / "state" / kept)
    assert metadata["epoch"] == best["epoch"] == progress.best_epoch


@pytest.mark.parametrize(("which", "epochs"), [("last", [4, 5, 6]), ("best", None)])
def test_the_epochs_that_are_averaged(tmp_path: Path, which: str, epochs: list[int] | None) -> None:
    """Of a rate at which the score goes up and down."""
    settings = {"epochs": 6, "learning_rate": 0.6, "schedule": "constant", "warmup": 0.0}
    trainer = trainer_for(tmp_path, configured(**settings, average_epochs=3, average_which=which))
    progress = train(trainer)
    scored = {event["epoch"]: event["valid"]["absolute"] for event in trainer.run.events("epoch")}
    best = sorted(sorted(scored, key=lambda epoch: scored[epoch])[:3])
    assert best != [4, 5, 6]
    assert [one["epoch"] for one in progress.kept] == (epochs or best)
    assert progress.best_epoch == min(scored, key=lambda epoch: scored[epoch])
    there = {file.name for file in (tmp_path / "state").glob("epoch-*")}
    assert set(progress.files) <= there
    states = [load_arrays(file)[1]["weights"] for file in (tmp_path / "state").glob("train-*")]
    assert there == {one["file"] for state in states for one in state}  # which states, hangs on the disk's speed
    assert len(states) <= 2
    for one in progress.kept:
        _, about, _ = load_arrays(tmp_path / "state" / one["file"])
        assert about["valid"]["absolute"] == scored[one["epoch"]]


def test_the_mean_of_several_epochs_is_that_of_their_weights(tmp_path: Path) -> None:
    """Each as it is after a training that ends there; seeds are the last epoch's."""
    config = configured(average_epochs=3, average_which="last", schedule="constant")
    (tmp_path / "whole").mkdir()
    trainer = trainer_for(tmp_path / "whole", config, with_dropout())
    progress = train(trainer)
    files = [tmp_path / "whole" / "state" / name for name in progress.files]
    mean = mean_weights(load_weights(file, trainer.checkpoints.digest(file.name)) for file in files)
    each = []
    for epoch in (1, 2, 3):
        (tmp_path / str(epoch)).mkdir()
        other = trainer_for(tmp_path / str(epoch), configured(schedule="constant", stop_step=3 * epoch), with_dropout())
        train(other)
        each.append(other.steps.weights())
    for name, array in mean.items():
        assert array.dtype == each[-1][name].dtype
        columns = [weights[name] for weights in each]
        wanted = columns[-1] if array.dtype.kind != "f" else np.mean(columns, axis=0, dtype=np.float64)
        np.testing.assert_array_equal(array, wanted.astype(array.dtype))
    assert any(array.dtype.kind in "iu" for array in mean.values())


def test_weights_can_be_had_as_no_average_has_them(tmp_path: Path) -> None:
    found = []
    for average in (0.9, None):
        (tmp_path / str(average)).mkdir()
        trainer = trainer_for(tmp_path / str(average), configured(average=average))
        train(trainer)
        found.append([trainer.steps.weights(averaged=averaged) for averaged in (True, False)])
    (mean, raw), (alone, same) = found
    for name in raw:
        np.testing.assert_array_equal(raw[name], alone[name])
        np.testing.assert_array_equal(raw[name], same[name])
    assert any((mean[name] != raw[name]).any() for name in raw)


def test_one_epoch_is_kept_to_the_bit() -> None:
    weights = {"a": np.array([-0.0, 0.1, np.nan], np.float32), "seed": np.array([2**32 - 1], np.uint32)}
    assert {name: array.tobytes() for name, array in mean_weights([weights]).items()} == {
        name: array.tobytes() for name, array in weights.items()
    }


def test_an_epoch_that_was_cut_short_does_not_count_among_the_last(tmp_path: Path) -> None:
    def ended(folder: str, *stops: int | None) -> list[str]:
        (tmp_path / folder).mkdir()
        for stop in stops:
            config = configured(average_epochs=2, average_which="last", epochs=4, stop_step=stop)
            trainer = trainer_for(tmp_path / folder, config, with_dropout())
            progress = go_on(trainer)
        return [trainer.checkpoints.digest(name) for name in progress.files]

    assert ended("cut", 8, None) == ended("whole", None)


def test_weights_are_averaged_in_one_way() -> None:
    assert RunConfig(average_epochs=5).average is None
    with pytest.raises(ValueError, match=r"average 0.9 and average_epochs 5 are two ways .*drop one of the two"):
        RunConfig(average=0.9, average_epochs=5)
    assert RunConfig(average=0.9, average_epochs=1).average == 0.9


def test_stop_step_ends_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, configured(stop_step=4))
    assert train(trainer).step == 4
    assert [event["step"] for event in trainer.run.events("epoch")] == [3, 4]


def test_a_stopped_run_took_the_same_steps_as_the_whole_one(tmp_path: Path) -> None:
    for one, two in zip(weights_after(tmp_path / "a", stop_step=9), weights_after(tmp_path / "b"), strict=True):
        np.testing.assert_array_equal(one, two)


def test_max_minutes_stops_after_an_epoch(tmp_path: Path) -> None:
    progress = train(trainer_for(tmp_path, configured(max_minutes=1e-9)))
    assert (progress.status, progress.epoch) == ("stopped by budget", 1)


def test_plateau_lowers_the_rate_when_validation_stalls(tmp_path: Path) -> None:
    trainer = trainer_for(
        tmp_path, configured(schedule="plateau", epochs=9, learning_rate=1e-12, warmup=0.0, monitor="loss"), y=Y * 0
    )
    trainer.built.model.set_weights([w * 0 for w in trainer.built.model.get_weights()])
    train(trainer)
    rates = [event["learning_rate"] for event in trainer.run.events("epoch")]
    np.testing.assert_allclose(rates[:4], 1e-12, rtol=1e-5)
    np.testing.assert_allclose(rates[4:7], 1e-13, rtol=1e-5)


def test_schedules() -> None:
    def rates(schedule: str, warmup: float = 0.0, factor: float = 1.0) -> list[float]:
        config = RunConfig(schedule=schedule, warmup=warmup, learning_rate=1.0)
        return [round(float(rate), 4) for rate in learning_rates(config, 0, 8, 8, factor)]

    assert rates("constant", warmup=0.25) == [0.5, 1, 1, 1, 1, 1, 1, 1]
    assert rates("step") == [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]
    assert rates("plateau", factor=0.1) == [0.1] * 8
    assert rates("noam", warmup=0.25) == [0.5, 1.0, 0.8165, 0.7071, 0.6325, 0.5774, 0.5345, 0.5]
    cosine = rates("cosine")
    assert (cosine[0], cosine[4]) == (1, 0.5)
    assert cosine == sorted(cosine, reverse=True)
    config = RunConfig(schedule="cosine")
    np.testing.assert_array_equal(learning_rates(config, 3, 2, 8, 1.0), learning_rates(config, 0, 8, 8, 1.0)[3:5])


def test_small_models_get_many_steps_a_call_and_convolutions_no_xla_on_cpu(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, configured())
    assert choose_steps(trainer.built.model, trainer.train, 20) == 3
    dense, conv = build().model, keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)])
    found = [choose_jit(RunConfig(), model, device) for model, device in ((dense, "cpu"), (conv, "cpu"), (conv, "gpu"))]
    assert found == [True, False, True]
    assert [choose_jit(RunConfig(jit=jit), dense, "cpu") for jit in ("on", "off")] == [True, False]
    assert [choose_jit(RunConfig(), dense, device, gains=False) for device in ("cpu", "gpu")] == [False, True]
    assert choose_jit(RunConfig(jit="on"), dense, "cpu", gains=False)


def test_events_are_lines_of_json(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, configured())
    train(trainer)
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert {line["event"] for line in lines} == {"resume", "step", "epoch", "checkpoint"}
    epochs = [line for line in lines if line["event"] == "epoch"]
    assert {"train", "valid", "learning_rate", "examples_per_second", "best"} <= epochs[-1].keys()


def go_on(trainer: Trainer) -> Progress:
    """Train from the newest state on, as the engine does."""
    return train(trainer, None, trainer.checkpoints.newest(trainer.console))


class StopAt(Interrupts):
    """A signal that comes at the n-th place where one is looked for."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place

    def check(self) -> None:
        self.place -= 1
        if self.place < 0:
            raise Interrupted


def everything(trainer: Trainer) -> dict[str, Any]:
    """All that must be the same, with and without a stop."""
    clocks = {"time", "seconds", "examples_per_second"}
    events = [event for name in ("step", "epoch") for event in trainer.run.events(name)]
    return {
        "state": {name: array.tobytes() for name, array in trainer.steps.state().items()},
        "history": [{key: value for key, value in event.items() if key not in clocks} for event in events],
    }


def kept(trainer: Trainer, progress: Progress) -> dict[str, str]:
    """The files that are to be scored, with their checksums."""
    return {name: trainer.checkpoints.digest(name) for name in progress.files}


WITH_DROPOUT: list[Any] = [lambda: keras.layers.Dense(8), lambda: keras.layers.Dropout(0.5, seed=3)]


def with_dropout() -> Built:
    keras.utils.set_random_seed(1)  # which layers draw from as they are made
    return build([make() for make in [*WITH_DROPOUT, lambda: keras.layers.Dense(1)]])


EXACT = {
    "everything": {"average": 0.9, "accumulate": 2, "clip_norm": 1.0, "optimizer": "adam"},
    "early stopping": {"patience": 1, "learning_rate": 0.5, "clip_norm": 1.0, "schedule": "constant", "epochs": 9},
    "plateau": {"schedule": "plateau", "learning_rate": 0.5, "clip_norm": 1.0, "epochs": 9},
    "the mean of the best": {"average_epochs": 2, "epochs": 6, "learning_rate": 0.5, "clip_norm": 1.0},
    "the mean of the last": {"average_epochs": 3, "average_which": "last", "epochs": 5, "save_every": "1"},
    "saved often": {"save_every": "1", "optimizer": "lion", "steps_per_execution": 1},
}


@pytest.mark.parametrize("settings", EXACT.values(), ids=EXACT)
def test_a_training_that_was_stopped_is_the_same_to_the_bit(tmp_path: Path, settings: dict[str, Any]) -> None:
    config = configured(**settings)
    whole = trainer_for(tmp_path / "whole", config, with_dropout())
    (tmp_path / "whole").mkdir()
    (tmp_path / "stopped").mkdir()
    progress = train(whole)
    stops = 0
    for place in (0, 1, 3, 2, 1, 4, 1000):  # places of the way that is left: before a block, inside validation
        trainer = trainer_for(tmp_path / "stopped", config, with_dropout())
        trainer = replace(trainer, interrupts=StopAt(place))
        try:
            again = go_on(trainer)
        except Interrupted:
            stops += 1
    assert stops >= 4
    assert everything(trainer) == everything(whole)
    assert kept(trainer, again) == kept(whole, progress)
    clocks = {"seconds": 0.0, "history": []}
    assert replace(again, **clocks) == replace(progress, **clocks)


def test_without_the_seed_generators_it_would_not_be_the_same(tmp_path: Path) -> None:
    config = configured()
    (tmp_path / "run").mkdir()
    (tmp_path / "whole").mkdir()
    whole = trainer_for(tmp_path / "whole", config, with_dropout())
    first = whole.steps.state()
    train(whole)
    with pytest.raises(Interrupted):
        train(replace(trainer_for(tmp_path / "run", config, with_dropout()), interrupts=StopAt(3)))
    state = Checkpoints(Run(tmp_path / "run")).newest(Console())
    assert state is not None
    of_model = ("model", "other")
    seeds = {n: array for n, array in first.items() if n.startswith(of_model) and array.dtype.kind in "iu"}
    assert seeds
    assert any((state.arrays[name] != array).any() for name, array in seeds.items())
    Checkpoints(Run(tmp_path / "run")).replace_all(replace(state, arrays={**state.arrays, **seeds}))
    trainer = trainer_for(tmp_path / "run", config, with_dropout())
    go_on(trainer)
    assert everything(trainer)["state"] != everything(whole)["state"]


def test_a_state_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(replace(trainer_for(tmp_path, configured()), interrupts=StopAt(2)))
    with pytest.raises(StateError, match="of another model or another version of Keras"):
        go_on(trainer_for(tmp_path, configured(), with_dropout()))
    with pytest.raises(StateError, match="of another model"):
        go_on(trainer_for(tmp_path, configured(optimizer="adam")))


def test_epochs_may_grow_and_the_rest_follows_the_longer_schedule(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(replace(trainer_for(tmp_path, configured()), interrupts=StopAt(2)))
    longer = trainer_for(tmp_path, configured(epochs=5))
    assert go_on(longer).epoch == 5
    assert [event["epoch"] for event in longer.run.events("epoch")] == [1, 2, 3, 4, 5]


@pytest.mark.skipif(BACKEND == "jax", reason="this is the run on JAX")
def test_on_jax(again_on_jax: Callable[[str], None]) -> None:
    again_on_jax("")
