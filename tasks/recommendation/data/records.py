"""Interactions inside the serialized records of TensorFlow Datasets."""

from typing import Any

import numpy as np

from pipelines.errors import DataError
from pipelines.readings import dataset_splits
from pipelines.sources import Source
from pipelines.sources.columns import Cells, Texts
from pipelines.sources.tables import as_text
from pipelines.sources.tfds import Dataset, open_dataset, parse
from pipelines.task import Problem
from tasks.recommendation.data.interactions import Interactions
from tasks.recommendation.data.tables import ROLES_CALLED, Wanted, from_cells

_BLOCK = 4096
"""Records that are read in one call."""


def read_dataset(source: Source, wanted: Wanted) -> tuple[dict[str, Interactions], list[Problem]]:
    """The interactions of a data set by split, and a note on what of it is not read.

    Raises:
        DataError: it is not there, or has no user and item.
    """
    dataset = open_dataset(source.spec)
    layout = _layout(source.spec, dataset, wanted.columns)
    splits, notes = dataset_splits(source, dataset)
    return {split: _read(source.spec, dataset, name, layout) for split, name in splits.items()}, notes


def _layout(spec: str, dataset: Dataset, columns: dict[str, str]) -> dict[str, str]:
    """The feature of each role."""
    there = list(dataset.features)
    found = dict(columns) or {
        role: name for role, names in ROLES_CALLED.items() for name in [_first(names, there)] if name is not None
    }
    for role in ("user", "item", *found):
        if role not in found or found[role] not in there:
            raise DataError(
                f"{spec} has no feature for {role}: map it with --columns {role}=FEATURE; there are {', '.join(there)}."
            )
    return found


def _first(names: tuple[str, ...], there: list[str]) -> str | None:
    return next((name for name in names if name in there), None)


def _read(spec: str, dataset: Dataset, split: str, layout: dict[str, str]) -> Interactions:
    stored = dataset.splits[split]
    codes: dict[str, dict[str, int]] = {"user": {}, "item": {}}
    columns = {role: np.full(len(stored), -1.0 if role in codes else np.nan) for role in layout}
    bad: list[Problem] = []

    def where(row: int) -> str:
        return f"{spec} {split}[{row}]"

    for start in range(0, len(stored), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(stored)))
        for row, record in zip(rows.tolist(), stored.read(rows), strict=True):
            try:
                found = parse(record)
            except ValueError:
                bad.append(Problem("error", "undecodable", where(row), "is no example: the file is damaged."))
                continue
            for role, name in layout.items():
                value = _value(found[name])
                if role in codes:
                    text = as_text(value).strip()
                    columns[role][row] = codes[role].setdefault(text, len(codes[role])) if text else -1
                else:
                    columns[role][row] = np.nan if value is None else value
    cells: dict[str, Cells] = {
        role: Texts(column.astype(np.int32), list(codes[role])) if role in codes else column
        for role, column in columns.items()
    }
    return from_cells(cells, layout, where, bad)


def _value(feature: Any) -> Any:
    """The first value of a feature, None where it has none."""
    kind = feature.WhichOneof("kind")
    values = getattr(feature, kind).value if kind else ()
    if not values:
        return None
    return values[0].decode("utf-8", "replace") if kind == "bytes_list" else values[0]
