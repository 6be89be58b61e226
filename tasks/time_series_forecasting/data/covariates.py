"""Covariates as numbers: standardised by the steps that are trained on, categories one-hot, the calendar told."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.columns import Texts, is_number
from pipelines.task import Assets, Problem
from tasks.time_series_forecasting.config import SEES, Config
from tasks.time_series_forecasting.data.panel import Panel
from tasks.time_series_forecasting.data.rows import COVARIATES, Covariate, as_texts

MOST_CATEGORIES = 32
_DAY = 86_400_000_000


@dataclass(frozen=True)
class Features:
    """What the model sees besides the values."""

    known: np.ndarray | None
    """float32 [steps, K]."""
    past: np.ndarray | None
    """float32 [steps, P]."""
    static: np.ndarray | None
    """float32 [series, S]."""


def fit(panel: Panel, until: np.ndarray, calendar: bool) -> Assets:
    """How covariates become numbers, told by the first `until` steps of each series.

    Returns: `covariates`, the names of all features by role; `coding`, how each column is turned into them.

    Raises:
        DataError: a column has too many categories, or there is no calendar.
    """
    early = panel.step_of < np.repeat(until, panel.lengths)
    coding: dict[str, list[dict[str, Any]]] = {role: [] for role in COVARIATES}
    for role in COVARIATES:
        rows = early if role != "static" else until > 0
        for name, column in panel.columns.get(role, {}).items():
            coding[role].append(_fit_column(name, column, rows))
    if calendar:
        coding["known"] += [{"name": name, "kind": "calendar"} for name in _calendar_of(panel)]
    return {
        "covariates": {role: [name for one in found for name in _names(one)] for role, found in coding.items()},
        "coding": coding,
    }


def encode(panel: Panel, assets: Assets, calendar: bool = True) -> Features:
    """The features of every step and series; without the calendar its features are 0, as in the middle of each day,
    week and year."""
    coding = assets["coding"]

    def column(role: str, one: dict[str, Any]) -> np.ndarray:
        if one["kind"] == "calendar" and not calendar:
            return np.zeros((int(panel.starts[-1]), 1), np.float32)
        return _encode_column(panel, role, one)

    parts = {role: [column(role, one) for one in coding[role]] for role in COVARIATES if coding[role]}
    found = {role: np.concatenate(columns, axis=1) for role, columns in parts.items()}
    return Features(found.get("known"), found.get("past"), found.get("static"))


def unknown(panel: Panel, assets: Assets) -> list[Problem]:
    """A warning of each category that no training step has."""
    problems = []
    for role in COVARIATES:
        for one in assets["coding"][role]:
            column = panel.columns[role].get(one["name"])
            if one["kind"] != "text" or not isinstance(column, Texts):
                continue
            there = {column.names[code] for code in np.unique(column.codes[column.codes >= 0]).tolist()}
            new = sorted(there - set(one["values"]))
            if new:
                message = f"has values that no training step has: {', '.join(new[:5])}; the model knows none of them."
                problems.append(Problem("warning", "unknown-category", f"column {one['name']!r}", message))
    return problems


def unseen(config: Config, assets: Assets) -> list[Problem]:
    """A warning where the backbone does not look at covariates that there are."""
    there = {role: names for role, names in assets["covariates"].items() if names}
    names = sorted(name for role in there.keys() - SEES.get(config.backbone, ()) for name in there[role])
    if not names or config.backbone == "auto":
        return []
    message = (
        f"sees no covariates, so {', '.join(names)} changes nothing in its forecasts: choose {', '.join(SEES)} to use "
        "it."
    )
    return [Problem("warning", "unseen-covariate", f"backbone {config.backbone}", message)]


def _fit_column(name: str, column: Covariate, rows: np.ndarray) -> dict[str, Any]:
    if isinstance(column, Texts):
        codes = np.unique(column.codes[rows])
        values = sorted(column.names[code] for code in codes[codes >= 0].tolist())
        if len(values) > MOST_CATEGORIES:
            raise DataError(
                f"column {name!r} has {len(values):,} categories, and a covariate may have {MOST_CATEGORIES}: put "
                "them together, or leave it out."
            )
        return {"name": name, "kind": "text", "values": values}
    cells = column[rows].astype(np.float64)
    cells = cells[~np.isnan(cells)]
    center = float(cells.mean()) if len(cells) else 0.0
    deviation = float(cells.std()) if len(cells) else 0.0
    scale = deviation if deviation > 1e-6 * abs(center) else 1.0
    return {"name": name, "kind": "number", "center": center, "scale": scale}


def _names(one: dict[str, Any]) -> list[str]:
    return [f"{one['name']}={value}" for value in one["values"]] if one["kind"] == "text" else [one["name"]]


def _encode_column(panel: Panel, role: str, one: dict[str, Any]) -> np.ndarray:
    """float32 [steps or series, features]; 0 where nothing is known."""
    if one["kind"] == "calendar":
        return _calendar(panel, one["name"])[:, None]
    column = panel.columns.get(role, {}).get(one["name"])
    if column is None:
        raise DataError(
            f"the data have no column {one['name']!r} that the model takes as {role}: give it, and map it with columns "
            f"{role}={one['name']}."
        )
    if one["kind"] == "number":
        if isinstance(column, Texts):
            odd = next((text for text in column.names if not is_number(text)), "")
            raise DataError(f"column {one['name']!r} holds {odd!r:.40}, and the model was trained on numbers in it.")
        scaled = (column.astype(np.float64) - one["center"]) / one["scale"]
        return np.asarray(np.nan_to_num(scaled).astype(np.float32)[:, None])
    texts = column if isinstance(column, Texts) else as_texts(column.astype(np.float64))
    places = {value: at for at, value in enumerate(one["values"])}
    table = np.zeros((len(texts.names) + 1, len(places)), np.float32)
    for code, name in enumerate(texts.names):
        if name in places:
            table[code, places[name]] = 1
    return np.asarray(table[texts.codes])


def _calendar_of(panel: Panel) -> list[str]:
    """The features that a frequency has."""
    if not panel.are_times:
        raise DataError("calendar needs times, and the data have none: map time with columns time=COLUMN.")
    unit, size = panel.frequency.unit, panel.frequency.size
    if unit.startswith("month"):
        return ["month"] if size < 12 else []
    if unit == "time" and size < _DAY:
        return ["hour", "weekday", "day", "yearday"]
    return ["weekday", "day", "yearday"] if unit == "business day" or size < 7 * _DAY else ["day", "yearday"]


def _calendar(panel: Panel, name: str) -> np.ndarray:
    """float32 [steps], from -0.5 to 0.5 (Zhou et al., Informer, 2021)."""
    times = panel.times(panel.of_step, panel.step_of)
    days = (times // _DAY).astype("M8[D]")
    if name == "hour":
        share = times % _DAY / (_DAY - panel.frequency.size)
    elif name == "weekday":
        share = (times // _DAY + 3) % 7 / 6  # 1970-01-01 was a Thursday
    elif name == "day":
        share = (days - days.astype("M8[M]")).astype(np.int64) / 30
    elif name == "month":
        share = days.astype("M8[M]").astype(np.int64) % 12 / 11
    else:
        share = (days - days.astype("M8[Y]")).astype(np.int64) / 365
    return (share - 0.5).astype(np.float32)
