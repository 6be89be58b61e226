"""RandAugment beside Pillow, random erasing, MixUp and CutMix: keyed by the example, whole batches at a time."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats

from pipelines.stream import Stream, example_keys, partners, uniform
from pipelines.task import Batching, Raw
from tasks.image_classification import rand_augment as ra
from tasks.image_classification.augmentation import augment, erase
from tasks.image_classification.config import Config
from tasks.image_classification.encoding import batching, encode
from tasks.image_classification.mixing import beta

RANDOM = np.random.default_rng(0)
PHOTOS = np.clip(RANDOM.normal(120, 40, (6, 17, 17, 3)) + np.arange(17)[:, None, None] * 4, 20, 230).astype(np.uint8)
ONES = tf.ones([6])


def keys(count: int, epoch: int = 0) -> tf.Tensor:
    return tf.constant(example_keys(3, epoch, np.arange(count)))


def pillow(function: Any) -> np.ndarray:
    """What Pillow makes of each photo."""
    return np.stack([np.asarray(function(Image.fromarray(photo))) for photo in PHOTOS]).astype(int)


@pytest.mark.parametrize(
    ("operation", "strength", "wanted"),
    [
        (ra.auto_contrast, 1.0, ImageOps.autocontrast),
        (ra.equalize, 1.0, ImageOps.equalize),
        (ra.solarize, 0.5, lambda image: ImageOps.solarize(image, 128)),
        (ra.posterize, 1.0, lambda image: ImageOps.posterize(image, 4)),
        (ra.saturation, 0.5, lambda image: ImageEnhance.Color(image).enhance(1.45)),
        (ra.saturation, -1.0, lambda image: ImageEnhance.Color(image).enhance(0.1)),
        (ra.contrast, -0.5, lambda image: ImageEnhance.Contrast(image).enhance(0.55)),
        (ra.brightness, 0.3, lambda image: ImageEnhance.Brightness(image).enhance(1.27)),
        (ra.sharpness, 1.0, lambda image: ImageEnhance.Sharpness(image).enhance(1.9)),
    ],
)
def test_colour_operations_are_pillows(operation: Any, strength: float, wanted: Any) -> None:
    found = operation(tf.constant(PHOTOS), strength * ONES).numpy()
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - pillow(wanted)).max() <= 1
    assert (found != PHOTOS).any()


def test_moves_go_where_they_should() -> None:
    images = np.zeros((6, 17, 17, 1), np.uint8)
    images[:, 8, 12] = 200
    turned = ra.rotate(tf.constant(images), 3.0 * ONES).numpy()  # 3 x 30 degrees: a quarter turn
    assert {tuple(place) for place in np.argwhere(turned[0, :, :, 0] > 150)} <= {(4, 8), (12, 8)}
    assert turned[0].max() == 200
    far = 17 * 150 / 331
    moved = ra.translate_x(tf.constant(images), (3 / far) * ONES).numpy()
    assert moved[0, 8, 9, 0] == 200
    slanted = ra.shear_x(tf.constant(PHOTOS), ONES).numpy()
    np.testing.assert_array_equal(slanted[:, 8], PHOTOS[:, 8])
    assert (slanted[:, 0] != PHOTOS[:, 0]).any()


def test_no_strength_changes_nothing() -> None:
    for operation in (ra.saturation, ra.contrast, ra.brightness, ra.sharpness, ra.shear_y, ra.translate_y, ra.rotate):
        np.testing.assert_array_equal(operation(tf.constant(PHOTOS), 0 * ONES), PHOTOS, err_msg=operation.__name__)


def test_operations_take_no_images_and_flat_ones() -> None:
    for operation in ra._OPERATIONS:
        assert operation(tf.zeros([0, 9, 9, 3], tf.uint8), tf.zeros([0])).shape == (0, 9, 9, 3)
    flat = tf.fill([2, 9, 9, 1], tf.constant(7, tf.uint8))
    for operation in (ra.auto_contrast, ra.equalize):
        np.testing.assert_array_equal(operation(flat, tf.ones([2])), flat)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_varies_by_its_key_whatever_the_batch(channels: int) -> None:
    config = Config(augment="flip-crop", rand_augment=2, erasing=0.5)
    images = tf.constant(RANDOM.integers(0, 256, (64, 24, 24, channels), np.uint8))
    vary = tf.function(lambda images, keys: augment(images, keys, config))
    whole = vary(images, keys(64)).numpy()
    np.testing.assert_array_equal(whole[10:20], vary(images[10:20], keys(64)[10:20]).numpy())
    assert (whole != images.numpy()).any(axis=(1, 2, 3)).sum() > 55
    assert (whole != vary(images, keys(64, epoch=1)).numpy()).any(axis=(1, 2, 3)).sum() > 55


def test_erasing_takes_its_share_of_the_images_and_of_each() -> None:
    images = tf.zeros([2000, 20, 20, 1], tf.uint8)
    painted = erase(images, keys(2000), 0.25).numpy()[..., 0] > 0
    chosen = painted.any((1, 2))
    assert 420 < chosen.sum() < 580
    areas = painted[chosen].mean((1, 2))
    assert areas.min() > 0.01
    assert areas.max() < 0.45
    rows, columns = painted[chosen].any(2).sum(1), painted[chosen].any(1).sum(1)
    np.testing.assert_array_equal(rows * columns, painted[chosen].sum((1, 2)))  # rectangles
    np.testing.assert_array_equal(erase(images, keys(2000), 0.0), images)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 4.0])
def test_shares_follow_the_beta_distribution(alpha: float) -> None:
    drawn = beta(uniform(keys(20_000), 17), alpha).numpy()
    places = np.linspace(0.001, 0.999, 50)
    found = (drawn[:, None] <= places).mean(0)
    np.testing.assert_allclose(found, stats.beta(alpha, alpha).cdf(places), atol=0.015)


def test_partners_are_others_and_differ_from_epoch_to_epoch() -> None:
    indices = np.arange(1000)
    found = partners(0, 1, indices, 1000)
    assert (found != indices).all()
    assert (np.bincount(found // 100, minlength=10) > 60).all()
    np.testing.assert_array_equal(found[5:9], partners(0, 1, indices[5:9], 1000))
    assert (found != partners(0, 2, indices, 1000)).mean() > 0.9
    assert partners(0, 0, np.zeros(3, int), 1).tolist() == [0, 0, 0]


def mixed(config: Config, count: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Black images of class 0 whose partners are white and of class 1."""
    raw = {
        "pixels": tf.zeros([count, 10, 10, 1], tf.uint8),
        "label": tf.zeros([count], tf.int32),
        "partner_pixels": tf.fill([count, 10, 10, 1], tf.constant(255, tf.uint8)),
        "partner_label": tf.ones([count], tf.int32),
    }
    assets = {"classes": ["a", "b"], "class_weights": [1.0, 3.0]}
    x, y, weight = encode(config, assets, True)(raw, keys(count))
    return x.numpy()[..., 0], y.numpy(), weight.numpy()


