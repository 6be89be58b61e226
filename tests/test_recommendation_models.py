"""The networks of recommendation, what trains them and what ranks by them; on both backends."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax

from pipelines import devices
from pipelines.devices.settings import StepSettings
from pipelines.devices.steps import kept_model
from pipelines.preparation import make_optimizer
from pipelines.task import Raw
from pipelines.transfer.matching import take_rows
from tasks.recommendation.backbones import STATES, towers
from tasks.recommendation.config import Config
from tasks.recommendation.encoding import encode
from tasks.recommendation.model import build_model
from tasks.recommendation.prediction import predictor

BACKEND = os.environ.get("SIXFOLD_TEST_BACKEND", "tensorflow")
"""test_on_jax runs this file again in a process with the other backend."""
USERS, ITEMS = 12, 30
RNG = np.random.default_rng(0)
GENRES = {"kind": "category", "name": "genre", "names": ["a", "b"], "codes": None}
ASSETS: dict[str, Any] = {
    "users": [f"u{n}" for n in range(USERS)],
    "items": [f"i{n}" for n in range(ITEMS)],
    "trained": {"users": USERS - 2, "items": ITEMS - 3},
    "counts": [*RNG.integers(1, 40, ITEMS - 3).tolist(), 0, 0, 0],
    "rating": {"mean": 3.5, "min": 1.0, "max": 5.0},
}
PAIRS = [("mf", "softmax"), ("mf", "in-batch"), ("mf", "sampled-softmax"), ("mf", "mse"), ("two-tower", "softmax")]
PAIRS += [("neumf", "pointwise"), ("neumf", "bpr"), ("neumf", "mse"), ("two-tower", "in-batch")]
HISTORIES = [("sasrec", "softmax"), ("sasrec", "pointwise"), ("gru4rec", "bpr"), ("sasrec", "sampled-softmax")]
HISTORIES += [("sasrec", "in-batch")]


def settings(backbone: str, loss: str, **more: Any) -> Config:
    known = {"width": 8, "max_history": 8, "negatives": 5, "dropout": 0.0, "batch_size": 4, "backend": BACKEND}
    return Config(**{**known, "backbone": backbone, "loss": loss, **more})


def assets_of(backbone: str) -> dict[str, Any]:
    from tasks.recommendation.data.packing import packed

    if backbone != "two-tower":
        return ASSETS
    codes = packed(np.arange(ITEMS, dtype=np.int32) % 2)
    return {**ASSETS, "features": {"items": {"columns": [{**GENRES, "codes": codes}]}}}


def lists(*rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([one for row in rows for one in row], np.int32), np.cumsum([0, *map(len, rows)])


def learnt(config: Config) -> Raw:
    """Four examples to learn from."""
    user = np.array([0, 3, 5, 9], np.int32)
    if config.backbone in ("sasrec", "gru4rec"):
        history, splits = lists([1, 2], [3, 4, 5, 6], [7, 8, 9], [*range(10, 22)])
        return {"user": user, "history": history, "history_splits": splits}
    return {"user": user, "item": np.array([1, 3, 1, 8], np.int32), "rating": np.array([1, 5, 4, 2], np.float32)}


def held_out() -> Raw:
    """Three users with what they took before and after."""
    history, history_splits = lists([1, 2, 3], [4], [*range(5, 17)])
    target, target_splits = lists([20], [21, 22], [23])
    raw = {"user": np.array([0, 3, 9], np.int32), "history": history, "history_splits": history_splits}
    return {**raw, "target": target, "target_splits": target_splits}


def encoded(config: Config, raw: Raw, *, training: bool) -> Any:
    keys = tf.constant(np.arange(len(raw["user"])) * 7919 + 11, tf.int64)
    encoder = encode(config, assets_of(config.backbone), training)
    parts = encoder({name: tf.constant(column) for name, column in raw.items()}, keys)
    return tf.nest.map_structure(lambda part: part.numpy(), parts)


def outputs(config: Config, x: Any, *, training: bool) -> tuple[Any, dict[str, np.ndarray]]:
    """A model and what its objective says."""
    built = build_model(config, assets_of(config.backbone))
    return built, {name: np.asarray(one) for name, one in built.model(x, training=training).items()}


@pytest.mark.parametrize(("backbone", "loss"), PAIRS + HISTORIES)
def test_it_learns(backbone: str, loss: str) -> None:
    """A few steps on one batch lower its loss; weights and sums are those of the encoder."""
    config = settings(backbone, loss)
    runtime = devices.start(config)
    built = build_model(config, assets_of(backbone))
    steps = runtime.steps(built, make_optimizer(config, built.model), StepSettings(lengths=True))
    x, y, weight = encoded(config, learnt(config), training=True)
    block = tf.nest.map_structure(lambda part: tf.constant(part[None]), (x, y, weight))
    found = [steps.train(block, np.full(1, 0.02, np.float32)) for _ in range(12)]
    assert found[0][1] == weight.sum() == (4 if (backbone, loss) in PAIRS else 1 + 3 + 2 + 8)
    assert found[-1][0] < 0.9 * found[0][0]


@pytest.mark.parametrize("backbone", ["mf", "neumf", "two-tower", "sasrec", "gru4rec", "ease"])
def test_what_is_kept_is_stock_keras(backbone: str, tmp_path: Path) -> None:
    config = settings(backbone, "squares" if backbone == "ease" else "pointwise")
    network = kept_model(build_model(config, assets_of(backbone)))
    given = {"history": np.array([[1, 2, -1], [3, 4, 5]], np.int32), "user": np.array([1, 2], np.int32)}
    given["taken"] = np.eye(2, ITEMS, dtype=np.float32)
    x = {name: given.get(name, np.array([[7, 8], [0, 29]], np.int32)) for name in network.input}
    network.save(tmp_path / "model.keras")
    code = (
        "import sys, keras, numpy as np; model = keras.saving.load_model(sys.argv[1] + '/model.keras'); "
        "x = np.load(sys.argv[1] + '/x.npz'); np.save(sys.argv[1] + '/y.npy', np.asarray(model(dict(x)))); "
        "assert not any(name.startswith('tasks') for name in sys.modules)"
    )
    if backbone in ("two-tower", "sasrec") and BACKEND == "tensorflow":  # the others are made of fewer layers
        np.savez(tmp_path / "x.npz", **x)
        words = [sys.executable, "-c", code, str(tmp_path)]
        subprocess.run(words, env={**os.environ, "KERAS_BACKEND": BACKEND}, check=True, timeout=200, cwd=tmp_path)
        again = np.load(tmp_path / "y.npy")
    else:
        again = np.asarray(keras.saving.load_model(tmp_path / "model.keras")(x))
    np.testing.assert_allclose(again, network(x), rtol=1e-5, atol=1e-6)
    if backbone != "neumf":
        query, candidates = towers(network)
        vectors = np.asarray(candidates({"item": x.pop("item")}))
        np.testing.assert_allclose(np.einsum("rd,rpd->rp", query(x), vectors), again, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backbone", ["sasrec", "gru4rec"])
def test_a_state_knows_what_came_before_alone(backbone: str) -> None:
    network = kept_model(build_model(settings(backbone, "softmax"), ASSETS))
    states, query = towers(network, STATES)[0], towers(network)[0]
    short, long = np.array([[1, 2, 3, -1, -1]], np.int32), np.array([[1, 2, 3, 9, 4]], np.int32)
    np.testing.assert_allclose(states({"history": short})[:, :3], states({"history": long})[:, :3], atol=1e-6)
    np.testing.assert_allclose(query({"history": short}), states({"history": long})[:, 2], atol=1e-6)
    np.testing.assert_allclose(query({"history": short}), query({"history": short[:, :3]}), atol=1e-6)
    assert np.abs(np.asarray(query({"history": short})) - np.asarray(query({"history": long}))).max() > 1e-4


def test_every_part_of_a_history_asks_for_the_item_behind_it() -> None:
    config = settings("sasrec", "softmax")
    x, _, weight = encoded(config, learnt(config), training=True)
    assert x["history"][:3].tolist() == [[1] + 7 * [-1], [3, 4, 5] + 5 * [-1], [7, 8] + 6 * [-1]]
    assert x["positive"][:3].tolist() == [[2] + 7 * [-1], [4, 5, 6] + 5 * [-1], [8, 9] + 6 * [-1]]
    assert x["history"][3].tolist() == [*range(13, 21)]  # the latest of twelve
    built, found = outputs(config, x, training=True)
    states, candidates = towers(kept_model(built), STATES)
    table = np.asarray(candidates({"item": np.arange(ITEMS, dtype=np.int32)[None]}))[0]
    wanted = -log_softmax(np.asarray(states({"history": x["history"]})) @ table.T, axis=-1)
    wanted = np.take_along_axis(wanted, np.maximum(x["positive"], 0)[..., None], -1)[..., 0]
    np.testing.assert_allclose(found["loss"][weight > 0], wanted[weight > 0], rtol=1e-4)


def test_items_of_the_batch_stand_for_all_but_ones_own() -> None:
    """Users 0 and 5 took the same item: neither is an other for the other."""
    config = settings("mf", "in-batch")
    x, _, _ = encoded(config, learnt(config), training=True)
    built, found = outputs(config, x, training=True)
    query, candidates = towers(kept_model(built))
    taken = x["positive"][:, 0]
    scores = np.asarray(query({"user": x["user"]})) @ np.asarray(candidates({"item": taken[None]}))[0].T
    counts = np.array(ASSETS["counts"]) + 1.0
    corrected = scores - np.log(4 * counts / counts.sum())[taken]
    for row in range(4):
        others = np.exp(corrected[row, taken != taken[row]]).sum()
        wanted = np.log(np.exp(scores[row, row]) + others) - scores[row, row]
        assert found["loss"][row, 0] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("backbone", ["mf", "sasrec", "neumf"])
def test_gains_are_those_of_the_lists(backbone: str) -> None:
    """What validation follows is NDCG of the very lists that the predictor gives."""
    config = settings(backbone, "pointwise", top_k=5)
    assets, raw = {**ASSETS, "trained": {"users": USERS, "items": ITEMS}}, held_out()
    x, _, weight = encoded(config, raw, training=False)
    np.testing.assert_allclose(weight, [[1, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0], [1, 0, 0, 0, 0]])
    built, found = outputs(config, x, training=False)
    records = list(predictor(kept_model(built), config, assets, {})([(["a", "b", "c"], raw)]))
    for row, record in enumerate(records):
        wanted = raw["target"][raw["target_splits"][row] : raw["target_splits"][row + 1]]
        gains = [1 / np.log2(place + 2) for place, item in enumerate(record.output[:5]) if item in wanted]
        best = sum(1 / np.log2(place + 2) for place in range(len(wanted)))
        assert found["gain"][row, 0] == pytest.approx(sum(gains) / best, abs=1e-5)


def test_equal_scores_are_worth_their_mean_place() -> None:
    config = settings("mf", "softmax", top_k=30)
    x, _, _ = encoded(config, held_out(), training=False)
    built = build_model(config, ASSETS)
    kept_model(built).get_layer("items").embeddings.assign(np.zeros((ITEMS, 9), np.float32))
    gain = np.asarray(built.model(x, training=False)["gain"])
    assert gain[0, 0] == pytest.approx(1 / np.log2(2 + (ITEMS - 3 - 1) / 2), rel=1e-4)


@pytest.mark.parametrize("backbone", ["mf", "two-tower", "neumf"])
def test_gains_are_the_same_in_blocks(backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 7 items at once, the last of 30 items overlapping; some of them score alike."""
    config = settings(backbone, "pointwise", top_k=30)
    x, _, _ = encoded(config, held_out(), training=False)
    built = build_model(config, assets_of(backbone))
    rows = kept_model(built).get_layer("items").embeddings
    rows.assign(np.where(np.arange(ITEMS)[:, None] % 3, np.array(rows), np.array(rows)[20]))
    whole = np.asarray(built.model(x, training=False)["gain"])
    for module in ("places", "objective"):
        monkeypatch.setattr(f"tasks.recommendation.{module}.BLOCK", 7)
    np.testing.assert_allclose(built.model(x, training=False)["gain"], whole, rtol=1e-6)
    assert whole.min() > 0


