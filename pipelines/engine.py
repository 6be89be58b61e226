"""One run, from its config to its report: a ledger of stages; where a run was cut off, it goes on."""

import errno
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Collection
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipelines import devices
from pipelines.artefact import read_settings
from pipelines.checkpoints import cannot_write
from pipelines.choices import choose
from pipelines.config import RunConfig, load_config, write_config
from pipelines.console import Console, Silent
from pipelines.errors import ConfigError, Preempted, SixfoldError, StateError, WorkerLost
from pipelines.execution import Execution
from pipelines.interrupts import Interrupts
from pipelines.lock import Lock
from pipelines.report.words import standing
from pipelines.result import Result
from pipelines.resuming import continued, other_ground
from pipelines.runs import STAGES, Run, find_run, open_run, start_manifest
from pipelines.scoring import label
from pipelines.workers import ALONE, place

_OF_THE_COMMAND = {"run_dir": None, "overwrite": False, "allow_changed_data": False}
"""Settings that belong to one command and not to the run."""
_ENTRIES = {
    *("run.yaml", "manifest.json", "events.jsonl", "metrics.json", "baseline.json", "predictions.jsonl", "report.html"),
    *("resamples.safetensors", "MODEL_CARD.md", "model", "state", "figures", "export", "tensorboard", "lock"),
}
"""What a run folder holds; anything else in it is somebody's own."""
_STOPS = 3
"""So often in a row a run is stopped at the same place, and then no scheduler is to start it again."""


@dataclass(frozen=True)
class Command:
    """What was asked for: the settings of the run, and what belongs to this command alone."""

    task: str
    asked: RunConfig
    words: list[str]
    """As typed, for the manifest."""
    wished: Collection[str]
    """Settings that a run that goes on is to have other than it had."""
    overwrite: bool
    allow_changed_data: bool


def execute(
    task_name: str,
    config: RunConfig,
    words: list[str],
    interrupts: Interrupts | None = None,
    wished: Collection[str] = (),
) -> Result | None:
    """Run a task to its report, from where its folder says that it was left; None of a worker that only trains with
    the chief.

    Args:
        task_name: as in the registry.
        config: checked settings; of those that were set, its model_fields_set knows.
        words: the command as typed, for the manifest.
        interrupts: entered already; by default the signals are taken over while the run lasts.
        wished: settings that a run that goes on is to have other than it had.

    Raises:
        SixfoldError: with the exit code that fits; Preempted where a signal came.
    """
    asked = config.model_copy(update=_OF_THE_COMMAND)
    command = Command(task_name, asked, words, wished, config.overwrite, config.allow_changed_data)
    finished = None if config.overwrite else _finished(config.run_dir, command)
    if not place().is_chief:
        if not finished:
            _follow(command, config.run_dir, interrupts)
        return None
    if finished:
        Console().say(f"{finished.path} is finished ({finished.ending()}): nothing to do.")
        return _said(finished)
    _check_sources(config)
    existed = config.run_dir is not None and Path(config.run_dir).exists()
    run = open_run(config.run_dir, task_name, write_config(config, task_name))
    lock = Lock(run.path)
    lock.acquire()
    try:
        with nullcontext(interrupts) if interrupts else Interrupts() as signals:
            signals.last_words = partial(_last_words, run, existed)
            _work(run, command, signals, lock, existed=existed)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise cannot_write(run.path, error) from error
    finally:
        lock.release()
        if not existed:
            _remove_empty(run)
    return _said(run)


def resume(
    folder: Path, changes: dict[str, Any], command: list[str], interrupts: Interrupts | None = None
) -> Result | None:
    """Go on with the run in a folder; changes are settings that may be others from here on.

    Raises:
        SixfoldError: as `execute`; StateError where the folder is no run.
    """
    run = find_run(folder)
    task_name = run.manifest()["task"]
    began = read_settings(run, task_name)
    given = load_config(task_name, file=run.settings, options=changes, typed=True).config if changes else began
    wished = changes.keys() - _OF_THE_COMMAND.keys()
    return execute(task_name, given.model_copy(update={"run_dir": str(folder)}), command, interrupts, wished)


def _follow(command: Command, folder: str | None, interrupts: Interrupts | None) -> None:
    """Train with the chief, whose run is in that folder. What a run writes goes to a folder that is thrown away."""
    if folder is not None and not command.overwrite and "train" in Run(Path(folder)).finished_stages():
        return
    taken_over = nullcontext(interrupts) if interrupts else Interrupts()
    with TemporaryDirectory(prefix="sixfold-") as scratch, taken_over as signals:
        run = Run(Path(scratch))
        try:
            _prepare(run, command, signals).follow()
        except KeyboardInterrupt:
            if signals.received is None:
                raise
            raise Preempted(f"stopped by {signals.received.name} with the other workers.") from None
        except WorkerLost as lost:
            raise WorkerLost(f"stopped, as {lost}.") from lost


