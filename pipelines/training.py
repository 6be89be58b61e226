"""The training loop, shared by all tasks: epochs of blocks, validation, best epoch, early stopping, saved states."""

import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from pipelines.checkpoints import Checkpoints, State
from pipelines.config import RunConfig, option_name, shown
from pipelines.console import Console, speed
from pipelines.devices.steps import Steps
from pipelines.errors import ConfigError, OutOfMemory, RunError, StateError
from pipelines.interrupts import Interrupted, Interrupts
from pipelines.progress import Clock, Progress
from pipelines.runs import Run
from pipelines.schedules import PLATEAU_EPOCHS, learning_rates
from pipelines.stages import Stage
from pipelines.stream import Stream
from pipelines.task import Built
from pipelines.tracking import Tracking
from pipelines.workers import ALONE, Workers

_STEP_EVENTS_PER_EPOCH = 20


@dataclass(frozen=True)
class Trainer:
    """Everything that a training needs."""

    run: Run
    config: RunConfig
    built: Built
    steps: Steps
    train: Stream
    valid: Stream | None
    """None: nothing is judged, as this is a pretraining."""
    console: Console
    unit: str
    checkpoints: Checkpoints
    stage: Stage
    interrupts: Interrupts = field(default_factory=Interrupts)
    data_changed: bool = False
    """Since the state was saved."""
    workers: Workers = ALONE
    """Those that train together."""

    @property
    def event(self) -> str:
        """What an epoch is recorded as, and called."""
        return "epoch" if self.valid else "pretraining"

    @property
    def first(self) -> int:
        """The step that this stage, and the schedule of its learning rate, begins with."""
        return self.stage.first_epoch * self.train.steps_per_epoch

    @property
    def total(self) -> int:
        """Steps of this stage's schedule."""
        return self.stage.last_epoch * self.train.steps_per_epoch - self.first

    @property
    def last(self) -> int:
        """The step to stop at."""
        end = self.first + self.total
        return min(end, self.config.stop_step or end)

    def rates(self, step: int, count: int, factor: float) -> np.ndarray:
        """float32 [count]: the learning rates of the steps from `step` on."""
        config = self.config.model_copy(update={"learning_rate": self.stage.learning_rate})
        return learning_rates(config, step - self.first, count, self.total, factor)

    @property
    def longest(self) -> int:
        """Steps of a block at most."""
        assert self.config.steps_per_execution is not None
        return self.config.steps_per_execution

    @cached_property
    def tracking(self) -> Tracking:
        """What TensorBoard reads."""
        return Tracking(self.run)

    def record(self, event: str, **values: Any) -> None:
        """Into the ledger, and for TensorBoard."""
        self.tracking.add(self.run.record(event, **values))


def train(
    trainer: Trainer, progress: Progress | None = None, state: State | None = None, *, spent: float = 0.0
) -> Progress:
    """Train one stage to its end, to an early stop or to the budget's end; in the end the last state and the
    weights of the epochs that are to be scored are on disk.

    Args:
        trainer: everything that is needed.
        progress: of the stages before.
        state: to go on from, saved in this stage.
        spent: seconds, before the first stage.

    Raises:
        RunError: the loss is no longer a number, or a state cannot be written.
        StateError: the saved states cannot be used.
        Interrupted: a signal came; the state is saved.
    """
    if state is not None:
        progress = _restored(trainer, state)
    progress = progress or start(trainer, spent)
    trainer.tracking.begin()
    if progress.stage != trainer.stage.number:
        progress.stage, progress.factor, progress.waited = trainer.stage.number, 1.0, 0
    progress.totals = progress.totals or _zeros(trainer)
    clock = Clock(trainer.config, progress)
    blocks = trainer.train.iterate(progress.step, trainer.last, trainer.longest)
    if progress.step >= trainer.last and progress.step == progress.epoch * trainer.train.steps_per_epoch:
        # A stop_step that was set since, at the very end of an epoch: nothing is left to do.
        progress.status = progress.status or _ending(trainer, progress, clock)
    try:
        while progress.status is None and progress.epoch < trainer.stage.last_epoch:
            train_epoch(trainer, progress, blocks, clock)
            validate(trainer, progress)
            progress.status = _ending(trainer, progress, clock)
            save(trainer, progress, clock)
            trainer.interrupts.check()
        trainer.checkpoints.wait()
    except Interrupted:
        with trainer.interrupts.undisturbed():
            if not clock.is_saved(progress):
                save(trainer, progress, clock)
            trainer.checkpoints.wait()
        raise
    except OutOfMemory as error:
        trainer.checkpoints.wait()
        raise RunError(_too_large(trainer, progress)) from error
    finally:
        trainer.checkpoints.close()
        trainer.tracking.close()
    trainer.steps.release()
    return progress


