"""Image data: from a source to splits of encoded images, and what is wrong with it. Imports no TensorFlow."""

from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from pipelines import labelled
from pipelines.labelled.parts import Part, Wanted
from pipelines.task import Assets, CheckReport, Data, Raw, Store
from tasks.image_classification.config import Config
from tasks.image_classification.data.inputs import inputs
from tasks.image_classification.data.parts import read_source
from tasks.image_classification.data.stores import Images, ImageStore
from tasks.image_classification.data.unlabelled import load_unlabelled
from tasks.image_classification.networks import NETWORKS

__all__ = ["check_data", "decide", "inputs", "load_data", "load_test", "load_unlabelled", "references"]

_LARGEST_OWN = 64
_USUAL = 96
_SMALLEST = 8


def load_data(config: Config, advance: Callable[[int, int], None] | None = None) -> Data:
    """The data of a run: train, valid and test as ImageStore, and assets {"classes": [names]}.

    Raises:
        DataError: a source cannot be used, or (on_bad: fail) an example.
    """
    data = labelled.load_data(config, _kind(config), advance)
    return labelled.with_balanced_weights(data) if config.class_weights == "balanced" else data


def load_test(config: Config, assets: Assets) -> Data:
    """What a finished model is scored on, as the only split, test: all of config.data, or its test split if it has one.

    Raises:
        DataError: as load_data; also for labels that are no class of the model.
    """
    return labelled.load_test(config, _kind(config), assets)


def check_data(config: Config, advance: Callable[[int, int], None] | None = None) -> CheckReport:
    """Everything that is wrong with the data of a run, in one pass; what load_data would stop at is an error.

    Args:
        config: names the sources.
        advance: told (done so far, total).

    Raises:
        DataError: a source as a whole cannot be used.
    """
    return labelled.check_data(config, _kind(config), advance)


def decide(config: Config, data: Data) -> Config:
    """image_size, color and augment filled in where the config leaves them to the data."""
    update: dict[str, Any] = {}
    if config.image_size is None:
        update["image_size"] = _default_size(config, data)
    if config.color == "auto":
        update["color"] = "grey" if set(data.summary["channels"]) == {"grey"} else "rgb"
    if config.augment == "auto":
        update["augment"] = "crop" if update.get("color", config.color) == "grey" else "flip-crop"
    return config.model_copy(update=update)


def references(store: Store) -> Raw:
    """The truth about every example: label int32 [n] or bool [n, classes]; group_by object [n], of texts, where scores
    are told apart."""
    images = cast(ImageStore, store)
    return {"label": images.label} | ({} if images.compared is None else {"group_by": images.compared})


def _kind(config: Config) -> labelled.Kind:
    separator = config.label_separator if config.multi_label else None
    wanted = Wanted(config.columns, separator, config.group_by)
    return labelled.Kind("image", lambda spec, meter: read_source(spec, wanted, meter), _store, _describe)


def _store(part: Part, rows: np.ndarray, label: np.ndarray) -> ImageStore:
    groups, compared = (None if column is None else column[rows] for column in (part.groups, part.compared))
    return ImageStore(cast(Images, part.items), rows, label, groups, compared)


def _describe(facts: np.ndarray) -> dict[str, Any]:
    return {"image_sizes": _image_sizes(facts), "channels": _channels(facts)}


def _image_sizes(facts: np.ndarray) -> dict[str, Any]:
    if not len(facts):
        return {"distinct": 0, "common": [], "min": None, "max": None}
    sizes, counts = np.unique(facts[:, :2], axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:5]
    common = [{"width": int(sizes[i, 0]), "height": int(sizes[i, 1]), "count": int(counts[i])} for i in order]
    low, high = sizes.min(axis=0), sizes.max(axis=0)
    return {"distinct": len(sizes), "common": common, "min": low.tolist(), "max": high.tolist()}


def _channels(facts: np.ndarray) -> dict[str, int]:
    names = {1: "grey", 2: "grey and alpha", 3: "colour", 4: "colour and alpha"}
    return {names[number]: count for number, count in sorted(Counter(facts[:, 2].tolist()).items())}


def _default_size(config: Config, data: Data) -> int:
    network = NETWORKS.get(config.backbone)
    if network is None:
        return _own_size(data.summary["image_sizes"])
    return network.usual if config.pretrained else max(network.least, _own_size(data.summary["image_sizes"]))


def _own_size(sizes: dict[str, Any]) -> int:
    """The images' own side if they are all alike, square and small."""
    width, height = sizes["min"]
    alike = sizes["distinct"] == 1 and width == height <= _LARGEST_OWN
    return max(width, _SMALLEST) if alike else _USUAL
