"""Images of any number of labels: from a table to scores, predictions and the model card."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines import evaluate, predict, run
from pipelines.config import load_config
from pipelines.errors import ConfigError, DataError
from pipelines.labelled import cells, labels
from tasks.image_classification import data, multilabel
from tasks.image_classification.config import Config

pytestmark = pytest.mark.usefixtures("unserved")

COLOURS = {"red": 0, "green": 1, "blue": 2}


def draw(folder: Path, count: int = 160) -> list[list[str]]:
    """Noise with a bright patch in its own place for each label; the labels of each image."""
    random = np.random.default_rng(5)
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number in range(count):
        there = [name for name in COLOURS if random.random() < 0.4]
        pixels = random.integers(0, 90, (12, 12, 3))
        for name in there:
            pixels[4 * COLOURS[name] : 4 * COLOURS[name] + 4, 2:9, COLOURS[name]] += 150
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
        found.append(there)
    return found


def table(folder: Path, truth: list[list[str]], separator: str = "|") -> Path:
    path = folder / "labels.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "tags", "camera"])
        for number, names in enumerate(truth):
            writer.writerow([f"{number}.png", separator.join(names), "old" if number % 4 == 0 else "new"])
    return path


SETTINGS: dict[str, Any] = {
    **{"columns": {"label": "tags"}, "multi_label": True, "image_size": 12, "backbone": "mlp", "hidden": (32,)},
    **{"epochs": 14, "batch_size": 16, "augment": "none"},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(the table, the run folder)."""
    folder = tmp_path_factory.mktemp("multilabel")
    path = table(folder, draw(folder))
    run("image-classification", data=str(path), run_dir=str(folder / "run"), mixup=0.1, loss="focal", **SETTINGS)
    return path, folder / "run"


def test_a_run_learns_and_says_so(finished: tuple[Path, Path]) -> None:
    metrics = json.loads((finished[1] / "metrics.json").read_text())
    assert metrics["headline"] == "map"
    assert (
        set(metrics["scores"]) == {"map", "micro_f1", "macro_f1", "exact_match"} == set(metrics["baseline"]["scores"])
    )
    assert metrics["scores"]["map"]["value"] > 0.95
    assert metrics["scores"]["micro_f1"]["value"] > 0.9
    assert metrics["baseline"]["scores"]["micro_f1"]["value"] > 0.8
    assert "same rarest label" in metrics["protocol"]
    assert "threshold tuned on validation" in metrics["baseline"]["note"]
    thresholds = json.loads((finished[1] / "model" / "thresholds.json").read_text())
    rows = metrics["breakdowns"]["per_class"]
    assert list(rows) == ["blue", "green", "red"]
    assert [row["threshold"] for row in rows.values()] == thresholds


def test_report_and_card_speak_of_labels(finished: tuple[Path, Path]) -> None:
    report = (finished[1] / "report.html").read_text()
    assert "mAP" in report
    assert "(mAP " in report, "the sentence beside the baseline"
    assert "Average precision by class" in report
    assert "Confusion matrix" not in report
    assert "always names one" not in (finished[1] / "MODEL_CARD.md").read_text()


def test_predictions_list_the_labels_at_their_threshold(finished: tuple[Path, Path]) -> None:
    thresholds = dict(
        zip(
            json.loads((finished[1] / "model" / "classes.json").read_text()),
            json.loads((finished[1] / "model" / "thresholds.json").read_text()),
            strict=True,
        )
    )
    records = [json.loads(line) for line in (finished[1] / "predictions.jsonl").read_text().splitlines()]
    assert {len(record["target"]) for record in records} >= {0, 1, 2}
    right = 0
    for record in records:
        above = {one["label"] for one in record["top_k"] if one["probability"] >= thresholds[one["label"]]}
        assert {one["label"] for one in record["labels"]} == above
        right += above == set(record["target"])
    assert right / len(records) == pytest.approx(
        json.loads((finished[1] / "metrics.json").read_text())["scores"]["exact_match"]["value"]
    )
    (record,) = predict(finished[1], [finished[0].parent / "0.png"])
    assert set(record) == {"id", "labels", "top_k"}


def test_it_is_scored_again_on_its_own_and_on_other_data(finished: tuple[Path, Path], tmp_path: Path) -> None:
    assert evaluate(finished[1])["scores"] == json.loads((finished[1] / "metrics.json").read_text())["scores"]
    other = table(tmp_path, draw(tmp_path, 30))
    found = evaluate(finished[1], data=str(other))
    assert found["examples"] == 30
    assert found["scores"]["map"]["value"] > 0.9
    with pytest.raises(DataError, match="multi_label is for tables"):
        evaluate(finished[1], data=str(tmp_path))


