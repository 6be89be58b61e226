"""The training states of a run: written while training goes on, the two newest kept, verified when they are read.

state/train-00000120.safetensors holds all variables after step 120 and, as JSON, everything else that the loop knows;
state/epoch-0005-00000100.safetensors the weights of an epoch that are to be scored, alone or in a mean with others. A
state names those that it counts on by file and digest. A file is only ever whole or not there, and none is removed
before what replaces it is on disk. The states of a pretraining are called pretrain-00000120.safetensors and count on
none; they are removed when the training after it is over.
"""

import errno
import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipelines.console import Console
from pipelines.errors import RunError, StateError
from pipelines.runs import Run
from pipelines.state import load_arrays, save_arrays
from pipelines.workers import Workers

FORMAT = 2
"""Of the states: raised when what they hold changes, and states of another format are refused."""
LAST = "last.safetensors"
"""The weights that a training ended with, where they are scored beside averaged ones."""
_KEPT = 2

Arrays = dict[str, np.ndarray]
Kind = Literal["train", "pretrain"]


@dataclass(frozen=True)
class State:
    """One saved state."""

    step: int
    arrays: Arrays
    progress: dict[str, Any]
    """What the loop knows besides the variables, as JSON values."""
    files: tuple[str, ...] = ()
    """The weights that it counts on."""


@dataclass(frozen=True)
class Weights:
    """An epoch's weights, under the name of their file."""

    name: str
    arrays: Arrays
    about: dict[str, Any]


class Checkpoints:
    """Saves the states of one training.

    `save` and `keep` take copies and return; one thread writes them, the newest state where several wait.
    """

    def __init__(self, run: Run, kind: Kind = "train") -> None:
        self._run, self._folder, self._kind = run, run.path / "state", kind
        self._changed = threading.Condition()
        self._identity = run.identity()
        self._offered: dict[str, Weights] = {}
        self._waiting: tuple[State, list[Weights]] | None = None
        self._digests: dict[str, str] = {}
        self._busy = self._ended = False
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    def save(self, state: State) -> None:
        """Write this state soon.

        Raises:
            RunError: an earlier one could not be written.
        """
        with self._changed:
            self._raise_failure()
            self._offered = {name: self._offered[name] for name in state.files if name not in self._digests}
            self._waiting = (state, list(self._offered.values()))
            self._start()

    def keep(self, name: str, weights: Arrays, about: dict[str, Any]) -> None:
        """Write these weights to a file of this name, with the next state that counts on them."""
        self._offered[name] = Weights(name, weights, {"format": FORMAT, **about})
        self._digests.pop(name, None)

    def write_now(self, step: int, weights: Arrays, about: dict[str, Any]) -> str:
        """Write these weights now, as there is no training to go on with; the name of their file.

        Raises:
            RunError: they cannot be written.
        """
        name = f"epoch-0000-{step:08d}.safetensors"
        try:
            self._folder.mkdir(exist_ok=True)
            self._digests[name] = save_arrays(self._folder / name, weights, {"format": FORMAT, **about})
        except OSError as error:
            raise cannot_write(self._folder, error) from error
        return name

    def wait(self) -> None:
        """Until all is on disk.

        Raises:
            RunError: it could not be written.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._failure or not (self._busy or self._waiting))
            self._raise_failure()

    def close(self) -> None:
        """End the thread, after what it is writing; the next save begins another."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread:
            self._thread.join()
        self._thread, self._ended = None, False

    def digest(self, name: str) -> str:
        """Of weights that are on disk."""
        return self._digests[name]

    def newest(self, console: Console) -> State | None:
        """The newest state that is whole, with the weights that it counts on; None where none was ever saved.

        Raises:
            StateError: none of those that were saved can be used.
        """
        saved = self._run.checkpoints(self._kind)
        found = self._states()
        troubles = []
        for file in reversed(found):
            try:
                state = self.read(file)
            except StateError as error:
                troubles.append((file, str(error)))
                continue
            if troubles:
                reasons = " ".join(reason for _, reason in troubles)
                console.say(f"warning: {reasons} Going back to the state of step {state.step}.")
            for unusable, _ in troubles:
                unusable.unlink(missing_ok=True)
            return state
        if saved and not found:
            raise StateError(
                f"{self._folder} holds no training state, though one of step {saved[-1]['step']} was saved: "
                "restore it, or start again with sixfold run --overwrite."
            )
        if troubles:
            reasons = " ".join(reason for _, reason in troubles)
            raise StateError(f"no training state can be used: {reasons} Start again with sixfold run --overwrite.")
        return None

    def replace_all(self, state: State) -> None:
        """Make this the only state."""
        self.save(state)
        self.wait()
        for file in self._states():
            if file.name != self._name(state):
                file.unlink()

    def remove(self) -> None:
        """Remove all states."""
        for file in self._states():
            file.unlink()

    def read(self, file: Path) -> State:
        """One state, with the weights that it counts on verified.

        Raises:
            StateError: it cannot be used.
        """
        arrays, about, _ = load_arrays(file)
        if about.get("format") != FORMAT:
            raise StateError(f"{file} is of another version of Sixfold (format {about.get('format')}, not {FORMAT}).")
        if about["run"] != self._identity:
            raise StateError(f"{file} is of another run.")
        for one in about["weights"]:
            load_weights(self._folder / one["file"], one["sha256"])
            self._digests[one["file"]] = one["sha256"]
        return State(about["step"], arrays, about["progress"], tuple(one["file"] for one in about["weights"]))

    def _states(self) -> list[Path]:
        return sorted(self._folder.glob(f"{self._kind}-*.safetensors"))

    def _name(self, state: State) -> str:
        return f"{self._kind}-{state.step:08d}.safetensors"

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="checkpoints", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _raise_failure(self) -> None:
        if self._failure is None:
            return
        failure, self._failure = self._failure, None
        if isinstance(failure, OSError):
            raise cannot_write(self._folder, failure) from failure
        raise failure

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if self._waiting is None:
                    return
                (state, weights), self._waiting = self._waiting, None
                self._busy = True
            try:
                self._write(state, weights)
            except BaseException as error:
                self._failure = error
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _write(self, state: State, weights: list[Weights]) -> None:
        started = time.perf_counter()
        self._folder.mkdir(exist_ok=True)
        self._run.sync_events()
        for one in weights:
            self._digests[one.name] = save_arrays(self._folder / one.name, one.arrays, one.about)
        about = {
            "format": FORMAT,
            "run": self._identity,
            "step": state.step,
            "weights": [{"file": name, "sha256": self._digests[name]} for name in state.files],
            "progress": state.progress,
        }
        save_arrays(self._folder / self._name(state), state.arrays, about)
        seconds = round(time.perf_counter() - started, 3)
        self._run.record("checkpoint", kind=self._kind, step=state.step, seconds=seconds)
        self._prune()

    def _prune(self) -> None:
        """Remove the states but the newest, and the weights that none of those kept counts on."""
        states = self._states()
        for file in states[:-_KEPT]:
            file.unlink()
        counted = {name for file in states[-_KEPT:] for name in _counts_on(file)}
        for file in self._folder.glob("epoch-*.safetensors"):
            if file.name not in counted:
                file.unlink()


