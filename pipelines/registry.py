"""Which tasks there are. Their modules are imported by name, late: listing them costs nothing."""

import difflib
import importlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from pipelines.errors import ConfigError

if TYPE_CHECKING:
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


def check_name(name: str) -> str:
    """The name itself, or a ConfigError that names the nearest task."""
    if name in TASKS:
        return name
    near = difflib.get_close_matches(name.replace("_", "-"), TASKS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(TASKS)}."
    raise ConfigError(f"unknown task {name!r}: {hint}")


def _part(name: str, part: str) -> ModuleType:
    ours = Path(__file__).resolve().parent.parent / "tasks" / "__init__.py"
    found = Path(str(importlib.import_module("tasks").__file__)).resolve()
    if found != ours:
        raise ConfigError(f"Python resolves `tasks` to {found}, which is not ours ({ours}): run from another folder.")
    return importlib.import_module(f"tasks.{check_name(name).replace('-', '_')}.{part}")