def start(trainer: Trainer, spent: float) -> Progress:
    """A training that begins."""
    progress = Progress(steps_per_epoch=trainer.train.steps_per_epoch, seconds=spent)
    _record_resume(trainer, progress)
    return progress


def _record_resume(trainer: Trainer, progress: Progress) -> None:
    """What was recorded beyond this point is not counted."""
    steps = {"step": progress.step} if trainer.valid else {}
    trainer.run.record("resume", **steps, **{trainer.event: progress.epoch})


def save(trainer: Trainer, progress: Progress, clock: Clock) -> None:
    """Copy the state out; it is written while training goes on."""
    progress.seconds = clock.seconds()
    trainer.checkpoints.save(State(progress.step, trainer.steps.state(), progress.as_json(), progress.files))
    clock.saved(progress)


def _restored(trainer: Trainer, state: State) -> Progress:
    """Where the state left off."""
    try:
        progress = Progress(**state.progress)
    except TypeError as error:
        raise StateError(f"the saved state of step {state.step} is of another version of Sixfold ({error}).") from error
    progress.best = progress.best and (progress.best[0], progress.best[1])
    trainer.steps.load_state(state.arrays)
    if trainer.data_changed or progress.steps_per_epoch != trainer.train.steps_per_epoch:
        _start_epoch_again(trainer, progress, state)
    if progress.step > trainer.last:
        raise ConfigError(f"stop_step: {trainer.last} is before step {progress.step}, where the run stands already.")
    if progress.status == "done" and progress.step < trainer.last:
        # Epochs or stop_step were raised since. An epoch that stop_step had cut short is not over any more.
        progress.status, progress.epoch = None, progress.step // trainer.train.steps_per_epoch
        progress.history = [one for one in progress.history if one["epoch"] <= progress.epoch]
        if trainer.config.average_which == "last":
            progress.kept = [one for one in progress.kept if one["epoch"] <= progress.epoch]
    _record_resume(trainer, progress)
    trainer.run.restore_history(trainer.event, progress.history)
    of = "" if trainer.valid else " of the pretraining"
    trainer.console.say(f"resuming after step {progress.step} of {trainer.last}{of}")
    return progress


def _start_epoch_again(trainer: Trainer, progress: Progress, state: State) -> None:
    """After the data changed, and with them the number of steps: the epochs that are over stay over."""
    progress.steps_per_epoch = trainer.train.steps_per_epoch
    progress.step = progress.epoch * progress.steps_per_epoch
    progress.totals, progress.epoch_seconds = _zeros(trainer), 0.0
    trainer.checkpoints.replace_all(State(progress.step, state.arrays, progress.as_json(), progress.files))


def _zeros(trainer: Trainer) -> list[float]:
    return [0.0] * (2 + len(trainer.built.metrics))


def train_epoch(trainer: Trainer, progress: Progress, blocks: Iterator[Any], clock: Clock) -> None:
    """The rest of the epoch, to its end or to the last step of all."""
    config, per_epoch = trainer.config, trainer.train.steps_per_epoch
    start = progress.epoch * per_epoch
    end = min(start + per_epoch, trainer.last)
    examples = trainer.train.rows(start, end)
    label = f"{trainer.event} {progress.epoch + 1}/{config.epochs}"
    with trainer.console.bar(label, examples, trainer.unit + "s") as advance:
        done = trainer.train.rows(start, progress.step) if progress.step > start else 0
        while progress.step < end:
            trainer.interrupts.check()
            # All at once: each may have a part of the state.
            if trainer.workers.largest(clock.is_due(progress)):
                save(trainer, progress, clock)
            began, before = time.perf_counter(), progress.step
            loss = _train_block(trainer, progress, next(blocks))
            progress.epoch_seconds += time.perf_counter() - began
            done += trainer.train.rows(before, progress.step)
            advance(done, f"loss {loss:.4f}")


