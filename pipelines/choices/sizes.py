"""The largest batch that fits: sizes are doubled until one does not, or would not. Imports no TensorFlow."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from pipelines import machine as this_machine
from pipelines.choices.bench import Outcome
from pipelines.config import RunConfig
from pipelines.console import text_table
from pipelines.errors import RunError

MOST = 4_096
"""Examples: larger batches are for those who know why."""
UPDATES = 16
"""That an epoch keeps at least."""
SHARE = 0.8
"""Of the memory that is free: the rest of the run, as scoring, needs some, too."""
SLOWEST = 60.0
"""Seconds of a step from which on no larger batch is tried."""
LONGEST_TRIAL = 300.0
"""Seconds after which a size is given up."""
_FIRST = 8

Try = Callable[[int], Outcome]
"""Trains some steps with the largest batches of a size."""


@dataclass(frozen=True)
class Row:
    """One size, and what came of it."""

    size: int
    fits: bool
    peak: int | None = None
    """Bytes of the process at most; None where the device tells by itself what fits."""
    step: float | None = None
    """Seconds: the median."""
    reason: str = ""
    """Why it does not fit, or why none larger is tried."""


def choose(
    config: RunConfig, machine: dict[str, Any], attempt: Try, say: Callable[[str], None]
) -> tuple[int, list[dict[str, Any]]]:
    """The size, and all rows as JSON values; the table is said.

    Args:
        config: of which batch_size is `auto`.
        machine: device, replicas and training examples, as the bench says.
        attempt: tries one.
        say: for the table.

    Raises:
        RunError: not even the smallest batch fits.
    """
    parts = config.accumulate * machine["replicas"]
    room = _room() if machine["device"] == "cpu" else None
    rows = search(attempt, parts, largest_tried(machine["examples"], parts), room)
    fitting = [row for row in rows if row.fits]
    if not fitting:
        least = "one example fits" if parts == 1 else f"{parts} examples fit"
        raise RunError(
            f"batch_size auto: not even {least} ({rows[-1].reason}): take a smaller model, or a machine with more "
            "memory."
        )
    taken = max(fitting, key=lambda row: row.size)
    say(_table(rows, taken, room))
    say(f"batch size: {taken.size}; the learning rate is not changed with it, though larger batches may want a larger")
    return taken.size, [asdict(row) for row in rows]


def largest_tried(examples: int, parts: int) -> int:
    """Parts times a power of two."""
    size = parts
    while 2 * size <= min(MOST, examples // UPDATES):
        size *= 2
    return size


def search(attempt: Try, parts: int, most: int, room: int | None) -> list[Row]:
    """All that were tried, in their order: up from a small size, or down from it to one that fits."""
    rows: list[Row] = []
    size = min(_FIRST * parts, most)
    while True:
        rows.append(_tried(attempt(size), size, rows, most, room))
        down = any(row.size > size for row in rows)
        if rows[-1].fits and not down and not rows[-1].reason:
            size *= 2
        elif not any(row.fits for row in rows) and size > parts:
            size //= 2
        else:
            return rows


def _tried(outcome: Outcome, size: int, before: list[Row], most: int, room: int | None) -> Row:
    if outcome.solved:
        return Row(size, True, reason="nothing is trained in batches")
    peak = outcome.peak if room else None
    if outcome.reason or (room and peak and peak > room):
        return Row(size, False, peak, outcome.step, outcome.reason or "more than may be taken")
    reason = ""
    if 2 * size > most:
        reason = f"{MOST:,} at most, and {UPDATES} updates an epoch at least"
    elif outcome.step is not None and outcome.step > SLOWEST:
        reason = f"a step takes more than {SLOWEST:.0f} s already"
    elif room and peak and before and before[-1].peak and before[-1].size < size:
        doubled = peak + 2 * (peak - before[-1].peak)
        reason = f"twice as many would take {this_machine.gigabytes(doubled)}" if doubled > room else ""
    return Row(size, True, peak, outcome.step, reason)


def _room() -> int | None:
    """Bytes that a training may take here."""
    limits = [one for one in (this_machine.memory(), this_machine.available_memory()) if one]
    return int(SHARE * min(limits)) if limits else None


def _table(rows: list[Row], taken: Row, room: int | None) -> str:
    """For people."""
    head = ["batch size", "memory at most", "step ms", "examples/s", ""]
    lines = [
        [
            f"{row.size:,}",
            this_machine.gigabytes(row.peak) if row.peak else "-",
            f"{1e3 * row.step:,.1f}" if row.step else "-",
            f"{row.size / row.step:,.0f}" if row.step else "-",
            "; ".join(filter(None, ["chosen" if row is taken else "" if row.fits else "does not fit", row.reason])),
        ]
        for row in sorted(rows, key=lambda row: row.size)
    ]
    limit = f"memory that a training may take here: {this_machine.gigabytes(room)}\n" if room else ""
    return limit + text_table([head, *lines])
