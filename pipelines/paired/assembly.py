"""From parts to data: which examples are good, who goes to which split, what to say of it."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipelines.config import RunConfig
from pipelines.errors import DataError
from pipelines.paired.findings import about_contents, count_duplicates
from pipelines.paired.parts import Part
from pipelines.readings import Meter, Reading, about_groups, read_all
from pipelines.sources.folders import printable
from pipelines.sources.problems import refuse_bad
from pipelines.splits import SPLITS, Rows, Splits, make_splits
from pipelines.task import Data, Problem, Store


@dataclass(frozen=True)
class Kind:
    """What there is to know of a task's examples."""

    unit: str
    """What an input is: sentence, recording."""
    read: Callable[[str, Meter], Reading[Part]]
    """A source by its name; DataError where it cannot be used as a whole."""
    store: Callable[[Part, np.ndarray], Store]
    """(part, int64 rows of it) -> the examples of a split."""
    describe: Callable[[np.ndarray], dict[str, Any]]
    """facts [n, facts] of all examples that are used -> what the summary says of them."""
    about: Callable[[Mapping[str, Part], Mapping[str, np.ndarray]], list[Problem]] | None = None
    """(parts, the rows of each that can be used) -> further warnings, about all of them together."""


@dataclass(frozen=True)
class Examined:
    """Everything that was read, judged but not yet split."""

    of: Kind
    source: str
    """The kind of the source."""
    parts: dict[str, Part]
    good: dict[str, np.ndarray]
    """int64: the rows of each part that can be used, ascending."""
    bad: list[Problem]
    """Examples that cannot, whatever the reason."""
    warnings: list[Problem]

    @property
    def examples(self) -> int:
        """How many were read, good and bad."""
        malformed = sum(row is None for part in self.parts.values() for row, _ in part.bad)
        return sum(len(part.hashes) for part in self.parts.values()) + malformed


def examine(
    config: RunConfig, kind: Kind, advance: Callable[[int, int], None] | None, *, testing: bool = False
) -> Examined:
    """Read every source of a run; or, of a finished model, what config.data scores it on.

    Args:
        config: names the sources.
        kind: of the task.
        advance: told (done so far, total).
        testing: whether it is for a finished model.

    Raises:
        DataError: a source as a whole cannot be used.
    """
    meter = Meter(advance)
    try:
        source, parts, warnings = read_all(config, lambda spec: kind.read(spec, meter), testing=testing)
    except DataError as error:
        raise DataError(printable(str(error))) from error
    bad = [problem for part in parts.values() for _, problem in part.bad]
    good = {
        name: np.setdiff1d(
            np.arange(len(part.hashes)), np.array([row for row, _ in part.bad if row is not None], np.int64)
        )
        for name, part in parts.items()
    }
    warnings = warnings + [problem for part in parts.values() for problem in part.warnings]
    warnings += about_contents(parts, good, kind.unit) + about_groups(parts, good)
    warnings += [] if kind.about is None else kind.about(parts, good)
    return Examined(kind, source.kind, parts, good, _printable(bad), _printable(warnings))


def split(config: RunConfig, examined: Examined) -> Splits:
    """The three splits, their rows numbered as in the parts. Equal inputs stay together, whatever their targets.

    Raises:
        DataError: there are too few examples.
    """
    given = {name: given_rows(examined, name) for name in SPLITS if name in examined.parts}
    if "train" in given and not len(given["train"].hashes):
        raise DataError(f"{printable(config.data)} holds no usable example to train on.")
    splits = make_splits(given, config.split, config.limit)
    rows = {name: (source, examined.good[source][chosen]) for name, (source, chosen) in splits.rows.items()}
    return Splits(rows, splits.protocol, splits.duplicates)


def given_rows(examined: Examined, name: str) -> Rows:
    """What splits go by: the good rows of a part."""
    part, good = examined.parts[name], examined.good[name]
    groups = None if part.groups is None else part.groups[good]
    return Rows(part.inputs[good], np.zeros(len(good), np.int64), groups, stratum=None)


def assemble(config: RunConfig, examined: Examined, splits: Splits) -> Data:
    """The data of a run."""
    stores = {name: examined.of.store(examined.parts[source], rows) for name, (source, rows) in splits.rows.items()}
    hashes = {name: examined.parts[source].hashes[rows] for name, (source, rows) in splits.rows.items()}
    digest = hashlib.blake2b(digest_size=16)
    for name, found in hashes.items():
        digest.update(b"\0" + name.encode() + b"\0" + found.tobytes())
    return Data(stores, {}, summarise(config, examined, splits), digest.hexdigest(), splits.protocol, hashes)


def summarise(config: RunConfig, examined: Examined, splits: Splits | None) -> dict[str, Any]:
    """JSON for the report; without splits, of all that was read."""
    chosen = splits.rows if splits else {name: (name, rows) for name, rows in examined.good.items()}
    facts = np.concatenate([examined.parts[source].facts[rows] for source, rows in chosen.values()])
    return {
        "source": printable(config.data),
        "kind": examined.source,
        "counts": {name: len(rows) for name, (_, rows) in chosen.items()},
        **examined.of.describe(facts),
        "skipped": [{"where": problem.where, "message": problem.message} for problem in examined.bad],
        "duplicates": count_duplicates(examined.parts, examined.good),
        "warnings": [f"{problem.where}: {problem.message}" for problem in examined.warnings],
        "protocol": splits.protocol if splits else "",
    }


def refuse(config: RunConfig, examined: Examined) -> None:
    """Stop at bad examples, where on_bad does not say otherwise. Raises DataError."""
    bad, examples = examined.bad, examined.examples
    which = "the one example" if examples == 1 else f"{len(bad):,} of {examples:,} examples"
    refuse_bad(config, bad, f"{which} cannot be used (mend them, or leave them out with --on-bad skip):")


def _printable(problems: list[Problem]) -> list[Problem]:
    return [replace(each, where=printable(each.where), message=printable(each.message)) for each in problems]
