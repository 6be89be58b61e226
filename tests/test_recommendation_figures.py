"""What the report shows of recommendations."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.task import Figure, Passages, Record
from tasks.recommendation.backbones import build_network
from tasks.recommendation.config import Config
from tasks.recommendation.data.packing import packed
from tasks.recommendation.figures import figures

ITEMS, USERS = 60, 40
HELD_OUT = 2


class Store:
    """Users of 0 to 19 items before; the last items are new in the test."""

    def __len__(self) -> int:
        return USERS

    def fetch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        before = [np.arange(user % 20) for user in indices.tolist()]
        target = [[20 + user % 38, 58 + user % 2] for user in range(USERS)]
        return {
            "user": indices.astype(np.int32),
            "history": np.concatenate([*before, []]).astype(np.int32),
            "history_splits": np.cumsum([0, *map(len, before)]),
            "target": np.array([target[user] for user in indices.tolist()], np.int32).ravel(),
            "target_splits": np.arange(len(indices) + 1) * HELD_OUT,
        }


def assets(*, described: bool = True, new: bool = True) -> dict[str, Any]:
    counts = [*range(70, 70 - ITEMS + 2, -1), *([0, 0] if new else [1, 1])]
    genre = {"name": "genre", "kind": "category", "names": ["crime", "travel"]}
    genre["codes"] = packed((np.arange(ITEMS) % 2).astype(np.int32))
    features = {"columns": [genre], "titles": [f"Title {item}" if item % 10 else None for item in range(ITEMS)]}
    found: dict[str, Any] = {
        "items": [f"i{item}" for item in range(ITEMS)],
        "users": [f"u{user}" for user in range(USERS)],
    }
    found |= {"counts": counts, "trained": {"users": USERS, "items": ITEMS - 2}}
    return found | ({"features": {"items": features}} if described else {})


def references() -> dict[str, np.ndarray]:
    raw = Store().fetch(np.arange(USERS))
    return {name: raw[name] for name in ("user", "target", "target_splits")} | {
        "activity": np.diff(raw["history_splits"])
    }


def records(k: int = 20) -> list[Record]:
    """Every second user gets what was held out first of all, or a new item; the last finds nothing."""
    rng = np.random.default_rng(0)
    lists = np.stack([20 + rng.permutation(ITEMS - 20)[:k] for _ in range(USERS)]).astype(np.int32)
    lists[::2, 0] = 20 + np.arange(0, USERS, 2) % 38
    lists[-1] = -1
    return [Record(f"u{row}", {}, each) for row, each in enumerate(lists)]


def drawn(config: Config, known: dict[str, Any], truth: Any = None, given: Any = None) -> dict[str, Any]:
    model = build_network(config, known)
    found = figures(given or records(), truth or references(), config, known, Store(), model)  # type: ignore[arg-type]
    for figure in found:
        assert figure.caption
        if isinstance(figure, Figure):
            assert min(Image.open(io.BytesIO(figure.png)).size) > 300
    return {figure.name: figure for figure in found}


def text_of(passages: Passages, row: int) -> str:
    return "".join(word for word, _ in passages.passages[row].words)


@pytest.mark.parametrize("backbone", ["mf", "sasrec"])
def test_the_report_shows_popularity_new_items_examples_and_a_map(backbone: str) -> None:
    found = drawn(Config(backbone=backbone, width=8, loss="softmax"), assets())
    assert list(found) == ["popularity_bias", "new_items", "new_items_by_name", "examples", "item_map"]
    assert "2 of 60 items have no interaction in training" in found["new_items"].caption
    assert [passage.heading for passage in found["new_items_by_name"].passages] == ["Title 58", "Title 59"]
    assert text_of(found["new_items_by_name"], 0).startswith("taken by 20 users, recommended to ")
    assert "58 items" in found["item_map"].caption
    assert "Colour: genre" in found["item_map"].caption


def test_examples_are_users_with_what_they_took_what_was_recommended_and_what_was_missed() -> None:
    found = drawn(Config(backbone="mf", width=8, loss="softmax"), assets())["examples"]
    kinds = [passage.heading.partition(":")[0] for passage in found.passages]
    assert kinds == [*["among the best"] * 2, *["found something"] * 2, *["found nothing"] * 2]
    best = found.passages[0]
    hits = [word for word, value in best.words if value == 1.0]
    user = int(best.heading.split("u", 1)[1].split(",")[0])
    assert set(hits) <= {f"Title {20 + user % 38}", "i20", "i30", "i40", "i50", "Title 58", "Title 59"}
    assert hits
    grey = [word for word, value in best.words if value is None]
    assert len(grey) == 1
    assert grey[0].count(" · ") == min(user % 20, 12) - 1 if user % 20 else grey[0] == "nothing"


def test_items_without_features_are_coloured_by_popularity_and_called_by_their_ids() -> None:
    found = drawn(Config(backbone="mf", width=8, loss="softmax"), assets(described=False, new=False))
    assert list(found) == ["popularity_bias", "examples", "item_map"]
    assert "Colour: popularity" in found["item_map"].caption
    assert " · i" in text_of(found["examples"], 0)


def test_of_sampled_candidates_popularity_is_not_shown() -> None:
    truth = references()
    among = np.tile(np.arange(20, ITEMS, dtype=np.int32), USERS)
    truth |= {"candidates": among, "candidates_splits": np.arange(USERS + 1) * (ITEMS - 20)}
    assert list(drawn(Config(backbone="mf", width=8, loss="softmax"), assets(), truth)) == ["examples", "item_map"]


def test_of_ratings_what_was_predicted_is_shown_beside_what_was_given() -> None:
    rng = np.random.default_rng(0)
    for rating in (rng.integers(1, 6, 200), rng.uniform(0, 5, 200)):
        truth = {"user": np.zeros(200, np.int32), "item": np.zeros(200, np.int32), "rating": rating.astype(np.float32)}
        given = [Record(str(row), {}, np.array([3.0 + rng.normal()], np.float32)) for row in range(200)]
        known = assets() | {"rating": {"mean": 3.0, "min": 1.0, "max": 5.0}}
        found = drawn(Config(backbone="mf", width=8, loss="mse"), known, truth, given)
        assert list(found) == ["predicted_ratings", "item_map"]
