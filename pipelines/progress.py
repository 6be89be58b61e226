"""How far a training is, and what its clock decides."""

import time
from dataclasses import dataclass, field
from typing import Any

from pipelines.config import RunConfig, save_interval

_KEPT_HISTORY = 10_000
"""Epochs that a state holds; events.jsonl, which is on disk before it, has all."""


@dataclass
class Progress:
    """What the loop knows besides the variables; all of it follows from the steps so far, but for the seconds."""

    step: int = 0
    stage: int = 0
    epoch: int = 0
    """Epochs that are over, their validation included."""
    totals: list[float] = field(default_factory=list)
    """The sums of the epoch so far: loss, weight, metrics."""
    best: tuple[float, float] | None = None
    """The monitored value, higher is better, and minus the validation loss, which decides between equals."""
    best_epoch: int = 0
    kept: list[dict[str, Any]] = field(default_factory=list)
    """The epochs whose weights are to be scored as things stand, in their order: epoch, file, rank."""
    factor: float = 1.0
    """Of the learning rate, lowered by `plateau`."""
    waited: int = 0
    """Epochs since the learning rate was last lowered or the score last better."""
    seconds: float = 0.0
    """Spent on it so far, over all its parts."""
    epoch_seconds: float = 0.0
    """Of it, on the updates of this epoch."""
    status: str | None = None
    """How it ended: done, stopped early, stopped by budget; solved, where there were no epochs."""
    steps_per_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    """What was recorded of each epoch."""

    def as_json(self) -> dict[str, Any]:
        """A copy that does not change any more."""
        return {**vars(self), "kept": list(self.kept), "history": self.history[-_KEPT_HISTORY:]}

    @property
    def files(self) -> tuple[str, ...]:
        """Those that hold the weights to be scored."""
        return tuple(one["file"] for one in self.kept)


class Clock:
    """Decides when a state is due and when the time is up; it decides nothing that is computed."""

    def __init__(self, config: RunConfig, progress: Progress) -> None:
        self._before, self._started = progress.seconds, time.monotonic()
        self._every_steps, self._every_seconds = save_interval(config.save_every)
        self._most = 60 * config.max_minutes if config.max_minutes else None
        self._saved, self._saved_at = (progress.step, progress.epoch), time.monotonic()

    def seconds(self) -> float:
        return self._before + time.monotonic() - self._started

    def saved(self, progress: Progress) -> None:
        self._saved, self._saved_at = (progress.step, progress.epoch), time.monotonic()

    def is_saved(self, progress: Progress) -> bool:
        return progress.step > 0 and self._saved == (progress.step, progress.epoch)

    def is_due(self, progress: Progress) -> bool:
        if self._every_steps is not None:
            return progress.step - self._saved[0] >= self._every_steps
        assert self._every_seconds is not None
        return time.monotonic() - self._saved_at >= self._every_seconds

    def is_up(self) -> bool:
        return self._most is not None and self.seconds() > self._most
