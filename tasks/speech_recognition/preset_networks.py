"""The networks that others trained: the encoder of a KerasHub preset, with its decoder where that writes, or those of a
run that began with one; and the layer that makes of sound what they hear."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from pipelines.artefact import load_model
from pipelines.errors import ConfigError
from pipelines.runs import Run
from pipelines.transfer import kind_of
from pipelines.transfer.sound_presets import PLACES, encoder_of, sound_preset
from pipelines.transfer.sound_writers import writer_of
from tasks.speech_recognition.config import GENERATE, Config
from tasks.speech_recognition.preset_features import Samples, WhisperMel


def hearing(config: Config, name: str) -> tuple[keras.layers.Layer, keras.Model, str]:
    """What makes the features, called by a name; the encoder, or of decoder generate what `writer_of` makes, with
    random weights where it is a preset's; its kind.

    Raises:
        ConfigError: there is no such preset, or it is of another kind.
        DataError: it cannot be had.
    """
    source = str(config.pretrained)
    if kind_of(source) == "run":
        whole, _ = load_model(Run(Path(source)))
        layer, encoder = whole.get_layer(name), encoder_in(whole)
        _check_lengths(config, encoder)
        return type(layer).from_config(layer.get_config()), encoder, whole.name
    preset = sound_preset(source, part_of(config))
    if preset.bands is None:
        normalised = bool(preset.converter.do_normalize)
        return Samples(preset.rate, preset.hop, normalised, name=name), preset.network, preset.kind
    window = int(preset.converter.num_fft_bins)
    return WhisperMel(preset.rate, preset.bands, window, preset.hop, name=name), preset.network, preset.kind


def part_of(config: Config) -> Callable[[Any], keras.Model]:
    """What of a preset's backbone is taken."""
    return writer_of if config.decoder == GENERATE else encoder_of


def _check_lengths(config: Config, encoder: keras.Model) -> None:
    """See that clips are no longer than Whisper's table of places, where that is what was there."""
    places = next((layer for layer in encoder.layers if layer.name == PLACES), None)
    longest = math.inf if places is None else places.sequence_length * config.stride_seconds
    for setting in ("max_seconds", "chunk_seconds"):
        if getattr(config, setting) > longest:
            raise ConfigError(
                f"{setting} {getattr(config, setting):g}: {config.pretrained} takes {longest:g} s at most."
            )


def encoder_in(network: keras.Model) -> keras.Model:
    """The encoder in the network of a preset, with its decoder where that is there too.

    Raises:
        ConfigError: it has none.
    """
    found: Any = next((layer for layer in network.layers if isinstance(layer, keras.Model)), None)
    if found is None:
        raise ConfigError(f"pretrained: {network.name} is no preset's network: leave backbone out.")
    return found
