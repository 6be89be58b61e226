"""From parts to data: which examples are good, which classes there are, who goes to which split, what to say of it."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import numpy as np

from pipelines.config import RunConfig
from pipelines.errors import DataError
from pipelines.labelled import findings, labels
from pipelines.labelled.parts import Part
from pipelines.readings import Meter, Reading, about_groups, read_all
from pipelines.sources.folders import printable
from pipelines.sources.problems import refuse_bad
from pipelines.sources.scan import content_hash
from pipelines.splits import SPLITS, Rows, Splits, make_splits
from pipelines.task import Data, Problem, Store

_NAMED = 10
_MANY = 20
_RAREST = "set of {unit}s with the same rarest label"


class LabelledStore(Store, Protocol):
    """The examples of one split, with what they are."""

    @property
    def label(self) -> np.ndarray:
        """int32 [n], into assets["classes"]; or bool [n, classes]."""


@dataclass(frozen=True)
class Kind:
    """What there is to know of a task's examples besides their labels."""

    unit: str
    """image, text."""
    read: Callable[[str, Meter], Reading[Part]]
    """A source by its name; DataError where it cannot be used as a whole."""
    store: Callable[[Part, np.ndarray, np.ndarray], LabelledStore]
    """(part, int64 rows of it, their labels into classes) -> the examples of a split."""
    describe: Callable[[np.ndarray], dict[str, Any]]
    """facts [n, facts] of all examples that are used -> what the summary says of them."""


@dataclass(frozen=True)
class Examined:
    """Everything that was read, judged but not yet split."""

    of: Kind
    source: str
    """The kind of the source."""
    parts: dict[str, Part]
    classes: list[str]
    labels: dict[str, np.ndarray]
    """Of each part, into classes: int32 [n], or bool [n, classes] of several labels an example."""
    good: dict[str, np.ndarray]
    """int64: the rows of each part that can be used, ascending."""
    bad: list[Problem]
    """Examples that cannot, whatever the reason."""
    warnings: list[Problem]

    @property
    def several(self) -> bool:
        """Whether an example may have any number of labels."""
        return any(own.ndim == 2 for own in self.labels.values())

    @property
    def examples(self) -> int:
        """How many were read, good and bad."""
        malformed = sum(row is None for part in self.parts.values() for row, _ in part.bad)
        return sum(len(part.labels) for part in self.parts.values()) + malformed


def examine(
    config: RunConfig, kind: Kind, advance: Callable[[int, int], None] | None, classes: list[str] | None = None
) -> Examined:
    """Read and scan every source of a run; or, for a model whose classes are given, what config.data scores it on.

    Args:
        config: names the sources.
        kind: of the task.
        advance: told (done so far, total).
        classes: those of a model; by default the ones that train holds.

    Raises:
        DataError: a source as a whole cannot be used.
    """
    try:
        return _examine(config, kind, advance, classes)
    except DataError as error:
        raise DataError(printable(str(error))) from error


def _examine(
    config: RunConfig, kind: Kind, advance: Callable[[int, int], None] | None, classes: list[str] | None
) -> Examined:
    meter = Meter(advance)
    source, parts, warnings = read_all(config, lambda spec: kind.read(spec, meter), testing=classes is not None)
    warnings += [problem for part in parts.values() for problem in part.warnings]
    return _judge(kind, source.kind, parts, classes, warnings)


def split(config: RunConfig, examined: Examined) -> Splits:
    """The three splits, their rows numbered as in the parts.

    Raises:
        DataError: there are too few examples, or too few classes.
    """
    if examined.several and not examined.classes:
        raise DataError(f"{printable(config.data)} holds no label to train on: at least one is needed.")
    if len(examined.classes) < 2 and not examined.several:
        there = f"the one class {examined.classes[0]!r}" if examined.classes else "no usable example"
        raise DataError(f"{printable(config.data)} holds {there} to train on: at least two classes are needed.")
    given = {name: given_rows(examined, name) for name in SPLITS if name in examined.parts}
    try:
        splits = make_splits(given, config.split, config.limit)
    except DataError as error:
        raise _explained(examined, error) from error
    rows = {name: (source, examined.good[source][chosen]) for name, (source, chosen) in splits.rows.items()}
    refuse_unlabelled(examined, *rows["test"])
    return Splits(rows, splits.protocol, splits.duplicates)


