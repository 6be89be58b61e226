"""What a person reads of a text, as a record and as a table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import ConfigDict, Field

from pipelines import predictions
from pipelines.labelled.tables import class_table
from pipelines.predictions import Probability
from pipelines.task import Assets, Table
from tasks.text_sentiment.config import Config


class Prediction(predictions.Answer):
    """A text that has one label."""

    label: str = Field(description="The most probable class.")
    probability: Probability = Field(description="Of that class, calibrated on the validation split.")
    probabilities: dict[str, Probability] = Field(min_length=1, description="Of every class.")


class Row(predictions.Row):
    """A row of CSV; further columns are probability_NAME, of every class."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Probability] = Field(init=False)

    label: str = Field("", description="The most probable class.")
    probability: Probability | None = Field(None, description="Of that class.")


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
