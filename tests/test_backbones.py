"""The networks of keras.applications: their names, their preprocessing, that they build and train."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipelines import devices, transfer
from pipelines.config import load_config
from pipelines.devices.settings import StepSettings
from pipelines.errors import ConfigError
from pipelines.preparation import make_optimizer
from pipelines.task import Built
from tasks.image_classification.backbones import published, scaled
from tasks.image_classification.model import build_model
from tasks.image_classification.networks import NETWORKS

ASSETS = {"classes": ["ant", "bee", "wasp"]}
RNG = np.random.default_rng(0)
SMALLEST = {
    "VGG16": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "DenseNet121": 32,
    "InceptionV3": 75,
    "InceptionResNetV2": 75,
    "Xception": 71,
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "ConvNeXtTiny": 32,
    "NASNetMobile": 32,
}
"""The smallest of each family, at a size that it takes."""


def settings(**options: Any) -> Any:
    return load_config(
        "image-classification", options={"image_size": 32, "color": "rgb", "augment": "none", **options}
    ).config


def prepared(config: Any) -> Built:
    devices.start(config)
    built = build_model(config, ASSETS)
    transfer.prepare(built, config, ASSETS, print, load=False)
    transfer.unfreeze(built, config, config.unfreeze, print)
    return built


def one_step(config: Any, built: Built) -> float:
    """The loss of a step on random pixels, two rows of three classes."""
    size, channels = built.model.input_shape[1], built.model.input_shape[-1]
    optimizer = make_optimizer(config, built.model)
    steps = devices.start(config).steps(built, optimizer, StepSettings())
    pixels = RNG.integers(0, 256, (1, 2, size, size, channels), dtype=np.uint8)
    sums = steps.train((pixels, np.array([[0, 2]], np.int32), np.ones((1, 2), np.float32)), np.array([1e-3], "float32"))
    return float(sums[0] / sums[1])


@pytest.mark.parametrize(("written", "name"), [("mobilenetv2", "MobileNetV2"), ("CNN", "cnn"), ("vgg-16", "VGG16")])
def test_names_are_matched_whatever_their_case(written: str, name: str) -> None:
    assert settings(backbone=written).backbone == name


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"backbone ResNet51: .*no such network; did you mean ResNet50\?"):
        settings(backbone="ResNet51")


def test_a_size_below_the_networks_least_is_refused() -> None:
    with pytest.raises(ConfigError, match="image_size 64 is too small for backbone InceptionV3: 75 at least"):
        settings(backbone="inceptionv3", image_size=64)


def test_every_network_of_keras_is_known() -> None:
    functions = {name for name in dir(keras.applications) if name[0].isupper()}
    assert functions == set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_preprocessing_is_that_of_keras_applications(name: str) -> None:
    pixels = RNG.integers(0, 256, (2, 5, 5, 3), dtype=np.uint8)
    inputs = keras.Input((5, 5, 3), dtype="uint8")
    found = keras.Model(inputs, scaled(inputs, NETWORKS[name]))(pixels)
    module = sys.modules[getattr(keras.applications, name).__module__]
    expected = module.preprocess_input(pixels.astype(np.float32))
    assert NETWORKS[name].scaling != "own" or np.array_equal(expected, pixels)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_grey_images_are_seen_in_three_equal_channels() -> None:
    grey = RNG.integers(0, 256, (2, 5, 5, 1), dtype=np.uint8)
    for name in ("VGG16", "MobileNetV2"):
        inputs = [keras.Input((5, 5, channels), dtype="uint8") for channels in (1, 3)]
        one, three = (keras.Model(each, scaled(each, NETWORKS[name])) for each in inputs)
        np.testing.assert_array_equal(one(grey), three(np.repeat(grey, 3, axis=-1)))


@pytest.mark.parametrize("name", ["MobileNetV2", "MobileNetV3Small"])
def test_a_network_trains_and_is_saved_whole(name: str, tmp_path: Path) -> None:
    built, pixels = trained(name, 32)
    built.model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_allclose(again.predict_on_batch(pixels), built.model.predict_on_batch(pixels), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), SMALLEST.items())
def test_the_smallest_of_each_family_trains_and_loads_elsewhere(name: str, size: int, tmp_path: Path) -> None:
    built, pixels = trained(name, size)
    built.model.save(tmp_path / "model.keras")
    np.save(tmp_path / "pixels.npy", pixels)
    code = (
        "import keras, numpy as np; model = keras.saving.load_model('model.keras', compile=False, safe_mode=True); "
        "np.save('logits.npy', model(np.load('pixels.npy'), training=False))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), built.model(pixels, training=False), atol=1e-4)


def trained(name: str, size: int) -> tuple[Built, np.ndarray]:
    """A network after one step, and pixels to try it on."""
    config = settings(backbone=name, image_size=size)
    built = prepared(config)
    before = [np.array(v) for v in built.model.trainable_variables]
    assert np.isfinite(one_step(config, built))
    assert any(not np.array_equal(old, new) for old, new in zip(before, built.model.trainable_variables, strict=True))
    return built, RNG.integers(0, 256, (2, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["MobileNetV2", "VGG16", "ConvNeXtTiny"])
def test_the_file_that_keras_would_download_is_known(name: str) -> None:
    check_file(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"MobileNetV2", "VGG16", "ConvNeXtTiny"}))
def test_the_file_of_every_network_is_known(name: str) -> None:
    check_file(name)


def check_file(name: str) -> None:
    download = published(NETWORKS[name], 128)["imagenet"]()
    assert download.url.startswith("https://storage.googleapis.com/")
    assert download.name.endswith(".h5")
    assert download.digest is None or len(download.digest) in (32, 64)
    if name == "MobileNetV2":
        assert download.name == "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_128_no_top.h5"
