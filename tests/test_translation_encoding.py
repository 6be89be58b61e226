"""From pieces to padded numbers, and how pairs are put into batches."""

from typing import Any

import numpy as np
import pytest

from pipelines.raw import rows_of
from pipelines.stream import Order, Stream
from pipelines.task import Raw
from pipelines.text.cache import Tokens
from pipelines.text.ids import Ids
from pipelines.text.pieces import END, PAD, START
from tasks.translation.config import Config
from tasks.translation.data.stores import Pairs, PairStore, as_column
from tasks.translation.encoding import encode, padded_pair
from tasks.translation.lengths import batching, bounds, padding


def raw_of(sources: list[list[int]], targets: list[list[int]]) -> Raw:
    raw: Raw = {}
    for name, rows in (("source", sources), ("target", targets)):
        raw[name] = np.array([piece for row in rows for piece in row], np.int32)
        raw[f"{name}_splits"] = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    return raw


def encoded(raw: Raw, config: Config) -> tuple[dict[str, Any], Any, Any]:
    x, y, weight = encode(config, {}, True)(raw, None)
    return {name: value.numpy() for name, value in x.items()}, y.numpy(), weight.numpy()


def test_by_hand() -> None:
    x, y, weight = encoded(raw_of([[7, 8, 9], []], [[5], [6, 4]]), Config(max_tokens=8))
    assert x["source"].tolist() == [[7, 8, 9, END, 0, 0, 0, 0], [END, 0, 0, 0, 0, 0, 0, 0]]
    assert x["target"].tolist() == [[START, 5, 0, 0, 0, 0, 0, 0], [START, 6, 4, 0, 0, 0, 0, 0]]
    assert y.tolist() == [[5, END, 0, 0, 0, 0, 0, 0], [6, 4, END, 0, 0, 0, 0, 0]]
    assert weight.tolist() == (y != PAD).astype(float).tolist()
    assert weight.dtype == np.float32
    assert x["source"].dtype == x["target"].dtype == y.dtype == np.int32


def test_lengths_are_the_smallest_bound_of_the_longer_side() -> None:
    config = Config(max_tokens=20, tokens_per_batch=64)
    assert bounds(config) == (8, 12, 16, 20)
    for source, target, length in ((7, 1, 8), (1, 7, 8), (8, 1, 12), (3, 15, 16), (16, 16, 20), (19, 1, 20)):
        x, y, _ = encoded(raw_of([[9] * source], [[9] * target]), config)
        assert x["source"].shape == x["target"].shape == y.shape == (1, length)


def test_what_is_longer_is_cut_before_its_end() -> None:
    config = Config(max_tokens=8)
    long = list(range(10, 30))
    x, y, weight = encoded(raw_of([long, long[:7]], [long, long[:8]]), config)
    assert x["source"].tolist() == [[*range(10, 17), END]] * 2
    assert x["target"].tolist() == [[START, *range(10, 17)]] * 2
    assert y.tolist() == [[*range(10, 17), END]] * 2
    assert weight.sum() == 16


def test_numpy_and_the_graph_agree() -> None:
    random = np.random.default_rng(3)
    config = Config(max_tokens=24)
    rows = [random.integers(4, 99, random.integers(0, 40)).tolist() for _ in range(60)]
    raw = raw_of(rows[:30], rows[30:])
    for part in (raw, rows_of(raw, np.array([3])), rows_of(raw, np.array([5, 2, 2]))):
        (x, y, weight), (other, other_y, other_weight) = encoded(part, config), padded_pair(part, config, Ids())
        for one, two in ((x["source"], other["source"]), (x["target"], other["target"]), (y, other_y)):
            assert one.tolist() == two.tolist()
            assert two.dtype == np.int32
        assert weight.tolist() == other_weight.tolist()


def test_a_source_alone() -> None:
    raw = raw_of([[5, 6]], [])
    x, y, weight = encode(Config(), {}, False)({name: raw[name] for name in ("source", "source_splits")}, None)
    assert list(x) == ["source"]
    assert x["source"].numpy().tolist() == [[5, 6, END, 0, 0, 0, 0, 0]]
    assert y is None
    assert weight.numpy().tolist() == [1.0]


def test_batches_hold_a_budget_of_places() -> None:
    found = batching(Config(tokens_per_batch=4_096, max_tokens=128))
    limits = (*found.bounds, 128)
    assert limits == (8, 12, 16, 20, 24, 32, 48, 64, 96, 128)
    for limit, size in zip(limits, found.batch_sizes, strict=True):
        assert size % 8 == 0
        assert 4_096 - 8 * limit < limit * size <= 4_096
    assert batching(Config(tokens_per_batch=128, max_tokens=128)).batch_sizes[-1] == 1
    assert set(batching(Config(tokens_per_batch=None, batch_size=40)).batch_sizes) == {40}
    parts = batching(Config(tokens_per_batch=2_048, batch_size=33, accumulate=3)).batch_sizes
    assert all(size % 3 == 0 for size in parts)
    sizes = np.array([[3, 9], [130, 2], [8, 8]], np.int32)
    assert found.cost is not None
    assert found.cost(sizes).tolist() == [9, 130, 8]


def store_of(sources: list[list[int]], targets: list[list[int]]) -> PairStore:
    raw = raw_of(sources, targets)
    tables = [Tokens(raw[name].astype(np.uint16), raw[f"{name}_splits"]) for name in ("source", "target")]
    texts = as_column([b"x"] * len(sources))
    items = Pairs(texts, texts, str, ("en", "de"))
    return PairStore(items, np.arange(len(sources)), pieces=(tables[0], tables[1]))


def test_an_epoch_holds_every_piece_once_and_its_padding_is_known() -> None:
    random = np.random.default_rng(5)
    config = Config(max_tokens=32, tokens_per_batch=256)
    rows = [random.integers(4, 99, random.integers(1, 31)).tolist() for _ in range(400)]
    store = store_of(rows[:200], rows[200:])
    stream = Stream(store, encode(config, {}, True), batching(config), 7, training=True)
    shapes, places, held, counted = set(), 0.0, 0.0, 0.0
    for x, y, weight in stream.iterate(0, stream.steps_per_epoch, 4):
        for step in range(len(y)):
            shapes.add(y[step].shape)
            rows_used = (weight[step].numpy().sum(axis=1) > 0).sum()
            places += 2 * rows_used * y.shape[2]
            held += float((x["source"][step].numpy()[:rows_used] > 0).sum() + (y[step].numpy()[:rows_used] > 0).sum())
            counted += float(weight[step].numpy().sum())
    assert store.sizes is not None
    assert counted == store.sizes[:, 1].sum()
    assert shapes <= {tuple(pair) for pair in zip(batching(config).batch_sizes, bounds(config), strict=True)}
    assert 1 - held / places == pytest.approx(padding(store.sizes, config))


def test_some_of_a_store() -> None:
    store = store_of([[5], [6, 7], [8]], [[1, 2], [3], [4]])
    some = store.only(np.array([1, 2])).only(np.array([1]))
    assert some.fetch(np.array([0]))["source"].tolist() == [8]
    assert some.sizes is not None
    assert some.sizes.tolist() == [[2, 2]]
    assert some.length.tolist() == [1]
    assert Order(some, batching(Config()), 1, shuffle=True).steps == 1
