"""The built-in sample: handwritten digits that come with scikit-learn."""

import numpy as np


def sample() -> tuple[np.ndarray, np.ndarray]:
    """Grey pixels uint8 [1797, 8, 8], and the digits int64 [1797]."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return np.round(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8), labels
