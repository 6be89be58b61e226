"""Kill real runs on purpose, let them go on, and compare what they leave with the same run left alone.

python tests/faults.py                     the whole matrix of every task, a table on standard output
python tests/faults.py --few --json        the trials of the default tests
python tests/faults.py --backend jax ...   on the other backend

Each run is a process of its own, forked from this one, which has loaded TensorFlow and computed nothing. A fault is
planted by replacing one function in the process that is to die; what dies is the real program, by a real signal.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

SMALL = {"limit": 80, "epochs": 6, "batch_size": 16, "save_every": "2 steps", "learning_rate": 0.02, "jit": "off"}
"""Five steps an epoch, thirty in all, too few to compile for."""
SHALLOW = {"layers": 1, "width": 32, "mels": 20}
"""Where a task has it: what a large network does, a small one shows sooner."""

FACTORS: dict[str, tuple[Any, Any]] = {
    "dropout": (0.0, 0.3),
    "augment": ("none", "crop"),
    "accumulate": (1, 2),
    "average": (None, 0.9),
    "patience": (None, 3),
    "schedule": ("cosine", "plateau"),
    "steps_per_execution": (1, 3),
}
"""Off and on; those that a task does not have are left out."""

WORKERS = 2

PAIRS = ((0, 0, 0, 0, 0, 0, 0), (0, 0, 0, 1, 1, 1, 1), (0, 1, 1, 0, 0, 1, 1), (0, 1, 1, 1, 1, 0, 0)) + (
    (1, 0, 1, 0, 1, 0, 1), (1, 0, 1, 1, 0, 1, 0), (1, 1, 0, 0, 1, 1, 0), (1, 1, 0, 1, 0, 0, 1),
)  # fmt: skip
"""The orthogonal array L8: every pair of factors meets in all four combinations (Taguchi)."""


@dataclass(frozen=True)
class Fault:
    """Where a run is killed: at the n-th `place`, by a signal."""

    place: str
    """step, validation, write (half of a state is on disk), rename (a whole one, not renamed), or a stage's name."""
    at: int
    signal: str = "KILL"

    def __str__(self) -> str:
        return f"{self.signal} {self.place} {self.at}"


@dataclass(frozen=True)
class Trial:
    """One run with its faults, one after the other."""

    task: str
    settings: dict[str, Any]
    faults: tuple[Fault, ...]
    forgetful: bool = False
    """Whether it goes on without the saved seed generators, and so must differ: what shows that a trial can fail."""

    def __str__(self) -> str:
        on = [name for name, (off, _) in FACTORS.items() if self.settings.get(name, off) != off]
        on += ["pretraining"] if "pretrain_on" in self.settings else []
        on += [f"mean of the {self.settings['average_which']}"] if "average_which" in self.settings else []
        forgetful = ", without its seeds" if self.forgetful else ""
        return f"{self.task}, {' + '.join(on) or 'plain'}, {', then '.join(map(str, self.faults))}{forgetful}"


def combinations(task: str) -> list[dict[str, Any]]:
    """The settings of a task in which every pair of factors meets."""
    from pipelines import registry

    fields = registry.config_class(task).model_fields
    small = {**SMALL, **{name: value for name, value in SHALLOW.items() if name in fields}}
    return [
        {**small, **{name: FACTORS[name][on] for name, on in zip(FACTORS, row, strict=True) if name in fields}}
        for row in PAIRS
    ]


