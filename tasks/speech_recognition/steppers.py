"""The decoder of a preset a piece at a time, for the search: nothing that is known already is computed again."""

from typing import Any

import keras

from pipelines.text.ids import Ids
from pipelines.text.search import Front, Tensors
from pipelines.transfer.sound_writers import BLOCK, NORM, PIECES, ROTARY
from tasks.speech_recognition.backbones import MELS, SOUND
from tasks.speech_recognition.preset_networks import encoder_in


class PresetStepper:
    """Of a network that `build_network` made for decoder generate. Keys and values of the sound are computed once,
    those of what was written as it is. See pipelines.text.search.Stepper."""

    def __init__(self, network: keras.Model, ids: Ids) -> None:
        self._size, whole = ids.size, encoder_in(network)
        self._features = network.get_layer(MELS)
        self._encoder = keras.Model(whole.inputs[:2], whole.outputs[:2])
        self._table, self._places, self._norm = (whole.get_layer(name) for name in (PIECES, ROTARY, NORM))
        self._blocks = [layer for layer in whole.layers if layer.name.startswith(BLOCK)]

    def begin(self, source: Any) -> Tensors:
        """Of `audio` and `samples`."""
        encoded, heard = self._encoder(list(self._features({name: source[name] for name in SOUND})))
        known = {"encoded": encoded, "heard": heard}
        for number, block in enumerate(self._blocks):
            attention = block.cross_attention
            pair = attention._key_dense(encoded), attention._value_dense(encoded)
            known[f"sound_{number}"] = keras.ops.stack(pair, axis=1)
        return known

    def memory(self, known: Tensors, beams: int, places: Any) -> tuple[Tensors, Tensors]:
        """Of one beam none ever changes its place, and nothing need be moved."""
        sound = {name: _each_beam(one, beams) for name, one in known.items() if name != "limits"}
        written: Tensors = {}
        for number in range(len(self._blocks)):
            _, _, _, heads, width = known[f"sound_{number}"].shape
            rows = keras.ops.shape(known["heard"])[0]
            empty = keras.ops.zeros((rows, beams, 2, places, heads, width), known["encoded"].dtype)
            written[f"written_{number}"] = empty
        return ({}, {**sound, **written}) if beams == 1 else (written, sound)

    def step(self, known: Tensors, moving: Tensors, staying: Tensors, front: Front) -> tuple[Any, Tensors, Tensors]:
        """See Stepper."""
        beams = front.pieces.shape[1]
        flat = {name: _flat(one) for name, one in (staying | moving).items()}
        x = self._table(_flat(front.pieces)[:, None])
        places = self._places(keras.ops.reshape(front.place, (1,)))
        after: Tensors = {}
        for number, block in enumerate(self._blocks):
            x, written = block(
                decoder_sequence=x,
                encoder_sequence=flat["encoded"],
                rotary_embedding=places,
                encoder_padding_mask=flat["heard"],
                self_attention_cache=flat[f"written_{number}"],
                self_attention_cache_update_index=front.place,
                cross_attention_cache=flat[f"sound_{number}"],
                training=False,
            )
            before = staying | moving
            shape = (-1, *before[f"written_{number}"].shape[1:3], *keras.ops.shape(written)[2:])
            after[f"written_{number}"] = keras.ops.reshape(written, shape)
        logits = keras.ops.cast(self._table(self._norm(x), reverse=True), "float32")
        # A table of embeddings may have more rows than there are pieces.
        logits = keras.ops.reshape(logits, (-1, beams, logits.shape[-1]))[..., : self._size]
        return (logits, {}, staying | after) if beams == 1 else (logits, after, staying)


def _each_beam(values: Any, beams: int) -> Any:
    """[rows, beams, ...]."""
    return keras.ops.repeat(keras.ops.expand_dims(values, 1), beams, axis=1)


def _flat(values: Any) -> Any:
    """[rows * beams, ...] of [rows, beams, ...]."""
    return keras.ops.reshape(values, (-1, *keras.ops.shape(values)[2:]))
