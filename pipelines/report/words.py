"""Figures and names as a person reads them, in the page and in the model card alike."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipelines.scoring import LOWER_IS_BETTER, NEITHER_IS_BETTER, Verdict, label, verdict
from pipelines.scoring.groups import SMALL
from pipelines.task import Interval

_DEEPEST, _MOST_LISTED, _GROUP_SCORES = 4, 8, 4


def direction(name: str) -> str:
    """Which way is better."""
    if name.startswith("coverage_"):
        return f"best at {int(name.partition('_')[2]) / 100:.2f}"
    if name.partition("@")[0] in NEITHER_IS_BETTER:
        return "neither is better"
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


def plain(value: Any, between: str = "; ", depth: int = 0) -> str:
    """A JSON value in a line: 'distinct 65; common 384 × 256 (34), 256 × 384 (20), …; min 193 × 130'."""
    if depth > _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return _item(value, depth) if depth > 1 else between.join(_parts(value, depth))
    if isinstance(value, list | tuple):
        return size(value) or _listed([plain(part, " ", max(depth, 1) + 1) for part in value])
    return number(value)


def size(value: Any) -> str:
    """'384 × 256' where the value is a pair of whole numbers, else nothing."""
    pair = isinstance(value, list | tuple) and [type(part) for part in value] == [int, int]
    return f"{value[0]:,} × {value[1]:,}" if pair else ""


def _item(value: Mapping[str, Any], depth: int) -> str:
    """One of a list: its size or its only value without a name, its count in brackets."""
    rest = {name: part for name, part in value.items() if name not in ("width", "height", "count")}
    dimensions = size([value.get("width"), value.get("height")])
    if not dimensions:
        rest = {name: part for name, part in value.items() if name != "count"}
    count = f"({number(value['count'])})" if "count" in value else ""
    alone = count and not dimensions and len(rest) == 1
    parts = [plain(part, " ", depth + 1) for part in rest.values()] if alone else _parts(rest, depth)
    return " ".join(part for part in (dimensions, *parts, count) if part)


def _parts(value: Mapping[str, Any], depth: int) -> list[str]:
    return [f"{label(name)} {plain(part, ', ', depth + 1)}" for name, part in value.items()]


def _listed(texts: Sequence[str]) -> str:
    return ", ".join([*texts[:_MOST_LISTED], "…"] if len(texts) > _MOST_LISTED else texts)


def ending(ended: Mapping[str, Any], epochs: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> str:
    """A sentence on a training that did not go through all its epochs, else nothing."""
    planned, step = settings.get("epochs"), settings.get("stop_step")
    if not epochs or not ended:
        return ""
    reason = {
        "stopped early": "Stopped early, as validation did not improve any more",
        "stopped by budget": "Stopped by --max-minutes",
    }.get(str(ended.get("status")))
    if reason is None and step == epochs[-1]["step"]:
        reason = "Stopped by --stop-step"
    if reason is None:
        return ""
    return f"{reason}, at epoch {len(epochs)} of {planned}." if planned else f"{reason}."


def chosen(ended: Mapping[str, Any], best: int) -> str:
    """A sentence on the epoch that was best, and on those whose weights were scored."""
    epochs = [one["epoch"] for one in ended.get("weights") or [{"epoch": best}]]
    if epochs == [best]:
        return f"Epoch {best} was best on validation, and is what was scored."
    if len(epochs) == 1:
        return f"Epoch {best} was best on validation; epoch {epochs[0]}, the last, is what was scored."
    several = f"{', '.join(map(str, epochs[:-1]))} and {epochs[-1]}"
    return f"Epoch {best} was best on validation; the mean of the weights of epochs {several} is what was scored."


def interval(score: Mapping[str, Any]) -> str:
    """'0.8812 to 0.9034', or nothing."""
    if score.get("low") is None or score.get("high") is None:
        return ""
    return f"{number(score['low'])} to {number(score['high'])}"


def signed(value: float) -> str:
    """'+0.0123', '-1.2e-05'."""
    return number(value) if value < 0 else f"+{number(float(value))}"


def range_of(found: Interval) -> str:
    """'-0.0021 to +0.0267', or that there is none."""
    if found.low is None or found.high is None:
        return "with no interval"
    return f"{signed(found.low)} to {signed(found.high)}"


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


def energy(spent: Mapping[str, Mapping[str, float]]) -> str:
    """A sentence on the energy that the stages took, as it was counted; never a figure that was not.

    Args:
        spent: of each stage what was measured.
    """
    counted = {"processor_joules": "the processor's packages (RAPL)", "gpu_joules": "its GPUs (NVML)"}
    parts = []
    for what, meter in counted.items():
        known = [one[what] for one in spent.values() if what in one]
        if known:
            some = "" if len(known) == len(spent) else f" in {len(known)} of {len(spent)} stages"
            parts.append(f"{_joules(sum(known))} by {meter}{some}")
    if not parts:
        return "Energy: not measured on this machine, which has no counter of it that could be read (RAPL, NVML)."
    counts = "as their counters say, all else that ran on them included; other parts of the machine are not counted"
    return f"Energy: {' and '.join(parts)}, {counts}."


def _joules(value: float) -> str:
    return f"{value / 3600:,.2f} Wh" if value >= 3600 else f"{value:,.0f} J"


def spent(stages: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """What a run took: rows of stages with their time and the processor's, the totals, and a sentence on what is not
    known."""
    seconds = sum(one["seconds"] for one in stages.values())
    known = [one["cpu_seconds"] for one in stages.values() if "cpu_seconds" in one]
    killed = int(sum(one.get("killed", 0) for one in stages.values()))
    tries, they = ("A process was", "it") if killed == 1 else (f"{killed} processes were", "they")
    return {
        "rows": {name: (one["seconds"], one.get("cpu_seconds")) for name, one in stages.items()},
        "total": (seconds, sum(known) if len(known) == len(stages) else None),
        "killed": f"{tries} killed in the course of it: what {they} took is not known." if killed else "",
        "energy": energy(stages),
    }


def standing(metrics: Mapping[str, Any]) -> Verdict | None:
    """The headline beside the baseline's, which validation chose; where another of them is ahead on the test,
    that is said too. None where there is no baseline to compare with."""
    name = metrics.get("headline")
    model, baseline = (part.get("scores", {}).get(name) for part in (metrics, metrics.get("baseline") or {}))
    if model is None or baseline is None or not (finite(model) and finite(baseline)):
        return None
    difference = (metrics["baseline"].get("difference") or {}).get(name)
    paired = _interval(difference) if difference and finite(difference) else None
    found = verdict(str(name), _interval(model), _interval(baseline), paired)
    ahead = _ahead(metrics, str(name), model["value"]) if found.beats else ""
    return replace(found, clear=False, sentence=f"{found.sentence} {ahead}") if ahead else found


def _ahead(metrics: Mapping[str, Any], score: str, model: float) -> str:
    """The best of the further baselines, where it is ahead of the model; or nothing."""
    sign = 1 if score in LOWER_IS_BETTER else -1
    values = {one["name"]: one["scores"][score]["value"] for one in baselines(metrics)[1:] if score in one["scores"]}
    best = min(values, key=lambda name: sign * values[name], default="")
    return f"But {best} is ahead of both: {values[best]:.4f}." if best and sign * values[best] < sign * model else ""


def baselines(metrics: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The yardstick first, then the further ones; none where there are no scores of any."""
    found = [metrics.get("baseline") or {}, *(metrics.get("baselines") or [])]
    return [one for one in found if one.get("scores")]


