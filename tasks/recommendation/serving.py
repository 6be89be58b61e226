"""The recommender as one graph: ids of users, or of what they took, in; ids of items out, as predict gives them."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipelines.devices import forward
from pipelines.served import Core, Scored, Serving
from pipelines.task import Assets
from tasks.recommendation.backbones import QUERY, towers
from tasks.recommendation.config import READING, SEQUENTIAL, Config
from tasks.recommendation.data import seen
from tasks.recommendation.encoding import histories
from tasks.recommendation.prediction import LEAST_KEPT, fitted_folding, known_users, rating_vectors
from tasks.recommendation.ranking_graph import ranked
from tasks.recommendation.served import (
    all_known,
    among_all,
    as_bytes,
    held_out,
    list_gap,
    list_records,
    network_inputs,
    pairs,
    rating_gap,
    rating_records,
)

_USER = tf.TensorSpec([None], tf.string, name="user")
_ITEM = tf.TensorSpec([None], tf.string, name="item")
_HISTORY = tf.TensorSpec([None, None], tf.string, name="history")
_K = tf.TensorSpec([], tf.int32, name="k")
_LISTS = "ids of users in UTF-8, and how many items to list for each"
_HISTORIES = (
    "ids of users, empty where there is none; ids of items that they took besides what the model knows, oldest first, "
    "filled up with empty ones; and how many items to list for each"
)
_LEAVING_OUT = (
    "ids of users; ids of the items that they took, oldest first, filled up with empty ones, whatever the model knows "
    "besides; and how many other items to list for each"
)
_CODED = (
    "user: the place of the user in model/users.json, -1 for others; taken: the places in model/items.json of what "
    "they took, -1 behind the last; history: the latest of these, oldest first, in a length that the network knows; "
    "folded: whether vector, which the sidecar makes of what they took, stands for a user whom training did not know"
)
_CODED_PAIRS = "the places of users in model/users.json and of items in model/items.json, -1 for those not known"
_WITH_HISTORY = {"user": _USER, "history": _HISTORY, "k": _K}
_CODES = {
    "user": tf.TensorSpec([None], tf.int32),
    "taken": tf.TensorSpec([None, None], tf.int32),
    "vector": tf.TensorSpec([None, None], tf.float32),
    "folded": tf.TensorSpec([None], tf.bool),
    "history": tf.TensorSpec([None, None], tf.int32),
}
_PAIRS = "ids of users and ids of items in UTF-8, a pair a row"


def serving(model: keras.Model, config: Config, assets: Assets) -> Serving:
    """user strings [rows], k -> items strings [rows, k], best first, empty behind the last; scores float32 [rows, k],
    -inf there; known bool [rows]. A signature `with_history` takes history strings [rows, n] too, and so does
    `leaving_out`, which knows of a user no more than that took what is given. Where ratings are
    predicted: user and item strings [rows] -> rating float32 [rows]; known and known_item bool [rows]."""
    if config.rates:
        rated = _Ratings(model, assets)
        inputs = {"user": _USER, "item": _ITEM}
        return Serving(
            function=lambda x: rated.answer(rated.coded(x)),
            input=inputs,
            what=_PAIRS,
            inputs=pairs(assets),
            tracked=(rated,),
            output="rating",
            gap=rating_gap,
            records=rating_records,
            core=Core(
                function=rated.scores,
                input=dict.fromkeys(("user", "item"), _CODES["user"]),
                what=_CODED_PAIRS,
                before=rated.coded,
                after=rated.clipped,
            ),
        )
    lists = _Lists(model, config, assets)
    most = min(max(LEAST_KEPT, config.k), len(assets["items"]))
    return Serving(
        function=lambda x: lists.answer(lists.coded({**x, "history": tf.zeros([tf.size(x["user"]), 0], tf.string)})),
        input={"user": _USER, "k": _K},
        what=_LISTS,
        inputs=lambda store, indices: {"user": as_bytes(store.ids(indices)), "k": np.asarray(config.k, np.int32)},
        tracked=(lists,),
        output="items",
        fetch=lambda store, indices: all_known(assets, store.fetch(indices)["user"]),
        gap=partial(list_gap, most=config.k),
        others={
            "with_history": (lambda x: lists.answer(lists.coded(x)), _WITH_HISTORY, _HISTORIES),
            "leaving_out": (lambda x: lists.answer(lists.coded(x, remembering=False)), _WITH_HISTORY, _LEAVING_OUT),
        },
        records=partial(list_records, config, {name: code for code, name in enumerate(assets["items"])}),
        scored=Scored("leaving_out", partial(held_out, assets, most), among_all),
        core=Core(
            function=lists.scores,
            input={name: _CODES[name] for name in lists.needed},
            what=_CODED,
            before=partial(lists.coded, remembering=False),
            after=lists.listed,
        ),
        network_inputs=partial(network_inputs, config, len(assets["items"])),
        calibrated_on="valid",  # of whose users it is what training saw that they took
    )


class _Names(tf.Module):
    """Ids, and the codes that the model knows them by."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        keys = tf.constant(as_bytes(names), tf.string)
        numbers = tf.lookup.KeyValueTensorInitializer(keys, tf.range(len(names)))
        self._codes = tf.lookup.StaticHashTable(numbers, default_value=-1)
        self._names = tf.Variable(tf.concat([keys, [b""]], 0), trainable=False)

    def coded(self, names: Any) -> Any:
        """int32 of strings, -1 where one is not known."""
        return self._codes.lookup(names)

    def named(self, codes: Any) -> Any:
        """Strings of int32; of -1 the empty one."""
        return tf.gather(self._names, tf.where(codes < 0, tf.size(self._names) - 1, codes))


