"""A comparison of runs as one page that needs no network, as text, and as JSON."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipelines.console import text_table
from pipelines.errors import ConfigError
from pipelines.report import words
from pipelines.report.comparison import Comparison, Contender, standing
from pipelines.report.curves import curves_together, interval_strip
from pipelines.report.page import render
from pipelines.scoring import label
from pipelines.state import write_bytes

_MARK = b'<meta name="generator" content="Sixfold, a comparison of runs">'
"""By which a page of ours is known."""
_COLOURS = {
    "light": ("#2f6690", "#d97b29", "#2c7a4b", "#8e4f9e", "#b3382c", "#7a6a1f", "#148a9c", "#b05c8a"),
    "dark": ("#79b0da", "#eda35f", "#6cc490", "#c79ad6", "#ee8b80", "#cbb964", "#5fc4d4", "#e59fc3"),
}
"""Of the runs; a ninth one has the first one's, in dashes."""


def write_comparison(comparison: Comparison, file: Path) -> Path:
    """Write the page, in place of an earlier one.

    Raises:
        ConfigError: something else has that name, or there is no such folder.
    """
    if not file.parent.is_dir():
        raise ConfigError(f"output: there is no folder {file.parent}: make it, or choose another with --output.")
    if file.exists() and not (file.is_file() and _MARK in file.read_bytes()[:4096]):
        raise ConfigError(f"output: {file} is there and is no comparison of runs: choose another name with --output.")
    page = render("comparison.html.j2", {**_content(comparison), "mark": _MARK.decode()})
    write_bytes(file, page.encode())
    return file


def as_text(comparison: Comparison) -> str:
    """Which run is which, what is better, the scores, and the settings that differ."""
    named = [[one.letter, str(one.files.run.path)] for one in comparison.contenders]
    score_rows = [
        [label(name), *cells] for name, cells in ((name, _cells(comparison, name)) for name in comparison.scores)
    ]
    against = [f"{one.letter} - {comparison.first.letter}" for one in comparison.others if one.differences is not None]
    parts = [
        text_table(named),
        "\n".join(comparison.sentences),
        text_table([["score", *(one.letter for one in comparison.contenders), *against], *score_rows]),
    ]
    if settings := comparison.settings:
        letters = [one.letter for one in comparison.contenders]
        parts.append(text_table([["setting", *letters], *([name, *row] for name, row in settings.items())]))
    else:
        parts.append("Their settings are the same.")
    return "\n\n".join(parts)


def as_json(comparison: Comparison) -> dict[str, Any]:
    """All of it for programs."""
    return {
        "task": comparison.task,
        "headline": comparison.headline,
        "sentences": comparison.sentences,
        "runs": [
            {
                "letter": one.letter,
                "run": str(one.files.run.path),
                "examples": one.files.metrics.get("examples", 0),
                "protocol": one.files.metrics.get("protocol"),
                "scores": one.files.metrics["scores"],
                "baseline": _baseline(one),
            }
            for one in comparison.contenders
        ],
        "differences": [
            {
                "run": other.letter,
                "reference": comparison.first.letter,
                "paired": other.differences is not None,
                "why_not": other.why or None,
                "scores": {
                    name: {**asdict(found), "standing": standing(name, found)}
                    for name, found in (other.differences or {}).items()
                },
            }
            for other in comparison.others
        ],
        "settings": {
            name: dict(zip((one.letter for one in comparison.contenders), row, strict=True))
            for name, row in comparison.settings.items()
        },
    }


def _cells(comparison: Comparison, score: str) -> list[str]:
    """The score of every run, then the differences to the first of those that make pairs with it."""
    values = [_value(one.scores.get(score)) for one in comparison.contenders]
    for differences in (one.differences for one in comparison.others if one.differences is not None):
        found = differences.get(score)
        told = found and f"{words.signed(found.value)} ({words.range_of(found)}) {standing(score, found)}"
        values.append(told or "-")
    return values


