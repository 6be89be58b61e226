"""EASE as the model of a run: solved, not trained, and kept, served and taken up again as any other."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.api import evaluate, predict
from pipelines.config import load_config
from pipelines.devices.steps import kept_model
from pipelines.engine import execute, resume
from pipelines.errors import ConfigError
from pipelines.runs import Run
from tasks.recommendation import data
from tasks.recommendation.config import Config
from tasks.recommendation.data.stores import interactions
from tasks.recommendation.implied import resolve
from tasks.recommendation.model import build_model
from tasks.recommendation.prediction import predictor

USERS, ITEMS = 60, 24


def table(path: Path) -> str:
    """Users of three tastes, each of whom takes seven of the eight items of theirs."""
    rng = np.random.default_rng(1)
    rows = ["user,item,time"]
    for user in range(USERS):
        items = 3 * rng.permutation(ITEMS // 3)[:7] + user % 3
        rows += [f"u{user},i{item},{1_600_000_000 + 1000 * place + user}" for place, item in enumerate(items)]
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def configured(source: str, **settings: Any) -> Config:
    options = {"data": source, "protocol": "leave-last-out", "backbone": "ease", "top_k": 3, **settings}
    config: Config = load_config("recommendation", options=options, typed=True).config
    return config


def run(folder: Path, source: str, **settings: Any) -> Run:
    execute("recommendation", configured(source, run_dir=str(folder), **settings), ["test"])
    return Run(folder)


def ridge(taken: np.ndarray, penalty: float) -> np.ndarray:
    """A regression for each item on all others: [items, items], from the row's item to the column's."""
    weights = np.zeros((ITEMS, ITEMS))
    for item in range(ITEMS):
        others = np.delete(np.arange(ITEMS), item)
        known = taken[:, others]
        left = known.T @ known + penalty * np.eye(ITEMS - 1)
        weights[others, item] = np.linalg.solve(left, known.T @ taken[:, item])
    return weights


def test_its_weights_are_those_of_a_regression_for_each_item_on_the_others(tmp_path: Path) -> None:
    config = configured(table(tmp_path / "taken.csv"), l2=7.0)
    found = data.load_data(config)
    config = resolve(config, found)
    assert (config.loss, config.l2) == ("squares", 7.0)
    built = build_model(config, found.assets)
    assert built.solve is not None
    built.solve(found)
    train = interactions(found.splits["train"])
    taken = np.zeros((USERS, ITEMS))
    taken[train["user"], train["item"]] = 1
    weights = ridge(taken, 7.0)
    network = kept_model(built)
    np.testing.assert_allclose(np.array(network.get_layer("items").embeddings), weights.T, atol=1e-5)
    raw = found.splits["test"].fetch(np.arange(USERS))
    records = list(predictor(network, config, found.assets, {})([(found.splits["test"].ids(np.arange(USERS)), raw)]))
    for row, record in enumerate(records):
        history = raw["history"][raw["history_splits"][row] : raw["history_splits"][row + 1]]
        scores = weights[history].sum(axis=0)
        scores[history] = -np.inf
        assert record.answer["scores"] == pytest.approx(np.sort(scores)[::-1][:3], abs=2e-4)
        asked = {"taken": np.isin(np.arange(ITEMS), history)[None].astype(np.float32), "item": record.output[None, :3]}
        np.testing.assert_allclose(np.asarray(network(asked))[0], scores[record.output[:3]], atol=1e-5)


def test_a_run_is_solved_scored_kept_and_reported(tmp_path: Path) -> None:
    done = run(tmp_path / "run", table(tmp_path / "taken.csv"))
    assert not done.events("epoch")
    assert done.last("trained")["status"] == done.ending() == "solved"
    settings = load_config("recommendation", file=done.settings).config
    assert settings.l2 in (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)  # chosen on validation
    metrics = done.read_json("metrics.json")
    assert metrics["scores"]["hr@3"]["value"] == 1.0  # two items of one's taste are left
    names = [one["name"] for one in (metrics["baseline"], *metrics["baselines"])]
    assert sorted(names) == ["item k-NN", "popularity"]  # EASE is no yardstick of itself
    assert "computed in closed form" in (done.path / "report.html").read_text(encoding="utf-8")
    assert done.read_json("export/parity.json")["saved_model"]["examples"] == USERS
    assert evaluate(done.path)["scores"] == metrics["scores"]
    (tmp_path / "asked.jsonl").write_text('{"items": ["i0", "i3", "new"]}\n{"user": "u1"}\n{"items": ["new"]}\n')
    known, own, nobody = predict(done.path, [str(tmp_path / "asked.jsonl")])
    assert [int(item[1:]) % 3 for item in known["items"]] == [0, 0, 0]
    assert known["unknown_items"] == ["new"]
    assert not {"i0", "i3"} & {*known["items"]}
    assert (own["items"][0], [one["known"] for one in (known, own, nobody)]) == (own["items"][0], [True, True, False])


def test_a_run_cut_short_behind_its_solution_goes_on(tmp_path: Path) -> None:
    source = table(tmp_path / "taken.csv")
    done = run(tmp_path / "run", source, l2=5.0)
    before, lines = done.read_json("metrics.json"), (done.path / "events.jsonl").read_text().splitlines()
    for stage in ("data", "train"):
        at = next(
            place
            for place, line in enumerate(lines)
            if json.loads(line) | {"name": stage, "status": "end"} == json.loads(line)
        )
        (done.path / "events.jsonl").write_text("\n".join(lines[: at + 1]) + "\n")
        manifest = done.manifest()
        manifest.pop("files")
        (done.path / "manifest.json").write_text(json.dumps(manifest))
        for name in ("metrics.json", "model/model.keras"):
            (done.path / name).unlink()
        resume(done.path, {}, ["test"])
        assert done.read_json("metrics.json") == before


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"l2": 0.0}, "l2 is 0, and ease has no solution without a penalty"),
        ({"loss": "bpr"}, "ease minimises squares and nothing else"),
        ({"backbone": "mf", "loss": "squares"}, "that of ease alone"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        run(tmp_path / "run", table(tmp_path / "taken.csv"), **settings)
    assert not (tmp_path / "run").exists()


def test_too_many_items_are_refused_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.recommendation.linear.MOST_ITEMS", ITEMS - 1)
    with pytest.raises(
        ConfigError, match=r"for 24 of them takes 0\.0 GB several times over: it takes 23 items at most"
    ):
        run(tmp_path / "run", table(tmp_path / "taken.csv"))


def test_it_starts_from_no_other_run(tmp_path: Path) -> None:
    source = table(tmp_path / "taken.csv")
    first = run(tmp_path / "first", source)
    with pytest.raises(ConfigError, match="ease is solved anew from the data"):
        run(tmp_path / "second", source, pretrained=str(first.path))
