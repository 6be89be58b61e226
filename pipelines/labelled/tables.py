"""Answers about classes as a table."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pipelines.task import Record, Table


def class_table(
    columns: Sequence[str],
    classes: Sequence[str],
    cells: Callable[[Record], Mapping[str, Any]],
    probabilities: Callable[[Record], Iterable[float]],
) -> Table:
    """A row for each record: `columns`, and `probability_NAME` of every class.

    Args:
        columns: the first ones.
        classes: their names, in order.
        cells: a record -> its cells of the first columns.
        probabilities: a record -> those of all classes, in order.
    """
    each = [f"probability_{name}" for name in classes]

    def rows(record: Record) -> list[dict[str, Any]]:
        return [{**cells(record), **dict(zip(each, probabilities(record), strict=True))}]

    return Table((*columns, *each), rows)
