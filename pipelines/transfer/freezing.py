"""Which layers of a backbone are trained."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from pipelines.task import Head

_UNUSED = ("mask_token",)
"""Variables that only the pretraining of a network used, as DINO's: no gradient reaches them."""

_FIXED = ("encoder_position_embedding",)
"""Layers that hold what was never learnt: Whisper's places, which are sinusoids."""


def backbone_layers(model: keras.Model, head: Head) -> list[keras.layers.Layer]:
    """The layers that own weights, from the input to the top, without the head."""
    return [layer for layer in owners(model) if layer.name not in head.layers]


def head_layers(model: keras.Model, head: Head) -> list[keras.layers.Layer]:
    """Those of the head's layers that the model has, in order."""
    there = {layer.name: layer for layer in model.layers}
    return [there[name] for name in head.layers if name in there]


def owners(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers that own weights, in order; models and layers that are made of layers are opened."""
    return [layer for layer in _opened(model, set()) if weights_of(layer)]


def weights_of(layer: keras.layers.Layer) -> list[Any]:
    """A layer's own weights: not those of layers in it, no seeds, and no low-rank updates, which a saved model has in
    its kernels already."""
    return [variable for variable in _own(layer) if not variable.name.startswith("lora_")]


def freeze(layers: Sequence[keras.layers.Layer], unfreeze: str) -> Sequence[keras.layers.Layer]:
    """Leave the layers trainable that `unfreeze` says, none, last:N, top:SHARE or all; these are returned.

    `trainable` of a layer is what holds: a batch norm called with training=False inside a model that is called with
    training=True trains all the same (https://github.com/keras-team/keras/issues/20285).
    """
    kept = frozen(layers, unfreeze)
    for layer in layers[:kept]:
        layer.trainable = False
    for layer in layers[kept:]:
        layer.trainable = True  # it was frozen in an earlier stage, or with the layer that it is part of
    for variable in [v for layer in layers for v in weights_of(layer) if v.name in _UNUSED or layer.name in _FIXED]:
        variable.trainable = False
    return layers[kept:]


def frozen(layers: Sequence[keras.layers.Layer], unfreeze: str) -> int:
    """How many of the layers, from the input on, `unfreeze` leaves frozen."""
    way, _, number = unfreeze.partition(":")
    many = {"none": 0.0, "all": len(layers), "top": float(number or 0) * len(layers), "last": float(number or 0)}
    return max(len(layers) - round(many[way]), 0)


def freeze_norms(layers: Sequence[keras.layers.Layer]) -> None:
    """Keep the batch norms as they are, statistics and all."""
    for layer in layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def _opened(layer: Any, seen: set[int]) -> Iterator[keras.layers.Layer]:
    for part in layer.layers if isinstance(layer, keras.Model) else layer._layers:
        if id(part) not in seen:
            seen.add(id(part))
            yield part
            yield from _opened(part, seen)


def layer_rates(model: keras.Model, head: Head, decay: float) -> tuple[float, ...]:
    """For each trainable variable what its learning rate is multiplied by: 1 in the head, and `decay` to the power of
    the distance from it in the layers below (Clark et al., 2020); low-rank updates go with their layer."""
    rates: dict[int, float] = {}
    for distance, layer in enumerate(reversed(backbone_layers(model, head)), 1):
        rates |= dict.fromkeys(map(id, _own(layer)), decay**distance)
    return tuple(rates.get(id(variable), 1.0) for variable in model.trainable_variables)


def _own(layer: keras.layers.Layer) -> list[Any]:
    """A layer's own weights, low-rank updates among them."""
    held = {id(variable) for variable in layer.weights}
    return [v for v in (*layer._trainable_variables, *layer._non_trainable_variables) if id(v) in held]
