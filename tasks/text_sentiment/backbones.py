"""The networks without their head: tokens in, features out. Padding changes no feature of a text."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from pipelines.artefact import load_model
from pipelines.runs import Run
from pipelines.transfer import kind_of
from pipelines.transfer.freezing import owners
from pipelines.transfer.text_presets import NETWORK_INPUTS, text_preset
from tasks.text_sentiment.config import PRESET, Config

_KERNELS = (3, 4, 5)
_NOTHING = -1e4
"""What hidden places hold where the largest is looked for: less than any feature, and no infinity in bfloat16."""
_TOP = {
    "RobertaBackbone": "tanh",
    "XLMRobertaBackbone": "tanh",
    "DebertaV3Backbone": "gelu",
    "DistilBertBackbone": "relu",
}
"""Backbones whose first token stands for the text behind a dense layer that is new: its activation, as in KerasHub's
classifiers (0.32)."""
POOLER = "pooler"
"""The name of that layer."""
_ATTENTION = ("query", "key", "value", "attention_output")
"""How KerasHub names the projections of attention, but for a few backbones; of those all dense layers are updated."""


@dataclass(frozen=True)
class Features:
    """What a backbone makes of tokens."""

    output: Any
    """[batch, features]."""
    about: dict[str, Any] = field(default_factory=dict)
    """What Built says of a network that others trained: network, lora."""
    name: str | None = None
    """The network's, where the setting does not name it."""


def build_features(tokens: Any, pad: int, size: int, config: Config) -> Features:
    """The features of int32 [batch, length].

    Args:
        tokens: filled up with `pad`.
        pad: the token that stands for nothing.
        size: of the vocabulary.
        config: names the network.
    """
    hold = keras.ops.not_equal(tokens, pad)
    if config.backbone == PRESET:
        return _preset_features(tokens, hold, config)
    x = keras.layers.Embedding(size, config.embedding, embeddings_initializer=_uniform(config), name="pieces")(tokens)
    if config.word_dropout:
        hide = {"noise_shape": (None, None, 1), "seed": config.seed}
        x = keras.layers.Dropout(config.word_dropout, **hide, name="word_dropout")(x)
    return Features(_NETWORKS[config.backbone](x, hold, config))


def _uniform(config: Config) -> Any:
    return keras.initializers.RandomUniform(-0.05, 0.05, seed=config.seed)


def _bag(x: Any, hold: Any, config: Config) -> Any:
    """The mean of the embeddings (Iyyer et al., 2015, without its hidden layers)."""
    return _mean(x, hold)


def _cnn(x: Any, hold: Any, config: Config) -> Any:
    """Kernels of 3, 4 and 5 pieces, the largest answer of each filter over the text (Kim, 2014)."""
    there = keras.ops.expand_dims(keras.ops.cast(hold, x.dtype), -1)
    x = x * there  # as what stands beyond the end of a text that is not filled up
    # What a filter answers is never below 0, so that a 0 in hidden places is no largest answer of theirs.
    found = [
        keras.ops.max(
            keras.layers.Conv1D(config.width, kernel, padding="same", activation="relu", name=f"kernel_{kernel}")(x)
            * there,
            axis=1,
        )
        for kernel in _KERNELS
    ]
    return keras.layers.Concatenate(name="features")(found)


def _recurrent(x: Any, hold: Any, config: Config) -> Any:
    """Both ways over the text, the largest answer of each unit (Conneau et al., 2017)."""
    kind = {"bilstm": keras.layers.LSTM, "bigru": keras.layers.GRU}[config.backbone]
    layer = keras.layers.Bidirectional(kind(config.width, return_sequences=True), name=config.backbone)
    x = layer(x, mask=hold)
    there = keras.ops.expand_dims(hold, -1)
    largest = keras.ops.max(keras.ops.where(there, x, _NOTHING), axis=1)
    # A text of nothing at all has no largest answer.
    return keras.ops.where(keras.ops.any(there, axis=1), largest, keras.ops.zeros_like(largest))


