"""report.html: one file that needs no network, made from what lies in the run folder."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines import registry
from pipelines.config import GROUPS, group_of, shown
from pipelines.console import speed
from pipelines.errors import ConfigError
from pipelines.report import words
from pipelines.report.curves import interval_strip, training_curves
from pipelines.report.folder import RunFiles, read_run
from pipelines.scoring import label
from pipelines.state import write_bytes

_ROWS_BEFORE_FOLDING = 12


def write_report(run_dir: Path) -> Path:
    """Render report.html; of a run cut short, as much as there is.

    Raises:
        StateError: run_dir is no run folder, or a file in it is damaged.
    """
    target = run_dir / "report.html"
    write_bytes(target, render("report.html.j2", _content(read_run(run_dir))).encode())
    return target


def render(template: str, content: Mapping[str, Any]) -> str:
    """A page of what stands in the folder of templates."""
    from jinja2 import ChainableUndefined, Environment, PackageLoader
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("pipelines.report"),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": words.number, "label": label, "interval": words.interval}
    environment.filters |= {"duration": words.duration, "direction": words.direction, "markup": Markup}
    environment.filters |= {"signed": words.signed, "range": words.range_of}
    return environment.get_template(template).render(content)


def _content(files: RunFiles) -> dict[str, Any]:
    metrics, manifest = files.metrics, files.manifest
    folder = str(files.run.path)
    epochs = files.of("epoch")
    best = files.ended.get("best_epoch") or max((epoch["epoch"] for epoch in epochs if epoch.get("best")), default=None)
    return {
        "task": files.task,
        "manifest": manifest,
        "metrics": metrics,
        "name": manifest.get("name") or files.run.path.name,
        "missing": files.missing_stages,
        "hero": _hero(metrics),
        "baselines": words.baselines(metrics),
        "verdict": words.standing(metrics),
        "curves": training_curves(epochs, files.of("step"), best, files.of("pretraining")),
        "training": _start(manifest) + _pretraining(files) + _training(files, best),
        "scores": _score_rows(metrics),
        "tables": _tables(metrics.get("breakdowns") or {}),
        "groups": words.groups(metrics),
        "calibration": _calibration(metrics),
        "figures": files.figures,
        "data": files.data,
        "facts": _facts(files.data),
        "duplicates": words.plain(files.data.get("duplicates") or "none"),
        "balance": _balance(files.data),
        "settings": _settings(files),
        "seconds": _seconds(files.run.seconds()),
        "folding": _ROWS_BEFORE_FOLDING,
        "commands": {
            "folder": folder,
            "given": shlex.join(manifest.get("command") or []),
            "repeat": shlex.join(["sixfold", "run", files.task, "--config", f"{folder}/run.yaml"]),
            "resume": shlex.join(["sixfold", "run", files.task, "--config", f"{folder}/run.yaml", "--run-dir", folder]),
            "predict": shlex.join(["sixfold", "predict", folder, "INPUT"]),
        },
    }


def _hero(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """The headline, the baseline's beside it, and both on one scale."""
    name = metrics.get("headline")
    score = (metrics.get("scores") or {}).get(name)
    if score is None or not words.finite(score):
        return None
    baseline = metrics.get("baseline") or {}
    other = (baseline.get("scores") or {}).get(name)
    rows = [("model", score)] + ([("baseline", other)] if other and words.finite(other) else [])
    further = [one.get("scores", {}).get(name) for one in metrics.get("baselines") or []]
    rows += [("further", one) for one in further if one and words.finite(one)]
    return {"name": name, "score": score, "other": other, "baseline": baseline, "strip": interval_strip(rows)}


def _start(manifest: Mapping[str, Any]) -> str:
    """A sentence each on the weights that it started from and on what read texts for it, and blanks; nothing where they
    were drawn and nothing did."""
    readers = [f"Texts were read by {one['source']}, as it is. " for one in manifest.get("encoders", {}).values()]
    return "".join([_weights(manifest.get("pretrained")), *readers])


def _weights(origin: Mapping[str, Any] | None) -> str:
    if not origin:
        return ""
    counts = {"taken over": "taken", "resized": "resized", "new": "new"}
    parts = [f"{len(origin[key]):,} {what}" for what, key in counts.items() if origin.get(key)]
    licence = f"; its licence: {origin['licence']}" if origin.get("licence") else ""
    return f"Started from {origin['source']} (variables: {', '.join(parts)}{licence}). "


def _pretraining(files: RunFiles) -> str:
    """One sentence on what came before the training, and a blank; nothing where nothing did."""
    data = (files.manifest.get("pretraining") or {}).get("data") or {}
    epochs = files.of("pretraining")
    if not epochs:
        return ""
    count = (data.get("counts") or {}).get("train")
    examples = f"{count:,} examples of {data.get('source')}" if count else "examples"
    return f"Before it, {len(epochs)} epoch{'s' * (len(epochs) > 1)} on {examples} without labels. "


