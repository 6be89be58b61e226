"""KerasHub presets that read one text and write another: their network with what turns its answer into pieces, and
their tokenizer with the pieces that are no text."""

import warnings
from dataclasses import dataclass
from typing import Any

import keras

from pipelines.errors import ConfigError
from pipelines.transfer.presets import WEIGHT_FILES, check_preset, keras_hub, opening
from pipelines.transfer.text_presets import FILES

# KerasHub 0.32's T5 gives its attention the padding twice, once in a way that it does not know of; the other counts.
warnings.filterwarnings("ignore", r"Layer '(self|cross)_attention' \(of type T5MultiHeadAttention\)", UserWarning)

INPUTS = ("encoder_token_ids", "encoder_padding_mask", "decoder_token_ids", "decoder_padding_mask")
ENCODED, DECODED = "encoder_sequence_output", "decoder_sequence_output"
"""What such a backbone answers."""
_BESIDE: dict[str, dict[str, str]] = {
    "T5": {"start": "pad"},
    "Bart": {"start": "start", "before": "end", "first": "start"},
    "T5Gemma": {"start": "start"},
}
"""By the family of a tokenizer, as its Seq2SeqLMPreprocessor has it in KerasHub 0.32: which of its tokens begins a text
that is written; what stands before that; what begins a text that is read. The end stands behind both."""


@dataclass(frozen=True)
class PresetTokenizer:
    """How a preset turns texts into pieces."""

    asset: dict[str, Any]
    """As pipelines.text.tokenizers takes it."""
    ids: dict[str, int]
    """pad, unknown, start, end; size, how many pieces there are; where the preset has them `before`, what stands before
    the start, and `first`, what begins a text that is read."""


def pair_preset(source: str) -> Any:
    """A keras_hub.models.Seq2SeqLM with random weights: its `backbone` answers INPUTS, each int32 [batch, length], with
    ENCODED and DECODED; it itself with logits.

    Raises:
        ConfigError: there is no such preset, or it does not read one text and write another.
        DataError: it cannot be had.
    """
    check_preset(source)
    hub = keras_hub()
    with opening(source, WEIGHT_FILES):
        network = hub.models.Backbone.from_preset(source, load_weights=False, dtype=keras.config.dtype_policy().name)
    kinds = [getattr(hub.models, name) for name in dir(hub.models) if name.endswith("Seq2SeqLM")]
    fitting = [kind for kind in kinds if kind.backbone_cls is type(network)]
    inputs, outputs = (one if isinstance(one, dict) else {} for one in (network.input, network.output))
    if not fitting or set(inputs) != set(INPUTS) or not {ENCODED, DECODED} <= set(outputs):
        raise ConfigError(
            f"pretrained: {source} holds a {type(network).__name__}, which does not read one text and write another: "
            "choose a preset of T5, BART or T5Gemma."
        )
    return fitting[0](backbone=network, preprocessor=None)


def pair_tokenizer(source: str) -> PresetTokenizer:
    """The tokenizer of such a preset.

    Raises:
        ConfigError: there is no such preset, or its tokenizer is of no known family.
        DataError: it cannot be had.
    """
    from pipelines.text.tokenizers import asset_of

    check_preset(source)
    hub = keras_hub()
    with opening(source, FILES):
        tokenizer = hub.models.Tokenizer.from_preset(source)
        asset = asset_of(tokenizer)
    family = type(tokenizer).__name__.removesuffix("Tokenizer")
    if family not in _BESIDE:
        raise ConfigError(
            f"pretrained: {source} has a {type(tokenizer).__name__}, and it is not known what it begins texts with: "
            "choose a preset of T5, BART or T5Gemma."
        )
    ids = {name: int(getattr(tokenizer, f"{name}_token_id")) for name in ("pad", "end")}
    beside = {name: int(getattr(tokenizer, f"{which}_token_id")) for name, which in _BESIDE[family].items()}
    ids |= {"unknown": _unknown(tokenizer), "size": tokenizer.vocabulary_size()}
    return PresetTokenizer(asset, {**ids, **beside})


def pieces_table(whole: Any) -> keras.layers.Layer:
    """The embeddings of a Seq2SeqLM that its logits are a product with; T5Gemma's encoder has others."""
    return getattr(whole.backbone, "decoder_token_embedding", None) or whole.backbone.token_embedding


def pair_logits(whole: Any, states: Any) -> Any:
    """What a Seq2SeqLM makes of its backbone's DECODED."""
    if (own := getattr(whole, "_logits", None)) is not None:  # T5 scales them first
        return own(states)
    logits = pieces_table(whole)(states, reverse=True)
    bound = getattr(whole.backbone, "final_logit_softcapping", None)
    return logits if bound is None else keras.ops.tanh(logits / bound) * bound


def longest_text(whole: Any) -> int | None:
    """Places of its texts, on either side; None where they have no end."""
    return getattr(whole.backbone, "max_sequence_length", None)


def _unknown(tokenizer: Any) -> int:
    """What stands for signs that are no pieces; byte pairs spell all, and may have none."""
    if hasattr(tokenizer, "merges"):
        return int(tokenizer.vocabulary.get("<unk>", tokenizer.pad_token_id))
    return int(tokenizer.token_to_id("<unk>"))