def _finished(folder: str | None, command: Command) -> Run | None:
    """The run of that folder, if it is finished; nothing is written for it."""
    if folder is None or not Run(Path(folder)).settings.is_file():
        return None
    run = Run(Path(folder))
    if not run.finished:
        return None
    continued(run, command.task, command.asked, command.wished)  # refuses what it is not
    return run


def _work(run: Run, command: Command, interrupts: Interrupts, lock: Lock, *, existed: bool) -> None:
    """Everything that happens in the folder."""
    fresh = run.is_new
    replaced = _set_aside(run, lock) if command.overwrite and not fresh else None
    run.clear_leftovers()
    try:
        execution = _prepare(run, command, interrupts)
        for stage in execution.go_on():
            if stage == "data" and replaced:
                shutil.rmtree(replaced)
        if not run.events("end"):
            run.record("end", status=execution.status(), best_epoch=execution.best_epoch())
        run.update_manifest(seconds=run.seconds(), files=run.checksums())
    except KeyboardInterrupt:
        if interrupts.received is None:
            raise
        stop = _preempted(run, interrupts, again=replaced is not None)
        if interrupts.is_guest and interrupts.received == signal.SIGINT:
            raise KeyboardInterrupt(str(stop)) from None  # a loop around run() is to end with it
        raise stop from None
    except WorkerLost as lost:
        raise _stopped(run, f"stopped, as {lost},", again=replaced is not None) from lost
    finally:
        stopped = isinstance(sys.exception(), (Preempted, KeyboardInterrupt)) and run.settings.exists()
        if not run.finished_stages() and (replaced or (fresh and not stopped)):
            # Nothing was done: leave all as it was. A run that was only stopped keeps its folder, to go on in.
            _take_back(run, replaced, existed=existed)


def _check_sources(config: RunConfig) -> None:
    """See that a run does not learn from what it is to write."""
    for setting in ("pretrained", "teacher"):
        source = getattr(config, setting)
        both = [Path(folder) for folder in (source, config.run_dir) if folder is not None]
        if len(both) == 2 and both[0].is_dir() and both[0].resolve() == both[1].resolve():
            raise ConfigError(f"{setting}: {source} is the folder of this run itself: choose another with --run-dir.")


def _preempted(run: Run, interrupts: Interrupts, *, again: bool) -> SixfoldError:
    """What a run says that a signal ended."""
    assert interrupts.received is not None
    name = interrupts.received.name
    return _stopped(run, f"stopped by {name}", again=again, signal=name)


def _stopped(run: Run, what: str, *, again: bool, **about: str) -> SixfoldError:
    """The same of whatever ended it; written down with the run."""
    if not run.settings.exists() or (again and not run.finished_stages()):
        return Preempted(f"{what} before anything was done: give the same command again.")
    at = _write_down(run, **about)
    if "step" in at:
        of = " of the pretraining" if at["kind"] == "pretrain" else ""
        what = f"{what} after step {at['step']}{of}, its state saved"
    else:
        what = f"{what} in the stage {at['stage']}, which begins again"
    return _in_vain(run, what, at) or Preempted(f"{what}: {_how_to_go_on(run)}")


def _write_down(run: Run, **about: str) -> dict[str, Any]:
    """Record where a run is stopped."""
    done = run.finished_stages()
    stage = next((stage for stage in STAGES if stage not in done), STAGES[-1])
    saved = run.events("checkpoint")[-1:] if stage == "train" else []
    at = {"kind": saved[0].get("kind", "train"), "step": saved[0]["step"]} if saved else {}
    return run.record("preempted", **about, stage=stage, **at)


def _in_vain(run: Run, what: str, at: dict[str, Any]) -> SixfoldError | None:
    """What a run that was stopped says where the tries before it came no further either. A person who stops it by
    Ctrl-C knows."""
    stops = [one for one in run.events("preempted") if one.get("signal") != "SIGINT"][-_STOPS:]
    places = [tuple(one.get(name) for name in ("stage", "kind", "step")) for one in stops]
    if at.get("signal") == "SIGINT" or len(places) < _STOPS or len(set(places)) > 1:
        return None
    return SixfoldError(
        f"{what}, and so were the {_STOPS - 1} tries before it: another would come no further. Give it more time or "
        f"memory, or let it save more often (save_every), and {_how_to_go_on(run)}"
    )


def _last_words(run: Run, existed: bool, number: signal.Signals) -> SixfoldError:
    """Where the deadline ends the process. What only holds the lock is no run yet, and is not left behind."""
    if run.settings.exists():
        with suppress(OSError):  # of a full disk: the end comes all the same
            at = _write_down(run, signal=number.name)
            if end := _in_vain(run, f"it was in the stage {at['stage']}", at):
                return end
        return Preempted(f"what was saved stands; {_how_to_go_on(run)}")
    if not existed:
        with suppress(OSError):
            (run.path / "lock").unlink()
        _remove_empty(run)
    return Preempted("nothing was done yet: give the same command again.")


