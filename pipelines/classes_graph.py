"""One class an example as a TensorFlow graph: what a served model says of logits, and how far that is from records."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.saved_model import differences
from pipelines.scoring import softmax
from pipelines.task import Assets, Record


def classified(logits: Any, assets: Assets) -> dict[str, Any]:
    """logits float32 [rows, classes] -> label strings [rows], the likeliest; probability float32 [rows], its own;
    probabilities and logits float32 [rows, classes]; classes strings [classes]."""
    # In float64, as predict has them: a low temperature makes much of rounding.
    probabilities = tf.cast(tf.nn.softmax(tf.cast(logits, tf.float64) / _temperature(assets)), tf.float32)
    classes = tf.constant(assets["classes"])
    return {
        "label": tf.gather(classes, tf.argmax(logits, axis=1)),
        "probability": tf.reduce_max(probabilities, axis=1),
        "probabilities": probabilities,
        "logits": logits,
        "classes": classes,
    }


def classified_gap(assets: Assets, found: Mapping[str, np.ndarray], records: Sequence[Record]) -> np.ndarray:
    """float [rows]: by how much logits differ, relative to the largest number where that is above 1, or the
    probabilities on either side from what its own logits make them; infinite where these make another label.

    Args:
        assets: of the model.
        found: what `classified` gave.
        records: the same examples' answers, a label and its probability; Record.output holds the logits.
    """
    shares = softmax(found["logits"], _temperature(assets))
    wanted = softmax(np.stack([np.asarray(record.output) for record in records]), _temperature(assets))
    labels = np.array([record.answer["label"].encode() for record in records], object)
    probability = np.array([record.answer["probability"] for record in records])
    gaps: np.ndarray = np.maximum.reduce(
        [
            differences(found["logits"], records),
            np.abs(found["probabilities"] - shares).max(axis=1),
            _unlike(assets, shares, found["label"], found["probability"]),
            _unlike(assets, wanted, labels, probability),
        ]
    )
    return gaps


def _unlike(assets: Assets, shares: np.ndarray, labels: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """float [rows]: how far probability [rows] is from the largest share; infinite where labels [rows] have another."""
    named = np.array([assets["classes"][best].encode() for best in shares.argmax(axis=1)], object)
    found: np.ndarray = np.where(labels == named, np.abs(probability - shares.max(axis=1)), np.inf)
    return found


def _temperature(assets: Assets) -> float:
    return float(assets.get("temperature", 1.0))
