"""Figures and names as a person reads them, in the page and in the model card alike."""

import math
from collections.abc import Mapping
from typing import Any

from pipelines.scoring import LOWER_IS_BETTER, Verdict, verdict
from pipelines.task import Interval

_ACRONYMS = {"bleu", "cer", "ece", "f1", "hr", "mae", "mase", "mse", "ndcg", "rmse", "smape", "wer"}


def label(name: str) -> str:
    """A score's key as words: top_5_accuracy is top-5 accuracy, ece is ECE."""
    words = [part.upper() if part.partition("@")[0] in _ACRONYMS else part for part in name.split("_")]
    return " ".join(words).replace("top ", "top-")


def direction(name: str) -> str:
    """Which way is better."""
    return "lower is better" if name in LOWER_IS_BETTER else "higher is better"


def number(value: Any) -> str:
    """A figure with the digits that say something; a dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return "not a number"
    if value == 0 or 1e-3 <= abs(value) < 100:
        return f"{value:.4f}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.2e}"


def interval(score: Mapping[str, Any]) -> str:
    """'0.8812 to 0.9034', or nothing."""
    if score.get("low") is None or score.get("high") is None:
        return ""
    return f"{number(score['low'])} to {number(score['high'])}"


def duration(seconds: float) -> str:
    """'1 h 4 min', '3 min 12 s', '0.4 s'."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def standing(metrics: Mapping[str, Any]) -> Verdict | None:
    """The headline beside the baseline's; None where there is no baseline to compare with."""
    name = metrics.get("headline")
    model, baseline = (part.get("scores", {}).get(name) for part in (metrics, metrics.get("baseline") or {}))
    if model is None or baseline is None:
        return None
    return verdict(str(name), _interval(model), _interval(baseline))


def _interval(score: Mapping[str, Any]) -> Interval:
    return Interval(score["value"], score.get("low"), score.get("high"))
