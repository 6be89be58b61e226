"""One run, from its config to its report: a ledger of stages; where a run was cut off, it starts again."""

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from pipelines import devices
from pipelines.artefact import read_settings
from pipelines.config import RunConfig, shown, write_config
from pipelines.console import Console
from pipelines.errors import ConfigError
from pipelines.execution import Execution
from pipelines.report.words import standing
from pipelines.result import Result
from pipelines.runs import Run, open_run, start_manifest
from pipelines.state import write_bytes

_MAY_DIFFER = {"run_dir", "overwrite", "max_minutes", "stop_step"}
"""Settings that say nothing about what a run computes up to where it stops."""
_ENTRIES = {
    *("run.yaml", "manifest.json", "events.jsonl", "metrics.json", "baseline.json", "predictions.jsonl", "report.html"),
    *("MODEL_CARD.md", "model", "state", "figures", "export", "tensorboard", "lock"),
}
"""What a run folder holds; anything else in it is somebody's own."""


def execute(task_name: str, config: RunConfig, command: list[str]) -> Result:
    """Run a task to its report.

    Raises:
        SixfoldError: with the exit code that fits.
    """
    existed = config.run_dir is not None and Path(config.run_dir).exists()
    run = open_run(config.run_dir, task_name, write_config(config, task_name))
    replaced = _set_aside(run) if config.overwrite else None
    fresh = not any(run.path.iterdir())
    try:
        asked = config.model_copy(update={"run_dir": None, "overwrite": False})
        config = _continued(run, task_name, asked)
        if run.finished:
            Console().say(f"{run.path} is finished ({run.events('end')[-1]['status']}): nothing to do.")
        else:
            execution = _prepare(run, task_name, config, asked, command)
            for stage in execution.go_on():
                if stage == "data" and replaced:
                    shutil.rmtree(replaced)
            run.record("end", status=execution.status(), best_epoch=execution.best_epoch())
            run.update_manifest(seconds=run.seconds(), files=run.checksums())
    except KeyboardInterrupt:
        if run.finished_stages():
            where = f"--run-dir {shlex.quote(str(run.path))}" + (" and without --overwrite" if replaced else "")
            Console().say(f"to go on, give the same command with {where}")
        raise
    finally:
        if fresh and not run.finished_stages():
            # Nothing was done: leave all as it was.
            _take_back(run, replaced, existed=existed)
    result = finished_result(run)
    _say_result(Console(), run, result)
    return result


def finished_result(run: Run) -> Result:
    """What a finished run says of itself."""
    metrics = run.read_json("metrics.json")
    return Result(run.path, metrics, run.path / "report.html")


def _prepare(run: Run, task_name: str, config: RunConfig, asked: RunConfig, command: list[str]) -> Execution:
    """Start the devices, then write down what is about to happen."""
    console = Console()
    runtime = devices.start(config)
    console.say(f"device: {runtime.description}")
    if run.finished_stages():
        console.say(f"run: {run.path} goes on; done before: {', '.join(run.finished_stages())}")
    if not run.settings.exists():
        about = start_manifest(task_name, run.path, command, config.seed, runtime.description)
        run.write_json("manifest.json", {**about, "asked": asked.model_dump(mode="json")})
        write_bytes(run.settings, write_config(config, task_name).encode())
    return Execution(run, task_name, config, runtime, console)


def _continued(run: Run, task_name: str, asked: RunConfig) -> RunConfig:
    """The config to go on with: the asked one in a new folder, the run's own in an existing one, which must agree.

    The run's own says what was asked when it began, and what the data made of it: either may be asked again.
    """
    if not run.settings.exists():
        if any(run.path.iterdir()):
            raise ConfigError(f"run_dir: {run.path} is not empty and no run folder: choose another.")
        return asked
    began, first = read_settings(run, task_name), run.manifest().get("asked", {})
    now = asked.model_dump(mode="json")
    different = [
        f"{name} {shown(getattr(began, name))} there, {shown(value)} here"
        for name, value in asked
        if name not in _MAY_DIFFER and value != getattr(began, name) and now[name] != first.get(name)
    ]
    if run.manifest()["task"] != task_name or different:
        reason = "; ".join(different) or f"of {run.manifest()['task']}"
        raise ConfigError(
            f"run_dir: {run.path} holds a run with other settings ({reason}): "
            "choose another folder, or replace it with --overwrite."
        )
    stop = asked.stop_step or began.stop_step
    config: RunConfig = began.model_copy(update={"max_minutes": asked.max_minutes, "stop_step": stop})
    return config


def _set_aside(run: Run) -> Path | None:
    """Move the run that is to be overwritten aside, until the new one has read its data; only ever a run."""
    if not any(run.path.iterdir()):
        return None
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
    place.mkdir()
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
