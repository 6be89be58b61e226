"""What the weights to start from imply for the settings that were left out: the network, its size, its images."""

from pathlib import Path
from typing import Any

from pipelines.artefact import read_settings
from pipelines.errors import ConfigError
from pipelines.runs import Run
from pipelines.transfer import kind_of
from tasks.image_classification.config import Config
from tasks.image_classification.networks import PRESET

_OF_THE_MODEL = ("backbone", "width", "hidden", "image_size")


def imply(config: Config) -> Config:
    """The config with what follows from `pretrained`, where it was not set.

    Raises:
        ConfigError: the network that was set is another one.
        DataError: a preset cannot be had.
    """
    if config.pretrained is None:
        return config
    kind, update = kind_of(config.pretrained), dict[str, Any]()
    named = config.backbone if "backbone" in config.model_fields_set else None
    if kind == "run":
        before = read_settings(Run(Path(config.pretrained)), "image-classification")
        if named not in (None, before.backbone):
            # Some of its variables would fit by chance, and mean nothing there.
            raise ConfigError(
                f"backbone {named} and the run {config.pretrained}, of {before.backbone}, are two networks: leave "
                "backbone out, so that it is taken from there."
            )
        update = {name: getattr(before, name) for name in _OF_THE_MODEL if name not in config.model_fields_set}
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


def _preset_size(source: str) -> int | None:
    from pipelines.transfer.presets import image_preset

    return image_preset(source).size
