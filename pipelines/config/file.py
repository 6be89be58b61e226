"""Reads a file of settings: flat YAML, each key with its line. Nothing in it can make an object."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.errors import ConfigError

CORE = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "seq", "map")}


@dataclass(frozen=True)
class Entry:
    """One key and its value: a text, a list of texts or a mapping of texts.

    The field's type decides what a text means, not YAML's guess: so 1e-3 is a number, `jit: off` is no boolean, and
    a folder may be called 2024-01-01.
    """

    key: str
    value: Any
    line: int
    plain: bool = False
    """Written without quotes, so that null and none may mean none."""
    fault: str = ""
    """What is wrong with the value whatever the field."""


def read_entries(path: Path, label: str) -> list[Entry]:
    """The file's entries in order, duplicates included; errors call it `label` and name the line."""
    root = _compose(_read_text(path, label), label)
    if root is None:
        return []
    if not isinstance(root, yaml.MappingNode):
        line = root.start_mark.line + 1
        raise ConfigError(f"{label} line {line}: settings are lines of `field: value`, and this is something else.")
    return [_entry(key, value, label) for key, value in root.value]


def _read_text(path: Path, label: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{label}: there is no such file; --config takes a YAML file of settings.") from None
    except IsADirectoryError:
        raise ConfigError(f"{label} is a folder; --config takes a YAML file, such as {label}/run.yaml.") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{label} line {line}: this is not UTF-8 text; --config takes a YAML file.") from None
    except OSError as error:
        raise ConfigError(f"{label} cannot be read: {error.strerror or error}.") from None


def _compose(text: str, label: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{label}{line}: not valid YAML: {error.problem or error.context}.") from None
    except yaml.reader.ReaderError as error:
        number = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{label} line {number}: not valid YAML: it holds a control character.") from None
    except RecursionError:
        raise ConfigError(f"{label}: nested too deeply; settings are lines of `field: value`.") from None


def _entry(key: yaml.Node, value: yaml.Node, label: str) -> Entry:
    line = key.start_mark.line + 1
    if not isinstance(key, yaml.ScalarNode):
        raise ConfigError(f"{label} line {line}: a setting's name is one word, and this is a list or mapping.")
    return Entry(key.value, _value(value), line, _is_plain(value), _fault(value))


def _is_plain(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style is None


def _value(node: yaml.Node) -> Any:
    """The node as texts, one level deep."""
    if isinstance(node, yaml.SequenceNode):
        return [_text(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return {_text(key): _text(item) for key, item in node.value}
    return node.value


def _text(node: yaml.Node) -> str:
    """A scalar as it is written. What is nested is a fault and never written out: aliases can make it endless."""
    return node.value if isinstance(node, yaml.ScalarNode) else "…"


def _fault(node: yaml.Node) -> str:
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        parts = node.value
    elif isinstance(node, yaml.MappingNode):
        parts = [part for pair in node.value for part in pair]
    foreign = [part.tag for part in (node, *parts) if part.tag not in CORE]
    if foreign:
        return f"carries the tag {foreign[0].replace('tag:yaml.org,2002:', '!!')}: write the value alone"
    if not all(isinstance(part, yaml.ScalarNode) for part in parts):
        return "is nested: settings are flat, one `field: value` a line"
    return ""
