"""What the preset or the run to start from, and the data, imply for the settings that were left out."""

import math
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from pipelines.artefact import read_settings
from pipelines.errors import ConfigError
from pipelines.runs import Run
from pipelines.task import Data
from pipelines.transfer import kind_of
from pipelines.transfer.sound_presets import MOONSHINE, sound_preset
from tasks.speech_recognition.config import CTC, GENERATE, PRESET, Config, without_effect
from tasks.speech_recognition.data.stores import ClipStore
from tasks.speech_recognition.generation import FEW

_OURS = ("size", "layers", "width", "heads")
"""What is of our own networks alone."""
_OF_THE_FEATURES = ("rate", "mels", "window_ms", "hop_ms", "subsampling", "normalization")
_OF_THE_MODEL = (
    *(*_OF_THE_FEATURES, "decoder", "units", "vocabulary_size", "lowercase"),
    *("backbone", *_OURS, "dropout"),
)
_LENGTHS = ("max_seconds", "chunk_seconds")
_OF_A_PRESET = (*_LENGTHS, "overlap_seconds", "mel_masks")
_UPDATES, _MOST_EPOCHS = 2_000, 80
"""From scratch: before some hundreds a CTC network says nothing but blanks."""
_OF_JOINED = 0.75
"""As many of both do where clips go on: each update sees more sound."""
_UPDATES_OF_PRESETS, _EPOCHS_OF_PRESETS = 600, 5
"""Where an encoder hears already; as many epochs at least."""
_FEW = ((0.5, 32.0), (3.0, 64.0))
"""Hours of training sound under which batches have so many seconds, that the updates do not take too many passes."""
_PIECES_PER_SECOND = 6.5
"""More are no speech but a model that goes in circles (Hugging Face's card of Moonshine)."""
_MOST_PIECES = 100.0
_WINDOW = 10
"""Windows of the averaged weights that a training has at least."""


def imply(config: Config) -> Config:
    """The config with the model of what `pretrained` names, a preset or a run, where it was not set. Once it is, as in
    the run.yaml of a run that began with it, that may be gone.

    Raises:
        ConfigError: that is another network, or takes less, than was set.
        DataError: a preset cannot be had.
        StateError: the settings of the run are damaged.
    """
    wanted = [name for name in _OF_THE_MODEL if name not in config.model_fields_set]
    if config.pretrained is None or not wanted:
        return config
    kind = kind_of(config.pretrained)
    if kind not in ("run", "preset"):
        raise ConfigError(
            f"pretrained: {config.pretrained} is for networks that see images: name a KerasHub preset of Whisper or "
            "Moonshine, or the folder of a finished run of speech-recognition."
        )
    update = _of_a_run(config) if kind == "run" else _of_a_preset(config)
    update = {name: value for name, value in update.items() if name not in config.model_fields_set}
    filled = _checked(config.model_copy(update=update))
    if idle := without_effect(filled, config.model_fields_set):
        raise ConfigError(f"{idle}.")
    return filled


def _of_a_run(config: Config) -> dict[str, Any]:
    """The model as it is there; of a preset also how long a clip it takes."""
    before = read_settings(Run(Path(str(config.pretrained))), "speech-recognition")
    if "decoder" in config.model_fields_set and config.decoder != before.decoder:
        raise ConfigError(
            f"decoder {config.decoder}: the run {config.pretrained} has a decoder {before.decoder}, which is taken "
            "over: leave decoder out."
        )
    if before.backbone != PRESET:
        return {name: getattr(before, name) for name in _OF_THE_MODEL}
    found = {name: getattr(before, name) for name in (*_OF_THE_MODEL, *_OF_A_PRESET)}
    _check(config, {name: found[name] for name in _OF_THE_FEATURES})
    return found


def _of_a_preset(config: Config) -> dict[str, Any]:
    """What it hears and how long a clip it takes; Moonshine has no mel bands that could be hidden."""
    kind, rate, window, hop, bands, longest = _known(str(config.pretrained))
    writes = kind == MOONSHINE
    if config.decoder == GENERATE and not writes:
        raise ConfigError(
            f"decoder generate: {config.pretrained} holds a {kind}, and KerasHub has none but Moonshine that writes "
            "what it hears: leave decoder out."
        )
    found: dict[str, Any] = {
        "rate": rate,
        "window_ms": 1_000 * window / rate,
        "hop_ms": 1_000 * hop / rate,
        "subsampling": 2,
        "normalization": "utterance",
        "decoder": config.decoder if "decoder" in config.model_fields_set else GENERATE if writes else CTC,
        **({"mel_masks": 0} if bands is None else {"mels": bands}),
    }
    _check(config, found)
    for name in _LENGTHS:
        if getattr(config, name) > longest and name in config.model_fields_set:
            raise ConfigError(f"{name} {getattr(config, name):g}: {config.pretrained} takes {longest:g} s at most.")
        found[name] = min(getattr(config, name), longest)
    return {**found, "overlap_seconds": min(config.overlap_seconds, found["chunk_seconds"] / 4), "backbone": PRESET}


