"""Pairs of texts inside the serialized records of TensorFlow Datasets."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.scan import BadExample
from pipelines.sources.tfds import Dataset, is_text, parse
from tasks.translation.data.aligned import Direction

_BLOCK = 1024
"""Records that are read in one call."""


def features(dataset: Dataset, columns: Mapping[str, str] | None, direction: Direction) -> tuple[str, str]:
    """The names of the features that hold source and target: as mapped, of the languages that were named, as called so,
    as supervised. Those within another are named with it, as translation/en.

    Raises:
        DataError: there are none, or it stays open which they are.
    """
    there = sorted(_texts(dataset.features))
    for role in columns or {}:
        if role not in ("source", "target"):
            raise DataError(
                f"columns maps {role!r}, which a tfds source of translations has no use for: there are source and "
                "target."
            )
    if columns:
        return _mapped(dataset, columns, there, "source"), _mapped(dataset, columns, there, "target")
    short = [language(name) for name in there]
    by_language = {own if short.count(own) == 1 else name: name for own, name in zip(short, there, strict=True)}
    if direction != Direction():
        pair = direction.among(sorted(by_language), dataset.name)
        return by_language[pair[0]], by_language[pair[1]]
    for pair in (("source", "target"), dataset.supervised or ("", "")):
        if pair[0] in by_language and pair[1] in by_language:
            return by_language[pair[0]], by_language[pair[1]]
    if len(there) < 2:
        raise DataError(f"{dataset.name} has no two features that are texts: its features are {_listed(dataset)}.")
    pair = Direction().among(sorted(by_language), dataset.name)
    return by_language[pair[0]], by_language[pair[1]]


def read_records(
    dataset: Dataset, split: str, names: tuple[str, str]
) -> tuple[tuple[np.ndarray, np.ndarray], dict[int, BadExample]]:
    """Every pair of a split: sources and targets, object [n], of bytes, b"" where a record is damaged; and by row, what
    is wrong with it."""
    stored = dataset.splits[split]
    columns = (np.full(len(stored), b"", object), np.full(len(stored), b"", object))
    damaged: dict[int, BadExample] = {}
    for start in range(0, len(stored), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(stored)))
        for row, record in zip(rows.tolist(), stored.read(rows), strict=True):
            try:
                found = parse(record)
                pair = [found[name].bytes_list.value[0] for name in names]
            except (ValueError, IndexError):
                message = f"is no example with {' and '.join(names)}: the file is damaged."
                damaged[row] = BadExample("undecodable", message)
            else:
                columns[0][row], columns[1][row] = pair
    return columns, damaged


def language(feature: str) -> str:
    """'translation/en' -> 'en'."""
    return feature.rpartition("/")[2]


def _texts(features: Any, within: str = "") -> Iterator[str]:
    """The names of all texts, those of features within features too."""
    for name in features:
        if is_text(features[name]):
            yield within + name
        elif hasattr(features[name], "keys"):
            yield from _texts(features[name], f"{within}{name}/")


def _mapped(dataset: Dataset, columns: Mapping[str, str], there: list[str], role: str) -> str:
    if columns.get(role) in there:
        return columns[role]
    if role not in columns:
        raise DataError(f"columns does not say which feature is the {role}: there are {', '.join(there)}.")
    near = difflib.get_close_matches(columns[role], there, n=1)
    guess = f"did you mean {near[0]!r}? There are" if near else "there are"
    raise DataError(f"{dataset.name} has no text {columns[role]!r} (for {role}): {guess} {', '.join(there)}.")


def _listed(dataset: Dataset) -> str:
    return ", ".join(sorted(dataset.features))
