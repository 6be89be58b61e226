"""From defaults, recipe, file and options to one checked config that knows where each value came from."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from pipelines import registry
from pipelines.config.allowed import Allowed, allowed
from pipelines.config.fields import GROUPS, RunConfig, Settings
from pipelines.config.file import read_entries
from pipelines.config.recipes import find_recipe
from pipelines.config.writing import shown
from pipelines.errors import ConfigError

Kind = TypeVar("Kind", bound=Settings)

LISTED = 20
"""Faults that an error lists; the rest is counted."""


@dataclass(frozen=True)
class Loaded:
    """A checked config, and for each field where its value came from."""

    config: RunConfig
    origins: dict[str, str]
    """'default', 'recipe NAME line N', 'FILE line N', '--option' or, from Python, 'argument'."""


@dataclass(frozen=True)
class Given:
    """A value somebody set, before it is checked."""

    value: Any
    origin: str
    subject: str
    """How an error begins: 'run.yaml line 3: epochs', '--epochs' or, from Python, 'epochs'."""


@dataclass(frozen=True)
class Layer:
    """What one source of settings gives, and what is wrong with it already."""

    given: dict[str, Given]
    wrong: list[str]


def load_config(
    task: str,
    *,
    recipe: str | None = None,
    file: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    typed: bool = False,
) -> Loaded:
    """The task's config; what is set later wins: defaults, recipe, file, options.

    Options are keyed by field name and hold either values or texts as typed; the text 'none' resets an optional field.
    Where they were typed on the command line, errors and origins name the option, --batch-size for batch_size.
    Raises ConfigError with one sentence for each thing that is wrong.
    """
    config_class = registry.config_class(task)
    layers = []
    if recipe is not None:
        layers.append(_from_file(find_recipe(task, recipe), f"recipe {recipe}", task, config_class))
    if file is not None:
        layers.append(_from_file(Path(file), str(file), task, config_class))
    layers.append(_from_options(options or {}, config_class, typed))
    given = {name: entry for layer in layers for name, entry in layer.given.items()}
    wrong = [sentence for layer in layers for sentence in layer.wrong]
    config = _check(config_class, given, wrong)
    origins = {name: given[name].origin if name in given else "default" for name in config_class.model_fields}
    return Loaded(config, origins)


def load_settings(kind: type[Kind], *, file: str | Path | None, options: Mapping[str, Any]) -> Kind:
    """Settings that are not a task's, of a file and typed options, which win. Errors as those of `load_config`."""
    layers = [] if file is None else [_from_file(Path(file), str(file), None, kind)]
    layers.append(_from_options(options, kind, True))
    given = {name: entry for layer in layers for name, entry in layer.given.items()}
    return _check(kind, given, [sentence for layer in layers for sentence in layer.wrong])


def option_name(field: str, value: Any = None) -> str:
    """The field's option: batch_size -> --batch-size; a switch that is off -> --no-overwrite."""
    return ("--no-" if value is False else "--") + field.replace("_", "-")


def nearest(name: str, known: Iterable[str]) -> str:
    """': did you mean NAME?' where something known is near, else ''."""
    near = difflib.get_close_matches(name.lower().replace("-", "_"), list(known), n=1)
    return f": did you mean {near[0]}?" if near else ""


def _from_file(path: Path, label: str, task: str | None, config_class: type[Settings]) -> Layer:
    """What a recipe or a --config file sets; errors and origins call it by its label."""
    given: dict[str, Given] = {}
    wrong: list[str] = []
    seen: dict[str, int] = {}
    for entry in read_entries(path, label):
        where = f"{label} line {entry.line}"
        if entry.key in seen:
            wrong.append(f"{where}: {entry.key} is set twice, first in line {seen[entry.key]}: keep one.")
        elif entry.key == "task" and task is not None:
            if entry.value != task:
                wrong.append(f"{where}: this file is for the task {shown(entry.value)}, not {task}.")
        elif entry.key not in config_class.model_fields:
            # Looking for the nearest name takes long, and nobody reads more than are listed.
            wrong.append(
                f"{where}: {_unknown_key(entry.key, entry.value, config_class)}" if len(wrong) < LISTED else ""
            )
        elif entry.fault:
            wrong.append(f"{where}: {entry.key} {entry.fault}.")
        else:
            rule = allowed(config_class.model_fields[entry.key])
            value = None if rule.optional and entry.plain and _is_none(entry.value) else entry.value
            given[entry.key] = Given(value, where, f"{where}: {entry.key}")
        seen.setdefault(entry.key, entry.line)
    return Layer(given, wrong)