class _Lists(tf.Module):
    """What lists are made of, and how."""

    def __init__(self, model: keras.Model, config: Config, assets: Assets) -> None:
        super().__init__()
        self._config, self._most, self._count = config, known_users(config, assets), len(assets["items"])
        self._trained = int(assets["trained"]["users"])
        self._users, self._items = _Names(assets["users"]), _Names(assets["items"])
        self._splits, self._taken = (tf.Variable(part, trainable=False) for part in seen(assets))
        self._counts = tf.Variable(np.asarray(assets["counts"], np.float32), trainable=False)
        self._multiplies = QUERY in {layer.name for layer in model.layers}
        if self._multiplies:
            self._network, candidates = towers(model)
            table = _float(candidates({"item": self._everything}))[0]
            # Of ease what each item taken adds lies together, as it is read.
            self._table = tf.Variable(tf.transpose(table) if config.backbone == "ease" else table, trainable=False)
        else:
            self._network = model
        self._folding = self._fitted(assets)

    def _fitted(self, assets: Assets) -> tuple[Any, Any] | None:
        """What makes a vector of what a stranger took, where the model has vectors of users."""
        if not self._multiplies or self._config.backbone in READING:
            return None
        found = fitted_folding(forward(self._network), self._table.numpy(), assets)
        return tf.Variable(found.slope, trainable=False), tf.Variable(found.offset, trainable=False)

    @property
    def _everything(self) -> Any:
        """int32 [1, items]."""
        return tf.range(self._count)[None]

    @property
    def needed(self) -> tuple[str, ...]:
        """What of `coded` the scores are made of."""
        if self._config.backbone in SEQUENTIAL:
            return ("history",)
        if self._config.backbone == "ease":
            return ("taken",)
        return ("user", "vector", "folded") if self._folding is not None else ("user",)

    def coded(self, x: Mapping[str, Any], *, remembering: bool = True) -> dict[str, Any]:
        """user int32 [rows], -1 for strangers; taken int32 [rows, any], each item once and -1 behind the last; k; of
        models that read histories, history int32 [rows, length], the latest of them as the network takes them; of those
        that make a stranger's vector of what they took, vector float32 [rows, width], and folded bool [rows], whether
        it stands for the user.

        Args:
            x: as the signatures take it.
            remembering: whether what the model knows of a user stands before what is given.
        """
        users = self._users.coded(x["user"])
        history = self._history(users, self._items.coded(x["history"]), remembering=remembering)
        # One more column, so that there is one.
        found = {"user": users, "taken": tf.pad(history.to_tensor(-1), [[0, 0], [0, 1]], constant_values=-1)}
        if self._config.backbone in SEQUENTIAL:
            found["history"] = histories(history, self._config)
        if self._folding is not None:
            found |= {"folded": self._folded(users, found["taken"]), "vector": self._of_history(found["taken"])}
        return {**found, "k": tf.identity(x["k"])}

    def answer(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """See serving; of what is coded."""
        return self.listed({**x, **self.scores(x)})

    def listed(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """Of what is coded and its scores."""
        users, history = x["user"], tf.RaggedTensor.from_tensor(x["taken"], padding=-1)
        if self._config.backbone in READING:
            known = history.row_lengths() > 0
        else:
            known = tf.logical_and(users >= 0, users < self._most)
            known = known if self._folding is None else known | x["folded"]
        scores = tf.where(known[:, None], x["scores"], self._counts)
        items, values = ranked(scores, users, x["k"], history)
        folded = {} if self._folding is None else {"folded_in": tf.identity(x["folded"])}
        return {"items": self._items.named(items), "scores": values, "known": known, **folded}

    def _history(self, users: Any, given: Any, *, remembering: bool) -> tf.RaggedTensor:
        """int32 [rows, any]: what is known of each user, then what else is given, each item once."""
        given = tf.RaggedTensor.from_tensor(given)
        every = tf.ragged.boolean_mask(given, given >= 0)
        if remembering:
            every = tf.concat([self._known(users), every], axis=1)
        # The first of each pair of row and item; those of a row stay together.
        count = tf.cast(self._count, tf.int64)
        pairs = tf.unique(every.value_rowids() * count + tf.cast(every.flat_values, tf.int64)).y
        rows = tf.size(users, tf.int64)
        return tf.RaggedTensor.from_value_rowids(tf.cast(pairs % count, tf.int32), pairs // count, rows)

    def _known(self, users: Any) -> tf.RaggedTensor:
        """int32 [rows, any]: all that each user took, oldest first."""
        rows = tf.maximum(users, 0)
        start = tf.gather(self._splits, rows)
        stop = tf.where(users < 0, start, tf.gather(self._splits, rows + 1))
        places = tf.ragged.range(start, stop)
        return places.with_values(tf.gather(self._taken, places.values))

    def scores(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """scores float32 [rows, items], of what is coded."""
        if not self._multiplies:
            scores = tf.map_fn(
                lambda user: _float(self._network({"user": user[None], "item": self._everything}, training=False))[0],
                x["user"],
                fn_output_signature=tf.TensorSpec([self._count], tf.float32),
            )
        elif self._config.backbone == "ease":
            scores = tf.matmul(self._taken_of(x["taken"]), self._table)
        else:
            sequential = self._config.backbone in SEQUENTIAL
            # Of strangers the vector is another's, and not looked at.
            given = {"history": x["history"]} if sequential else {"user": tf.maximum(x["user"], 0)}
            vectors = _float(self._network(given, training=False))
            if self._folding is not None:
                vectors = tf.where(x["folded"][:, None], x["vector"], vectors)
            scores = tf.matmul(vectors, self._table, transpose_b=True)
        return {"scores": scores}

    def _taken_of(self, taken: Any) -> Any:
        """float32 [rows, items]: 1 at what is in each history, which names an item once."""
        rows = tf.shape(taken)[0]
        columns = tf.where(taken < 0, self._count, taken)  # one column more than there are items, which is cut off
        places = tf.stack([tf.broadcast_to(tf.range(rows)[:, None], tf.shape(taken)), columns], axis=2)
        return tf.scatter_nd(places, _float(taken >= 0), tf.stack([rows, self._count + 1]))[:, : self._count]

    def _folded(self, users: Any, taken: Any) -> Any:
        """bool [rows]: whose vector is made of what they took, as training did not know them."""
        own = tf.logical_and(users >= 0, users < self._trained)
        return tf.logical_and(~own, tf.reduce_any(taken >= 0, axis=1))

    def _of_history(self, taken: Any) -> Any:
        """float32 [rows, width], as `folding` has it."""
        assert self._folding is not None
        slope, offset = self._folding
        there = tf.cast(taken >= 0, tf.float64)[:, :, None]
        each = tf.gather(tf.cast(self._table, tf.float64), tf.maximum(taken, 0)) * there
        counts = tf.maximum(tf.reduce_sum(there, axis=1), 1)
        return _float(tf.matmul(tf.reduce_sum(each, axis=1) / tf.sqrt(counts), slope) + offset)


class _Ratings(tf.Module):
    """What ratings are made of, and how."""

    def __init__(self, model: keras.Model, assets: Assets) -> None:
        super().__init__()
        self._users, self._items = _Names(assets["users"]), _Names(assets["items"])
        self._rating, self._trained = assets["rating"], assets["trained"]
        self._multiplies = QUERY in {layer.name for layer in model.layers}
        if self._multiplies:
            self._vectors = [tf.Variable(part, trainable=False) for part in rating_vectors(model, assets)]
        else:
            self._network = model

    def coded(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """user and item int32 [rows], -1 for what training does not know."""
        pairs = (("user", "users", self._users), ("item", "items", self._items))
        codes = {name: (names.coded(x[name]), self._trained[side]) for name, side, names in pairs}
        return {name: tf.where(code < most, code, -1) for name, (code, most) in codes.items()}

    def answer(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """See serving; of what is coded."""
        return self.clipped({**x, **self.scores(x)})

    def clipped(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """Of what is coded and its score."""
        rating = tf.clip_by_value(x["score"], self._rating["min"], self._rating["max"])
        return {"rating": rating, "known": x["user"] >= 0, "known_item": x["item"] >= 0}

    def scores(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """score float32 [rows], of what is coded."""
        user, item = x["user"], x["item"]
        if not self._multiplies:
            # Where one is unknown the score is another's, and not looked at.
            given = {"user": tf.maximum(user, 0), "item": tf.maximum(item, 0)[:, None]}
            score = _float(self._network(given, training=False))[:, 0]
            return {"score": tf.where((user >= 0) & (item >= 0), score, self._rating["mean"])}
        # The average one stands behind the last.
        sides = zip(self._vectors, (user, item), strict=True)
        vectors = [tf.gather(side, tf.where(code < 0, side.shape[0] - 1, code)) for side, code in sides]
        return {"score": tf.reduce_sum(vectors[0] * vectors[1], axis=1)}


def _float(values: Any) -> Any:
    return tf.cast(values, tf.float32)
