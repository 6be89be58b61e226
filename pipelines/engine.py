"""One run, from its config to its report: a ledger of stages; where a run was cut off, it goes on."""

import errno
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from pipelines import devices
from pipelines.artefact import read_settings
from pipelines.checkpoints import cannot_write
from pipelines.config import RunConfig, load_config, resuming_of, shown, write_config
from pipelines.console import Console
from pipelines.errors import ConfigError, Preempted
from pipelines.execution import Execution
from pipelines.interrupts import Interrupts
from pipelines.lock import Lock
from pipelines.report.words import standing
from pipelines.result import Result
from pipelines.runs import STAGES, Run, find_run, open_run, start_manifest, versions
from pipelines.state import write_bytes

_OF_THE_COMMAND = {"run_dir": None, "overwrite": False, "allow_changed_data": False}
"""Settings that belong to one command and not to the run."""
_ENTRIES = {
    *("run.yaml", "manifest.json", "events.jsonl", "metrics.json", "baseline.json", "predictions.jsonl", "report.html"),
    *("MODEL_CARD.md", "model", "state", "figures", "export", "tensorboard", "lock"),
}
"""What a run folder holds; anything else in it is somebody's own."""


def execute(task_name: str, config: RunConfig, command: list[str], *, hard: bool = False) -> Result:
    """Run a task to its report, from where its folder says that it was left.

    Args:
        task_name: as in the registry.
        config: checked settings.
        command: as typed, for the manifest.
        hard: the process is ours to end when a signal comes (see Interrupts).

    Raises:
        SixfoldError: with the exit code that fits; Preempted where a signal came.
    """
    finished = _finished(task_name, config)
    if finished:
        Console().say(f"{finished.path} is finished ({finished.events('end')[-1]['status']}): nothing to do.")
        return _said(finished)
    existed = config.run_dir is not None and Path(config.run_dir).exists()
    run = open_run(config.run_dir, task_name, write_config(config, task_name))
    lock = Lock(run.path)
    lock.acquire()
    try:
        with Interrupts(hard=hard) as interrupts:
            interrupts.last_words = f"the last saved state stands; {_how_to_go_on(run)}"
            _work(run, task_name, config, command, interrupts, lock, existed=existed)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise cannot_write(run.path, error) from error
    finally:
        lock.release()
    return _said(run)


def resume(folder: Path, changes: dict[str, Any], command: list[str], *, hard: bool = False) -> Result:
    """Go on with the run in a folder; changes are settings that may be others from here on.

    Raises:
        SixfoldError: as `execute`; StateError where the folder is no run.
    """
    run = find_run(folder)
    task_name = run.manifest()["task"]
    began = read_settings(run, task_name)
    given = load_config(task_name, file=run.settings, options=changes, typed=True).config if changes else began
    return execute(task_name, given.model_copy(update={"run_dir": str(folder)}), command, hard=hard)


def _finished(task_name: str, config: RunConfig) -> Run | None:
    """The run of that folder, if it is finished and is to stay; nothing is written for it."""
    if config.run_dir is None or config.overwrite or not Run(Path(config.run_dir)).settings.is_file():
        return None
    run = Run(Path(config.run_dir))
    if not run.finished:
        return None
    _continued(run, task_name, config.model_copy(update=_OF_THE_COMMAND))
    return run


def _work(
    run: Run,
    task_name: str,
    config: RunConfig,
    command: list[str],
    interrupts: Interrupts,
    lock: Lock,
    *,
    existed: bool,
) -> None:
    """Everything that happens in the folder."""
    fresh = run.is_new
    replaced = _set_aside(run, lock) if config.overwrite and not fresh else None
    run.clear_leftovers()
    try:
        asked = config.model_copy(update=_OF_THE_COMMAND)
        execution = _prepare(run, task_name, asked, command, interrupts, allow_changed_data=config.allow_changed_data)
        for stage in execution.go_on():
            if stage == "data" and replaced:
                shutil.rmtree(replaced)
        if not run.events("end"):
            run.record("end", status=execution.status(), best_epoch=execution.best_epoch())
        run.update_manifest(seconds=run.seconds(), files=run.checksums())
    except KeyboardInterrupt:
        if interrupts.received is None:
            raise
        raise _preempted(run, interrupts, again=replaced is not None) from None
    finally:
        stopped = isinstance(sys.exception(), Preempted) and run.settings.exists()
        if not run.finished_stages() and (replaced or (fresh and not stopped)):
            # Nothing was done: leave all as it was. A run that was only stopped keeps its folder, to go on in.
            _take_back(run, replaced, existed=existed)


def _preempted(run: Run, interrupts: Interrupts, *, again: bool) -> Preempted:
    """What a run says that a signal ended."""
    assert interrupts.received is not None
    name, done = interrupts.received.name, run.finished_stages()
    if not run.settings.exists() or (again and not done):
        return Preempted(f"stopped by {name} before anything was done: give the same command again.")
    stage = next((stage for stage in STAGES if stage not in done), STAGES[-1])
    saved = run.events("checkpoint")
    if stage == "train" and saved:
        of = " of the pretraining" if saved[-1].get("kind") == "pretrain" else ""
        where = f"after step {saved[-1]['step']}{of}, its state saved"
    else:
        where = f"in the stage {stage}, which begins again"
    run.record("preempted", signal=name, stage=stage)
    return Preempted(f"stopped by {name} {where}: {_how_to_go_on(run)}")


