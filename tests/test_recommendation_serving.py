"""The SavedModel of recommendation lists what predict lists, in a process that knows TensorFlow alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pipelines import devices
from pipelines.api import predict
from pipelines.config import load_config
from pipelines.devices.steps import kept_model
from pipelines.engine import execute
from pipelines.errors import RunError
from pipelines.runs import Run
from pipelines.saved_model import check_served, save_served
from pipelines.task import Record
from tasks.recommendation import answers, data
from tasks.recommendation.config import Config
from tasks.recommendation.implied import resolve
from tasks.recommendation.model import build_model
from tasks.recommendation.prediction import predictor
from tasks.recommendation.ranking import ranked, tie_breakers
from tasks.recommendation.ranking_graph import ranked as ranked_in_a_graph
from tasks.recommendation.served import list_gap
from tasks.recommendation.serving import serving
from tests.conftest import served

USERS, ITEMS = 40, 60


def texts(*rows: Any) -> np.ndarray:
    """Object [...], of bytes."""
    found = np.empty(np.shape(rows), object)
    found.flat = [name.encode() for name in np.ravel(rows)]
    return found


def named(items: np.ndarray) -> list[list[str]]:
    return [[name.decode() for name in row] for row in items]


def table(path: Path) -> Path:
    """Users, some with names of other scripts, and items of few different popularities."""
    rng = np.random.default_rng(0)
    rows = ["user,item,rating,time"]
    for user in range(USERS):
        for place, item in enumerate(rng.choice(ITEMS, rng.integers(3, 9), replace=False)):
            rows.append(f"u{user}ł,i{item},{rng.integers(1, 6)},{1_600_000_000 + 1000 * place + user}")
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def kept(source: Path, **settings: Any) -> tuple[Any, Config, Any]:
    """An untrained model of the data, its config and assets; some of its items are all alike."""
    config = Config(data=str(source), protocol="leave-last-out", width=8, max_history=6, top_k=9, **settings)
    devices.start(config)
    found = data.load_data(config)
    config = resolve(config, found)
    model = kept_model(build_model(config, found.assets))
    rows = np.array(model.get_layer("items").embeddings)
    if not rows.any():  # ease, which is to be solved
        rows = np.random.default_rng(0).normal(size=rows.shape)
    rows[20:40] = rows[20]
    model.get_layer("items").embeddings.assign(rows)
    return model, config, found.assets


HISTORIES: list[dict[str, Any]] = [
    {"user": "u3ł", "items": ["i1", "never", "i2", "i1", "i50"]},
    {"items": ["i7", "i8", "i9", "i10", "i11", "i12", "i13", "i14"]},
    {"user": "nobody", "items": ["i2"]},
    {"items": ["i3", "i4", "i3"]},
    {"user": "u4ł"},
    {"items": ["never"]},
]


@pytest.mark.parametrize(
    "backbones", [("mf", "sasrec", "neumf", "ease"), pytest.param(("gru4rec", "two-tower"), marks=pytest.mark.slow)]
)
def test_lists_are_those_of_predict(backbones: tuple[str, ...], tmp_path: Path) -> None:
    source, users = table(tmp_path / "taken.csv"), [*(f"u{user}ł" for user in range(USERS)), "nobody", "who"]
    (tmp_path / "ids.txt").write_text("\n".join(users), encoding="utf-8")
    lines = "\n".join(json.dumps(one) for one in HISTORIES)
    (tmp_path / "histories.jsonl").write_text(lines, encoding="utf-8")
    width = max(len(one.get("items", [])) for one in HISTORIES)
    padded = [[*one.get("items", []), *[""] * width][:width] for one in HISTORIES]
    owners = [one.get("user", "") for one in HISTORIES]
    asked: dict[str, Any] = {}
    wanted: dict[str, list[Record]] = {}
    for backbone in backbones:
        model, config, assets = kept(source, backbone=backbone)
        place = str(save_served(tmp_path / backbone, serving(model, config, assets)))
        asked[place] = [
            ("serving_default", {"user": texts(*users), "k": np.int32(9)}),
            ("with_history", {"user": texts(*owners), "history": texts(*padded), "k": np.int32(9)}),
            ("serving_default", {"user": texts(*users[:2]), "k": np.int32(10 * ITEMS)}),
        ]
        paths = [str(tmp_path / name) for name in ("ids.txt", "histories.jsonl")]
        wanted[place] = list(predictor(model, config, assets, {})(data.inputs(paths, config, assets)))
    for place, found in served(asked, tmp_path).items():
        lists = [(row, one) for one in found[:2] for row in range(len(one["items"]))]
        assert len(lists) == len(wanted[place])
        for (row, one), record in zip(lists, wanted[place], strict=True):
            assert named(one["items"])[row] == record.answer["items"], (place, record.id)
            assert one["known"][row] == record.answer["known"]
            np.testing.assert_allclose(one["scores"][row], record.answer["scores"], atol=1e-4)
        longest = named(found[2]["items"])[0]
        assert longest[:9] == named(found[0]["items"])[0]
        assert len(longest) == len(set(longest)) + longest.count("") - 1 == len(assets["items"])
        assert found[2]["scores"][0][-1] == -np.inf
        about = json.loads(Path(place).with_name("serving.json").read_text())
        assert about["input"]["types"] == {"user": "string", "k": "int32"}
        assert about["signatures"]["with_history"]["outputs"]["items"] == {"shape": [None, None], "type": "string"}


@pytest.mark.parametrize("backbone", ["mf", "neumf"])
def test_ratings_are_those_of_predict(backbone: str, tmp_path: Path) -> None:
    source = table(tmp_path / "taken.csv")
    model, config, assets = kept(source, backbone=backbone, loss="mse")
    place = save_served(tmp_path, serving(model, config, assets))
    pairs = [("u1ł", "i2"), ("u39ł", "i59"), ("nobody", "i2"), ("u1ł", "never"), ("nobody", "never")]
    (tmp_path / "pairs.csv").write_text("user,item\n" + "\n".join(map(",".join, pairs)), encoding="utf-8")
    batches = data.inputs([str(tmp_path / "pairs.csv")], config, assets)
    records = list(predictor(model, config, assets, {})(batches))
    wanted = [record.output[0] for record in records if record.output is not None]
    inputs = {name: texts(*[pair[side] for pair in pairs]) for side, name in enumerate(("user", "item"))}
    found = served({str(place): [("serving_default", inputs)]}, tmp_path)[str(place)][0]
    np.testing.assert_allclose(found["rating"], wanted, atol=1e-5)
    assert found["known"].tolist() == [record.answer["known"] for record in records] == [True, True, False, True, False]
    items = [record.answer["known_item"] for record in records]
    assert found["known_item"].tolist() == items == [True, True, True, False, False]
    rows = list(answers.table(config, assets).rows(records[3]))
    assert rows == [{"rating": records[3].answer["rating"], "known": "yes", "known_item": "no"}]


def test_a_run_leaves_one_that_it_has_tried(tmp_path: Path) -> None:
    source = table(tmp_path / "taken.csv")
    options = {"data": str(source), "backbone": "sasrec", "protocol": "leave-last-out", "epochs": 1, "width": 8}
    config = load_config("recommendation", options=options).config.model_copy(update={"run_dir": str(tmp_path / "run")})
    execute("recommendation", config, ["test"])
    parity = json.loads((tmp_path / "run" / "export" / "parity.json").read_text())["saved_model"]
    assert parity["examples"] == USERS
    assert parity["largest_difference"] < 1e-4
    files = Run(tmp_path / "run").manifest()["files"]
    assert {"export/serving.json", "export/saved_model/saved_model.pb"} <= files.keys()
    (tmp_path / "ids.txt").write_text("u0ł\nu1ł\nwho\n", encoding="utf-8")
    wanted = list(predict(tmp_path / "run", [str(tmp_path / "ids.txt")]))
    place = str(tmp_path / "run" / "export" / "saved_model")
    given = {"user": texts("u0ł", "u1ł", "who"), "k": np.int32(10)}
    found = served({place: [("serving_default", given)]}, tmp_path)[place][0]
    assert named(found["items"]) == [record["items"] for record in wanted]
    assert found["known"].tolist() == [record["known"] for record in wanted] == [True, True, False]


def test_an_answer_that_differs_is_refused(tmp_path: Path) -> None:
    model, config, assets = kept(table(tmp_path / "taken.csv"), backbone="mf")
    made = serving(model, config, assets)
    place = save_served(tmp_path, made)
    store = data.load_data(config).splits["test"]
    rows = np.arange(5)
    assert made.fetch is not None
    give = predictor(model, config, assets, {})
    records = list(give([(store.ids(rows), made.fetch(store, rows))]))
    inputs = made.inputs(store, rows)
    assert check_served(place, inputs, records, "items", "float32", made.gap)["examples"] == 5
    kinds = model.get_layer("items")
    kinds.embeddings.assign(np.array(kinds.embeddings)[::-1])
    others = list(predictor(model, config, assets, {})([(store.ids(rows), made.fetch(store, rows))]))
    with pytest.raises(RunError, match="its items differ"):
        check_served(place, inputs, [*records[:3], others[3], records[4]], "items", "float32", made.gap)


def test_only_what_scores_alike_may_change_places() -> None:
    answer = {"items": ["x", "y", "z"], "scores": [3.0, 2.0, 2.0], "known": True}  # rounded, as they are shown
    record = Record("a", answer, beside=np.array([3.0, 2.0, 1.99999]))

    def gap(names: list[bytes], scores: list[float], *, known: bool = True) -> float:
        found = {"items": np.array([names]), "scores": np.array([scores]), "known": np.array([known])}
        return float(list_gap(found, [record])[0])

    assert gap([b"x", b"y", b"z"], [3.0, 2.0, 1.99999]) == 0
    assert gap([b"x", b"z", b"y"], [3.0, 2.0, 1.99999]) < 1e-4  # near equals
    assert gap([b"x", b"y", b"w"], [3.0, 2.0, 1.99999]) < 1e-4  # w at the end in place of its near equal z
    assert gap([b"y", b"x", b"z"], [3.0, 2.0, 1.99999]) > 0.1
    assert gap([b"w", b"x", b"y"], [3.5, 3.0, 2.0]) > 0.1
    assert gap([b"x", b"y", b""], [3.0, 2.0, -np.inf]) == np.inf
    assert gap([b"x", b"y", b"z"], [3.0, 2.0, 1.99999], known=False) == np.inf


def test_the_graph_orders_as_numpy_does() -> None:
    """Scores of a few values each, some no numbers, of either sign, and users below 0."""
    rng = np.random.default_rng(3)
    users = np.arange(-1, 99, dtype=np.int32)
    scores = rng.integers(-3, rng.integers(-2, 40, size=(100, 1)), size=(100, 80)).astype(np.float32) / 7
    scores[::7] *= -0.0
    scores[rng.random(scores.shape) < 0.05] = np.nan
    scores[rng.random(scores.shape) < 0.05] = -np.inf
    taken = [rng.choice(80, rng.integers(0, 80), replace=False).astype(np.int32) for _ in users]
    excluded = tf.ragged.constant([row.tolist() for row in taken], tf.int32)
    splits = np.cumsum([0, *map(len, taken)])
    compiled = tf.function(ranked_in_a_graph)
    for k in (1, 10, 79, 80):
        wanted = ranked(scores, users, k, (np.concatenate(taken), splits))
        found = compiled(tf.constant(scores), tf.constant(users), tf.constant(k), excluded)
        np.testing.assert_array_equal(found[0], wanted[0])
        np.testing.assert_array_equal(found[1], wanted[1])
    assert len(np.unique(tie_breakers(users, 80))) > 7990
