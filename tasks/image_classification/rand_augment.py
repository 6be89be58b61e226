"""RandAugment (Cubuk et al., 2020) over whole batches: a few operations an image, drawn by its key, of one magnitude.

The images of a batch are sorted by the operation they drew, so that each operation computes its own images alone. All
of them work on uint8 [rows, side, side, channels] and agree with Pillow's to a step of grey; moved images are mirrored
at the edge, where the paper leaves grey.
"""

import math
from collections.abc import Callable

import tensorflow as tf

from pipelines.stream import uniform

_LANE = 32
_MOST = 10
"""The magnitude at which every operation is as strong as in AutoAugment."""
_SHEAR, _TRANSLATE, _ROTATE, _ENHANCE, _BITS = 0.3, 150 / 331, math.radians(30), 0.9, 4

Operation = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""(images, strength [rows] from -1 to 1) -> images."""


def rand_augment(images: tf.Tensor, keys: tf.Tensor, count: int, magnitude: float) -> tf.Tensor:
    """`count` operations on each image, one after the other, of a magnitude from 0 to 10, each way by chance."""
    for layer in range(count):
        drawn, way = uniform(keys, _LANE + 2 * layer), uniform(keys, _LANE + 2 * layer + 1)
        choice = tf.cast(drawn * len(_OPERATIONS), tf.int32)
        strength = tf.where(way < 0.5, -1.0, 1.0) * (magnitude / _MOST)
        places = tf.dynamic_partition(tf.range(tf.shape(images)[0]), choice, len(_OPERATIONS))
        parts = tf.dynamic_partition(images, choice, len(_OPERATIONS))
        strengths = tf.dynamic_partition(strength, choice, len(_OPERATIONS))
        done = [operate(part, one) for operate, part, one in zip(_OPERATIONS, parts, strengths, strict=True)]
        images = tf.ensure_shape(tf.dynamic_stitch(places, done), images.shape)
    return images


def identity(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """As they are."""
    del strength
    return images


def auto_contrast(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Stretch each channel from its darkest and brightest value to 0 and 255."""
    del strength
    low, high = (tf.cast(find(images, [1, 2], keepdims=True), tf.float32) for find in (tf.reduce_min, tf.reduce_max))
    stretched = (tf.cast(images, tf.float32) - low) * tf.math.divide_no_nan(255.0, high - low)
    return tf.where(high > low, _pixels(stretched), images)


