"""The learning rate as a function of the step. Imports no TensorFlow."""

import numpy as np

from pipelines.config import RunConfig

PLATEAU_EPOCHS = 3
"""Epochs without a better validation score after which `plateau` divides the rate by 10."""


def learning_rates(config: RunConfig, first: int, count: int, total: int, factor: float) -> np.ndarray:
    """float32 [count]: the rates of the steps from `first` on, of `total`.

    Linear warm-up over the first `config.warmup` of the steps, then: cosine to 0 (Loshchilov & Hutter, 2017); noam, by
    the inverse root of the step (Vaswani et al., 2017); by 10 at one half and at three quarters; constant; or constant
    times `factor`, which falls when validation stalls (plateau).
    """
    steps = np.arange(first, first + count, dtype=np.float64)
    warmup = config.warmup * total
    progress = np.clip((steps - warmup) / max(total - warmup, 1), 0, 1)
    shape = {
        "cosine": 0.5 * (1 + np.cos(np.pi * progress)),
        "step": 0.1 ** ((progress >= 0.5).astype(float) + (progress >= 0.75)),
        "noam": np.sqrt(np.minimum(max(warmup, 1) / (steps + 1), 1)),
        "constant": np.ones_like(steps),
        "plateau": np.full_like(steps, factor),
    }[config.schedule]
    rising = np.minimum(1.0, (steps + 1) / warmup) if warmup else 1.0
    rates: np.ndarray = (config.learning_rate * shape * rising).astype(np.float32)
    return rates
