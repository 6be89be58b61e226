"""What a .keras file may hold: it names classes that are to be made, so it is read before Keras reads it."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.errors import StateError

_OURS = ("keras", "keras_hub", "pipelines", "tasks")
_CODE = ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
"""What holds code, or loads some."""
_TOOLS = tuple(
    f"keras.{place}"
    for part in ("", "src.")
    for place in (f"{part}{name}" for name in ("utils", "config", "saving", "backend", "callbacks"))
)
"""Where Keras has what is no part of a network, and could do harm."""
_LIMIT = 64 * 2**20
"""Bytes of a config; those of the greatest networks here have less than one."""
_FUNCTIONS = tuple(
    f"keras.{part}{name}"
    for part in ("", "src.")
    for name in ("ops", "activations", "initializers", "losses", "metrics", "regularizers", "constraints")
)
"""Where Keras has functions that are part of one."""


def check_keras_file(path: Path, packages: tuple[str, ...] = ()) -> None:
    """See that a .keras file is none but layers, operations and arrays: no code, no class of another package, no file
    outside itself.

    Args:
        path: the file.
        packages: further packages whose classes it may name, as that of a third party's task.

    Raises:
        StateError: it holds something else, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if archive.getinfo("config.json").file_size > _LIMIT:
                raise StateError(f"{path} cannot be loaded: its config has more than {_LIMIT:,} bytes.")
            config = json.loads(archive.read("config.json"))
    except StateError:
        raise
    except Exception as error:  # of a damaged or crafted archive it can be any
        raise StateError(f"{path} cannot be loaded: it is no .keras file, or a damaged one ({error}).") from error
    outside = [name for name in names if name.startswith(("/", "\\")) or ".." in Path(name.replace("\\", "/")).parts]
    if outside:
        raise StateError(f"{path} is not loaded: it would write outside its folder ({outside[0]}).")
    for one in _objects(config):
        if why := _refusal(one, (*_OURS, *packages)) or _file_of(one):
            raise StateError(f"{path} is not loaded: {why}. A model that Sixfold wrote holds nothing of the kind.")


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Every dict within, itself included."""
    waiting = [config]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _refusal(one: dict[str, Any], packages: tuple[str, ...]) -> str | None:
    """Why an object is not made."""
    name, module, registered = (one.get(key) for key in ("class_name", "module", "registered_name"))
    if name is None:
        return None
    if not (isinstance(name, str) and isinstance(module, str | None)):
        return "it names no class"
    if name in _CODE:
        return f"it holds {name}, which is code"
    if module is not None:
        return _foreign(name, module, one.get("config"), packages)
    owner = registered.partition(">")[0].partition(".")[0] if isinstance(registered, str) and ">" in registered else ""
    if owner in ("", "sixfold", *packages):
        return None
    return f"it names {registered}, registered by a package that is none of {', '.join(packages)}"


def _file_of(one: dict[str, Any]) -> str | None:
    settings = one.get("config")
    vocabulary = settings.get("vocabulary") if isinstance(settings, dict) else None
    return (
        f"its layer {one.get('class_name')} would read the file {vocabulary}" if isinstance(vocabulary, str) else None
    )


def _foreign(name: str, module: str, settings: Any, packages: tuple[str, ...]) -> str | None:
    """Why what stands in a module is not made: Keras would import it, whatever it is."""
    last = settings if name == "function" else name
    called = f"{module}.{last}"
    if module.partition(".")[0] not in packages:
        return f"it names {called}, of a package that is none of {', '.join(packages)}"
    if last in _CODE:
        return f"it holds {last}, which is code"
    part = not called.startswith(_TOOLS) and isinstance(last, str) and "." not in last
    if name == "function" and module.partition(".")[0] == "keras":
        part = part and module.startswith(_FUNCTIONS)
    return None if part else f"it names {called}, which is no part of a network"