PLAIN: dict[str, Any] = {"image_size": 10, "color": "grey", "augment": "none"}


def test_mixup_blends_images_and_targets_alike() -> None:
    x, y, weight = mixed(Config(**PLAIN, mixup=1.0))
    np.testing.assert_allclose(y.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(x[:, 0, 0] / 255, y[:, 1], atol=0.003)
    assert (x == x[:, :1, :1]).all()
    assert y[:, 1].std() > 0.2
    assert (weight == 1).all()


def test_cutmix_takes_a_rectangle_and_counts_its_pixels() -> None:
    x, y, _ = mixed(Config(**PLAIN, cutmix=1.0))
    assert set(np.unique(x)) == {0, 255}
    np.testing.assert_allclose((x == 255).mean((1, 2)), y[:, 1], atol=1e-6)
    assert y[:, 1].std() > 0.1


def test_with_both_half_of_the_images_go_each_way() -> None:
    x, y, _ = mixed(Config(**PLAIN, mixup=1.0, cutmix=1.0))
    cut = ((x == 0) | (x == 255)).all((1, 2))
    assert 70 < cut.sum() < 130
    np.testing.assert_allclose((x / 255).mean((1, 2)), y[:, 1], atol=0.003)


def test_class_weights_weigh_each_part_of_a_mixed_image() -> None:
    plain, weighted = (mixed(Config(**PLAIN, mixup=1.0, class_weights=kind)) for kind in ("none", "balanced"))
    np.testing.assert_allclose(weighted[1] * weighted[2][:, None], plain[1] * [1.0, 3.0], rtol=1e-5)


class Digits:
    """Images that are their own number."""

    sizes = groups = None

    def __len__(self) -> int:
        return 50

    def ids(self, indices: np.ndarray) -> list[str]:
        return [str(index) for index in indices]

    def fetch(self, indices: np.ndarray) -> Raw:
        pixels = np.broadcast_to(indices.astype(np.uint8)[:, None, None, None], (len(indices), 8, 8, 1))
        return {"pixels": np.ascontiguousarray(pixels), "label": (indices % 2).astype(np.int32)}


def test_the_stream_brings_partners_to_training_alone() -> None:
    config = Config(image_size=8, color="grey", augment="none", cutmix=1.0, batch_size=10)
    seen: list[set[str]] = []

    def spying(training: bool) -> Any:
        encoder = encode(config, {"classes": ["a", "b"]}, training)

        def spy(raw: Any, keys: Any) -> Any:
            seen.append(set(raw))
            return encoder(raw, keys)

        return spy

    def blocks(training: bool, longest: int) -> np.ndarray:
        stream = Stream(Digits(), spying(training), batching(config), 0, training=training)
        return np.concatenate([y.numpy().reshape(50 // 10, 10, -1) for _, y, _ in stream.blocks(0, 5, longest)])

    assert blocks(True, 5).shape == (5, 10, 2)
    assert blocks(False, 5).shape == (5, 10, 1)
    assert seen == [{"pixels", "label", "partner_pixels", "partner_label"}, {"pixels", "label"}]
    assert batching(Config()) == Batching(batch_sizes=(64,))


def test_a_broken_partner_is_named(tmp_path: Any) -> None:
    from pipelines.errors import DataError

    class Files(Digits):
        def fetch(self, indices: np.ndarray) -> Raw:
            good = tf.io.encode_png(tf.zeros([8, 8, 1], tf.uint8)).numpy()
            column = np.empty(len(indices), object)
            column[:] = [b"broken" if index == 7 else good for index in indices]
            return {"bytes": column, "label": (indices % 2).astype(np.int32)}

    config = Config(image_size=8, color="grey", augment="none", mixup=1.0, batch_size=50)
    stream = Stream(Files(), encode(config, {"classes": ["a", "b"]}, True), batching(config), 0, training=True)
    with pytest.raises(DataError, match="^7 cannot be read"):
        list(stream.iterate(0, 1, 1))


def test_a_picture_shows_how_images_vary() -> None:
    from tasks.image_classification.encoding import varied
    from tasks.image_classification.figures import _variations

    config = Config(image_size=8, color="grey", augment="none", cutmix=1.0)
    assets = {"classes": ["a", "b"]}
    images, shares = varied(Digits(), np.array([3, 20, 44]), config, assets)
    assert images.shape == (3, 8, 8, 1)
    assert {3, 20} == set(np.unique(images[0]).tolist())
    np.testing.assert_allclose(shares[0], [(images[0] == 20).mean(), (images[0] == 3).mean()], atol=1e-6)
    (figure,) = _variations(config, assets, Digits())
    assert "cutmix 1.0" in figure.caption
    assert _variations(Config(**PLAIN), assets, Digits()) == []
