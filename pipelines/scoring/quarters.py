"""Scores by a number that comes with each example, in four parts of about as many examples."""

from typing import Any

import numpy as np

from pipelines.scoring.intervals import bootstrap


def quarters(values: np.ndarray, unit: str) -> dict[str, np.ndarray]:
    """'1 to 12 tokens' -> the examples whose number lies there, int64 [rows], ascending; fewer than four where many are
    alike.

    Args:
        values: whole numbers [examples].
        unit: of the values, for the names.
    """
    inner = np.quantile(values, (0.25, 0.5, 0.75), method="inverted_cdf")
    uppers = np.unique([*inner.tolist(), values.max()])
    which = np.searchsorted(uppers, values)
    found = {}
    for number in np.unique(which):
        rows = np.flatnonzero(which == number)
        low, high = int(values[rows].min()), int(values[rows].max())
        found[f"{low:,} to {high:,} {unit}" if low < high else f"{low:,} {unit}"] = rows
    return found


def by_quarter(values: np.ndarray, correct: np.ndarray, unit: str, seed: int) -> dict[str, dict[str, Any]]:
    """Rows for a table: '1 to 12 tokens' -> how many examples there are, and their accuracy with its interval.

    Args:
        values: whole numbers [examples].
        correct: bool [examples].
        unit: of the values, for the names.
        seed: of the intervals.
    """
    rows = {}
    for name, part in quarters(values, unit).items():
        accuracy = bootstrap({"accuracy": correct[part]}, seed)["accuracy"]
        rows[name] = {"examples": len(part), "accuracy": vars(accuracy)}
    return rows
