"""Learning from a teacher: the loss by hand, a teacher that stays as it is, what the student sees it sees."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from pipelines import devices, run
from pipelines.artefact import load_model
from pipelines.config import RunConfig
from pipelines.devices.settings import StepSettings
from pipelines.devices.steps import kept_model
from pipelines.engine import resume
from pipelines.errors import ConfigError, DataError, StateError
from pipelines.preparation import make_optimizer
from pipelines.runs import Run
from pipelines.task import Built, Metric
from pipelines.transfer.distillation import class_divergence, distilled, label_divergence, places_of
from tests.conftest import stopped_at

pytestmark = pytest.mark.usefixtures("unserved")

BACKEND = os.environ.get("SIXFOLD_TEST_BACKEND", "tensorflow")
"""test_on_jax runs this file again in a process with the other backend."""

RNG = np.random.default_rng(0)
X = RNG.normal(2, 3, size=(16, 3)).astype(np.float32)
Y = RNG.integers(0, 2, size=16).astype(np.int32)
SMALL = {"backbone": "mlp", "hidden": (8,), "epochs": 3, "batch_size": 16, "baseline_iterations": 5}


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


# ---- the loss --------------------------------------------------------------------------------------------------


def test_the_divergence_of_classes_is_kullback_and_leiblers() -> None:
    teacher, student = RNG.normal(size=(2, 5, 4)).astype(np.float32) * 3
    wanted, found = softmax(teacher / 2), softmax(student / 2)
    expected = (wanted * np.log(wanted / found)).sum(-1)
    np.testing.assert_allclose(class_divergence(teacher, student, 2.0), expected, rtol=1e-4, atol=1e-6)


def test_the_divergence_of_labels_is_that_of_each_one() -> None:
    teacher, student = RNG.normal(size=(2, 5, 4)).astype(np.float32) * 3
    wanted, found = 1 / (1 + np.exp(-teacher / 3)), 1 / (1 + np.exp(-student / 3))
    each = wanted * np.log(wanted / found) + (1 - wanted) * np.log((1 - wanted) / (1 - found))
    np.testing.assert_allclose(label_divergence(teacher, student, 3.0), each.mean(-1), rtol=1e-4, atol=1e-6)
    sure = np.array([[90.0, -90.0]], np.float32)
    assert np.isfinite(np.array(label_divergence(sure, -sure, 1.0))).all()


def network(name: str) -> keras.Model:
    """With all that is another in training: a norm, dropout."""
    keras.utils.set_random_seed(len(name))
    inputs = keras.Input((3,))
    x = keras.layers.Dense(8, activation="relu")(inputs)
    x = keras.layers.Dropout(0.5, seed=1)(keras.layers.BatchNormalization(momentum=0.5)(x))
    return keras.Model(inputs, keras.layers.Dense(2, name="logits")(x), name=name)


def taught(**settings: Any) -> tuple[Built, keras.Model, RunConfig, Any]:
    config = RunConfig(**{"optimizer": "adam", "learning_rate": 0.05, "backend": BACKEND, **settings})
    runtime = devices.start(config)

    def own(y: Any, logits: Any) -> Any:
        return keras.ops.sparse_categorical_crossentropy(y, logits, from_logits=True)

    def first(y: Any, logits: Any) -> Any:
        del y
        return logits[:, 0]

    teacher = network("guide")
    built = distilled(Built(network("student"), own, {"first": Metric(first)}), teacher, class_divergence, config)
    return built, teacher, config, runtime


def tensors() -> tuple[Any, ...]:
    import tensorflow as tf

    return tuple(tf.constant(part[None]) for part in (X, Y, np.ones(16, np.float32)))


def test_the_loss_weighs_truth_and_teacher_and_the_metrics_are_the_students() -> None:
    built, teacher, config, runtime = taught(teacher_temperature=4.0, teacher_weight=0.3)
    student = kept_model(built)
    sums = runtime.steps(built, make_optimizer(config, built.model), StepSettings()).evaluate(tensors())
    logits, wanted = (np.array(model(X, training=False)) for model in (student, teacher))
    own = -np.log(softmax(logits)[np.arange(16), Y]).sum()
    soft, found = softmax(wanted / 4), softmax(logits / 4)
    apart = (soft * np.log(soft / found)).sum()
    np.testing.assert_allclose(sums, [0.7 * own + 0.3 * 16 * apart, 16, logits[:, 0].sum()], rtol=1e-4)


def test_the_teacher_stays_as_it_is_and_answers_as_it_predicts() -> None:
    built, teacher, config, runtime = taught(teacher_weight=1.0, average=0.9, weight_decay=0.1)
    student = kept_model(built)
    before = [np.array(v) for v in teacher.variables]
    moving = [v for v in student.non_trainable_variables if "moving" in v.path]
    statistics = [np.array(v) for v in moving]
    answers = np.array(teacher(X, training=False))
    np.testing.assert_array_equal(np.array(built.model(X, training=True)[1]), answers)
    assert not np.array_equal(np.array(built.model(X, training=True)[0]), np.array(student(X, training=False)))
    assert [v.path for v in built.model.trainable_variables] == [v.path for v in student.trainable_variables]
    steps = runtime.steps(built, make_optimizer(config, built.model), StepSettings(average=config.average))
    first, *_, last = (float(steps.train(tensors(), np.array([0.05], np.float32))[0]) for _ in range(60))
    steps.release()
    for variable, value in zip(teacher.variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable), value)
    assert all(not np.array_equal(np.array(v), old) for v, old in zip(moving, statistics, strict=True))
    assert last < first / 2
    assert len(steps.weights()) == len(student.variables)


def test_outputs_are_matched_by_name() -> None:
    assert places_of(["a", "b", "c"], ["c", "a", "b"], "run") == [2, 0, 1]
    with pytest.raises(ConfigError, match=r"run answers other classes .*\(it lacks d and also has b\): choose a run"):
        places_of(["a", "b"], ["a", "d"], "run")


# ---- runs ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, random = tmp_path_factory.mktemp("data") / "photos", np.random.default_rng(0)
    for label, low in (("dark", 0), ("light", 128)):
        (folder / label).mkdir(parents=True)
        for i in range(30):
            pixels = random.integers(low, low + 128, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{i:02}.png")
    return folder


def small(folder: Path, photos: Path, **settings: Any) -> Any:
    options = {**SMALL, "data": str(photos), "run_dir": str(folder), "backend": BACKEND, **settings}
    return run("image-classification", **options)


@pytest.fixture(scope="module")
def teacher(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It sees smaller images, in grey."""
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    small(folder, photos, image_size=8, color="grey", hidden=(16,))
    return folder


