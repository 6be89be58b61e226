"""The training loop, shared by all tasks: epochs of blocks, validation, the best epoch, early stopping."""

import math
import time
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from pipelines.config import RunConfig
from pipelines.console import Console
from pipelines.devices.steps import Steps, is_kernel
from pipelines.errors import RunError
from pipelines.runs import Run
from pipelines.schedules import PLATEAU_EPOCHS, learning_rates
from pipelines.state import save_arrays
from pipelines.stream import Stream
from pipelines.task import Built

_OPERATIONS_PER_EXECUTION = 4e9
"""Enough for Python's share to vanish, few enough (a fraction of a second on two cores) for signals to be seen."""
_BYTES_PER_EXECUTION = 32 << 20
_STEP_EVENTS_PER_EPOCH = 20


@dataclass
class Progress:
    """What the loop knows besides the variables; all of it follows from the steps so far."""

    step: int = 0
    epoch: int = 0
    best: tuple[float, float] | None = None
    """The monitored value, higher is better, and minus the validation loss, which decides between equals."""
    best_epoch: int = 0
    factor: float = 1.0
    """Of the learning rate, lowered by `plateau`."""
    waited: int = 0
    """Epochs since the learning rate was last lowered or the score last better."""
    status: str = "done"


@dataclass(frozen=True)
class Trainer:
    """Everything that a training needs."""

    run: Run
    config: RunConfig
    built: Built
    steps: Steps
    train: Stream
    valid: Stream
    console: Console
    unit: str

    @property
    def total(self) -> int:
        """Steps of the whole schedule."""
        return self.config.epochs * self.train.steps_per_epoch

    @property
    def last(self) -> int:
        """The step to stop at."""
        return min(self.total, self.config.stop_step or self.total)

    @property
    def longest(self) -> int:
        """Steps of a block at most."""
        assert self.config.steps_per_execution is not None
        return self.config.steps_per_execution


def train(trainer: Trainer) -> Progress:
    """Train to the end, to an early stop or to the budget's end; the best epoch's weights are on disk and in the model.

    Raises:
        RunError: the loss is no longer a number.
    """
    progress, started = Progress(), time.monotonic()
    blocks = trainer.train.iterate(0, trainer.last, trainer.longest)
    while progress.step < trainer.last:
        _train_epoch(trainer, progress, blocks)
        if _out_of_patience(trainer.config, progress):
            progress.status = "stopped early"
            break
        if (
            trainer.config.max_minutes
            and time.monotonic() - started > 60 * trainer.config.max_minutes
            and progress.step < trainer.last
        ):
            progress.status = "stopped by budget"
            break
    return progress


def _train_epoch(trainer: Trainer, progress: Progress, blocks: Any) -> None:
    config, first, started = trainer.config, progress.step, time.perf_counter()
    progress.epoch += 1
    end = min(progress.epoch * trainer.train.steps_per_epoch, trainer.last)
    totals = np.zeros(2 + len(trainer.built.metrics))
    examples = min((end - first) * config.batch_size, trainer.train.examples)
    with trainer.console.bar(f"epoch {progress.epoch}/{config.epochs}", examples, trainer.unit + "s") as advance:
        while progress.step < end:
            block = next(blocks)
            count = int(block[2].shape[0])
            rates = learning_rates(config, progress.step, count, trainer.total, progress.factor)
            sums = trainer.steps.train(block, rates).astype(np.float64)
            progress.step += count
            _check_finite(trainer, progress, sums)
            totals += sums
            _record_step(trainer, progress, sums, rates, count)
            done = min((progress.step - first) * config.batch_size, examples)
            advance(done, f"loss {sums[0] / max(sums[1], 1e-12):.4f}")
    seconds = time.perf_counter() - started
    with trainer.steps.averaged():
        valid = evaluate(trainer.steps, trainer.valid, trainer.built, trainer.longest)
    better = _judge(trainer, progress, valid)
    values = {"train": means(totals, trainer.built), "valid": valid, "learning_rate": float(rates[-1])}
    rate = examples / seconds
    trainer.run.record(
        "epoch",
        epoch=progress.epoch,
        step=progress.step,
        **values,
        examples_per_second=round(rate, 1),
        seconds=round(seconds, 3),
        best=better,
    )
    trainer.console.say(_epoch_line(trainer, progress, values, rate, better))


def evaluate(steps: Steps, stream: Stream, built: Built, longest: int) -> dict[str, float]:
    """The loss and the metrics over a whole split."""
    blocks = stream.iterate(0, stream.steps_per_epoch, longest)
    totals = np.sum([steps.evaluate(block).astype(np.float64) for block in blocks], axis=0)
    return means(totals, built)


def means(sums: np.ndarray, built: Built) -> dict[str, float]:
    """Weighted sums [loss, 1, metrics...] as means by name."""
    weight = max(float(sums[1]), 1e-12)
    return {
        name: float(value) / weight for name, value in zip(["loss", *built.metrics], [sums[0], *sums[2:]], strict=True)
    }


