"""Training speed as ratios, each in one process with the two sides in turns: ours against a bare Keras fit.

    python benchmarks/training_speed.py [--data-root ../shared/data] [--turns 7] [cnn] [mlp] [mobilenet]

cnn   the default network on Fashion-MNIST, batch 64, crop augmentation: images a second of Sixfold's loop, fed by
its stream (fetching and
      augmenting included), against `fit` (jit_compile=False, the faster here) on the very same batches, held in
      memory as tensors.
      A turn is 20 steps; what is printed is the median over turns of the ratio of neighbouring turns.
mlp   784-128-64-10, batch 32, Adam: epochs a second, validation included, against plain
      `model.fit(x, y, batch_size=32, validation_split=0.2)` on arrays; the same 48,000 images and
      1,500 updates an epoch. One warm-up
      epoch each, then an epoch in turns; then the test accuracy of both.
mobilenet  fine-tuning all of MobileNetV2 at 224 pixels, batch 32, on photos (hymenoptera): images a second of the step
      alone against `fit` on the very same decoded batches, held in memory; then what decoding and augmenting add, and
      what determinism does (benchmarks/determinism.py mobilenet).
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipelines import devices, registry
from pipelines.config import load_config
from pipelines.console import Console
from pipelines.devices.settings import StepSettings
from pipelines.runs import Run

STEPS = 20


def prepared(root: Path, **options: Any) -> tuple[Any, Any, Any]:
    """(config, task, data) of a run on Fashion-MNIST, devices started."""
    config: Any = load_config("image-classification", options={"data": str(root / "fashion_mnist"), **options}).config
    devices.start(config)
    task = registry.task("image-classification")
    data = task.load_data(config)
    return task.resolve(config, data), task, data


def trainer_for(config: Any, task: Any, data: Any) -> Any:
    """Sixfold's trainer, as the engine makes it."""
    from pipelines.checkpoints import Checkpoints
    from pipelines.preparation import choose_fused, choose_jit, choose_steps, make_optimizer
    from pipelines.stages import plan
    from pipelines.stream import Stream
    from pipelines.training import Trainer

    built = task.build_model(config, data.assets)
    streams = [
        Stream(
            data.splits[name],
            task.encode(config, data.assets, training),
            task.batching(config),
            config.seed,
            training=training,
        )
        for name, training in (("train", True), ("valid", False))
    ]
    config = config.model_copy(update={"steps_per_execution": choose_steps(built.model, streams[0], config.batch_size)})
    jit = choose_jit(config, built.model, "cpu", streams[0].order.shapes, built.gains_by_xla)
    settings = StepSettings(
        jit=jit,
        lengths=any(stream.order.shapes > 1 for stream in streams),
        fused=choose_fused(config, built.model, "cpu"),
        rows=len(set(streams[0].batching.batch_sizes)) > 1,
    )
    steps = devices.Runtime("tensorflow", "cpu", "", 1).steps(built, make_optimizer(config, built.model), settings)
    run = Run(Path(tempfile.mkdtemp()))
    return Trainer(run, config, built, steps, *streams, Console(), "image", Checkpoints(run), plan(config)[0])


def bare_model(built: Any) -> Any:
    """The network and the loss of a task as a model that Keras trains by itself."""
    import keras

    class Bare(keras.Model):
        """compute_loss is all that is ours."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = built.model

        def call(self, x: Any, training: bool = False) -> Any:
            """The model's outputs."""
            return self.inner(x, training=training)

        def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool = True) -> Any:
            """The mean over what counts."""
            losses = built.loss(y, y_pred) * sample_weight
            return keras.ops.sum(losses) / keras.ops.sum(sample_weight)

    return Bare()


class Peer:
    """A script in a process of its own that waits for a line before each turn, and then prints what it has done; and
    once before the first."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def __call__(self) -> float:
        """A turn; how much was done in it."""
        assert self._process.stdin is not None
        self._process.stdin.write("turn\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> float:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args}: ended with status {self._process.wait()}.")
        return float(line)

    def close(self) -> None:
        """No turns any more."""
        self._process.communicate()


def in_turns(sides: dict[str, Callable[[], float]], turns: int) -> dict[str, list[float]]:
    """Units a second of each side, turn by turn."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(turns):
        for name, side in sides.items():
            started = time.perf_counter()
            done = side()
            rates[name].append(done / (time.perf_counter() - started))
    return rates


def report(title: str, unit: str, rates: dict[str, list[float]]) -> None:
    """A line a side, and the median ratio of neighbouring turns."""
    ours, other = rates.values()
    ratio = statistics.median(a / b for a, b in zip(ours, other, strict=True))
    for name, values in rates.items():
        print(
            f"{title}: {name}: median {statistics.median(values):,.4g} {unit}, "
            f"best {max(values):,.4g}, turns {len(values)}"
        )
    print(f"{title}: ratio {' / '.join(rates)}: {ratio:.3f}", flush=True)


