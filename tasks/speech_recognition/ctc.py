"""Connectionist temporal classification (Graves et al., 2006): the probability of a transcript, summed over all ways to
spread it over the frames.

The forward and the backward recursion are the same one, run on a clip and on the clip turned round, so both take one
loop; the gradient is written out from them, and nothing is kept step by step to differentiate through.
"""

from typing import Any

import keras

BLANK = 0
"""What a frame says that adds nothing to the transcript; it also stands behind the end of a row of labels."""
_NEVER = -1e30
"""The logarithm of no probability: finite, as a difference of infinities is none."""


def ctc_loss(labels: Any, logits: Any, frames: Any) -> Any:
    """float32 [rows]: the negative log-probability of each transcript; 0, without a gradient, where it cannot be said
    in so many frames (see `feasible`).

    Args:
        labels: int32 [rows, L], from 1; BLANK behind the end. L may be 0.
        logits: float [rows, F, V]; computed in float32.
        frames: int32 [rows], 0 to F: of the others nothing counts.
    """
    labels = keras.ops.cast(labels, "int32")
    extended = _extended(labels)
    skips = _skips(extended)
    lengths = label_lengths(labels)
    said = feasible(labels, frames)

    @keras.ops.custom_gradient
    def loss(logits: Any) -> tuple[Any, Any]:
        log_probabilities = keras.ops.log_softmax(logits, axis=-1)
        emitted = _emitted(log_probabilities, extended)
        valid = _valid(logits, frames)
        forward, backward, ends = _both_ways(emitted, skips, lengths, valid)
        value = keras.ops.logsumexp(ends, axis=-1)

        def slopes(*upstream: Any) -> Any:
            # How likely each state is at each frame, given the transcript.
            shares = keras.ops.exp(forward + backward - emitted - value[:, None, None])
            where = keras.ops.one_hot(extended, logits.shape[-1], dtype=logits.dtype)
            wanted = keras.ops.matmul(shares, where)
            counts = keras.ops.cast(valid & said[:, None], logits.dtype) * upstream[-1][:, None]
            slope = keras.ops.exp(log_probabilities) - wanted
            return keras.ops.where(said[:, None, None], slope, 0.0) * counts[..., None]

        return keras.ops.where(said, -value, 0.0), slopes

    return loss(keras.ops.cast(logits, "float32"))


def feasible(labels: Any, frames: Any) -> Any:
    """bool [rows]: whether there are frames enough: one for each label, and one between two that are the same."""
    same = keras.ops.cast(keras.ops.equal(labels[:, 1:], labels[:, :-1]) & (labels[:, 1:] != BLANK), "int32")
    return label_lengths(labels) + keras.ops.sum(same, axis=1) <= keras.ops.cast(frames, "int32")


def label_lengths(labels: Any) -> Any:
    """int32 [rows]."""
    return keras.ops.sum(keras.ops.cast(keras.ops.not_equal(labels, BLANK), "int32"), axis=1)


def _extended(labels: Any) -> Any:
    """int32 [rows, 2 L + 1]: a blank before each label, and one behind the last."""
    pairs = keras.ops.stack([keras.ops.full_like(labels, BLANK), labels], axis=-1)
    rows = keras.ops.shape(labels)[0]
    flat = keras.ops.reshape(pairs, (rows, 2 * keras.ops.shape(labels)[1]))
    return keras.ops.pad(flat, ((0, 0), (0, 1)), constant_values=BLANK)


def _skips(extended: Any) -> Any:
    """bool [rows, S]: whether a state may follow the one two before it: a label after another one."""
    before = keras.ops.pad(extended, ((0, 0), (2, 0)), constant_values=BLANK)[:, :-2]
    return keras.ops.not_equal(extended, BLANK) & keras.ops.not_equal(extended, before)


def _emitted(log_probabilities: Any, extended: Any) -> Any:
    """float32 [rows, F, S]: of each state at each frame."""
    frames = keras.ops.shape(log_probabilities)[1]
    at = keras.ops.repeat(keras.ops.expand_dims(extended, 1), frames, axis=1)
    return keras.ops.take_along_axis(log_probabilities, at, axis=-1)


def _valid(logits: Any, frames: Any) -> Any:
    """bool [rows, F]."""
    places = keras.ops.arange(keras.ops.shape(logits)[1], dtype="int32")
    return keras.ops.less(places[None], keras.ops.cast(frames, "int32")[:, None])


def _both_ways(emitted: Any, skips: Any, lengths: Any, valid: Any) -> tuple[Any, Any, Any]:
    """The logarithms of what leads to each state at each frame, and of what leads on from it, that frame's own
    probability in both: float32 [rows, F, S] each; and of the two states that may be the last, [rows, 2]."""
    states = keras.ops.shape(emitted)[2]
    place = keras.ops.arange(states, dtype="int32")
    starts = keras.ops.stack([keras.ops.zeros_like(lengths), states - 1 - 2 * lengths])
    first = keras.ops.where(keras.ops.equal(place, starts[..., None]), 0.0, _NEVER)
    # Turned round, a state is entered from where it was left: two states on.
    left = keras.ops.pad(skips, ((0, 0), (0, 2)), constant_values=False)[:, 2:]
    allowed = keras.ops.stack([skips, keras.ops.flip(left, axis=1)])
    given = keras.ops.stack([emitted, keras.ops.flip(emitted, axis=(1, 2))])
    there = keras.ops.cast(keras.ops.stack([valid, keras.ops.flip(valid, axis=1)]), emitted.dtype)
    # One tensor, as TensorFlow's scan takes no two whose length it does not know (Keras 3.15).
    each = keras.ops.transpose(keras.ops.concatenate([given, there[..., None]], axis=-1), (2, 0, 1, 3))
    penalty = keras.ops.where(allowed, 0.0, _NEVER)

    def step(before: Any, now: Any) -> tuple[Any, Any]:
        after = now[..., :-1] + _log_sum(before, _shifted(before, 1), _shifted(before, 2) + penalty)
        after = keras.ops.where(now[..., -1:] > 0, keras.ops.maximum(after, _NEVER), before)
        return after, after

    last, every = keras.ops.scan(step, first, each)
    forward = keras.ops.transpose(every[:, 0], (1, 0, 2))
    backward = keras.ops.flip(keras.ops.transpose(every[:, 1], (1, 0, 2)), axis=(1, 2))
    at = keras.ops.stack([2 * lengths, keras.ops.maximum(2 * lengths - 1, 0)], axis=1)
    # An empty transcript has but one state to end in.
    other = keras.ops.stack([keras.ops.zeros_like(lengths), keras.ops.cast(lengths == 0, "int32")], axis=1)
    ends = keras.ops.where(other > 0, _NEVER, keras.ops.take_along_axis(last[0], at, axis=1))
    return forward, backward, ends


def _shifted(states: Any, by: int) -> Any:
    """What stood so many states before."""
    padded = keras.ops.pad(states, ((0, 0), (0, 0), (by, 0)), constant_values=_NEVER)
    return padded[..., :-by]


def _log_sum(one: Any, other: Any, third: Any) -> Any:
    top = keras.ops.maximum(keras.ops.maximum(one, other), third)
    return top + keras.ops.log(keras.ops.exp(one - top) + keras.ops.exp(other - top) + keras.ops.exp(third - top))
