"""Weights from elsewhere: files, downloads, other runs; what fits is taken over and the rest is named."""

import io
import json
import shutil
import urllib.error
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format
from PIL import Image

from pipelines import predict, run, transfer
from pipelines.api import Result
from pipelines.config import load_config
from pipelines.errors import ConfigError, DataError, SixfoldError
from pipelines.task import Built
from pipelines.transfer import files, kind_of
from pipelines.transfer.matching import align, take_over
from tasks.image_classification.backbones import build_network
from tasks.image_classification.model import build_model
from tasks.image_classification.networks import NETWORKS

pytestmark = pytest.mark.usefixtures("unserved")

ASSETS = {"classes": ["ant", "bee"]}
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of MobileNetV2's weights, all of them drawn at random."""
    network = build_network(NETWORKS["MobileNetV2"], 64)
    for variable in network.weights:
        variable.assign(RNG.uniform(0.5, 1.5, variable.shape))
    file = tmp_path_factory.mktemp("weights") / "mobilenet.weights.h5"
    network.save_weights(file)
    return file


def loaded(pretrained: Path | str, backbone: str = "MobileNetV2") -> tuple[Built, transfer.Origin]:
    options = {"pretrained": str(pretrained), "backbone": backbone, "image_size": 32, "color": "rgb"}
    config: Any = load_config("image-classification", options=options).config
    built = build_model(config, ASSETS)
    origin = transfer.prepare(built, config, ASSETS, lambda text: None, load=True)
    assert origin is not None
    return built, origin


# ---- files -----------------------------------------------------------------------------------------------------


