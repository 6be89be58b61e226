"""Measures of recommended lists: by hand, beside scikit-learn's, and beside loops written from the definitions."""

import math

import numpy as np
import pytest
from sklearn.metrics import (
    label_ranking_average_precision_score,
    mean_absolute_error,
    ndcg_score,
    root_mean_squared_error,
    top_k_accuracy_score,
)

from tasks.recommendation import measures
from tasks.recommendation.measures import Found


def ragged(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    splits = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    return np.array([one for row in rows for one in row], np.int32), splits


def world(users: int = 40, items: int = 25, most: int = 6, seed: int = 0) -> tuple[np.ndarray, list[list[int]]]:
    """Scores [users, items] without ties, and held-out items of each."""
    rng = np.random.default_rng(seed)
    wanted = [rng.permutation(items)[: rng.integers(1, most + 1)].tolist() for _ in range(users)]
    return rng.permuted(np.tile(np.arange(items), (users, 1)), axis=1).astype(float), wanted


def lists_of(scores: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(-scores, axis=1)[:, :k].astype(np.int32)


def truth(wanted: list[list[int]], items: int) -> np.ndarray:
    found = np.zeros((len(wanted), items), int)
    for row, each in enumerate(wanted):
        found[row, each] = 1
    return found


# ---- by hand ----------------------------------------------------------------------------------------------------


def test_a_list_worked_out_by_hand() -> None:
    # Held out: 7, 3 and 9. The list has 3 in the second place and 7 in the fourth.
    found = Found.of(np.array([[1, 3, 2, 7, 5]], np.int32), *ragged([[7, 3, 9]]))
    at = {name: value[0] for name, value in found.at(5).items()}
    assert at["hr"] == 1
    assert at["recall"] == pytest.approx(2 / 3)
    assert at["mrr"] == pytest.approx(1 / 2)
    assert at["map"] == pytest.approx((1 / 2 + 2 / 4) / 3)
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    assert at["ndcg"] == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / ideal)


def test_at_a_cutoff_the_best_list_scores_one_though_more_was_held_out() -> None:
    found = Found.of(np.array([[4, 2]], np.int32), *ragged([[2, 4, 6, 8]]))
    at = {name: value[0] for name, value in found.at(2).items()}
    assert {name: at[name] for name in ("ndcg", "hr", "mrr", "map")} == {"ndcg": 1, "hr": 1, "mrr": 1, "map": 1}
    assert at["recall"] == 0.5


def test_nothing_found_scores_nothing_and_missing_places_hit_nothing() -> None:
    lists = np.array([[5, 6, -1], [-1, -1, -1], [0, -1, -1]], np.int32)
    found = Found.of(lists, *ragged([[0], [2], [0]]))
    for values in found.at(3).values():
        assert values.tolist() == [0, 0, 1]


def test_a_list_shorter_than_the_cutoff_is_measured_at_the_cutoff() -> None:
    lists, (target, splits) = np.array([[3]], np.int32), ragged([[3, 4]])
    at = {name: value[0] for name, value in Found.of(lists, target, splits).at(10).items()}
    assert at["ndcg"] == pytest.approx(1 / (1 + 1 / math.log2(3)))
    assert at["map"] == 0.5


def test_held_out_items_that_the_model_does_not_know_are_missed() -> None:
    lists = np.array([[2, 1], [2, -1]], np.int32)
    found = Found.of(lists, *ragged([[1, -1], [-1]]))
    assert found.hits.tolist() == [[False, True], [False, False]]
    assert found.at(2)["recall"].tolist() == [0.5, 0]


def test_what_lists_are_made_of_by_hand() -> None:
    counts = np.array([8, 4, 2, 1, 0, 1])
    lists = np.array([[0, 1], [0, 2], [0, -1]], np.int32)
    assert measures.coverage(lists, 6) == 0.5
    # Often: 0 0 0 1 1 3; the mean absolute difference of all pairs over twice the mean.
    often = [3, 1, 1, 0, 0, 0]
    spread = sum(abs(one - other) for one in often for other in often) / 36
    assert measures.gini(lists, 6) == pytest.approx(spread / (2 * 5 / 6))
    sums = measures.novelty(lists, counts)
    assert sums.tolist() == [[1 + 2, 2], [1 + 3, 2], [1, 1]]
    # Of six items the two most popular are no tail.
    assert measures.tail(counts).tolist() == [False, False, True, True, True, True]
    assert measures.tail_share(lists, counts).tolist() == [[0, 2], [1, 2], [0, 1]]
    assert measures.ratio_of_means(np.array([[3.0, 2.0], [0.0, 0.0]])).tolist() == [1.5, 0]


def test_gini_of_equal_shares_is_none_and_of_one_item_near_one() -> None:
    assert measures.gini(np.arange(10, dtype=np.int32).reshape(5, 2), 10) == pytest.approx(0)
    assert measures.gini(np.zeros((5, 1), np.int32), 10) == pytest.approx(0.9)
    assert measures.gini(np.full((5, 1), -1, np.int32), 10) == 0


def test_what_nobody_took_is_as_new_as_what_one_took() -> None:
    lists = np.array([[0, 1]], np.int32)
    assert measures.novelty(lists, np.array([0, 1, 15]))[0, 0] == 8


# ---- beside another implementation ------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3, 10, 25])
def test_ndcg_is_scikit_learns(k: int) -> None:
    scores, wanted = world()
    mine = Found.of(lists_of(scores, k), *ragged(wanted)).at(k)["ndcg"]
    assert mine.mean() == pytest.approx(ndcg_score(truth(wanted, 25), scores, k=k))


def test_map_over_all_items_is_scikit_learns() -> None:
    scores, wanted = world(seed=1)
    mine = Found.of(lists_of(scores, 25), *ragged(wanted)).at(25)["map"]
    assert mine.mean() == pytest.approx(label_ranking_average_precision_score(truth(wanted, 25), scores))


@pytest.mark.parametrize("k", [1, 4, 12])
def test_hit_rate_of_one_held_out_item_is_scikit_learns_top_k_accuracy(k: int) -> None:
    scores, wanted = world(most=1, seed=2)
    found = Found.of(lists_of(scores, k), *ragged(wanted)).at(k)
    theirs = top_k_accuracy_score([one for (one,) in wanted], scores, k=k, labels=np.arange(25))
    assert found["hr"].mean() == pytest.approx(theirs)
    assert (found["hr"] == found["recall"]).all()
    assert np.allclose(found["mrr"], found["map"])


def test_errors_of_ratings_are_scikit_learns() -> None:
    rng = np.random.default_rng(3)
    rating, predicted, user = rng.uniform(1, 5, 200), rng.uniform(1, 5, 200), rng.integers(-1, 9, 200)
    sums = measures.errors_by_user(rating, predicted, user)
    assert np.sqrt(sums["squared"].sum() / 200) == pytest.approx(root_mean_squared_error(rating, predicted))
    assert sums["absolute"].sum() / 200 == pytest.approx(mean_absolute_error(rating, predicted))
    fifth = user == np.unique(user)[4]
    assert sums["count"][4] == fifth.sum()
    assert sums["squared"][4] == pytest.approx(((rating - predicted)[fifth] ** 2).sum())


def slowly(row: list[int], wanted: list[int], k: int) -> dict[str, float]:
    """One list, from the definitions, one place at a time."""
    shown = [item for item in row[:k] if item >= 0]
    hits, precisions, gain, first = 0, 0.0, 0.0, 0.0
    for place, item in enumerate(shown, 1):
        if item in wanted:
            hits += 1
            precisions += hits / place
            gain += 1 / math.log2(place + 1)
            first = first or 1 / place
    best = sum(1 / math.log2(place + 1) for place in range(1, min(k, len(wanted)) + 1))
    return {
        "ndcg": gain / best,
        "hr": float(hits > 0),
        "recall": hits / len(wanted),
        "mrr": first,
        "map": precisions / min(k, len(wanted)),
    }


@pytest.mark.parametrize("seed", range(4))
def test_all_measures_are_those_of_slow_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, wanted = world(60, 30, 9, seed)
    lists = lists_of(scores, 20)
    lists[rng.random(60) < 0.2, rng.integers(1, 15) :] = -1
    found = Found.of(lists, *ragged(wanted))
    for k in (1, 5, 10, 20):
        mine, theirs = found.at(k), [slowly(row, one, k) for row, one in zip(lists.tolist(), wanted, strict=True)]
        assert set(mine) == set(measures.ACCURACY)
        for name in measures.ACCURACY:
            assert mine[name] == pytest.approx([one[name] for one in theirs]), (name, k)


def test_what_lists_are_made_of_is_that_of_slow_loops() -> None:
    rng = np.random.default_rng(5)
    lists = rng.integers(-1, 40, (50, 6)).astype(np.int32)
    counts = rng.zipf(1.5, 40)
    times = [sum(row.count(item) for row in lists.tolist()) for item in range(40)]
    assert measures.coverage(lists, 40) == sum(time > 0 for time in times) / 40
    pairs = sum(abs(one - other) for one in times for other in times)
    assert measures.gini(lists, 40) == pytest.approx(pairs / (2 * 40 * sum(times)))
    popular = sorted(range(40), key=lambda item: (-counts[item], item))[:8]
    for row, bits, rare in zip(
        lists.tolist(), measures.novelty(lists, counts), measures.tail_share(lists, counts), strict=True
    ):
        there = [item for item in row if item >= 0]
        assert bits == pytest.approx([sum(-math.log2(counts[item] / counts.sum()) for item in there), len(there)])
        assert rare.tolist() == [sum(item not in popular for item in there), len(there)]
