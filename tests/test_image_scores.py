"""Image classification: answers, calibration, scores, the baseline on pixels, the pictures."""

import io
import sys
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import DataError
from pipelines.scoring import softmax
from pipelines.task import Data, Interval, Raw, Record
from tasks.image_classification import answers, baseline, figures, multilabel, scores
from tasks.image_classification.config import Config
from tasks.image_classification.model import build_model

CLASSES = ["ant", "bee", "<b>wasp</b>"]


class Pictures:
    """A store of arrays in memory."""

    sizes = groups = None

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def ids(self, indices: np.ndarray) -> list[str]:
        return [f"image {index}" for index in indices]

    def fetch(self, indices: np.ndarray) -> Raw:
        return {"pixels": self.images[indices], "label": self.labels[indices]}


@pytest.fixture(autouse=True)
def plain_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task's decoding and references without TensorFlow: arrays as they are."""

    def pixels(store: Any, batches: Iterable[np.ndarray], config: Config, size: int) -> Iterator[np.ndarray]:
        for indices in batches:
            images = store.fetch(indices)["pixels"]
            assert images.shape[1] == size
            yield images

    def varied(store: Any, indices: np.ndarray, config: Config, assets: Any) -> tuple[np.ndarray, np.ndarray]:
        raw = store.fetch(indices)
        return raw["pixels"], np.eye(len(assets["classes"]))[raw["label"]]

    fakes: dict[str, dict[str, Any]] = {
        "pixels": {"pixels": pixels, "varied": varied},
        "data": {"references": lambda store: {"label": store.labels}},
    }
    for name, functions in fakes.items():
        module = ModuleType(name)
        vars(module).update(functions)
        monkeypatch.setitem(sys.modules, f"tasks.image_classification.{name}", module)


def pictures(examples: int, classes: int = 3, seed: int = 0) -> Pictures:
    """Noise with a bright row whose place is the class."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, examples).astype(np.int32)
    images = random.integers(0, 120, (examples, 8, 8, 1)).astype(np.uint8)
    images[np.arange(examples), labels * 2] += 100
    return Pictures(images, labels)


def data(train: Pictures, classes: list[str]) -> Data:
    """Data with a train split alone."""
    return Data({"train": train}, {"classes": classes}, {}, "", "", {})


def records(logits: np.ndarray) -> list[Record]:
    """Records as the model's predictor gives them."""
    return [Record(f"image {index}", {}, row) for index, row in enumerate(logits.astype(np.float32))]


CONFIG = Config(image_size=8, color="grey", width=4)


def test_answer_names_the_best_classes_in_order() -> None:
    found = answers.answer(np.array([0.2, 0.7, 0.1]), CLASSES, 2)
    assert found["label"] == "bee"
    assert found["probability"] == 0.7
    assert [one["label"] for one in found["top_k"]] == ["bee", "ant"]
    assert len(answers.answer(np.array([0.5, 0.5]), CLASSES[:2], 5)["top_k"]) == 2


def test_a_row_of_csv_has_a_column_for_each_class() -> None:
    logits = np.log([0.2, 0.7, 0.1]).astype(np.float32)
    record = Record("a.png", answers.answer(np.array([0.2, 0.7, 0.1]), CLASSES, 2), logits)
    table = answers.table(Config(), {"classes": CLASSES})
    assert table.columns == ("label", "probability", *(f"probability_{name}" for name in CLASSES))
    (row,) = table.rows(record)
    assert list(row) == list(table.columns)
    assert (row["label"], row["probability"]) == (CLASSES[1], 0.7)
    np.testing.assert_allclose([row[f"probability_{name}"] for name in CLASSES], [0.2, 0.7, 0.1], rtol=1e-6)
    (cooler,) = answers.table(Config(), {"classes": CLASSES, "temperature": 2.0}).rows(record)
    np.testing.assert_allclose(cooler[f"probability_{CLASSES[1]}"], 0.7**0.5 / sum(p**0.5 for p in (0.2, 0.7, 0.1)))


def test_several_labels_stand_in_one_cell_as_in_tables_that_are_read() -> None:
    config, assets = Config(multi_label=True), {"classes": CLASSES}
    logits = np.array([2.0, 1.0, -1.0])
    shares = 1 / (1 + np.exp(-logits))
    record = Record("a.png", multilabel.answer(shares, CLASSES, [0.5] * 3, 2), logits)
    (row,) = answers.table(config, assets).rows(record)
    assert row["labels"] == f"{CLASSES[0]}|{CLASSES[1]}"
    np.testing.assert_allclose([row[f"probability_{name}"] for name in CLASSES], shares)


def test_calibrate_adds_the_temperature_that_score_uses() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(3000, 3))
    labels = (softmax(logits).cumsum(axis=1) < random.random((3000, 1))).sum(axis=1)
    overconfident = records(logits * 4)
    assets = scores.calibrate(CONFIG, {"classes": CLASSES}, overconfident, {"label": labels})
    assert assets["temperature"] == pytest.approx(4, rel=0.1)
    assert assets["classes"] == CLASSES
    found = scores.score(overconfident, {"label": labels}, CONFIG, assets)
    assert found.headline == "accuracy"
    assert found.scores["ece"].value < found.scores["ece_uncalibrated"].value / 4
    without = scores.score(overconfident, {"label": labels}, CONFIG, {"classes": CLASSES})
    assert without.scores["ece"] == without.scores["ece_uncalibrated"] == found.scores["ece_uncalibrated"]
    assert without.scores["accuracy"] == found.scores["accuracy"]


