"""Images and labels inside the serialized records of TensorFlow Datasets."""

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.scan import BadExample, Scan, scan
from pipelines.sources.tfds import Dataset, is_image, parse
from tasks.image_classification.data.inspection import FACTS, inspect
from tasks.image_classification.data.stores import Encoded

_LABEL, _START, _LENGTH = FACTS, FACTS + 1, FACTS + 2


def features(dataset: Dataset, columns: Mapping[str, str] | None) -> tuple[str, str]:
    """The names of the features that hold image and label: as mapped, as called so, as supervised, or the only ones.

    Raises:
        DataError: there are none.
    """
    columns = columns or {}
    for name in columns:
        if name not in ("image", "label"):
            raise DataError(
                f"columns maps {name!r}, which a tfds source of images has no use for: there are image and label."
            )
    image = _feature(dataset, columns, "image", 0, is_image)
    label = _feature(dataset, columns, "label", 1, _is_label)
    return image, label


def scan_records(
    dataset: Dataset, split: str, image: str, label: str, version: str, advance: Callable[[int], None]
) -> tuple[Encoded, Scan, np.ndarray, list[str]]:
    """The images, what is known of each, their labels (int32 into names, -1 for none) and the names."""
    stored = dataset.splits[split]

    def look(row: int) -> tuple[int, tuple[int, ...]]:
        record = stored.read(np.array([row]))[0]
        try:
            parsed = parse(record)
            data = parsed[image].bytes_list.value[0]
            number = parsed[label].int64_list.value[0]
        except (ValueError, IndexError) as error:
            raise BadExample("undecodable", f"is no example with {image} and {label}: the file is damaged.") from error
        content, facts = inspect(data)
        # The image's bytes stand in the record as they are: where, is all that fetching needs.
        return content, (*facts, number, record.find(data), len(data))

    found = scan(stored.keys(), look, FACTS + 3, f"{version}|{dataset.folder}|{split}|{image}|{label}", advance)
    images = Encoded(stored, found.facts[:, _START : _LENGTH + 1], f"{dataset.name} {split}")
    labels, names = _named(dataset.features[label], found.facts[:, _LABEL])
    return images, found, labels, names


def _named(feature: Any, numbers: np.ndarray) -> tuple[np.ndarray, list[str]]:
    if hasattr(feature, "num_classes"):
        names = list(feature.names)
        return np.where((numbers >= 0) & (numbers < len(names)), numbers, -1).astype(np.int32), names
    values, codes = np.unique(numbers, return_inverse=True)
    return codes.astype(np.int32), [str(value) for value in values.tolist()]


def _is_label(feature: Any) -> bool:
    return hasattr(feature, "num_classes") or (not feature.shape and np.issubdtype(feature.np_dtype, np.integer))


def _feature(dataset: Dataset, columns: Mapping[str, str], name: str, place: int, fits: Callable[[Any], bool]) -> str:
    there = list(dataset.features)
    if name in columns and columns[name] not in there:
        near = difflib.get_close_matches(columns[name], there, n=1)
        guess = f"did you mean {near[0]!r}? There are" if near else "there are"
        raise DataError(f"{dataset.name} has no feature {columns[name]!r} (for {name}): {guess} {', '.join(there)}.")
    supervised = [dataset.supervised[place]] if dataset.supervised else []
    fitting = [feature for feature in there if fits(dataset.features[feature])]
    wanted = [columns[name]] if name in columns else [name, *supervised, *(fitting if len(fitting) == 1 else [])]
    for candidate in wanted:
        if candidate in fitting:
            return candidate
    choice = ", ".join(fitting) or f"none of {', '.join(there)}"
    raise DataError(
        f"{dataset.name} does not say which feature is the {name}: map columns {name}=FEATURE; there are {choice}."
    )