def groups(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """The scores told apart by a column, the worst group first: its name, the scores shown, a row for each group, a
    sentence on the gap; None where none were."""
    found = (metrics.get("breakdowns") or {}).get("by_group")
    if not found:
        return None
    headline = found["score"]
    names = [headline, *(name for name in metrics.get("scores") or {} if name != headline)][:_GROUP_SCORES]
    sign = 1 if headline in LOWER_IS_BETTER else -1

    def rank(item: tuple[str, Mapping[str, Any]]) -> float:
        score = item[1]["scores"].get(headline, {}).get("value")
        return math.inf if score is None else -sign * score

    rows = [
        {"name": name or "empty", "examples": group["examples"], "small": group["small"], "scores": group["scores"]}
        for name, group in sorted(found["groups"].items(), key=rank)
    ]
    few = any(row["small"] for row in rows)
    return {
        "column": found["column"],
        "scores": names,
        "rows": rows,
        "gap": found["gap"]["sentence"] if found["gap"] else "There are not two groups large enough to compare.",
        "note": f"Groups of fewer than {SMALL} examples are marked *: their scores say little." if few else "",
    }


def finite(score: Mapping[str, Any]) -> bool:
    """Whether the score has a value, and it and its interval can be drawn and compared."""
    known = [score[key] for key in ("value", "low", "high") if score.get(key) is not None]
    return score.get("value") is not None and all(map(math.isfinite, known))


def _interval(score: Mapping[str, Any]) -> Interval:
    return Interval(score["value"], score.get("low"), score.get("high"))
