"""Scores told apart by what stands in a column: for whom a model does worse."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pipelines.scoring.intervals import LOWER_IS_BETTER, apart
from pipelines.scoring.names import label
from pipelines.task import Interval, Scores

SMALL = 20
"""Examples below which a group's scores say little."""


def by_group(values: np.ndarray, column: str, score: Callable[[np.ndarray], Scores]) -> dict[str, Any]:
    """JSON for the breakdown `by_group`: the scores of each group, most examples first, and the largest gap.

    Args:
        values: object [examples], of texts: the group of each.
        column: what they are called.
        score: int64 [rows] -> the scores of those examples.
    """
    names, group, sizes = np.unique(values.astype(str), return_inverse=True, return_counts=True)
    groups, headlines = {}, {}
    headline = ""
    for place in np.argsort(-sizes, kind="stable").tolist():
        name, size = str(names[place]), int(sizes[place])
        found = score(np.flatnonzero(group == place))
        headline = found.headline
        groups[name] = {
            "examples": size,
            "small": size < SMALL,
            "scores": {key: vars(interval) for key, interval in found.scores.items()},
        }
        if size >= SMALL and headline in found.scores:
            headlines[name] = found.scores[headline]
    return {"column": column, "score": headline, "groups": groups, "gap": _gap(headline, column, headlines)}


def _gap(score: str, column: str, groups: dict[str, Interval]) -> dict[str, Any] | None:
    """Between the best and the worst of the groups that are not small; None where there are not two."""
    if len(groups) < 2:
        return None
    ordered = sorted(groups, key=lambda name: groups[name].value, reverse=score not in LOWER_IS_BETTER)
    best, worst = ordered[0], ordered[-1]
    difference = abs(groups[best].value - groups[worst].value)
    overlap = "do not overlap" if apart(groups[best], groups[worst]) else "overlap, so the gap may be chance"
    figures = " and ".join(f"{groups[name].value:.4f} where {column} is {name or 'empty'}" for name in (best, worst))
    sentence = f"The largest gap in {label(score)} is {difference:.4f}: {figures}; the 95 % intervals {overlap}."
    return {"best": best, "worst": worst, "difference": difference, "sentence": sentence}
