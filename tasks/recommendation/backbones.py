"""The networks: a user, or what one took before, and items in; scores out.

All but neumf score by a product: the layer `query` gives a vector of the user or the history, the layer `candidate` one
of each item, so that all items are ranked by one product of matrices. Numbers of users and items are rows of the layers
`users` and `items`; below 0 they stand for none.
"""

import math
import zlib
from collections.abc import Mapping
from functools import partial
from typing import Any

import keras
import numpy as np

from pipelines.task import Assets
from tasks.recommendation.config import SEQUENTIAL, Config
from tasks.recommendation.data.described import feature_table

ITEMS, USERS = "items", "users"
"""Embeddings: a row for each item, and for each user."""
TAKEN = "taken"
"""An input: which items were."""
FEATURES, TEXTS = "_features", "_texts"
"""Behind these names: what tables say of them, and what a pretrained encoder makes of their texts, neither learnt."""
READ = "_read"
"""Behind those: the layer that has a row for each of their numbers."""
STATES, QUERY, CANDIDATE = "states", "query", "candidate"
"""Layers: what is known after each item of a history [rows, T, width]; of all of it [rows, width]; the items asked for
[rows, P, width]."""
_SPREAD = 0.02
"""Deviation of the weights of sasrec at the start, as in its authors' code."""


def build_network(config: Config, assets: Assets, texts: np.ndarray | None = None) -> keras.Model:
    """float32 [rows, P], the scores of the items asked for; of int32 `item` [rows, P], and `user` [rows], or of
    backbones that read the history `history` [rows, T], -1 behind its end, or of ease `taken` float32 [rows, items], 1
    at what was taken.

    Args:
        config: names the backbone.
        assets: users and items, and what is said of them.
        texts: float32 [items, numbers], of their texts, for two-tower.
    """
    item = keras.Input((None,), dtype="int32", name="item")
    if config.backbone in SEQUENTIAL:
        given = keras.Input((None,), dtype="int32", name="history")
    elif config.backbone == "ease":
        given = keras.Input((len(assets["items"]),), name=TAKEN)
    else:
        given = keras.Input((), dtype="int32", name="user")
    build = partial(_two_tower, texts=texts) if config.backbone == "two-tower" else _NETWORKS[config.backbone]
    score = build(given, item, config, assets)
    return keras.Model({given.name: given, "item": item}, score, name=config.backbone)


def _product(query: Any, candidate: Any) -> Any:
    """float32 [rows, P] of [rows, width] and [rows, P, width]."""
    query = keras.layers.Identity(name=QUERY, dtype="float32")(query)
    candidate = keras.layers.Identity(name=CANDIDATE, dtype="float32")(candidate)
    return keras.ops.sum(keras.ops.expand_dims(query, 1) * candidate, axis=-1)


def _rows(numbers: Any) -> Any:
    """Rows of a table; those of none are looked up too, and left out later."""
    return keras.ops.maximum(numbers, 0)


def _table(count: int, width: int, name: str, spread: float | None = None) -> keras.layers.Embedding:
    start = keras.initializers.RandomNormal(stddev=1 / math.sqrt(width) if spread is None else spread)
    return keras.layers.Embedding(count, width, embeddings_initializer=start, name=name)


def _factorised(user: Any, item: Any, config: Config, assets: Assets) -> Any:
    """Matrix factorisation with a bias of each item (Koren et al., 2009); where ratings are predicted, also of each
    user, and the mean rating."""
    width = config.width
    users = _table(len(assets["users"]), width + config.rates, USERS)(_rows(user))
    items = _table(len(assets["items"]), width + 1, ITEMS)(_rows(item))
    users = _dropout(users, config, "dropout")
    one = keras.ops.ones_like(users[:, :1])
    if not config.rates:
        return _product(keras.ops.concatenate([users, one], axis=-1), items)
    query = keras.ops.concatenate([users[:, :width], one, users[:, width:] + assets["rating"]["mean"]], axis=-1)
    candidate = keras.ops.concatenate([items, keras.ops.ones_like(items[..., :1])], axis=-1)
    return _product(query, candidate)


