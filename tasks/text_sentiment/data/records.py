"""Texts and labels inside the serialized records of TensorFlow Datasets."""

from collections.abc import Mapping

import numpy as np

from pipelines.labelled import cells
from pipelines.labelled.records import feature_pair, is_label, named
from pipelines.sources.scan import BadExample
from pipelines.sources.tfds import Dataset, is_text, parse

_BLOCK = 1024
"""Records that are read in one call."""


def features(dataset: Dataset, columns: Mapping[str, str] | None) -> tuple[str, str]:
    """The names of the features that hold text and label: as mapped, as called so, as supervised, or the only ones. A
    label may be a text itself where it is mapped or called so.

    Raises:
        DataError: there are none.
    """
    label = (columns or {}).get("label", "label")
    worded = label in dataset.features and is_text(dataset.features[label])
    return feature_pair(dataset, columns, "text", is_text, is_text if worded else is_label)


def read_records(
    dataset: Dataset, split: str, text: str, label: str
) -> tuple[np.ndarray, np.ndarray, list[str], dict[int, BadExample]]:
    """Every text and label of a split.

    Returns:
        The texts, object [n], of bytes, b"" where a record is damaged; the labels, int32 [n] into names, -1 for none;
        the names; and by row, what is wrong with a record.
    """
    stored = dataset.splits[split]
    texts = np.full(len(stored), b"", object)
    worded = is_text(dataset.features[label])
    labels = np.full(len(stored), b"", object) if worded else np.full(len(stored), -1, np.int64)
    damaged: dict[int, BadExample] = {}
    for start in range(0, len(stored), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(stored)))
        for row, record in zip(rows.tolist(), stored.read(rows), strict=True):
            try:
                found = parse(record)
                said = (found[label].bytes_list if worded else found[label].int64_list).value[0]
                texts[row], labels[row] = found[text].bytes_list.value[0], said
            except (ValueError, IndexError):
                message = f"is no example with {text} and {label}: the file is damaged."
                damaged[row] = BadExample("undecodable", message)
    if worded:
        codes, names = cells.factorize([value.decode("utf-8", "replace") for value in labels.tolist()])
    else:
        codes, names = _numbered(dataset, label, labels, damaged)
    return texts, codes, names, damaged


def _numbered(
    dataset: Dataset, label: str, numbers: np.ndarray, damaged: dict[int, BadExample]
) -> tuple[np.ndarray, list[str]]:
    """As named, but that a damaged record makes no class of its own."""
    good = np.setdiff1d(np.arange(len(numbers)), list(damaged))
    codes = np.full(len(numbers), -1, np.int32)
    codes[good], names = named(dataset.features[label], numbers[good])
    return codes, names
