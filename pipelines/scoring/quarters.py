"""Accuracy by a number that comes with each example, in four parts of about as many examples."""

from typing import Any

import numpy as np

from pipelines.scoring.intervals import bootstrap


def by_quarter(values: np.ndarray, correct: np.ndarray, unit: str, seed: int) -> dict[str, dict[str, Any]]:
    """Rows for a table: '1 to 12 tokens' -> how many examples there are, and their accuracy with its interval.

    Args:
        values: whole numbers [examples].
        correct: bool [examples].
        unit: of the values, for the names.
        seed: of the intervals.
    """
    quarters = np.quantile(values, (0.25, 0.5, 0.75), method="inverted_cdf")
    uppers = np.unique([*quarters.tolist(), values.max()])
    which = np.searchsorted(uppers, values)
    rows = {}
    for number in np.unique(which):
        part = values[which == number]
        low, high = int(part.min()), int(part.max())
        name = f"{low:,} to {high:,} {unit}" if low < high else f"{low:,} {unit}"
        accuracy = bootstrap({"accuracy": correct[which == number]}, seed)["accuracy"]
        rows[name] = {"examples": len(part), "accuracy": vars(accuracy)}
    return rows
