"""Whether an export answers as the model does that was scored: in a process of its own, on the same test examples."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.children import how_it_ended
from pipelines.errors import RunError
from pipelines.exports import alone
from pipelines.task import Interval, Scores

TOLERANCES = {"float32": 1e-4, "mixed_bfloat16": 0.05, "mixed_float16": 0.01}
"""By precision. In bfloat16, whose numbers have 8 bits, a text answers otherwise beside longer ones: by 0.026 at most
among 64 of SST-2."""
TIMED = (1, 32)
"""Rows that the latency is taken of."""
_POINT = 0.001
"""What a headline may change by: 0.1 of a hundred, or of what it is where that is more."""


def answers(request: Mapping[str, Any], batches: Sequence[Mapping[str, Any]], folder: Path) -> tuple[Any, Any]:
    """What an export gives for batches of inputs where there is no Sixfold.

    Args:
        request: see `alone`.
        batches: the inputs, by name.
        folder: for files on the way.

    Returns: the outputs of each batch by name, and milliseconds by rows.

    Raises:
        RunError: it fails there.
    """
    given, found = ([folder / f"{kind}-{n}.npz" for n in range(len(batches))] for kind in ("inputs", "outputs"))
    for batch, file in zip(batches, given, strict=True):
        np.savez(file, **alone.packed(batch))  # type: ignore[arg-type]
    whole = {**request, "batches": [*map(str, given)], "answers": [*map(str, found)], "timed": list(TIMED)}
    (folder / "request.json").write_text(json.dumps(whole), "utf-8")
    hidden = ("PYTHONPATH", "KERAS_BACKEND", "TF_CONFIG")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment["KERAS_BACKEND"] = "tensorflow"  # whatever a file in the home folder says
    # In a folder of its own and isolated: what is imported there is what is installed.
    words = [sys.executable, "-I", str(Path(alone.__file__).resolve()), str(folder / "request.json")]
    done = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"the export fails where it is loaded alone: {how_it_ended(done.returncode, done.stderr)}.")
    said = json.loads(done.stdout.splitlines()[-1])
    if said["ours"] and not set(said["ours"]) & set(request["needs"]):
        raise RunError(f"the export was loaded in a process that holds Sixfold itself ({said['ours'][0]}).")
    outputs = []
    for file in found:
        with np.load(file, allow_pickle=False) as arrays:
            outputs.append(alone.unpacked(arrays))
    return outputs, said["milliseconds"]


@dataclass(frozen=True)
class Gate:
    """What an export must keep to."""

    precision: str
    """Of the model's layers."""
    quantised: bool = False
    widened: bool = False
    """Whether it is float32 where the model that was scored was not: then it is held against the same weights in
    float32, and its headline may be where that of the model may be."""

    def judge(self, largest: float, before: Scores, after: Scores) -> list[str]:
        """What it fails in, a sentence each; none where it passes."""
        wrong = []
        most = TOLERANCES[self.precision]
        if not self.quantised and not largest <= most:
            wrong.append(f"its answers differ by {largest:.2g}, and {most:g} is allowed")
        headline = before.scores[before.headline]
        now = after.scores[before.headline].value
        if self.quantised or self.widened:
            if not _within(now, headline):
                wrong.append(
                    f"its {before.headline} is {now:.4f}, outside the model's interval "
                    f"({headline.low:.4f} to {headline.high:.4f})"
                )
        elif not abs(now - headline.value) <= _POINT * max(1.0, abs(headline.value)):
            wrong.append(f"its {before.headline} is {now:.4f}, and the model's {headline.value:.4f}")
        return wrong


def _within(value: float, interval: Interval) -> bool:
    """Of a score without an interval, as one example has none: the same."""
    if interval.low is None or interval.high is None:
        return value == interval.value
    return interval.low <= value <= interval.high


def changes(before: Scores, after: Scores) -> dict[str, dict[str, float | None]]:
    """Each score of both, and by how much it changed."""
    shared = [name for name in before.scores if name in after.scores]
    pairs = {name: (before.scores[name].value, after.scores[name].value) for name in shared}
    return {
        name: {"model": old, "export": new, "change": None if old is None or new is None else new - old}
        for name, (old, new) in pairs.items()
    }
