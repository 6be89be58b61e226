"""What training minimises and follows, in keras.ops: targets are class numbers, or the share of each class."""

from typing import Any

import keras

_LEAST = 1e-7


def classification_loss(y: Any, logits: Any, *, smoothing: float = 0.0, gamma: float = 0.0) -> Any:
    """float32 [batch]: cross-entropy, its targets smoothed over all classes (Szegedy et al., 2016), each class's part
    weighed by (1 - p)^gamma (focal loss: Lin et al., 2017; 0 is cross-entropy).

    Args:
        y: whole numbers [batch], or shares [batch, classes].
        logits: [batch, classes].
    """
    if is_sparse(y) and not smoothing and not gamma:
        return keras.ops.sparse_categorical_crossentropy(y, logits, from_logits=True)
    each = -keras.ops.log_softmax(logits, axis=-1)
    if gamma:
        # Not below a rounding error: the slope of a power under 1 is infinite at 0.
        each *= keras.ops.maximum(-keras.ops.expm1(-each), _LEAST) ** gamma
    shares = keras.ops.one_hot(y, logits.shape[-1], dtype=each.dtype) if is_sparse(y) else y
    own = keras.ops.sum(shares * each, axis=-1)
    return (1 - smoothing) * own + smoothing * keras.ops.mean(each, axis=-1) if smoothing else own


def correct(y: Any, logits: Any) -> Any:
    """float32 [batch]: 1 where the likeliest class is the right one, of a mixed image the one with the largest
    share."""
    right = y if is_sparse(y) else keras.ops.argmax(y, axis=-1)
    return keras.ops.cast(keras.ops.equal(keras.ops.argmax(logits, axis=-1), right), "float32")


def is_sparse(y: Any) -> bool:
    """Whether targets are class numbers."""
    return len(y.shape) == 1
