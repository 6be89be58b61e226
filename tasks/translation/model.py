"""The translator: its network, which is kept, and what trains it."""

from collections.abc import Callable
from typing import Any

import keras

from pipelines.task import Assets, Built, Head, Metric
from pipelines.text.ids import Ids
from pipelines.transfer.pair_presets import pieces_table
from tasks.translation.backbones import build_network, table_names, written_by
from tasks.translation.config import PRESET, Config
from tasks.translation.objective import Objective

_UPDATED = ("_mixed", "_seen", "query", "keys", "_memory", "_found")
"""How the names of the projections of attention end."""
_UPDATED_OF_PRESETS = ("query", "key", "value", "attention_output", "_projector")
"""The same of KerasHub's networks, the last of T5."""


def build_model(config: Config, assets: Assets) -> Built:
    """The network within its objective; the network alone is kept.

    Assets: of our own networks the names of the pieces of each table of embeddings, in the order of their ids; of
    presets `ids`, those of the pieces that are no text.
    """
    network = build_network(config, assets)
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in ("source", "target")}
    objective = Objective(network, config, Ids.of(assets), name="objective")
    model = keras.Model(inputs, objective(inputs), name=network.name)
    metrics = {
        "nll": Metric(_output("nll"), higher_is_better=False, in_training=False),
        "accuracy": Metric(_output("right"), in_training=False),
    }
    if config.backbone == PRESET:
        whole = written_by(network)
        # Its embeddings give the logits too: what trains the head alone trains them, and low-rank updates do not.
        head = Head((), units=None) if config.lora_rank else Head((pieces_table(whole).name,), units=None)
        about: dict[str, Any] = {"network": whole.backbone, "lora": _UPDATED_OF_PRESETS, "head": head}
    else:
        tables = {name: name for name in table_names(config)}
        about = {"tables": tables, "lora": _UPDATED, "head": Head(tuple(tables), units=None)}
    return Built(model, _output("loss"), metrics, whole=network, **about)


def _output(name: str) -> Callable[[Any, Any], Any]:
    return lambda y, outputs: outputs[name]
