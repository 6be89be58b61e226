"""What the weights to start from imply for the settings that were left out: the network, its lengths, how it is
trained; without any, what the number of texts implies. Imports no TensorFlow where there are none."""

import math
from pathlib import Path
from typing import Any

from pipelines.artefact import read_settings
from pipelines.errors import ConfigError
from pipelines.runs import Run
from pipelines.task import Data
from pipelines.transfer import kind_of
from tasks.text_sentiment.config import PRESET, Config
from tasks.text_sentiment.scores import grades

_OF_THE_MODEL = (
    *("backbone", "vocabulary_size", "lowercase", "max_tokens", "long", "max_windows"),
    *("embedding", "width", "layers", "heads", "word_dropout", "dropout"),
)
_TUNED: dict[str, Any] = {"batch_size": 32, "weight_decay": 0.01, "warmup": 0.1, "dropout": 0.1, "average": None}
"""As BERT was fine-tuned (Devlin et al., 2019)."""
_UPDATES = 300
"""From scratch: fewer leave most networks near chance (docs/log.md)."""
_MOST_EPOCHS = 30
"""That few texts are passed over for it."""


def imply(config: Config) -> Config:
    """The config with what follows from `pretrained`, where it was not set.

    Raises:
        ConfigError: the network that was set is another one, or cannot take as many tokens.
        DataError: a preset cannot be had.
    """
    if config.pretrained is None:
        return config
    update = _of_a_run(config) if kind_of(config.pretrained) == "run" else _of_a_preset(config)
    return config.model_copy(update={name: value for name, value in update.items() if name not in _set(config)})


def resolve(config: Config, data: Data) -> Config:
    """What the pretrained weights decide is filled in first, then what the data decides: how long few texts are learnt
    from, whether labels are grades."""
    ordered = grades(config, data.assets["classes"]) is not None
    trained = enough_epochs(imply(config), len(data.splits["train"]))
    return trained.model_copy(update={"ordered": "yes" if ordered else "no"})


def enough_epochs(config: Config, texts: int) -> Config:
    """The config with more epochs where the train split has few texts, unless they were set or the weights decide."""
    if config.pretrained is not None or "epochs" in _set(config):
        return config
    wanted = min(math.ceil(_UPDATES / math.ceil(texts / config.batch_size)), _MOST_EPOCHS)
    return config.model_copy(update={"epochs": max(config.epochs, wanted)})


def _set(config: Config) -> set[str]:
    return config.model_fields_set


def _of_a_run(config: Config) -> dict[str, Any]:
    """The model as it is there; a preset is tuned on as before."""
    before = read_settings(Run(Path(str(config.pretrained))), "text-sentiment")
    update = {name: getattr(before, name) for name in _OF_THE_MODEL}
    return {**_training(config, None), **update} if before.backbone == PRESET else update


def _of_a_preset(config: Config) -> dict[str, Any]:
    from pipelines.transfer.text_presets import text_preset

    if config.backbone != PRESET and "backbone" in _set(config):
        raise ConfigError(
            f"backbone {config.backbone} and the preset {config.pretrained} are two networks: leave backbone out, the "
            "preset brings its own."
        )
    preset = text_preset(str(config.pretrained))
    longest = preset.longest or config.max_tokens
    if config.max_tokens > longest and "max_tokens" in _set(config):
        raise ConfigError(
            f"max_tokens {config.max_tokens}: {config.pretrained} takes {longest} tokens at most; --long windows sees "
            "longer texts."
        )
    width = getattr(preset.network, "hidden_dim", None)
    return {
        **_training(config, width),
        "backbone": PRESET,
        "max_tokens": min(config.max_tokens, longest),
        "word_dropout": 0.0,
    }


def _training(config: Config, width: int | None) -> dict[str, Any]:
    """Fine-tuning takes few epochs and a small learning rate, the smaller the wider the network; a head alone, or
    low-rank updates, a larger one."""
    rate = min(1e-4, round(1e-4 * 384 / (width or 384), 6))
    if config.unfreeze == "none":
        return {**_TUNED, "learning_rate": 3e-3, "epochs": 10}
    if config.unfreeze == "staged":
        return {**_TUNED, "learning_rate": 10 * rate, "epochs": max(4, len(config.stage_rates))}
    return {**_TUNED, "learning_rate": 10 * rate if config.lora_rank else rate, "epochs": 3}
