"""TiDE: dense layers over a window and all that is known of it besides."""

from typing import Any

import keras

from tasks.time_series_forecasting.config import Config
from tasks.time_series_forecasting.covariates import Covariates, ahead, behind, of_every_channel

_PROJECTED = 4
"""Numbers that the covariates of a step become, as in the paper."""
_DECODED = 8
"""Numbers that are decoded for each step ahead."""


def tide(x: Any, covariates: Covariates, config: Config) -> Any:
    """TiDE (Das et al., 2023): [rows, C, H, numbers]: what is decoded for a step, and a linear answer from the window
    alone."""
    channels, lookback, horizon = x.shape[1], x.shape[2], config.horizon
    past, known = (
        [_block(part, config, _PROJECTED, f"{name}_{place}") for place, part in enumerate(parts, 1)]
        for name, parts in (("past", behind(covariates, lookback)), ("ahead", ahead(covariates, lookback)))
    )
    beside = [keras.layers.Flatten()(part) for part in (*past, *known)]
    beside += [covariates["static"]] if "static" in covariates else []
    features = keras.ops.concatenate([x, *(of_every_channel(part, channels) for part in beside)], axis=-1)
    for number in range(1, config.layers + 1):
        features = _block(features, config, config.feedforward, f"encoder_{number}")
    for number in range(1, config.layers):
        features = _block(features, config, config.feedforward, f"decoder_{number}")
    decoded = _block(features, config, horizon * _DECODED, f"decoder_{config.layers}")
    decoded = keras.ops.reshape(decoded, (-1, channels, horizon, _DECODED))
    # What is known of a step goes to its answer by a highway of its own.
    steps = [decoded, *(of_every_channel(part, channels) for part in known)]
    steps = _block(keras.ops.concatenate(steps, axis=-1), config, config.width, "temporal")
    skip = keras.layers.Dense(horizon, name="skip")(x)
    return keras.ops.concatenate([steps, keras.ops.expand_dims(skip, -1)], axis=-1)


def _block(x: Any, config: Config, size: int, name: str) -> Any:
    """A residual block (section 4): a hidden layer and a linear one, a linear way around both, a norm."""
    y = keras.layers.Dense(config.feedforward, activation="relu", name=f"{name}_hidden")(x)
    y = keras.layers.Dense(size, name=f"{name}_linear")(y)
    y = keras.layers.Dropout(config.dropout, seed=config.seed, name=f"{name}_dropout")(y)
    y += keras.layers.Dense(size, name=f"{name}_around")(x)
    return keras.layers.LayerNormalization(epsilon=1e-5, name=f"{name}_norm")(y)