@pytest.mark.parametrize(
    ("found", "labels", "words"),
    [
        ([Record("a.jpg", {}, None, "cannot be decoded")], [0], "first a.jpg: cannot be decoded"),
        ([Record("a.jpg", {}, np.array([np.nan, 0, 0]))], [0], "not a finite number"),
        ([Record("a.jpg", {}, np.zeros(3))], [0, 1], "1 predictions for 2 images"),
        ([], [], "the split is empty"),
    ],
)
def test_what_cannot_be_scored_is_said(found: list[Record], labels: list[int], words: str) -> None:
    with pytest.raises(DataError, match=words):
        scores.score(found, {"label": np.array(labels, int)}, CONFIG, {"classes": CLASSES})


@pytest.mark.parametrize("classes", [2, 3])
def test_baseline_learns_and_goes_through_the_same_score(classes: int) -> None:
    fitted = baseline.baseline(CONFIG, data(pictures(300, classes), CLASSES[:classes]))
    test = pictures(100, classes, seed=1)
    batches = ((test.ids(part), {"pixels": test.images[part]}) for part in np.split(np.arange(100), [64]))
    answered = list(fitted.predictor(batches))
    assert [record.id for record in answered] == test.ids(np.arange(100))
    found = scores.score(answered, {"label": test.labels}, CONFIG, {"classes": CLASSES[:classes]})
    assert found.scores["accuracy"].value > 0.9
    first = answered[0]
    assert first.output is not None
    assert first.output.dtype == np.float32
    assert softmax(first.output).max() == pytest.approx(first.answer["probability"])
    assert "8x8" in fitted.note


def test_baseline_says_that_its_iterations_were_capped() -> None:
    config = CONFIG.model_copy(update={"baseline_iterations": 1})
    assert "stopped at 1 iterations" in baseline.baseline(config, data(pictures(200), CLASSES)).note


def test_baseline_says_how_many_images_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "_MOST_WORK", 64 * 3 * 150)
    monkeypatch.setattr(baseline, "_FEWEST", 1)
    train = data(pictures(400), CLASSES)
    assert "150 of 400 training images" in baseline.baseline(CONFIG, train).note


def test_baseline_survives_classes_without_a_training_image() -> None:
    fitted = baseline.baseline(CONFIG, data(pictures(200, 2), CLASSES))
    image = pictures(1)
    (found,) = fitted.predictor([(["x"], {"pixels": image.images})])
    assert found.output is not None
    assert found.output[2] == pytest.approx(np.log(1e-7))
    alone = baseline.baseline(CONFIG, data(pictures(20, 1), CLASSES))
    (found,) = alone.predictor([(["x"], {"pixels": image.images})])
    assert found.answer["label"] == "ant"
    assert found.answer["probability"] == pytest.approx(1)


def test_baseline_of_rgb_images_is_at_most_16_pixels_wide() -> None:
    sides = [baseline._Grid(Config(image_size=s, color=c)).note for s, c in ((224, "rgb"), (224, "grey"), (8, "rgb"))]
    assert sides == ["pixels at 16x16", "pixels at 28x28", "pixels at 8x8"]


@pytest.mark.parametrize("classes", [2, 3, 200])
def test_figures_are_pictures(classes: int) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, 150).astype(np.int32)
    store = Pictures(random.integers(0, 255, (150, 8, 8, 1)).astype(np.uint8), labels)
    logits = random.normal(size=(150, classes))
    logits[np.arange(150), labels] += 2
    names = [*CLASSES, "$x_1$ \\alpha", *(f"class {index}" for index in range(200))][:classes]
    assets = {"classes": names, "temperature": 1.5}
    found = figures.figures(
        records(logits), {"label": labels}, CONFIG, assets, store, build_model(CONFIG, assets).model
    )
    assert [figure.name for figure in found] == [
        "confusion_matrix",
        "reliability",
        "mistakes",
        "class_f1",
        "grad_cam",
        "variations",
    ]
    for figure in found:
        width, height = Image.open(io.BytesIO(figure.png)).size
        assert 300 < width < 4000
        assert 200 < height < 8000


def test_no_mistakes_no_picture_of_them() -> None:
    store = pictures(6)
    logits = np.eye(3)[store.labels] * 9
    assets = {"classes": CLASSES}
    model = build_model(CONFIG, assets).model
    found = figures.figures(records(logits), {"label": store.labels}, CONFIG, assets, store, model)
    assert "mistakes" not in [figure.name for figure in found]
    perfect = scores.score(records(logits), {"label": store.labels}, CONFIG, {"classes": CLASSES})
    assert perfect.scores["accuracy"] == Interval(1.0, 1.0, 1.0)
