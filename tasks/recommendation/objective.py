"""What trains a recommender's network: a loss for each item asked for, and how high those stand that were held out."""

from typing import Any

import keras
import numpy as np

from pipelines.devices import gathered, replica
from pipelines.losses import softmax_loss
from pipelines.task import Assets
from tasks.recommendation import losses
from tasks.recommendation.backbones import ITEMS, QUERY, STATES, USERS, towers
from tasks.recommendation.config import SEQUENTIAL, Config
from tasks.recommendation.places import BLOCK, places

POOLED = ("sampled-softmax", "in-batch")
"""Losses whose other items are shared by a whole batch."""


class Objective(keras.layers.Layer):
    """Of the encoder's x: `loss` float32 [rows, P] and, outside of training, `gain` [rows, 1], the NDCG of each row;
    where ratings are predicted, `score` and `penalty` [rows, P].

    In training the end of each part of a history asks for the item after it; otherwise its end alone asks for all.
    """

    def __init__(self, network: keras.Model, config: Config, assets: Assets, **settings: Any) -> None:
        super().__init__(**settings)
        self.network, self._config = network, config
        self._count, self._rivals = len(assets["items"]), losses.rivals(config, assets)
        self._log_shares = losses.log_popularity(assets["counts"], self._rivals)
        self._sequential = config.backbone in SEQUENTIAL
        self._multiplies = QUERY in {layer.name for layer in network.layers}
        if self._multiplies:
            self.query, self.candidates = towers(network)
            self.states = towers(network, STATES)[0] if self._sequential else self.query

    def call(self, x: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """See the class."""
        if self._config.rates:
            score = self.network(self._asking(x, x["positive"]), training=training)
            return {"score": score, "penalty": self._penalty(x)}
        queries = self._queries(x, training) if self._multiplies else None
        loss = self._loss(x, queries, training)
        if training:
            return {"loss": loss, "gain": keras.ops.zeros_like(loss[:, :1])}
        return {"loss": loss, "gain": self._gain(x, queries)}

    def compute_output_spec(self, x: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Said, as not every backend can tell of so many open sides."""
        shape = x["positive"].shape
        if self._config.rates:
            return {name: keras.KerasTensor(shape, "float32") for name in ("score", "penalty")}
        return {"loss": keras.KerasTensor(shape, "float32"), "gain": keras.KerasTensor((shape[0], 1), "float32")}

    def _asking(self, x: dict[str, Any], items: Any) -> dict[str, Any]:
        return {self._given: x[self._given], "item": items}

    @property
    def _given(self) -> str:
        return "history" if self._sequential else "user"

    def _queries(self, x: dict[str, Any], training: bool) -> Any:
        """[rows, P, width] where each item is asked for by a vector of its own; else [rows, 1, width]."""
        given = {self._given: x[self._given]}
        if training and self._sequential:
            return self.states(given, training=True)
        return keras.ops.expand_dims(self.query(given, training=training), 1)

    def _loss(self, x: dict[str, Any], queries: Any, training: bool) -> Any:
        if self._config.loss == "softmax":
            return self._over_all(x["positive"], queries, self._rivals if training else self._count)
        if self._config.loss in POOLED:
            return self._over_pool(x, queries, training)
        negative = x["negative"]
        taken = self._own_scores(x, x["positive"], queries, training)
        others = self._scores(x, negative, queries, training)
        hits = keras.ops.equal(keras.ops.expand_dims(x["positive"], 2), keras.ops.expand_dims(negative, 1))
        real = keras.ops.logical_not(keras.ops.any(hits, axis=1, keepdims=True))
        return {"bpr": losses.bpr_loss, "pointwise": losses.pointwise_loss}[self._config.loss](taken, others, real)

    def _over_all(self, positive: Any, queries: Any, count: int) -> Any:
        """The softmax over the first so many items."""
        shape = keras.ops.shape(positive)
        queries = keras.ops.broadcast_to(queries, (*shape, queries.shape[-1]))
        flat = keras.ops.reshape(queries, (-1, queries.shape[-1]))
        taken = keras.ops.reshape(keras.ops.maximum(positive, 0), (-1,))
        table = keras.ops.cast(self._table(count), self.compute_dtype)
        loss = softmax_loss(keras.ops.cast(flat, self.compute_dtype), table, taken)
        return keras.ops.reshape(loss, shape)

    def _over_pool(self, x: dict[str, Any], queries: Any, training: bool) -> Any:
        """The softmax over items that the batch shares, whatever replicas compute it: drawn ones, or those that its
        other rows ask for."""
        positive = x["positive"]
        shared = x.get("negative", positive)
        everyone = gathered(shared)
        pool = keras.ops.reshape(everyone, (-1,))
        real = keras.ops.not_equal(keras.ops.expand_dims(positive, 2), pool)
        if self._config.loss == "in-batch":
            mine = _rows(positive, replica() * keras.ops.shape(positive)[0])[:, :1, None]
            own = keras.ops.equal(mine, keras.ops.reshape(_rows(everyone, 0), (-1,)))
            real = keras.ops.logical_and(real, keras.ops.logical_and(pool >= 0, keras.ops.logical_not(own)))
        items = keras.ops.reshape(shared, (1, -1))
        vectors = gathered(self.candidates({"item": items}, training=training)[0])
        others = keras.ops.matmul(queries, keras.ops.transpose(keras.ops.cast(vectors, queries.dtype)))
        drawn = keras.ops.log(keras.ops.sum(keras.ops.cast(pool >= 0, "float32")))
        expected = keras.ops.take(self._log_shares, keras.ops.maximum(pool, 0)) + drawn
        taken = self._own_scores(x, positive, queries, training)
        return losses.drawn_softmax_loss(taken, others, expected, real)

    def _own_scores(self, x: dict[str, Any], items: Any, queries: Any, training: bool) -> Any:
        """[rows, P]: of each item, asked for by its own query."""
        if queries is None:
            return self.network(self._asking(x, items), training=training)
        vectors = self.candidates({"item": items}, training=training)
        return keras.ops.sum(keras.ops.cast(queries, vectors.dtype) * vectors, axis=-1)

    def _scores(self, x: dict[str, Any], items: Any, queries: Any, training: bool) -> Any:
        """[rows, P, N]: of all items [rows, N] of a row, for each query of it."""
        if queries is None:
            return keras.ops.expand_dims(self.network(self._asking(x, items), training=training), 1)
        vectors = self.candidates({"item": items}, training=training)
        return keras.ops.matmul(keras.ops.cast(queries, vectors.dtype), keras.ops.transpose(vectors, (0, 2, 1)))

    def _penalty(self, x: dict[str, Any]) -> Any:
        """[rows, P]: on the embeddings of the user and the item, once for each of their ratings, so that those that
        many ratings tell of are pressed as hard as the others (Koren et al., 2009)."""
        sizes = []
        for layer, numbers in ((USERS, x["user"][:, None]), (ITEMS, x["positive"])):
            rows = self.network.get_layer(layer)(keras.ops.maximum(numbers, 0))
            sizes.append(keras.ops.sum(keras.ops.square(keras.ops.cast(rows, "float32")), axis=-1))
        return self._config.penalty * (sizes[0] + sizes[1])

    def _table(self, count: int) -> Any:
        """[count, width]: the vectors of the first items; of backbones whose table is that, of all."""
        if self._config.backbone != "two-tower":
            return keras.ops.convert_to_tensor(self.network.get_layer(ITEMS).embeddings)
        return self.candidates({"item": np.arange(count, dtype=np.int32)[None]})[0]

    def _gain(self, x: dict[str, Any], queries: Any) -> Any:
        """NDCG of the held-out items among all others but those seen, ties taken at their mean place."""
        ranks = places(lambda first: self._block_scores(x, queries, first), self._count, x["positive"], x["seen"])
        return losses.rank_gain(ranks, keras.ops.cast(x["positive"] >= 0, "float32"), self._config.k)

    def _block_scores(self, x: dict[str, Any], queries: Any, first: Any) -> Any:
        """float32 [rows, BLOCK, or all if fewer], of the items from first on."""
        size = min(BLOCK, self._count)
        items = keras.ops.cast(first, "int32") + keras.ops.arange(size, dtype="int32")
        if queries is None:
            return keras.ops.map(lambda user: self.network({"user": user[None], "item": items[None]})[0], x["user"])
        if self._config.backbone == "two-tower":
            table = self.candidates({"item": items[None]})[0]
        else:
            table = keras.ops.slice(self._table(self._count), (first, 0), (size, queries.shape[-1]))
        table = keras.ops.cast(table, "float32")
        return keras.ops.matmul(keras.ops.cast(queries[:, 0], "float32"), keras.ops.transpose(table))


def _rows(items: Any, first: Any) -> Any:
    """int32 [rows, P]: the number of the row that each of the items [rows, P] stands in."""
    return keras.ops.cumsum(keras.ops.ones_like(items), axis=0) - 1 + first
