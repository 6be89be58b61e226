"""Learning from images without labels: what is hidden, what is learned, whose images, and that it goes on exactly."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipelines import registry, run
from pipelines.config import load_config
from pipelines.devices import steps as device_steps
from pipelines.engine import resume
from pipelines.errors import ConfigError, DataError, StateError
from pipelines.runs import Run
from pipelines.state import load_arrays
from pipelines.stream import example_keys
from tasks.image_classification import pretraining
from tasks.image_classification.config import Config
from tasks.image_classification.data import load_data, load_unlabelled
from tasks.image_classification.model import build_model
from tasks.image_classification.pretraining import encode, hide, reconstruction_loss
from tests.conftest import stopped_at

pytestmark = pytest.mark.usefixtures("unserved")

CLASSES = {"classes": ["a", "b"]}
SMALL = {
    **{"backbone": "mlp", "hidden": (8,), "limit": 60, "epochs": 2, "batch_size": 16, "baseline_iterations": 5},
    **{"pretrain_on": "sample", "pretrain_epochs": 3, "pretrain_rate": 0.01, "steps_per_execution": 1},
}


def small(folder: Path, **settings: Any) -> Any:
    return run("image-classification", **{**SMALL, "run_dir": str(folder), **settings})


def config_of(**settings: Any) -> Config:
    config = load_config("image-classification", options={"image_size": 28, "color": "grey", **settings}).config
    assert isinstance(config, Config)
    return config.model_copy(update={"augment": "none"} if config.augment == "auto" else {})


def keys(count: int, epoch: int = 0) -> tf.Tensor:
    return tf.constant(example_keys(0, epoch, np.arange(count)))


def images(count: int, side: int = 28, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, channels), np.uint8)


def save_pictures(folder: Path, count: int, side: int = 12, seed: int = 0) -> None:
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for place in range(count):
        pixels = random.integers(0, 256, (side, side, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{place:02}.png")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for seed, label in enumerate(("dark", "light")):
        save_pictures(tmp_path / "photos" / label, 12, seed=seed)
    return tmp_path / "photos"


@pytest.fixture
def heap(tmp_path: Path) -> Path:
    """Pictures at several depths, of no class."""
    save_pictures(tmp_path / "heap", 10, seed=7)
    save_pictures(tmp_path / "heap" / "more" / "deeper", 10, seed=8)
    return tmp_path / "heap"


# What is hidden


@pytest.mark.parametrize(("side", "patch"), [(28, 4), (12, 2), (30, 5), (96, 14)])
def test_whole_patches_are_hidden_and_the_same_share_of_each_image(side: int, patch: int) -> None:
    hidden = hide(keys(50), side, 0.6).numpy()
    across = -(-side // patch)
    corners = hidden[:, ::patch, ::patch]
    assert corners.shape[1:] == (across, across)
    assert set(corners.sum(axis=(1, 2))) == {round(0.6 * across**2)}
    np.testing.assert_array_equal(hidden, corners.repeat(patch, 1).repeat(patch, 2)[:, :side, :side])
    assert len(np.unique(hidden.reshape(50, -1), axis=0)) == 50


def test_every_patch_is_hidden_as_often_as_any_other() -> None:
    corners = hide(keys(4000), 28, 0.6).numpy()[:, ::4, ::4]
    assert np.abs(corners.mean(axis=0) - round(0.6 * 49) / 49).max() < 0.04


def test_what_is_hidden_depends_on_the_key_alone() -> None:
    hidden = hide(keys(20), 28, 0.6).numpy()
    np.testing.assert_array_equal(hide(keys(20)[5:9], 28, 0.6).numpy(), hidden[5:9])
    assert (hide(keys(20, epoch=1), 28, 0.6).numpy() != hidden).any(axis=(1, 2)).all()


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_never_nothing_and_never_all_is_hidden(share: float) -> None:
    count = hide(keys(5), 28, share).numpy()[:, ::4, ::4].sum(axis=(1, 2))
    assert set(count) == ({1} if share < 0.5 else {48})


def test_the_encoder_paints_what_is_hidden_grey_and_asks_for_it_alone() -> None:
    given = images(6)
    settings = {"mixup": 0.5, "erasing": 1.0, "rand_augment": 2, "class_weights": "balanced"}
    x, y, weight = encode(config_of(**settings), CLASSES)({"pixels": tf.constant(given)}, keys(6))
    hidden = hide(keys(6), 28, 0.6).numpy()
    np.testing.assert_array_equal(y, given)
    np.testing.assert_array_equal(x, np.where(hidden[..., None], 128, given))
    np.testing.assert_array_equal(weight, hidden.reshape(6, -1))


def test_the_loss_is_the_squared_error_of_hidden_pixels() -> None:
    y = images(2, 4, 3)
    outputs = np.random.default_rng(1).normal(size=y.shape).astype(np.float32)
    weight = np.zeros((2, 16), np.float32)
    weight[0, 3] = weight[1, 7] = 1
    built = build_model(config_of(), CLASSES)
    sums = device_steps.weighted_sums(replace(built, loss=reconstruction_loss, metrics={}), y, outputs, weight)
    errors = (y / 127.5 - 1 - outputs) ** 2
    np.testing.assert_allclose(sums, [errors[0, 0, 3].mean() + errors[1, 1, 3].mean(), 2], rtol=1e-5)


# The model


@pytest.mark.parametrize(
    ("backbone", "size", "places"),
    [("cnn", 28, 7), ("cnn", 50, 7), ("lenet", 28, 7), ("alexnet", 30, 4), ("mlp", 12, None), ("MobileNetV2", 33, 2)],
)
def test_every_kind_of_network_is_given_a_decoder(backbone: str, size: int, places: int | None) -> None:
    config = config_of(backbone=backbone, image_size=size, width=4, hidden="8", color="rgb")
    built = build_model(config, CLASSES)
    made = pretraining.build_model(built, config, CLASSES)
    assert made.model(images(2, size, 3)).shape == (2, size, size, 3)
    decoder = next(layer for layer in made.model.layers if layer.name == "decoder")
    assert decoder.input.shape[1:-1] == (() if places is None else (places, places))
    own = {id(v) for layer in made.model.layers if layer.name.startswith("decoder") for v in layer.weights}
    whole = {id(v) for v in built.model.weights}
    assert {id(v) for v in made.model.weights} - own <= whole
    assert "logits" not in {layer.name for layer in made.model.layers}


def test_a_place_of_the_map_is_decoded_to_where_it_stands() -> None:
    features = keras.Input((2, 2, 1))
    model = keras.Model(features, pretraining._unfold(features, 4, 1))
    kernel = np.ones((1, 1, 1, 4), np.float32)
    model.get_layer("decoder").set_weights([kernel, np.array([0, 0.1, 0.2, 0.3], np.float32)])
    found = np.asarray(model(np.array([[1, 2], [3, 4]], np.float32).reshape(1, 2, 2, 1)))[0, :, :, 0]
    expected = [[1, 1.1, 2, 2.1], [1.2, 1.3, 2.2, 2.3], [3, 3.1, 4, 4.1], [3.2, 3.3, 4.2, 4.3]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


# The images


def test_a_folder_is_read_however_deep(photos: Path, heap: Path) -> None:
    config = config_of(data=str(photos), pretrain_on=str(heap))
    store = load_unlabelled(config, load_data(config)).splits["train"]
    assert len(store) == 20
    assert store.ids(np.array([19]))[0].endswith("heap/more/deeper/09.png")


def test_of_a_folder_with_splits_the_training_split_alone(photos: Path, tmp_path: Path) -> None:
    for seed, name in enumerate(("train/x", "test/x"), 20):
        save_pictures(tmp_path / "given" / name, 5, seed=seed)
    config = config_of(data=str(photos), pretrain_on=str(tmp_path / "given"))
    store = load_unlabelled(config, load_data(config)).splits["train"]
    assert {Path(name).parent for name in store.ids(np.arange(len(store)))} == {tmp_path / "given" / "train" / "x"}


@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_other_sources_and_their_labels_do_not_matter(photos: Path, heap: Path, tmp_path: Path, kind: str) -> None:
    source = tmp_path / f"source.{kind}"
    if kind == "npz":
        np.savez(source, x_train=images(9, 12), y_train=np.zeros(9, int), x_test=images(3, 12), y_test=np.zeros(3, int))
    else:
        source.write_text("".join(["file\n", *(f"heap/{place:02}.png\n" for place in range(9))]))
    columns = {"columns": "image=file"} if kind == "csv" else {}
    config = config_of(data=str(photos), pretrain_on=str(source), **columns)
    data = load_data(config.model_copy(update={"columns": None}))
    assert len(load_unlabelled(config, data).splits["train"]) == 9


def test_images_of_validation_and_test_are_left_out() -> None:
    config = config_of(pretrain_on="sample")
    data = load_data(config)
    unlabelled = load_unlabelled(config, data)
    assert len(unlabelled.splits["train"]) == len(data.splits["train"])
    assert "360 more are left out, as they stand in the validation or test split" in unlabelled.protocol
    everything = np.concatenate([data.splits[name].fetch(np.arange(len(data.splits[name])))["pixels"]
                                 for name in ("valid", "test")])  # fmt: skip
    held = {one.tobytes() for one in everything}
    learned = unlabelled.splits["train"].fetch(np.arange(len(unlabelled.splits["train"])))["pixels"]
    assert not held & {one.tobytes() for one in learned}


def test_bad_images_obey_on_bad(photos: Path, heap: Path) -> None:
    (heap / "more" / "broken.png").write_bytes(b"no image")
    config = config_of(data=str(photos), pretrain_on=str(heap))
    data = load_data(config)
    with pytest.raises(DataError, match=r"(?s)pretrain_on: 1 of 21 examples cannot be used .*more/broken\.png"):
        load_unlabelled(config, data)
    skipping = load_unlabelled(config.model_copy(update={"on_bad": "skip"}), data)
    assert len(skipping.splits["train"]) == 20
    assert len(skipping.summary["skipped"]) == 1


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pretrain_on: '.*nowhere' does not exist"):
        small(tmp_path / "run", pretrain_on=str(tmp_path / "nowhere"))
    assert not (tmp_path / "run").exists()


def test_low_rank_updates_are_refused() -> None:
    with pytest.raises(ConfigError, match="lora_rank keeps the backbone's weights"):
        config_of(pretrain_on="sample", lora_rank=4)


def test_a_task_without_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = replace(registry.task("image-classification"), pretraining=None)
    monkeypatch.setattr(registry, "task", lambda name: task)
    with pytest.raises(ConfigError, match="pretrain_on: image-classification learns from labels alone so far"):
        small(tmp_path / "run")


# The run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "finished"
    small(folder)
    return folder


def same(one: Path, other: Path) -> bool:
    names = ("metrics.json", "predictions.jsonl", "model/model.keras")
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def stopped(folder: Path, place: int, **settings: Any) -> str:
    """A run that a signal stops at the n-th look for one; what it says."""
    with stopped_at(place) as found:
        small(folder, **settings)
    return str(found.value)


def test_the_loss_falls_and_is_recorded_apart_from_the_epochs(finished: Path) -> None:
    found = Run(finished)
    losses = [event["train"]["loss"] for event in found.events("pretraining")]
    assert [event["pretraining"] for event in found.events("pretraining")] == [1, 2, 3]
    assert losses[-1] < 0.9 * losses[0]
    assert [event["epoch"] for event in found.events("epoch")] == [1, 2]
    assert found.events("trained")[-1]["best_epoch"] in (1, 2)
    assert found.events("trained")[-1]["step"] == 8
    assert not list((finished / "state").glob("pretrain-*"))
    about = found.manifest()["pretraining"]
    assert about["data"]["counts"] == {"train": 60}
    assert len(about["fingerprint"]) == 32
    page = (finished / "report.html").read_text()
    assert "loss of the pretraining" in page
    assert "Before it, 3 epochs on 60 examples of sample without labels" in page
    assert "without labels: 60 examples of sample, 3 epochs" in (finished / "MODEL_CARD.md").read_text()


def test_training_begins_with_what_was_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines import training
    from pipelines.checkpoints import Checkpoints

    begun = []

    def begin(trainer: Any, spent: float) -> Any:
        begun.append({variable.path: np.array(variable) for variable in trainer.built.model.variables})
        return start(trainer, spent)

    start = training.start
    monkeypatch.setattr(training, "start", begin)
    monkeypatch.setattr(Checkpoints, "remove", lambda self: None)
    small(tmp_path / "run")
    before, after = begun
    kernel = next(name for name in before if name.endswith("hidden_1/kernel"))
    head = next(name for name in after if name.endswith("logits/kernel"))
    assert np.abs(after[kernel] - before[kernel]).max() > 0.01
    assert head not in before
    last, _, _ = load_arrays(sorted((tmp_path / "run" / "state").glob("pretrain-*"))[-1])
    assert any(np.array_equal(array, after[kernel]) for array in last.values())


@pytest.mark.parametrize("place", [2, 15, 17, 19])
def test_a_run_goes_on_exactly_from_anywhere(tmp_path: Path, finished: Path, place: int) -> None:
    said = stopped(tmp_path / "run", place, save_every="1 step")
    in_pretraining = not Run(tmp_path / "run").events("epoch") and "of the pretraining" in said
    assert in_pretraining == (place < 17), said
    resume(tmp_path / "run", {}, [])
    assert same(tmp_path / "run", finished)
    events = Run(tmp_path / "run").events("pretraining")
    assert [event["pretraining"] for event in events] == [1, 2, 3]


def test_features_of_a_frozen_backbone_are_those_that_were_learned(tmp_path: Path) -> None:
    settings = {"unfreeze": "none", "augment": "none", "save_every": "1 step"}
    small(tmp_path / "whole", **settings)
    said = stopped(tmp_path / "run", 18, **settings)
    assert "of the pretraining" not in said
    assert list((tmp_path / "run" / "state").glob("features-*-train-x.npy"))
    resume(tmp_path / "run", {}, [])
    assert same(tmp_path / "run", tmp_path / "whole")


def test_changed_images_are_refused_or_allowed(photos: Path, heap: Path, tmp_path: Path) -> None:
    settings = {"data": str(photos), "pretrain_on": str(heap), "image_size": 12, "limit": None, "batch_size": 4}
    stopped(tmp_path / "run", 4, **settings)
    shutil.copytree(tmp_path / "run", tmp_path / "later")
    Image.new("RGB", (12, 12)).save(heap / "more" / "deeper" / "03.png")
    (heap / "04.png").unlink()
    with pytest.raises(StateError, match=r"the data have changed since .*heap/04\.png is gone; .*deeper/03\.png has"):
        small(tmp_path / "run", **settings)
    small(tmp_path / "later", **settings, allow_changed_data=True)
    assert Run(tmp_path / "later").manifest()["pretraining"]["data"]["counts"] == {"train": 19}


def test_stop_step_and_a_budget_end_the_training_and_not_what_is_before(tmp_path: Path) -> None:
    small(tmp_path / "run", stop_step=2, max_minutes=1e-6)
    assert len(Run(tmp_path / "run").events("pretraining")) == 3
    assert Run(tmp_path / "run").events("trained")[-1]["step"] == 2
