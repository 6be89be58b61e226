"""Translations: from a source to splits, and what is wrong with them. Imports no TensorFlow."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np

from pipelines import paired
from pipelines.paired.parts import Part
from pipelines.task import Assets, CheckReport, Data, Raw, Store
from tasks.translation.config import Config
from tasks.translation.data.aligned import Direction
from tasks.translation.data.header import Wanted
from tasks.translation.data.inputs import inputs
from tasks.translation.data.parts import read_source
from tasks.translation.data.stores import Pairs, PairStore

__all__ = ["check_data", "inputs", "load_data", "load_test", "references"]

_SAMPLE = (
    "These pairs are synthetic, num2words' words in a few phrases; no number, year, price or time of the test stands "
    "by itself in training."
)


def load_data(config: Config, advance: Callable[[int, int], None] | None = None) -> Data:
    """The data of a run: train, valid and test as PairStore, not tokenised yet, and assets {"languages": {"source":
    name, "target": name}}.

    Raises:
        DataError: a source cannot be used, or (on_bad: fail) an example.
    """
    data = paired.load_data(config, _kind(config), advance)
    if config.data == "sample":
        protocol = f"{data.protocol} {_SAMPLE}"
        data = replace(data, protocol=protocol, summary={**data.summary, "protocol": protocol})
    return _with_languages(data, "train")


def load_test(config: Config, assets: Assets) -> Data:
    """What a finished model is scored on, as the only split, test: all of config.data, or its test split if it has one.

    Raises:
        DataError: as load_data.
    """
    languages = assets["languages"]
    direction = Direction(config.source_lang or languages["source"], config.target_lang or languages["target"])
    return _with_languages(paired.load_test(config, _kind(config, direction)), "test")


def check_data(config: Config, advance: Callable[[int, int], None] | None = None) -> CheckReport:
    """Everything that is wrong with the data of a run, in one pass; what load_data would stop at is an error.

    Args:
        config: names the sources.
        advance: told (done so far, total).

    Raises:
        DataError: a source as a whole cannot be used.
    """
    return paired.check_data(config, _kind(config), advance)


def references(store: Store) -> Raw:
    """The truth about every example: source and target object [n], of texts; tokens int64 [n], pieces of the whole
    source; group_by object [n], of texts, where scores are told apart."""
    pairs = cast(PairStore, store)
    every = np.arange(len(pairs))
    found = {"source": _column(pairs.sources(every)), "target": _column(pairs.targets(every)), "tokens": pairs.length}
    return found if pairs.compared is None else {**found, "group_by": pairs.compared}


def _kind(config: Config, direction: Direction | None = None) -> paired.Kind:
    wanted = Wanted(
        direction or Direction(config.source_lang, config.target_lang),
        config.columns,
        config.group_by,
        config.encoding,
        config.longest_ratio,
    )
    return paired.Kind("sentence", lambda spec, meter: read_source(spec, wanted, meter), _store, _describe)


def _store(part: Part, rows: np.ndarray) -> PairStore:
    groups, compared = (None if column is None else column[rows] for column in (part.groups, part.compared))
    return PairStore(cast(Pairs, part.items), rows, groups, compared)


def _describe(facts: np.ndarray) -> dict[str, Any]:
    """How long the texts are, in words."""
    sides = zip(("source", "target"), facts.T, strict=True)
    return {"words": {name: _spread(counts) for name, counts in sides if len(counts)}}


def _spread(counts: np.ndarray) -> str:
    return f"{counts.min():,} to {counts.max():,}, median {int(np.median(counts)):,}"


def _with_languages(data: Data, split: str) -> Data:
    source, target = cast(PairStore, data.splits[split]).items.languages
    return replace(
        data,
        assets={**data.assets, "languages": {"source": source, "target": target}},
        summary={"languages": f"{source} to {target}", **data.summary},
    )


def _column(texts: list[str]) -> np.ndarray:
    column = np.empty(len(texts), object)
    column[:] = texts
    return column