def test_drawn_items_come_by_key() -> None:
    config = settings("mf", "bpr", negatives=64)
    first, again = (encoded(config, learnt(config), training=True)[0]["negative"] for _ in range(2))
    assert first.shape == (4, 64)
    assert first.min() >= 0
    assert first.max() < ITEMS
    assert (first == again).all()
    assert (first[0] != first[1]).any()
    shares = settings("mf", "sampled-softmax", negatives=8000, batch_size=4)
    drawn = encoded(shares, learnt(shares), training=True)[0]["negative"]
    assert drawn.shape == (4, 2000)
    counts = np.array(ASSETS["counts"]) + 1.0
    np.testing.assert_allclose(np.bincount(drawn.ravel(), minlength=ITEMS) / 8000, counts / counts.sum(), atol=0.015)


def test_lists_are_exact_and_leave_out_what_was_taken() -> None:
    config = settings("sasrec", "softmax", top_k=4)
    network = kept_model(build_model(config, ASSETS))
    query, candidates = towers(network)
    history, splits = lists([3, 1, 2], [], [5, -1, 6])
    raw = {"user": np.array([0, -1, -1], np.int32), "history": history, "history_splits": splits}
    records = list(predictor(network, config, ASSETS, {})([(["a", "b", "c"], raw)]))
    table = np.asarray(candidates({"item": np.arange(ITEMS, dtype=np.int32)[None]}))[0]
    for place, given in ((0, [3, 1, 2]), (2, [5, 6])):
        scores = (np.asarray(query({"history": np.array([given], np.int32)})) @ table.T)[0]
        scores[given] = -np.inf
        best = np.argsort(-scores)[: ITEMS - len(given)]
        assert records[place].output.tolist() == [*best.tolist(), *[-1] * len(given)]
        assert records[place].answer["items"] == [f"i{item}" for item in best[:4]]
    assert [record.answer["known"] for record in records] == [True, False, True]
    popular = np.array(ASSETS["counts"])[records[1].output]
    assert (np.diff(popular) <= 0).all()
    allowed = list(predictor(network, config, ASSETS, {"allow": ["i1", "i9", "x"]})([(["a"], _first(raw))]))
    assert allowed[0].answer["items"] == ["i9"]
    seen = list(predictor(network, config, ASSETS, {"exclude_seen": False})([(["a"], _first(raw))]))
    assert -1 not in seen[0].output