def matrix(task: str) -> list[Trial]:
    """All trials of a task."""
    rng = random.Random(0)
    trials = []
    for settings in combinations(task):
        faults = [Fault("step", step) for step in sorted(rng.sample(range(1, 21), 4))]
        faults += [Fault("step", rng.randint(1, 20), name) for name in ("TERM", "INT", "USR1")]
        faults += [Fault("validation", rng.randint(1, 6)), Fault("write", rng.randint(1, 6)), Fault("rename", 3)]
        faults += [Fault(stage, rng.randint(0, 60)) for stage in ("data", "baseline", "score", "export", "report")]
        trials += [Trial(task, settings, (fault,)) for fault in faults]
        four = (Fault("step", 2), Fault("step", 9), Fault("write", 2), Fault("score", 20))
        trials.append(Trial(task, settings, four))
    kills = [Fault("step", step) for step in (1, 4, 9, 11, 14)]
    trials += pretrained(task, [*kills, Fault("write", 2), Fault("rename", 4), Fault("step", 7, "TERM")])
    trials += averaged(task, [*kills, Fault("write", 5), Fault("rename", 8), Fault("validation", 4, "TERM")])
    return trials + forgetful(task)


def few(task: str) -> list[Trial]:
    """Of the first task runs in which every place and every factor occurs, each killed at several places, one after the
    other; of the others, which run by the same code, one of its own kind."""
    from pipelines import registry

    rows = combinations(task)
    if task != next(iter(registry.TASKS)):
        settings = forgetful(task)[0].settings if forgetful(task) else rows[1]
        own = (Fault("step", 13), Fault("write", 2), Fault("step", 7, "TERM"), Fault("export", 40))
        return [Trial(task, settings, own), *pretrained(task, [Fault("step", 12)]), *forgetful(task)]
    chains = {
        3: (Fault("step", 3), Fault("write", 4), Fault("step", 7, "TERM"), Fault("baseline", 50)),
        4: (Fault("step", 13), Fault("rename", 3), Fault("validation", 2, "INT"), Fault("export", 40)),
        6: (
            Fault("step", 1), Fault("validation", 2), Fault("step", 6, "USR1"), Fault("score", 20),
            Fault("report", 10, "TERM"),
        ),
    }  # fmt: skip
    trials = [Trial(task, rows[row], faults) for row, faults in chains.items()]
    trials += averaged(task, [Fault("write", 6), Fault("step", 18)])
    return trials + pretrained(task, [Fault("step", 4), Fault("step", 12)]) + forgetful(task)


def pretrained(task: str, faults: list[Fault]) -> list[Trial]:
    """Trials of a run with ten steps of pretraining before its own, where the task can do that."""
    from pipelines import registry

    if registry.task(task).pretraining is None:
        return []
    settings = {**combinations(task)[0], "epochs": 2, "pretrain_on": "sample", "pretrain_epochs": 2}
    return [Trial(task, settings, (fault,)) for fault in faults]


def averaged(task: str, faults: list[Fault]) -> list[Trial]:
    """Trials of a run that scores the mean of several epochs, by turns the best and the last."""
    kinds = [{"average_epochs": 2, "average_which": which, "learning_rate": 0.1} for which in ("best", "last")]
    return [Trial(task, {**combinations(task)[0], **kinds[n % 2]}, (fault,)) for n, fault in enumerate(faults)]


def forgetful(task: str) -> list[Trial]:
    """A trial that must fail, where the task has dropout."""
    rows = [row for row in combinations(task) if row.get("dropout")]
    return [Trial(task, row, (Fault("step", 9),), forgetful=True) for row in rows[:1]]


def run_trials(trials: list[Trial], backend: str, folder: Path) -> Iterator[tuple[Trial, list[str]]]:
    """Each trial with what differs from the run left alone: nothing, if all is well."""
    kinds = {key(trial): trial for trial in trials}
    with multiprocessing.get_context("fork").Pool(WORKERS) as pool:
        whole = pool.map(partial(left_alone, backend=backend, folder=folder), kinds.values(), chunksize=1)
        expected = dict(zip(kinds, whole, strict=True))
        work = [(trial, backend, folder / f"trial-{n}", expected[key(trial)]) for n, trial in enumerate(trials)]
        yield from zip(trials, pool.imap(broken, work, chunksize=1), strict=True)


def key(trial: Trial) -> str:
    """Names the run that a trial is compared with."""
    return json.dumps([trial.task, trial.settings])