def _unknown_key(key: str, value: Any, config_class: type[Settings]) -> str:
    if key in GROUPS and isinstance(value, dict):
        return f"{key!r} is a group, and settings are flat: write its fields without it, each in its own line."
    near = nearest(key, config_class.model_fields)
    return f"unknown setting {key!r}{near or '; `sixfold config show TASK` lists those there are.'}"


def _from_options(options: Mapping[str, Any], config_class: type[Settings], typed: bool) -> Layer:
    given: dict[str, Given] = {}
    wrong: list[str] = []
    for name, value in options.items():
        if name not in config_class.model_fields:
            unknown = _unknown_option(name, config_class) if typed else _unknown_key(name, value, config_class)
            wrong.append(unknown)
            continue
        rule = allowed(config_class.model_fields[name])
        reset = rule.optional and _is_none(value)
        origin, subject = (option_name(name, value), option_name(name)) if typed else ("argument", name)
        given[name] = Given(None if reset else value, origin, subject)
    return Layer(given, wrong)


def _unknown_option(name: str, config_class: type[Settings]) -> str:
    near = nearest(name, config_class.model_fields)
    hint = re.sub(r"mean (\w+)", lambda match: f"mean {option_name(match[1])}", near)
    return f"unknown option {option_name(name)}{hint or '; --help lists those there are.'}"


def _is_none(value: Any) -> bool:
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    return value is None or (isinstance(value, str) and value.strip().lower() in {"none", "null", "~", ""})


def _check(config_class: type[Kind], given: dict[str, Given], wrong: list[str]) -> Kind:
    """The config, or a ConfigError that lists everything wrong in the order it was given."""
    try:
        config = config_class.model_validate({name: entry.value for name, entry in given.items()})
    except ValidationError as error:
        faults: dict[str, str] = {}
        for fault in error.errors():
            if not fault["loc"]:
                wrong.append(_cross_check(fault, given))
                continue
            name = str(fault["loc"][0])
            faults.setdefault(name, _sentence(fault, given[name], allowed(config_class.model_fields[name])))
        wrong += [faults[name] for name in given if name in faults]
    if not wrong:
        return config
    if len(wrong) == 1:
        raise ConfigError(wrong[0])
    more = [f"and {len(wrong) - LISTED:,} more"] if len(wrong) > LISTED else []
    lines = "".join(f"\n  {sentence}" for sentence in [*wrong[:LISTED], *more])
    raise ConfigError(f"{len(wrong):,} settings are wrong:{lines}")


def _sentence(fault: Any, entry: Given, rule: Allowed) -> str:
    """One fault of pydantic's in the house's words: who set it, what the field takes, what was given."""
    if fault["type"] == "value_error":
        return f"{entry.subject} {shown(entry.value)}: {fault['ctx']['error']}."
    if isinstance(entry.value, dict) and rule.kind != "pairs":
        return f"{entry.subject} takes {rule.words}, not a mapping: settings are flat."
    near = difflib.get_close_matches(str(entry.value).lower(), rule.choices, n=1)
    hint = f": did you mean {near[0]}?" if near else "."
    return f"{entry.subject} takes {rule.words}, not {shown(entry.value)}{hint}"


def _cross_check(fault: Any, given: dict[str, Given]) -> str:
    """A rule between fields: its own sentence, and where those fields that were set came from."""
    text = str(fault["ctx"]["error"])
    named = [name for name in given if re.search(rf"\b{name}\b", text)]
    return text + (f" ({', '.join(f'{name}: {given[name].origin}' for name in named)})." if named else ".")
