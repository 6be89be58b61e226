"""How recommendation is judged: scores, their intervals, tables; and that ties win nothing."""

from typing import Any

import numpy as np
import pytest

from pipelines.errors import DataError
from pipelines.evaluation import judge
from pipelines.report.words import direction
from pipelines.scoring import label
from pipelines.task import Record
from tasks.recommendation import scores
from tasks.recommendation.config import Config
from tasks.recommendation.ranking import ranked

ITEMS = 50
COUNTS = [*range(100, 100 - ITEMS + 5, -1), *[0] * 5]


def ragged(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([one for row in rows for one in row], np.int32), np.cumsum([0, *map(len, rows)]).astype(np.int64)


def assets() -> dict[str, Any]:
    return {"items": [f"i{number}" for number in range(ITEMS)], "counts": COUNTS}


def references(wanted: list[list[int]], **more: Any) -> dict[str, Any]:
    target, splits = ragged(wanted)
    users = np.arange(len(wanted), dtype=np.int32)
    return {"user": users, "target": target, "target_splits": splits, "activity": 3 + users // 10, **more}


def records(lists: np.ndarray) -> list[Record]:
    return [Record(f"u{row}", {}, output) for row, output in enumerate(lists)]


def split(users: int = 80, seed: int = 0) -> tuple[np.ndarray, dict[str, Any]]:
    rng = np.random.default_rng(seed)
    lists = np.stack([rng.permutation(ITEMS)[:30] for _ in range(users)]).astype(np.int32)
    return lists, references([rng.permutation(ITEMS)[: rng.integers(1, 6)].tolist() for _ in range(users)])


def test_scores_at_k_come_first_with_intervals_over_users() -> None:
    lists, truth = split()
    found = scores.score(records(lists), truth, Config(top_k=7), assets())
    names = ["ndcg@7", "hr@7", "recall@7", "mrr@7", "map@7", "coverage@7", "gini@7", "novelty@7", "tail_share@7"]
    assert list(found.scores) == names
    assert found.headline == "ndcg@7"
    wanted = [
        set(truth["target"][low:high])
        for low, high in zip(truth["target_splits"], truth["target_splits"][1:], strict=False)
    ]
    hits = [bool(wanted[row] & {*listed[:7].tolist()}) for row, listed in enumerate(lists)]
    assert found.scores["hr@7"].value == pytest.approx(np.mean(hits))
    width = 1.96 * np.std(hits) / np.sqrt(80)
    assert found.scores["hr@7"].high == pytest.approx(np.mean(hits) + width, abs=0.03)
    assert found.scores["hr@7"].low == pytest.approx(np.mean(hits) - width, abs=0.03)
    # Of all lists together no resample of the users tells the spread.
    assert found.scores["coverage@7"].low is None
    popular = {*range(10)}
    assert found.scores["tail_share@7"].value == pytest.approx(1 - np.isin(lists[:, :7], list(popular)).mean())


def test_tables_tell_scores_apart_by_cutoff_activity_and_popularity() -> None:
    lists, truth = split()
    tables = scores.score(records(lists), truth, Config(top_k=7), assets()).breakdowns
    assert list(tables["cutoffs"]) == ["top 5", "top 7", "top 10", "top 20", "top 30"]
    values = [row["recall"]["value"] for row in tables["cutoffs"].values()]
    assert values == sorted(values)
    assert sum(row["users"] for row in tables["activity"].values()) == 80
    assert list(tables["activity"]) == [f"{3 + 2 * n} to {4 + 2 * n} items taken before" for n in range(4)]
    kinds = tables["held_out_items"]
    assert {name: row["items"] for name, row in kinds.items()} == {
        "the most popular 20%": 10,
        "the tail": 35,
        "new items": 5,
    }
    assert sum(row["held_out"] for row in kinds.values()) == len(truth["target"])
    assert sum(row["share_of_lists"] for row in kinds.values()) == pytest.approx(1)
    found = sum(row["found"] * row["held_out"] for row in kinds.values())
    assert found == sum(
        (truth["target"][low:high][:, None] == listed[:7]).any(axis=1).sum()
        for low, high, listed in zip(truth["target_splits"], truth["target_splits"][1:], lists, strict=False)
    )


def test_what_the_model_does_not_know_is_missed_and_told() -> None:
    lists = np.array([[0, 1, -1], [1, 0, 2]], np.int32)
    found = scores.score(records(lists), references([[-1, 1], [-1]]), Config(top_k=3), assets())
    assert found.scores["recall@3"].value == pytest.approx(0.25)
    assert found.breakdowns["held_out_items"]["unknown to the model"]["held_out"] == 2


def test_of_sampled_candidates_only_accuracy_is_told() -> None:
    lists, truth = split()
    among, splits = ragged([list(range(ITEMS))] * 80)
    found = scores.score(records(lists), truth | {"candidates": among, "candidates_splits": splits}, Config(), assets())
    assert list(found.scores) == ["ndcg@10", "hr@10", "recall@10", "mrr@10", "map@10"]


@pytest.mark.parametrize("sampled", [False, True])
def test_the_same_score_for_every_item_is_the_random_score(sampled: bool) -> None:
    rng = np.random.default_rng(3)
    users = 2_000
    wanted = [[int(one)] for one in rng.integers(0, 5, users)]
    truth = references(wanted)
    among = None
    if sampled:
        among = ragged([[*one, *(5 + rng.permutation(ITEMS - 5)[:19]).tolist()] for one in wanted])
        truth |= {"candidates": among[0], "candidates_splits": among[1]}
    lists, _ = ranked(np.zeros((users, ITEMS), np.float32), truth["user"], 30, None, among)
    found = scores.score(records(lists), truth, Config(top_k=10), assets()).scores
    chance = 10 / (20 if sampled else ITEMS)
    for name, expected in (
        ("hr@10", chance),
        ("recall@10", chance),
        ("ndcg@10", chance * np.mean(1 / np.log2(np.arange(2, 12)))),
    ):
        assert found[name].value == pytest.approx(expected, rel=0.12)
        assert found[name].low <= expected <= found[name].high or abs(found[name].value / expected - 1) < 0.06


def test_scores_by_a_group_of_users_see_their_own_lists() -> None:
    lists, truth = split()
    groups = np.array(["a" if row % 2 else "b" for row in range(80)], object)

    class Lists:
        score = staticmethod(scores.score)
        references = staticmethod(lambda store: truth | {"group_by": groups})

    config = Config(group_by="kind", users="users.csv")
    by_group = judge(Lists, records(lists), None, config, assets()).breakdowns["by_group"]["groups"]  # type: ignore[arg-type]
    odd = np.flatnonzero(groups == "a")
    alone = references(
        [truth["target"][truth["target_splits"][row] : truth["target_splits"][row + 1]].tolist() for row in odd]
    )
    expected = scores.score(records(lists[odd]), alone | {"activity": truth["activity"][odd]}, config, assets())
    assert by_group["a"]["scores"]["ndcg@10"] == vars(expected.scores["ndcg@10"])


def test_targets_are_names() -> None:
    assert scores.targets(references([[2, -1], [0]]), assets()) == [["i2", None], ["i0"]]
    assert scores.targets({"rating": np.array([3.5], np.float32)}, assets()) == [3.5]


def test_a_record_without_a_list_stops_the_scores() -> None:
    lists, truth = split()
    broken = [*records(lists)[:-1], Record("u79", {}, None, "unreadable")]
    with pytest.raises(DataError, match="1 users have no score, first u79: unreadable"):
        scores.score(broken, truth, Config(), assets())


def rated(count: int = 400, seed: int = 0) -> tuple[np.ndarray, dict[str, Any]]:
    rng = np.random.default_rng(seed)
    rating = rng.integers(1, 6, count).astype(np.float32)
    user, item = rng.integers(-1, 30, count).astype(np.int32), rng.integers(-1, ITEMS, count).astype(np.int32)
    return (rating + rng.normal(size=count)).astype(np.float32), {"user": user, "item": item, "rating": rating}


def test_ratings_are_judged_by_their_errors_with_intervals_over_users() -> None:
    predicted, truth = rated()
    result = scores.score(records(predicted[:, None]), truth, Config(loss="mse"), assets())
    error = predicted - truth["rating"]
    found = {name: one.value for name, one in result.scores.items()}
    assert result.headline == "rmse"
    assert found["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)
    assert found["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-5)
    each = [np.sqrt((error[truth["user"] == user] ** 2).mean()) for user in np.unique(truth["user"])]
    assert found["rmse_by_user"] == pytest.approx(np.mean(each), rel=1e-5)
    assert result.scores["rmse"].low < found["rmse"] < result.scores["rmse"].high
    assert sum(row["ratings"] for row in result.breakdowns["activity"].values()) == 400
    assert list(result.breakdowns["rating"]) == ["1", "2", "3", "4", "5"]
    assert result.breakdowns["item_popularity"]["new items"]["ratings"] == (truth["item"] >= ITEMS - 5).sum()


def test_what_scores_are_called_and_which_way_is_better() -> None:
    names = {"ndcg@10": "NDCG@10", "hr@5": "HR@5", "mrr@10": "MRR@10", "map@10": "MAP@10", "map": "mAP"}
    names |= {
        "tail_share@10": "tail share@10",
        "rmse_by_user": "RMSE by user",
        "coverage@10": "coverage@10",
        "gini@10": "Gini@10",
    }
    assert {name: label(name) for name in names} == names
    assert direction("gini@10") == direction("coverage@10") == "neither is better"
    assert direction("ndcg@10") == "higher is better"
    assert direction("rmse_by_user") == "lower is better"