def _neumf(user: Any, item: Any, config: Config, assets: Assets) -> Any:
    """Neural matrix factorisation: a weighed product beside dense layers (He et al., 2017). The first half of each row
    is for the product, the second for the layers."""
    width = config.width
    users = _table(len(assets["users"]), 2 * width, USERS, 0.01)(_rows(user))
    items = _table(len(assets["items"]), 2 * width, ITEMS, 0.01)(_rows(item))
    users = keras.ops.expand_dims(users, 1) * keras.ops.ones_like(items[..., :1])
    x = keras.ops.concatenate([users[..., width:], items[..., width:]], axis=-1)
    for number in range(1, config.layers + 1):
        x = keras.layers.Dense(2 * width >> number or 1, activation="relu", name=f"dense_{number}")(x)
        x = _dropout(x, config, f"dropout_{number}")
    x = keras.ops.concatenate([users[..., :width] * items[..., :width], x], axis=-1)
    score = keras.layers.Dense(1, dtype="float32", name="score")(x)[..., 0]
    return score + assets["rating"]["mean"] if config.rates else score


def _two_tower(user: Any, item: Any, config: Config, assets: Assets, texts: np.ndarray | None) -> Any:
    """Dense layers over id and features on both sides (Covington et al., 2016; Yi et al., 2019)."""
    named = {side: feature_table(assets, side) for side in (USERS, ITEMS)}
    tables = {side + FEATURES: None if one is None else one[1] for side, one in named.items()} | {ITEMS + TEXTS: texts}
    return _product(*(_tower(given, side, config, assets, tables) for given, side in ((user, USERS), (item, ITEMS))))


def _tower(numbers: Any, side: str, config: Config, assets: Assets, tables: Mapping[str, np.ndarray | None]) -> Any:
    """A vector of each user or item. Ids without training interactions say nothing, and where there are features ids
    are dropped as a whole, so that the tower learns what features alone mean (Volkovs et al., 2017): what is new has
    them all the same. Whether there is an id the tower is told, as what has none yet is taken less."""
    count = len(assets[side])
    own = {name: table for name, table in tables.items() if name.startswith(side) and table is not None}
    learnt = keras.ops.cast(numbers < assets["trained"][side], "float32")
    learnt = keras.ops.expand_dims(learnt, -1)
    x = _table(count, config.width, side, _SPREAD)(_rows(numbers))
    if not own:
        x = _dropout(x * keras.ops.cast(learnt, x.dtype), config, f"{side}_dropout")
    else:
        learnt = keras.ops.cast(keras.ops.minimum(_dropout(learnt, config, f"{side}_dropout"), 1.0), x.dtype)
        said = [_described(numbers, table, name, config) for name, table in own.items()]
        x = keras.ops.concatenate([x * learnt, learnt, *said], axis=-1)
    for number in range(1, config.layers):
        x = keras.layers.Dense(2 * config.width, activation="relu", name=f"{side}_dense_{number}")(x)
    return keras.layers.Dense(config.width, name=f"{side}_vector")(x)


def _described(numbers: Any, table: np.ndarray, name: str, config: Config) -> Any:
    """What a table that is not learnt says of users or items, in as many numbers as an id."""
    known = keras.layers.Embedding(*table.shape, trainable=False, name=name)
    known.build()
    known.embeddings.assign(table)
    return keras.layers.Dense(config.width, use_bias=False, name=name + READ)(known(_rows(numbers)))


def _gru4rec(history: Any, item: Any, config: Config, assets: Assets) -> Any:
    """Recurrent layers over the history (Hidasi et al., 2016)."""
    # As small as those of sasrec, which norms them, they would keep the recurrent layers where nothing is learnt.
    items = _table(len(assets["items"]), config.width, ITEMS)
    x = items(_rows(history))
    x = _dropout(x, config, "dropout")
    for number in range(1, config.layers + 1):
        x = keras.layers.GRU(config.width, return_sequences=True, name=f"gru_{number}")(x)
    x = keras.layers.Dense(config.width, name="vector")(x)
    return _next(x, history, items(_rows(item)))


