"""What sources give: parts, one for each split that a source brings, and which of them a run uses. Imports no
TensorFlow."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from pipelines.config import RunConfig
from pipelines.errors import DataError
from pipelines.sources import Source
from pipelines.sources.folders import SPLIT_NAMES
from pipelines.sources.tfds import Dataset
from pipelines.task import Problem

_NAMED = 3
"""Groups."""
P = TypeVar("P")
"""All examples of one split as a source gives it."""


@dataclass(frozen=True)
class Reading(Generic[P]):
    """What a source gives."""

    source: Source
    parts: dict[str, P]
    """By split; train alone where the source brings no splits."""
    warnings: list[Problem]


class Meter:
    """Counts what is done of what there is to do, over several scans."""

    def __init__(self, advance: Callable[[int, int], None] | None) -> None:
        self._advance = advance
        self._done = 0
        self._total = 0

    def expect(self, examples: int) -> None:
        """So many more are to be done."""
        self._total += examples

    def __call__(self, examples: int) -> None:
        self._done += examples
        if self._advance:
            self._advance(self._done, self._total)


def read_all(
    config: RunConfig, read: Callable[[str], Reading[P]], *, testing: bool
) -> tuple[Source, dict[str, P], list[Problem]]:
    """Every source of a run.

    Args:
        config: names them.
        read: a source by its name.
        testing: only what config.data scores a finished model on: its test split, or all of it.

    Returns:
        The main source; the parts that are used, by what they are given as; warnings.

    Raises:
        DataError: a source as a whole cannot be used.
    """
    main = read(config.data)
    readings = [main]
    parts = {"test": main.parts[_scored(main.parts)]} if testing else main.parts
    unused: list[Problem] = []
    for name, spec in (("valid", config.valid), ("test", config.test)):
        if spec is not None and not testing:
            reading = read(spec)
            readings.append(reading)
            unused += _unused(main, reading, name)
            parts = {**parts, name: _one_part(reading, name)}
    if config.columns and not any(reading.source.kind in ("table", "tables", "tfds") for reading in readings):
        raise DataError(f"columns were given and {config.data} has none: they are for tables and tfds.")
    return main.source, parts, [problem for reading in readings for problem in reading.warnings] + unused


def dataset_splits(source: Source, dataset: Dataset) -> tuple[dict[str, str], list[Problem]]:
    """The splits of a TensorFlow data set that are read, by what they are here; and a note on those that are not.

    Raises:
        DataError: none of them is to train on.
    """
    known = {SPLIT_NAMES.get(name, ""): name for name in dataset.splits}
    splits = {split: name for split, name in known.items() if split} if "train" in known else {}
    if not splits and len(dataset.splits) == 1:
        splits = {"train": next(iter(dataset.splits))}
    left = sorted(set(dataset.splits) - set(splits.values()))
    if not splits:
        raise DataError(f"{source.spec} has no train split: there are {', '.join(left)}.")
    message = f"not read: the splits {', '.join(left)}."
    return splits, [Problem("warning", "not-read", source.spec, message)] if left else []


def _scored(parts: Mapping[str, P]) -> str:
    return next(name for name in ("test", "valid", "train") if name in parts)


def _one_part(reading: Reading[P], split: str) -> P:
    """The part of a further source: all of it, or its split of that name."""
    if split in reading.parts:
        return reading.parts[split]
    if list(reading.parts) == ["train"]:
        return reading.parts["train"]
    there = ", ".join(reading.parts)
    raise DataError(
        f"{reading.source.spec} (given as {split}) brings the splits {there}, not {split}: name the one that is meant."
    )


def _unused(main: Reading[P], further: Reading[P], split: str) -> list[Problem]:
    """Splits that a source brings and that are not used."""
    spec = further.source.spec
    problems = []
    if split in main.parts:
        message = f"its own {split} split is not used, as {spec} is given as {split}."
        problems.append(Problem("warning", "not-used", main.source.spec, message))
    others = ", ".join(name for name in further.parts if name != split)
    if split in further.parts and others and spec != main.source.spec:
        problems.append(
            Problem("warning", "not-used", spec, f"given as {split}: its other splits ({others}) are not used.")
        )
    return problems


class Grouped(Protocol):
    """A part whose examples may belong together."""

    @property
    def group_names(self) -> list[str]:
        """Of each example, where there are groups; '' for none."""


def about_groups(parts: Mapping[str, Grouped], good: Mapping[str, np.ndarray]) -> list[Problem]:
    """A warning where a group (a patient, a speaker, a document) stands in several of the given splits.

    Args:
        parts: by split.
        good: int64: the rows of each that can be used.
    """
    splits: dict[str, set[str]] = defaultdict(set)
    for split, part in parts.items():
        for row in good[split].tolist() if part.group_names else []:
            splits[part.group_names[row]].add(split)
    shared = sorted(name for name, stands in splits.items() if name and len(stands) > 1)
    if not shared:
        return []
    subject = "1 group stands" if len(shared) == 1 else f"{len(shared):,} groups stand"
    where = ", ".join(shared[:_NAMED]) + (", …" if len(shared) > _NAMED else "")
    message = f"{subject} in more than one split, which flatters the score: keep it in one."
    return [Problem("warning", "group-across-splits", where, message)]
