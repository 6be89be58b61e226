"""A config as text: run.yaml, a value on a line, and the JSON schema for editors."""

import re
import textwrap
from collections.abc import Container, Mapping
from typing import Any

import yaml

from pipelines import registry
from pipelines.config.allowed import allowed
from pipelines.config.fields import GROUPS, RunConfig, group_of

SIMPLE = re.compile(r"[A-Za-z][\w./+-]*")
NOT_TEXTS = {"null", "none", "true", "false", "yes", "no", "on", "off", "y", "n"}
"""Words that YAML or a setting may read as something else, so they are written in quotes."""


def write_config(config: RunConfig, task: str, given: Container[str] | None = None) -> str:
    """The text of run.yaml: every field in its group under its help. `load_config(file=…)` reads it back as it was.

    Args:
        config: the settings.
        task: its name.
        given: those that somebody set, where the others are to stay open to what data and pretrained weights decide:
            they are commented out. None: all are set.
    """
    lines = [
        f"# Settings of a run. `sixfold run {task} --config` with this file repeats it.",
        "# Relative paths are relative to the folder the command is given in.",
        f"task: {task}",
    ]
    for group in GROUPS:
        fields = {name: field for name, field in type(config).model_fields.items() if group_of(field) == group}
        lines += ["", f"# ---- {group} ----"] if fields else []
        for name, field in fields.items():
            text = f"{field.description} [{allowed(field).words}]"
            lines += textwrap.wrap(text, 110, initial_indent="# ", subsequent_indent="# ")
            mark = "" if given is None or name in given else "#"
            lines.append(f"{mark}{name}: {_yaml(getattr(config, name))}")
    return "\n".join(lines) + "\n"


def shown(value: Any) -> str:
    """A value as one would type it after an option; texts that are no numbers in quotes where blanks need them."""
    if value is None:
        text = "none"
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, Mapping):
        text = " ".join(f"{key}={column}" for key, column in value.items())
    elif isinstance(value, list | tuple):
        text = ",".join(shown(item) for item in value)
    elif isinstance(value, str):
        text = value if re.fullmatch(r"[\w./:,+=-]+", value) else repr(value)
    else:
        text = f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def schema(task: str) -> dict[str, Any]:
    """The JSON schema of the task's settings file, for editors that complete and check YAML."""
    config_class = registry.config_class(task)
    document = config_class.model_json_schema()
    properties: dict[str, Any] = document["properties"]
    for name, field in config_class.model_fields.items():
        properties[name].pop("title", None)
        if allowed(field).kind in {"list", "pairs"}:
            # Besides what JSON knows, these are read from text, as in `split: 0.8,0.1,0.1`.
            entry = properties[name]
            told = {"description", "default", "group", "resuming", "aliases"}
            own = {key: entry.pop(key) for key in set(entry) - told}
            entry["anyOf"] = [*own.pop("anyOf", [own]), {"type": "string"}]
    document["properties"] = {"task": {"const": task, "description": "The task the file is for."}, **properties}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **document,
        "title": f"Settings of {task}",
        "description": registry.known()[task],
    }


def _yaml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_yaml(key)}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_yaml(item) for item in value) + "]"
    if isinstance(value, str):
        return _yaml_text(value)
    return "null" if value is None else repr(value).lower()


def _yaml_text(value: str) -> str:
    if SIMPLE.fullmatch(value) and value.lower() not in NOT_TEXTS:
        return value
    text: str = yaml.safe_dump(value, default_style='"', width=10**9, allow_unicode=True)
    return text.rstrip("\n")