def equalize(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Spread the values of each channel so that all are about as frequent; Pillow's table, in whole numbers."""
    del strength
    shape = tf.shape(images)
    tables = shape[0] * shape[3]
    which = tf.reshape(tf.range(tables), [shape[0], 1, 1, shape[3]]) * 256 + tf.cast(images, tf.int32)
    counts = tf.math.bincount(tf.reshape(which, [-1]), minlength=256 * tables, maxlength=256 * tables)
    counts = tf.reshape(counts, [tables, 256])
    used = tf.cast(counts > 0, tf.int32) * tf.range(256)
    brightest = tf.gather(counts, tf.argmax(used, axis=1), axis=1, batch_dims=1)
    step = ((tf.reduce_sum(counts, axis=1) - brightest) // 255)[:, None]
    spread = (step // 2 + tf.cumsum(counts, axis=1, exclusive=True)) // tf.maximum(step, 1)
    table = tf.where(step > 0, tf.minimum(spread, 255), tf.range(256))
    return tf.cast(tf.gather(tf.reshape(table, [-1]), which), tf.uint8)


def solarize(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Invert what is brighter than a threshold, which falls from 256 as the strength rises."""
    threshold = _each(256 * (1 - tf.abs(strength)))
    return tf.where(tf.cast(images, tf.float32) < threshold, images, 255 - images)


def posterize(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Keep 8 to 4 bits of each value."""
    lost = tf.cast(tf.round(_BITS * tf.abs(strength)), tf.uint8)
    mask = tf.bitwise.left_shift(tf.constant(255, tf.uint8), lost)
    return tf.bitwise.bitwise_and(images, mask[:, None, None, None])


def saturation(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Towards grey, or away from it."""
    return _blend(_luma(images), images, strength)


def contrast(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Towards the image's mean brightness, or away from it."""
    # Whole numbers add up to the same in any order: an image's mean does not hang on the batch it stands in.
    luma = tf.cast(tf.round(_luma(images)), tf.int32)
    mean = tf.reduce_sum(luma, [1, 2, 3], keepdims=True) / (tf.shape(images)[1] * tf.shape(images)[2])
    return _blend(tf.cast(tf.round(mean), tf.float32), images, strength)


def brightness(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Towards black, or away from it."""
    return _blend(tf.zeros([1, 1, 1, 1]), images, strength)


def sharpness(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Towards a smoothed image, or away from it; the outermost pixels stay."""
    wide = tf.cast(images, tf.float32)
    lines = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    around = lines[:, :, :-2] + lines[:, :, 1:-1] + lines[:, :, 2:]
    smooth = tf.round((around + 4 * wide[:, 1:-1, 1:-1]) / 13)
    inner = _blend(smooth, images[:, 1:-1, 1:-1], strength)
    rows = tf.concat([images[:, 1:-1, :1], inner, images[:, 1:-1, -1:]], axis=2)
    return tf.concat([images[:, :1], rows, images[:, -1:]], axis=1)


def shear_x(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Slant, the middle line in place."""
    return _move(images, [1, _SHEAR * strength], [0, 1], 0)


def shear_y(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Slant, the middle column in place."""
    return _move(images, [1, 0], [_SHEAR * strength, 1], 0)


def translate_x(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Move along the lines."""
    return _move(images, [1, 0], [0, 1], strength, 0)


def translate_y(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Move along the columns."""
    return _move(images, [1, 0], [0, 1], 0, strength)


def rotate(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Turn about the middle."""
    cosine, sine = tf.cos(_ROTATE * strength), tf.sin(_ROTATE * strength)
    return _move(images, [cosine, -sine], [sine, cosine])


_OPERATIONS: tuple[Operation, ...] = (
    *(identity, auto_contrast, equalize, rotate, solarize, saturation, posterize),
    *(contrast, brightness, sharpness, shear_x, shear_y, translate_x, translate_y),
)


def _each(values: tf.Tensor) -> tf.Tensor:
    return values[:, None, None, None]


def _pixels(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.clip_by_value(tf.round(values), 0, 255), tf.uint8)


def _blend(plain: tf.Tensor, images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    return _pixels(plain + _each(1 + _ENHANCE * strength) * (tf.cast(images, tf.float32) - plain))


def _luma(images: tf.Tensor) -> tf.Tensor:
    """float32 [rows, side, side, 1]: brightness by ITU-R 601."""
    wide = tf.cast(images, tf.float32)
    if images.shape[3] == 1:
        return wide
    return wide[..., :1] * 0.299 + wide[..., 1:2] * 0.587 + wide[..., 2:] * 0.114


def _move(
    images: tf.Tensor, across: list[tf.Tensor], down: list[tf.Tensor], right: tf.Tensor = 0, below: tf.Tensor = 0
) -> tf.Tensor:
    """Each pixel from where a linear map about the middle, and a shift by parts of the largest, say; bilinear."""
    side = images.shape[1]
    middle, far = (side - 1) / 2, _TRANSLATE * side
    rows = tf.shape(images)[0]
    (a, b), (c, d) = ([tf.broadcast_to(tf.cast(one, tf.float32), [rows]) for one in line] for line in (across, down))
    zero = tf.zeros([rows])
    x, y = middle * (1 - a - b) + far * right, middle * (1 - c - d) + far * below
    transforms = tf.stack([a, b, x, c, d, y, zero, zero], axis=1)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=transforms,
        output_shape=[side, side],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )
    return tf.ensure_shape(_pixels(moved), images.shape)
