"""What the weights to start from imply for the settings that were left out: the network, its size, its images."""

from pathlib import Path
from typing import Any

from pipelines.artefact import read_settings
from pipelines.errors import ConfigError, DataError, StateError
from pipelines.runs import Run
from pipelines.task import Data
from pipelines.transfer import kind_of
from tasks.image_classification.config import Config
from tasks.image_classification.data import decide
from tasks.image_classification.networks import PRESET

_OF_THE_MODEL = ("backbone", "width", "hidden", "image_size")
_SIZES = {"cnn": "width", "mlp": "hidden"}
"""What decides the shapes of the networks that have a choice."""


def imply(config: Config) -> Config:
    """The config with what follows from `pretrained`, where it was not set.

    Raises:
        ConfigError: the network that was set is another one.
        DataError: a preset cannot be had, or the settings of a run are damaged.
    """
    if config.pretrained is None:
        return config
    kind, update = kind_of(config.pretrained), dict[str, Any]()
    named = config.backbone if "backbone" in config.model_fields_set else None
    if kind == "run":
        before = _settings_of(config.pretrained)
        if named not in (None, before.backbone):
            # Some of its variables would fit by chance, and mean nothing there.
            raise ConfigError(
                f"backbone {named} and the run {config.pretrained}, of {before.backbone}, are two networks: leave "
                "backbone out, so that it is taken from there."
            )
        update = {name: getattr(before, name) for name in _OF_THE_MODEL if name not in config.model_fields_set}
        size = _SIZES.get(before.backbone)
        if size is not None and size not in update and getattr(config, size) != getattr(before, size):
            # The same: the second stage of the narrow one has the shapes of the first stage of the wide one.
            raise ConfigError(
                f"{size} {_written(config, size)} and the run {config.pretrained}, which has {size} "
                f"{_written(before, size)}, are two networks: leave {size} out, so that it is taken from there."
            )
    elif kind == "preset":
        if named not in (None, PRESET):
            raise ConfigError(
                f"backbone {named} and the preset {config.pretrained} are two networks: leave backbone out, the preset "
                "brings its own."
            )
        update["backbone"] = PRESET
        if config.image_size is None:
            update["image_size"] = _preset_size(config.pretrained)
    return config.model_copy(update=update)


def resolve(config: Config, data: Data) -> Config:
    """What the pretrained weights decide is filled in first, then what the data decides."""
    return decide(imply(config), data)


def _settings_of(source: str) -> Config:
    try:
        before: Config = read_settings(Run(Path(source)), "image-classification")
    except StateError as error:
        raise DataError(f"pretrained: {error}") from error
    return before


def _written(config: Config, size: str) -> str:
    value = getattr(config, size)
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _preset_size(source: str) -> int | None:
    from pipelines.transfer.presets import image_preset

    return image_preset(source).size
