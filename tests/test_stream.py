"""Batches are a pure function of (seed, step): order, buckets, keys, slices, blocks."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pipelines.stream import Order, Share, Stream, example_keys, uniform
from pipelines.task import Batching, Raw


@dataclass
class Numbers:
    """A store whose example i is the number i, with a size."""

    count: int
    sizes: np.ndarray | None = None
    groups: np.ndarray | None = None
    fetched: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return self.count

    def ids(self, indices: np.ndarray) -> list[str]:
        return [str(i) for i in indices]

    def fetch(self, indices: np.ndarray) -> Raw:
        self.fetched.append(len(indices))
        return {"number": indices.astype(np.int32)}


def echo(raw: Any, keys: Any) -> tuple[Any, Any, Any]:
    return raw["number"], keys, tf.ones(tf.shape(keys))


def stream(store: Numbers, size: int = 4, **options: Any) -> Stream:
    return Stream(store, echo, Batching(batch_sizes=(size,)), 7, **{"training": True, **options})


def rows(blocks: tf.data.Dataset) -> list[list[list[Any]]]:
    """[(numbers, keys, weights)] of each step, blocks undone."""
    return [
        [tensor[step].numpy().tolist() for tensor in block] for block in blocks for step in range(block[0].shape[0])
    ]


def test_every_epoch_holds_every_example_once_in_a_new_order() -> None:
    order = Order(Numbers(10), Batching(batch_sizes=(4,)), 0, shuffle=True)
    epochs = [np.concatenate([step.indices[: step.rows] for step in order.epoch(epoch)]) for epoch in range(3)]
    assert order.steps == 3
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_order_is_the_same_whatever_was_asked_before() -> None:
    one, other = (Order(Numbers(100), Batching(batch_sizes=(8,)), 3, shuffle=True) for _ in range(2))
    one.epoch(5)
    np.testing.assert_array_equal(one.epoch(2)[1].indices, other.epoch(2)[1].indices)


def test_a_partial_batch_is_filled_with_weight_zero() -> None:
    last = rows(stream(Numbers(10)).blocks(0, 3, 1))[-1]
    assert last[2] == [1, 1, 0, 0]


def test_a_start_in_the_middle_gives_the_same_steps() -> None:
    whole = rows(stream(Numbers(10)).blocks(0, 9, 1))
    assert rows(stream(Numbers(10)).blocks(4, 9, 1)) == whole[4:]


@pytest.mark.parametrize("longest", [1, 2, 3, 50])
def test_blocks_change_nothing_but_the_number_of_calls(longest: int) -> None:
    store = Numbers(10)
    assert rows(stream(store).blocks(0, 6, longest)) == rows(stream(Numbers(10)).blocks(0, 6, 1))
    assert max(store.fetched) <= 4 * min(longest, 3)


def test_blocks_of_an_epoch_have_near_equal_lengths() -> None:
    blocks = list(Order(Numbers(100), Batching(batch_sizes=(10,)), 0, shuffle=True).blocks(0, 20, 4))
    assert [length for _, length in blocks] == [4, 4, 2, 4, 4, 2]
    assert [start for start, _ in blocks] == [0, 4, 8, 10, 14, 18]


def test_workers_slices_are_the_batch_of_one() -> None:
    whole = rows(stream(Numbers(10)).blocks(0, 3, 1))
    slices = [rows(stream(Numbers(10), share=Share(rank, 2)).blocks(0, 3, 1)) for rank in range(2)]
    for step, *parts in zip(whole, *slices, strict=True):
        assert [a + b for a, b in zip(*parts, strict=True)] == step


def test_buckets_keep_lengths_apart_and_lose_nothing() -> None:
    sizes = np.arange(30, dtype=np.int32)[:, None]
    batching = Batching(lambda sizes: sizes[:, 0], (9, 19), (8, 4, 2))
    order = Order(Numbers(30, sizes), batching, 1, shuffle=True)
    steps = order.epoch(0)
    assert order.steps == len(steps) == 2 + 3 + 5
    for step in steps:
        assert step.indices.size == (8, 4, 2)[step.bucket]
        assert {int(np.searchsorted((9, 19), i)) for i in step.indices} == {step.bucket}
    assert sorted(i for step in steps for i in step.indices[: step.rows]) == list(range(30))
    assert [step.bucket for step in steps] != sorted(step.bucket for step in steps)
    for start, length in order.blocks(0, order.steps, 3):
        assert len({steps[place].bucket for place in range(start, start + length)}) == 1


def test_without_shuffle_the_order_is_the_stores() -> None:
    numbers = [n for step in rows(stream(Numbers(6), training=False).blocks(0, 2, 2)) for n in step[0]]
    assert numbers[:6] == list(range(6))


def test_keys_belong_to_the_example_and_change_with_epoch_and_seed() -> None:
    indices = np.arange(1000)
    keys = example_keys(1, 0, indices)
    np.testing.assert_array_equal(keys[[5, 3]], example_keys(1, 0, np.array([5, 3])))
    assert len(np.unique(np.concatenate([keys, example_keys(1, 1, indices), example_keys(2, 0, indices)]))) == 3000


def test_uniform_numbers_are_uniform_and_independent_between_lanes() -> None:
    keys = tf.constant(example_keys(0, 0, np.arange(20_000)))
    first, second = (uniform(keys, lane).numpy() for lane in range(2))
    assert first.min() >= 0
    assert first.max() < 1
    np.testing.assert_allclose(np.histogram(first, 10, (0, 1))[0], 2000, atol=220)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.03
