"""What the run to start from, and the data, imply for the settings that were left out."""

import math
from typing import Any

from pipelines.artefact import with_model_of
from pipelines.task import Data
from tasks.speech_recognition.config import Config

_OF_THE_MODEL = (
    *("rate", "mels", "window_ms", "hop_ms", "subsampling", "normalization", "units", "vocabulary_size", "lowercase"),
    *("backbone", "size", "layers", "width", "heads", "dropout"),
)
_UPDATES = 2_000
"""From scratch: before some hundreds a CTC network says nothing but blanks."""
_MOST_EPOCHS = 80
_FEW = ((0.5, 32.0), (3.0, 64.0))
"""Hours of training sound under which batches have so many seconds, that the updates do not take too many passes."""
_WINDOW = 10
"""Windows of the averaged weights that a training has at least."""


def imply(config: Config) -> Config:
    """The config with the model of the run that `pretrained` names, where it was not set."""
    return with_model_of(config, "speech-recognition", _OF_THE_MODEL)


def resolve(config: Config, data: Data) -> Config:
    """What the run to start from decides is filled in first; the data's rate; and how it is trained from scratch on
    little sound, where that was not set."""
    config = imply(config).model_copy(update={"rate": int(data.assets["rate"])})
    sizes = data.splits["train"].sizes
    assert sizes is not None
    seconds = float(sizes.sum()) / data.assets["rate"]
    return config if config.pretrained is not None else _enough(config, seconds, len(sizes))


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
    update["epochs"] = max(config.epochs, min(math.ceil(_UPDATES / batches), _MOST_EPOCHS))
    updates = batches * (config.epochs if "epochs" in set_here else update["epochs"])
    if config.average is not None:
        update["average"] = min(config.average, round(1 - _WINDOW / max(updates, 2 * _WINDOW), 4))
    return config.model_copy(update={name: value for name, value in update.items() if name not in set_here})
