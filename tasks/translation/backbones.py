"""The networks: a sentence, and the beginning of its translation in; the logits of the piece that comes next out.

Padding behind either changes nothing before it.
"""

from typing import Any

import keras

from pipelines.task import Assets
from tasks.translation.attention import Transformer
from tasks.translation.config import Config
from tasks.translation.parts import JOINT, SOURCE, TARGET, Parts
from tasks.translation.recurrent import Recurrent

STATES = "states"
"""The layer of which the logits are a product with the target's embeddings."""


def build_network(config: Config, assets: Assets) -> keras.Model:
    """float32 [rows, T, pieces]; of int32 `source` [rows, S], with its end, and `target` [rows, T], with its start."""
    given = {name: keras.Input((None,), dtype="int32", name=name) for name in ("source", "target")}
    parts = Parts(config)
    for name in dict.fromkeys(table_names(config)):
        parts.table(name, len(assets[name]))
    states = body(config, parts).states(given["source"], given["target"])
    states = keras.layers.Identity(name=STATES)(states)
    return keras.Model(given, parts.table(table_names(config)[1])(states, reverse=True), name=config.backbone)


def table_names(config: Config) -> tuple[str, str]:
    """Of the embeddings of the source, and of the target."""
    return (JOINT, JOINT) if config.joint else (SOURCE, TARGET)


def body(config: Config, parts: Parts) -> Any:
    """What stands between the embeddings."""
    kind = {"transformer": Transformer, "gru": Recurrent}[config.backbone]
    return kind(parts, *table_names(config))


def states_of(network: keras.Model) -> keras.Model:
    """The network without its last product."""
    return keras.Model(network.input, network.get_layer(STATES).output)
