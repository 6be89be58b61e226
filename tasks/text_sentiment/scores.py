"""How text sentiment is judged: scores, calibration, scores by length; the baseline and the figures lie beside.

`Record.output` holds logits, float32 [classes], BEFORE the temperature (log-probabilities are logits too).
`Record.answer` shows probabilities AFTER it: `softmax(output, assets.get("temperature", 1.0))`. A baseline is scored
with assets that hold no temperature, so at 1.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipelines import scoring
from pipelines.errors import ConfigError
from pipelines.task import Assets, Raw, Record, Scores
from tasks.text_sentiment.config import Config


def targets(references: Raw, assets: Assets) -> list[Any]:
    """The true label of each text."""
    return [assets["classes"][label] for label in references["label"].tolist()]


def calibrate(config: Config, assets: Assets, records: Sequence[Record], references: Raw) -> Assets:
    """The assets with the temperature that fits the validation split."""
    logits = scoring.outputs_of(records, len(references["label"]), "text")
    return {**assets, "temperature": scoring.fit_temperature(logits, references["label"])}


def grades(config: Config, classes: Sequence[str]) -> list[float] | None:
    """The grade that each class stands for; None where labels are not ordered.

    Raises:
        ConfigError: they are to be, and one is not a number.
    """
    numbers = [_number(name) for name in classes]
    if config.ordered == "no" or (config.ordered == "auto" and (len(classes) < 3 or None in numbers)):
        return None
    if None in numbers:
        word = classes[numbers.index(None)]
        raise ConfigError(f"ordered: the class {word!r} is no number; name the classes 1, 2, 3, …, or set it to no.")
    return [number for number in numbers if number is not None]


def _number(name: str) -> float | None:
    try:
        number = float(name)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def score(records: Sequence[Record], references: Raw, config: Config, assets: Assets) -> Scores:
    """Accuracy (the headline), macro F1, MCC, AUC of two classes, quadratic kappa of grades, log loss and ECE with
    their intervals; figures by class, and by the length of the whole text."""
    logits, labels = scoring.outputs_of(records, len(references["label"]), "text"), references["label"]
    found = scoring.classification_scores(
        logits,
        labels,
        assets["classes"],
        temperature=assets.get("temperature", 1.0),
        k=1,
        seed=scoring.SEED,
        grades=grades(config, assets["classes"]),
    )
    by_length = scoring.by_quarter(references["tokens"], logits.argmax(axis=1) == labels, "tokens", scoring.SEED)
    return replace(found, breakdowns={**found.breakdowns, "length": by_length})
