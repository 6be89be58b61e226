"""What `--pretrained` names: published weights, a file of weights, a KerasHub preset, another run. Imports no
TensorFlow."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipelines.config import RunConfig
from pipelines.errors import ConfigError, StateError
from pipelines.runs import Run
from pipelines.task import Task

Kind = Literal["published", "file", "preset", "run"]

PUBLISHED = ("imagenet",)
"""Names of weights that a task's networks may have been published with."""
_HUBS = ("hf://", "kaggle://")
_SHOWN = 8


@dataclass(frozen=True)
class Origin:
    """Where the weights at the start of a training come from, for the manifest."""

    source: str
    kind: Kind
    files: dict[str, str] = field(default_factory=dict)
    """sha256 of each file that was read."""
    licence: str | None = None
    """As the source states it; None where it states none."""
    taken: list[str] = field(default_factory=list)
    """Variables that were taken over as they are."""
    resized: list[str] = field(default_factory=list)
    """Variables that were fitted to another shape, each with what was done."""
    new: list[str] = field(default_factory=list)
    """Variables that the source has nothing for."""

    @property
    def sentence(self) -> str:
        """One line for people."""
        parts = [f"{len(self.taken)} variables taken over"]
        parts += [f"{len(self.resized)} resized ({_listed(self.resized)})"] if self.resized else []
        parts += [f"{len(self.new)} new ({_listed(self.new)})"] if self.new else []
        licence = f"; licence: {self.licence}" if self.licence else ""
        if self.kind == "preset" and not self.licence:
            licence = "; its metadata states no licence"
        return f"pretrained: {self.source}: {', '.join(parts)}{licence}"


def kind_of(pretrained: str, setting: str = "pretrained") -> Kind:
    """What a value of `--pretrained` is, or of another setting.

    Raises:
        ConfigError: it names a file or folder that is missing or holds no weights.
    """
    if pretrained in PUBLISHED:
        return "published"
    if pretrained.startswith(_HUBS):
        return "preset"
    path = Path(pretrained)
    if path.is_dir():
        return _folder_kind(path, setting)
    if path.is_file():
        if path.suffix == ".h5":
            return "file"
        raise ConfigError(
            f"{setting}: {pretrained} is no file of weights: give a .weights.h5 (or an .h5 of weights alone)."
        )
    if "/" in pretrained or path.suffix in (".h5", ".keras", ".safetensors", ".npz"):
        raise ConfigError(
            f"{setting}: there is no file or folder {pretrained}: give one that exists, or the name of a preset."
        )
    return "preset"


def check_source(config: RunConfig, task_name: str) -> None:
    """See, before anything is read or loaded, that the source can be what it is taken for.

    Raises:
        ConfigError: it cannot: there is no such file, folder or preset, or the run is of another task or left no model.
    """
    if config.pretrained is None:
        return
    kind = kind_of(config.pretrained)
    if kind == "run":
        check_run("pretrained", config.pretrained, task_name)
    if kind == "preset":
        from pipelines.transfer.presets import check_preset

        check_preset(config.pretrained)


def check_origin(known: dict[str, Any] | None, origin: Origin | None, setting: str = "pretrained") -> None:
    """See that a run that goes on begins with the weights that it began with: of layers that it keeps frozen, its own
    states say nothing, and its baseline reads them again.

    Args:
        known: as the manifest has it; None for a run that begins.
        origin: what was read now.
        setting: that names it.

    Raises:
        StateError: they are others.
    """
    if known and origin and sorted(known["files"].values()) != sorted(origin.files.values()):
        raise StateError(
            f"{setting}: {origin.source} holds other weights than when this run began: restore them, or start a new "
            "run."
        )


def check_teacher(config: RunConfig, task_name: str, task: Task) -> None:
    """The same for the teacher, whose run must be finished.

    Raises:
        ConfigError: it cannot teach here.
    """
    if config.teacher is None:
        return
    if task.distil is None:
        raise ConfigError(f"teacher: {task_name} cannot learn from another run's answers: leave teacher out.")
    check_run("teacher", config.teacher, task_name)
    if not Run(Path(config.teacher)).finished:
        raise ConfigError(f"teacher: {config.teacher} is unfinished: end it with sixfold resume {config.teacher}.")


def check_run(setting: str, folder: str, task_name: str) -> None:
    """See that a folder holds a run of the task that left a model.

    Raises:
        ConfigError: it does not; the setting that names it is named.
    """
    run = Run(Path(folder))
    if not run.settings.is_file():
        what = (
            f"the folder {folder} is no run (it has no run.yaml)" if run.path.is_dir() else f"there is no run {folder}"
        )
        raise ConfigError(f"{setting}: {what}: name the folder of a finished run of {task_name}.")
    try:
        task = run.manifest()["task"]
    except StateError as error:
        raise ConfigError(f"{setting}: {error}") from error
    if task != task_name:
        raise ConfigError(f"{setting}: {run.path} is a run of {task}: only one of {task_name} can be taken.")
    if not (run.model / "model.keras").is_file():
        raise ConfigError(
            f"{setting}: {run.path} holds no model, as its run was cut short: end it with --run-dir {run.path}."
        )


def sha256(file: Path) -> str:
    """Of a file's content, in hexadecimal digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _folder_kind(path: Path, setting: str) -> Kind:
    if (path / "run.yaml").is_file():
        return "run"
    if (path / "config.json").is_file():
        return "preset"
    raise ConfigError(
        f"{setting}: the folder {path} is neither a run (it has no run.yaml) nor a KerasHub preset (no config.json)."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
