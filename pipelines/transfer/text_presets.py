"""KerasHub presets that see texts: their network and their tokenizer."""

from dataclasses import dataclass
from typing import Any

import keras

from pipelines.errors import ConfigError
from pipelines.transfer.presets import averages_tokens, check_preset, keras_hub, opening

NETWORK_INPUTS = ("token_ids", "padding_mask", "segment_ids")
"""What a backbone of texts may ask for; all of it follows from the tokens."""
FILES = (
    "config.json, model.weights.h5, tokenizer.json and assets/tokenizer/ (or what Hugging Face has in their place: "
    "config.json, model.safetensors, tokenizer_config.json and the vocabulary)"
)
_UNMASKED = ("FNetBackbone",)
"""Backbones that mix padding into every answer."""


@dataclass(frozen=True)
class TextPreset:
    """The network of a preset and how texts become its tokens."""

    network: keras.Model
    """With random weights, if nothing else was asked for; its inputs are some of NETWORK_INPUTS, each int32 [batch, length]."""
    tokenizer: dict[str, Any]
    """As pipelines.text.tokenizers takes it."""
    longest: int | None
    """Tokens that it can take, those before and after a text included; None where there is no limit."""
    averaged: bool
    """Whether it was trained to answer with the mean over the tokens."""


def text_preset(source: str, setting: str = "pretrained", *, trained: bool = False) -> TextPreset:
    """The network and the tokenizer of a preset that sees texts.

    Args:
        source: as the setting names it.
        setting: its name.
        trained: with the weights of the preset, in float32.

    Raises:
        ConfigError: there is no such preset, or it is not for texts alone.
        DataError: it cannot be had.
    """
    from pipelines.text.tokenizers import asset_of

    check_preset(source, setting)
    hub = keras_hub(setting)
    dtype = "float32" if trained else keras.config.dtype_policy().name
    with opening(source, FILES, setting):
        network = hub.models.Backbone.from_preset(source, load_weights=trained, dtype=dtype)
    _check(network, source, setting)
    with opening(source, FILES, setting):
        tokenizer = asset_of(hub.models.Tokenizer.from_preset(source))
    return TextPreset(network, tokenizer, getattr(network, "max_sequence_length", None), averages_tokens(source))


def _check(network: keras.Model, source: str, setting: str) -> None:
    """Whether it sees texts, and nothing but them."""
    kind, inputs = type(network).__name__, network.input if isinstance(network.input, dict) else {}
    if kind in _UNMASKED:
        raise ConfigError(
            f"{setting}: {source} holds a {kind}, which has no mask: what a text is filled up with would change its "
            "answer. Choose another preset."
        )
    if "token_ids" not in inputs or not set(inputs) <= set(NETWORK_INPUTS):
        raise ConfigError(
            f"{setting}: {source} holds a {kind}, which does not see texts alone by one encoder: choose a preset of a "
            "text classifier's backbone."
        )
