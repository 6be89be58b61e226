"""A source of inputs and target texts read into parts, one for each split it brings."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from pipelines.sources.scan import content_hash
from pipelines.task import Problem


class Items(Protocol):
    """The inputs and targets of all examples of one source."""

    def where(self, row: int) -> str:
        """How a person finds it again."""


@dataclass(frozen=True)
class Part:
    """All examples of one split as a source gives it."""

    items: Items
    inputs: np.ndarray
    """uint64 [n]: hashes of the inputs alone."""
    hashes: np.ndarray
    """uint64 [n]: of inputs and targets together, as `joint_hashes` makes them."""
    facts: np.ndarray
    """int64 [n, facts]: what the task knows of each."""
    bad: list[tuple[int | None, Problem]]
    """Examples that cannot be used, by row; None where a malformed line of a table is not even a row."""
    groups: np.ndarray | None = None
    """int64 [n]: what must stay together (a speaker, a document)."""
    group_names: list[str] = field(default_factory=list)
    """Of each example, where there are groups; '' for none."""
    compared: np.ndarray | None = None
    """object [n], of texts: the column that scores are told apart by."""
    warnings: list[Problem] = field(default_factory=list)


def joint_hashes(inputs: np.ndarray, targets: Sequence[bytes]) -> np.ndarray:
    """uint64 [n]: of each input, by its hash, and its target, in UTF-8. Input and target do not change places."""
    of_targets = np.fromiter((content_hash(b"target\0" + text) for text in targets), np.uint64, len(targets))
    return np.asarray(inputs ^ of_targets)
