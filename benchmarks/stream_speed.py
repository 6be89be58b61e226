"""Whether the stream ever holds training up: its batches a second alone, over those of the step alone.

    python benchmarks/stream_speed.py [TASK ...] [--turns 5] [--seconds 4]

Each task by itself, in a process of its own: the defaults on its built-in sample, batches fetched, varied and encoded
anew in every epoch as in training, against the compiled step (forward, backward, update) on such batches held in
memory. The two take turns of so many seconds; printed are medians of their batches a second, and the median ratio of
neighbouring turns.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
from training_speed import in_turns, report, trainer_for

from pipelines import devices, registry
from pipelines.config import load_config

_HELD = 40
"""Blocks that the step sees over and over."""


def main(task_name: str, turns: int, seconds: float) -> None:
    """One task."""
    config: Any = load_config(task_name, options={"deterministic": False, "epochs": 100_000}).config
    devices.start(config)
    task = registry.task(task_name)
    data = task.load_data(config)
    config = task.resolve(config, data)
    trainer = trainer_for(config, task, data)
    longest = trainer.config.steps_per_execution
    blocks = iter(trainer.train.blocks(0, 100_000 * trainer.train.steps_per_epoch, longest))
    held = [next(blocks) for _ in range(_HELD)]
    for block in held:  # compiles
        trainer.steps.train(block, _rates(block))
    again = cycle(held)

    def learn() -> int:
        block = next(again)
        trainer.steps.train(block, _rates(block))
        return _steps(block)

    sides = {"stream": _lasting(lambda: _steps(next(blocks)), seconds), "step": _lasting(learn, seconds)}
    report(task_name, "batches/s", in_turns(sides, turns))


def _lasting(work: Callable[[], int], seconds: float) -> Callable[[], int]:
    """A turn: as much of it as takes so long."""

    def turn() -> int:
        end, done = time.perf_counter() + seconds, 0
        while time.perf_counter() < end:
            done += work()
        return done

    return turn


def _steps(block: Any) -> int:
    return int(block[2].shape[0])


def _rates(block: Any) -> np.ndarray:
    return np.full(_steps(block), 1e-6, np.float32)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="*", metavar="TASK")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        main(given.only, given.turns, given.seconds)
    else:
        for name in given.task or registry.TASKS:
            turns = ["--turns", str(given.turns), "--seconds", str(given.seconds)]
            subprocess.run([sys.executable, __file__, "--only", name, *turns], check=True)