def _explained(examined: Examined, error: DataError) -> DataError:
    """Where nearly every example has a label of its own, that is what is wrong, not the size of a split."""
    count, labels_there = len(examined.good["train"]), len(examined.classes)
    if examined.several or labels_there < _MANY or 2 * labels_there < count:
        return error
    remedy = "name the column of the labels with columns: label=COLUMN, or give more examples of each"
    return DataError(f"{labels_there:,} labels for {count:,} examples, nearly one each: {remedy}.")


def refuse_unlabelled(examined: Examined, source: str, rows: np.ndarray) -> None:
    """Stop where no test example has a label, so that there is nothing to find.

    Raises:
        DataError: there is none.
    """
    if not labels.counts(examined.labels[source][rows], len(examined.classes)).any():
        raise DataError(
            f"no test {examined.of.unit} has a label: nothing could be found. Give --test, or a larger share to "
            "--split."
        )


def untrained(config: RunConfig, examined: Examined, splits: Splits | None) -> list[Problem]:
    """A warning where --split or --limit leaves a class without an example to train on."""
    if splits is None or "train" not in splits.rows:
        return []
    source, rows = splits.rows["train"]
    there = labels.counts(examined.labels[source][rows], len(examined.classes))
    missing = [name for name, count in zip(examined.classes, there, strict=True) if not count]
    if not missing:
        return []
    named = ", ".join(missing[:_NAMED]) + (f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else "")
    message = f"no training example is left of {named}: ask for more with --split or --limit."
    return [Problem("warning", "untrained-class", printable(config.data), message)]


def assemble(config: RunConfig, examined: Examined, splits: Splits) -> Data:
    """The data of a run."""
    stores = {
        name: examined.of.store(examined.parts[source], rows, examined.labels[source][rows])
        for name, (source, rows) in splits.rows.items()
    }
    hashes = {name: _hashes(examined, *chosen) for name, chosen in splits.rows.items()}
    digest = hashlib.blake2b(digest_size=16)
    for text in examined.classes:
        digest.update(text.encode("utf-8", "surrogateescape") + b"\0")
    for name, (source, rows) in splits.rows.items():
        digest.update(b"\0" + name.encode() + b"\0" + examined.parts[source].hashes[rows].tobytes())
        digest.update(stores[name].label.tobytes())
    summary = summarise(config, examined, splits)
    return Data(dict(stores), {"classes": examined.classes}, summary, digest.hexdigest(), splits.protocol, hashes)


def contents(data: Data, split: str) -> np.ndarray:
    """uint64 [n]: the content of each example of a split, whatever its label."""
    store = cast(LabelledStore, data.splits[split])
    return np.asarray(data.hashes[split] ^ _of_labels(data.assets["classes"], store.label))


def summarise(config: RunConfig, examined: Examined, splits: Splits | None) -> dict[str, Any]:
    """JSON for the report; without splits, of all that was read."""
    counts, classes = {}, {}
    chosen = splits.rows if splits else {name: (name, rows) for name, rows in examined.good.items()}
    for name, (source, rows) in chosen.items():
        counts[name] = len(rows)
        number = labels.counts(examined.labels[source][rows], len(examined.classes))
        classes[name] = dict(zip(examined.classes, number.tolist(), strict=True))
    facts = np.concatenate([examined.parts[source].facts[rows] for source, rows in chosen.values()])
    return {
        "source": printable(config.data),
        "kind": examined.source,
        "counts": counts,
        "classes": classes,
        **examined.of.describe(facts),
        "skipped": [{"where": problem.where, "message": problem.message} for problem in examined.bad],
        "duplicates": splits.duplicates if splits else {"total": 0, "across_splits": 0},
        "warnings": [
            f"{problem.where}: {problem.message}" for problem in examined.warnings + untrained(config, examined, splits)
        ],
        "protocol": splits.protocol if splits else "",
    }


