"""Some real steps of a run, timed: what the process of a bench computes."""

import contextlib
import gc
import json
import os
import queue
import statistics
import sys
import threading
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines import devices
from pipelines.checkpoints import Unsaved
from pipelines.choices.bench import ANSWER, Batch
from pipelines.config import load_config
from pipelines.console import Silent
from pipelines.errors import OutOfMemory, SixfoldError
from pipelines.execution import Execution
from pipelines.interrupts import Interrupts
from pipelines.runs import Run
from pipelines.stages import plan
from pipelines.task import Data

if TYPE_CHECKING:
    from pipelines.training import Trainer

LOSS_CALLS = 4
"""Whose mean loss is compared, and which are made at least."""
_MOST_CALLS = 12
_SECONDS = 3.0
"""After which no further call is made."""

Tell = Callable[[dict[str, Any]], None]


def serve() -> None:
    """Answer the requests on standard input, a line of JSON each, until the run that asks is gone."""
    # Where memory runs out, it is this process that goes, and no other of the machine.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    requests: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    told = _Told()
    while True:
        request = json.loads(requests.get())
        try:
            answer = told.answer(request)
        except SixfoldError as error:
            answer = {"error": type(error).__name__, "message": str(error)}
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            answer = {"reason": f"{type(error).__name__}: {lines[0]}"}
        _tell(answer)


def _listen(requests: "queue.Queue[str]") -> None:
    for line in sys.stdin:
        requests.put(line)
    os._exit(0)


def _tell(answer: dict[str, Any]) -> None:
    print(ANSWER + json.dumps(answer), flush=True)


class _Told:
    """What is kept from request to request: the data, which all of them share."""

    def __init__(self) -> None:
        self._data: Data | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Of one request."""
        import keras

        with TemporaryDirectory(prefix="sixfold-") as scratch:
            execution = self._execution(request["task"], request["settings"], Path(scratch))
            if request["what"] == "about":
                examples = len(execution.data.splits["train"])
                runtime = execution.runtime
                return {"device": runtime.device, "replicas": runtime.replicas, "examples": examples}
            try:
                return trial(execution, request["batch"], _tell)
            finally:
                del execution
                keras.backend.clear_session()
                gc.collect()

    def _execution(self, task: str, settings: dict[str, Any], scratch: Path) -> Execution:
        """As the run will be, in a folder that is thrown away."""
        config = load_config(task, options=settings).config
        runtime = devices.start(config)
        run = Run(scratch)
        run.write_json("manifest.json", {"task": task})
        execution = Execution(run, task, config, runtime, Silent(), Interrupts())
        execution.decide(self._data)
        self._data = execution.data
        return execution


def trial(execution: Execution, batch: Batch, tell: Tell) -> dict[str, Any]:
    """Train some steps of the last stage; see Outcome.

    Args:
        execution: with settings that nothing is open in.
        batch: which batches.
        tell: told when the first step begins.
    """
    from pipelines.fitting import Fitting

    _forget_peak()
    try:
        if execution.built.solve is not None:
            return {"solved": True}
        stage = plan(execution.config)[-1]
        trainer = Fitting(execution, caches=False)._trainer(stage, Unsaved(execution.run))
        blocks = _blocks(trainer, batch)
        tell({"started": True})
        seconds, losses = _timed(trainer, blocks)
        if batch == "largest":
            # What else a training holds at a time: a copy of its state, and the steps of validation.
            held = trainer.steps.state()
            trainer.steps.evaluate(blocks[0][1])
            del held
    except OutOfMemory:
        return {"reason": "out of memory"}
    order, config = trainer.train.order, execution.config
    call, length = statistics.median(seconds[1:]), int(blocks[0][1][2].shape[0])
    steps = stage.last_epoch * order.steps
    return {
        "first": seconds[0],
        "call": call,
        "step": call / length,
        "loss": float(np.mean(losses)),
        "steps": min(steps, config.stop_step or steps),
        "shapes": order.shapes,
        "peak": _peak(),
    }


def _timed(trainer: "Trainer", blocks: list[tuple[int, Any]]) -> tuple[list[float], list[float]]:
    """Seconds of each call, and the losses of the first."""
    seconds, losses = list[float](), list[float]()
    began = time.perf_counter()
    for start, block in islice(cycle(blocks), _MOST_CALLS):
        before = time.perf_counter()
        sums = trainer.steps.train(block, trainer.rates(start, int(block[2].shape[0]), 1.0))
        seconds.append(time.perf_counter() - before)
        if len(losses) < LOSS_CALLS:
            losses.append(float(sums[0] / max(sums[1], 1e-12)))
        if len(seconds) >= LOSS_CALLS and time.perf_counter() - began - seconds[0] > _SECONDS:
            break
    return seconds, losses


def _blocks(trainer: "Trainer", batch: Batch) -> list[tuple[int, Any]]:
    """Some blocks of one shape, in memory, each with its first step."""
    stream = trainer.train
    order, longest = stream.order, trainer.longest
    buckets = sorted(step.bucket for step in order.epoch(0))
    wanted = buckets[len(buckets) // 2] if batch == "usual" else buckets[-1]
    found = [
        (start, length)
        for start, length in order.blocks(0, 2 * order.steps, longest)
        if order.epoch(start // order.steps)[start % order.steps].bucket == wanted
    ]
    alike = [start for start, length in found if length == found[0][1]][:LOSS_CALLS]
    length = found[0][1]
    return [(start, next(iter(stream.iterate(start, start + length, longest)))) for start in alike]


def _forget_peak() -> None:
    """The most memory that the process has taken is counted from here, where the system has such a count (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Bytes that the process took at most."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
    except (OSError, StopIteration):
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
