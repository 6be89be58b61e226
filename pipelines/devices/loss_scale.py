"""Dynamic loss scaling for float16 (Micikevicius et al., 2018): gradients below 6e-8 are 0 in it, so the loss is
multiplied by a power of two before them, and they are divided by it. keras.ops only.

A step whose gradients are not finite changes nothing but the scale, which it halves; so many steps without one double
it. The scale and the count of those steps are part of the exact state.
"""

from typing import Any

import keras

FIRST = 2.0**15
LEAST = 1.0
MOST = 2.0**24
DOUBLED_AFTER = 2_000
"""Steps, as elsewhere: rare enough that a scale too large costs one step in two thousand."""


def new_scale() -> list[Any]:
    """The variables: the scale float32 [], and the steps since it last changed int32 []."""
    how: dict[str, Any] = {"trainable": False, "aggregation": "only_first_replica"}
    return [
        keras.Variable(FIRST, dtype="float32", name="loss_scale", **how),
        keras.Variable(0, dtype="int32", name="steps_since", **how),
    ]


def scaled(loss: Any, scale: Any) -> Any:
    """What the gradients are taken of."""
    return loss * keras.ops.cast(scale, loss.dtype)


def unscaled(gradients: list[Any], scale: Any) -> list[Any]:
    """The gradients of the loss itself. Scales are powers of two: nothing is rounded."""
    return [g if g is None else g / keras.ops.cast(scale, g.dtype) for g in gradients]


def count_overflown(gradients: list[Any]) -> Any:
    """float32 []: how many gradients hold a number that is not finite."""
    found = [keras.ops.any(keras.ops.logical_not(keras.ops.isfinite(g))) for g in gradients if g is not None]
    return keras.ops.sum(keras.ops.cast(keras.ops.stack(found), "float32"))


def told(sums: Any, scale: Any, finite: Any) -> Any:
    """The sums of a step; no numbers where its gradients are not finite though nothing is left to halve."""
    hopeless = keras.ops.logical_and(keras.ops.logical_not(finite), scale <= LEAST)
    return keras.ops.where(hopeless, float("nan"), sums)


def next_scale(scale: Any, since: Any, finite: Any) -> list[Any]:
    """Both variables after a step."""
    doubled = since + 1 >= DOUBLED_AFTER
    grown = keras.ops.where(doubled, keras.ops.minimum(scale * 2.0, MOST), scale)
    return [
        keras.ops.where(finite, grown, keras.ops.maximum(scale / 2.0, LEAST)),
        keras.ops.where(keras.ops.logical_and(finite, keras.ops.logical_not(doubled)), since + 1, 0),
    ]
