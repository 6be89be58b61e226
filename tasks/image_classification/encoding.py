"""From what a person has (a path, a photo's bytes, an array) to the square of pixels that the model sees;
TensorFlow graphs only."""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.errors import DataError
from pipelines.stream import PARTNER, example_keys, reason
from pipelines.task import Assets, Batching, Encoder, Store
from tasks.image_classification.augmentation import augment
from tasks.image_classification.config import Config
from tasks.image_classification.mixing import mix, mixes, partner_keys

_EXIF_BYTES = 4096
"""How far into a JPEG the orientation is looked for: the directory that holds it stands near the file's head."""


def encode(config: Config, assets: Assets, training: bool) -> Encoder:
    """The encoder: x uint8 [rows, size, size, channels], y int32 [rows], weight float32 [rows] (the class's weight
    in training). Images of several labels and mixed training images have y float32 [rows, classes], the share of each
    class."""
    size, channels = config.image_size, channels_of(config)
    assert size is not None
    weights = tf.constant(assets.get("class_weights", [1.0]), tf.float32)
    weighted = training and config.class_weights == "balanced"

    def sample(raw: Any, keys: Any) -> tuple[Any, Any, Any]:
        images = _pixels(raw, size, channels)
        label = raw.get("label")
        if label is not None and label.shape.rank == 2:
            label = tf.cast(label, tf.float32)
        weight = tf.gather(weights, label) if weighted else tf.ones([tf.shape(images)[0]])
        return augment(images, keys, config) if training else images, label, weight

    def mixed(raw: Any, keys: Any) -> tuple[Any, Any, Any]:
        partners = {name.removeprefix(PARTNER): raw[name] for name in raw if name.startswith(PARTNER)}
        return mix(shared(raw, keys), shared(partners, partner_keys(keys)), keys, config)

    def shared(raw: Any, keys: Any) -> tuple[Any, Any, Any]:
        images, label, weight = sample(raw, keys)
        return images, label if label.shape.rank == 2 else tf.one_hot(label, len(assets["classes"])), weight

    return mixed if training and mixes(config) else sample


def batching(config: Config) -> Batching:
    """All images cost the same."""
    return Batching(batch_sizes=(config.batch_size,), partners=config.mixup is not None or config.cutmix is not None)


def channels_of(config: Config) -> int:
    """1 for grey, 3 for colour."""
    return 1 if config.color == "grey" else 3


def pixels(store: Store, batches: Iterable[np.ndarray], config: Config, size: int) -> Iterator[np.ndarray]:
    """uint8 [rows, size, size, channels] of the examples at each batch of indices, as the model would see them at
    that size."""
    compiled = _compiled(size, channels_of(config))
    for indices in batches:
        raw = {name: tf.constant(value) for name, value in store.fetch(indices).items() if name != "label"}
        try:
            yield compiled(raw).numpy()
        except tf.errors.OpError as error:
            raise DataError(
                f"an image cannot be read any more ({reason(error)}): was it changed during the run?"
            ) from error


def varied(store: Store, indices: np.ndarray, config: Config, assets: Assets) -> tuple[np.ndarray, np.ndarray]:
    """The examples at these indices as training varies them, each mixed with the next where images are mixed: uint8
    [rows, size, size, channels], and the share of each class, float32 [rows, classes]."""
    columns = store.fetch(indices)
    if mixes(config):
        columns |= {PARTNER + name: column for name, column in store.fetch(np.roll(indices, -1)).items()}
    raw = {name: tf.constant(column) for name, column in columns.items()}
    images, y, _ = encode(config, assets, True)(raw, tf.constant(example_keys(config.seed, 0, indices)))
    shares = y if y.shape.rank == 2 else tf.one_hot(y, len(assets["classes"]))
    return images.numpy(), shares.numpy()


@lru_cache(maxsize=8)
def _compiled(size: int, channels: int) -> Callable[[Any], tf.Tensor]:
    compiled: Callable[[Any], tf.Tensor] = tf.function(
        lambda raw: _pixels(raw, size, channels), autograph=False, reduce_retracing=True
    )
    return compiled


def _pixels(raw: Any, size: int, channels: int) -> tf.Tensor:
    """uint8 [rows, size, size, channels] from raw pixels, encoded bytes or paths."""
    if "pixels" in raw:
        images = _fit(_colour(raw["pixels"], channels), size)
    else:
        encoded = raw["bytes"] if "bytes" in raw else tf.map_fn(tf.io.read_file, raw["path"])
        shape = tf.TensorSpec([size, size, channels], tf.uint8)
        images = tf.map_fn(lambda content: _decode(content, size, channels), encoded, fn_output_signature=shape)
    images.set_shape([None, size, size, channels])
    return images