def _train_block(trainer: Trainer, progress: Progress, block: Any) -> float:
    """Its loss."""
    count = int(block[2].shape[0])
    rates = trainer.rates(progress.step, count, progress.factor)
    sums = trainer.steps.train(block, rates).astype(np.float64)
    progress.step += count
    _check_finite(trainer, progress, sums)
    progress.totals = (np.array(progress.totals) + sums).tolist()
    _record_step(trainer, progress, sums, rates, count)
    return float(sums[0] / max(sums[1], 1e-12))


def validate(trainer: Trainer, progress: Progress) -> None:
    """End the epoch: score the validation split, keep the weights if they may be scored. A pretraining has no such
    split, and no best epoch."""
    valid = _validated(trainer) if trainer.valid else None
    values = {
        "train": means(np.array(progress.totals), trainer.built, training=True),
        **({} if valid is None else {"valid": valid}),
        "learning_rate": float(trainer.rates(progress.step - 1, 1, progress.factor)[0]),
    }
    examples = trainer.train.rows(progress.epoch * trainer.train.steps_per_epoch, progress.step)
    progress.epoch += 1
    better = valid is not None and _judge(trainer, progress, valid)
    seconds = progress.epoch_seconds
    rate = examples / max(seconds, 1e-9)
    event = {
        trainer.event: progress.epoch,
        "step": progress.step,
        **values,
        "examples_per_second": float(f"{rate:.3g}") if rate < 10 else round(rate, 1),
        "seconds": round(seconds, 3),
        **({} if valid is None else {"best": better}),
    }
    trainer.record(trainer.event, **event)
    progress.history.append(event)
    progress.totals, progress.epoch_seconds = _zeros(trainer), 0.0
    trainer.console.say(_epoch_line(trainer, progress, values, rate, better))


def _validated(trainer: Trainer) -> dict[str, float]:
    """The loss and the metrics of the validation split, with the averaged weights."""
    assert trainer.valid is not None
    with trainer.steps.averaged():
        return evaluate(trainer.steps, trainer.valid, trainer.built, trainer.longest, trainer.interrupts.check)


def _ending(trainer: Trainer, progress: Progress, clock: Clock) -> str | None:
    """How training ends here, if it does."""
    patience, stage = trainer.config.patience, trainer.stage
    since = max(progress.best_epoch, stage.first_epoch)
    if patience is not None and stage.is_final and progress.epoch - since >= patience:
        return "stopped early"
    if progress.step >= trainer.last and (stage.is_final or progress.step == trainer.config.stop_step):
        return "done"
    return "stopped by budget" if trainer.workers.largest(clock.is_up()) else None


