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
_UPDATES = 400
"""From scratch: fewer leave a translator that repeats itself."""
_MOST_EPOCHS = 100
_FEW = 200_000
"""Places for pieces of all training pairs, under which batches are half as large and the learning rate is higher, or
the updates would take too long."""
_TOKENS, _RATE = 2_048, 3e-3
_WINDOW = 10
"""Windows of the averaged weights that a training has at least."""


def imply(config: Config) -> Config:
    """The config with the model of the run that `pretrained` names, where it was not set."""
    return with_model_of(config, "translation", _OF_THE_MODEL)


def resolve(config: Config, data: Data) -> Config:
    """What the run to start from decides is filled in first; the languages of the data; and how it is trained from
    scratch on few sentences, where that was not set."""
    config = imply(config)
    languages = data.assets["languages"]
    config = config.model_copy(update={"source_lang": languages["source"], "target_lang": languages["target"]})
    sizes = data.splits["train"].sizes
    assert sizes is not None
    return config if config.pretrained is not None else _enough(config, int(sizes.max(axis=1).sum()), len(sizes))


def _enough(config: Config, places: int, pairs: int) -> Config:
    """Of few sentences small batches, and as many epochs as make enough updates; the weights' average no longer than
    suits them."""
    set_here, most = config.model_fields_set, config.max_tokens
    update: dict[str, Any] = {}
    if places < _FEW and config.tokens_per_batch is not None and most <= _TOKENS:
        update = {"tokens_per_batch": _TOKENS, "learning_rate": _RATE}
    budget = update.get("tokens_per_batch", config.tokens_per_batch)
    batches = math.ceil(places / budget) if budget else math.ceil(pairs / config.batch_size)
    update["epochs"] = max(config.epochs, min(math.ceil(_UPDATES / batches), _MOST_EPOCHS))
    updates = batches * (config.epochs if "epochs" in set_here else update["epochs"])
    if config.average is not None:
        update["average"] = min(config.average, round(1 - _WINDOW / max(updates, 2 * _WINDOW), 4))
    return config.model_copy(update={name: value for name, value in update.items() if name not in set_here})