def make_optimizer(config: RunConfig, model: keras.Model) -> keras.optimizers.Optimizer:
    """The optimizer, built for the model's trainable variables; weight decay leaves biases and norms alone."""
    rate, decay = config.learning_rate, {"weight_decay": config.weight_decay or None}
    optimizer = {
        "sgd": lambda: keras.optimizers.SGD(rate, momentum=config.momentum, nesterov=config.momentum > 0, **decay),
        "adam": lambda: keras.optimizers.Adam(rate, **decay),
        "adamw": lambda: keras.optimizers.AdamW(rate, weight_decay=config.weight_decay),
        "rmsprop": lambda: keras.optimizers.RMSprop(rate, momentum=config.momentum, **decay),
        "lion": lambda: keras.optimizers.Lion(rate, **decay),
    }[config.optimizer]()
    if config.weight_decay:
        optimizer.exclude_from_weight_decay(var_list=[v for v in model.trainable_variables if not is_kernel(v)])
    optimizer.build(model.trainable_variables)
    return optimizer


def choose_jit(config: RunConfig, model: keras.Model, device: str) -> bool:
    """Whether to compile with XLA: on CPUs it slows convolutions and recurrent layers down and speeds the others up."""
    if config.jit != "auto":
        return config.jit == "on"
    slow = (
        keras.layers.Conv1D,
        keras.layers.Conv2D,
        keras.layers.DepthwiseConv2D,
        keras.layers.SeparableConv2D,
        keras.layers.RNN,
    )
    return device != "cpu" or not any(isinstance(layer, slow) for layer in _layers(model))


def choose_steps(model: keras.Model, stream: Stream, batch_size: int) -> int:
    """Steps of one call, from the cost of a step alone, so that the choice is the same every time."""
    batch = next(stream.iterate(0, 1, 1))
    size: int = sum(int(np.prod(tensor.shape)) * tensor.dtype.size for tensor in batch)
    operations = 6 * batch_size * sum(_multiplications(layer) for layer in _layers(model))
    count = min(_OPERATIONS_PER_EXECUTION / max(operations, 1), _BYTES_PER_EXECUTION / max(size, 1), 500)
    return max(1, min(int(count), stream.steps_per_epoch))


def _multiplications(layer: keras.layers.Layer) -> int:
    """Of one example, about: the kernels' size times the positions that they are applied at."""
    kernels: int = sum(math.prod(v.shape) for v in layer.weights if is_kernel(v))
    try:
        shape: tuple[int | None, ...] = layer.output.shape
    except AttributeError:
        return kernels
    return kernels * math.prod(side or 1 for side in shape[1:-1])


def _layers(model: keras.Model) -> list[keras.layers.Layer]:
    return [
        layer
        for layer in model._flatten_layers(include_self=False)
        if not list(layer._flatten_layers(include_self=False))
    ]


def _check_finite(trainer: Trainer, progress: Progress, sums: np.ndarray) -> None:
    if np.isfinite(sums).all():
        return
    config = trainer.config
    kept = (
        f"the best weights so far, of epoch {progress.best_epoch}, are kept in {trainer.run.best}"
        if progress.best_epoch
        else "no epoch was finished"
    )
    clip = "" if config.clip_norm else " or set --clip-norm 1"
    raise RunError(
        f"the loss is not a number any more at step {progress.step} (epoch {progress.epoch}): "
        f"lower --learning-rate (now {config.learning_rate:g}){clip}; {kept}."
    )


def _record_step(trainer: Trainer, progress: Progress, sums: np.ndarray, rates: np.ndarray, count: int) -> None:
    every = max(1, trainer.train.steps_per_epoch // _STEP_EVENTS_PER_EPOCH)
    if progress.step // every != (progress.step - count) // every:
        values = means(sums, trainer.built)
        trainer.run.record("step", step=progress.step, epoch=progress.epoch, **values, learning_rate=float(rates[-1]))


def _judge(trainer: Trainer, progress: Progress, valid: dict[str, float]) -> bool:
    """Whether this epoch is the best so far; if so its weights are saved."""
    name, metric = next(iter(trainer.built.metrics.items()))
    follow_loss = trainer.config.monitor == "loss"
    score = -valid["loss"] if follow_loss else valid[name] * (1 if metric.higher_is_better else -1)
    value = (score, -valid["loss"])
    _check_finite(trainer, progress, np.array(list(valid.values())))
    progress.waited += 1
    better = progress.best is None or value > progress.best
    if better:
        progress.best, progress.best_epoch, progress.waited = value, progress.epoch, 0
        save_arrays(
            trainer.run.best, trainer.steps.weights(), {"epoch": progress.epoch, "step": progress.step, "valid": valid}
        )
    elif trainer.config.schedule == "plateau" and progress.waited >= PLATEAU_EPOCHS:
        progress.factor, progress.waited = progress.factor / 10, 0
    return better


def _out_of_patience(config: RunConfig, progress: Progress) -> bool:
    return config.patience is not None and progress.epoch - progress.best_epoch >= config.patience


def _epoch_line(trainer: Trainer, progress: Progress, values: dict[str, Any], rate: float, better: bool) -> str:
    train, valid = (
        " ".join(f"{name} {value:.4f}" for name, value in values[split].items()) for split in ("train", "valid")
    )
    mark = "  best" if better else ""
    place = f"epoch {progress.epoch}/{trainer.config.epochs}"
    return f"{place}  train {train}  valid {valid}  {rate:,.0f} {trainer.unit}s/s{mark}"
