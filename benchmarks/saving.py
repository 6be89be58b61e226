"""What saving the training state costs, and what it holds training up for.

    python benchmarks/saving.py [--data-root ../shared/data] [--turns 5]

Three trainings, each with and without saving in turns, in one process: the default network on Fashion-MNIST (an epoch
of about a minute; a turn is a tenth of its data, one epoch), the built-in sample (epochs of a third of a second, the
state saved after each: the dearest case there is), and the small dense network. A turn with saving ends when all is on
disk; one without saves nothing at all. Printed: the median over turns of the ratio of neighbouring turns, how long the
loop was held up by a save (the copying), and how long the file took on its own thread.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from pipelines import devices, registry
from pipelines.checkpoints import Checkpoints
from pipelines.config import load_config
from pipelines.console import Console
from pipelines.devices.settings import StepSettings
from pipelines.preparation import choose_jit, choose_steps, make_optimizer
from pipelines.runs import Run
from pipelines.stages import plan
from pipelines.stream import Stream
from pipelines.training import Clock, Progress, Trainer, save, train_epoch, validate


def trainer_for(options: dict[str, Any]) -> Trainer:
    """A trainer of image classification, as the engine makes it."""
    config: Any = load_config(
        "image-classification", options={"epochs": 1000, "schedule": "constant", **options}
    ).config
    runtime, task = devices.start(config), registry.task("image-classification")
    data = task.load_data(config)
    config = task.resolve(config, data)
    built = task.build_model(config, data.assets)
    streams = [
        Stream(
            data.splits[name],
            task.encode(config, data.assets, name == "train"),
            task.batching(config),
            0,
            training=name == "train",
        )
        for name in ("train", "valid")
    ]
    config = config.model_copy(update={"steps_per_execution": choose_steps(built.model, streams[0], config.batch_size)})
    settings = StepSettings(jit=choose_jit(config, built.model, "cpu"))
    steps = runtime.steps(built, make_optimizer(config, built.model), settings)
    run = Run(Path(tempfile.mkdtemp()))
    return Trainer(run, config, built, steps, *streams, Console(), "image", Checkpoints(run), plan(config)[0])


def measure(title: str, options: dict[str, Any], epochs: int, turns: int) -> None:
    """One training, in turns of so many epochs."""
    trainer = trainer_for(options)
    progress = Progress(totals=[0.0] * 3)
    clock = Clock(trainer.config, progress)
    blocks = iter(trainer.train.blocks(0, trainer.total, trainer.longest))
    held: list[float] = []

    def turn(*, saving: bool) -> float:
        started = time.perf_counter()
        for _ in range(epochs):
            train_epoch(trainer, progress, blocks, clock)
            validate(trainer, progress)
            if saving:
                before = time.perf_counter()
                save(trainer, progress, clock)
                held.append(time.perf_counter() - before)
        if saving:
            trainer.checkpoints.wait()
        return time.perf_counter() - started

    turn(saving=True)
    ratios, seconds = [], []
    for _ in range(turns):
        without = turn(saving=False)
        ratios.append(turn(saving=True) / without)
        seconds.append(without / epochs)
    files = [event["seconds"] for event in trainer.run.events("checkpoint")]
    size = max(file.stat().st_size for file in (trainer.run.path / "state").iterdir()) / 1e6
    print(
        f"{title}: with saving {statistics.median(ratios):.4f} of the time without "
        f"({min(ratios):.4f} to {max(ratios):.4f}, {turns} turns of {epochs} epochs of "
        f"{statistics.median(seconds):.2f} s); the loop held up {1000 * statistics.median(held):.1f} ms a save, "
        f"the file of {size:.1f} MB written in {1000 * statistics.median(files):.0f} ms",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    fashion = {"data": str(arguments.data_root / "fashion_mnist")}
    measure("default network, 6,000 images", {**fashion, "limit": 6000}, 1, arguments.turns)
    measure("default network, built-in sample", {}, 20, arguments.turns)
    mlp = {"backbone": "mlp", "batch_size": 32, "augment": "none"}
    measure("784-128-64-10, 54,000 images", {**fashion, **mlp}, 3, arguments.turns)
