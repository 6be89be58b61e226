"""A task's recipes: YAML files whose head comment holds the exact command and the measured result."""

import difflib
from dataclasses import dataclass
from pathlib import Path

from pipelines import registry
from pipelines.errors import ConfigError


@dataclass(frozen=True)
class Recipe:
    """A tried set of settings."""

    name: str
    path: Path
    head: tuple[str, ...]
    """The lines of its head comment: the command, then the result."""


def list_recipes(task: str) -> list[Recipe]:
    """The task's recipes in order of name."""
    paths = sorted((registry.folder(task) / "recipes").glob("*.yaml"))
    return [Recipe(path.stem, path, _head(path)) for path in paths]


def find_recipe(task: str, name: str) -> Path:
    """The recipe's file, or a ConfigError that names the nearest."""
    paths = {recipe.name: recipe.path for recipe in list_recipes(task)}
    if name in paths:
        return paths[name]
    if Path(name).suffix in {".yaml", ".yml"}:
        raise ConfigError(f"--recipe takes a name, not the file {name!r}: give a file with --config.")
    near = difflib.get_close_matches(name, paths, n=1)
    there = f"there are: {', '.join(paths)}" if paths else "the task has none"
    raise ConfigError(f"unknown recipe {name!r} of {task}: {f'did you mean {near[0]}?' if near else there + '.'}")


def _head(path: Path) -> tuple[str, ...]:
    """The comment the file opens with, without the signs."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return tuple(line for line in lines if line)
