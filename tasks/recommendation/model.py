"""The recommender: its network, which is kept, and what trains it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from pipelines.task import Assets, Built, Head, Metric
from tasks.recommendation.backbones import FEATURES, ITEMS, READ, TEXTS, USERS, build_network
from tasks.recommendation.config import DRAWING, SEQUENTIAL, Config
from tasks.recommendation.linear import solve
from tasks.recommendation.losses import squared_loss
from tasks.recommendation.objective import Objective
from tasks.recommendation.vectors import read_items


def build_model(config: Config, assets: Assets) -> Built:
    """The network within its objective; the network alone is kept. That of ease is solved, and needs none."""
    if config.backbone == "ease":
        network = build_network(config, assets)
        return Built(network, squared_loss, {}, solve=partial(solve, network, config))
    read = None if config.text_encoder is None else read_items(config, assets)
    network = build_network(config, assets, None if read is None else read.table)
    sequential = config.backbone in SEQUENTIAL
    names = ["history" if sequential else "user", "positive", "seen", *["negative"] * (config.loss in DRAWING)]
    inputs = {name: keras.Input(() if name == "user" else (None,), dtype="int32", name=name) for name in names}
    outputs = Objective(network, config, assets, name="objective")(inputs)
    model = keras.Model(inputs, outputs, name=config.backbone)
    tables = {ITEMS: "items", **({} if sequential else {USERS: "users"})}
    loss, metrics = _RATING if config.rates else (_output("loss"), _ranking(config))
    if config.backbone == "two-tower":
        tables |= {f"{side}{FEATURES}{READ}": asset for side in tables if assets.get(asset := f"{side}_numbers")}
    # What tables say is the data's own: a warm start must not bring that of other data.
    head = Head((*tables, *(name + FEATURES for name in (USERS, ITEMS)), ITEMS + TEXTS), units=None)
    encoders = {} if read is None else {"text_encoder": read.origin}
    return Built(model, loss, metrics, head=head, tables=tables, whole=network, encoders=encoders)


def _output(name: str) -> Callable[[Any, Any], Any]:
    return lambda y, outputs: outputs[name]


def _ranking(config: Config) -> dict[str, Metric]:
    """How high the held-out items stand; all items are ranked for it, so training does without."""
    return {f"ndcg@{config.k}": Metric(_output("gain"), in_training=False)}


def _squared(y: Any, outputs: Any) -> Any:
    return squared_loss(y, outputs["score"])


def _penalised(y: Any, outputs: Any) -> Any:
    return _squared(y, outputs) + outputs["penalty"]


_RATING = (
    _penalised,
    {
        "mse": Metric(_squared, higher_is_better=False),
        "mae": Metric(lambda y, outputs: keras.ops.abs(outputs["score"] - y), higher_is_better=False),
    },
)
"""The loss of ratings, and what is followed of them."""