def left_alone(trial: Trial, backend: str, folder: Path) -> dict[str, Any]:
    """What the trial's run leaves when nobody kills it."""
    place = folder / f"whole-{hashlib.sha256(key(trial).encode()).hexdigest()[:8]}"
    code = in_child(words(trial, backend, place), place.with_suffix(".log"), None)
    assert code == 0, place.with_suffix(".log").read_text()
    return leavings(place)


def broken(work: tuple[Trial, str, Path, dict[str, Any]]) -> list[str]:
    """Kill it at each fault in turn, let it end, compare."""
    trial, backend, place, whole = work
    log, problems = place.with_suffix(".log"), []
    for number, fault in enumerate(trial.faults):
        command = words(trial, backend, place) if number % 2 == 0 else ["resume", str(place)]
        code = in_child(command, log, fault)
        expected = -signal.SIGKILL if fault.signal == "KILL" else 75
        if code != expected:
            problems.append(f"{fault} ended in {code}, not in {expected}: {log.read_text()[-1500:]}")
    again = ["resume", str(place)] if (place / "run.yaml").exists() else words(trial, backend, place)
    code = in_child(again, log, None, forgetful=trial.forgetful)
    if code != 0:
        return [*problems, f"going on ended in {code}: {log.read_text()[-2000:]}"]
    found = leavings(place)
    return problems + [f"{name} differs" for name in whole if found.get(name) != whole[name]]


def words(trial: Trial, backend: str, place: Path) -> list[str]:
    """The command line of the trial's run."""
    options = {"backend": backend, "run_dir": place, **{k: v for k, v in trial.settings.items() if v is not None}}
    pairs = [(f"--{name.replace('_', '-')}", str(value)) for name, value in options.items()]
    return ["run", trial.task, *(word for pair in pairs for word in pair)]


