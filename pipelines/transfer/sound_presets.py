"""KerasHub presets that hear: the encoders of Whisper (Radford et al., 2022) and Moonshine (Jeffries et al., 2024), in
which what a clip is filled up with changes no answer; `sound_writers` has what writes behind them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from pipelines.errors import ConfigError
from pipelines.transfer.presets import check_preset, keras_hub, opening

FILES = "config.json, model.weights.h5 and audio_converter.json"
ATTENTION = ("query", "key", "value", "attention_output")
"""How the projections of attention are named."""
SUBSAMPLING = 2
"""Frames that become one answer, of both."""
PLACES = "encoder_position_embedding"
"""The layer that holds Whisper's table of places."""
_WHISPER, MOONSHINE = "WhisperBackbone", "MoonshineBackbone"
_HOP = 192
"""Of Moonshine: samples of half an answer."""
_BEHIND = 511
"""Zeros behind its sound, with which its three convolutions, of strides 64, 3 and 2, give one answer for each 384
samples."""
_LONGEST = 64.0
"""Seconds that it was made for, as KerasHub's converter says (0.32)."""
_PACKAGE = "sixfold.transfer"


@dataclass(frozen=True)
class SoundPreset:
    """The network of a preset and what it is fed."""

    network: keras.Model
    """With random weights; as `encoder_of` makes it, or what it was asked for by."""
    kind: str
    """The class of its backbone."""
    converter: Any
    """KerasHub's, which says how sound becomes features."""
    rate: int
    """Samples a second."""
    hop: int
    """Samples of a frame."""
    bands: int | None
    """Mel bands; None: it hears samples."""
    longest: float
    """Seconds that it takes at most."""


def sound_preset(source: str, part: Callable[[Any], keras.Model] | None = None) -> SoundPreset:
    """The network of a preset that hears.

    Args:
        source: names it.
        part: what of its backbone is made; None: `encoder_of`.

    Raises:
        ConfigError: there is no such preset, or it is of another kind.
        DataError: it cannot be had.
    """
    check_preset(source)
    hub = keras_hub()
    backbone = _backbone(source, "float32")
    kind = type(backbone).__name__
    if kind not in _ENCODERS:
        raise ConfigError(
            f"pretrained: {source} holds a {kind}, which does not hear: choose a preset of Whisper or Moonshine."
        )
    policy = keras.config.dtype_policy().name
    if kind != MOONSHINE and policy != "float32":  # KerasHub 0.32 builds Moonshine of no mixed precision
        backbone = _backbone(source, policy)
    with opening(source, FILES):
        converter = hub.layers.AudioConverter.from_preset(source)
    network, rate = (part or encoder_of)(backbone), int(converter.sampling_rate)
    if kind == MOONSHINE:
        return SoundPreset(network, kind, converter, rate, _HOP, None, _LONGEST)
    hop, bands = int(converter.stride), int(backbone.num_mels)
    if bands != converter.num_mels:
        raise ConfigError(
            f"pretrained: {source} has a network of {bands} mel bands and an audio_converter.json of "
            f"{converter.num_mels}: they do not belong together."
        )
    places = backbone.max_encoder_sequence_length // SUBSAMPLING
    return SoundPreset(network, kind, converter, rate, hop, bands, places * SUBSAMPLING * hop / rate)


def _backbone(source: str, policy: str) -> Any:
    with opening(source, FILES):
        return keras_hub().models.Backbone.from_preset(source, load_weights=False, dtype=policy)


def encoder_of(backbone: Any) -> keras.Model:
    """Of a backbone the part that hears: (features float32 [rows, frames, bands], counts float32 [rows, frames, 1], 1
    where a frame is sound, else 0) -> [rows, frames / 2, width], of an even number of frames."""
    return _ENCODERS[type(backbone).__name__](backbone)


def _whisper(backbone: Any) -> keras.Model:
    """A clip of any length up to the table of places, of which the first are taken: what stands behind its end is
    hidden from attention, as KerasHub's own encoder would be shown the clip's frames alone. (That has no mask: there
    each clip is filled up with silence to 30 s.)"""
    mels, counts = keras.Input((None, backbone.num_mels), name="features"), keras.Input((None, 1), name="counts")
    gelu = keras.activations.gelu
    x = gelu(backbone.encoder_conv_layer_1(mels), approximate=False)
    x = x * keras.ops.cast(counts, x.dtype)
    x = keras.layers.ZeroPadding1D(1, name="encoder_padder")(x)
    x = gelu(backbone.encoder_conv_layer_2(x), approximate=False)
    x = backbone.encoder_embeddings_add((x, backbone.encoder_position_embedding(x)))
    x = backbone.encoder_embeddings_dropout(x)
    heard = keras.ops.cast(counts[:, ::SUBSAMPLING, 0], "int32")
    for layer in backbone.encoder_transformer_layers:
        x = layer(x, padding_mask=heard)
    return keras.Model([mels, counts], backbone.encoder_layer_norm(x), name="encoder")