def _transformer(x: Any, hold: Any, config: Config) -> Any:
    """Encoder layers with the norm before each part (Xiong et al., 2020), learnt positions, the mean at the end."""
    there = keras.ops.cast(hold, "int32")
    # A text without holes counts 1, 2, 3, ...; what fills it up is hidden, whatever its position.
    places = keras.ops.minimum(keras.ops.cumsum(there, axis=1), config.max_tokens)
    x += keras.layers.Embedding(
        config.max_tokens + 1,
        config.embedding,
        embeddings_initializer=_uniform(config),
        name="sequence_position_embedding",
    )(places)
    attended = keras.ops.expand_dims(hold, 1)
    for number in range(1, config.layers + 1):
        x = _encoder_layer(x, attended, config, f"layer_{number}")
    x = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")(x)
    return _mean(x, hold)


def _encoder_layer(x: Any, attended: Any, config: Config, name: str) -> Any:
    width = config.embedding
    y = keras.layers.LayerNormalization(epsilon=1e-6, name=f"{name}_attention_norm")(x)
    attention = keras.layers.MultiHeadAttention(config.heads, width // config.heads, name=f"{name}_attention")
    y = attention(y, y, attention_mask=attended)
    x += keras.layers.Dropout(0.1, seed=config.seed, name=f"{name}_attention_dropout")(y)
    y = keras.layers.LayerNormalization(epsilon=1e-6, name=f"{name}_dense_norm")(x)
    y = keras.layers.Dense(4 * width, activation="gelu", name=f"{name}_wide")(y)
    y = keras.layers.Dense(width, name=f"{name}_narrow")(y)
    return x + keras.layers.Dropout(0.1, seed=config.seed, name=f"{name}_dense_dropout")(y)


_NETWORKS = {"bag": _bag, "cnn": _cnn, "bilstm": _recurrent, "bigru": _recurrent, "transformer": _transformer}


def _mean(x: Any, hold: Any) -> Any:
    """[batch, features]: the mean over the places that hold a token; 0 where there are none."""
    there = keras.ops.expand_dims(keras.ops.cast(hold, "float32"), -1)
    total = keras.ops.sum(keras.ops.cast(x, "float32") * there, axis=1)
    return total / keras.ops.maximum(keras.ops.sum(there, axis=1), 1.0)


def network_of(source: str) -> tuple[keras.Model, str]:
    """The network of the preset that --pretrained names, with random weights, or the one in the run that it names; and
    its kind. Of one that answers with the mean over the tokens, it is the part up to those."""
    if kind_of(source) == "run":
        model, _ = load_model(Run(Path(source)))
        return next(layer for layer in model.layers if isinstance(layer, keras.Model)), model.name
    preset = text_preset(source)
    network, kind = preset.network, type(preset.network).__name__
    if preset.averaged and isinstance(network.output, dict):
        network = keras.Model(network.input, network.output["sequence_output"], name=network.name)
    return network, kind if not preset.averaged else f"Averaged{kind}"


def _preset_features(tokens: Any, hold: Any, config: Config) -> Features:
    """What a KerasHub backbone says of a text: the mean over the tokens where it was trained for that; else its own
    pooled output, or the first token behind a dense layer; of others, as decoders, the mean too."""
    network, kind = network_of(str(config.pretrained))
    given = {
        "token_ids": tokens,
        "padding_mask": keras.ops.cast(hold, "int32"),
        "segment_ids": keras.ops.zeros_like(tokens),
    }
    x = network({name: given[name] for name in NETWORK_INPUTS if name in network.input})
    if isinstance(x, dict):
        x = x["pooled_output"]
    elif kind in _TOP:
        x = keras.layers.Dense(x.shape[-1], activation=_TOP[kind], name=POOLER)(x[:, 0])
    else:
        x = _mean(x, hold)
    return Features(x, {"network": network, "lora": _lora(network)}, kind)


def _lora(network: keras.Model) -> tuple[str, ...]:
    return _ATTENTION if any(layer.name in _ATTENTION for layer in owners(network)) else ()
