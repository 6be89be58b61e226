"""What is known of a window besides its values, as the networks take it."""

from collections.abc import Mapping
from typing import Any

import keras

Covariates = Mapping[str, Any]
"""past [rows, L, P], known [rows, L + H, K], static [rows, S]: those that there are and that the backbone sees."""


def behind(covariates: Covariates, lookback: int) -> list[Any]:
    """What is known of each step of the past: [rows, L, any] each."""
    known = [covariates["known"][:, :lookback]] if "known" in covariates else []
    return [*([covariates["past"]] if "past" in covariates else []), *known]


def ahead(covariates: Covariates, lookback: int) -> list[Any]:
    """What is known of each step to come: [rows, H, any]."""
    return [covariates["known"][:, lookback:]] if "known" in covariates else []


def of_every_channel(value: Any, channels: int) -> Any:
    """[rows, ...] -> [rows, C, ...], the same for each channel."""
    return keras.ops.repeat(keras.ops.expand_dims(value, 1), channels, axis=1)


def of_every_step(value: Any, steps: int) -> Any:
    """[..., n] -> [..., steps, n], the same for each step."""
    return keras.ops.repeat(keras.ops.expand_dims(value, -2), steps, axis=-2)