def _moonshine(backbone: Any) -> keras.Model:
    """The features are the samples themselves, 192 a frame. The norm behind the first convolution is over the sound
    alone; answers whose samples reach behind the end are hidden from attention, and given all the same, as KerasHub's
    encoder would answer to the clip filled up to whole frames, and one or two answers more. All in float32."""
    frames, counts = keras.Input((None, _HOP), name="features"), keras.Input((None, 1), name="counts")
    x = keras.layers.Reshape((-1, 1), dtype="float32", name="samples")(frames)
    x = keras.layers.ZeroPadding1D((0, _BEHIND), dtype="float32", name="samples_padded")(x)
    x = backbone.tanh_after_conv1(backbone.conv1(x))
    first = _first_steps(counts)
    over_sound = NormOverSound(dtype="float32", name="norm_over_sound")
    x = over_sound(x, keras.ops.maximum(first, 1))
    over_sound.norm.set_weights(backbone.group_norm.get_weights())
    x = backbone.gelu_after_conv2(backbone.conv2(x))
    x = backbone.gelu_after_conv3(backbone.conv3(x))
    rotary = backbone.encoder_rotary_embedding(backbone.get_layer("encoder_positions")(x))
    x = backbone.encoder_dropout(x)
    heard = heard_of(counts)
    for block in backbone.encoder_blocks:
        x = block(x, rotary, attention_mask=heard)
    return keras.Model([frames, counts], backbone.encoder_final_layer_norm(x), name="encoder")


def heard_of(counts: Any) -> Any:
    """bool [rows, answers]: which of Moonshine's answers are of sound alone, the first in any case; of the frames that
    count, float32 [rows, frames, 1]."""
    answers = keras.ops.maximum(_steps(_steps(_first_steps(counts), 7, 3), 3, 2), 1)
    place = keras.ops.cumsum(keras.ops.ones_like(counts[:, ::SUBSAMPLING, 0]), axis=1) - 1
    return keras.ops.less(place, keras.ops.cast(keras.ops.expand_dims(answers, -1), place.dtype))


def _first_steps(counts: Any) -> Any:
    """int32 [rows]: how many answers Moonshine's first convolution gives of the sound alone."""
    samples = _HOP * keras.ops.cast(keras.ops.sum(counts[..., 0], axis=1), "int32")
    return _steps(samples, 127, 64)


def _steps(number: Any, size: int, stride: int) -> Any:
    """How many answers a convolution without padding gives."""
    return (number - size) // stride + 1


_ENCODERS: dict[str, Callable[[Any], keras.Model]] = {_WHISPER: _whisper, MOONSHINE: _moonshine}


@keras.saving.register_keras_serializable(_PACKAGE)
class NormOverSound(keras.layers.Layer):
    """Group normalisation of one group (Wu & He, 2018), its mean and variance those of each clip's first frames.

    The weights lie in a layer of Keras' own kind, as a preset's do.
    """

    def __init__(self, epsilon: float = 1e-5, **settings: Any) -> None:
        super().__init__(**settings)
        self.epsilon = epsilon
        self.norm = keras.layers.GroupNormalization(groups=1, epsilon=epsilon, dtype=self.dtype_policy, name="norm")

    def build(self, x_shape: Any, count_shape: Any = None) -> None:
        """Of the inner layer."""
        del count_shape
        self.norm.build(x_shape)

    def call(self, x: Any, count: Any) -> Any:
        """x [rows, frames, width]; count int32 [rows]: how many of the frames are looked at."""
        wide = keras.ops.cast(x, "float32")
        place = keras.ops.arange(keras.ops.shape(x)[1], dtype="int32")
        there = keras.ops.cast(place[None] < count[:, None], "float32")[..., None]
        total = keras.ops.sum(there, axis=(1, 2), keepdims=True) * x.shape[-1]
        mean = keras.ops.sum(wide * there, axis=(1, 2), keepdims=True) / total
        variance = keras.ops.sum(keras.ops.square(wide - mean) * there, axis=(1, 2), keepdims=True) / total
        scaled = (wide - mean) * keras.ops.rsqrt(variance + self.epsilon)
        gamma, beta = (keras.ops.cast(one, "float32") for one in (self.norm.gamma, self.norm.beta))
        return keras.ops.cast(scaled * gamma + beta, x.dtype)

    def compute_output_spec(self, x: Any, count: Any) -> Any:
        """Of the same shape."""
        del count
        return keras.KerasTensor(x.shape, x.dtype)

    def get_config(self) -> dict[str, Any]:
        """See keras.layers.Layer."""
        return {**super().get_config(), "epsilon": self.epsilon}
