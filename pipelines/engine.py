"""One run, from its config to its report: a ledger of stages; where a run was cut off, it starts again."""

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from pipelines import devices
from pipelines.api import Result
from pipelines.config import RunConfig, load_config, shown, write_config
from pipelines.console import Console
from pipelines.errors import ConfigError, SixfoldError
from pipelines.execution import Execution
from pipelines.report.words import standing
from pipelines.runs import Run, open_run, start_manifest
from pipelines.state import write_bytes

_MAY_DIFFER = {"run_dir", "overwrite", "max_minutes", "stop_step"}
"""Settings that say nothing about what a run computes up to where it stops."""


def execute(task_name: str, config: RunConfig, command: list[str]) -> Result:
    """Run a task to its report.

    Raises:
        SixfoldError: with the exit code that fits.
    """
    run = open_run(config.run_dir, task_name, write_config(config, task_name))
    if config.overwrite:
        _empty(run)
    config = _continued(run, task_name, config)
    begun = run.settings.exists()
    if run.finished:
        result = finished_result(run)
        Console().say(f"{run.path} is finished ({run.events('end')[-1]['status']}): nothing to do.")
        _say_result(Console(), run, result)
        return result
    execution = _prepare(run, task_name, config, command)
    try:
        execution.go_on()
    except SixfoldError:
        if not begun and not run.finished_stages():
            # Nothing was done yet: the next try shall not find a folder in its way.
            shutil.rmtree(run.path, ignore_errors=True)
        raise
    except KeyboardInterrupt:
        execution.console.say(
            f"interrupted: to go on, give the same command with --run-dir {shlex.quote(str(run.path))}"
        )
        raise
    run.record("end", status=execution.status(), best_epoch=execution.best_epoch())
    run.update_manifest(seconds=run.seconds(), files=run.checksums())
    result = finished_result(run)
    _say_result(execution.console, run, result)
    return result


def finished_result(run: Run) -> Result:
    """What a finished run says of itself."""
    metrics = run.read_json("metrics.json")
    return Result(run.path, metrics, run.path / "report.html")


def _prepare(run: Run, task_name: str, config: RunConfig, command: list[str]) -> Execution:
    """Start the devices, then write down what is about to happen."""
    console = Console()
    runtime = devices.start(config)
    console.say(f"device: {runtime.description}")
    if run.finished_stages():
        console.say(f"run: {run.path} goes on; done before: {', '.join(run.finished_stages())}")
    if not run.settings.exists():
        run.write_json("manifest.json", start_manifest(task_name, run.path, command, config.seed, runtime.description))
        write_bytes(run.settings, write_config(config, task_name).encode())
    return Execution(run, task_name, config, runtime, console)


def _continued(run: Run, task_name: str, config: RunConfig) -> RunConfig:
    """The config to go on with: the given one in a new folder, the run's own (which must agree) in an existing one."""
    config = config.model_copy(update={"run_dir": None, "overwrite": False})
    if not run.settings.exists():
        if any(run.path.iterdir()):
            raise ConfigError(f"run_dir: {run.path} is not empty and no run folder: choose another.")
        return config
    began = load_config(task_name, file=run.settings).config
    different = [
        f"{name} {shown(getattr(began, name))} there, {shown(value)} here"
        for name, value in config
        if name not in _MAY_DIFFER and value not in (None, "auto", getattr(began, name))
    ]
    if different:
        raise ConfigError(
            f"run_dir: {run.path} holds a run with other settings ({'; '.join(different)}): "
            "choose another folder, or replace it with --overwrite."
        )
    return began.model_copy(
        update={"max_minutes": config.max_minutes, "stop_step": config.stop_step or began.stop_step}
    )


def _empty(run: Run) -> None:
    """Remove the run that is to be overwritten; anything that is no run is left alone."""
    if run.settings.exists():
        shutil.rmtree(run.path)
        run.path.mkdir()


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
    return "sixfold" if shutil.which("sixfold") or not beside.exists() else shlex.quote(os.path.relpath(beside))


def _shown(score: dict[str, Any]) -> str:
    """A value and its interval."""
    interval = "" if score["low"] is None else f" ({score['low']:.4f} to {score['high']:.4f})"
    return f"{score['value']:.4f}{interval}"
