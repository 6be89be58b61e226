"""What may be another when a run goes on: settings, versions, devices."""

from collections.abc import Collection
from typing import Any

from pipelines.artefact import read_settings
from pipelines.config import RunConfig, resuming_of, shown
from pipelines.errors import ConfigError, StateError
from pipelines.runs import Run, versions
from pipelines.stages import plan


def other_ground(run: Run, device: str) -> list[str]:
    """What is not as it was when the run began, so that its bits may differ from here on."""
    manifest = run.manifest()
    before = {**manifest.get("versions", {}), "device": manifest.get("device", "unknown")}
    now = {**versions(manifest["task"]), "device": device}
    return [
        f"{name} was {before[name]} and is {now.get(name, 'gone')}: the result may differ in its last bits"
        for name in before
        if before[name] != now.get(name)
    ]


def continued(run: Run, task_name: str, asked: RunConfig, wished: Collection[str] = ()) -> tuple[RunConfig, list[str]]:
    """The config to go on with, and what changes with it: the run's own, which the asked one must agree with but for
    what may change.

    The run's own says what was asked when it began, and what the data made of it: either may be asked again.

    Args:
        run: the folder.
        task_name: of the command.
        asked: its settings.
        wished: names of those that are wished to be other ones now, whatever was asked first.

    Raises:
        ConfigError: a setting differs that decides the result.
    """
    if not run.settings.exists():
        raise ConfigError(f"run_dir: {run.path} is not empty and no run folder: choose another.")
    _check_settings(run)
    began, first = read_settings(run, task_name), run.manifest().get("asked", {})
    now = asked.model_dump(mode="json")
    changes, refused, trained = {}, [], "train" in run.finished_stages()
    for name, value in asked:
        old, rule = getattr(began, name), resuming_of(type(asked).model_fields[name])
        # A command that is given again asks for what it asked first; that is no wish to undo what changed since.
        as_first = now[name] == first.get(name) and (rule != "free" or name not in asked.model_fields_set or trained)
        if value == old or (as_first and name not in wished):
            continue
        reason = _refusal(run, began, name, value, rule)
        if reason is None:
            changes[name] = value
        else:
            refused.append(f"{name} {shown(old)} there, {shown(value)} here{reason}")
    if run.manifest()["task"] != task_name or refused:
        what = "; ".join(refused) or f"of {run.manifest()['task']}"
        raise ConfigError(
            f"{run.path} holds a run with other settings ({what}): leave them as they are, choose another folder with "
            "--run-dir, or replace the run with sixfold run --overwrite."
        )
    told = [f"{name} from {shown(getattr(began, name))} to {shown(value)}" for name, value in changes.items()]
    return began.model_copy(update=changes), told


def _check_settings(run: Run) -> None:
    """run.yaml must be as Sixfold wrote it: what may change, changes by an option.

    Raises:
        StateError: it was edited.
    """
    known = run.manifest().get("settings")
    if known and run.checksum("run.yaml") not in known:
        raise StateError(
            f"{run.settings} was edited since the run began: restore it. What may change is an option of sixfold "
            "resume."
        )


def _refusal(run: Run, began: RunConfig, name: str, new: Any, rule: str) -> str | None:
    """Why a setting may not be another when a run goes on; None where it may."""
    if rule == "fixed":
        return ""
    old = getattr(began, name)
    if name in ("epochs", "stop_step", "max_minutes") and "train" in run.finished_stages():
        return ", and its training is over"
    saved = run.checkpoints()
    if name == "stop_step" and new is not None and saved and new < saved[-1]["step"]:
        return f", which is before step {saved[-1]['step']}, where it stands"
    if name == "epochs" and len(run.events("epoch")) >= plan(began)[0].last_epoch < began.epochs:
        # The stages to come would begin later than the state that they go on from.
        return ", and its stages share the epochs: they may only grow in the first, which is over"
    return f", and {name} may only grow" if rule == "grows" and new < old else None
