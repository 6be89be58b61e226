"""What the training of a recommender minimises, in keras.ops: a loss for each item that was taken.

Scores of taken items are [rows, P]; of others, drawn for the row, [rows, P, N]. `real` is False where an item that was
drawn must not count, as it is the very one that was taken.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from pipelines.task import Assets
from tasks.recommendation.config import Config

_NEVER = -1e9
"""The score of what must not be chosen; of float32 and bfloat16 alike."""


def drawn_softmax_loss(taken: Any, others: Any, log_expected: Any, real: Any) -> Any:
    """float32 [rows, P]: cross-entropy of the softmax over the taken item and some others that were drawn.

    Each of the others counts for as many as it is drawn rarely (logQ correction: Bengio and Senecal, 2008; Yi et al.,
    2019), so that their sum is expected to be that over all items. The taken item, which is there without being drawn,
    stands for itself (Khrylchenko et al., 2025).

    Args:
        taken: [rows, P].
        others: [rows, P, N].
        log_expected: logarithm of how often each of the others was to be drawn; broadcast to them.
        real: bool, broadcast to others.
    """
    own = keras.ops.expand_dims(keras.ops.cast(taken, "float32"), -1)
    rest = keras.ops.where(real, keras.ops.cast(others, "float32") - log_expected, _NEVER)
    both = keras.ops.concatenate([own, rest], axis=-1)
    return keras.ops.logsumexp(both, axis=-1) - own[..., 0]


def bpr_loss(taken: Any, others: Any, real: Any) -> Any:
    """float32 [rows, P]: how far the taken item is from standing above each other one, on average (Rendle et al.,
    2009)."""
    gaps = keras.ops.expand_dims(keras.ops.cast(taken, "float32"), -1) - keras.ops.cast(others, "float32")
    counts = keras.ops.cast(real, "float32") * keras.ops.ones_like(gaps)
    total = keras.ops.sum(keras.ops.softplus(-gaps) * counts, axis=-1)
    return total / keras.ops.maximum(keras.ops.sum(counts, axis=-1), 1.0)


def pointwise_loss(taken: Any, others: Any, real: Any) -> Any:
    """float32 [rows, P]: binary cross-entropy of the taken item and the others, summed (He et al., 2017)."""
    own = keras.ops.softplus(-keras.ops.cast(taken, "float32"))
    rest = keras.ops.softplus(keras.ops.cast(others, "float32")) * keras.ops.cast(real, "float32")
    return own + keras.ops.sum(rest, axis=-1)


def squared_loss(ratings: Any, scores: Any) -> Any:
    """float32 [rows, P]: of ratings."""
    return keras.ops.square(keras.ops.cast(scores, "float32") - ratings)


def rivals(config: Config, assets: Assets) -> int:
    """How many of the first items are what a taken one is held against in training. Where features speak for items that
    nobody took yet, these are left out: as they are never the right answer, the network would learn to tell them by
    their features, and place them last."""
    described = assets.get("features", {}).get("items", {}).get("columns")
    if config.backbone == "two-tower" and (described or config.text_encoder is not None):
        return int(assets["trained"]["items"])
    return len(assets["items"])


def log_popularity(counts: Sequence[int] | np.ndarray, among: int | None = None) -> np.ndarray:
    """float32 [items]: the logarithm of each item's share of the interactions of the first so many (all, by default),
    each counted once more, so that items without any have one too."""
    smoothed = np.asarray(counts, np.float64) + 1.0
    return np.asarray(np.log(smoothed / smoothed[:among].sum()), np.float32)


def rank_gain(ranks: Any, asked: Any, k: int) -> Any:
    """float32 [rows, 1]: NDCG at k of each row, from the places of its held-out items in the list of all, counted from
    0.

    Args:
        ranks: float32 [rows, P].
        asked: float32 [rows, P], 1 where there is an item.
        k: the list's length.
    """
    gains = keras.ops.where(ranks < k, 1.0 / keras.ops.log2(keras.ops.maximum(ranks, 0.0) + 2.0), 0.0) * asked
    places = keras.ops.cumsum(keras.ops.ones_like(asked), axis=1) - 1.0
    count = keras.ops.minimum(keras.ops.sum(asked, axis=1, keepdims=True), float(k))
    best = keras.ops.where(places < count, 1.0 / keras.ops.log2(places + 2.0), 0.0)
    total, most = (keras.ops.sum(each, axis=1, keepdims=True) for each in (gains, best))
    return total / keras.ops.maximum(most, 1e-9)
