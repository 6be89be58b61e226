"""The networks: a sentence, and the beginning of its translation in; the logits of the piece that comes next out.

Padding behind either changes nothing before it.
"""

from pathlib import Path
from typing import Any

import keras

from pipelines.artefact import load_model
from pipelines.errors import ConfigError
from pipelines.runs import Run
from pipelines.task import Assets
from pipelines.text.ids import Ids
from pipelines.transfer import kind_of
from pipelines.transfer.pair_presets import pair_preset
from tasks.translation.attention import Transformer
from tasks.translation.config import PRESET, Config
from tasks.translation.parts import JOINT, SOURCE, TARGET, Parts
from tasks.translation.recurrent import Recurrent

STATES = "states"
"""The layer of which the logits are a product with the target's embeddings; presets have none."""


def build_network(config: Config, assets: Assets) -> keras.Model:
    """float32 [rows, T, pieces]; of int32 `source` [rows, S], with its end, and `target` [rows, T], with its start."""
    given = {name: keras.Input((None,), dtype="int32", name=name) for name in ("source", "target")}
    if config.backbone == PRESET:
        return _of_preset(given, config, Ids.of(assets))
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


def _of_preset(given: dict[str, Any], config: Config, ids: Ids) -> keras.Model:
    """The network of a KerasHub preset, or of the run that holds one, between our inputs."""
    source = str(config.pretrained)
    kind = kind_of(source)
    whole = written_by(load_model(Run(Path(source)))[0]) if kind == "run" else pair_preset(source)
    whole.compiled = False  # KerasHub compiles it; kept like that, it would be compiled each time it is loaded
    if ids.size is not None and ids.size > whole.backbone.vocabulary_size:
        raise ConfigError(
            f"pretrained: {source} has a tokenizer of {ids.size:,} pieces and a network of "
            f"{whole.backbone.vocabulary_size:,}: they do not belong together."
        )
    target = begun(given["target"], ids)
    logits = whole(
        {
            "encoder_token_ids": given["source"],
            "encoder_padding_mask": keras.ops.cast(keras.ops.not_equal(given["source"], ids.pad), "int32"),
            "decoder_token_ids": target,
            # What fills a target up stands behind all that is asked about, and no place sees what is behind it.
            "decoder_padding_mask": keras.ops.ones_like(target),
        }
    )
    logits = there_are(logits, ids)
    return keras.Model(given, logits if ids.before is None else logits[:, 1:], name=type(whole.backbone).__name__)


def begun(target: Any, ids: Ids) -> Any:
    """int32 [rows, T], or a place more: with what stands before the start."""
    if ids.before is None:
        return target
    return keras.ops.concatenate([keras.ops.full_like(target[:, :1], ids.before), target], axis=1)


def there_are(logits: Any, ids: Ids) -> Any:
    """Logits [..., pieces] of those pieces that there are: a table of embeddings may have more rows."""
    return logits if ids.size is None or ids.size == logits.shape[-1] else logits[..., : ids.size]


def written_by(network: keras.Model) -> Any:
    """The keras_hub.models.Seq2SeqLM in the network of a preset."""
    return next(layer for layer in network.layers if isinstance(layer, keras.Model))


def states_of(network: keras.Model) -> keras.Model:
    """The network without its last product."""
    return keras.Model(network.input, network.get_layer(STATES).output)
