"""Splits by content: stratified, stable, nothing in two of them."""

import numpy as np
import pytest

from pipelines.errors import DataError
from pipelines.splits import SPLITS, Rows, apportion, first, make_splits


def rows(examples: int, classes: int = 3, *, seed: int = 0) -> Rows:
    random = np.random.default_rng(seed)
    return Rows(random.integers(0, 2**63, examples).astype(np.uint64), random.integers(0, classes, examples))


def contents(given: Rows, splits: dict[str, tuple[str, np.ndarray]]) -> dict[str, set[int]]:
    return {name: set(given.hashes[chosen].tolist()) for name, (_, chosen) in splits.items()}


def test_apportion_gives_every_seat_by_largest_remainder() -> None:
    weights = np.array([50, 30, 21])
    assert apportion(10, weights, weights).tolist() == [5, 3, 2]
    assert apportion(3, np.array([1, 1, 1, 1]), np.full(4, 9)).tolist() == [1, 1, 1, 0]
    assert apportion(10, np.array([9, 1]), np.array([4, 9])).tolist() == [4, 6]
    assert apportion(10, np.array([1, 1]), np.array([2, 3])).tolist() == [2, 3]


def test_shares_are_met_exactly_and_within_each_class() -> None:
    given = rows(1000)
    splits = make_splits({"train": given}, (0.8, 0.1, 0.1))
    assert {name: len(chosen) for name, (_, chosen) in splits.rows.items()} == {"train": 800, "valid": 100, "test": 100}
    together = np.concatenate([chosen for _, chosen in splits.rows.values()])
    assert sorted(together.tolist()) == list(range(1000))
    for label, total in enumerate(np.bincount(given.labels)):
        in_test = np.sum(given.labels[splits.rows["test"][1]] == label)
        assert abs(in_test - total / 10) <= 1
    assert splits.protocol == (
        "Scored on the test split, 100 of 1,000 examples cut by content hash within each class, "
        "duplicates kept together (train 800, validation 100)."
    )


def test_order_of_the_rows_does_not_matter() -> None:
    given = rows(500)
    shuffle = np.random.default_rng(1).permutation(500)
    moved = Rows(given.hashes[shuffle], given.labels[shuffle])
    before = contents(given, make_splits({"train": given}, (0.7, 0.15, 0.15)).rows)
    assert before == contents(moved, make_splits({"train": moved}, (0.7, 0.15, 0.15)).rows)


def test_adding_rows_moves_few_examples_across() -> None:
    many = rows(1100)
    few = Rows(many.hashes[:1000], many.labels[:1000])
    before = contents(few, make_splits({"train": few}, (0.8, 0.1, 0.1)).rows)
    after = contents(many, make_splits({"train": many}, (0.8, 0.1, 0.1)).rows)
    assert len(before["test"] & after["train"]) == 0
    assert len(before["train"] & after["test"]) < 10


def test_equal_contents_stay_together_under_two_labels_too() -> None:
    given = rows(300)
    doubled = Rows(np.tile(given.hashes, 2), np.concatenate([given.labels, (given.labels + 1) % 3]))
    splits = make_splits({"train": doubled}, (0.6, 0.2, 0.2))
    parts = contents(doubled, splits.rows)
    assert not parts["train"] & parts["test"]
    assert not parts["train"] & parts["valid"]
    assert not parts["valid"] & parts["test"]
    assert splits.duplicates == {"total": 300, "across_splits": 0}


def test_groups_and_what_they_share_stay_together() -> None:
    given = rows(400)
    groups = np.arange(400) // 10
    hashes = given.hashes.copy()
    hashes[15] = hashes[399]  # joins the second group and the last
    splits = make_splits({"train": Rows(hashes, given.labels, groups)}, (0.6, 0.2, 0.2))
    groups[groups == 39] = 1
    held = [set(groups[chosen].tolist()) for _, chosen in splits.rows.values()]
    assert not held[0] & held[1]
    assert not held[0] & held[2]
    assert not held[1] & held[2]
    assert all(40 <= len(chosen) <= 280 for _, chosen in splits.rows.values())
    assert "groups and duplicates kept together" in splits.protocol


def test_few_large_groups_still_fill_every_split() -> None:
    given = rows(600)
    splits = make_splits({"train": Rows(given.hashes, given.labels, np.arange(600) % 4)}, (0.8, 0.1, 0.1))
    assert sorted(len(chosen) for _, chosen in splits.rows.values()) == [150, 150, 300]