def evaluate(
    steps: Steps, stream: Stream, built: Built, longest: int, check: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """The loss and the metrics over a whole split; `check` is called before each block."""
    totals = np.zeros(2 + len(built.metrics))
    for block in stream.iterate(0, stream.steps_per_epoch, longest):
        check()
        totals += steps.evaluate(block).astype(np.float64)
    return means(totals, built)


def means(sums: np.ndarray, built: Built, *, training: bool = False) -> dict[str, float]:
    """Weighted sums [loss, 1, metrics...] as means by name; in training without the metrics that are none of it."""
    weight = max(float(sums[1]), 1e-12)
    left_out = {name for name, metric in built.metrics.items() if training and not metric.in_training}
    named = zip(["loss", *built.metrics], [sums[0], *sums[2:]], strict=True)
    return {name: float(value) / weight for name, value in named if name not in left_out}


def _too_large(trainer: Trainer, progress: Progress) -> str:
    """What to do where a batch does not fit into memory."""
    config = trainer.config
    measures = [name for name in type(config).model_fields if name.endswith("_per_batch")]
    measure = next((name for name in measures if getattr(config, name) is not None), "batch_size")
    lower = [f"lower {option_name(measure)} (now {shown(getattr(config, measure))})"]
    lower.append(f"compute each batch in parts with --accumulate {2 * config.accumulate}")
    lower += ["or take --precision mixed_bfloat16"] if config.precision == "float32" else []
    saved = trainer.run.checkpoints("train" if trainer.valid else "pretrain")
    state = f"the state of step {saved[-1]['step']} is kept" if saved else "no state was saved yet"
    return (
        f"out of memory after step {progress.step} ({trainer.event} {progress.epoch + 1}), in {config.precision}: "
        f"{', '.join(lower)}. Each makes another run of it, in a new folder or with --overwrite; {state}, and "
        f"sixfold resume {shlex.quote(str(trainer.run.path))} goes on as it was where there is more memory."
    )


def _check_finite(trainer: Trainer, progress: Progress, sums: np.ndarray) -> None:
    if np.isfinite(sums).all():
        return
    config = trainer.config
    epochs = ", ".join(str(one["epoch"]) for one in progress.kept)
    of = f"epoch{'s' * (len(progress.kept) > 1)} {epochs}"
    kept = f"the weights of {of} are kept in {trainer.run.path / 'state'}" if epochs else "no epoch was finished"
    clip = "" if config.clip_norm else " or set --clip-norm 1"
    option = "--learning-rate" if trainer.valid else "--pretrain-rate"
    raise RunError(
        f"the loss is not a number any more at step {progress.step} ({trainer.event} {progress.epoch + 1}): "
        f"lower {option} (now {config.learning_rate:g}){clip}; {kept}."
    )


def _record_step(trainer: Trainer, progress: Progress, sums: np.ndarray, rates: np.ndarray, count: int) -> None:
    every = max(1, trainer.train.steps_per_epoch // _STEP_EVENTS_PER_EPOCH)
    if trainer.valid and progress.step // every != (progress.step - count) // every:
        values = means(sums, trainer.built, training=True)
        trainer.record("step", step=progress.step, epoch=progress.epoch, **values, learning_rate=float(rates[-1]))


def _judge(trainer: Trainer, progress: Progress, valid: dict[str, float]) -> bool:
    """Whether this epoch is the best so far; its weights are saved if they may be scored."""
    name, metric = next(iter(trainer.built.metrics.items()))
    follow_loss = trainer.config.monitor == "loss"
    score = -valid["loss"] if follow_loss else valid[name] * (1 if metric.higher_is_better else -1)
    value = (score, -valid["loss"])
    _check_finite(trainer, progress, np.array(list(valid.values())))
    progress.waited += 1
    better = progress.best is None or value > progress.best
    if better:
        progress.best, progress.best_epoch, progress.waited = value, progress.epoch, 0
    elif trainer.config.schedule == "plateau" and progress.waited >= PLATEAU_EPOCHS:
        progress.factor, progress.waited = progress.factor / 10, 0
    _keep(trainer, progress, valid, value)
    return better


def _keep(trainer: Trainer, progress: Progress, valid: dict[str, float], value: tuple[float, float]) -> None:
    """Save this epoch's weights if they are among those to be scored, as things stand; of equals the first are."""
    rank = list(value) if trainer.config.average_which == "best" else [progress.epoch]
    file = f"epoch-{progress.epoch:04d}-{progress.step:08d}.safetensors"
    this = {"epoch": progress.epoch, "file": file, "rank": rank}
    first = sorted([*progress.kept, this], key=lambda one: one["rank"], reverse=True)[: trainer.config.average_epochs]
    if this in first:
        progress.kept = sorted(first, key=lambda one: one["epoch"])
        about = {"epoch": progress.epoch, "step": progress.step, "valid": valid}
        trainer.checkpoints.keep(file, trainer.steps.weights(), about)


def _epoch_line(trainer: Trainer, progress: Progress, values: dict[str, Any], rate: float, better: bool) -> str:
    parts = [f"{trainer.event} {progress.epoch}/{trainer.config.epochs}"]
    for split in ("train", "valid"):
        if split in values:
            parts.append(f"{split} {' '.join(f'{name} {value:.4f}' for name, value in values[split].items())}")
    parts.append(f"{speed(rate)} {trainer.unit}s/s")
    return "  ".join([*parts, "best"] if better else parts)
