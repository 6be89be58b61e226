"""Everything that is read of a run's data and judged, before it is filtered or split."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.errors import DataError
from pipelines.readings import Meter
from pipelines.sources.folders import printable
from pipelines.sources.problems import refuse_bad
from pipelines.task import Problem
from tasks.recommendation.config import Config
from tasks.recommendation.data import features
from tasks.recommendation.data.interactions import Interactions, joined, taken, without
from tasks.recommendation.data.parts import Reading, read_source
from tasks.recommendation.data.splits import SPLITS
from tasks.recommendation.data.tables import Wanted


@dataclass(frozen=True)
class Examined:
    """Everything that was read and judged, not yet filtered or split."""

    rows: Interactions
    piece: np.ndarray
    """int8 [n]: the split that a row was given for."""
    given: bool
    """There is a test, or a validation to test on."""
    candidates: Interactions | None
    tables: dict[str, features.Table]
    """Of user and item, what is said of them."""
    kind: str
    """Of the source."""
    bad: list[Problem]
    warnings: list[Problem]

    @property
    def origin(self) -> dict[str, bool]:
        """What the data are, as an asset."""
        rows = self.rows
        return {
            "ordered": rows.ordered,
            "times": rows.time is not None,
            "ratings": rows.rating is not None,
            "given": self.given,
            "sampled": self.candidates is not None,
        }


def examine(config: Config, advance: Callable[[int, int], None] | None = None) -> Examined:
    """Read every source of a run.

    Raises:
        DataError: a source as a whole cannot be used.
    """
    try:
        return _examine(config, advance)
    except DataError as error:
        raise DataError(printable(str(error))) from error


def _examine(config: Config, advance: Callable[[int, int], None] | None) -> Examined:
    if config.columns and config.data.startswith("sample"):
        raise DataError(f"columns were given and {config.data} has none: they are for tables.")
    meter = Meter(advance)
    how = Wanted(dict(config.columns or {}), config.encoding)
    beside = frozenset(Path(spec).expanduser().resolve() for spec in (config.users, config.items) if spec)
    main = read_source(config.data, how, beside)
    readings = [main]
    pieces, candidates = dict(main.pieces), main.candidates
    for name, spec in (("valid", config.valid), ("test", config.test)):
        if spec is not None:
            readings.append(read_source(spec, how, beside))
            pieces[name] = _one_piece(readings[-1], name)
            # Candidates are those of the test that they came with, and of no other.
            candidates = readings[-1].candidates if name == "test" else candidates
    if "train" not in pieces:
        raise DataError(
            f"{config.data} is a test and holds nothing to train on: name that with data, and this as test."
        )
    if "valid" in pieces and "test" not in pieces:
        pieces["test"], candidates = pieces.pop("valid"), readings[-1].candidates
    order = [name for name in SPLITS if name in pieces]
    pieces, notes = _alike(config, pieces)
    rows = joined([pieces[name] for name in order])
    meter.expect(len(rows))
    piece = np.repeat(np.array([SPLITS[name] for name in order], np.int8), [len(pieces[name]) for name in order])
    tables = _tables(config)
    meter(len(rows))
    bad = rows.bad + [problem for table in tables.values() for problem in table.bad]
    warnings = [problem for reading in readings for problem in reading.warnings] + notes
    if rows.refused is not None and rows.refused.any():
        piece = piece[~rows.refused]
        rows = taken(rows, ~rows.refused)
    if not len(rows):
        why = f": {bad[0].where} {bad[0].message}" if bad else "."
        raise DataError(f"{config.data} holds no interaction that can be used{why}")
    return Examined(rows, piece, "test" in pieces, candidates, tables, main.source.kind, bad, warnings)


def _alike(config: Config, pieces: dict[str, Interactions]) -> tuple[dict[str, Interactions], list[Problem]]:
    """What only some of the splits have, times or ratings that are not predicted, is not used of any."""
    notes = []
    for what in ("rating", "time"):
        there = {split for split, rows in pieces.items() if getattr(rows, what) is not None}
        if not there or len(there) == len(pieces) or (config.rates and what == "rating"):
            continue
        pieces = {split: without(rows, what) for split, rows in pieces.items()}
        message = f"the {what}s of {' and '.join(sorted(there))} are not used, as not all splits have some."
        notes.append(Problem("warning", "unused-column", printable(config.data), message))
    return pieces, notes


def _tables(config: Config) -> dict[str, features.Table]:
    tables = {
        role: features.read_features(spec, role, config.encoding)
        for role, spec in (("user", config.users), ("item", config.items))
        if spec is not None
    }
    if config.data == "sample":
        from tasks.recommendation.data.sample import sample_items, sample_users

        tables = {"user": sample_users(), "item": sample_items(), **tables}
    return tables


def refuse(config: Config, examined: Examined) -> None:
    """Stop at what is wrong, where on_bad does not say otherwise. Raises DataError."""
    rows = "1 row" if len(examined.bad) == 1 else f"{len(examined.bad):,} rows"
    refuse_bad(config, examined.bad, f"{rows} cannot be used (mend them, or leave them out with --on-bad skip):")


def _one_piece(reading: Reading, split: str) -> Interactions:
    if split in reading.pieces:
        return reading.pieces[split]
    if list(reading.pieces) == ["train"]:
        return reading.pieces["train"]
    there = ", ".join(reading.pieces)
    raise DataError(f"{reading.source.spec} (given as {split}) brings the splits {there}, not {split}: name the one.")
