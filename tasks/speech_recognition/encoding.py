"""From samples to the padded numbers that the model sees, varied by key; a TensorFlow graph."""

from typing import Any

import tensorflow as tf

from pipelines.audio.files import FULL
from pipelines.stream import uniform
from pipelines.task import Assets, Encoder
from tasks.speech_recognition.config import GENERATE, Config
from tasks.speech_recognition.ctc import BLANK
from tasks.speech_recognition.joining import joined
from tasks.speech_recognition.lengths import bounds, label_bounds, window_and_hop
from tasks.speech_recognition.noise import LENGTH, white

_SPEED, _NOISY, _LOUDNESS, _OFFSET, _MASKS = range(5)
"""Which of an example's random numbers decides what; the masks' are those from the last on."""


def encode(config: Config, assets: Assets, training: bool) -> Encoder:
    """The encoder of `audio` and `text` with their `_splits`.

    x: audio float32 [rows, samples], from -1 to 1, zeros behind the end; samples int32 [rows], how many there are;
    labels int32 [rows, length], the transcript; time_masks, mel_masks int32 [rows, any, 2], what SpecAugment hides in
    training. y int32 [rows], the number of labels, of decoder generate the end counted; weight float32 [rows], the
    same, at least 1, and 0 where the transcript is too long, for CTC also where it does not fit into so short a clip.
    In training clips go on with others (joining.py), whose columns come as `partner_...` then, are played slower or
    faster, and some get noise.
    """
    rate = int(assets["rate"])
    allowed = tf.constant(bounds(config, rate), tf.int64)
    lengths = tf.constant(label_bounds(config, rate), tf.int64)
    hop = window_and_hop(config, rate)[1]

    # Of pieces each says by itself whether a word begins with it.
    spaced = config.units == "characters" and " " in assets.get("alphabet", [])
    space = assets["alphabet"].index(" ") if spaced else None

    def encoder(raw: Any, keys: Any) -> tuple[Any, Any, Any]:
        if training and config.joined:
            raw = joined(raw, keys, rate, allowed, space, config)
        text = tf.RaggedTensor.from_row_splits(tf.cast(raw["text"], tf.int32), raw["text_splits"], validate=False)
        labels = _padded(text, lengths)
        counts = tf.cast(text.row_lengths(), tf.int32)
        fits = counts <= tf.shape(labels)[1]
        audio, samples = _sound(raw, keys, allowed, config.speed if training else 0.0)
        if training and config.noise:
            audio = _with_noise(audio, samples, keys, config)
        frames = -(-samples // hop)
        if config.decoder == GENERATE:
            counts += 1
        else:
            fits &= _fits(labels, -(-frames // config.subsampling))
        x = {"audio": audio, "samples": samples, "labels": labels, **_masks(frames, keys, config, training)}
        return x, counts, tf.where(fits, tf.cast(tf.maximum(counts, 1), tf.float32), 0.0)

    return encoder


def _fits(labels: tf.Tensor, frames: tf.Tensor) -> tf.Tensor:
    """What `ctc.feasible` says, in TensorFlow on every backend, as data are."""
    real = tf.cast(labels != BLANK, tf.int32)
    same = tf.cast(labels[:, 1:] == labels[:, :-1], tf.int32) * real[:, 1:]
    return tf.reduce_sum(real, 1) + tf.reduce_sum(same, 1) <= frames


def _padded(rows: tf.RaggedTensor, allowed: tf.Tensor) -> tf.Tensor:
    """To the smallest of the lengths that holds all rows; what is longer than the last is cut off."""
    longest = tf.reduce_max(rows.row_lengths())
    place = tf.minimum(tf.searchsorted(allowed, [longest])[0], tf.size(allowed) - 1)
    return tf.ensure_shape(rows.to_tensor(0, shape=tf.stack([-1, tf.gather(allowed, place)])), [None, None])


def _sound(raw: Any, keys: Any, allowed: tf.Tensor, speed: float) -> tuple[tf.Tensor, tf.Tensor]:
    """float32 [rows, samples], and how many of them are sound, int32 [rows]."""
    splits = tf.cast(raw["audio_splits"], tf.int64)
    rows = tf.RaggedTensor.from_row_splits(raw["audio"], splits, validate=False)
    if not speed:
        samples = tf.minimum(rows.row_lengths(), allowed[-1])
        return tf.cast(_padded(rows, allowed), tf.float32) / FULL, tf.cast(samples, tf.int32)
    faster = 1.0 + speed * (2.0 * uniform(keys, _SPEED) - 1.0)
    lengths = tf.cast(rows.row_lengths(), tf.float32)
    faster = tf.maximum(faster, lengths / tf.cast(allowed[-1], tf.float32))
    samples = tf.cast(tf.math.ceil(lengths / faster), tf.int64)
    place = tf.minimum(tf.searchsorted(allowed, [tf.reduce_max(samples)])[0], tf.size(allowed) - 1)
    longest = tf.gather(allowed, place)
    sound = tf.cast(rows.to_tensor(0), tf.float32) / FULL
    nothing, one = tf.zeros_like(faster), tf.ones_like(faster)
    # Each clip as a picture one pixel high, its samples read at multiples of how much faster it is; zeros behind them.
    audio = tf.raw_ops.ImageProjectiveTransformV3(
        images=sound[:, None, :, None],
        transforms=tf.stack([faster, *[nothing] * 3, one, *[nothing] * 3], axis=1),
        output_shape=tf.stack([1, tf.cast(longest, tf.int32)]),
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
        fill_value=0.0,
    )
    audio = tf.ensure_shape(audio[:, 0, :, 0], [None, None])
    return audio, tf.cast(tf.minimum(samples, longest), tf.int32)


def _with_noise(audio: tf.Tensor, samples: tf.Tensor, keys: Any, config: Config) -> tf.Tensor:
    """White noise on some clips, so much softer than the clip is on the whole."""
    low, high = config.noise_snr
    decibels = low + (high - low) * uniform(keys, _LOUDNESS)
    power = tf.reduce_sum(tf.square(audio), axis=1) / tf.cast(tf.maximum(samples, 1), tf.float32)
    loudness = tf.sqrt(power) * tf.pow(10.0, -decibels / 20.0)
    loudness *= tf.cast(uniform(keys, _NOISY) < config.noise, tf.float32)
    noisy = tf.where(loudness > 0)[:, 0]
    offset = tf.cast(tf.gather(uniform(keys, _OFFSET), noisy) * LENGTH, tf.int32)
    there = tf.sequence_mask(tf.gather(samples, noisy), tf.shape(audio)[1], tf.float32)
    noise = white(offset[:, None] + tf.range(tf.shape(audio)[1])[None]) * there * tf.gather(loudness, noisy)[:, None]
    return tf.tensor_scatter_nd_add(audio, noisy[:, None], noise)


def _masks(frames: tf.Tensor, keys: Any, config: Config, training: bool) -> dict[str, tf.Tensor]:
    """First place and length of what is hidden: [rows, masks, 2] each; no masks outside of training."""
    if not training:
        nothing = tf.zeros(tf.stack([tf.shape(frames)[0], 0, 2]), tf.int32)
        return {"time_masks": nothing, "mel_masks": nothing}
    mels = tf.fill(tf.shape(frames), config.mels)
    return {
        "time_masks": _drawn(frames, config.time_masks, config.time_mask, keys, _MASKS),
        "mel_masks": _drawn(mels, config.mel_masks, config.mel_mask, keys, _MASKS + 2 * config.time_masks),
    }


def _drawn(places: tf.Tensor, masks: int, most: float, keys: Any, lane: int) -> tf.Tensor:
    found = []
    whole = tf.cast(places, tf.float32)
    for number in range(masks):
        length = tf.floor(uniform(keys, lane + 2 * number) * (whole * most + 1.0))
        start = tf.floor(uniform(keys, lane + 2 * number + 1) * (whole - length + 1.0))
        found.append(tf.cast(tf.stack([start, length], axis=-1), tf.int32))
    rows = tf.shape(places)[0]
    return tf.stack(found, axis=1) if found else tf.zeros(tf.stack([rows, 0, 2]), tf.int32)