def _first(raw: Raw) -> Raw:
    return {"user": raw["user"][:1], "history": raw["history"][:3], "history_splits": raw["history_splits"][:2]}


def test_ratings_stay_in_their_range_and_new_users_are_average() -> None:
    config = settings("mf", "mse")
    network = kept_model(build_model(config, ASSETS))
    users, items = network.get_layer("users"), network.get_layer("items")
    users.embeddings.assign(np.array(users.embeddings) * 5)
    user, item = np.array([0, 1, -1, 11, 4], np.int32), np.array([3, 4, 3, 3, -1], np.int32)
    records = list(predictor(network, config, ASSETS, {})([([*"abcde"], {"user": user, "item": item})]))
    found = np.array([record.output[0] for record in records])
    scores = np.asarray(network({"user": user[:2], "item": item[:2, None]}))[:, 0]
    np.testing.assert_allclose(found[:2], np.clip(scores, 1, 5), rtol=1e-5)
    average = np.array(users.embeddings)[:10].mean(0)
    row = np.array(items.embeddings)[3]
    wanted = np.clip(average[:8] @ row[:8] + row[8] + average[8] + 3.5, 1, 5)
    np.testing.assert_allclose(found[2:4], wanted, rtol=1e-4)  # u11 is in no training interaction
    assert records[0].answer == {"rating": round(float(found[0]), 4), "known": True, "known_item": True}
    marks = [(record.answer["known"], record.answer["known_item"]) for record in records]
    assert marks == [(True, True), (True, True), (False, True), (False, True), (True, False)]