def test_every_class_keeps_training_examples() -> None:
    labels = np.concatenate([np.zeros(95, int), np.arange(1, 6)])
    given = Rows(rows(100).hashes, labels)
    splits = make_splits({"train": given}, (0.4, 0.3, 0.3))
    assert set(labels[splits.rows["train"][1]]) == set(range(6))


def test_counts_are_exact_and_the_rest_is_said_to_be_unused() -> None:
    splits = make_splits({"train": rows(1000)}, (700, 100, 50))
    assert [len(splits.rows[name][1]) for name in SPLITS] == [700, 100, 50]
    assert "150 unused" in splits.protocol
    with pytest.raises(DataError, match="split asks for 1,001 examples and there are 1,000"):
        make_splits({"train": rows(1000)}, (901, 50, 50))


@pytest.mark.parametrize("further", ["test", "valid"])
def test_one_further_source_is_the_test_set(further: str) -> None:
    splits = make_splits({"train": rows(900), further: rows(40, seed=1)}, (0.8, 0.1, 0.1))
    source, chosen = splits.rows["test"]
    assert (source, chosen.tolist()) == (further, list(range(40)))
    assert {name: len(chosen) for name, (_, chosen) in splits.rows.items()} == {"train": 800, "valid": 100, "test": 40}
    assert splits.protocol.startswith("Scored on the given ")


def test_three_given_splits_are_left_alone_and_what_they_share_is_counted() -> None:
    train, valid, test = rows(50), rows(20, seed=1), rows(10, seed=2)
    test.hashes[:3] = train.hashes[:3]
    splits = make_splits({"train": train, "valid": valid, "test": test}, (0.8, 0.1, 0.1))
    assert [len(splits.rows[name][1]) for name in SPLITS] == [50, 20, 10]
    assert splits.duplicates == {"total": 3, "across_splits": 3}


def test_limit_takes_the_same_examples_every_time_and_all_classes() -> None:
    given = rows(1000)
    splits = make_splits({"train": given}, (0.8, 0.1, 0.1), limit=30)
    again = make_splits({"train": given}, (0.8, 0.1, 0.1), limit=60)
    for name, (_, chosen) in splits.rows.items():
        assert len(chosen) == 30
        assert set(chosen.tolist()) <= set(again.rows[name][1].tolist())
        assert set(given.labels[chosen]) == {0, 1, 2}
    assert "at most" not in again.protocol
    assert "limited to its first 60 examples" in again.protocol
    assert first(given, np.arange(5), 9).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("examples", "shares", "name"),
    [(2, (0.8, 0.1, 0.1), "validation"), (9, (0.9, 0.0, 0.1), "validation"), (9, (0.5, 0.5, 0), "test")],
)
def test_an_empty_split_says_what_to_do(examples: int, shares: tuple[float, float, float], name: str) -> None:
    with pytest.raises(
        DataError, match=f"the {name} split would be empty: {examples} examples cut by split .* leave none"
    ):
        make_splits({"train": rows(examples, 1)}, shares)


def test_no_train_split_is_refused() -> None:
    with pytest.raises(DataError, match="brings only test, no train split"):
        make_splits({"test": rows(5)}, (0.8, 0.1, 0.1))


def test_shares_leave_nothing_unused_however_large_groups_and_duplicates_are() -> None:
    random = np.random.default_rng(3)
    groups = random.integers(0, 12, 500)
    hashes = random.integers(0, 40, 500).astype(np.uint64)
    for given in (Rows(rows(500).hashes, rows(500).labels, groups), Rows(hashes, rows(500).labels)):
        for sources in ({"train": given}, {"train": given, "test": rows(9, seed=1)}):
            splits = make_splits(sources, (0.8, 0.1, 0.1))
            taken = [chosen for source, chosen in splits.rows.values() if source == "train"]
            assert sorted(np.concatenate(taken).tolist()) == list(range(500))
            assert "unused" not in splits.protocol


def test_ones_are_counts() -> None:
    splits = make_splits({"train": rows(300, 1)}, (1, 1, 1))
    assert [len(splits.rows[name][1]) for name in SPLITS] == [1, 1, 1]
    assert "297 unused" in splits.protocol
    splits = make_splits({"train": rows(300, 1), "test": rows(5, seed=1)}, (1, 1, 1))
    assert [len(splits.rows[name][1]) for name in SPLITS] == [1, 1, 5]
