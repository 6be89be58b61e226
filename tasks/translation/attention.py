"""The Transformer (Vaswani et al., 2017), its norms before each part (Xiong et al., 2020)."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np

from pipelines.text.ids import PAD
from tasks.translation.parts import Parts, hiding, places

Pair = tuple[Any, Any]
"""Keys and values, each [rows, heads, places, width of a head]."""
Remember = Callable[[int, Pair], tuple[Pair, Any]]
"""(number of the layer, keys and values of the places asked about) -> those that they see, and what hides some."""


class Transformer:
    """Encoder and decoder; each method works on what is to be a network as on what is computed.

    Args:
        parts: its layers.
        source, target: names of the embeddings of both languages.
    """

    def __init__(self, parts: Parts, source: str, target: str) -> None:
        self._parts, self._source, self._target = parts, source, target
        self.layers, self.width, self.inner, self.heads = parts.config.shape

    def encode(self, source: Any) -> tuple[Any, Any]:
        """[rows, S, width] of int32 [rows, S]; and what hides padding, [rows, 1, 1, S]."""
        x = self._embedded(source, self._source, places(source), "encoder")
        hidden = keras.ops.expand_dims(hiding(keras.ops.not_equal(source, PAD), x.dtype), (1, 2))
        for number in range(1, self.layers + 1):
            name = f"encoder_{number}"
            x += self._parts.dropout(self._self_attention(x, name, lambda pair: (pair, hidden)), f"{name}_dropout_1")
            x += self._parts.dropout(self._dense_part(x, name, 2), f"{name}_dropout_2")
        return self._parts.norm(x, "encoder_norm"), hidden

    def states(self, source: Any, target: Any) -> Any:
        """[rows, T, width]: what is known of the piece after each of the target's, int32 [rows, T]."""
        memory, hidden = self.encode(source)
        place = places(target)
        x = self._embedded(target, self._target, place, "decoder")
        later = hiding(keras.ops.expand_dims(place, 1) >= place, x.dtype)
        return self._decode(x, lambda number, pair: (pair, later), self.memories(memory), hidden)

    def memories(self, memory: Any) -> list[Pair]:
        """What each layer of the decoder sees of the source."""
        shape = (2, self.heads, None, self.width // self.heads)
        both = [
            self._parts.einsum(memory, "btd,dphe->bphte", shape, "phe", f"decoder_{number}_memory")
            for number in range(1, self.layers + 1)
        ]
        return [(one[:, 0], one[:, 1]) for one in both]

    def next_states(self, pieces: Any, place: Any, remember: Remember, memories: list[Pair], hidden: Any) -> Any:
        """[rows, T, width] of pieces [rows, T] that all stand at one place, an int32 scalar."""
        x = self._embedded(pieces, self._target, keras.ops.reshape(place, (1,)), "decoder")
        return self._decode(x, remember, memories, hidden)

    def _decode(self, x: Any, remember: Remember, memories: list[Pair], hidden: Any) -> Any:
        for number, memory in enumerate(memories, 1):
            name = f"decoder_{number}"
            seen = self._self_attention(x, name, partial(remember, number))
            x += self._parts.dropout(seen, f"{name}_dropout_1")
            x += self._parts.dropout(self._cross_attention(x, name, memory, hidden), f"{name}_dropout_2")
            x += self._parts.dropout(self._dense_part(x, name, 3), f"{name}_dropout_3")
        return self._parts.norm(x, "decoder_norm")

    def _embedded(self, pieces: Any, table: str, place: Any, name: str) -> Any:
        x = self._parts.embedded(pieces, table)
        return self._parts.dropout(x + keras.ops.cast(sinusoids(place, self.width), x.dtype), f"{name}_dropout")

    def _self_attention(self, x: Any, name: str, remember: Callable[[Pair], tuple[Pair, Any]]) -> Any:
        x = self._parts.norm(x, f"{name}_norm_1")
        shape = (3, self.heads, None, self.width // self.heads)
        mixed = self._parts.einsum(x, "btd,dphe->bphte", shape, "phe", f"{name}_mixed")
        pair, hidden = remember((mixed[:, 1], mixed[:, 2]))
        return self._joined(attention(mixed[:, 0], *pair, hidden), f"{name}_seen")

    def _cross_attention(self, x: Any, name: str, memory: Pair, hidden: Any) -> Any:
        x = self._parts.norm(x, f"{name}_norm_2")
        shape = (self.heads, None, self.width // self.heads)
        query = self._parts.einsum(x, "btd,dhe->bhte", shape, "he", f"{name}_query")
        return self._joined(attention(query, *memory, hidden), f"{name}_found")

    def _joined(self, heads: Any, name: str) -> Any:
        return self._parts.einsum(heads, "bhte,hed->btd", (None, self.width), "d", name)

    def _dense_part(self, x: Any, name: str, norm: int) -> Any:
        x = self._parts.norm(x, f"{name}_norm_{norm}")
        x = self._parts.dense(x, self.inner, f"{name}_wide", "relu")
        return self._parts.dense(x, self.width, f"{name}_narrow")


def attention(query: Any, keys: Any, values: Any, hidden: Any) -> Any:
    """[rows, heads, T, e]: values [rows, heads, S, e], by how well their keys fit queries [rows, heads, T, e]."""
    logits = keras.ops.matmul(query, keras.ops.transpose(keys, (0, 1, 3, 2))) * query.shape[-1] ** -0.5
    return keras.ops.matmul(keras.ops.softmax(logits + hidden), values)


def sinusoids(place: Any, width: int) -> Any:
    """float32 [T, width]: sines and cosines of places int32 [T], of periods from 2 pi to 10,000 times as much."""
    periods = np.exp(-math.log(10_000) * np.arange(width // 2) / (width // 2)).astype(np.float32)
    angles = keras.ops.expand_dims(keras.ops.cast(place, "float32"), 1) * periods
    return keras.ops.concatenate([keras.ops.sin(angles), keras.ops.cos(angles)], axis=-1)
