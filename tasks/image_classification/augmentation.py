"""How training images are varied: whole batches at a time, every random number drawn from the example's own key.

Each kind of variation draws from lanes of its own, so that switching one on leaves the others as they were.
"""

import math

import tensorflow as tf

from pipelines.stream import uniform
from tasks.image_classification.config import Config
from tasks.image_classification.rand_augment import rand_augment

_SHIFT = 12
"""Part of the side by which `crop` shifts at most; images under 12 pixels stay where they are, a pixel is too much
there."""
_ERASED = (0.02, 0.4)
"""Least and largest share of the image that erasing takes, and below its most oblong shape: Zhong et al., 2020."""
_OBLONG = 0.3
_ERASING_LANE = 3


def augment(images: tf.Tensor, keys: tf.Tensor, config: Config) -> tf.Tensor:
    """The images [rows, side, side, channels] as the config varies them, in the order crop, flip, RandAugment,
    erasing."""
    if "crop" in config.augment:
        images = shift(images, keys, images.shape[1] // _SHIFT)
    if "flip" in config.augment:
        images = flip(images, keys)
    if config.rand_augment:
        images = rand_augment(images, keys, config.rand_augment, config.rand_magnitude)
    if config.erasing:
        images = erase(images, keys, config.erasing)
    return images


def varies(config: Config) -> bool:
    """Whether training sees an image otherwise in each epoch."""
    by_itself = config.augment != "none" or config.rand_augment is not None or config.erasing > 0
    return by_itself or config.mixup is not None or config.cutmix is not None


def flip(images: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """Mirror every second image, chosen by its key."""
    chosen = uniform(keys, 0) < 0.5
    return tf.where(chosen[:, None, None, None], tf.reverse(images, [2]), images)


def shift(images: tf.Tensor, keys: tf.Tensor, most: int) -> tf.Tensor:
    """Move every image by up to `most` pixels each way, mirrored at the edge: a random crop of the padded image."""
    if most == 0:
        return images
    padded = tf.pad(images, [[0, 0], [most, most], [most, most], [0, 0]], "REFLECT")
    for axis, lane in ((1, 1), (2, 2)):
        offset = tf.cast(uniform(keys, lane) * (2 * most + 1), tf.int32)
        places = offset[:, None] + tf.range(tf.shape(images)[axis])
        if axis == 1:
            padded = tf.gather(padded, places, axis=1, batch_dims=1)
        else:
            padded = tf.transpose(
                tf.gather(tf.transpose(padded, [0, 2, 1, 3]), places, axis=1, batch_dims=1), [0, 2, 1, 3]
            )
    return padded


def erase(images: tf.Tensor, keys: tf.Tensor, probability: float) -> tf.Tensor:
    """Paint a rectangle of one random colour over a share of the images (random erasing: Zhong et al., 2020).

    Their rectangle is drawn again until it fits; here one that is too long is cut to the image's side.
    """
    side, channels = images.shape[1], images.shape[3]
    chosen, area, shape, top, left, *colour = (uniform(keys, _ERASING_LANE + lane) for lane in range(5 + channels))
    area = _ERASED[0] + area * (_ERASED[1] - _ERASED[0])
    ratio = tf.exp((2 * shape - 1) * math.log(1 / _OBLONG))
    height, width = (
        tf.cast(tf.clip_by_value(tf.round(side * length), 1, side), tf.int32)
        for length in (tf.sqrt(area * ratio), tf.sqrt(area / ratio))
    )
    top, left = (
        tf.cast(place * tf.cast(side - length + 1, tf.float32), tf.int32)
        for place, length in ((top, height), (left, width))
    )
    inside = box(top, left, top + height, left + width, side) & (chosen < probability)[:, None, None, None]
    paint = tf.cast(tf.floor(256 * tf.stack(colour, axis=-1)), tf.uint8)[:, None, None, :]
    return tf.where(inside, paint, images)


def box(top: tf.Tensor, left: tf.Tensor, bottom: tf.Tensor, right: tf.Tensor, side: int) -> tf.Tensor:
    """bool [rows, side, side, 1]: True from top and left up to bottom and right, int32 [rows] each."""
    places = tf.range(side)
    rows = (places >= top[:, None]) & (places < bottom[:, None])
    columns = (places >= left[:, None]) & (places < right[:, None])
    return (rows[:, :, None] & columns[:, None, :])[..., None]
