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
        smoothing: share of the target that is spread over all classes.
        gamma: how little those examples count that are right already.
    """
    if _is_sparse(y) and not smoothing and not gamma:
        return keras.ops.sparse_categorical_crossentropy(y, logits, from_logits=True)
    each = _focused(-keras.ops.log_softmax(logits, axis=-1), gamma)
    shares = keras.ops.one_hot(y, logits.shape[-1], dtype=each.dtype) if _is_sparse(y) else y
    own = keras.ops.sum(shares * each, axis=-1)
    return (1 - smoothing) * own + smoothing * keras.ops.mean(each, axis=-1) if smoothing else own


def multilabel_loss(y: Any, logits: Any, *, smoothing: float = 0.0, gamma: float = 0.0) -> Any:
    """float32 [batch]: the mean over the classes of each one's binary cross-entropy; arguments as above, y float
    [batch, classes]."""
    shares = (1 - smoothing) * y + smoothing / 2
    there, not_there = (_focused(keras.ops.softplus(way * logits), gamma) for way in (-1.0, 1.0))
    return keras.ops.mean(shares * there + (1 - shares) * not_there, axis=-1)


def softmax_loss(queries: Any, table: Any, taken: Any, *, smoothing: float = 0.0) -> Any:
    """float32 [n]: cross-entropy of the softmax over all rows of a table, its targets smoothed over them.

    Its gradient is written out: nothing but the probabilities is kept for it, and TensorFlow's own kernel takes half as
    long again. Smoothing costs no second softmax: the mean of -log p over all rows is that of the taken one, and what
    its logit is above their mean.

    Args:
        queries: [n, width].
        table: [rows, width], of the same type.
        taken: int32 [n], of 0 to rows - 1.
        smoothing: share of the target that is spread over all rows (Szegedy et al., 2016).
    """
    count = table.shape[0]

    @keras.ops.custom_gradient
    def loss(queries: Any, table: Any) -> tuple[Any, Any]:
        logits = keras.ops.matmul(queries, keras.ops.transpose(table))
        top = keras.ops.max(logits, axis=-1, keepdims=True)
        shares = keras.ops.exp(logits - top)
        total = keras.ops.sum(shares, axis=-1, keepdims=True)
        own = keras.ops.take(table, taken, axis=0)
        wanted = _spread(own, table, smoothing)
        value = keras.ops.squeeze(keras.ops.log(total) + top, -1) - keras.ops.sum(queries * wanted, axis=-1)

        def slopes(*upstream: Any) -> tuple[Any, Any]:
            slope = keras.ops.expand_dims(keras.ops.cast(upstream[-1], queries.dtype), -1)
            each = shares * (slope / total)
            of_queries = keras.ops.matmul(each, table) - slope * wanted
            of_table = keras.ops.matmul(keras.ops.transpose(each), queries)
            weighed = slope * queries
            of_own = keras.ops.segment_sum(weighed, taken, num_segments=count)
            if smoothing:
                # Of the mean of all rows each has the same part.
                of_mean = keras.ops.sum(weighed, axis=0, keepdims=True)
                of_own = (1 - smoothing) * of_own + (smoothing / count) * of_mean
            return of_queries, of_table - of_own

        return value, slopes

    return keras.ops.cast(loss(queries, table), "float32")


def _spread(own: Any, table: Any, smoothing: float) -> Any:
    """What a query is to point to: the taken row [n, width], and by a share the mean of all."""
    if not smoothing:
        return own
    return (1 - smoothing) * own + smoothing * keras.ops.mean(table, axis=0, keepdims=True)


def correct(y: Any, logits: Any) -> Any:
    """float32 [batch]: 1 where the likeliest class is the right one, of a mixed image the one with the largest
    share."""
    right = y if _is_sparse(y) else keras.ops.argmax(y, axis=-1)
    return keras.ops.cast(keras.ops.equal(keras.ops.argmax(logits, axis=-1), right), "float32")


def label_f1(y: Any, logits: Any) -> Any:
    """float32 [batch]: F1 of each image's labels at a probability of 0.5; 1 where there are none and none is found. A
    mixed image has the labels of which it has half or more."""
    there = keras.ops.cast(y >= 0.5, "float32")
    found = keras.ops.cast(logits > 0, "float32")
    hits, all_of_both = keras.ops.sum(there * found, axis=-1), keras.ops.sum(there + found, axis=-1)
    return keras.ops.where(all_of_both > 0, 2 * hits / keras.ops.maximum(all_of_both, 1), 1.0)


def _focused(loss: Any, gamma: float) -> Any:
    """Negative log-probabilities, each times (1 - its probability)^gamma."""
    if not gamma:
        return loss
    # Not below a rounding error: the slope of a power under 1 is infinite at 0.
    return loss * keras.ops.maximum(-keras.ops.expm1(-loss), _LEAST) ** gamma


def _is_sparse(y: Any) -> bool:
    return len(y.shape) == 1
