"""Classical recommenders: beside scikit-learn's, numpy's and slow loops; which of them is the yardstick."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from pipelines.evaluation import predict_store
from pipelines.raw import rows_of
from pipelines.task import Data
from tasks.recommendation.baseline import baseline
from tasks.recommendation.biases import Biases
from tasks.recommendation.config import Config
from tasks.recommendation.data.log import Lists, Log, lists_of
from tasks.recommendation.data.stores import HistoryStore, PairStore, RankStore, interactions
from tasks.recommendation.ease import MOST_ITEMS, Ease
from tasks.recommendation.measures import Found
from tasks.recommendation.neighbours import Neighbours, matrix


def taken(users: int = 40, items: int = 30, each: int = 8, seed: int = 0) -> np.ndarray:
    """0 and 1 [users, items]; the last item is nobody's."""
    rng = np.random.default_rng(seed)
    found = np.zeros((users, items), np.float32)
    for row in found:
        row[rng.permutation(items - 1)[:each]] = 1
    return found


def sparse(dense: np.ndarray) -> Any:
    return matrix(*np.nonzero(dense), dense.shape)


def raw_of(rows: list[list[int]]) -> dict[str, np.ndarray]:
    return {
        "user": np.arange(len(rows), dtype=np.int32),
        "history": np.array([one for row in rows for one in row], np.int32),
        "history_splits": np.cumsum([0, *map(len, rows)]).astype(np.int64),
    }


HISTORIES = [[3, 7, 12], [0], [], [5, 5, 9, -1]]


# ---- each beside another implementation --------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 200])
def test_neighbours_are_scikit_learns_cosines(count: int) -> None:
    dense = taken()
    alike = cosine_similarity(dense.T)
    np.fill_diagonal(alike, 0)
    for row in alike:
        row[np.argsort(-row, kind="stable")[count:]] = 0
    mine = Neighbours.fit(sparse(dense), 0).with_count(count).scores(raw_of(HISTORIES))
    for row, history in zip(mine, HISTORIES, strict=True):
        theirs = sum((alike[item] for item in {*history} - {-1}), np.zeros(30))
        assert row[theirs > 0] == pytest.approx(theirs[theirs > 0], rel=1e-5)
        # Behind them what is like nothing there, the most popular first.
        rest = np.flatnonzero(theirs == 0)
        assert (row[rest] < 0).all()
        assert (np.diff(dense.sum(axis=0)[rest[np.argsort(-row[rest], kind="stable")]]) <= 0).all()


def test_many_items_are_compared_a_block_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = taken(each=5)
    whole = Neighbours.fit(sparse(dense), 0).scores(raw_of(HISTORIES))
    monkeypatch.setattr("tasks.recommendation.neighbours._CELLS", 4 * 30)
    assert Neighbours.fit(sparse(dense), 0).scores(raw_of(HISTORIES)) == pytest.approx(whole)


def test_users_are_chosen_by_the_seed_where_all_would_take_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.recommendation.neighbours._MOST_PRODUCTS", 20 * 64)
    assert Neighbours.fit(sparse(taken()), 0).note == "fitted to 20 of 40 users, chosen by the seed"


