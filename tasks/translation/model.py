"""The translator: its network, which is kept, and what trains it."""

from collections.abc import Callable
from typing import Any

import keras

from pipelines.task import Assets, Built, Head, Metric
from tasks.translation.backbones import build_network, table_names
from tasks.translation.config import Config
from tasks.translation.objective import Objective

_UPDATED = ("_mixed", "_seen", "query", "keys", "_memory", "_found")
"""How the names of the projections of attention end."""


def build_model(config: Config, assets: Assets) -> Built:
    """The network within its objective; the network alone is kept.

    Assets: the names of the pieces of each table of embeddings, in the order of their ids.
    """
    network = build_network(config, assets)
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in ("source", "target")}
    model = keras.Model(inputs, Objective(network, config, name="objective")(inputs), name=config.backbone)
    metrics = {
        "nll": Metric(_output("nll"), higher_is_better=False, in_training=False),
        "accuracy": Metric(_output("right"), in_training=False),
    }
    tables = {name: name for name in table_names(config)}
    head = Head(tuple(tables), units=None)
    return Built(model, _output("loss"), metrics, head=head, tables=tables, whole=network, lora=_UPDATED)


def _output(name: str) -> Callable[[Any, Any], Any]:
    return lambda y, outputs: outputs[name]
