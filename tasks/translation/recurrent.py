"""Recurrent layers with additive attention (Bahdanau et al., 2015)."""

from collections.abc import Sequence
from typing import Any

import keras

from pipelines.text.ids import PAD
from tasks.translation.parts import Parts, hiding

Memory = tuple[Any, Any, Any]
"""Of the source: its states and their keys, each [rows, S, width], and what hides padding, [rows, 1, S]."""


class Recurrent:
    """An encoder that reads both ways, and a decoder whose first layer asks the source; the layers above it are given
    the answer (as in Wu et al., 2016). So each layer goes over a whole sentence at once while it is trained, and none
    waits for another piece by piece. Each method works on what is to be a network as on what is computed.

    Args:
        parts: its layers.
        source, target: names of the embeddings of both languages.
    """

    def __init__(self, parts: Parts, source: str, target: str) -> None:
        self._parts, self._source, self._target = parts, source, target
        self._width = parts.config.shape[1]
        self.layers = parts.config.layers or 1
        """Of the encoder, and of the decoder above its first."""

    def encode(self, source: Any) -> tuple[Memory, Any]:
        """What the decoder sees of int32 [rows, S]; and what its layers begin with, [rows, width]."""
        hold = keras.ops.not_equal(source, PAD)
        x = self._parts.dropout(self._parts.embedded(source, self._source), "encoder_dropout")
        for number in range(1, self.layers + 1):
            read = self._parts.get(f"encoder_{number}", _both_ways, units=self._width // 2)(x, mask=hold)
            read = self._parts.dropout(read, f"encoder_{number}_dropout")
            x = read if number == 1 else x + read
        there = keras.ops.expand_dims(keras.ops.cast(hold, x.dtype), -1)
        count = keras.ops.maximum(keras.ops.sum(there, axis=1), 1)
        first = self._parts.dense(keras.ops.sum(x * there, axis=1) / count, self._width, "first", "tanh")
        keys = self._parts.dense(x, self._width, "keys", use_bias=False)
        return (x, keys, hiding(hold, x.dtype)[:, None]), first

    def states(self, source: Any, target: Any) -> Any:
        """[rows, T, width]: what is known of the piece after each of the target's, int32 [rows, T]."""
        memory, first = self.encode(source)
        y = self._embedded(target)
        x = self._found(self._layer(1)(y, initial_state=first), memory)
        for number in range(2, self.layers + 2):
            x = self._above(x, self._layer(number)(x, initial_state=first), number)
        return self._read_out(x, y)

    def next_states(self, pieces: Any, before: Sequence[Any], memory: Memory) -> tuple[Any, list[Any]]:
        """[rows, T, width] of pieces [rows, T] that do not follow each other; and what the layers end with, as they
        began `before`, each [rows, T, width]."""
        y, after = self._embedded(pieces), []
        x = y
        for number, state in enumerate(before, 1):
            new = self._one_step(self._layer(number), x, state)
            after.append(new)
            x = self._found(new, memory) if number == 1 else self._above(x, new, number)
        return self._read_out(x, y), after

    def _embedded(self, pieces: Any) -> Any:
        return self._parts.dropout(self._parts.embedded(pieces, self._target), "decoder_dropout")

    def _layer(self, number: int) -> Any:
        return self._parts.get(f"decoder_{number}", keras.layers.GRU, units=self._width, return_sequences=True)

    def _one_step(self, layer: Any, x: Any, state: Any) -> Any:
        flat = [keras.ops.reshape(one, (-1, one.shape[-1])) for one in (x, state)]
        return keras.ops.reshape(layer.cell(flat[0], [flat[1]])[0], keras.ops.shape(state))

    def _found(self, x: Any, memory: Memory) -> Any:
        """[rows, T, 2 * width]: with what each place finds in the source."""
        values, keys, hidden = memory
        query = self._parts.dense(x, self._width, "query")
        both = keras.ops.tanh(keras.ops.expand_dims(query, 2) + keras.ops.expand_dims(keys, 1))
        logits = self._parts.dense(both, 1, "fit", use_bias=False)[..., 0]
        found = keras.ops.matmul(keras.ops.softmax(logits + hidden), values)
        return self._parts.dropout(keras.ops.concatenate([x, found], axis=-1), "found_dropout")

    def _above(self, x: Any, new: Any, number: int) -> Any:
        new = self._parts.dropout(new, f"decoder_{number}_dropout")
        return new if number == 2 else x + new

    def _read_out(self, x: Any, y: Any) -> Any:
        x = self._parts.dense(keras.ops.concatenate([x, y], axis=-1), self._width, "read_out", "tanh")
        return self._parts.dropout(x, "read_out_dropout")


def _both_ways(units: int, name: str) -> keras.layers.Layer:
    return keras.layers.Bidirectional(keras.layers.GRU(units, return_sequences=True), name=name)
