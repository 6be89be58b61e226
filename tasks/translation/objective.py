"""What trains a network of translation: the loss of each piece of the target."""

from typing import Any

import keras

from pipelines.devices import shapes_change
from pipelines.losses import softmax_loss
from pipelines.text.ids import Ids
from tasks.translation.backbones import states_of, table_names
from tasks.translation.config import PRESET, Config
from tasks.translation.parts import places


class Objective(keras.layers.Layer):
    """Of the encoder's x, each float32 [rows, T]: `loss` with its smoothed targets and, outside of training, `nll`
    without smoothing and `right`, 1 where the likeliest piece is the target's."""

    def __init__(self, network: keras.Model, config: Config, ids: Ids, **settings: Any) -> None:
        super().__init__(**settings)
        self.network, self._smoothing, self._ids = network, config.label_smoothing, ids
        self.states = None
        if config.backbone != PRESET:
            self.states, self._table = states_of(network), network.get_layer(table_names(config)[1])

    def call(self, x: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """See the class."""
        wanted = following(x["target"], self._ids)
        if training and self.states is not None:
            # Nothing but what the loss is made of: no logits stay.
            loss = self._loss(self.states(x, training=True), wanted)
            return {"loss": loss, "nll": keras.ops.zeros_like(loss), "right": keras.ops.zeros_like(loss)}
        logits = keras.ops.cast(self.network(x, training=training), "float32")
        nll = keras.ops.logsumexp(logits, axis=-1) - _own(logits, wanted)
        excess = _own(logits, wanted) - keras.ops.mean(logits, axis=-1)
        right = keras.ops.cast(keras.ops.equal(keras.ops.argmax(logits, axis=-1), wanted), "float32")
        return {"loss": nll + self._smoothing * excess, "nll": nll, "right": right}

    def compute_output_spec(self, x: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Said, as not every backend can tell of so many open sides."""
        return {name: keras.KerasTensor(x["target"].shape, "float32") for name in ("loss", "nll", "right")}

    def _loss(self, states: Any, wanted: Any) -> Any:
        flat = keras.ops.reshape(states, (-1, states.shape[-1]))
        table = keras.ops.cast(keras.ops.convert_to_tensor(self._table.embeddings), states.dtype)
        pieces = keras.ops.reshape(wanted, (-1,))
        if not shapes_change():
            loss = softmax_loss(flat, table, pieces, smoothing=self._smoothing)
            return keras.ops.reshape(loss, keras.ops.shape(wanted))
        # Of padding, 15 % of the places of Multi30k, no logits are computed: 4 % of a step in float32 (CPU time).
        there = keras.ops.nonzero(keras.ops.not_equal(pieces, self._ids.pad))[0]
        some = keras.ops.take(flat, there, axis=0), table, keras.ops.take(pieces, there)
        loss = softmax_loss(*some, smoothing=self._smoothing)
        loss = keras.ops.scatter(there[:, None], loss, keras.ops.shape(pieces))
        return keras.ops.reshape(loss, keras.ops.shape(wanted))


def following(target: Any, ids: Ids) -> Any:
    """int32 [rows, T]: the piece after each of [start, pieces ...], of the last the end; behind it padding."""
    filler = keras.ops.full_like(target[:, :1], ids.pad)
    after = keras.ops.concatenate([target[:, 1:], filler], axis=1)
    count = keras.ops.sum(keras.ops.cast(keras.ops.not_equal(after, ids.pad), "int32"), axis=1, keepdims=True)
    return keras.ops.where(keras.ops.equal(places(target), count), ids.end, after)


def _own(logits: Any, wanted: Any) -> Any:
    return keras.ops.take_along_axis(logits, keras.ops.expand_dims(wanted, -1), axis=-1)[..., 0]
