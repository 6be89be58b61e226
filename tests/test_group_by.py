"""Scores by group: for each value of a column, in metrics.json, the report, the model card and evaluate."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines import evaluate, run
from pipelines.cli.running import metrics_text
from pipelines.errors import DataError
from pipelines.scoring import by_group
from pipelines.task import Interval, Scores
from tasks.image_classification import data
from tasks.image_classification.config import Config

pytestmark = pytest.mark.usefixtures("unserved")


def photos(folder: Path, count: int = 240) -> Path:
    """Dark and light images; every third is from a broken camera, whose images say nothing; four have no camera."""
    random = np.random.default_rng(1)
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["image,label,camera"]
    for number in range(count):
        label = "dark" if number % 2 else "light"
        broken = number % 3 == 0
        low = 60 if broken else (0 if label == "dark" else 120)
        Image.fromarray(random.integers(low, low + 130, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        camera = "" if number < 4 else "<b>broken|" if broken else "good"
        lines.append(f"{number}.png,{label},{camera}")
    path = folder / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("groups")
    path = photos(folder)
    settings: dict[str, Any] = {"split": (0.4, 0.1, 0.5), "epochs": 8, "batch_size": 16, "image_size": 8}
    run(
        "image-classification",
        **{"data": str(path), "group_by": "camera", "run_dir": str(folder / "run"), "backbone": "mlp", **settings},
    )
    return path, folder / "run"


def test_metrics_hold_each_group_and_the_gap(finished: tuple[Path, Path]) -> None:
    metrics = json.loads((finished[1] / "metrics.json").read_text())
    found = metrics["breakdowns"]["by_group"]
    records = [json.loads(line) for line in (finished[1] / "predictions.jsonl").read_text().splitlines()]
    cameras = dict(line.split(",")[::2] for line in finished[0].read_text().splitlines()[1:])
    assert (found["column"], found["score"]) == ("camera", "accuracy")
    assert sum(group["examples"] for group in found["groups"].values()) == metrics["examples"]
    for name, group in found["groups"].items():
        right = [record["label"] == record["target"] for record in records if cameras[Path(record["id"]).name] == name]
        assert group["examples"] == len(right)
        assert group["small"] == (len(right) < 20)
        assert group["scores"]["accuracy"]["value"] == pytest.approx(np.mean(right))
    gap = found["gap"]
    assert (gap["best"], gap["worst"]) == ("good", "<b>broken|")
    assert gap["difference"] > 0.2
    assert "do not overlap" in gap["sentence"]


def test_report_and_card_name_the_gap(finished: tuple[Path, Path]) -> None:
    report, card = ((finished[1] / name).read_text() for name in ("report.html", "MODEL_CARD.md"))
    assert "<h3>By camera</h3>" in report
    assert "&lt;b&gt;broken|" in report
    gap = json.loads((finished[1] / "metrics.json").read_text())["breakdowns"]["by_group"]["gap"]
    assert "The largest gap in accuracy" in report
    figures = f"The largest gap in accuracy is {gap['difference']:.4f}: "
    (sentence,) = (line for line in card.replace("\\", "").splitlines() if figures in line)
    assert "where camera is good and" in sentence
    assert "where camera is &lt;b>broken|" in sentence
    rows = [line for line in card.splitlines() if line.startswith(("| &lt;b\\>broken\\|", "| good"))]
    assert len(rows) == 2
    assert rows[0].startswith("| &lt;b")
    assert {line.replace("\\|", "").count("|") for line in rows} == {7}


def test_evaluate_tells_apart_what_is_asked_for(finished: tuple[Path, Path], tmp_path: Path) -> None:
    kept = json.loads((finished[1] / "metrics.json").read_text())
    own = evaluate(finished[1], group_by="label")
    assert own["scores"] == kept["scores"]
    assert set(own["breakdowns"]["by_group"]["groups"]) == {"dark", "light"}
    other = photos(tmp_path, 90)
    assert "by_group" not in evaluate(finished[1], data=str(other))["breakdowns"]
    text = metrics_text(evaluate(finished[1], data=str(other), group_by="camera"))
    assert "camera" in text
    assert "The largest gap in accuracy" in text


def test_evaluate_says_how_much_of_other_data_was_learned_from(finished: tuple[Path, Path], tmp_path: Path) -> None:
    assert "stand in the run's" not in evaluate(finished[1])["protocol"]
    counts = json.loads((finished[1] / "manifest.json").read_text())["data"]["counts"]
    found = evaluate(finished[1], data=str(finished[0]))
    assert (
        f"{counts['train'] + counts['valid']} of them stand in the run's training or validation split"
        in found["protocol"]
    )
    Image.fromarray(np.full((8, 8, 3), 7, np.uint8)).save(tmp_path / "new.png")
    (tmp_path / "new.csv").write_text("image,label\nnew.png,dark\n")
    assert "stand in the run's" not in evaluate(finished[1], data=str(tmp_path / "new.csv"))["protocol"]


def test_columns_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    path = photos(tmp_path / "a", 30)
    with pytest.raises(DataError, match="no column 'kamera' .for group_by.: did you mean 'camera'"):
        data.load_data(Config(data=str(path), group_by="kamera"))
    with pytest.raises(DataError, match="group_by is for tables"):
        data.load_data(Config(group_by="camera"))
    many = photos(tmp_path / "b", 120)
    with pytest.raises(DataError, match="120 values in 'image'.*at most 100"):
        data.load_data(Config(data=str(many), group_by="image"))


def test_splits_do_not_depend_on_it(tmp_path: Path) -> None:
    path = photos(tmp_path, 60)
    one, other = (data.load_data(Config(data=str(path), group_by=column)) for column in (None, "camera"))
    assert one.fingerprint == other.fingerprint
    assert "group_by" not in data.references(one.splits["test"])
    assert len(data.references(other.splits["test"])["group_by"]) == len(other.splits["test"])


def test_a_gap_needs_two_groups_of_some_size() -> None:
    values = np.array(["a"] * 30 + ["b"] * 19 + ["c"] * 20, object)

    def score(rows: np.ndarray) -> Scores:
        value = {"a": 0.2, "b": 9.0, "c": 0.5}[values[rows[0]]]
        return Scores("log_loss", {"log_loss": Interval(value, value - 0.1, value + 0.35)})

    found = by_group(values, "kind", score)
    assert list(found["groups"]) == ["a", "c", "b"]
    assert [group["small"] for group in found["groups"].values()] == [False, False, True]
    assert (found["gap"]["best"], found["gap"]["worst"]) == ("a", "c")  # of a loss the least is the best
    assert "overlap, so the gap may be chance" in found["gap"]["sentence"]
    assert by_group(values[:49], "kind", score)["gap"] is None
