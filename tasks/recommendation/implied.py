"""What the run to start from, and the data, imply for the settings that were left out."""

from typing import Any

from pipelines.artefact import with_model_of
from pipelines.task import Data
from tasks.recommendation.config import SEQUENTIAL, Config
from tasks.recommendation.data import decide
from tasks.recommendation.linear import penalty
from tasks.recommendation.vectors import read_items

_OF_THE_MODEL = ("backbone", "width", "layers", "heads", "max_history", "text_encoder")

_MOST_ITEMS = 20_000
"""Of a softmax over all."""
_FEW_PAIRS = 50_000
"""Interactions under which an epoch in batches of 256 has fewer than 200 updates."""


def imply(config: Config) -> Config:
    """The config with the model of the run that `pretrained` names, where it was not set."""
    return with_model_of(config, "recommendation", _OF_THE_MODEL)


def resolve(config: Config, data: Data) -> Config:
    """What the run to start from decides is filled in first, then what the data decide, then the loss."""
    config = decide(imply(config), data.assets["origin"])
    if config.text_encoder is not None:
        read_items(config, data.assets)  # what is wrong with it is said before anything is built
    if config.backbone == "ease":
        return config.model_copy(update={"loss": "squares", "l2": penalty(config, data)})
    update: dict[str, Any] = {
        name: value
        for name, value in _usual(config, len(data.splits["train"])).items()
        if name not in config.model_fields_set
    }
    if config.loss == "auto":
        update["loss"] = _loss(config, len(data.assets["items"]))
    return config.model_copy(update=update)


def _usual(config: Config, examples: int) -> dict[str, float]:
    """What suits a backbone, where nothing else is set. A warm start is no exception: at a tenth of the rate users and
    items that are new would not be learnt."""
    if config.backbone == "mf":
        # A penalty does for factors what dropout does, at a quarter of the time.
        return {"learning_rate": 0.005, "dropout": 0.0, **({} if config.rates else {"l2": 2e-4})}
    if config.backbone == "neumf" and config.rates:
        return {}
    if config.backbone == "neumf":
        return {"learning_rate": 0.003, "negatives": 8, "batch_size": 64 if examples < _FEW_PAIRS else 256}
    rates = {"sasrec": 0.001, "gru4rec": 0.005, "two-tower": 0.003}
    batch = {"batch_size": _users_at_once(examples)} if config.backbone in SEQUENTIAL else {}
    return {"learning_rate": rates[config.backbone], **batch}


def _users_at_once(users: int) -> int:
    """Of histories: of few users fewer, 32 at least, so that an epoch has 16 updates; 256 of 4,096."""
    return min(max(1 << (max(users // 16, 1).bit_length() - 1), 32), 256)


def _loss(config: Config, items: int) -> str:
    """Over all items as long as a batch's scores of them all are no burden."""
    if config.backbone == "neumf":
        return "pointwise"
    return "softmax" if items <= _MOST_ITEMS else "sampled-softmax"
