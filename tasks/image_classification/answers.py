"""What a person reads of an image, as a record and as a table."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines import scoring
from pipelines.labelled.tables import class_table
from pipelines.task import Assets, Table
from tasks.image_classification import multilabel
from tasks.image_classification.config import Config


def answer(probabilities: np.ndarray, classes: Sequence[str], k: int) -> dict[str, Any]:
    """What a person reads of probabilities [classes]: the best label, and the k best with theirs."""
    best = np.argsort(-probabilities, kind="stable")[:k]
    top = [{"label": classes[index], "probability": float(probabilities[index])} for index in best]
    return {**top[0], "top_k": top}


def table(config: Config, assets: Assets) -> Table:
    """The same as a row of CSV: the best label, or all that were given, and the probability of every class."""
    if config.multi_label:
        return multilabel.table(config, assets)
    first, temperature = ("label", "probability"), assets.get("temperature", 1.0)
    return class_table(
        first,
        assets["classes"],
        lambda record: {name: record.answer[name] for name in first},
        lambda record: scoring.softmax(np.asarray(record.output), temperature).tolist(),
    )
