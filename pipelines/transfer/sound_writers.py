"""KerasHub presets that hear and write: Moonshine (Jeffries et al., 2024), its decoder behind the encoder of
`sound_presets`, and its tokenizer."""

from typing import Any

import keras

from pipelines.errors import ConfigError
from pipelines.transfer.pair_presets import PresetTokenizer
from pipelines.transfer.presets import check_preset, keras_hub, opening
from pipelines.transfer.sound_presets import MOONSHINE, encoder_of, heard_of
from pipelines.transfer.text_presets import FILES

PIECES, ROTARY, NORM = "token_embedding", "decoder_rotary_embedding", "decoder_post_norm"
"""Layers of the decoder by their names: the embeddings, which the logits are a product with; places; the last norm."""
BLOCK = "decoder_block_"
"""How the names of its blocks begin, in their order."""


def writer_of(backbone: Any) -> keras.Model:
    """Of a backbone all: (features float32 [rows, frames, width], counts float32 [rows, frames, 1], pieces int32
    [rows, T], the start and what was written) -> the encoder's answers [rows, A, width]; bool [rows, A], which of them
    are of sound alone: the others are hidden from the decoder; states [rows, T, width]; logits [rows, T, pieces] of
    what comes next. What stands behind a piece changes nothing before it.

    Raises:
        ConfigError: it has no decoder that is known.
    """
    if type(backbone).__name__ != MOONSHINE:
        raise ConfigError(
            f"decoder generate: a {type(backbone).__name__} writes nothing here, only Moonshine does: leave decoder "
            "out."
        )
    encoder = encoder_of(backbone)
    features, counts = (keras.Input(one.shape[1:], name=one.name) for one in encoder.inputs)
    pieces = keras.Input((None,), dtype="int32", name="pieces")
    encoded, heard = encoder([features, counts]), heard_of(counts)
    places = backbone.decoder_rotary_embedding(backbone.get_layer("decoder_positions")(pieces))
    x = backbone.decoder_dropout(backbone.token_embedding(pieces))
    for block in backbone.decoder_blocks:
        x = block(decoder_sequence=x, encoder_sequence=encoded, rotary_embedding=places, encoder_padding_mask=heard)
    states = backbone.decoder_post_norm(x)
    logits = backbone.token_embedding(states, reverse=True)
    return keras.Model([features, counts, pieces], [encoded, heard, states, logits], name="writer")


def sound_tokenizer(source: str) -> PresetTokenizer:
    """The tokenizer of such a preset.

    Raises:
        ConfigError: there is no such preset.
        DataError: it cannot be had, as where the folder holds the encoder alone.
    """
    from pipelines.text.tokenizers import asset_of

    check_preset(source)
    hub = keras_hub()
    with opening(source, FILES):
        # KerasHub 0.32 takes its MoonshineTokenizer for one of Llama's networks: from_preset finds none.
        from keras_hub.src.utils.preset_utils import get_preset_loader

        tokenizer = get_preset_loader(source).load_tokenizer(hub.models.MoonshineTokenizer, "tokenizer.json")
        asset = asset_of(tokenizer)
    ids = {name: int(getattr(tokenizer, f"{name}_token_id")) for name in ("pad", "start", "end")}
    unknown = int(tokenizer.token_to_id("<unk>"))
    return PresetTokenizer(asset, {**ids, "unknown": unknown, "size": int(tokenizer.vocabulary_size())})
