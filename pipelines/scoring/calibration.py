"""Whether a classifier's probabilities mean what they say, and the temperature that makes them."""

from collections.abc import Iterator

import numpy as np

BINS = 15
_TEMPERATURES = (0.05, 20.0)
_CELLS = 2_000_000


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities float64 [..., classes] of logits divided by the temperature."""
    probabilities: np.ndarray = np.exp(log_softmax(logits, temperature))
    return probabilities


def log_softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Log-probabilities float64 [..., classes] of logits divided by the temperature."""
    scaled = np.asarray(logits, np.float64) / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    normalised: np.ndarray = scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True))
    return normalised


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature in 0.05..20 that minimises the log loss of logits [examples, classes] (Guo et al., 2017).

    On validation data without a mistake the best temperature would be 0. So one further answer, wrong and spread
    evenly over all examples and classes, is added to the targets, as Platt (1999) does.
    """
    from scipy.optimize import minimize_scalar

    examples = len(labels)
    if examples == 0:
        return 1.0
    share = 1 / (examples + 2)

    def loss(log_temperature: float) -> float:
        total = 0.0
        for part in parts(examples, logits.shape[1]):
            log_probabilities = np.maximum(log_softmax(logits[part], float(np.exp(log_temperature))), -1e6)
            true = log_probabilities[np.arange(len(log_probabilities)), labels[part]]
            total -= float(((1 - share) * true + share * log_probabilities.mean(axis=1)).sum())
        return total / examples

    found = minimize_scalar(loss, bounds=tuple(np.log(_TEMPERATURES)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def reliability_bins(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> dict[str, np.ndarray]:
    """Answers by confidence, in equal bins (lower, upper]: upper, count, mean confidence, accuracy; NaN where empty."""
    which = _bin(confidence, bins)
    count = np.bincount(which, minlength=bins)
    divisor = np.where(count > 0, count, np.nan)
    return {
        "upper": np.arange(1, bins + 1) / bins,
        "count": count,
        "confidence": np.bincount(which, confidence, bins) / divisor,
        "accuracy": np.bincount(which, correct, bins) / divisor,
    }


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """Mean gap between confidence and accuracy of the top label, in equal-width bins (Guo et al., 2017)."""
    gaps = calibration_gaps(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, bins)
    return float(np.abs(gaps.mean(axis=0)).sum())


def calibration_gaps(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Columns [examples, bins] whose absolute means add up to the ECE."""
    gaps = np.zeros((len(confidence), bins), np.float32)
    gaps[np.arange(len(confidence)), _bin(confidence, bins)] = correct - confidence
    return gaps


def _bin(confidence: np.ndarray, bins: int) -> np.ndarray:
    which: np.ndarray = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    return which


def parts(examples: int, classes: int) -> Iterator[slice]:
    """Slices of the examples that keep float64 [part, classes] at 16 MB."""
    step = max(1, _CELLS // classes)
    return (slice(start, start + step) for start in range(0, examples, step))