def test_features_alone_place_what_is_new() -> None:
    """Items without training interactions and of one genre score alike; the rows of their ids say nothing."""
    network = kept_model(build_model(settings("two-tower", "softmax"), assets_of("two-tower")))
    scores = np.asarray(network({"user": np.array([0], np.int32), "item": np.array([[27, 29, 28, 1]], np.int32)}))[0]
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)
    assert abs(scores[0] - scores[2]) > 1e-6
    assert abs(scores[0] - scores[3]) > 1e-6


def test_rows_are_taken_over_by_name() -> None:
    source = kept_model(build_model(settings("mf", "softmax"), ASSETS))
    names = {**ASSETS, "items": ["i5", "new", *ASSETS["items"][:3]], "users": ASSETS["users"][::-1]}
    target = kept_model(build_model(settings("mf", "softmax"), {**names, "counts": [1] * 5}))
    before = np.array(target.get_layer("items").embeddings)
    both = {name: (ASSETS[name], names[name]) for name in ("items", "users")}
    matched = take_rows(source, target, both)
    assert [note.partition("embeddings ")[2] for note in matched.resized] == ["(4 of 5 items known, new: new)"]
    assert len(matched.taken) == 1
    rows = np.array(source.get_layer("items").embeddings)[[5, 0, 1, 2]]
    np.testing.assert_array_equal(np.array(target.get_layer("items").embeddings)[[0, 2, 3, 4]], rows)
    np.testing.assert_array_equal(np.array(target.get_layer("items").embeddings)[1], before[1])
    rows = np.array(source.get_layer("users").embeddings)[::-1]
    np.testing.assert_array_equal(np.array(target.get_layer("users").embeddings), rows)
    wider = kept_model(build_model(settings("mf", "softmax", width=10), ASSETS))
    assert len(take_rows(source, wider, {"items": both["items"]}).new) == 1


@pytest.mark.skipif(BACKEND == "jax", reason="this is the run on JAX")
def test_on_jax(again_on_jax: Callable[[str], None]) -> None:
    again_on_jax("(learns and not gru4rec) or gains or by_key or taken_over")  # each compiles for itself
