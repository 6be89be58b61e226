"""What the run to start from, and the data, imply for the settings that were left out."""

import math
from typing import Any

from pipelines.artefact import with_model_of
from pipelines.task import Data
from tasks.translation.config import Config

_OF_THE_MODEL = (
    *("backbone", "size", "layers", "width", "heads", "dropout"),
    *("vocabulary", "vocabulary_size", "joint", "byte_fallback", "lowercase", "max_tokens"),
)
_UPDATES = 1_500
"""From scratch: fewer leave a translator that repeats itself (docs/log.md)."""
_MOST_EPOCHS = 40


def imply(config: Config) -> Config:
    """The config with the model of the run that `pretrained` names, where it was not set."""
    return with_model_of(config, "translation", _OF_THE_MODEL)


def resolve(config: Config, data: Data) -> Config:
    """What the run to start from decides is filled in first; the languages of the data; and more epochs where the train
    split holds few sentences, unless they were set."""
    config = imply(config)
    languages = data.assets["languages"]
    update: dict[str, Any] = {"source_lang": languages["source"], "target_lang": languages["target"]}
    if config.pretrained is None and "epochs" not in config.model_fields_set:
        update["epochs"] = max(config.epochs, min(math.ceil(_UPDATES / _batches(config, data)), _MOST_EPOCHS))
    return config.model_copy(update=update)


def _batches(config: Config, data: Data) -> int:
    """About how many an epoch has."""
    store = data.splits["train"]
    if config.tokens_per_batch is None or store.sizes is None:
        return math.ceil(len(store) / config.batch_size)
    return math.ceil(float(store.sizes.max(axis=1).sum()) / config.tokens_per_batch)
