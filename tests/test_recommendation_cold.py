"""Items that nobody took yet: two towers place them by what tables and titles say of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax

from pipelines.api import run
from pipelines.devices.steps import kept_model
from tasks.recommendation.backbones import towers
from tasks.recommendation.config import Config
from tasks.recommendation.data.described import feature_table
from tasks.recommendation.data.packing import packed
from tasks.recommendation.encoding import encode
from tasks.recommendation.model import build_model

pytestmark = pytest.mark.usefixtures("unserved")

USERS, ITEMS, COLD = 6, 20, 5
TRAINED = ITEMS - COLD


def column(name: str, codes: list[int], names: list[str]) -> dict[str, Any]:
    return {"kind": "category", "name": name, "names": names, "codes": packed(np.array(codes, np.int32))}


ASSETS: dict[str, Any] = {
    "users": [f"u{n}" for n in range(USERS)],
    "items": [f"i{n}" for n in range(ITEMS)],
    "trained": {"users": USERS, "items": TRAINED},
    "counts": [*range(1, TRAINED + 1), *[0] * COLD],
    "features": {"items": {"columns": [column("genre", [n % 2 for n in range(ITEMS)], ["a", "b"])]}},
}


def settings(loss: str, **more: Any) -> Config:
    return Config(backbone="two-tower", loss=loss, width=8, batch_size=4, dropout=0.5, **more)


def encoded(config: Config) -> Any:
    raw = {"user": [0, 1, 2, 3], "item": [1, 3, 1, 8], "rating": [1.0, 1.0, 1.0, 1.0]}
    columns = {name: tf.constant(values) for name, values in raw.items()}
    return encode(config, ASSETS, True)(columns, tf.constant([3, 5, 7, 9], tf.int64))[0]


def test_what_nobody_took_is_no_rival_in_training() -> None:
    config = settings("softmax", seed=1).model_copy(update={"dropout": 0.0})
    built = build_model(config, ASSETS)
    query, candidates = towers(kept_model(built))
    x = encoded(config)
    scores = np.asarray(query({"user": x["user"]})) @ np.asarray(candidates({"item": np.arange(ITEMS)[None]}))[0].T
    taken = x["positive"].numpy()
    wanted = -np.take_along_axis(log_softmax(scores[:, :TRAINED], axis=-1), taken, -1)
    np.testing.assert_allclose(np.asarray(built.model(x, training=True)["loss"]), wanted, rtol=1e-4)
    whole = -np.take_along_axis(log_softmax(scores, axis=-1), taken, -1)
    validated = {**x, "positive": tf.constant([[1], [3], [1], [ITEMS - 1]])}  # a new item is held out
    found = np.asarray(built.model(validated, training=False)["loss"])
    np.testing.assert_allclose(found[:3], whole[:3], rtol=1e-4)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("loss", ["bpr", "sampled-softmax", "pointwise"])
def test_what_nobody_took_is_not_drawn(loss: str) -> None:
    drawn = encoded(settings(loss, negatives=4000))["negative"].numpy()
    assert set(drawn.ravel()) == set(range(TRAINED))
    plain = Config(backbone="mf", loss=loss, width=8, batch_size=4, negatives=4000)
    assert set(encoded(plain)["negative"].numpy().ravel()) > set(range(TRAINED))


def test_an_id_counts_whole_or_not_at_all() -> None:
    """In training the item of a pair is seen with its id as it is, or as a new one of the same features is."""
    network = kept_model(build_model(settings("softmax"), ASSETS))
    table = network.get_layer("items").embeddings
    table.assign(np.random.default_rng(0).normal(size=table.shape) * 3)
    _, candidates = towers(network)
    same = np.full((1, 400), 2, np.int32)
    with_id = np.asarray(candidates({"item": same}))[0, 0]
    new = np.asarray(candidates({"item": np.array([[TRAINED + 1, TRAINED + 3]], np.int32)}))[0]
    np.testing.assert_allclose(new[0], new[1], rtol=1e-5)  # of the same genre, whatever their rows hold
    seen = np.asarray(candidates({"item": same}, training=True))[0]
    whole = np.abs(seen - with_id).max(axis=1) < 1e-5
    without = np.abs(seen - new[0]).max(axis=1) < 1e-5
    assert (whole ^ without).all()
    assert 120 < whole.sum() < 280


def test_a_name_of_one_item_is_no_feature() -> None:
    genres = [*[0, 1] * 7, 2, 3, 3, 3, 0, 1]
    assets = {**ASSETS, "features": {"items": {"columns": [column("genre", genres, list("abcd"))]}}}
    named = feature_table(assets, "items")
    assert named is not None
    assert named[0] == ["genre: a", "genre: b"]  # c is one trained item's alone, d is known of new ones only
    np.testing.assert_array_equal(named[1].sum(axis=1), [*[1] * 14, 0, 0, 0, 0, 1, 1])
    texts = {"kind": "text", "name": "title", "texts": [f"The film {n}" for n in range(ITEMS)]}
    named = feature_table({**ASSETS, "features": {"items": {"columns": [texts]}}}, "items")
    assert named is not None
    assert named[0] == ["title: film", "title: the"]


@pytest.mark.slow
def test_new_items_of_the_sample_are_found(tmp_path: Path) -> None:
    """A random list of the 400 items would hold .027 of them, and popularity none."""
    result = run(
        "recommendation",
        backbone="two-tower",
        learning_rate=0.003,
        batch_size=128,
        epochs=8,
        run_dir=str(tmp_path / "run"),
    )
    kinds = result.metrics["breakdowns"]["held_out_items"]
    assert kinds["new items"]["held_out"] == 127
    assert kinds["new items"]["found"] > 0.1
    baselines = result.metrics["baseline"], *result.metrics["baselines"]
    popular = next(one for one in baselines if one["name"] == "popularity")
    assert result.metrics["scores"]["recall@10"]["value"] > popular["scores"]["recall@10"]["value"]


@pytest.mark.slow
def test_features_are_taken_over_by_name(tmp_path: Path) -> None:
    """A warm start with other categories has the rows of those that both know."""
    rng = np.random.default_rng(0)
    shared = {"protocol": "leave-last-out", "epochs": 1, "batch_size": 16, "width": 8}
    for name, genres in (("a", "crime drama war"), ("b", "drama war western")):
        rows = [f"u{u},i{i},{t}" for u in range(20) for t, i in enumerate(rng.choice(12, 5, replace=False))]
        (tmp_path / f"{name}.csv").write_text("user,item,time\n" + "\n".join(rows) + "\n")
        kinds = genres.split()
        table = [f"i{i},{kinds[i % 3]}" for i in range(12)]
        (tmp_path / f"{name}_items.csv").write_text("item,genre\n" + "\n".join(table) + "\n")
    sources = {
        name: {"data": str(tmp_path / f"{name}.csv"), "items": str(tmp_path / f"{name}_items.csv")} for name in "ab"
    }
    run("recommendation", **shared, **sources["a"], backbone="two-tower", run_dir=str(tmp_path / "one"))
    run("recommendation", **shared, **sources["b"], pretrained=str(tmp_path / "one"), run_dir=str(tmp_path / "two"))
    origin = json.loads((tmp_path / "two" / "manifest.json").read_text())["pretrained"]
    assert any(
        note.startswith("items_features_read/kernel (2 of 3 items_features_read known") for note in origin["resized"]
    )
