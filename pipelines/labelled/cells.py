"""What the cells of a table say about examples: the label, the labels, the group of each."""

from collections.abc import Sequence

import numpy as np

from pipelines.sources.folders import printable
from pipelines.sources.scan import content_hash
from pipelines.sources.tables import as_text


def labels(values: np.ndarray) -> tuple[np.ndarray, list[str], dict[int, str]]:
    """int32 [n] into names, -1 where there is none; the names; and by row, what is wrong with a label."""
    wrong = {
        row: f"has the label {value!r:.40}: a label is text or a number."
        for row, value in enumerate(values)
        if isinstance(value, list | tuple | dict | bytes)
    }
    codes, names = factorize(["" if row in wrong else as_text(value) for row, value in enumerate(values)])
    return codes, names, wrong


def label_sets(values: np.ndarray, separator: str) -> tuple[np.ndarray, list[str], dict[int, str], list[int]]:
    """bool [n, names]: which labels each cell holds, perhaps none; the names; by row, what is wrong with a cell; and
    the rows that name a label twice.

    A cell is text, its labels between separators, blanks around them left out; or a list of texts or numbers.
    """
    names: dict[str, int] = {}
    wrong: dict[int, str] = {}
    twice: list[int] = []
    rows, columns = [], []
    for row, value in enumerate(values):
        parts = value if isinstance(value, list | tuple) else as_text(value).split(separator)
        if isinstance(value, dict | bytes) or any(isinstance(part, list | tuple | dict | bytes) for part in parts):
            wrong[row] = f"has the labels {value!r:.40}: labels are text or numbers, or a list of them."
            continue
        labels = [label for part in parts if (label := as_text(part).strip())]
        if any(printable(label) != label for label in labels):
            wrong[row] = "holds half a character (an escape from \\ud800 to \\udfff that stands alone): mend the line."
            continue
        if len(set(labels)) < len(labels):
            twice.append(row)
        rows += [row] * len(labels)
        columns += [names.setdefault(label, len(names)) for label in labels]
    found = np.zeros((len(values), len(names)), bool)
    found[rows, columns] = True
    return found, list(names), wrong, twice


def groups(names: list[str], hashes: np.ndarray) -> np.ndarray:
    """int64 [n]: a key for each group. An example of no group is one of its own, as its content has it."""
    keys = (content_hash(name.encode()) if name else own for name, own in zip(names, hashes.tolist(), strict=True))
    return np.fromiter(keys, np.uint64, len(names)).view(np.int64)


def factorize(labels: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """int32 [n] into names in order of appearance, -1 where a label is empty or blank; and the names."""
    codes: dict[str, int] = {}
    column = [codes.setdefault(label, len(codes)) if label.strip() else -1 for label in labels]
    return np.array(column, np.int32), list(codes)