def test_cells_hold_labels_as_text_or_lists() -> None:
    values = np.empty(8, object)
    values[:] = ["cat | dog", "dog", "", None, ["cat", 7, ""], [], "dog|dog", {"cat": 1}]
    found, names, wrong, twice = cells.label_sets(values, "|")
    assert names == ["cat", "dog", "7"]
    assert [[names[place] for place in np.flatnonzero(row)] for row in found] == [
        *(["cat", "dog"], ["dog"], [], [], ["cat", "7"], [], ["dog"], [])
    ]
    assert list(wrong) == [7]
    assert twice == [6]


def test_strata_go_by_the_rarest_label() -> None:
    several = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 1], [0, 0, 0], [1, 1, 0], [1, 0, 0]], bool)
    found = labels.strata(several)
    assert found[0] == found[4] != found[1] == found[5]
    assert len(np.unique(found)) == 4
    assert labels.strata(np.array([2, 0], np.int32)).tolist() == [2, 0]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_lists_of_labels_are_read_and_split_in_proportion(tmp_path: Path, suffix: str) -> None:
    truth = draw(tmp_path)
    rows = [{"image": f"{number}.png", "label": names} for number, names in enumerate(truth)]
    path = tmp_path / f"labels.{suffix}"
    if suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    loaded = data.load_data(Config(data=str(path), multi_label=True))
    assert loaded.assets["classes"] == ["blue", "green", "red"]
    shares = {split: data.references(store)["label"].mean(0) for split, store in loaded.splits.items()}
    whole = np.array([[name in names for name in loaded.assets["classes"]] for names in truth]).mean(0)
    for share in shares.values():
        np.testing.assert_allclose(share, whole, atol=0.2)
    assert loaded.summary["classes"]["train"].keys() == COLOURS.keys()
    found = {
        Path(name).stem: label.tolist()
        for store in loaded.splits.values()
        for name, label in zip(store.ids(np.arange(len(store))), data.references(store)["label"], strict=True)
    }
    assert found == {
        str(number): [name in names for name in loaded.assets["classes"]] for number, names in enumerate(truth)
    }


def test_the_check_names_unknown_and_repeated_labels(tmp_path: Path) -> None:
    truth = draw(tmp_path)
    path = table(tmp_path, [names * (2 if number < 9 else 1) for number, names in enumerate(truth)])
    other = tmp_path / "other.csv"
    other.write_text("image,tags\n0.png,red|purple\n1.png,\n2.png,green\n")
    config = Config(data=str(path), test=str(other), columns={"label": "tags"}, multi_label=True)
    report = data.check_data(config)
    assert [(problem.kind, problem.where.endswith("other.csv line 2)")) for problem in report.errors] == [
        ("unknown-label", True)
    ]
    assert "'purple'" in report.errors[0].message
    (repeated,) = [problem for problem in report.problems if problem.kind == "repeated-label"]
    assert f"{sum(map(bool, truth[:9]))} examples like this one have a label twice" in repeated.message


def test_what_several_labels_cannot_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="class_weights are for one label an image"):
        load_config("image-classification", options={"multi_label": True, "class_weights": "balanced"})
    with pytest.raises(DataError, match="multi_label is for tables, and sample is none"):
        data.load_data(Config(multi_label=True))
    draw(tmp_path, 20)
    path = table(tmp_path, [["red"] if number < 5 else [] for number in range(20)])
    with pytest.raises(DataError, match="no test image has a label"):
        data.load_data(Config(data=str(path), columns={"label": "tags"}, multi_label=True, split=(0.9, 0.05, 0.05)))


def test_a_table_without_a_label_is_refused(tmp_path: Path) -> None:
    draw(tmp_path, 8)
    path = table(tmp_path, [[]] * 8)
    with pytest.raises(DataError, match="holds no label to train on"):
        data.load_data(Config(data=str(path), columns={"label": "tags"}, multi_label=True))


def test_the_baseline_knows_constant_classes() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(50, 4)).astype(np.float32)
    truth = np.stack([features[:, 0] > 0, np.zeros(50, bool), np.ones(50, bool)], axis=1)
    model = multilabel.OneForEach(features.copy(), truth, 100)
    model.tune(features.copy(), truth)
    assert ((model.logits(features.copy()) >= 0) == truth).mean() > 0.95