def test_a_file_is_taken_over_whole_whatever_the_size(weights: Path) -> None:
    built, origin = loaded(weights)
    expected = build_network(NETWORKS["MobileNetV2"], 64)
    expected.load_weights(weights)
    assert built.network is not None
    for one, two in zip(built.network.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(one, two)
    assert len(origin.taken) == len(expected.weights)
    assert origin.new == ["logits/kernel", "logits/bias"]
    assert not origin.resized
    assert origin.files == {str(weights): transfer.sources.sha256(weights)}
    assert origin.sentence.endswith(f"{len(expected.weights)} variables taken over, 2 new (logits/kernel, logits/bias)")


def test_an_older_file_of_weights_is_read_as_arrays(tmp_path: Path) -> None:
    network = build_network(NETWORKS["MobileNetV2"], 32)
    with h5py.File(tmp_path / "old.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)
    built, _ = loaded(tmp_path / "old.h5")
    assert built.network is not None
    for one, two in zip(built.network.weights, network.weights, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_file_of_another_network_is_refused(weights: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not hold the weights of MobileNetV3Small .*with --backbone"):
        loaded(weights, "MobileNetV3Small")


@pytest.mark.parametrize("place", ["layers/conv2d/vars/0", "layers/batch_normalization_7"])
def test_a_file_that_lacks_a_part_is_refused(weights: Path, tmp_path: Path, place: str) -> None:
    shutil.copy(weights, tmp_path / "part.weights.h5")
    with h5py.File(tmp_path / "part.weights.h5", "a") as file:
        del file[place]
    with pytest.raises(ConfigError, match="does not hold the weights of MobileNetV2"):
        loaded(tmp_path / "part.weights.h5")


def test_a_file_with_weights_that_are_no_numbers_is_refused(weights: Path, tmp_path: Path) -> None:
    shutil.copy(weights, tmp_path / "nan.weights.h5")
    with h5py.File(tmp_path / "nan.weights.h5", "a") as file:
        file["layers/conv2d/vars/0"][0, 0, 0, 0] = np.nan
    with pytest.raises(ConfigError, match="nothing usable for Conv1/kernel"):
        loaded(tmp_path / "nan.weights.h5")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.weights.h5").write_bytes(b"<html>")
    with pytest.raises(DataError, match="no HDF5 file"):
        loaded(tmp_path / "a.weights.h5")


@pytest.mark.parametrize("part", ["layers", "layers/conv2d/vars/0"])
def test_a_file_that_is_damaged_inside_is_refused(weights: Path, tmp_path: Path, part: str) -> None:
    with h5py.File(weights) as file:
        header = h5py.h5o.get_info(file[part].id).addr
    damaged = bytearray(weights.read_bytes())
    damaged[header : header + 16] = b"\xff" * 16
    (tmp_path / "a.weights.h5").write_bytes(damaged)
    with pytest.raises(DataError, match=r"(cannot be read|is damaged) \(.*\): fetch it again"):
        loaded(tmp_path / "a.weights.h5")


def test_a_file_whose_names_are_damaged_is_refused(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "a.weights.h5").write_bytes(weights.read_bytes().replace(b"HEAP", b"PAEH"))
    with pytest.raises(DataError, match=r"cannot be read \(.*\): fetch it again"):
        loaded(tmp_path / "a.weights.h5")


@pytest.mark.parametrize(
    ("pretrained", "sentence"),
    [
        ("nowhere/a", "there is no file or folder nowhere/a"),
        ("a.weights.h5", r"there is no file or folder a\.weights\.h5"),
        (__file__, "is no file of weights"),
        (str(Path(__file__).parent), "neither a run"),
    ],
)
def test_what_holds_no_weights_is_refused(pretrained: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        kind_of(pretrained)


@pytest.mark.parametrize("pretrained", ["imagenet", "a.weights.h5"])
def test_weights_of_one_network_need_its_name(pretrained: str) -> None:
    with pytest.raises(ConfigError, match="not for backbone cnn: name the network with backbone"):
        load_config("image-classification", options={"pretrained": pretrained})


# ---- downloads -------------------------------------------------------------------------------------------------


def test_a_refused_download_says_how_to_do_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **settings: Any) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    url = rf"https://storage\.googleapis\.com/\S*/{name}"
    sentence = (
        rf"{name} cannot be downloaded \(no route to host\)\. Offline: fetch {url} .* put it into {tmp_path}/models"
    )
    with pytest.raises(DataError, match=sentence):
        loaded("imagenet")
    assert not list((tmp_path / "models").iterdir())


def test_a_download_is_kept_and_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_network(NETWORKS["MobileNetV2"], 32)
    with h5py.File(tmp_path / "published.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)
    content = (tmp_path / "published.h5").read_bytes()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", lambda *args, **settings: io.BytesIO(content))
    built, origin = loaded("imagenet")
    assert [Path(file).parent for file in origin.files] == [tmp_path / "models"]
    assert built.network is not None
    np.testing.assert_array_equal(built.network.weights[0], network.weights[0])
    monkeypatch.setattr("urllib.request.urlopen", None)  # the second time it is there
    loaded("imagenet")


def test_a_download_that_is_not_what_was_published_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", lambda *args, **settings: io.BytesIO(b"<html>"))
    with pytest.raises(DataError, match="is not the file that was published"):
        files.fetch(files.Download("a.h5", "https://example.org/a.h5", "0" * 32), print)
    assert not list((tmp_path / "models").iterdir())


# ---- other runs ------------------------------------------------------------------------------------------------


def photos(folder: Path, classes: list[str], size: int, mode: str = "RGB") -> Path:
    for place, label in enumerate(classes):
        (folder / label).mkdir(parents=True)
        for i in range(12):
            pixels = RNG.integers(40 * place, 40 * place + 40, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(folder / label / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on grey images of three classes."""
    folder = tmp_path_factory.mktemp("before")
    data = photos(folder / "data", ["ant", "bee", "wasp"], 12, "L")
    small(folder / "run", data=str(data), width=4, augment="none")
    return folder / "run"


def small(folder: Path, **settings: Any) -> Result:
    options = {"epochs": 1, "batch_size": 8, "baseline_iterations": 5, "run_dir": str(folder), **settings}
    return run("image-classification", **options)


def origin_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())["pretrained"]
    return found


def test_a_warm_start_with_other_classes_size_and_channels(
    before: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = photos(tmp_path / "data", ["bee", "hornet", "wasp", "fly"], 20)
    small(tmp_path / "run", data=str(data), pretrained=str(before), image_size=16, unfreeze="last:3")
    origin, settings = (
        origin_of(tmp_path / "run"),
        load_config("image-classification", file=tmp_path / "run" / "run.yaml"),
    )
    assert settings.config.model_dump()["width"] == 4
    assert origin["kind"] == "run"
    assert origin["resized"] == [
        "conv2d/kernel (1 channel to 3)".replace("conv2d", origin["resized"][0].partition("/")[0]),
        "logits/kernel (2 of 4 classes known)",
        "logits/bias (2 of 4 classes known)",
    ]
    assert origin["new"] == []
    assert list(origin["files"]) == [str(before / "model" / "model.keras")]
    assert "variables taken over, 3 resized (" in capsys.readouterr().err
    record = next(iter(predict(tmp_path / "run", [next((data / "fly").iterdir())])))
    assert record["label"] in ("bee", "hornet", "wasp", "fly")


def test_a_warm_start_with_equal_classes_begins_where_the_other_ended(before: Path, tmp_path: Path) -> None:
    data = str(before.parent / "data")
    small(tmp_path / "run", data=data, pretrained=str(before), augment="none", learning_rate=1e-9, weight_decay=0.0)
    origin = origin_of(tmp_path / "run")
    assert not origin["resized"]
    assert not origin["new"]
    old, new = (json.loads((folder / "metrics.json").read_text()) for folder in (before, tmp_path / "run"))
    # The norms' statistics are those that the other ended with, and stay so.
    assert old["scores"]["log_loss"]["value"] == pytest.approx(new["scores"]["log_loss"]["value"], rel=1e-3)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda run: (run / "model" / "model.keras").unlink(), "holds no model, as its run was cut short"),
        (lambda run: (run / "model" / "model.keras").write_bytes(b"PK"), "not the file that the run wrote"),
        (
            lambda run: (run / "manifest.json").write_text('{"task": "translation"}'),
            "is a run of translation: only one",
        ),
        (lambda run: (run / "manifest.json").unlink(), r"has no manifest\.json"),
        (lambda run: (run / "run.yaml").write_text("width: ["), r"^pretrained: .*run\.yaml is damaged"),
    ],
)
def test_a_run_that_cannot_be_taken_over(before: Path, tmp_path: Path, damage: Any, sentence: str) -> None:
    shutil.copytree(before, tmp_path / "copy")
    damage(tmp_path / "copy")
    with pytest.raises(SixfoldError, match=sentence) as caught:
        small(tmp_path / "run", data=str(before.parent / "data"), pretrained=str(tmp_path / "copy"))
    assert caught.value.exit_code in (2, 3)


def test_a_run_of_another_network_is_refused(before: Path, tmp_path: Path) -> None:
    data = str(before.parent / "data")
    with pytest.raises(ConfigError, match=r"backbone mlp and the run .*, of cnn, are two networks: leave backbone out"):
        small(tmp_path / "run", data=data, pretrained=str(before), backbone="mlp", hidden=(8,))
    with pytest.raises(ConfigError, match=r"width 8 and the run .*, which has width 4, are two networks: leave width"):
        small(tmp_path / "run", data=data, pretrained=str(before), width=8)  # some shapes would fit


def test_layers_that_are_new_are_not_kept_frozen(before: Path, tmp_path: Path) -> None:
    """Larger images bring cnn a further block."""
    options = {"data": str(before.parent / "data"), "pretrained": str(before), "image_size": 100}
    with pytest.raises(ConfigError, match=r"^unfreeze none would keep \d+ layers frozen that .* has nothing for, as "):
        small(tmp_path / "none", **options, unfreeze="none")
    with pytest.raises(ConfigError, match=r"^unfreeze last:1 would keep"):
        small(tmp_path / "last", **options, unfreeze="last:1")
    small(tmp_path / "run", **options, unfreeze="last:99", limit=8)
    assert any(name.startswith("conv2d") for name in origin_of(tmp_path / "run")["new"])


@pytest.mark.parametrize("setting", ["pretrained", "teacher"])
def test_a_run_does_not_learn_from_what_it_overwrites(before: Path, tmp_path: Path, setting: str) -> None:
    shutil.copytree(before, tmp_path / "run")
    kept = sorted((tmp_path / "run").rglob("*"))
    (tmp_path / "link").symlink_to("run")
    data = str(before.parent / "data")
    with pytest.raises(ConfigError, match=rf"{setting}: .*link is the folder of this run itself: choose another"):
        small(tmp_path / "run", data=data, overwrite=True, **{setting: str(tmp_path / "link")})
    assert sorted((tmp_path / "run").rglob("*")) == kept


def test_a_run_goes_on_without_its_source(before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.execution import Execution

    shutil.copytree(before, tmp_path / "source")
    settings = {"data": str(before.parent / "data"), "pretrained": str(tmp_path / "source")}
    with monkeypatch.context() as patched:
        patched.setattr(Execution, "score", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            small(tmp_path / "run", **settings)
    kept = origin_of(tmp_path / "run")
    shutil.rmtree(tmp_path / "source")
    small(tmp_path / "run", **settings)
    assert origin_of(tmp_path / "run") == kept


# ---- matching --------------------------------------------------------------------------------------------------


def chain(*layers: keras.layers.Layer, channels: int = 3) -> list[keras.layers.Layer]:
    keras.Sequential([keras.Input((16, 16, channels)), *layers])
    return list(layers)


def test_kernels_answer_grey_images_alike_with_one_channel_and_three() -> None:
    grey = RNG.uniform(size=(1, 16, 16, 1)).astype(np.float32)
    three, one = chain(keras.layers.Conv2D(4, 3)), chain(keras.layers.Conv2D(4, 3), channels=1)
    take_over(align(three, one))
    np.testing.assert_allclose(one[0](grey), three[0](np.repeat(grey, 3, -1)), rtol=1e-5, atol=1e-5)
    back = chain(keras.layers.Conv2D(4, 3))
    assert len(take_over(align(one, back)).resized) == 1
    np.testing.assert_allclose(back[0](np.repeat(grey, 3, -1)), one[0](grey), rtol=1e-5, atol=1e-5)


def test_layers_are_found_in_order_past_those_that_are_new() -> None:
    old = chain(keras.layers.Conv2D(4, 3), keras.layers.Conv2D(8, 3))
    new = chain(keras.layers.Conv2D(4, 3), keras.layers.Conv2D(4, 5), keras.layers.Conv2D(8, 3))
    pairs = list(align(old, new))
    assert [source for source, _ in pairs] == [old[0], None, old[1]]
    matched = take_over(pairs)
    assert [len(matched.taken), len(matched.new)] == [4, 2]
    np.testing.assert_array_equal(new[2].kernel, old[1].kernel)


class Positions(keras.layers.Layer):
    """A class token's position and those of a square grid."""

    def __init__(self, side: int) -> None:
        super().__init__(name=f"positions_{side}")
        self.table = self.add_weight(shape=(1, 1 + side**2, 2), name="position_embedding")
        self.built = True


def test_positions_of_a_grid_are_resized_and_the_class_token_stays() -> None:
    old, new = Positions(4), Positions(8)
    rows, columns = np.meshgrid(np.arange(4.0), np.arange(4.0), indexing="ij")
    grid = np.stack([rows, columns], -1).reshape(1, 16, 2)
    old.table.assign(np.concatenate([[[[9.0, 9.0]]], grid], 1))
    matched = take_over([(old, new)])
    assert matched.resized == ["positions_8/position_embedding (17 positions to 65)"]
    table = np.array(new.table)
    np.testing.assert_array_equal(table[0, 0], [9.0, 9.0])
    inner = table[0, 1:].reshape(8, 8, 2)[2:-2, 2:-2]
    np.testing.assert_allclose(inner[..., 0], ((np.arange(2, 6) + 0.5) / 2 - 0.5)[:, None].repeat(4, 1), atol=0.05)
    other = keras.layers.Layer()
    other.position = other.add_weight(shape=(1, 11, 2), name="position_embedding")
    assert take_over([(old, other)]).new == [other.position.path]
