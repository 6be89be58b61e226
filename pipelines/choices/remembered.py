"""What was chosen before: a file for each model, data and machine, in the cache folder. Imports no TensorFlow."""

import datetime
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from pipelines import machine
from pipelines.config import RunConfig
from pipelines.console import Console
from pipelines.devices.accelerators import nvidia_driver
from pipelines.runs import versions
from pipelines.sources.scan import cache_folder
from pipelines.state import write_bytes

FORMAT = 1
"""Of the files; those of another format are made anew."""
_NO_MATTER = {
    *("seed", "run_dir", "overwrite", "allow_changed_data", "save_every", "max_minutes", "require", "patience"),
    *("monitor", "score_last", "average_epochs", "average_which", "group_by"),
}
"""Settings that change neither the model nor its batches, nor how many there are."""
_VARIABLES = (
    *("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", "OMP_NUM_THREADS", "TF_ENABLE_ONEDNN_OPTS"),
    *("TF_NUM_INTRAOP_THREADS", "TF_XLA_FLAGS", "XLA_FLAGS"),
)
"""Of the environment, which decide on devices, their number and how fast they are."""


class Memory:
    """The choice for one run.

    Known by the task and its settings, by size and time of change of the files and folders that these name (they decide
    the shapes of the batches, and the model's), by versions, and by the machine: processor, cores, memory, GPUs, and
    what the environment says of them.
    """

    def __init__(self, task: str, config: RunConfig, workers: int) -> None:
        settings = config.model_dump(mode="json", exclude=_NO_MATTER)
        about = {
            "task": task,
            "settings": settings,
            "set": sorted(config.model_fields_set - _NO_MATTER),
            "sources": {name: _state(value) for name, value in settings.items() if isinstance(value, str)},
            "workers": workers,
            "versions": versions(task),
            "machine": _machine(),
        }
        digest = hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=16).hexdigest()
        self.path = cache_folder() / "choices" / f"{digest}.json"
        self._open = config.open_choices

    def recall(self, console: Console) -> dict[str, Any] | None:
        """What was kept; None where nothing was, or where it is damaged, which is said."""
        try:
            known = json.loads(self.path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            console.say(f"warning: {self.path} cannot be read ({error}): measuring again.")
            return None
        if isinstance(known, dict) and known.get("format") == FORMAT and self._is_whole(known):
            return known
        console.say(f"warning: {self.path} is damaged, or of another version: measuring again.")
        return None

    def keep(self, found: dict[str, Any], console: Console) -> None:
        """Write it down; where that cannot be, it is said, and no more."""
        found |= {"format": FORMAT, "measured": datetime.date.today().isoformat()}
        try:
            write_bytes(self.path, (json.dumps(found, indent=1) + "\n").encode())
        except OSError as error:
            console.say(f"warning: the choice is not remembered: {self.path} cannot be written ({error.strerror}).")

    def _is_whole(self, known: dict[str, Any]) -> bool:
        chosen, tables = known.get("chosen"), known.get("tables")
        takes = {
            "precision": lambda value: value in ("float32", "mixed_bfloat16", "mixed_float16"),
            "jit": lambda value: value in ("on", "off"),
            "batch_size": lambda value: type(value) is int and value > 0,
        }
        return (
            isinstance(chosen, dict)
            and chosen.keys() == set(self._open)
            and all(takes[name](value) for name, value in chosen.items())
            and isinstance(tables, list)
            and all(isinstance(one, str) for one in tables)
            and isinstance(known.get("measured"), str)
        )


def _state(source: str) -> list[int] | None:
    """Size and time of change of what a setting names; None where it names no file and no folder."""
    try:
        status = os.stat(Path(source).expanduser())
    except (OSError, ValueError, RuntimeError):
        return None
    return [status.st_size, status.st_mtime_ns]


def _machine() -> dict[str, Any]:
    cards = [[card.name, card.memory] for card in nvidia_driver().cards]
    return {
        "processor": machine.processor(),
        "features": machine.features(),
        "cores": [machine.cores(), machine.core_limit()],
        "memory": machine.memory(),
        "gpus": cards,
        "variables": {name: os.environ.get(name) for name in _VARIABLES},
    }
