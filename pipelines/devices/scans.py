"""A loop along a tensor whose graph other formats hold too."""

from collections.abc import Callable
from typing import Any


def scan(step: Callable[[Any, Any], Any], first: Any, values: Any, reverse: bool = False) -> Any:
    """What each step gives, [steps, ...]. On TensorFlow keras.ops.scan carries it from step to step in a list of one
    tensor, for which ONNX has no word.

    Args:
        step: (what the step before gave, or the one behind in reverse, one of the values) -> what this one gives, of
            the shape and type of `first`.
        first: what the first step is given.
        values: [steps, ...].
        reverse: from the last to the first.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return keras.ops.scan(lambda carried, value: (step(carried, value),) * 2, first, values, reverse=reverse)[1]
    import tensorflow as tf

    values = tf.reverse(values, [0]) if reverse else values
    count = tf.shape(values)[0]
    given = tf.TensorArray(values.dtype, count, element_shape=values.shape[1:]).unstack(values)
    found = tf.TensorArray(first.dtype, count, element_shape=first.shape)

    def body(at: Any, found: Any, carried: Any) -> tuple[Any, Any, Any]:
        carried = step(carried, given.read(at))
        return at + 1, found.write(at, carried), carried

    every = tf.while_loop(lambda at, *_: at < count, body, (0, found, first), maximum_iterations=count)[1].stack()
    every = tf.ensure_shape(every, [values.shape[0], *first.shape])
    return tf.reverse(every, [0]) if reverse else every