class Unsaved(Checkpoints):
    """Of a worker that is not the chief: it saves nothing."""

    def save(self, state: State) -> None:
        """Nothing."""

    def keep(self, name: str, weights: Arrays, about: dict[str, Any]) -> None:
        """Nothing."""


def shared(state: State | None, workers: Workers) -> State | None:
    """The chief's state, on every worker."""
    from safetensors.numpy import load, save

    if workers.count == 1:
        return state
    about = (state.step, state.progress, state.files) if state else None
    told = json.loads(workers.from_chief(json.dumps(about).encode()))
    arrays = workers.from_chief(save(state.arrays) if state else b"")
    return State(told[0], load(arrays), told[1], tuple(told[2])) if told else None


def load_weights(path: Path, digest: str) -> Arrays:
    """An epoch's weights, if they are those that are counted on.

    Raises:
        StateError: the file is missing, damaged or another.
    """
    weights, _, found = load_arrays(path)
    if found != digest:
        raise StateError(f"{path} holds other weights than those that were saved.")
    return weights


def load_into(variables: Mapping[str, Any], folder: Path, files: Sequence[Mapping[str, Any]]) -> None:
    """Give variables, by the names of their weights, the mean of those in some files, each named with its digest.

    Raises:
        StateError: a file is missing, damaged or another, or of another model.
    """
    weights = mean_weights(load_weights(folder / one["file"], one["sha256"]) for one in files)
    for name, variable in variables.items():
        if name not in weights or weights[name].shape != tuple(variable.shape):
            raise StateError(
                f"{folder / files[0]['file']} does not fit the model ({name} differs): start again with sixfold run "
                "--overwrite."
            )
        variable.assign(weights[name])


def mean_weights(epochs: Iterable[Arrays]) -> Arrays:
    """The mean of the weights of several epochs, and of the statistics of norms, in their order; what is no real
    number, as seeds are, as the last has it."""
    sums: Arrays = {}
    last: Arrays = {}
    count = 0
    for last in epochs:
        count += 1
        for name, array in last.items():
            if "float" in array.dtype.name:
                wide = array.astype(np.float64)
                sums[name] = sums[name] + wide if name in sums else wide
    return {**last, **{name: (total / count).astype(last[name].dtype) for name, total in sums.items()}}


def cannot_write(where: Path, error: OSError) -> RunError:
    """What a run ends with when the system takes no more bytes."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(
            f"no space is left for {where}: make room, then give the same command again, or go on with sixfold resume; "
            "what was saved before is intact."
        )
    return RunError(f"{where} cannot be written ({error.strerror}): what was saved before is intact.")


def _counts_on(file: Path) -> list[str]:
    """The weights that a state names; the header of the file is enough. None too where it is damaged."""
    try:
        with file.open("rb") as opened:
            header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
        return [str(one["file"]) for one in json.loads(header["__metadata__"]["sixfold"])["weights"]]
    except (ValueError, KeyError, TypeError, OverflowError, MemoryError):
        return []