def in_child(command: list[str], log: Path, fault: Fault | None, *, forgetful: bool = False) -> int:
    """The exit code of the command in a process of its own, minus the number where a signal killed it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with log.open("a") as file, redirect_stdout(file), redirect_stderr(file):
                from pipelines.cli import main

                if fault:
                    plant(fault)
                if forgetful:
                    forget_seeds()
                try:
                    code = main(command)
                except BaseException:
                    traceback.print_exc()  # to the log, as nothing comes after this
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def plant(fault: Fault) -> None:
    """Make this process die at its n-th pass of a place."""
    from pipelines import checkpoints, devices
    from pipelines.runs import Run

    bomb = Bomb(fault)
    if fault.place in ("step", "validation"):
        devices.Runtime.steps = bomb.in_steps(devices.Runtime.steps)  # type: ignore[method-assign]
    elif fault.place in ("write", "rename"):
        checkpoints.save_arrays = bomb.in_writing(checkpoints.save_arrays)  # type: ignore[attr-defined]
    else:
        Run.stage = bomb.in_stage(Run.stage)  # type: ignore[method-assign]


class Bomb:
    """Counts the passes of a place; at the n-th it kills its own process."""

    def __init__(self, fault: Fault) -> None:
        self.fault, self.passed, self.number = fault, 0, getattr(signal, f"SIG{fault.signal}")

    def tick(self, passes: int = 1) -> None:
        """So many passes more."""
        before, self.passed = self.passed, self.passed + passes
        if before < self.fault.at <= self.passed:
            self.go_off()

    def go_off(self) -> None:
        """Send the signal; nothing survives KILL, not for a moment."""
        os.kill(os.getpid(), self.number)
        if self.number == signal.SIGKILL:
            time.sleep(60)

    def in_steps(self, make: Callable[..., Any]) -> Callable[..., Any]:
        """After a block of updates, or of validation."""
        method = "train" if self.fault.place == "step" else "evaluate"

        def made(*args: Any) -> Any:
            steps = make(*args)
            function = getattr(steps, method)

            def counted(block: Any, *more: Any) -> Any:
                result = function(block, *more)
                self.tick(int(block[2].shape[0]) if method == "train" else 1)
                return result

            setattr(steps, method, counted)
            return steps

        return made

    def in_writing(self, save: Callable[..., str]) -> Callable[..., str]:
        """While a file of the state has half of its bytes, or all of them and not yet its name."""

        def saved(path: Path, *args: Any) -> str:
            kept = path.read_bytes() if path.exists() else None
            digest = save(path, *args)
            if self.passed + 1 == self.fault.at:
                aside = path.with_name(f".{path.name}.{os.getpid()}")
                path.rename(aside)
                if kept is not None:
                    path.write_bytes(kept)
                if self.fault.place == "write":
                    os.truncate(aside, aside.stat().st_size // 2)
            self.tick()
            return digest

        return saved

    def in_stage(self, begin: Callable[..., Any]) -> Callable[..., Any]:
        """So many milliseconds after a stage began."""

        def stage(run: Any, name: str, *more: Any) -> Any:
            if name == self.fault.place:
                threading.Timer(self.fault.at / 1000, self.go_off).start()
            return begin(run, name, *more)

        return stage


def forget_seeds() -> None:
    """Go on with the seed generators of a new model."""
    from pipelines import devices

    make = devices.Runtime.steps

    def made(*args: Any) -> Any:
        steps = make(*args)
        load, own = steps.load_state, steps.state()
        seeds = {name: one for name, one in own.items() if one.dtype.kind in "iu" and "optimizer" not in name}
        steps.load_state = lambda state: load({**state, **seeds})
        return steps

    devices.Runtime.steps = made  # type: ignore[method-assign]


def leavings(place: Path) -> dict[str, Any]:
    """What must be the same to the bit; clocks left out."""
    from pipelines.runs import Run
    from pipelines.state import load_arrays

    run = Run(place)
    clocks = {"time", "seconds", "examples_per_second"}
    events = [*run.events("pretraining"), *run.events("step"), *run.events("epoch"), *run.events("end")]
    arrays, _, _ = load_arrays(max((place / "state").glob("train-*.safetensors")))
    same = ["metrics.json", "baseline.json", "predictions.jsonl", "model/model.keras"]
    # TensorBoard's files have the time in their names.
    names = {str(Path(name).parent) if "tfevents" in name else name for name in run.manifest()["files"]}
    return {
        "the last state": {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()},
        # A file of arrays says what it is of in any order.
        "the resamples": load_arrays(place / "resamples.safetensors")[2],
        "the weights to be scored": run.events("trained")[-1]["weights"],
        "the history": [{name: value for name, value in one.items() if name not in clocks} for one in events],
        "run.yaml": [line for line in (place / "run.yaml").read_text().splitlines() if "run_dir" not in line],
        **{name: hashlib.sha256((place / name).read_bytes()).hexdigest() for name in same},
        # Which states are there besides the last depends on how fast the disk was.
        "the list of files": sorted(name for name in names if not name.startswith("state/")),
    }


def main() -> int:
    """The trials that were asked for, one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--backend", default="tensorflow")
    parser.add_argument("--task", action="append")
    arguments = parser.parse_args()
    from pipelines import devices, registry

    devices.import_backend(arguments.backend)
    import pipelines.engine  # noqa: F401  # what every child needs is loaded once

    choose = few if arguments.few else matrix
    trials = [trial for task in arguments.task or registry.TASKS for trial in choose(task)]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for trial, problems in run_trials(trials, arguments.backend, Path(folder)):
            wrong = problems if not trial.forgetful else [] if problems else ["equal, and it must not be"]
            failed += bool(wrong)
            told = "; ".join(wrong) or ("differs, as it must" if trial.forgetful else "equal")
            print(json.dumps([str(trial), wrong]) if arguments.json else f"{trial}: {told}", flush=True)
    if not arguments.json:
        print(f"{len(trials) - failed} of {len(trials)} trials ended as they must ({arguments.backend})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
