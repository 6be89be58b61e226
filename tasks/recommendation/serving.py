"""The recommender as one graph: ids of users, or of what they took, in; ids of items out, as predict gives them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipelines.devices import forward
from pipelines.task import Assets, Raw, Record, Serving, Store
from tasks.recommendation.backbones import QUERY, towers
from tasks.recommendation.config import READING, SEQUENTIAL, Config
from tasks.recommendation.data import seen
from tasks.recommendation.data.log import Lists
from tasks.recommendation.encoding import histories
from tasks.recommendation.prediction import fitted_folding, known_users, rating_vectors
from tasks.recommendation.ranking_graph import ranked

_USER = tf.TensorSpec([None], tf.string, name="user")
_ITEM = tf.TensorSpec([None], tf.string, name="item")
_HISTORY = tf.TensorSpec([None, None], tf.string, name="history")
_K = tf.TensorSpec([], tf.int32, name="k")
_LISTS = "ids of users in UTF-8, and how many items to list for each"
_HISTORIES = (
    "ids of users, empty where there is none; ids of items that they took besides what the model knows, oldest first, "
    "filled up with empty ones; and how many items to list for each"
)
_PAIRS = "ids of users and ids of items in UTF-8, a pair a row"


def serving(model: keras.Model, config: Config, assets: Assets) -> Serving:
    """user strings [rows], k -> items strings [rows, k], best first, empty behind the last; scores float32 [rows, k],
    -inf there; known bool [rows]. A signature `with_history` takes history strings [rows, n] too. Where ratings are
    predicted: user and item strings [rows] -> rating float32 [rows]; known and known_item bool [rows]."""
    if config.rates:
        rated = _Ratings(model, assets)
        inputs = {"user": _USER, "item": _ITEM}
        return Serving(rated.answer, inputs, _PAIRS, _pairs(assets), (), (rated,), "rating", gap=_rating_gap)
    lists = _Lists(model, config, assets)
    return Serving(
        function=lambda x: lists.answer({**x, "history": tf.zeros([tf.size(x["user"]), 0], tf.string)}),
        input={"user": _USER, "k": _K},
        what=_LISTS,
        inputs=lambda store, indices: {"user": _bytes(store.ids(indices)), "k": np.asarray(config.k, np.int32)},
        tracked=(lists,),
        output="items",
        fetch=lambda store, indices: _all_known(assets, store.fetch(indices)["user"]),
        gap=_list_gap,
        others={"with_history": (lists.answer, {"user": _USER, "history": _HISTORY, "k": _K}, _HISTORIES)},
    )


class _Names(tf.Module):
    """Ids, and the codes that the model knows them by."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        keys = tf.constant(_bytes(names), tf.string)
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

    def answer(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """See serving."""
        users = self._users.coded(x["user"])
        history = self._history(users, self._items.coded(x["history"]))
        if self._config.backbone in READING:
            known = history.row_lengths() > 0
        else:
            known = tf.logical_and(users >= 0, users < self._most) | self._folded(users, history)
        scores = tf.where(known[:, None], self._scores(users, history), self._counts)
        items, values = ranked(scores, users, x["k"], history)
        return {"items": self._items.named(items), "scores": values, "known": known}

    def _history(self, users: Any, given: Any) -> tf.RaggedTensor:
        """int32 [rows, any]: what is known of each user, then what else is given, each item once."""
        given = tf.RaggedTensor.from_tensor(given)
        every = tf.concat([self._known(users), tf.ragged.boolean_mask(given, given >= 0)], axis=1)
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

    def _scores(self, users: Any, history: tf.RaggedTensor) -> Any:
        """float32 [rows, items]."""
        if not self._multiplies:
            return tf.map_fn(
                lambda user: _float(self._network({"user": user[None], "item": self._everything}, training=False))[0],
                users,
                fn_output_signature=tf.TensorSpec([self._count], tf.float32),
            )
        if self._config.backbone == "ease":
            return tf.sparse.sparse_dense_matmul(self._taken_of(history), self._table)
        sequential = self._config.backbone in SEQUENTIAL
        given = {"history": histories(history, self._config)} if sequential else {"user": users}
        vectors = _float(self._network(given, training=False))
        if self._folding is not None:
            vectors = tf.where(self._folded(users, history)[:, None], self._of_history(history), vectors)
        return tf.matmul(vectors, self._table, transpose_b=True)

    def _taken_of(self, history: tf.RaggedTensor) -> Any:
        """Sparse float32 [rows, items]: 1 at what is in each history, which names an item once."""
        rows = history.value_rowids()
        places = tf.stack([rows, tf.cast(history.flat_values, tf.int64)], axis=1)
        shape = tf.stack([history.nrows(), tf.cast(self._count, tf.int64)])
        return tf.SparseTensor(places, tf.ones_like(rows, tf.float32), shape)

    def _folded(self, users: Any, history: tf.RaggedTensor) -> Any:
        """bool [rows]: whose vector is made of what they took, as training did not know them."""
        if self._folding is None:
            return tf.zeros_like(users, tf.bool)
        own = tf.logical_and(users >= 0, users < self._trained)
        return tf.logical_and(~own, history.row_lengths() > 0)

    def _of_history(self, history: tf.RaggedTensor) -> Any:
        """float32 [rows, width], as `folding` has it."""
        assert self._folding is not None
        slope, offset = self._folding
        each = history.with_values(tf.gather(tf.cast(self._table, tf.float64), history.values))
        counts = tf.cast(tf.maximum(history.row_lengths(), 1), tf.float64)
        return _float(tf.matmul(tf.reduce_sum(each, axis=1) / tf.sqrt(counts)[:, None], slope) + offset)


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

    def answer(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """See serving."""
        user, item = self._users.coded(x["user"]), self._items.coded(x["item"])
        user, item = (
            tf.where(code < self._trained[side], code, -1) for code, side in ((user, "users"), (item, "items"))
        )
        rating = tf.clip_by_value(self._score(user, item), self._rating["min"], self._rating["max"])
        return {"rating": rating, "known": user >= 0, "known_item": item >= 0}

    def _score(self, user: Any, item: Any) -> Any:
        if not self._multiplies:
            score = _float(self._network({"user": user, "item": item[:, None]}, training=False))[:, 0]
            return tf.where((user >= 0) & (item >= 0), score, self._rating["mean"])
        # The average one stands behind the last.
        sides = zip(self._vectors, (user, item), strict=True)
        vectors = [tf.gather(side, tf.where(code < 0, side.shape[0] - 1, code)) for side, code in sides]
        return tf.reduce_sum(vectors[0] * vectors[1], axis=1)


def _pairs(assets: Assets) -> Callable[[Store, np.ndarray], Raw]:
    """What rows of users and items are called."""

    def inputs(store: Store, indices: np.ndarray) -> Raw:
        raw = store.fetch(indices)
        return {
            role: _bytes([assets[f"{role}s"][code] if code >= 0 else "" for code in raw[role].tolist()])
            for role in ("user", "item")
        }

    return inputs


def _all_known(assets: Assets, users: np.ndarray) -> Raw:
    """Users with all that the model knows of them, as predict has it: what is held out is among it."""
    taken = Lists(*seen(assets)).at(users)
    return {"user": users, "history": taken.items, "history_splits": taken.splits}


def _rating_gap(found: Mapping[str, np.ndarray], records: Sequence[Record]) -> np.ndarray:
    wanted = np.array([record.output for record in records])[:, 0]
    gaps: np.ndarray = np.abs(found["rating"] - wanted) / np.maximum(1.0, np.abs(wanted))
    alike = [found[name] == [record.answer[name] for record in records] for name in ("known", "known_item")]
    return np.where(np.logical_and(*alike), gaps, np.inf)


def _list_gap(found: Mapping[str, np.ndarray], records: Sequence[Record]) -> np.ndarray:
    """float [rows]: by how much scores differ, of each item in the record's list and of each place; relative where they
    are above 1. Two items may change places where their scores are that near."""
    gaps = []
    for names, scores, known, record in zip(found["items"], found["scores"], found["known"], records, strict=True):
        listed = {name.decode("utf-8", "surrogatepass"): score for name, score in zip(names, scores, strict=True)}
        listed.pop("", None)
        wanted = dict(zip(record.answer["items"], record.answer["scores"], strict=True))
        if len(listed) != len(wanted) or bool(known) != record.answer["known"]:
            gaps.append(np.inf)
            continue
        least = min(listed.values(), default=0.0)
        each = [abs(listed[name] - score) if name in listed else score - least for name, score in wanted.items()]
        each += [abs(ours - score) for ours, score in zip(listed.values(), wanted.values(), strict=True)]
        gaps.append(max(each, default=0.0) / max(1.0, *map(abs, wanted.values())) if wanted else 0.0)
    return np.array(gaps)


def _float(values: Any) -> Any:
    return tf.cast(values, tf.float32)


def _bytes(names: Sequence[str]) -> np.ndarray:
    """object [names]."""
    found = np.empty(len(names), object)
    found[:] = [name.encode("utf-8", "surrogatepass") for name in names]
    return found
