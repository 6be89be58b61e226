"""Which layers of a backbone are trained."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from pipelines.task import Head


def backbone_layers(model: keras.Model, head: Head) -> list[keras.layers.Layer]:
    """The layers that have weights, from the input to the top, without the head.

    Nested models are opened; a layer made of layers, as the block of a transformer, is one.
    """
    return [layer for layer in opened(model) if layer.weights and layer.name not in head.layers]


def opened(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers of a model and of the models in it, in order."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from opened(layer)
        else:
            yield layer


def freeze(layers: Sequence[keras.layers.Layer], unfreeze: str) -> Sequence[keras.layers.Layer]:
    """Leave the layers trainable that `unfreeze` says, none, last:N or all; these are returned.

    `trainable` of a layer is what holds: a batch norm called with training=False inside a model that is called with
    training=True trains all the same (https://github.com/keras-team/keras/issues/20285).
    """
    kept = len(layers) - {"none": 0, "all": len(layers)}.get(unfreeze, int(unfreeze.partition(":")[2] or 0))
    for layer in layers[: max(kept, 0)]:
        layer.trainable = False
    return layers[max(kept, 0) :]


def freeze_norms(layers: Sequence[keras.layers.Layer]) -> None:
    """Keep the batch norms as they are, statistics and all."""
    for layer in layers:
        for part in parts(layer):
            if isinstance(part, keras.layers.BatchNormalization):
                part.trainable = False


def parts(layer: keras.layers.Layer) -> list[Any]:
    """The layer and the layers in it."""
    return list(layer._flatten_layers())
