"""Blocks of batches as the steps on the TensorFlow backend take them: of any length, in parts, one by one."""

from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf


def of_any_length(
    function: Callable[..., tf.Tensor], *, rows: bool = False, **settings: Any
) -> Callable[..., tf.Tensor]:
    """tf.function that is traced once for each number of steps, and of rows unless these too are of any number,
    whatever stands behind them.

    Which length comes first decides nothing then, as it would with reduce_retracing: a run that goes on has other
    batches first, and must compute the same bits.
    """
    traced: dict[Any, Callable[..., tf.Tensor]] = {}

    def call(*arguments: Any) -> tf.Tensor:
        specs = tf.nest.map_structure(partial(_open, known=1 if rows else 2), arguments)
        key = tuple((*spec.shape, spec.dtype) for spec in tf.nest.flatten(specs))
        if key not in traced:
            traced[key] = tf.function(function, input_signature=specs, **settings)
        return traced[key](*arguments)

    return call


def _open(tensor: Any, known: int) -> tf.TensorSpec:
    """Of any length but for its first sides: [steps, any, ...], or [steps, batch, any, ...]."""
    return tf.TensorSpec([*tensor.shape[:known], *[None] * (len(tensor.shape) - known)], tensor.dtype)


def in_parts(tensor: tf.Tensor, parts: int) -> tf.Tensor:
    """[batch, ...] -> [parts, batch / parts, ...]."""
    shape = [side if side is not None else tf.shape(tensor)[place] for place, side in enumerate(tensor.shape)]
    split = tf.reshape(tensor, [parts, shape[0] // parts, *shape[1:]])
    return tf.ensure_shape(split, [parts, None, *tensor.shape[1:]])


def at(block: Any, place: Any) -> Any:
    """Of each tensor of a block, or of parts, the one at a place."""
    return tf.nest.map_structure(lambda tensor: tensor[place], block)
