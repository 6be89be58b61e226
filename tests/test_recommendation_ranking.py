"""The best items of each user: exact, without what is excluded, and ties broken by nothing that knows the truth."""

import numpy as np
import pytest

from tasks.recommendation.measures import Found
from tasks.recommendation.ranking import ranked, tie_breakers


def ragged(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([one for row in rows for one in row], np.int32), np.cumsum([0, *map(len, rows)]).astype(np.int64)


def test_lists_are_those_of_sorting_all_that_may_be_listed() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(30, 50)).astype(np.float32)
    excluded = [rng.permutation(50)[: rng.integers(0, 20)].tolist() for _ in range(30)]
    among = [rng.permutation(50)[:25].tolist() for _ in range(30)]
    for only in (None, among):
        items, best = ranked(scores, np.arange(30), 12, ragged(excluded), None if only is None else ragged(only))
        for row in range(30):
            allowed = set(range(50) if only is None else only[row]) - set(excluded[row])
            order = sorted(allowed, key=lambda item: -scores[row, item])[:12]
            assert items[row, : len(order)].tolist() == order
            assert (items[row, len(order) :] == -1).all()
            assert best[row, : len(order)].tolist() == scores[row, order].tolist()


def test_what_is_excluded_is_never_listed_even_where_nothing_else_is_left() -> None:
    items, scores = ranked(np.ones((2, 3), np.float32), np.arange(2), 5, ragged([[0, 1, 2], [-1, 1]]))
    assert items[0].tolist() == [-1] * 5
    assert sorted(items[1].tolist()) == [-1, -1, -1, 0, 2]
    assert np.isneginf(scores[0]).all()


def test_scores_that_are_no_numbers_come_last_and_zero_has_one_sign() -> None:
    scores = np.array([[np.nan, -np.inf, -3.0, 2.0, np.inf]], np.float32)
    assert ranked(scores, np.zeros(1, int), 5)[0][0, :3].tolist() == [4, 3, 2]
    users = np.arange(200)
    zeros = np.tile(np.array([0.0, -0.0], np.float32), (200, 1))
    first = ranked(zeros, users, 1)[0][:, 0]
    assert 60 < first.sum() < 140


def test_ties_are_broken_by_user_and_item_alike_every_time() -> None:
    tied = np.zeros((400, 60), np.float32)
    users = np.arange(400)
    items, _ = ranked(tied, users, 10)
    assert (items[7] == ranked(tied[:1], users[7:8], 10)[0]).all()
    assert len({tuple(row) for row in items.tolist()}) == 400
    # Every item and every place in the lists alike often: 400 lists of 10 among 60 items, 66.7 times each.
    assert abs(np.bincount(items.ravel(), minlength=60) - 400 / 6).max() < 5 * np.sqrt(400 / 6)
    assert len(np.unique(tie_breakers(users, 60))) > 400 * 60 - 5


@pytest.mark.parametrize("candidates", [None, 100])
def test_a_model_that_scores_all_items_alike_gets_the_random_score(candidates: int | None) -> None:
    """What was held out is the item of the lowest code, and stands first among its candidates: whoever broke ties by
    either would find it every time."""
    users, count = 3_000, 500
    rng = np.random.default_rng(1)
    wanted = rng.integers(1, 20, size=users)
    history = [(400 + rng.permutation(100)[:30]).tolist() for _ in range(users)]
    among = None
    if candidates:
        among = ragged([[one, *(20 + rng.permutation(380)[: candidates - 1]).tolist()] for one in wanted.tolist()])
    scores = np.full((users, count), 0.5, np.float32)
    lists, _ = ranked(scores, np.arange(users), 10, ragged(history), among)
    found = Found.of(lists, wanted.astype(np.int32), np.arange(users + 1)).at(10)
    chance = 10 / (candidates or count - 30)
    assert found["hr"].mean() == pytest.approx(chance, abs=4 * np.sqrt(chance * (1 - chance) / users))
    gain = np.mean(1 / np.log2(np.arange(2, 12)))
    assert found["ndcg"].mean() == pytest.approx(chance * gain, rel=0.2)


def test_few_are_ordered_of_many_and_no_equal_is_missed() -> None:
    """Scores of a few values each, so that equals lie on both sides of the list's end."""
    rng = np.random.default_rng(3)
    users = np.arange(200)
    scores = rng.integers(0, rng.integers(2, 400, size=(200, 1)), size=(200, 500)).astype(np.float32)
    taken = [rng.choice(500, 30, replace=False).tolist() for _ in users]
    items, _ = ranked(scores, users, 10, ragged(taken))
    hashes = tie_breakers(users, 500)
    for row, left_out in enumerate(taken):
        order = np.lexsort((hashes[row], scores[row]))[::-1]
        assert items[row].tolist() == [item for item in order.tolist() if item not in left_out][:10]
