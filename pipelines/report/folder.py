"""The part of a run folder that a report is made of: read it, with whatever is missing left empty; add the
figures."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.errors import StateError
from pipelines.report import passages
from pipelines.report.shapes import (
    Entry,
    Event,
    Manifest,
    Metrics,
    PretrainingEpoch,
    Settings,
    Stage,
    StageEnd,
    Steps,
    Texts,
    checked,
)
from pipelines.runs import STAGES, Run, find_run
from pipelines.state import write_bytes
from pipelines.task import Figure, Passages


@dataclass(frozen=True)
class RunFiles:
    """What lies in a run folder. A run that was cut short leaves some of it empty."""

    run: Run
    settings: dict[str, Any]
    manifest: dict[str, Any]
    metrics: dict[str, Any]
    events: list[dict[str, Any]]
    figures: list[dict[str, Any]]
    """title, caption, and the picture: png as base64, its width on the page; or the texts: passages and legend."""

    @property
    def task(self) -> str:
        """The task's name."""
        return str(self.manifest.get("task") or self.settings.get("task") or "unknown task")

    @property
    def data(self) -> dict[str, Any]:
        """What the task said about its data."""
        return self.manifest.get("data") or {}

    @property
    def ended(self) -> dict[str, Any]:
        """The event that says how training ended; empty where it has not."""
        return (self.of("trained") or self.of("end") or [{}])[-1]

    @property
    def missing_stages(self) -> list[str]:
        """The stages that are not done, apart from the report itself."""
        done = self.run.finished_stages()
        return [stage for stage in STAGES if stage not in done and stage != "report"]

    def of(self, event: str) -> list[dict[str, Any]]:
        """The events of one kind."""
        return [one for one in self.events if one["event"] == event]


def read_run(folder: Path) -> RunFiles:
    """Read a run folder.

    Raises:
        StateError: it is no run folder, a file in it is damaged, or its scores are lost.
    """
    run = find_run(folder)
    files = RunFiles(
        run=run,
        settings=_settings(run),
        manifest=_json(run, "manifest.json", {}, Manifest),
        metrics=_json(run, "metrics.json", {}, Metrics),
        events=_events(run),
        figures=_figures(run),
    )
    if not files.metrics and "score" not in files.missing_stages:
        raise StateError(f"{folder} was scored, and has no metrics.json: restore it, or train again.")
    return files


def _settings(run: Run) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(run.settings.read_text("utf-8")) or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise StateError(f"{run.settings} cannot be read: {' '.join(str(error).split())}.") from error
    checked(settings, Settings, str(run.settings))
    return dict(settings)


def _events(run: Run) -> list[dict[str, Any]]:
    file = str(run.path / "events.jsonl")
    try:
        events = run.events()
    except (TypeError, KeyError, AttributeError, ValueError, RecursionError):
        raise StateError(f"{file} does not hold what a run writes.") from None
    checked(events, list[Event], file)
    checked([one for one in events if one["event"] in ("epoch", "step")], list[Steps], file)
    checked([one for one in events if one["event"] == "pretraining"], list[PretrainingEpoch], file)
    stages = checked([one for one in events if one["event"] == "stage"], list[Stage], file)
    checked([one for one in stages if one["status"] == "end"], list[StageEnd], file)
    return events


def _json(run: Run, name: str, otherwise: Any, shape: Any) -> Any:
    if not (run.path / name).exists():
        return otherwise
    try:
        value = run.read_json(name)
    except RecursionError:
        raise StateError(f"{run.path / name} cannot be read: it is nested too deeply.") from None
    return checked(value, shape, str(run.path / name))


def _figures(run: Run) -> list[dict[str, Any]]:
    entries = _json(run, "figures/index.json", [], list[Entry])
    names = [(entry, f"figures/{Path(entry['file']).name}") for entry in entries]
    return [{**entry, **_content(run, name)} for entry, name in names if (run.path / name).is_file()]


def _content(run: Run, name: str) -> dict[str, Any]:
    if name.endswith(".json"):
        return passages.shown(_json(run, name, {}, Texts))
    return _embedded((run.path / name).read_bytes())


def _embedded(png: bytes) -> dict[str, str]:
    # Drawn at two dots a pixel, for sharp screens: the width stands in the PNG's first chunk.
    return {"width": str(int.from_bytes(png[16:20], "big") // 2), "png": base64.b64encode(png).decode("ascii")}


def save_figures(run_dir: Path, figures: Sequence[Figure | Passages]) -> None:
    """Put the pictures and texts into the run folder, in place of those of an earlier try."""
    run, folder = Run(run_dir), run_dir / "figures"
    for old in (*folder.glob("*.png"), *folder.glob("*.json")):
        old.unlink()
    index = []
    for figure in figures:
        file = f"{figure.name}.{'png' if isinstance(figure, Figure) else 'json'}"
        if isinstance(figure, Figure):
            write_bytes(folder / file, figure.png)
        else:
            run.write_json(f"figures/{file}", passages.as_json(figure))
        index.append({"file": file, "title": figure.title, "caption": figure.caption})
    run.write_json("figures/index.json", index)