def _value(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return "-"
    interval = words.interval(score)
    return f"{words.number(score['value'])} ({interval})" if interval else words.number(score["value"])


def _baseline(one: Contender) -> dict[str, Any] | None:
    found = next(iter(words.baselines(one.files.metrics)), None)
    return None if found is None else {"name": found["name"], "scores": found["scores"]}


def _kind(place: int) -> str:
    colours = len(_COLOURS["light"])
    return f"run-{place % colours}" + (" dashed" if place >= colours else "")


def _content(comparison: Comparison) -> dict[str, Any]:
    contenders = comparison.contenders
    kinds = {one.letter: _kind(place) for place, one in enumerate(contenders)}
    return {
        "task": comparison.task,
        "headline": comparison.headline,
        "verdicts": comparison.verdicts,
        "colours": _COLOURS,
        "runs": [_about(comparison, one, kinds[one.letter]) for one in contenders],
        "first": comparison.first,
        "strip": _strip(comparison, kinds),
        "scores": [_row(comparison, name) for name in comparison.scores],
        "baselines": _baselines(comparison),
        "curves": curves_together(
            {one.letter: (one.files.of("epoch"), one.files.of("step")) for one in contenders}, kinds
        ),
        "settings": comparison.settings,
        "facts": _facts(comparison),
        "command": shlex.join(["sixfold", "report", *(str(one.files.run.path) for one in contenders)]),
    }


def _about(comparison: Comparison, one: Contender, kind: str) -> dict[str, Any]:
    """What stands of a run at the top."""
    found = (one.differences or {}).get(comparison.headline)
    return {
        "letter": one.letter,
        "kind": kind,
        "name": one.name,
        "folder": str(one.files.run.path),
        "examples": one.files.metrics.get("examples", 0),
        "score": one.scores[comparison.headline],
        "difference": found,
        "standing": standing(comparison.headline, found) if found else None,
        "why": one.why,
        "missing": one.files.missing_stages,
    }


def _strip(comparison: Comparison, kinds: Mapping[str, str]) -> str:
    """The headlines of all runs, and of their baselines, on one scale."""
    rows = [(kinds[one.letter], one.scores[comparison.headline]) for one in comparison.contenders]
    scores = [one["row"].get(comparison.headline) for one in _baselines(comparison)]
    return interval_strip([*rows, *(("baseline", score) for score in scores if score and words.finite(score))])


def _baselines(comparison: Comparison) -> list[dict[str, Any]]:
    """Those of all runs, each once: of which runs it is, its name and its scores."""
    found: list[dict[str, Any]] = []
    for one in comparison.contenders:
        baseline = _baseline(one)
        if baseline is None:
            continue
        same = next((other for other in found if (other["name"], other["row"]) == tuple(baseline.values())), None)
        if same is None:
            found.append({"of": [one.letter], "name": baseline["name"], "row": baseline["scores"]})
        else:
            same["of"].append(one.letter)
    return found


def _row(comparison: Comparison, score: str) -> dict[str, Any]:
    cells: list[dict[str, Any]] = []
    for one in comparison.contenders:
        found = (one.differences or {}).get(score)
        cells.append({"score": one.scores.get(score), "difference": found})
        if found is not None:
            cells[-1]["standing"] = standing(score, found)
    return {
        "name": score,
        "cells": cells,
        "baselines": [one["row"].get(score) for one in _baselines(comparison)],
    }


def _facts(comparison: Comparison) -> dict[str, list[str]]:
    """What else a person asks of runs, a row for each fact that some run has."""
    rows = [_facts_of(one) for one in comparison.contenders]
    return {name: [row[name] for row in rows] for name in rows[0] if any(row[name] != "–" for row in rows)}


def _facts_of(one: Contender) -> dict[str, str]:
    manifest, files = one.files.manifest, one.files
    model, seconds = manifest.get("model") or {}, files.run.seconds()
    counts = files.data.get("counts") or {}
    return {
        "started": str(manifest.get("created") or "–")[:16].replace("T", " "),
        "data": str(files.data.get("source") or "–"),
        "examples": ", ".join(f"{split} {words.number(count)}" for split, count in counts.items()) or "–",
        "fingerprint of the data": str(manifest.get("fingerprint") or "–")[:12],
        "parameters": words.number(model.get("parameters")),
        "epochs": words.number(len(files.of("epoch")) or None),
        "best epoch": words.number(files.ended.get("best_epoch")),
        "training took": words.duration(seconds["train"]) if "train" in seconds else "–",
        "the whole run took": words.duration(sum(seconds.values())) if seconds else "–",
        "energy": words.energy(files.run.spent()).removeprefix("Energy: "),
        "device": str(manifest.get("device") or "–"),
        "Sixfold": str((manifest.get("versions") or {}).get("sixfold") or "–"),
        "git": str(manifest.get("git") or "–"),
    }
