"""What a person reads of an image, as a record and as a table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from pipelines import predictions, scoring
from pipelines.labelled.tables import class_table
from pipelines.predictions import Probability
from pipelines.task import Assets, Table
from tasks.image_classification import multilabel
from tasks.image_classification.config import Config


class Ranked(BaseModel):
    """A class and how probable it is."""

    model_config = ConfigDict(extra="forbid")

    label: str
    probability: Probability


class OneLabel(predictions.Answer):
    """An image that has one label."""

    label: str = Field(description="The most probable class.")
    probability: Probability = Field(description="Of that class, calibrated on the validation split.")
    top_k: list[Ranked] = Field(min_length=1, description="The k most probable classes, best first.")


class AnyLabels(predictions.Answer):
    """An image that may have several labels, or none (--multi-label)."""

    labels: list[Ranked] = Field(description="The classes at or above their threshold, best first.")
    top_k: list[Ranked] = Field(min_length=1, description="The k most probable classes, best first.")


Prediction = OneLabel | AnyLabels


class Row(predictions.Row):
    """A row of CSV; further columns are probability_NAME, of every class."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Probability] = Field(init=False)

    label: str = Field("", description="The most probable class.")
    probability: Probability | None = Field(None, description="Of that class.")
    labels: str = Field("", description="With --multi-label, in place of both: all labels, joined as in tables.")


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