def _how_to_go_on(run: Run) -> str:
    return f"go on with sixfold resume {shlex.quote(str(run.path))}"


def finished_result(run: Run) -> Result:
    """What a finished run says of itself."""
    metrics = run.read_json("metrics.json")
    return Result(run.path, metrics, run.path / "report.html")


def _said(run: Run) -> Result:
    result = finished_result(run)
    _say_result(Console(), run, result)
    return result


def _prepare(
    run: Run, task_name: str, asked: RunConfig, command: list[str], interrupts: Interrupts, *, allow_changed_data: bool
) -> Execution:
    """Start the devices, then write down what is about to happen."""
    console = Console()
    config, changes = (asked, []) if run.is_new else _continued(run, task_name, asked)
    runtime = devices.start(config)
    console.say(f"device: {runtime.description}")
    if run.is_new:
        about = start_manifest(task_name, run.path, command, config.seed, runtime.description)
        run.write_json("manifest.json", {**about, "asked": asked.model_dump(mode="json")})
    else:
        done = ", ".join(run.finished_stages()) or "nothing"
        console.say(f"run: {run.path} goes on; done before: {done}")
        changes = changes + _other_ground(run, runtime)
        for change in changes:
            console.say(f"changed: {change}")
        run.record("goes on", command=command, changes=changes)
    write_bytes(run.settings, write_config(config, task_name).encode())
    return Execution(run, task_name, config, runtime, console, interrupts, allow_changed_data=allow_changed_data)


def _other_ground(run: Run, runtime: devices.Runtime) -> list[str]:
    """What is not as it was when the run began, so that its bits may differ from here on."""
    manifest = run.manifest()
    before, now = {**manifest["versions"], "device": manifest["device"]}, {**versions(), "device": runtime.description}
    return [
        f"{name} was {before[name]} and is {now.get(name, 'gone')}: the result may differ in its last bits"
        for name in before
        if before[name] != now.get(name)
    ]


def _continued(run: Run, task_name: str, asked: RunConfig) -> tuple[RunConfig, list[str]]:
    """The config to go on with, and what changes with it: the run's own, which the asked one must agree with but for
    what may change.

    The run's own says what was asked when it began, and what the data made of it: either may be asked again.

    Raises:
        ConfigError: a setting differs that decides the result.
    """
    if not run.settings.exists():
        raise ConfigError(f"run_dir: {run.path} is not empty and no run folder: choose another.")
    began, first = read_settings(run, task_name), run.manifest().get("asked", {})
    now = asked.model_dump(mode="json")
    changes, refused = {}, []
    for name, value in asked:
        old = getattr(began, name)
        if value == old or now[name] == first.get(name):
            continue
        reason = _refusal(run, name, old, value, resuming_of(type(asked).model_fields[name]))
        if reason is None:
            changes[name] = value
        else:
            refused.append(f"{name} {shown(old)} there, {shown(value)} here{reason}")
    if run.manifest()["task"] != task_name or refused:
        what = "; ".join(refused) or f"of {run.manifest()['task']}"
        raise ConfigError(
            f"run_dir: {run.path} holds a run with other settings ({what}): "
            "choose another folder, or replace it with --overwrite."
        )
    told = [f"{name} from {shown(getattr(began, name))} to {shown(value)}" for name, value in changes.items()]
    return began.model_copy(update=changes), told


def _refusal(run: Run, name: str, old: Any, new: Any, rule: str) -> str | None:
    """Why a setting may not be another when a run goes on; None where it may."""
    if rule == "fixed":
        return ""
    if rule == "grows":
        if new < old:
            return f", and {name} may only grow"
        if "train" in run.finished_stages():
            return ", and its training is over"
    return None


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
    lock.release()
    if aside.exists() and not run.finished_stages():
        # A try before this one was killed while it read its data: what it had set aside is what is replaced now.
        shutil.rmtree(place)
    else:
        shutil.rmtree(aside, ignore_errors=True)
        place.rename(aside)
    place.mkdir()
    lock.acquire()
    return aside


def _take_back(run: Run, replaced: Path | None, *, existed: bool) -> None:
    place = run.path.resolve()
    shutil.rmtree(place, ignore_errors=True)
    if replaced:
        replaced.rename(place)
    elif existed:
        place.mkdir()


def _say_result(console: Console, run: Run, result: Result) -> None:
    """The last lines: the score beside the baseline, the report, the command to paste."""
    metrics = result.metrics
    name, score, baseline = metrics["headline"], metrics["scores"][metrics["headline"]], metrics["baseline"]
    verdict = standing(metrics)
    other = f"baseline {_shown(baseline['scores'][name])}, {baseline['name']}."
    console.result(
        f"{name} {_shown(score)} on {metrics['examples']:,} test examples; {other}"
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
