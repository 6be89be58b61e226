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
        features = list(self._features({name: source[name] for name in SOUND}))
        encoded, heard = self._encoder(features, training=False)
        return {"encoded": encoded, "heard": heard}

    def memory(self, known: Tensors, beams: int, places: Any) -> tuple[Tensors, Tensors]:
        """Of one beam none ever changes its place, and nothing need be moved."""
        encoded = known["encoded"]
        sound = {name: _each_beam(known[name], beams) for name in ("encoded", "heard")}
        written: Tensors = {}
        for number, block in enumerate(self._blocks):
            attention = block.cross_attention
            pair = attention._key_dense(encoded), attention._value_dense(encoded)
            sound[f"sound_{number}"] = _each_beam(keras.ops.stack(pair, axis=1), beams)
            shape = (keras.ops.shape(encoded)[0], beams, 2, places, *pair[0].shape[2:])
            written[f"written_{number}"] = keras.ops.zeros(shape, encoded.dtype)
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
            after[f"written_{number}"] = keras.ops.reshape(written, (-1, beams, *keras.ops.shape(written)[1:]))
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