def _decode(content: tf.Tensor, size: int, channels: int) -> tf.Tensor:
    with tf.control_dependencies(_refusals(content)):
        image = tf.io.decode_image(content, channels=3, expand_animations=False)
    image = _upright(image, orientation(content))
    return _fit(_colour(image[None], channels), size)[0]


def _refusals(content: tf.Tensor) -> list[Any]:
    """What the data check refuses is refused here too: formats that the decoder takes, but not as they are meant."""
    gif = tf.strings.substr(content, 0, 3) == b"GIF"
    # The decoder reads the indices of a palette as shades of grey. Byte 28 of a BMP is its bits per pixel.
    palette = (tf.strings.substr(content, 0, 2) == b"BM") & tf.strings.regex_full_match(
        tf.strings.substr(content, 28, 1), b"[\\x00-\\x17]"
    )
    return [
        tf.debugging.Assert(~gif, ["it is a GIF, which is for animations: convert it to PNG or JPEG"]),
        tf.debugging.Assert(~palette, ["it is a BMP of less than 24 bits: convert it to PNG"]),
    ]


def _colour(images: tf.Tensor, channels: int) -> tf.Tensor:
    """Grey from colour by the luma of ITU-R 601, colour from grey by repetition."""
    given = images.shape[-1]
    if given == channels:
        return images
    if channels == 3:
        return tf.repeat(images[..., :1], 3, axis=-1)
    luma = tf.linalg.matvec(tf.cast(images[..., :3], tf.float32), tf.constant([0.299, 0.587, 0.114]))
    return tf.cast(tf.round(luma), tf.uint8)[..., None]


def _fit(images: tf.Tensor, size: int) -> tf.Tensor:
    """Cut the middle square and resize it: uint8 [rows, size, size, channels]."""
    if images.shape[1] == size and images.shape[2] == size:
        return images
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    side = tf.minimum(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = images[:, top : top + side, left : left + side]
    resized = tf.image.resize(square, (size, size), antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)


def orientation(content: tf.Tensor) -> tf.Tensor:
    """int32: the EXIF orientation (1 to 8) of encoded bytes; 1 where they are no JPEG or say nothing.

    Reads tag 0x0112 of the first directory of the TIFF block after "Exif\\0\\0" (CIPA DC-008, 4.5 and 4.6).
    """
    head = tf.cast(tf.io.decode_raw(tf.strings.substr(content, 0, _EXIF_BYTES), tf.uint8), tf.int32)
    is_jpeg = tf.strings.substr(content, 0, 2) == b"\xff\xd8"
    return tf.cond(is_jpeg, lambda: _orientation_tag(head), lambda: 1)


def _orientation_tag(head: tf.Tensor) -> tf.Tensor:
    marker = [ord("E"), ord("x"), ord("i"), ord("f"), 0, 0]
    length = tf.maximum(tf.size(head) - len(marker), 0)
    found = tf.reduce_all(tf.stack([head[i : length + i] == byte for i, byte in enumerate(marker)]), axis=0)
    found = tf.concat([found, [True]], 0)  # nowhere: the block is then empty, and says nothing
    tiff = tf.concat(
        [head[tf.argmax(tf.cast(found, tf.int32), output_type=tf.int32) + 6 :], tf.zeros([32], tf.int32)], 0
    )
    little = tiff[0] == ord("I")

    def number(values: tf.Tensor) -> tf.Tensor:
        ordered = tf.where(little, tf.reverse(values, [-1]), values)
        return tf.reduce_sum(
            ordered * tf.constant([256 ** (values.shape[-1] - 1 - i) for i in range(values.shape[-1])]), -1
        )

    start = tf.clip_by_value(number(tf.ensure_shape(tiff[4:8], [4])), 0, tf.size(tiff) - 2)
    count = tf.minimum(number(tf.ensure_shape(tiff[start : start + 2], [2])), (tf.size(tiff) - start - 2) // 12)
    entries = tf.reshape(tiff[start + 2 : start + 2 + 12 * count], [-1, 12])
    tags, values = (
        number(tf.ensure_shape(entries[:, :2], [None, 2])),
        number(tf.ensure_shape(entries[:, 8:10], [None, 2])),
    )
    value = tf.reduce_max(tf.concat([tf.where(tags == 0x0112, values, 0), [0]], 0))
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _upright(image: tf.Tensor, way: tf.Tensor) -> tf.Tensor:
    """Undo an EXIF orientation."""
    image = tf.cond(way >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    mirrored = (way == 2) | (way == 3) | (way == 6) | (way == 7)
    image = tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)
    upside = (way == 3) | (way == 4) | (way == 7) | (way == 8)
    image = tf.cond(upside, lambda: tf.reverse(image, [0]), lambda: image)
    return tf.ensure_shape(image, [None, None, 3])