def stopped(folder: Path, photos: Path, place: int, **settings: Any) -> None:
    with stopped_at(place):
        small(folder, photos, **settings)


@pytest.mark.skipif(BACKEND == "jax", reason="once is enough")
def test_a_run_with_a_teacher_goes_on_as_if_nothing_had_happened(photos: Path, teacher: Path, tmp_path: Path) -> None:
    settings = {"teacher": str(teacher), "backbone": "cnn", "width": 4, "dropout": 0.3}
    settings |= {"steps_per_execution": 1, "epochs": 2}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    small(whole, photos, **settings)
    stopped(parts, photos, 7, **settings)
    resume(parts, {}, [])
    assert [event["step"] for event in Run(parts).events("resume")] == [0, 4]
    for name in ("metrics.json", "predictions.jsonl"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
    model, again = (load_model(Run(folder))[0] for folder in (whole, parts))
    for one, two in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(np.array(one), np.array(two))
    assert not [layer.name for layer in model._flatten_layers() if "teacher" in layer.name]
    assert model.count_params() == Run(whole).manifest()["model"]["parameters"]
    assert (whole / "figures" / "grad_cam.png").exists()
    about = Run(whole).manifest()["teacher"]
    kept = json.loads((teacher / "metrics.json").read_text())
    assert about["source"] == str(teacher)
    assert list(about["files"].values()) == [Run(teacher).checksum("model/model.keras")]
    assert about["score"] == {"name": "accuracy", **kept["scores"]["accuracy"]}
    assert "Learned from the answers of" in (whole / "MODEL_CARD.md").read_text()


@pytest.mark.skipif(BACKEND == "jax", reason="once is enough")
def test_another_teacher_in_the_same_place_is_refused(photos: Path, teacher: Path, tmp_path: Path) -> None:
    copy = tmp_path / "teacher"
    shutil.copytree(teacher, copy)
    stopped(tmp_path / "run", photos, 6, teacher=str(copy))
    with (copy / "model" / "model.keras").open("ab") as file:
        file.write(b"more")
    with pytest.raises(DataError, match=r"teacher: .*model\.keras is not the file that the run wrote"):
        resume(tmp_path / "run", {}, [])
    Run(copy).update_manifest(files=Run(copy).checksums())
    with pytest.raises(StateError, match="is another than when this run began"):
        resume(tmp_path / "run", {}, [])


@pytest.mark.skipif(BACKEND == "jax", reason="once is enough")
def test_a_student_whose_backbone_is_frozen_learns_from_its_teacher(
    photos: Path, teacher: Path, tmp_path: Path
) -> None:
    settings = {"augment": "none", "image_size": 16, "color": "rgb", "jit": "on", "epochs": 1}
    small(tmp_path / "start", photos, **settings)
    settings |= {"pretrained": str(tmp_path / "start"), "unfreeze": "none"}
    small(tmp_path / "one", photos, **settings, teacher=str(teacher), teacher_weight=1.0)
    small(tmp_path / "two", photos, **settings)
    one, two = (Run(tmp_path / name).events("epoch")[-1]["train"]["loss"] for name in ("one", "two"))
    assert one != two


@pytest.mark.skipif(BACKEND == "jax", reason="once is enough")
def test_a_teacher_that_cannot_teach_is_refused(photos: Path, teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"teacher: there is no run .*nowhere: name the folder of a finished run of im"
    ):
        small(tmp_path / "run", photos, teacher=str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"teacher: the folder .*photos is no run \(it has no run.yaml\)"):
        small(tmp_path / "run", photos, teacher=str(photos))
    unfinished = tmp_path / "unfinished"
    shutil.copytree(teacher, unfinished)
    manifest = Run(unfinished).manifest()
    del manifest["files"]
    Run(unfinished).write_json("manifest.json", manifest)
    with pytest.raises(ConfigError, match=r"unfinished is unfinished: end it with sixfold resume"):
        small(tmp_path / "run", photos, teacher=str(unfinished))
    with pytest.raises(ConfigError, match=r"teacher: .* answers other classes .*lacks 0, 1, 2, 3, 4 and 5 more and al"):
        small(tmp_path / "run", photos, teacher=str(teacher), data="sample", limit=60)
    (tmp_path / "labels.csv").write_text(
        "image,label\n" + "".join(f"{file},{file.parent.name}\n" for file in sorted(photos.rglob("*.png")))
    )
    with pytest.raises(ConfigError, match="gives one label an image, and this run is to give several"):
        small(tmp_path / "more", photos, teacher=str(teacher), data=str(tmp_path / "labels.csv"), multi_label=True)


@pytest.mark.skipif(BACKEND == "jax", reason="once is enough")
def test_several_labels_are_taught(photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    files = sorted(photos.rglob("*.png"))
    table.write_text("image,label\n" + "".join(f"{file},{file.parent.name}|any\n" for file in files))
    settings = {"data": str(table), "multi_label": True, "epochs": 1}
    small(tmp_path / "teacher", photos, **settings)
    small(tmp_path / "student", photos, **settings, teacher=str(tmp_path / "teacher"))
    assert Run(tmp_path / "student").manifest()["teacher"]["score"]["name"] == "map"


@pytest.mark.skipif(BACKEND == "jax", reason="once is enough")
@pytest.mark.parametrize(("size", "channels"), [(32, 1), (32, 3), (48, 1), (20, 3)])
@pytest.mark.parametrize("given", [1, 3])
def test_the_teacher_sees_what_decoding_would_give_it(size: int, channels: int, given: int) -> None:
    from tasks.image_classification import encoding, teaching

    images = RNG.integers(0, 255, (4, 32, 32, given), dtype=np.uint8)
    inputs = keras.Input((32, 32, given), dtype="uint8")
    seen = teaching._as_seen(inputs, size, channels)
    found = np.array(seen if seen is inputs else keras.Model(inputs, seen)(images)) if seen is not inputs else images
    expected = encoding._pixels({"pixels": keras.ops.convert_to_tensor(images)}, size, channels)
    np.testing.assert_allclose(found.astype(int), np.array(expected).astype(int), atol=1)


@pytest.mark.skipif(BACKEND == "jax", reason="this is the run on JAX")
def test_on_jax(again_on_jax: Callable[[str], None]) -> None:
    again_on_jax("")
