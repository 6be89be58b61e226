"""From bytes to pixels: formats, orientation, resizing, colour, augmentation by key."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from pipelines.stream import example_keys
from tasks.image_classification.augmentation import flip, shift
from tasks.image_classification.config import Config
from tasks.image_classification.encoding import encode, orientation

GRADIENT = np.stack(
    [
        np.tile(np.arange(0, 240, 6, dtype=np.uint8), (24, 1)),
        np.full((24, 40), 90, np.uint8),
        np.tile(np.arange(0, 240, 10, dtype=np.uint8)[:, None], (1, 40)),
    ],
    -1,
)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def pixels_of(content: bytes, size: int = 24, color: str = "rgb") -> np.ndarray:
    config = Config(image_size=size, color=color, augment="none")
    raw = {"bytes": tf.constant([content])}
    x, y, weight = encode(config, {"classes": ["a"]}, False)(raw, tf.zeros([1], tf.int64))
    assert y is None
    assert weight.numpy().tolist() == [1.0]
    found: np.ndarray = x.numpy()[0]
    return found


def middle(image: Image.Image) -> np.ndarray:
    """The central square, as Pillow cuts it; the image's shorter side is already its size."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return np.asarray(image.convert("RGB").crop((left, top, left + side, top + side)))


@pytest.mark.parametrize("format", ["PNG", "BMP", "WEBP"])
def test_lossless_formats_come_out_as_they_are(format: str) -> None:
    image = Image.fromarray(GRADIENT)
    options = {"lossless": True} if format == "WEBP" else {}
    np.testing.assert_array_equal(pixels_of(encoded(image, format, **options)), middle(image))


@pytest.mark.parametrize("way", range(1, 9))
@pytest.mark.parametrize("order", ["II", "MM"])
def test_photos_are_turned_as_their_exif_says(way: int, order: str) -> None:
    image = Image.fromarray(GRADIENT)
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    exif[0x0112] = way
    exif.endian = "<" if order == "II" else ">"
    content = encoded(image, "JPEG", quality=100, subsampling=0, exif=exif.tobytes())
    assert int(orientation(tf.constant(content))) == way
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert np.abs(pixels_of(content).astype(int) - middle(upright)).max() <= 8


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xe1\x00\x10Exif\x00\x00",
        b"\xff\xd8\xff\xe1\x00\x10Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff",
        b"\xff\xd8\xff\xe1\x00\x10Exif\x00\x00II\x2a\x00\x08\x00\x00\x00\xff\xff" + b"\xff" * 40,
        b"\x89PNG Exif\x00\x00II\x2a\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00",
    ],
)
def test_damaged_or_missing_orientation_is_upright(content: bytes) -> None:
    assert int(orientation(tf.constant(content))) == 1


def test_grey_and_colour_are_converted_into_each_other() -> None:
    grey = Image.fromarray(GRADIENT).convert("L")
    assert (pixels_of(encoded(grey, "PNG"), color="rgb") == middle(grey)).all()
    found = pixels_of(encoded(Image.fromarray(GRADIENT), "PNG"), color="grey")
    assert found.shape == (24, 24, 1)
    assert np.abs(found[..., 0].astype(int) - middle(grey)[..., 0]).max() <= 1


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "1", "I;16", "CMYK"])
def test_other_modes_decode(mode: str) -> None:
    image = (
        Image.fromarray(GRADIENT[..., 0].astype(np.uint16) * 257)
        if mode == "I;16"
        else Image.fromarray(GRADIENT).convert(mode)
    )
    content = encoded(image, "JPEG" if mode == "CMYK" else "PNG")
    assert pixels_of(content).shape == (24, 24, 3)


@pytest.mark.parametrize("size", [8, 24, 37])
def test_resizing_keeps_the_proportions_and_cuts_the_middle(size: int) -> None:
    found = pixels_of(encoded(Image.fromarray(GRADIENT), "PNG"), size=size)
    assert found.shape == (size, size, 3)
    side, start = 24, 8
    wanted = GRADIENT[:, start : start + side].mean((0, 1))
    np.testing.assert_allclose(found.mean((0, 1)), wanted, atol=2.5)


def test_a_very_long_image_fits_too() -> None:
    assert pixels_of(encoded(Image.new("RGB", (500, 1), "red"), "PNG"), size=16).shape == (16, 16, 3)


def test_paths_bytes_and_pixels_give_the_same(tmp_path: Path) -> None:
    content = encoded(Image.fromarray(GRADIENT), "PNG")
    (tmp_path / "a.png").write_bytes(content)
    encoder = encode(Config(image_size=12, color="rgb"), {"classes": ["a"]}, False)
    ways: list[dict[str, Any]] = [{"bytes": [content]}, {"path": [str(tmp_path / "a.png")]}, {"pixels": GRADIENT[None]}]
    images = [
        encoder({name: tf.constant(value) for name, value in way.items()}, tf.zeros([1], tf.int64))[0].numpy()
        for way in ways
    ]
    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_array_equal(images[0], images[2])


def test_augmentation_depends_on_the_key_alone() -> None:
    images = tf.constant(np.random.default_rng(0).integers(0, 255, (64, 8, 8, 1), np.uint8))
    keys = tf.constant(example_keys(0, 0, np.arange(64)))
    for vary in (flip, lambda images, keys: shift(images, keys, 2)):
        whole = vary(images, keys).numpy()
        np.testing.assert_array_equal(whole[10:20], vary(images[10:20], keys[10:20]).numpy())
        assert (whole != images.numpy()).any(axis=(1, 2, 3)).sum() > 15


def test_flips_mirror_about_half_and_shifts_stay_within_bounds() -> None:
    row = np.arange(9, dtype=np.uint8)
    images = tf.constant(np.tile(row[None, None, :, None], (400, 9, 1, 1)))
    keys = tf.constant(example_keys(3, 1, np.arange(400)))
    flipped = flip(images, keys).numpy()[:, 0, :, 0]
    mirrored = (flipped == row[::-1]).all(1)
    assert ((flipped == row).all(1) | mirrored).all()
    assert 150 < mirrored.sum() < 250
    shifted = shift(images, keys, 1).numpy()[:, 4, 4, 0]
    assert set(shifted.tolist()) == {3, 4, 5}


def test_class_weights_weigh_training_alone() -> None:
    config = Config(image_size=8, color="grey", class_weights="balanced", augment="none")
    assets = {"classes": ["a", "b"], "class_weights": [0.5, 2.0]}
    raw = {"pixels": tf.zeros([3, 8, 8, 1], tf.uint8), "label": tf.constant([1, 0, 1])}
    assert encode(config, assets, True)(raw, tf.zeros([3], tf.int64))[2].numpy().tolist() == [2.0, 0.5, 2.0]
    assert encode(config, assets, False)(raw, tf.zeros([3], tf.int64))[2].numpy().tolist() == [1.0, 1.0, 1.0]
