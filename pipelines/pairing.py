"""What lets two finished runs be compared example by example without their models or data: each keeps its scores on
every resample of its test examples, and which examples these are. Imports no TensorFlow."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import StateError
from pipelines.scoring import DRAWS, difference
from pipelines.state import load_arrays, save_arrays
from pipelines.task import Data, Interval, Scores

FILE = "resamples.safetensors"
"""In the run folder."""
_KNOWN = ("draws", "examples", "ids", "targets", "contents", "protocol")


@dataclass(frozen=True)
class Judged:
    """How a run did on its test examples."""

    resamples: Mapping[str, np.ndarray]
    """float64 [resamples]: each score on every resample; NaN where it is not defined."""
    draws: int
    """The version of the way in which resamples are drawn."""
    examples: int
    ids: str
    """Digest of the examples' names, in order."""
    targets: str
    """Digest of the truth about each, in order."""
    contents: str
    """Digest of what each holds, in order, whatever it is called."""
    protocol: str


def save_judged(folder: Path, scores: Scores, ids: Iterable[str], targets: Sequence[Any], data: Data) -> None:
    """Keep a run's scores on each resample of its test split.

    Args:
        folder: of the run.
        scores: of the test split.
        ids: of its examples, in order.
        targets: the truth about each, as JSON values.
        data: of the run.
    """
    about = {
        "draws": DRAWS,
        "examples": len(targets),
        "ids": _digest(ids),
        "targets": _digest(targets[place] for place in range(len(targets))),
        "contents": hashlib.sha256(np.ascontiguousarray(data.hashes["test"]).tobytes()).hexdigest(),
        "protocol": data.protocol,
    }
    save_arrays(folder / FILE, dict(scores.resamples), about)


def load_judged(folder: Path) -> Judged | None:
    """What a run keeps; None where it was scored before runs kept it.

    Raises:
        StateError: the file is damaged.
    """
    if not (folder / FILE).is_file():
        return None
    resamples, about, _ = load_arrays(folder / FILE)
    if set(_KNOWN) - about.keys():
        raise StateError(f"{folder / FILE} does not hold what a run writes: take it from the run again.")
    return Judged(resamples, **{name: about[name] for name in _KNOWN})


def why_no_pairs(one: Judged | None, other: Judged | None) -> str:
    """Why the examples of two runs make no pairs, as a clause; nothing where they do."""
    if one is None or other is None:
        return "one of them was scored before runs kept what this takes: run it again"
    reasons = {
        f"they were scored on {one.examples:,} and on {other.examples:,} examples": one.examples != other.examples,
        "they were scored on other examples": one.ids != other.ids and one.contents != other.contents,
        "what is true of their test examples differs": one.targets != other.targets,
        f"their protocols differ, {one.protocol!r} and {other.protocol!r}": one.protocol != other.protocol,
        "their resamples are of different versions of Sixfold: run the older one again": one.draws != other.draws,
        "there are too few test examples": not (one.resamples and other.resamples),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def paired_differences(
    one: Judged, other: Judged, values: Mapping[str, float], others: Mapping[str, float]
) -> dict[str, Interval]:
    """What the other run's scores have over those of the one, with 95 % intervals by paired bootstrap.

    Args:
        one: makes pairs with the other, as why_no_pairs says.
        other: the run that is held against it.
        values: the scores of the one.
        others: those of the other.
    """
    found = {}
    for name, value in others.items():
        drawn = [judged.resamples.get(name) for judged in (one, other)]
        if name in values and drawn[0] is not None and drawn[1] is not None and drawn[0].shape == drawn[1].shape:
            found[name] = difference(value - values[name], drawn[1] - drawn[0])
    return found


def _digest(values: Iterable[Any]) -> str:
    total = hashlib.sha256()
    for value in values:
        total.update(f"{json.dumps(value)}\n".encode())
    return total.hexdigest()
