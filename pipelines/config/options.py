"""Options of predict that a task declares beside its settings, as `PredictOptions(Options)` in its config module."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from pipelines import registry
from pipelines.config.allowed import allowed
from pipelines.errors import ConfigError

Kind = Literal["input", "names", "number", "flag"]
"""What an option holds: a path that is predicted for; a file of names, a line each; a number; yes or no."""


class Options(BaseModel):
    """What a task takes in predict, besides what all tasks take."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Declared:
    """An option of some tasks."""

    name: str
    kind: Kind
    help: str
    off: str
    """Of a flag, the option that says no."""
    default: Any
    tasks: tuple[str, ...]


def option(default: Any, help: str, *, kind: Kind, off: str = "", **limits: Any) -> Any:
    """A field of a task's PredictOptions: its default, one sentence of help, what it holds, and of numbers the limits
    (`ge`, `le`, ...)."""
    return Field(default, description=help, json_schema_extra={"kind": kind, "off": off}, **limits)


def declared() -> list[Declared]:
    """The options of all tasks; those of one name are one option, and mean the same."""
    found: dict[str, Declared] = {}
    for task in registry.known():
        for name, field in _fields(task).items():
            others = found[name].tasks if name in found else ()
            found[name] = _declared(name, field, (*others, task))
    return list(found.values())


def further_inputs(options: Mapping[str, Any]) -> list[str]:
    """The paths among the options that are predicted for, as if they had been named without one."""
    kinds = {one.name: one.kind for one in declared()}
    given = [value for name, value in options.items() if value is not None and kinds.get(name) == "input"]
    return [str(path) for value in given for path in (value if isinstance(value, list | tuple) else [value])]


def own_options(task: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What of the options the task itself has declared, checked; names are read from their file.

    Raises:
        ConfigError: one is declared by other tasks alone, or holds something else.
    """
    fields = _fields(task)
    for one in declared():
        if options.get(one.name) is not None and task not in one.tasks:
            raise ConfigError(
                f"--{one.name.replace('_', '-')} is an option of {' and '.join(one.tasks)}; this run is of {task}."
            )
    given = {name: value for name, value in options.items() if name in fields and value is not None}
    for name, value in given.items():
        if _declared(name, fields[name], (task,)).kind == "names" and isinstance(value, str | Path):
            given[name] = _names(name, Path(value))
    if not given:
        return {}
    try:
        return dict(registry.options_class(task).model_validate(given))
    except ValidationError as error:
        raise ConfigError(_sentence(error.errors()[0], fields)) from error


def _sentence(fault: Any, fields: Mapping[str, FieldInfo]) -> str:
    """One fault of pydantic's in the house's words; one that is of no option breaks a rule between several."""
    if not fault["loc"]:
        return f"{fault['ctx']['error']}."
    name = str(fault["loc"][0])
    words = allowed(fields[name]).words.removesuffix(", or none")
    return f"--{name.replace('_', '-')} takes {words}, not {fault['input']}."


def _fields(task: str) -> dict[str, FieldInfo]:
    return dict(registry.options_class(task).model_fields)


def _declared(name: str, field: FieldInfo, tasks: tuple[str, ...]) -> Declared:
    extra: Any = field.json_schema_extra
    return Declared(name, extra["kind"], str(field.description), extra["off"], field.default, tasks)


def _names(name: str, path: Path) -> tuple[str, ...]:
    """The lines of a file, without those that are blank."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(f"--{name.replace('_', '-')} {path} cannot be read: {reason}.") from error
    found = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not found:
        raise ConfigError(f"--{name.replace('_', '-')} {path} holds no name: write one a line.")
    return found