def refuse(config: RunConfig, bad: list[Problem], examples: int) -> None:
    """Stop at bad examples, where on_bad does not say otherwise. Raises DataError."""
    which = "the one example" if examples == 1 else f"{len(bad):,} of {examples:,} examples"
    refuse_bad(config, bad, f"{which} cannot be used (mend them, or leave them out with --on-bad skip):")


def _judge(
    kind: Kind, source: str, parts: dict[str, Part], classes: list[str] | None, warnings: list[Problem]
) -> Examined:
    bad = [problem for part in parts.values() for _, problem in part.bad]
    good = {
        name: np.setdiff1d(
            np.arange(len(part.labels)), np.array([row for row, _ in part.bad if row is not None], np.int64)
        )
        for name, part in parts.items()
    }
    chosen = classes or _classes(parts["train"], good["train"])
    known = {}
    for name, part in parts.items():
        known[name], strange = labels.renumbered(part.labels, part.names, chosen)
        unknown = strange[good[name]]
        bad += [_unknown_label(part, row, chosen) for row in good[name][unknown].tolist()]
        good[name] = good[name][~unknown]
    if classes is None:
        warnings = warnings + findings.about_classes(parts, good, chosen, known)
    warnings = warnings + findings.about_contents(parts, good, known) + about_groups(parts, good)
    return Examined(kind, source, parts, chosen, known, good, _printable(bad), _printable(warnings))


def _printable(problems: list[Problem]) -> list[Problem]:
    return [replace(each, where=printable(each.where), message=printable(each.message)) for each in problems]


def _classes(train: Part, good: np.ndarray) -> list[str]:
    there = labels.counts(train.labels[good], len(train.names))
    return sort_classes([train.names[code] for code in np.flatnonzero(there).tolist()])


def sort_classes(names: list[str]) -> list[str]:
    """Numbers by value, anything else by the alphabet: nan too, which has no place among numbers."""
    try:
        if not any(math.isnan(float(name)) for name in names):
            return sorted(names, key=lambda name: (float(name), name))
    except ValueError:
        pass
    return sorted(names)


def _unknown_label(part: Part, row: int, classes: list[str]) -> Problem:
    own = part.labels[row]
    names = [part.names[code] for code in (np.flatnonzero(own).tolist() if own.ndim else [int(own)])]
    label = next(name for name in names if name not in classes)
    shown = ", ".join(classes[:10]) + (", …" if len(classes) > 10 else "")
    message = f"has the label {label!r}, which the training examples do not ({shown})."
    return Problem("error", "unknown-label", part.items.where(row), message)


def given_rows(examined: Examined, name: str) -> Rows:
    """What splits go by: the good rows of a part."""
    part, good = examined.parts[name], examined.good[name]
    own = examined.labels[name][good]
    groups = None if part.groups is None else part.groups[good]
    stratum = _RAREST.format(unit=examined.of.unit) if own.ndim == 2 else "class"
    return Rows(part.hashes[good], labels.strata(own), groups, stratum)


def _hashes(examined: Examined, source: str, rows: np.ndarray) -> np.ndarray:
    """uint64 [rows]: of content and label together."""
    return np.asarray(examined.parts[source].hashes[rows] ^ _of_labels(examined.classes, examined.labels[source][rows]))


def _of_labels(classes: list[str], chosen: np.ndarray) -> np.ndarray:
    """uint64 [rows]: of the labels alone."""
    names = [name.encode("utf-8", "surrogateescape") for name in classes]
    of_classes = np.array([content_hash(name) for name in names], np.uint64)
    if chosen.ndim == 1:
        return np.asarray(of_classes[chosen])
    return np.asarray(np.bitwise_xor.reduce(np.where(chosen, of_classes, np.uint64(0)), axis=1))