@cache
def _known(source: str) -> tuple[str, int, int, int, int | None, float]:
    """Of a preset: the class of its network; samples a second, of a window and of a hop; mel bands; seconds that it
    takes at most."""
    preset = sound_preset(source)
    window = int(getattr(preset.converter, "num_fft_bins", 2 * preset.hop))
    return preset.kind, preset.rate, window, preset.hop, preset.bands, preset.longest


def _check(config: Config, found: dict[str, Any]) -> None:
    """See that nothing was set that a preset has otherwise, or has not."""
    given, fields = config.model_fields_set, type(config).model_fields
    if config.backbone != PRESET and "backbone" in given:
        raise ConfigError(
            f"backbone {config.backbone} and the preset in {config.pretrained} are two networks: leave backbone out, "
            "the preset brings its own."
        )
    other = [name for name in _OURS if name in given and getattr(config, name) != fields[name].default]
    other += [name for name, value in found.items() if name in given and getattr(config, name) != value]
    if other:
        raise ConfigError(
            f"{other[0]} {getattr(config, other[0])}: {config.pretrained} holds a preset, which brings its own network "
            f"and what it hears: leave {other[0]} out."
        )


def _checked(config: Config) -> Config:
    """See that what was filled in goes with what was set."""
    if config.backbone == PRESET and 2 * config.overlap_seconds > config.chunk_seconds:
        raise ConfigError(
            f"overlap_seconds {config.overlap_seconds:g} is more than half of the {config.chunk_seconds:g} s that "
            f"{config.pretrained} takes: lower it."
        )
    if config.min_seconds >= config.max_seconds:
        raise ConfigError(
            f"min_seconds {config.min_seconds:g} leaves nothing below the {config.max_seconds:g} s that "
            f"{config.pretrained} takes: lower it."
        )
    return config


def resolve(config: Config, data: Data) -> Config:
    """What the preset or the run to start from decides is filled in first; the data's rate; how much is written; and
    how it is trained on little sound, where that was not set."""
    config = imply(config).model_copy(update={"rate": int(data.assets["rate"])})
    train = cast(ClipStore, data.splits["train"])
    sizes = train.sizes
    assert sizes is not None
    seconds = float(sizes.sum()) / data.assets["rate"]
    if config.decoder == GENERATE and config.pieces_per_second is None:
        config = config.model_copy(update={"pieces_per_second": _fastest(train, sizes[:, 0] / data.assets["rate"])})
    preset = config.backbone == PRESET
    return _enough(config, seconds, len(sizes)) if preset or config.pretrained is None else config


def _fastest(train: ClipStore, seconds: np.ndarray) -> float:
    """Pieces a second that hold every training transcript beside the few that any may have; as many as Moonshine's
    authors allow English, at least."""
    assert train.written is not None
    _, splits = train.written.take(np.arange(len(train)) if train.places is None else train.places)
    needed = (np.diff(splits) + 1 - FEW) / np.maximum(seconds, 0.1)
    return min(max(_PIECES_PER_SECOND, math.ceil(10 * float(needed.max())) / 10), _MOST_PIECES)


def _enough(config: Config, seconds: float, clips: int) -> Config:
    """Of little sound small batches, and as many epochs as make enough updates; the weights' average no longer than
    suits them."""
    set_here = config.model_fields_set
    update: dict[str, Any] = {}
    fewer = next((many for hours, many in _FEW if seconds < 3_600 * hours), None)
    if fewer is not None and config.seconds_per_batch is not None:
        update["seconds_per_batch"] = max(fewer, config.max_seconds)
    budget = update.get("seconds_per_batch", config.seconds_per_batch)
    budget = config.seconds_per_batch if "seconds_per_batch" in set_here else budget
    batches = math.ceil(seconds / budget) if budget else math.ceil(clips / config.batch_size)
    update["epochs"] = _epochs(config, batches)
    updates = batches * (config.epochs if "epochs" in set_here else update["epochs"])
    if config.average is not None:
        update["average"] = min(config.average, round(1 - _WINDOW / max(updates, 2 * _WINDOW), 4))
    return config.model_copy(update={name: value for name, value in update.items() if name not in set_here})


def _epochs(config: Config, batches: int) -> int:
    if config.backbone != PRESET:
        share = _OF_JOINED if config.joined else 1.0
        return max(config.epochs, math.ceil(share * min(_UPDATES / batches, _MOST_EPOCHS)))
    stages = len(config.stage_rates) if config.unfreeze == "staged" else 0
    return max(_EPOCHS_OF_PRESETS, stages, min(math.ceil(_UPDATES_OF_PRESETS / batches), _MOST_EPOCHS))