def _training(files: RunFiles, best: int | None) -> str:
    """One sentence on how training went."""
    epochs = files.of("epoch")
    if files.ended.get("status") == "solved":
        return "Its weights were computed in closed form: there were no epochs."
    if not epochs:
        return ""
    ending = words.ending(files.ended, epochs, files.settings)
    rates = sorted(epoch["examples_per_second"] for epoch in epochs if epoch.get("examples_per_second"))
    sentence = f"{len(epochs)} epoch{'s' * (len(epochs) > 1)}, {epochs[-1]['step']:,} steps. {ending}".rstrip()
    if best is not None:
        sentence += f" {words.chosen(files.ended, best)}"
    if rates:
        sentence += f" Median speed {speed(rates[len(rates) // 2])} examples a second."
    return sentence


def _calibration(metrics: Mapping[str, Any]) -> str:
    """What was fitted on validation, and whether it helped on the scored split."""
    fitted = (metrics.get("breakdowns") or {}).get("calibration") or {}
    if not fitted:
        return ""
    sentence = f"Calibration, fitted on validation: {words.plain(fitted, ', ')}."
    scores = metrics.get("scores") or {}
    after, before = (scores.get(name, {}).get("value") for name in ("ece", "ece_uncalibrated"))
    if after is None or before is None or after <= before:
        return sentence
    return (
        f"{sentence} It did not help here: the calibration error (ECE) rose "
        f"from {words.number(before)} to {words.number(after)}."
    )


def _score_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    scores = metrics.get("scores") or {}
    baselines = [(one or {}).get("scores") or {} for one in words.baselines(metrics)]
    paired = (metrics.get("baseline") or {}).get("difference") or {}
    last = (metrics.get("last_epoch") or {}).get("scores") or {}
    return [
        {
            "name": name,
            "model": score,
            "last": last.get(name),
            "difference": paired.get(name),
            "baselines": [one.get(name) for one in baselines],
        }
        for name, score in scores.items()
    ]


def _tables(breakdowns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The breakdowns that are tables, {row: {column: figure or {value, low, high}}}; the others are for programs."""
    found = []
    for name, rows in breakdowns.items():
        if not isinstance(rows, dict) or not rows or not all(isinstance(row, dict) for row in rows.values()):
            continue
        columns = list(dict.fromkeys(column for row in rows.values() for column in row))
        cells = {row: [_figure(values.get(column)) for column in columns] for row, values in rows.items()}
        found.append({"name": name, "columns": columns, "rows": cells})
    return found


def _figure(value: Any) -> Any:
    return value.get("value") if isinstance(value, dict) else value


def _facts(data: Mapping[str, Any]) -> dict[str, str]:
    """What else the task says of its data, in a line each."""
    told = {"source", "counts", "classes", "skipped", "duplicates", "warnings", "protocol"}
    facts = {name: value for name, value in data.items() if name not in told and value not in (None, "", [], {})}
    return {name: words.plain(value) for name, value in facts.items()}


def _balance(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """How many examples of each class each split holds, and the share of the commonest for the bars."""
    classes = data.get("classes")
    if not isinstance(classes, dict) or not all(isinstance(counts, dict) for counts in classes.values()):
        return None
    if not all(isinstance(count, int) for counts in classes.values() for count in counts.values()):
        return None
    names = list(dict.fromkeys(name for counts in classes.values() for name in counts))
    if not names:
        return None
    columns = [[counts.get(name, 0) for counts in classes.values()] for name in names]
    first = [counts[0] for counts in columns]
    shares = [count / (max(first) or 1) for count in first]
    rows = list(zip(names, columns, shares, strict=True))
    return {"splits": list(classes), "rows": rows, "most": max(first), "fewest": min(first)}


def _settings(files: RunFiles) -> dict[str, list[dict[str, Any]]]:
    """The settings by group, each with whether it is the default."""
    try:
        fields = registry.config_class(files.task).model_fields
    except ConfigError:
        fields = {}
    groups: dict[str, list[dict[str, Any]]] = {group: [] for group in GROUPS}
    for name, value in files.settings.items():
        if name == "task":
            continue
        field = fields.get(name)
        default = shown(field.default) if field else None
        row = {"name": name, "value": shown(value), "default": default, "help": field.description if field else ""}
        groups.setdefault(group_of(field) if field else "other", []).append(row)
    return {group: rows for group, rows in groups.items() if rows}


def _seconds(seconds: Mapping[str, float]) -> list[tuple[str, float, float]]:
    longest = max(seconds.values(), default=0) or 1
    return [(stage, spent, spent / longest) for stage, spent in seconds.items()]