def mobilenet(root: Path, turns: int) -> None:
    """MobileNetV2: see the module."""
    options = {
        "data": str(root / "hymenoptera" / "train"),
        "on_bad": "skip",
        "backbone": "MobileNetV2",
        "image_size": 224,
        "batch_size": 32,
        "augment": "flip-crop",
        "epochs": 100,
        "learning_rate": 1e-4,
        "weight_decay": 0,
    }
    config, task, data = prepared(root, **options)
    import keras
    import tensorflow as tf

    trainer = trainer_for(config, task, data)
    many = 3
    blocks = list(trainer.train.iterate(0, many, 1))
    rate = np.array([1e-4], np.float32)

    def ours() -> int:
        for block in blocks:
            trainer.steps.train(block, rate)
        return many * config.batch_size

    held = [tuple(part[0] for part in block[:2]) for block in blocks]
    batches = tf.data.Dataset.from_tensor_slices(tuple(tf.stack(column) for column in zip(*held, strict=True)))
    model = task.build_model(config, data.assets).model
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-4), loss, metrics=["accuracy"], jit_compile=False)

    def bare() -> int:
        model.fit(batches, epochs=1, verbose=0)
        return many * config.batch_size

    ours(), bare()
    report("mobilenet", "images/s", in_turns({"ours": ours, "bare fit": bare}, turns))
    stream = iter(trainer.train.blocks(0, trainer.total, 1))

    def decoded() -> int:
        for _ in range(2 * many):
            next(stream)
        return 2 * many * config.batch_size

    decoded()
    plain = trainer_for(config.model_copy(update={"augment": "none"}), task, data)
    still = iter(plain.train.blocks(0, plain.total, 1))

    def undecorated() -> int:
        for _ in range(2 * many):
            next(still)
        return 2 * many * config.batch_size

    undecorated()
    title = "mobilenet, the stream alone"
    report(title, "images/s", in_turns({"decoding and augmenting": decoded, "decoding": undecorated}, turns))


def cnn(root: Path, turns: int) -> None:
    """The default network: see the module."""
    config, task, data = prepared(root, batch_size=64)
    import keras
    import tensorflow as tf

    trainer = trainer_for(config, task, data)
    blocks = iter(trainer.train.blocks(0, trainer.total, 1))
    rate = np.array([1e-3], np.float32)

    def ours() -> int:
        for _ in range(STEPS):
            trainer.steps.train(next(blocks), rate)
        return STEPS * config.batch_size

    held = [tuple(part[0] for part in block[:2]) for block in trainer.train.blocks(0, STEPS, 1)]
    batches = tf.data.Dataset.from_tensor_slices(
        tuple(tf.stack(column) for column in zip(*held, strict=True))
    ).prefetch(2)
    model = task.build_model(config, data.assets).model
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-3), loss, metrics=["accuracy"], jit_compile=False)

    def bare() -> int:
        model.fit(batches, epochs=1, verbose=0)
        return STEPS * config.batch_size

    ours(), bare()
    report("cnn", "images/s", in_turns({"ours": ours, "bare fit": bare}, turns))


def mlp(root: Path, turns: int) -> None:
    """The small dense network: see the module."""
    options = {
        "backbone": "mlp",
        "batch_size": 32,
        "optimizer": "adam",
        "learning_rate": 1e-3,  # Keras's own default, which the plain side has
        "weight_decay": 0,
        "schedule": "constant",
        "warmup": 0,
        "augment": "none",
    }
    config, task, data = prepared(root, split="48000,12000,0", epochs=turns + 1, **options)
    trainer = trainer_for(config, task, data)
    import keras

    from pipelines.training import Clock, Progress, train_epoch, validate

    blocks, progress = iter(trainer.train.blocks(0, trainer.total, trainer.longest)), Progress(totals=[0.0] * 3)
    clock = Clock(config, progress)

    def ours() -> int:
        train_epoch(trainer, progress, blocks, clock)
        validate(trainer, progress)
        return 1

    def whole(split: str) -> tuple[np.ndarray, np.ndarray]:
        raw = data.splits[split].fetch(np.arange(len(data.splits[split])))
        return raw["pixels"].astype("float32") / 255, raw["label"]

    (x, y), (more_x, more_y), (test_x, test_y) = (whole(split) for split in ("train", "valid", "test"))
    x, y = np.concatenate([x, more_x]), np.concatenate([y, more_y])
    layers = [
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(10, activation="softmax"),
    ]
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), *layers])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])

    def bare() -> int:
        model.fit(x, y, batch_size=32, validation_split=0.2, verbose=0)
        return 1

    assert trainer.train.steps_per_epoch == 1500
    ours(), bare()
    report("mlp", "epochs/s", in_turns({"ours": ours, "plain fit": bare}, turns))
    found = devices.forward(trainer.built.model)((test_x * 255).round().astype(np.uint8)).argmax(1)
    other = model.predict(test_x, verbose=0).argmax(1)
    print(
        f"mlp: test accuracy after {turns + 1} epochs: "
        f"ours {np.mean(found == test_y):.4f}, plain fit {np.mean(other == test_y):.4f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", metavar="cnn | mlp | mobilenet")
    parser.add_argument("--data-root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--turns", type=int, default=7)
    arguments = parser.parse_args()
    for name in arguments.which or ["cnn", "mlp"]:
        {"cnn": cnn, "mlp": mlp, "mobilenet": mobilenet}[name](arguments.data_root, arguments.turns)
