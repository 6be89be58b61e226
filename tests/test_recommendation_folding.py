"""Users that training did not know, placed by what they took."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.devices.steps import kept_model
from pipelines.task import Record
from tasks.recommendation import data
from tasks.recommendation.answers import table as as_table
from tasks.recommendation.config import Config
from tasks.recommendation.data.packing import packed, packed_flags, unpacked_flags
from tasks.recommendation.folding import Folding
from tasks.recommendation.model import build_model
from tasks.recommendation.prediction import predictor

USERS, NEW, ITEMS, KINDS = 120, 40, 60, 4
World = tuple[Any, dict[str, Any], list[np.ndarray]]
"""A network, its assets, what each user took."""
CONFIG = Config(backbone="mf", loss="softmax", width=8)


def ragged(rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(rows).astype(np.int32), np.cumsum([0, *map(len, rows)])


def taken(count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Of each user a third of the items of one kind, and two of any."""
    rows = []
    for user in range(count):
        liked = rng.choice(np.arange(user % KINDS, ITEMS, KINDS), 6, replace=False)
        rows.append(np.unique(np.concatenate([liked, rng.choice(ITEMS, 2)])))
    return rows


def test_a_linear_rule_is_found_again() -> None:
    rng = np.random.default_rng(0)
    items, rule, offset = rng.normal(size=(ITEMS, 5)), rng.normal(size=(5, 5)), rng.normal(size=5)
    lists = [rng.choice(ITEMS, rng.integers(1, 9), replace=False) for _ in range(2000)]
    sums = np.stack([items[one].sum(axis=0) / np.sqrt(len(one)) for one in lists])
    folding = Folding.fit(sums @ rule + offset, items, ragged(lists))
    with_gaps = ragged([*lists[:3], np.array([-1, 4, -1]), np.array([], int)])
    wanted = np.stack([*sums[:3], items[4], np.zeros(5)]) @ rule + offset
    np.testing.assert_allclose(folding.vectors(with_gaps), wanted, rtol=0.05, atol=0.05)


def test_one_user_and_no_history_are_no_trouble() -> None:
    items = np.random.default_rng(0).normal(size=(3, 2))
    folding = Folding.fit(np.ones((1, 2)), items, (np.zeros(0, np.int32), np.zeros(2, np.int64)))
    np.testing.assert_allclose(folding.vectors((np.array([1], np.int32), np.array([0, 1]))), [[1, 1]])


@pytest.fixture(scope="module")
def world() -> World:
    """A network whose embeddings are the best of their rank for what users took, its assets, and those lists."""
    lists = taken(USERS, np.random.default_rng(1))
    matrix = np.zeros((USERS, ITEMS))
    for user, items in enumerate(lists):
        matrix[user, items] = 1.0
    codes, splits = ragged(lists)
    assets: dict[str, Any] = {
        "users": [f"u{n}" for n in range(USERS)],
        "items": [f"i{n}" for n in range(ITEMS)],
        "trained": {"users": USERS, "items": ITEMS},
        "counts": matrix.sum(axis=0).astype(int).tolist(),
        "seen": {"splits": packed(splits), "items": packed(codes), "trained": packed_flags(np.ones(len(codes), bool))},
    }
    network = kept_model(build_model(CONFIG, assets))
    left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
    network.get_layer("users").embeddings.assign(left[:, :8] * sizes[:8])
    network.get_layer("items").embeddings.assign(np.concatenate([right[:8].T, np.zeros((ITEMS, 1))], axis=1))
    return network, assets, lists


def asked(world: World, users: np.ndarray, rows: list[np.ndarray]) -> list[Record]:
    network, assets, _ = world
    history, splits = ragged(rows)
    raw = {"user": users.astype(np.int32), "history": history, "history_splits": splits}
    return list(predictor(network, CONFIG, assets, {})([([str(n) for n in range(len(rows))], raw)]))


def test_a_known_history_gives_nearly_the_known_list(world: World) -> None:
    lists = world[2]
    own, again = (asked(world, users, lists) for users in (np.arange(USERS), np.full(USERS, -1)))
    shared = [len({*one.answer["items"]} & {*two.answer["items"]}) / 10 for one, two in zip(own, again, strict=True)]
    assert np.mean(shared) > 0.85
    assert all("folded_in" not in record.answer for record in own)
    assert all(record.answer["known"] and record.answer["folded_in"] is True for record in again)


def test_unseen_users_get_what_they_like_and_are_marked(world: World) -> None:
    rows = taken(NEW, np.random.default_rng(2))
    records = asked(world, np.full(NEW + 1, -1), [*rows, np.array([], int)])
    right = [
        np.mean([int(item[1:]) % KINDS == user % KINDS for item in record.answer["items"][:5]])
        for user, record in enumerate(records[:NEW])
    ]
    assert np.mean(right) > 0.95
    listed = [{int(item[1:]) for item in record.answer["items"]} for record in records]
    assert not any(one & set(row.tolist()) for one, row in zip(listed, rows, strict=False))
    assert (records[-1].answer["known"], "folded_in" in records[-1].answer) == (False, False)
    popular = np.asarray(world[1]["counts"])[[int(item[1:]) for item in records[-1].answer["items"]]]
    assert (np.diff(popular) <= 0).all()
    table = as_table(CONFIG, world[1])
    rows = [next(iter(table.rows(record))) for record in (records[0], records[-1])]
    assert [(row["known"], row["folded_in"]) for row in rows] == [("yes", "yes"), ("no", "no")]


def test_what_was_learnt_from_is_known(tmp_path: Path) -> None:
    rows = [f"u{n % 7},i{n % 5},{n}" for n in range(60)]
    (tmp_path / "a.csv").write_text("user,item,time\n" + "\n".join(rows) + "\n")
    found = data.load_data(Config(data=str(tmp_path / "a.csv"), duplicates="last", protocol="leave-last-out"))
    splits, items = data.learnt(found.assets)
    train = found.splits["train"].fetch(np.arange(len(found.splits["train"])))
    assert len(splits) == found.assets["trained"]["users"] + 1
    pairs = sorted(zip(np.repeat(np.arange(len(splits) - 1), np.diff(splits)).tolist(), items.tolist(), strict=True))
    assert pairs == sorted(zip(train["user"].tolist(), train["item"].tolist(), strict=True))


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 1000])
def test_flags_take_a_bit_each(count: int) -> None:
    flags = np.random.default_rng(count).random(count) < 0.5
    value = packed_flags(flags)
    assert (unpacked_flags(value) == flags).all()
    assert len(value["base64"]) <= 4 * (count // 24 + 2)
