"""What a served classifier says of logits is what predict says of them, or it is found out."""

from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.classes_graph import classified, classified_gap
from pipelines.scoring import softmax
from pipelines.task import Record

ASSETS = {"classes": ["Ärmel", "bag", "cap"], "temperature": 0.05}
LOGITS = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32) * 20


def record(row: int) -> Record:
    shares = softmax(LOGITS[row], 0.05)
    best = int(shares.argmax())
    return Record(str(row), {"label": ASSETS["classes"][best], "probability": float(shares[best])}, LOGITS[row])  # type: ignore[index]


def found(**others: Any) -> dict[str, np.ndarray]:
    answer = classified(tf.constant(LOGITS), ASSETS)
    return {name: values.numpy() for name, values in answer.items()} | others


def test_a_label_or_a_probability_that_is_another_is_seen() -> None:
    records = [record(row) for row in range(20)]
    assert classified_gap(ASSETS, found(), records).max() < 1e-6
    turned = np.roll(found()["label"], 1)
    assert (
        np.isinf(classified_gap(ASSETS, found(label=turned), records)).tolist() == (turned != found()["label"]).tolist()
    )
    others: dict[str, Any] = {
        "probability": found()["probability"] - 0.01,
        "probabilities": found()["probabilities"][:, ::-1],
        "logits": LOGITS + 1,
    }
    for name, values in others.items():
        assert classified_gap(ASSETS, found(**{name: values}), records).max() > 0.009, name
    assert classified_gap({**ASSETS, "temperature": 1.0}, found(), records).max() > 0.009
    another = [replace(one, answer={**one.answer, "label": "bag"}) for one in records]
    assert np.isinf(classified_gap(ASSETS, found(), another).max())
    assert np.isnan(classified_gap(ASSETS, found(probability=np.full(20, np.nan, np.float32)), records)).all()
