"""MODEL_CARD.md: what a model is, trained on what, how well it does, on whom it fails."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines import registry
from pipelines.errors import ConfigError
from pipelines.report import words
from pipelines.report.folder import read_run
from pipelines.runs import Run
from pipelines.scoring import label
from pipelines.state import write_bytes

_WEAKEST = 5


class _Code(str):
    """Text that stands in a code block, where Markdown has no meaning."""


def write_model_card(run_dir: Path) -> Path:
    """Render MODEL_CARD.md.

    Raises:
        StateError: run_dir is no run folder, or a file in it is damaged.
    """
    from jinja2 import ChainableUndefined, Environment, PackageLoader

    files = read_run(run_dir)
    environment = Environment(
        loader=PackageLoader("pipelines.report"),
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # Every value goes through this: a class name is text, never Markdown or HTML.
        finalize=_escape,
    )
    environment.filters |= {"number": words.number, "label": label, "interval": words.interval}
    environment.filters |= {"duration": words.duration, "direction": words.direction, "code": _code}
    content = {
        "task": files.task,
        "manifest": files.manifest,
        "metrics": files.metrics,
        "data": files.data,
        "settings": files.settings,
        "last": (files.metrics.get("last_epoch") or {}).get("scores") or {},
        "verdict": words.standing(files.metrics),
        "baselines": words.baselines(files.metrics),
        "groups": words.groups(files.metrics),
        "weakest": _weakest(files.metrics),
        "ending": words.ending(files.ended, files.of("epoch"), files.settings),
        "spent": words.spent(files.run.spent()),
        "purpose": _purpose(files.task),
        "folder": files.run.path.name,
        "missing": files.missing_stages,
        "served": _served(files.run),
        "exports": sorted(one.name for one in (run_dir / "export").glob("[!.]*") if one.suffix != ".json"),
    }
    target = run_dir / "MODEL_CARD.md"
    write_bytes(target, environment.get_template("MODEL_CARD.md.j2").render(content).encode())
    return target


def _purpose(task: str) -> str:
    """What the task does, in a sentence."""
    try:
        return registry.known().get(task, "")
    except ConfigError:
        return ""


def _served(run: Run) -> dict[str, Any] | None:
    """What export/serving.json says of the SavedModel, as far as it is told here: what it takes, and what must be
    imported to run it."""
    if not (run.path / "export" / "serving.json").is_file():
        return None
    found = run.read_json("export/serving.json")
    about = found if isinstance(found, dict) else {}
    given = about.get("input")
    return {
        "needs": [str(name) for name in about.get("needs") or ["tensorflow"]],
        "what": _prose(given.get("what") or "") if isinstance(given, dict) else "",
    }


def _escape(value: Any) -> str:
    if isinstance(value, _Code):
        return value
    text = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_{}\[\]>|#~$])", r"\\\1", text)


def _prose(value: Any) -> _Code:
    """Words of the task's own, where names stand in backticks."""
    return _Code(_escape(value).replace("\\`", "`"))


def _code(value: Any) -> _Code:
    return _Code(" ".join(str(value).split()).replace("```", "'''"))


def _weakest(metrics: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The classes with the lowest F1 among those that the split holds, faultless ones left out."""
    rows = (metrics.get("breakdowns") or {}).get("per_class") or {}
    known = [(name, row) for name, row in rows.items() if row.get("f1") not in (None, 1.0) and row.get("support")]
    return sorted(known, key=lambda pair: float(pair[1]["f1"]))[:_WEAKEST]
