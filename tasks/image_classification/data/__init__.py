"""Image data: from a source to splits of encoded images, and the checks that say what is wrong with it. Imports no TensorFlow."""

from collections.abc import Callable
from typing import Any, cast

from pipelines.errors import DataError
from pipelines.splits import Splits
from pipelines.task import CheckReport, Data, Problem, Raw, Store
from tasks.image_classification.config import Config
from tasks.image_classification.data.assembly import assemble, examine, refuse, split, summarise
from tasks.image_classification.data.inputs import inputs
from tasks.image_classification.data.stores import ImageStore

__all__ = ["check_data", "inputs", "load_data", "load_evaluation", "references", "resolve"]

_LARGEST_OWN = 64
_USUAL = 96
_SMALLEST = 8


def load_data(config: Config, advance: Callable[[int, int], None] | None = None) -> Data:
    """The data of a run: train, valid and test as ImageStore, and assets {"classes": [names]}.

    Raises:
        DataError: a source cannot be used, or (on_bad: fail) an example.
    """
    examined = examine(config, advance)
    if examined.bad and config.on_bad == "fail":
        raise refuse(examined.bad, sum(len(part.labels) for part in examined.parts.values()))
    return assemble(config, examined, split(config, examined))


def load_evaluation(config: Config, classes: list[str]) -> Data:
    """What a finished model is scored on: config.data's test split, or all of it, as the only split, test.

    Raises:
        DataError: as load_data; also for labels that are no class of the model.
    """
    examined = examine(config.model_copy(update={"valid": None, "test": None}), None, classes)
    name = next(name for name in ("test", "valid", "train") if name in examined.parts)
    if examined.bad and config.on_bad == "fail":
        raise refuse(examined.bad, sum(len(part.labels) for part in examined.parts.values()))
    rows = examined.good[name]
    if not len(rows):
        raise DataError(f"{config.data} holds no usable example to score.")
    which = "all" if len(examined.parts) == 1 else f"the {name} split,"
    protocol = f"Scored on {which} {len(rows):,} examples of {config.data}, as given."
    return assemble(config, examined, Splits({"test": (name, rows)}, protocol, {"total": 0, "across_splits": 0}))


def check_data(config: Config, advance: Callable[[int, int], None] | None = None) -> CheckReport:
    """Everything that is wrong with the data of a run, in one pass; what load_data would stop at is an error.

    Args:
        config: names the sources.
        advance: told (done so far, total).

    Raises:
        DataError: a source as a whole cannot be used.
    """
    examined = examine(config, advance)
    problems = examined.bad + examined.warnings
    splits = None
    try:
        splits = split(config, examined)
    except DataError as error:
        problems = [Problem("error", "split", config.data, str(error)), *problems]
    return CheckReport(problems, summarise(config, examined, splits))


def resolve(config: Config, data: Data) -> Config:
    """image_size and color filled in where the config leaves them to the data."""
    update: dict[str, Any] = {}
    if config.image_size is None:
        update["image_size"] = _own_size(data.summary["image_sizes"])
    if config.color == "auto":
        update["color"] = "grey" if set(data.summary["channels"]) == {"grey"} else "rgb"
    return config.model_copy(update=update)


def references(store: Store) -> Raw:
    """The truth about every example: label int32 [n]."""
    return {"label": cast(ImageStore, store).label}


def _own_size(sizes: dict[str, Any]) -> int:
    """The images' own side if they are all alike, square and small."""
    width, height = sizes["min"]
    alike = sizes["distinct"] == 1 and width == height <= _LARGEST_OWN
    return max(width, _SMALLEST) if alike else _USUAL
