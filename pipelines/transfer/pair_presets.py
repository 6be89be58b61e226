"""KerasHub presets that read one text and write another: their network with what turns its answer into pieces."""

from typing import Any

import keras

from pipelines.errors import ConfigError
from pipelines.transfer.presets import WEIGHT_FILES, check_preset, keras_hub, opening

INPUTS = ("encoder_token_ids", "encoder_padding_mask", "decoder_token_ids", "decoder_padding_mask")
ENCODED, DECODED = "encoder_sequence_output", "decoder_sequence_output"
"""What such a backbone answers."""


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
            "choose a preset of T5 or BART."
        )
    made = fitting[0](backbone=network, preprocessor=None)
    made.compiled = False  # KerasHub compiles it; kept like that, it would be compiled each time it is loaded
    return made
