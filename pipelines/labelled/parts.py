"""A source of labelled examples read into parts, one for each split it brings."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from pipelines.errors import DataError
from pipelines.labelled import cells
from pipelines.labelled.labels import missing
from pipelines.sources import Source
from pipelines.sources.folders import printable
from pipelines.sources.scan import BadExample
from pipelines.sources.tables import Table, as_text
from pipelines.task import Problem

_MOST_GROUPS = 100


class Items(Protocol):
    """The inputs of all examples of one source: images, texts."""

    def where(self, row: int) -> str:
        """How a person finds it again."""


@dataclass(frozen=True)
class Part:
    """All examples of one split as a source gives it."""

    items: Items
    labels: np.ndarray
    """int32 [n], into names; -1 where there is none. Or bool [n, names]: see labelled.labels."""
    names: list[str]
    hashes: np.ndarray
    """uint64 [n]."""
    facts: np.ndarray
    """int64 [n, facts]: what the task knows of each."""
    bad: list[tuple[int | None, Problem]]
    """Examples that cannot be used, by row; None where a malformed line of a table is not even a row."""
    groups: np.ndarray | None = None
    """int64 [n]."""
    group_names: list[str] = field(default_factory=list)
    """Of each example, where there are groups; '' for none."""
    compared: np.ndarray | None = None
    """object [n], of texts: the column that scores are told apart by."""
    warnings: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class Wanted:
    """What is read of a source besides the inputs, and how."""

    columns: Mapping[str, str] | None = None
    separator: str | None = None
    """Between the labels of an example; None: each has one label."""
    group_by: str | None = None
    """The column that scores are told apart by."""
    labelled: bool = True
    """False: tables need no column of labels, and folders no classes."""

    def mapped(self) -> dict[str, str]:
        """The task's names of columns -> the table's, as far as they are given."""
        return {**(self.columns or {}), **({} if self.group_by is None else {"group_by": self.group_by})}

    def names(self, given: str) -> tuple[list[str], list[str]]:
        """The columns that a table must have and those that it may, of which `given` is the input's."""
        if not self.labelled:
            return [given], []
        return [given, "label"], ["group"] + ([] if self.group_by is None else ["group_by"])

    def check(self, source: Source) -> None:
        """See that a source can give what is wanted.

        Raises:
            DataError: it cannot.
        """
        if source.kind == "sample" and source.spec != "sample":
            raise DataError(f"there is no built-in sample {source.spec!r}: there is one, sample.")
        if source.kind in ("table", "tables"):
            return
        for name, value in (("multi_label", self.separator), ("group_by", self.group_by)):
            if value is not None:
                raise DataError(
                    f"{name} is for tables, and {source.spec} is none: list the examples and their labels in one."
                )


@dataclass(frozen=True)
class Labels:
    """What the label column of a table says."""

    codes: np.ndarray
    """As Part.labels."""
    names: list[str]
    wrong: dict[int, BadExample]
    """Rows whose cell is no label."""
    twice: list[int]
    """Rows that name a label twice."""


def labels_of(table: Table, wanted: Wanted) -> Labels:
    """The labels of a table; none but the nameless where they are not looked at."""
    if not wanted.labelled:
        return Labels(np.zeros(len(table.rows), np.int32), [""], {}, [])
    twice: list[int] = []
    if wanted.separator is None:
        codes, names, wrong = cells.labels(table.columns["label"])
    else:
        codes, names, wrong, twice = cells.label_sets(table.columns["label"], wanted.separator)
    return Labels(codes, names, {row: BadExample("malformed-row", message) for row, message in wrong.items()}, twice)


def completed(part: Part, table: Table, wanted: Wanted, labels: Labels) -> Part:
    """A table's part with its malformed lines, its groups, and what scores are told apart by."""
    part = replace(part, bad=part.bad + [(None, problem) for problem in table.bad])
    part = replace(part, warnings=part.warnings + _repeated(part.items, labels.twice))
    if wanted.group_by is not None:
        part = replace(part, compared=compared(table.path, wanted.group_by, table.columns["group_by"]))
    if "group" not in table.columns:
        return part
    groups = cell_texts(table.columns["group"]).tolist()
    return replace(part, groups=cells.groups(groups, part.hashes), group_names=groups)


def bad_rows(items: Items, found: Mapping[int, BadExample], labels: np.ndarray) -> list[tuple[int | None, Problem]]:
    """Examples that cannot be used, and those that lack the label they must have."""
    bad: list[tuple[int | None, Problem]] = [
        (row, Problem("error", example.kind, items.where(row), example.message)) for row, example in found.items()
    ]
    empty = [row for row in missing(labels).tolist() if row not in found]
    return bad + [
        (row, Problem("error", "empty-label", items.where(row), "has no label: fill it in.")) for row in empty
    ]


def compared(path: Path, name: str, column: np.ndarray) -> np.ndarray:
    """object [n], of texts: a table's column `name`, by which scores are told apart.

    Raises:
        DataError: it holds too many values for that.
    """
    texts = cell_texts(column)
    different = len(set(texts.tolist()))
    if different > _MOST_GROUPS:
        raise DataError(
            f"{path} has {different:,} values in {name!r}, by which group_by would tell scores apart: "
            f"choose a column of at most {_MOST_GROUPS}."
        )
    return texts


def cell_texts(column: np.ndarray) -> np.ndarray:
    """object [n]: cells as texts, '' for none."""
    texts = np.empty(len(column), object)
    texts[:] = [printable(as_text(value).strip()) for value in column]
    return texts


def _repeated(items: Items, rows: list[int]) -> list[Problem]:
    if not rows:
        return []
    which = "this example" if len(rows) == 1 else f"{len(rows):,} examples like this one"
    message = f"{which} {'has' if len(rows) == 1 else 'have'} a label twice: it counts once."
    return [Problem("warning", "repeated-label", items.where(rows[0]), message)]
