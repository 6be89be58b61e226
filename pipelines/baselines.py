"""Classical classifiers of scikit-learn as baselines: fitted with the iterations counted, answering in logits. Imports
scikit-learn only where it is used."""

import warnings
from typing import Any

import numpy as np

from pipelines.scoring import softmax

LEAST = 1e-7
"""The probability of a class without a training example, and the least of any."""


def fitted(model: Any, features: Any, labels: np.ndarray) -> tuple[Any, bool]:
    """A classifier of scikit-learn fitted to features [examples, features], and whether its iterations ran out; where
    all labels are one, what always answers that."""
    from sklearn.dummy import DummyClassifier
    from sklearn.exceptions import ConvergenceWarning

    if len(np.unique(labels)) == 1:
        return DummyClassifier().fit(features, labels), False
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(features, labels)
    return model, any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def log_probabilities(model: Any, features: Any, classes: int) -> np.ndarray:
    """Float32 [examples, classes], of a classifier that `fitted` gave; a class without a training example gets the
    least of any, 1e-7."""
    if hasattr(model, "decision_function"):
        logits = model.decision_function(features)
        # Of two classes scikit-learn gives the second's logit alone.
        logits = logits if logits.ndim == 2 else np.stack([np.zeros_like(logits), logits], axis=1)
    else:
        logits = np.zeros((features.shape[0], 1))
    full = np.full((features.shape[0], classes), np.log(np.float32(LEAST)), np.float32)
    full[:, model.classes_] = np.log(np.maximum(softmax(logits), LEAST))
    return full
