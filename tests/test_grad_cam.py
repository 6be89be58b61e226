"""Heat maps of what a model saw: where it is cut, what they are by hand, which examples are shown."""

import io
import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from pipelines import devices
from pipelines.config import load_config
from tasks.image_classification import figures as pictures
from tasks.image_classification import multilabel
from tasks.image_classification.grad_cam import Halves, figures, heat, split
from tasks.image_classification.model import build_model

BACKEND = os.environ.get("SIXFOLD_TEST_BACKEND", "tensorflow")
"""test_on_jax runs this file again in a process with the other backend."""
CLASSES = ["ant", "bee", "cat"]
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _backend() -> None:
    devices.import_backend(BACKEND)


def model_of(**settings: Any) -> tuple[keras.Model, Any]:
    options = {"image_size": 64, "color": "rgb", "backend": BACKEND, **settings}
    config: Any = load_config("image-classification", options=options).config
    keras.utils.set_random_seed(0)
    return build_model(config, {"classes": CLASSES}).model, config


def halves_of(model: keras.Model) -> Halves:
    halves = split(model)
    assert halves is not None
    return halves


def spotting() -> keras.Model:
    """Its first class is the sum of what is bright, its second of what is dark."""
    pixels = keras.Input((4, 4, 1), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(pixels)
    x = keras.layers.Conv2D(2, 1, name="spots")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(pixels, keras.layers.Dense(2, use_bias=False, name="logits")(x))
    model.get_layer("spots").set_weights([np.array([[[[1.0, -1.0]]]]), np.array([0.0, 1.0])])
    model.get_layer("logits").set_weights([np.eye(2)])
    return model


def test_the_map_is_the_one_by_hand() -> None:
    image = np.zeros((1, 4, 4, 1), np.uint8)
    image[0, 1, 2], image[0, 3, 0] = 255, 51
    pair, model = np.concatenate([image, image]), spotting()
    bright, dark = heat(halves_of(model), pair, np.array([0, 1]))
    np.testing.assert_allclose(bright, image[0, ..., 0] / 255, atol=1e-6)
    np.testing.assert_allclose(dark, 1 - image[0, ..., 0] / 255, atol=1e-6)


def test_where_nothing_speaks_for_a_class_the_map_is_empty() -> None:
    model = spotting()
    model.get_layer("logits").set_weights([-np.eye(2)])
    found = heat(halves_of(model), np.full((1, 4, 4, 1), 255, np.uint8), np.array([0]))
    np.testing.assert_array_equal(found, np.zeros((1, 4, 4)))


@pytest.mark.parametrize(
    ("backbone", "shape"),
    [("cnn", (8, 8, 128)), ("lenet", (16, 16, 16)), ("MobileNetV2", (2, 2, 1280))],
)
def test_a_model_is_cut_behind_its_last_places_and_both_halves_make_the_whole(
    backbone: str, shape: tuple[int, ...]
) -> None:
    if BACKEND == "jax" and backbone == "MobileNetV2":
        pytest.skip("XLA takes its time over it, and the cut is Keras' own on every backend")
    model, _ = model_of(backbone=backbone)
    images = RNG.integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)
    whole = devices.forward(model)(images)
    front, back = halves_of(model)
    assert front.output.shape[1:] == shape
    again = devices.forward(back)(devices.forward(front)(images))
    np.testing.assert_allclose(again, whole, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(devices.forward(model)(images), whole)


def test_networks_without_places_are_left_out() -> None:
    mlp, config = model_of(backbone="mlp")
    assert split(mlp) is None
    assert figures(mlp, [(0, 0, "ant")], config, None) == []  # type: ignore[arg-type]
    pixels = keras.Input((8, 8, 3))
    tokens = keras.layers.Reshape((16, 5))(keras.layers.Conv2D(5, 2, 2)(pixels))
    pooled = keras.layers.GlobalAveragePooling1D()(keras.layers.MultiHeadAttention(1, 4)(tokens, tokens))
    assert split(keras.Model(pixels, keras.layers.Dense(2)(pooled))) is None


class Pictures:
    """A store of pictures in memory."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def fetch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {"pixels": self.images[indices]}


@pytest.mark.skipif(BACKEND == "jax", reason="the bits of TensorFlow")
def test_the_picture_has_the_same_bits_every_time() -> None:
    model, config = model_of(width=4)
    store: Any = Pictures(RNG.integers(0, 255, (4, 64, 64, 3), dtype=np.uint8))
    examples = [(3, 0, "ant\nright, 90%"), (1, 2, "ant → cat\nwrong, 80%")]
    one, two = (figures(model, examples, config, store)[0] for _ in range(2))
    assert one.png == two.png
    assert one.name == "grad_cam"
    assert "Grad-CAM" in one.caption
    width, height = Image.open(io.BytesIO(one.png)).size
    assert (width, height) == (1160, 370)


def test_the_surest_right_answers_and_mistakes_are_chosen() -> None:
    labels = np.array([0, 1, 2, 0, 1])
    logits = np.array([[1, 0, 0], [0, 9, 0], [0, 0, 5], [0, 0, 3], [7, 0, 0]], np.float32)
    chosen = pictures._telling(logits, labels, {"classes": CLASSES}, 2)
    assert [(index, answer) for index, answer, _ in chosen] == [(1, 1), (2, 2), (4, 0), (3, 2)]
    assert [words.partition(",")[0] for *_, words in chosen] == [
        *("bee\nright", "cat\nright", "bee → ant\nwrong", "ant → cat\nwrong")
    ]


def test_of_several_labels_the_surest_ones_are_chosen() -> None:
    truth = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 0]], bool)
    logits = np.array([[2, -9, 4], [-3, -8, -1], [9, 6, -5]], np.float32)
    chosen = multilabel.telling(logits, truth, {"classes": CLASSES}, 2)
    assert [(index, label, words.partition(":")[0]) for index, label, words in chosen] == [
        *((2, 0, "found"), (0, 2, "found"), (1, 1, "missed"), (2, 1, "not"))
    ]


@pytest.mark.skipif(BACKEND == "jax", reason="this is the run on JAX")
def test_on_jax(again_on_jax: Callable[[str], None]) -> None:
    again_on_jax("")
