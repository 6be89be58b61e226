"""What a person reads of a text, as a record and as a table."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.labelled.tables import class_table
from pipelines.task import Assets, Table
from tasks.text_sentiment.config import Config


def answer(probabilities: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """What a person reads of probabilities [classes]: the best label, its probability, and that of every class."""
    best = int(probabilities.argmax())
    each = {name: float(share) for name, share in zip(classes, probabilities, strict=True)}
    return {"label": classes[best], "probability": each[classes[best]], "probabilities": each}


def table(config: Config, assets: Assets) -> Table:
    """The same as a row of CSV."""
    del config
    first = ("label", "probability")
    return class_table(
        first,
        assets["classes"],
        lambda record: {name: record.answer[name] for name in first},
        lambda record: record.answer["probabilities"].values(),
    )
