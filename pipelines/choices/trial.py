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
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

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
_LEAST_TURNS = 3
_SECONDS = 3.0
"""After which no further call is made."""


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


@dataclass
class Trial:
    """A training that is ready for its first step, and blocks of it in memory, each with its first step."""

    trainer: "Trainer"
    blocks: list[tuple[int, Any]]

    @property
    def length(self) -> int:
        """Steps of a block, and so of a call."""
        return int(self.blocks[0][1][2].shape[0])

    def calls(self) -> Iterator[tuple[float, float]]:
        """Seconds and loss of one call after the other, without end."""
        for start, block in cycle(self.blocks):
            began = time.perf_counter()
            sums = self.trainer.steps.train(block, self.trainer.rates(start, self.length, 1.0))
            yield time.perf_counter() - began, float(sums[0] / max(sums[1], 1e-12))


class _Told:
    """What is kept from request to request: the data, which all of them share, and the trials that later ones are held
    against."""

    def __init__(self) -> None:
        self._data: Data | None = None
        self._best: Trial | None = None
        self._last: Trial | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Of one request."""
        if request["what"] == "about":
            with self._execution(request) as execution:
                runtime, train = execution.runtime, execution.data.splits["train"]
                return {"device": runtime.device, "replicas": runtime.replicas, "examples": len(train)}
        if request["better"]:
            self._best = self._last
        self._last = None
        gc.collect()
        try:
            return self._tried(request)
        except OutOfMemory:
            if self._best is None:
                return {"reason": "out of memory"}
        self._best = None
        gc.collect()
        try:
            return self._tried(request)
        except OutOfMemory:
            return {"reason": "out of memory"}

    def _tried(self, request: dict[str, Any]) -> dict[str, Any]:
        _forget_peak()
        with self._execution(request) as execution:
            if execution.built.solve is not None:
                return {"solved": True}
            self._last = trial = prepared(execution, request["batch"])
            _tell({"started": True})
            if request["batch"] == "largest":
                answer = timed(trial, execution)
                weigh(trial)
                self._last = None
                return {**answer, "peak": _peak()}
            return {**timed(trial, execution), **({"beside": by_turns(trial, self._best)} if self._best else {})}

    @contextlib.contextmanager
    def _execution(self, request: dict[str, Any]) -> Iterator[Execution]:
        """As the run will be, in a folder that is thrown away."""
        with TemporaryDirectory(dir=request["scratch"]) as scratch:
            task = request["task"]
            config = load_config(task, options=request["settings"]).config
            runtime = devices.start(config)
            run = Run(Path(scratch))
            run.write_json("manifest.json", {"task": task})
            execution = Execution(run, task, config, runtime, Silent(), Interrupts())
            if request["what"] == "trial":
                execution.decide(self._data)
            self._data = execution.data
            yield execution


def prepared(execution: Execution, batch: Batch) -> Trial:
    """The last stage of a training whose settings leave nothing open, and its batches of one shape."""
    from pipelines.fitting import Fitting

    stage = plan(execution.config)[-1]
    trainer = Fitting(execution, caches=False)._trainer(stage, Unsaved(execution.run))
    return Trial(trainer, _blocks(trainer, batch))


def timed(trial: Trial, execution: Execution) -> dict[str, Any]:
    """The first steps: see Outcome."""
    seconds, losses = list[float](), list[float]()
    for took, loss in islice(trial.calls(), _MOST_CALLS):
        seconds.append(took)
        losses.append(loss)
        if len(seconds) >= LOSS_CALLS and sum(seconds[1:]) > _SECONDS:
            break
    call, order = statistics.median(seconds[1:]), trial.trainer.train.order
    steps = trial.trainer.stage.last_epoch * order.steps
    return {
        "first": seconds[0],
        "call": call,
        "step": call / trial.length,
        "loss": statistics.fmean(losses[:LOSS_CALLS]),
        "steps": min(steps, execution.config.stop_step or steps),
        "shapes": order.shapes,
        "jit": trial.trainer.config.jit,
    }


def by_turns(trial: Trial, best: Trial) -> float:
    """How much longer a step takes than one of the best so far, both by turns, so that other work on the machine slows
    them alike; the medians."""
    ours, theirs = list[float](), list[float]()
    for (mine, _), (other, _) in islice(zip(trial.calls(), best.calls(), strict=True), _MOST_CALLS):
        ours.append(mine)
        theirs.append(other)
        if len(ours) >= _LEAST_TURNS and sum(ours) + sum(theirs) > 2 * _SECONDS:
            break
    return (statistics.median(ours) / trial.length) / (statistics.median(theirs) / best.length)


def weigh(trial: Trial) -> None:
    """What else a training holds in memory at a time: a copy of its state, and the steps of validation."""
    held = trial.trainer.steps.state()
    trial.trainer.steps.evaluate(trial.blocks[0][1])
    del held


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
