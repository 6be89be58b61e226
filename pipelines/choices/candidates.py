"""Which precision, and whether XLA compiles the step: every pair that is open is timed, and the fastest taken of those
whose loss agrees. Imports no TensorFlow."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipelines.choices.bench import Outcome
from pipelines.config import RunConfig
from pipelines.console import text_table
from pipelines.errors import RunError

TOLERANCE = 0.05
"""Of the mean loss over the first calls, relative to the first candidate's (of losses below 0.1, to 0.1). Dropout draws
other masks in other formats, so that it cannot be much less."""
GAIN = 0.05
"""What a candidate must save of the time of those before it, which are the plainer: timings differ by as much."""
LEAST_LIMIT, MOST_LIMIT, FIRST_LIMIT = 20.0, 300.0, 600.0
"""Seconds after which a candidate is given up: what the best would take for the whole run, but within these; the first
has nothing to be held against."""

Settings = dict[str, str]
Try = Callable[[Settings, float, bool], Outcome]
"""(settings, seconds after which it is given up, whether the one before is the best so far) -> what came of it."""


@dataclass(frozen=True)
class Row:
    """One candidate, and what came of it."""

    settings: Settings
    seconds: float | None = None
    """Of the whole run, as estimated."""
    first: float | None = None
    """Seconds of the first call, compilation included."""
    step: float | None = None
    """Seconds of a step: the median, beside the best so far."""
    loss: float | None = None
    reason: str = ""
    """Why it is left out."""
    made: float = 0.0
    """Seconds that the first call took besides computing."""
    makes: int = 0
    """How often XLA does that: for each shape; 0: it is not there."""
    steps: int = 0
    """Of the whole run."""


def plainest(config: RunConfig) -> Settings:
    """Settings that are sure to work, in place of those that are open."""
    plain = {"precision": "float32", "jit": "off"}
    return {name: value for name, value in plain.items() if getattr(config, name) == "auto"}


def choose(
    config: RunConfig, machine: dict[str, Any], attempt: Try, say: Callable[[str], None]
) -> tuple[Settings, list[dict[str, Any]]]:
    """The best settings, and all rows as JSON values; the table is said.

    Args:
        config: of which precision or jit is `auto`.
        machine: device and replicas, as the bench says.
        attempt: tries one.
        say: for the table.

    Raises:
        RunError: none could be measured.
    """
    rows: list[Row] = []
    steps, open_ones = 0, listed(config, machine)
    if len(open_ones) == 1:
        say(f"choosing: nothing to measure, as there is nothing but jit {open_ones[0]['jit']} here")
        return open_ones[0], []
    for settings in open_ones:
        best = min((row.seconds for row in rows if row.seconds is not None), default=None)
        limit = FIRST_LIMIT if best is None else min(max(best, LEAST_LIMIT), MOST_LIMIT)
        outcome = attempt(settings, limit, bool(rows) and fastest(rows) is rows[-1])
        if outcome.solved:
            say("choosing: nothing to measure, as the weights are solved for in closed form")
            return plainest(config), []
        steps = outcome.steps or steps
        rows = estimated([*rows, _row(settings, outcome, rows, limit)])
    taken = fastest(rows)
    if taken is None:
        raise RunError(
            f"{' and '.join(name for name in ('precision', 'jit') if getattr(config, name) == 'auto')} auto: nothing "
            f"could be measured ({'; '.join(dict.fromkeys(row.reason for row in rows))}): name a value."
        )
    say(table(rows, taken, steps))
    return taken.settings, [asdict(row) for row in rows]


def listed(config: RunConfig, machine: dict[str, Any]) -> list[Settings]:
    """The candidates, the plainest first: float16 on GPUs alone, as processors emulate it; XLA where there is a choice,
    which replicas, JAX and TPUs do not leave."""
    formats = ["float32", "mixed_bfloat16", *(["mixed_float16"] if machine["device"] == "gpu" else [])]
    given = config.backend == "jax" or machine["device"] == "tpu" or machine["replicas"] > 1
    ways = [("on" if config.backend == "jax" else "off")] if given else ["off", "on"]
    return [
        {
            **({"precision": number} if config.precision == "auto" else {}),
            **({"jit": way} if config.jit == "auto" else {}),
        }
        for way in (ways if config.jit == "auto" else [""])
        for number in (formats if config.precision == "auto" else [""])
    ]


def _row(settings: Settings, outcome: Outcome, before: Sequence[Row], limit: float) -> Row:
    if outcome.reason or outcome.step is None:
        return Row(settings, reason=outcome.reason or f"given up after {limit:.0f} s")
    best = fastest(before)
    if outcome.beside is not None and best is not None and best.step is not None:
        # Other work on the machine slows both down that take turns: what differs is the candidates' own.
        outcome = replace(outcome, step=best.step * outcome.beside)
    reference = next((row.loss for row in before if row.loss is not None), outcome.loss)
    assert reference is not None
    assert outcome.loss is not None
    agrees = abs(outcome.loss - reference) <= TOLERANCE * max(abs(reference), 0.1)
    reason = "" if agrees else f"its loss is more than {TOLERANCE:.0%} off"
    made = max((outcome.first or 0.0) - (outcome.call or 0.0), 0.0)
    makes = outcome.shapes if outcome.jit == "on" else 0
    return Row(settings, None, outcome.first, outcome.step, outcome.loss, reason, made, makes, outcome.steps)


def estimated(rows: Sequence[Row]) -> list[Row]:
    """The rows with the seconds of the whole run's steps. Without XLA a graph is traced once, which takes as long in
    every format: the least counts for all, as the first to be tried pays for the start of the process."""
    traced = min((row.made for row in rows if row.step is not None and not row.makes), default=0.0)
    return [
        replace(row, seconds=(row.makes * row.made or traced) + row.steps * row.step) if row.step is not None else row
        for row in rows
    ]


def fastest(rows: Sequence[Row]) -> Row | None:
    """The row to take: the first is left only for one that saves enough; None where all are left out."""
    taken = None
    for row in rows:
        if row.reason or row.seconds is None:
            continue
        if taken is None or taken.seconds is None or row.seconds < (1 - GAIN) * taken.seconds:
            taken = row
    return taken


def table(rows: Sequence[Row], taken: Row, steps: int) -> str:
    """For people."""
    head = ["", "first call s", "step ms", "loss", f"s for {steps:,} steps", ""]
    lines = [
        [
            ", ".join(f"{name} {value}" for name, value in row.settings.items()),
            *(_number(value, digits) for value, digits in ((row.first, 2), (row.step and 1e3 * row.step, 2))),
            *(_number(value, digits) for value, digits in ((row.loss, 4), (row.seconds, 0))),
            "chosen" if row is taken else textwrap.shorten(row.reason, 60, placeholder=" …"),
        ]
        for row in rows
    ]
    return text_table([head, *lines])


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