def _sasrec(history: Any, item: Any, config: Config, assets: Assets) -> Any:
    """Causal attention over the history (Kang and McAuley, 2018), with the norms behind the layers as in S3-Rec's
    code."""
    items = _table(len(assets["items"]), config.width, ITEMS, _SPREAD)
    positions = _table(config.max_history, config.width, "sequence_position", _SPREAD)
    place = _places(history)
    x = _norm("norm")(items(_rows(history)) + positions(place))
    x = _dropout(x, config, "dropout")
    real = keras.ops.expand_dims(history >= 0, 1)
    before = keras.ops.expand_dims(keras.ops.expand_dims(place, 1) >= place, 0)
    hidden = keras.ops.expand_dims(keras.ops.where(keras.ops.logical_and(real, before), 0.0, -1e4), 1)
    for number in range(1, config.layers + 1):
        x = _attention(x, hidden, config, f"layer_{number}")
    return _next(x, history, items(_rows(item)))


def _attention(x: Any, hidden: Any, config: Config, name: str) -> Any:
    """One layer: attention, then two dense layers, each added to what it saw and normalised."""
    width, heads = config.width, config.heads
    mixed = _einsum("btd,dphe->bphte", (3, heads, None, width // heads), "phe", f"{name}_mixed")(x)
    query, key, value = keras.ops.unstack(mixed, 3, axis=1)
    logits = keras.ops.matmul(query, keras.ops.transpose(key, (0, 1, 3, 2))) * (width // heads) ** -0.5
    weights = keras.ops.softmax(logits + keras.ops.cast(hidden, logits.dtype))
    seen = keras.ops.matmul(_dropout(weights, config, f"{name}_dropout_1"), value)
    seen = _einsum("bhte,hed->btd", (None, width), "d", f"{name}_seen")(seen)
    x = _norm(f"{name}_norm_1")(x + _dropout(seen, config, f"{name}_dropout_2"))
    narrow = _dense(width, f"{name}_narrow")(_dense(4 * width, f"{name}_wide", activation="gelu")(x))
    return _norm(f"{name}_norm_2")(x + _dropout(narrow, config, f"{name}_dropout_3"))


def _next(states: Any, history: Any, items: Any) -> Any:
    """The product of items and the state at the end of each history."""
    states = keras.layers.Identity(name=STATES)(states)
    count = keras.ops.sum(keras.ops.cast(history >= 0, "int32"), axis=1, keepdims=True)
    last = keras.ops.cast(keras.ops.equal(_places(history), count - 1), states.dtype)
    return _product(keras.ops.sum(states * keras.ops.expand_dims(last, -1), axis=1), items)


def _places(history: Any) -> Any:
    """int32 [T]: 0, 1, 2, ..."""
    return keras.ops.cumsum(keras.ops.ones_like(history[0])) - 1


def _linear(taken: Any, item: Any, config: Config, assets: Assets) -> Any:
    """A weighed sum of what was taken (Steck, 2019); `linear` sets the weights."""
    count = len(assets["items"])
    weights = keras.layers.Embedding(count, count, embeddings_initializer="zeros", name=ITEMS, dtype="float32")
    return _product(taken, weights(_rows(item)))


def _dropout(x: Any, config: Config, name: str, **settings: Any) -> Any:
    """With a seed of its own: of one seed, all layers would drop the same places."""
    seed = zlib.crc32(f"{config.seed} {name}".encode()) % 2**31
    return keras.layers.Dropout(config.dropout, seed=seed, name=name, **settings)(x)


def _dense(units: int, name: str, **settings: Any) -> keras.layers.Dense:
    return keras.layers.Dense(units, kernel_initializer=_start(), name=name, **settings)


def _einsum(equation: str, shape: tuple[int | None, ...], biases: str, name: str) -> keras.layers.EinsumDense:
    return keras.layers.EinsumDense(equation, shape, bias_axes=biases, kernel_initializer=_start(), name=name)


def _start() -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=_SPREAD)


def _norm(name: str) -> keras.layers.LayerNormalization:
    return keras.layers.LayerNormalization(epsilon=1e-6, name=name)


_NETWORKS = {
    "mf": _factorised,
    "neumf": _neumf,
    "gru4rec": _gru4rec,
    "sasrec": _sasrec,
    "ease": _linear,
}


def towers(network: keras.Model, query: str = QUERY) -> tuple[keras.Model, keras.Model]:
    """The two sides of a network that multiplies: `user` or `history` to the layer `query`, and `item` to the vectors
    of the items asked for."""
    given = {name: one for name, one in network.input.items() if name != "item"}
    item = {"item": network.input["item"]}
    return keras.Model(given, network.get_layer(query).output), keras.Model(item, network.get_layer(CANDIDATE).output)