@pytest.mark.parametrize("columns", [7, 512])
def test_ease_is_its_closed_form(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.recommendation.ease._COLUMNS", columns)
    dense = taken().astype(np.float64)
    inverse = np.linalg.inv(dense.T @ dense + 5 * np.eye(30))
    weights = np.eye(30) - inverse / np.diag(inverse)
    ease = Ease.fit(sparse(dense), 5.0)
    assert ease.weights == pytest.approx(weights, abs=1e-5)
    scores = ease.scores(raw_of(HISTORIES))
    assert scores[0] == pytest.approx(weights[[3, 7, 12]].sum(axis=0), abs=1e-5)
    assert scores[2].tolist() == dense.sum(axis=0).tolist()


def test_ease_is_a_ridge_regression_in_which_no_item_explains_itself() -> None:
    dense = taken(seed=2).astype(np.float64)
    weights = Ease.fit(sparse(dense), 3.0).weights
    for item in (0, 4, 17):
        others = np.delete(np.arange(30), item)
        x = dense[:, others]
        fitted = np.linalg.solve(x.T @ x + 3 * np.eye(29), x.T @ dense[:, item])
        assert weights[others, item] == pytest.approx(fitted, abs=1e-5)


def test_biases_minimise_what_they_say() -> None:
    rng = np.random.default_rng(0)
    user, item = (cells.ravel().astype(np.int32) for cells in np.indices((12, 9)))
    rating = (3 + rng.normal(size=12)[user] + rng.normal(size=9)[item]).astype(np.float32)
    train = {"user": user, "item": item, "rating": rating}
    found = Biases.fit(train, 12, 9, 2.0)
    x = np.zeros((len(user), 21))
    x[np.arange(len(user)), user] = x[np.arange(len(user)), 12 + item] = 1
    exact = np.linalg.solve(x.T @ x + 2 * np.eye(21), x.T @ (rating - found.mean))
    assert np.concatenate([found.user, found.item]) == pytest.approx(exact, abs=1e-3)
    asked = {"user": np.array([0, -1, -1], np.int32), "item": np.array([0, 2, -1], np.int32)}
    expected = [found.mean + found.user[0] + found.item[0], found.mean + found.item[2], found.mean]
    assert found.ratings(asked) == pytest.approx(np.clip(expected, rating.min(), rating.max()), abs=1e-5)
    assert Biases.fit(train, 12, 9, np.inf).ratings(asked).tolist() == pytest.approx([rating.mean()] * 3)


# ---- as the run has them ----------------------------------------------------------------------------------------


def data_of(kind: str = "history", among: int | None = None, users: int = 120, items: int = 40) -> Data:
    """Users of four tastes take items of theirs, the last two held out."""
    rng = np.random.default_rng(4)
    rows = [4 * rng.permutation(items // 4)[:8] + user % 4 for user in range(users)]
    user, item = np.repeat(np.arange(users, dtype=np.int32), 8), np.concatenate(rows).astype(np.int32)
    part = np.tile(np.array([0] * 6 + [1, 2], np.int8), users)
    rating = (3 + (item % 3) - 1 + 0.1 * rng.normal(size=len(user))).astype(np.float32)
    keys = np.arange(users, dtype=np.uint64), np.arange(items + 1, dtype=np.uint64)
    log = Log([f"u{n}" for n in range(users)], [f"i{n}" for n in range(items)], user, item, rating, part, keys)
    train, before, every = lists_of(log, part == 0), lists_of(log, part <= 1), np.arange(users)
    assets = {"users": log.users, "items": log.items}
    assets["counts"] = np.bincount(item[part == 0], minlength=items).tolist()
    if kind == "ratings":
        splits = {
            name: PairStore(log, np.flatnonzero(part == at)) for at, name in enumerate(("train", "valid", "test"))
        }
        return Data(splits, assets, {}, "", "", {})
    only = None
    if among is not None:
        held_out = lists_of(log, part == 2).items
        # Among what was drawn is an item that the user took before, as in published lists of negatives.
        rest = [[row[0], *rng.permutation(np.setdiff1d(np.arange(items), row))[: among - 2]] for row in rows]
        mixed = np.concatenate([[one, *others] for one, others in zip(held_out, rest, strict=True)]).astype(np.int32)
        only = Lists(np.arange(users + 1) * among, mixed)
    stores = {
        "train": HistoryStore(log, train, every, 4) if kind == "history" else PairStore(log, np.flatnonzero(part == 0)),
        "valid": RankStore(log, train, lists_of(log, part == 1), every, 50),
        "test": RankStore(log, before, lists_of(log, part == 2), every, 50, only),
    }
    return Data(stores, assets, {}, "", "", {})


def test_training_interactions_are_the_same_of_pairs_and_of_histories() -> None:
    pairs, histories = (interactions(data_of(kind).splits["train"]) for kind in ("pairs", "history"))
    assert pairs["user"].tolist() == histories["user"].tolist()
    assert pairs["item"].tolist() == histories["item"].tolist()
    assert len(pairs["item"]) == 720


def test_lists_know_tastes_leave_out_what_was_taken_and_the_best_on_validation_is_the_yardstick() -> None:
    data = data_of()
    store = data.splits["test"]
    raw = store.fetch(np.arange(len(store)))
    found = baseline(Config(), data)
    kinds = (found, *found.others)
    assert {kind.name for kind in kinds} == {"popularity", "item k-NN", "EASE"}
    assert found.name != "popularity"
    for kind in kinds:
        lists = np.stack([record.output for record in predict_store(kind.predictor, store)])
        assert lists.shape == (120, 100)
        for row, listed in enumerate(lists.tolist()):
            history = raw["history"][raw["history_splits"][row] : raw["history_splits"][row + 1]].tolist()
            shown = [item for item in listed if item >= 0]
            assert sorted({*shown, *history}) == list(range(40))
            assert len(shown) == 33
        tastes = Found.of(lists, raw["target"], raw["target_splits"]).at(3)["hr"].mean()
        assert tastes > 0.9 if kind is not kinds[-1] else tastes < 0.5


def test_lists_hold_all_candidates_and_nothing_else_where_the_protocol_samples() -> None:
    data = data_of(among=12)
    store = data.splits["test"]
    raw = store.fetch(np.arange(len(store)))
    found = baseline(Config(), data)
    for kind in (found, *found.others):
        lists = np.stack([record.output for record in predict_store(kind.predictor, store)])
        for row, listed in enumerate(lists.tolist()):
            assert {item for item in listed if item >= 0} == {*raw["candidates"][12 * row : 12 * row + 12].tolist()}


def test_ratings_have_biases_and_the_mean() -> None:
    data = data_of("ratings")
    found = baseline(Config(loss="mse"), data)
    assert [found.name, *(other.name for other in found.others)] == ["user and item biases", "mean rating"]
    store = data.splits["test"]
    truth = store.fetch(np.arange(len(store)))["rating"]
    outputs = [
        np.stack([one.output for one in predict_store(each.predictor, store)]) for each in (found, *found.others)
    ]
    assert outputs[0].shape == (120, 1)
    errors = [float(np.sqrt(np.mean((output[:, 0] - truth) ** 2))) for output in outputs]
    assert errors[0] < 0.2
    assert errors[1] > 0.7


def test_ease_is_left_out_where_items_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.recommendation.baseline.MOST_ITEMS", 39)
    found = baseline(Config(), data_of())
    assert [found.name, *(other.name for other in found.others)] == ["item k-NN", "popularity"]
    assert "EASE is left out: it takes 39 items at most, and there are 40" in found.note
    assert MOST_ITEMS == 20_000


def test_rows_of_ragged_columns() -> None:
    raw = {"user": np.arange(3), "history": np.array([5, 6, 7, 8]), "history_splits": np.array([0, 2, 2, 4])}
    found = rows_of(raw, np.array([2, 0, 1, 2]))
    assert found["user"].tolist() == [2, 0, 1, 2]
    assert found["history"].tolist() == [7, 8, 5, 6, 7, 8]
    assert found["history_splits"].tolist() == [0, 2, 4, 4, 6]
    assert rows_of(raw, np.empty(0, np.int64))["history_splits"].tolist() == [0]
