"""The layers of a network by their names: made as it is built, found again when it is taken apart to translate."""

import math
import zlib
from collections.abc import Callable
from typing import Any

import keras

from tasks.translation.config import Config

JOINT, SOURCE, TARGET = "pieces", "source_pieces", "target_pieces"
"""Embeddings: a row for each piece; and assets: their names."""
HIDDEN = -1e4
"""What is added to the logit of a place that must not be seen: no infinity, and of bfloat16 too."""


class Parts:
    """Layers of stock Keras.

    Args:
        config: settings of the model.
        network: where its layers are found; None: they are made.
    """

    def __init__(self, config: Config, network: keras.Model | None = None) -> None:
        self.config, self._network = config, network
        self._made: dict[str, keras.layers.Layer] = {}

    def get(self, name: str, kind: Callable[..., Any], **settings: Any) -> Any:
        """The layer of this name, of its kind and with its settings if it is made."""
        if self._network is not None:
            return self._network.get_layer(name)
        if name not in self._made:
            self._made[name] = kind(name=name, **settings)
        return self._made[name]

    def table(self, name: str, count: int | None = None) -> keras.layers.Layer:
        """Embeddings, called in reverse the logits of all pieces."""
        width = self.config.shape[1]
        start = keras.initializers.RandomNormal(stddev=1 / math.sqrt(width))
        settings = {"input_dim": count, "output_dim": width, "embeddings_initializer": start}
        return self.get(name, keras.layers.ReversibleEmbedding, reverse_dtype="float32", **settings)

    def embedded(self, pieces: Any, name: str) -> Any:
        """[..., width], of variance 1."""
        return self.table(name)(pieces) * math.sqrt(self.config.shape[1])

    def dense(self, x: Any, units: int, name: str, activation: str | None = None, **settings: Any) -> Any:
        """Of its last side."""
        return self.get(name, keras.layers.Dense, units=units, activation=activation, **settings)(x)

    def einsum(self, x: Any, equation: str, shape: tuple[int | None, ...], biases: str, name: str) -> Any:
        """A dense layer that turns its answer as it is wanted next; each of its matrices starts as one of so many
        columns would (Glorot and Bengio, 2010)."""
        limit = math.sqrt(3 / self.config.shape[1])
        start = keras.initializers.RandomUniform(-limit, limit)
        settings = {"output_shape": shape, "bias_axes": biases, "kernel_initializer": start}
        return self.get(name, keras.layers.EinsumDense, equation=equation, **settings)(x)

    def norm(self, x: Any, name: str) -> Any:
        """Over the last side."""
        return self.get(name, keras.layers.LayerNormalization, epsilon=1e-6)(x)

    def dropout(self, x: Any, name: str) -> Any:
        """With a seed of its own: of one seed, all layers would drop the same places."""
        seed = zlib.crc32(f"{self.config.seed} {name}".encode()) % 2**31
        return self.get(name, keras.layers.Dropout, rate=self.config.dropout, seed=seed)(x)


def hiding(seen: Any, dtype: Any) -> Any:
    """What is added to logits: 0 where a place is seen."""
    return keras.ops.cast(keras.ops.where(seen, 0.0, HIDDEN), dtype)


def places(ids: Any) -> Any:
    """int32 [T]: 0, 1, 2, ..., of ids [rows, T]."""
    return keras.ops.cumsum(keras.ops.ones_like(ids[0])) - 1
