"""The process that trials are computed in, as it is seen from the run: what crashes, hangs or fills the memory there
takes nobody with it. Imports no TensorFlow."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from pipelines import errors
from pipelines.children import calling, how_it_ended
from pipelines.errors import RunError
from pipelines.workers import VARIABLE

ANSWER = "sixfold trial: "
"""What a line of the process begins with that is meant for the run."""
_CODE = "from pipelines.choices.trial import serve; serve()"
Batch = Literal["usual", "largest"]
"""Of several shapes, that of the median step, or the one that takes most memory."""


@dataclass(frozen=True)
class Outcome:
    """What came of a trial."""

    first: float | None = None
    """Seconds of the first call, compilation included."""
    call: float | None = None
    """Seconds of a later one: the median."""
    step: float | None = None
    """The same of one step."""
    loss: float | None = None
    """Mean over the first calls."""
    steps: int = 0
    """Of the whole run."""
    shapes: int = 1
    """Of batches, each of which XLA compiles."""
    jit: str = "off"
    """Whether it does: on or off."""
    beside: float | None = None
    """Seconds of a step as a multiple of those of the best so far, by turns with it."""
    peak: int | None = None
    """Bytes that the process took at most."""
    solved: bool = False
    """The weights are not trained."""
    reason: str = ""
    """Why there are no numbers."""


class Bench:
    """Starts the process when it is first asked, and again after it was ended.

    Args:
        task: by its name.
    """

    def __init__(self, task: str) -> None:
        self._task = task
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._scratch = tempfile.TemporaryDirectory(prefix="sixfold-")
        self._words = Path(self._scratch.name) / "words"
        """Of its standard error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._scratch.cleanup()

    def about(self, settings: dict[str, Any]) -> dict[str, Any]:
        """{"device": cpu, gpu or tpu; "replicas"; "examples" to train on}.

        Raises:
            SixfoldError: what is wrong with settings, devices or data, as the run itself would say; RunError, where the
                process ends without a word of that.
        """
        answer = self._ask({"what": "about", "settings": settings})
        if "reason" in answer:
            raise RunError(f"auto: no trial can be computed ({answer['reason']}): name a value.")
        return answer

    def trial(self, settings: dict[str, Any], batch: Batch, limit: float, *, better: bool = False) -> Outcome:
        """Train some steps with these settings.

        Args:
            settings: by name, as JSON values; those that are left out are open to what the data decide.
            batch: which batches.
            limit: seconds after which it is given up, from its first step on.
            better: whether the trial before is the best so far, which those to come are held against.

        Raises:
            SixfoldError: as `about`.
        """
        answer = self._ask({"what": "trial", "settings": settings, "batch": batch, "better": better}, limit)
        return Outcome(**answer)

    def _ask(self, request: dict[str, Any], limit: float | None = None) -> dict[str, Any]:
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({**request, "task": self._task, "scratch": self._scratch.name}) + "\n")
            self._process.stdin.flush()
        wait: float | None = None  # reading the data takes as long as it does in the run
        while True:
            try:
                line = self._lines.get(timeout=wait)
            except queue.Empty:
                self._end()
                return {"reason": f"given up after {wait:.0f} s"}
            if line is None:
                return {"reason": self._ending()}
            answer: dict[str, Any] = json.loads(line)
            if answer.get("started"):
                wait = limit
            elif "error" in answer:
                raise errors.named(answer["error"], answer["message"])
            else:
                return answer

    def _start(self) -> None:
        """Alone, whoever trains with the run: it takes no part in that."""
        environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
        self._lines = queue.Queue()
        with self._words.open("w") as words:
            self._process = subprocess.Popen(
                calling(_CODE),
                env={"TF_CPP_MIN_LOG_LEVEL": "3", **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        threading.Thread(target=_read, args=(self._process, self._lines), daemon=True).start()

    def _ending(self) -> str:
        """How the process ended by itself, or the last line of its words."""
        assert self._process is not None
        code = self._process.wait()
        self._end()
        return how_it_ended(code, self._words.read_text(errors="replace"))

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _read(process: "subprocess.Popen[str]", lines: "queue.Queue[str | None]") -> None:
    """On a thread: hand on what is meant for the run, then None."""
    assert process.stdout is not None
    with contextlib.suppress(ValueError, OSError):  # closed while it was read
        for line in process.stdout:
            if line.startswith(ANSWER):
                lines.put(line.removeprefix(ANSWER))
    lines.put(None)