def _remove_empty(run: Run) -> None:
    """The folder, if there is nothing in it."""
    with suppress(OSError):
        run.path.rmdir()


def _how_to_go_on(run: Run) -> str:
    return f"go on with sixfold resume {shlex.quote(str(run.path))}"


def finished_result(run: Run) -> Result:
    """What a finished run says of itself."""
    metrics = run.read_json("metrics.json")
    if not (isinstance(metrics, dict) and metrics.get("headline") in metrics.get("scores", {})):
        raise StateError(f"{run.path / 'metrics.json'} is damaged: it has no headline score. Restore it.")
    return Result(run.path, metrics, run.path / "report.html")


def _said(run: Run) -> Result:
    result = finished_result(run)
    _say_result(Console(), run, result)
    return result


def _prepare(run: Run, command: Command, interrupts: Interrupts) -> Execution:
    """Start the devices, then write down what is about to happen."""
    # What comes after training is one process's work.
    workers = ALONE if "train" in run.finished_stages() else place()
    console, asked, changes = Console() if workers.is_chief else Silent(), command.asked, list[str]()
    config, chosen_by = asked, None
    if not run.is_new:
        config, changes = continued(run, command.task, asked, command.wished)
    else:
        config, chosen_by = choose(command.task, asked, console, workers)
    if workers.count > 1:
        console.say(f"workers: waiting for all {workers.count}")
    runtime = devices.start(config, workers)
    console.say(f"device: {runtime.description}")
    if run.is_new:
        about = start_manifest(command.task, run.path, command.words, config.seed, runtime.description)
        asked_for = asked.model_dump(mode="json")
        about |= {"devices": _computing(config, runtime), "asked": asked_for}
        run.write_json("manifest.json", about | ({"chosen_by": chosen_by} if chosen_by else {}))
    else:
        done = ", ".join(run.finished_stages()) or "nothing"
        console.say(f"run: {run.path} goes on; done before: {done}")
        changes += other_ground(run, runtime.description)
        for change in changes:
            console.say(f"changed: {change}")
        run.record("goes on", command=command.words, changes=changes)
    run.write_settings(write_config(config, command.task))
    return Execution(
        run, command.task, config, runtime, console, interrupts, allow_changed_data=command.allow_changed_data
    )


def _computing(config: RunConfig, runtime: devices.Runtime) -> dict[str, Any]:
    """For the manifest: on what and how."""
    how = {name: getattr(config, name) for name in ("backend", "precision", "deterministic")}
    return {**runtime.about, **how}


def _set_aside(run: Run, lock: Lock) -> Path:
    """Move the run that is to be overwritten aside, until the new one has read its data; only ever a run."""
    run.manifest()
    own = sorted(entry.name for entry in run.path.iterdir() if entry.name not in _ENTRIES)
    if own:
        raise ConfigError(
            f"run_dir: {run.path} holds more than a run ({', '.join(own[:5])}): move that, or choose another."
        )
    place = run.path.resolve()
    aside = place.with_name(f".{place.name}.replaced")
    if aside.exists() and not run.finished_stages():
        # A try before this one was killed while it read its data: what it had set aside is what is replaced now.
        shutil.rmtree(place)
    else:
        shutil.rmtree(aside, ignore_errors=True)
        place.rename(aside)
    lock.move_to_new(place)
    return aside


def _take_back(run: Run, replaced: Path | None, *, existed: bool) -> None:
    place = run.path.resolve()
    shutil.rmtree(place, ignore_errors=True)
    if replaced:
        (replaced / "lock").unlink(missing_ok=True)
        replaced.rename(place)
    elif existed:
        place.mkdir()


def _say_result(console: Console, run: Run, result: Result) -> None:
    """The last lines: the score beside the baseline, the report, the command to paste."""
    metrics = result.metrics
    name, score, baseline = metrics["headline"], metrics["scores"][metrics["headline"]], metrics["baseline"]
    verdict = standing(metrics)
    others = [(baseline, "baseline "), *((further, "") for further in metrics.get("baselines", ()))]
    other = "; ".join(f"{what}{_shown(one['scores'][name])}, {one['name']}" for one, what in others) + "."
    console.result(
        f"{label(name)} {_shown(score)} on {metrics['examples']:,} test examples; {other}"
        + (f" {verdict.sentence}" if verdict else "")
    )
    console.result(f"report: {result.report}")
    console.result(f"predict: {_program()} predict {shlex.quote(str(run.path))} INPUT")


def _program() -> str:
    """How the command is called here: by name, or by its path where that is on no search path."""
    beside = Path(sys.executable).parent / "sixfold"
    if shutil.which("sixfold") or not beside.exists():
        return "sixfold"
    near = os.path.relpath(beside)
    return shlex.quote(str(beside) if near.startswith(os.pardir) else near)


def _shown(score: dict[str, Any]) -> str:
    """A value and its interval."""
    interval = "" if score["low"] is None else f" ({score['low']:.4f} to {score['high']:.4f})"
    return f"{score['value']:.4f}{interval}"
