"""How image classification is judged: scores and calibration; the baseline and the figures lie beside.

`Record.output` holds logits, float32 [classes], BEFORE the temperature (log-probabilities are logits too).
`Record.answer` shows probabilities AFTER it: `softmax(output, assets.get("temperature", 1.0))`. A baseline is scored
with assets that hold no temperature, so at 1. Images of several labels are judged in `multilabel`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines import scoring
from pipelines.task import Assets, Raw, Record, Scores
from tasks.image_classification import multilabel
from tasks.image_classification.config import Config


def targets(references: Raw, assets: Assets) -> list[Any]:
    """The true label of each image; where it may have several, a list of them."""
    if references["label"].ndim == 2:
        return multilabel.targets(references, assets)
    return [assets["classes"][label] for label in references["label"].tolist()]


def calibrate(config: Config, assets: Assets, records: Sequence[Record], references: Raw) -> Assets:
    """The assets with the temperature that fits the validation split; of several labels, with their thresholds."""
    if config.multi_label:
        return multilabel.calibrate(assets, _logits(records, references), references)
    return {**assets, "temperature": scoring.fit_temperature(_logits(records, references), references["label"])}


def score(records: Sequence[Record], references: Raw, config: Config, assets: Assets) -> Scores:
    """Accuracy (the headline), top-k accuracy, macro F1, log loss and ECE with their intervals; figures by class."""
    if config.multi_label:
        return multilabel.score(_logits(records, references), references, assets)
    return scoring.classification_scores(
        _logits(records, references),
        references["label"],
        assets["classes"],
        temperature=assets.get("temperature", 1.0),
        k=config.top_k,
        seed=scoring.SEED,
    )


def _logits(records: Sequence[Record], references: Raw) -> np.ndarray:
    return scoring.outputs_of(records, len(references["label"]), "image")
