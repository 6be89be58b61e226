"""Which tasks there are: ours, and those of installed packages. Their modules are imported by name, late: listing them
costs nothing."""

import difflib
import importlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from pipelines.config import RunConfig
    from pipelines.config.options import Options
    from pipelines.task import Task

TASKS = {
    "image-classification": "Assign one of N labels to an image.",
    "text-sentiment": "Assign one of N labels to a text.",
    "translation": "Put sentences of one language into another.",
    "speech-recognition": "Write down what is said in a recording.",
    "time-series-forecasting": "Forecast the next steps of series, with intervals.",
    "recommendation": "Rank items for a user, or predict ratings.",
}
"""Ours."""

ENTRY_POINTS = "sixfold.tasks"
"""The group of entry points by which a package brings tasks: the name of each, and the package with its modules."""


@dataclass(frozen=True)
class Guest:
    """A task of another package."""

    package: str
    """What holds its modules config, data and task."""
    distribution: str
    """What was installed, as pip lists it."""
    summary: str


def known() -> dict[str, str]:
    """Every task and what it does in a sentence: ours, then those of installed packages.

    Raises:
        ConfigError: two of them have one name.
    """
    return TASKS | {name: guest.summary for name, guest in _guests().items()}


def distribution(name: str) -> str | None:
    """What was installed for a task, as pip lists it; None: it is ours."""
    return None if name in TASKS else _guests()[check_name(name)].distribution


def config_class(name: str) -> "type[RunConfig]":
    """The settings of a task: cheap, imports no TensorFlow."""
    config: type[RunConfig] = _part(name, "config").Config
    return config


def options_class(name: str) -> "type[Options]":
    """What a task takes in predict besides what all tasks take; nothing where it declares nothing."""
    from pipelines.config.options import Options

    found: type[Options] = getattr(_part(name, "config"), "PredictOptions", Options)
    return found


def load_data_module(name: str) -> ModuleType:
    """The task's data module: reads and checks data, imports no TensorFlow."""
    return _part(name, "data")


def task(name: str) -> "Task":
    """The task's record of functions: imports TensorFlow."""
    record: Task = _part(name, "task").TASK
    return record


def folder(name: str) -> Path:
    """The folder of a task's files, where its recipes and README lie."""
    file = _part(name, "config").__file__
    assert file is not None
    return Path(file).parent


def packages() -> tuple[str, ...]:
    """The top-level packages of third parties' tasks."""
    return tuple(sorted({guest.package.partition(".")[0] for guest in _guests().values()}))


def check_name(name: str) -> str:
    """The name itself, or a ConfigError that names the nearest task."""
    if name in TASKS or name in known():
        return name
    near = difflib.get_close_matches(name.replace("_", "-"), known(), n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known())}."
    raise ConfigError(f"unknown task {name!r}: {hint}")


def _part(name: str, part: str) -> ModuleType:
    guest = None if name in TASKS else _guests()[check_name(name)]
    if guest is None:
        _check_ours()
        return importlib.import_module(f"tasks.{name.replace('-', '_')}.{part}")
    module = f"{guest.package}.{part}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise ConfigError(
            f"task {name} of the package {guest.distribution} has no module {error.name}: install it again."
        ) from error


def _check_ours() -> None:
    ours = Path(__file__).resolve().parent.parent / "tasks" / "__init__.py"
    found = Path(str(importlib.import_module("tasks").__file__)).resolve()
    if found != ours:
        raise ConfigError(f"Python resolves `tasks` to {found}, which is not ours ({ours}): run from another folder.")


@cache
def _guests() -> dict[str, Guest]:
    from importlib.metadata import entry_points

    found: dict[str, Guest] = {}
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        guest = _guest(point)
        if point.name in TASKS or point.name in found:
            other = found[point.name].distribution if point.name in found else "sixfold"
            raise ConfigError(
                f"the packages {other} and {guest.distribution} both bring a task {point.name}: uninstall the latter."
            )
        found[point.name] = guest
    return found


def _guest(point: "EntryPoint") -> Guest:
    assert point.dist is not None  # as all that were found installed
    about = point.dist.metadata.json
    return Guest(point.value, point.dist.name, str(about.get("summary", point.dist.name)))
