"""Images and labels inside the serialized records of TensorFlow Datasets."""

from collections.abc import Callable, Mapping

import numpy as np

from pipelines.labelled.records import feature_pair, named
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
    return feature_pair(dataset, columns, "image", is_image)


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
    labels, names = named(dataset.features[label], found.facts[:, _LABEL])
    return images, found, labels, names
