"""Labelled texts: from a source to splits, and what is wrong with them. Imports no TensorFlow."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np

from pipelines import labelled
from pipelines.labelled.parts import Part
from pipelines.task import Assets, CheckReport, Data, Raw, Store
from tasks.text_sentiment.config import Config
from tasks.text_sentiment.data.inputs import inputs
from tasks.text_sentiment.data.parts import TextsWanted, read_source
from tasks.text_sentiment.data.stores import Texts, TextStore

__all__ = ["check_data", "inputs", "load_data", "load_test", "references"]

_SYNTHETIC = "These texts are synthetic: a generator in the package made them."


def load_data(config: Config, advance: Callable[[int, int], None] | None = None) -> Data:
    """The data of a run: train, valid and test as TextStore, not tokenised yet, and assets {"classes": [names]}.

    Raises:
        DataError: a source cannot be used, or (on_bad: fail) an example.
    """
    data = labelled.load_data(config, _kind(config), advance)
    if config.data == "sample":
        protocol = f"{data.protocol} {_SYNTHETIC}"
        data = replace(data, protocol=protocol, summary={**data.summary, "protocol": protocol})
    return labelled.with_balanced_weights(data) if config.class_weights == "balanced" else data


def load_test(config: Config, assets: Assets) -> Data:
    """What a finished model is scored on, as the only split, test: all of config.data, or its test split if it has one.

    Raises:
        DataError: as load_data; also for labels that are no class of the model.
    """
    return labelled.load_test(config, _kind(config), assets)


def check_data(config: Config, advance: Callable[[int, int], None] | None = None) -> CheckReport:
    """Everything that is wrong with the data of a run, in one pass; what load_data would stop at is an error.

    Args:
        config: names the sources.
        advance: told (done so far, total).

    Raises:
        DataError: a source as a whole cannot be used.
    """
    return labelled.check_data(config, _kind(config), advance)


def references(store: Store) -> Raw:
    """The truth about every example: label int32 [n]; tokens int64 [n], of the whole texts; group_by object [n], of
    texts, where scores are told apart."""
    texts = cast(TextStore, store)
    found = {"label": texts.label, "tokens": texts.length}
    return found if texts.compared is None else {**found, "group_by": texts.compared}


def _kind(config: Config) -> labelled.Kind:
    wanted = TextsWanted(config.columns, group_by=config.group_by, encoding=config.encoding)
    return labelled.Kind("text", lambda spec, meter: read_source(spec, wanted, meter), _store, _describe)


def _store(part: Part, rows: np.ndarray, label: np.ndarray) -> TextStore:
    groups, compared = (None if column is None else column[rows] for column in (part.groups, part.compared))
    return TextStore(cast(Texts, part.items), rows, label, groups, compared)


def _describe(facts: np.ndarray) -> dict[str, Any]:
    """How long the texts are, in characters."""
    if not len(facts):
        return {"characters": {"least": 0, "median": 0, "most": 0}}
    lengths = facts[:, 0]
    return {"characters": {"least": int(lengths.min()), "median": int(np.median(lengths)), "most": int(lengths.max())}}
