"""What is taken out of each window before the network, and put back behind it; no weights, so any channel will do."""

from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

_LEAST = 1e-5
"""Added to the variance, as in the code of RevIN."""


@dataclass(frozen=True)
class Normal:
    """A window as the network sees it, and the way back."""

    x: Any
    """float32 [rows, C, L], 0 where unseen."""
    center: Any = None
    """[rows, C, 1]; None: nothing was taken out."""
    spread: Any = None
    """[rows, C, 1]; None: nothing was divided by."""

    def level(self, values: Any) -> Any:
        """[rows, C, H] of the network, or [rows, C, H, any], as values of the window."""
        values = self.width(values)
        return values if self.center is None else values + _beside(self.center, values)

    def width(self, values: Any) -> Any:
        """The same for deviations, which know no center."""
        return values if self.spread is None else values * _beside(self.spread, values)


def normalize(x: Any, seen: Any, kind: Literal["window", "last", "none"]) -> Normal:
    """Take a window's own mean out and divide by its deviation (RevIN: Kim et al., 2022, without its weights, as
    PatchTST's code has it), or take its last value out (NLinear: Zeng et al., 2023).

    Args:
        x: float32 [rows, C, L], 0 where unseen.
        seen: float32 [rows, C, L], 1 where observed; None where kind is none.
        kind: window, last or none.
    """
    if kind == "none":
        return Normal(x)
    if kind == "last":
        center = _last(x, seen)
        return Normal((x - center) * seen, center)
    count = keras.ops.maximum(keras.ops.sum(seen, axis=-1, keepdims=True), 1.0)
    center = keras.ops.sum(x, axis=-1, keepdims=True) / count
    apart = (x - center) * seen
    spread = keras.ops.sqrt(keras.ops.sum(keras.ops.square(apart), axis=-1, keepdims=True) / count + _LEAST)
    return Normal(apart / spread, center, spread)


def _beside(one: Any, values: Any) -> Any:
    """[rows, C, 1], with as many axes as the values."""
    return one if len(values.shape) == 3 else keras.ops.expand_dims(one, -1)


def _last(x: Any, seen: Any) -> Any:
    """[rows, C, 1]: the last value that was observed, 0 where there is none."""
    order = seen * np.arange(1, x.shape[-1] + 1, dtype=np.float32)
    latest = keras.ops.cast(keras.ops.equal(order, keras.ops.max(order, axis=-1, keepdims=True)), "float32")
    return keras.ops.sum(x * latest * seen, axis=-1, keepdims=True)
