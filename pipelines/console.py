"""What a person sees while something runs. Results go to standard output; notes and progress to standard error.

So `sixfold predict … > records.jsonl` holds records and nothing else. A bar is drawn on a terminal only; elsewhere
progress is a plain line at most every ten seconds, without control codes.
"""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress

LINE_SECONDS = 10.0
"""Least time between two lines of progress off a terminal."""
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]")


class Advance(Protocol):
    """Says how far a bar has come."""

    def __call__(self, done: int, note: str = "", *, total: int | None = None) -> None: ...


class Console:
    """Notes, results and progress of one command."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock

    def say(self, text: str) -> None:
        """A note, on standard error; above the bar where one is drawn."""
        print(text, file=sys.stderr, flush=True)

    def result(self, text: str) -> None:
        """A result, on standard output."""
        print(text, flush=True)

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Rows as a table on standard output; the first row is the head."""
        self.result(text_table(rows))

    @contextmanager
    def bar(self, label: str, total: int | None, unit: str) -> Iterator[Advance]:
        """Progress towards a total of units (a plural, as in 'images'); None where the total is not known yet."""
        if is_terminal():
            with _rich_bar(label, total, unit) as advance:
                yield advance
        else:
            yield _Lines(label, total, unit, self._clock, self.say)


class Silent(Console):
    """Says nothing: of a worker beside the chief, which says it all."""

    def say(self, text: str) -> None:
        """Nothing."""

    @contextmanager
    def bar(self, label: str, total: int | None, unit: str) -> Iterator[Advance]:
        """None."""
        yield _Lines(label, total, unit, self._clock, self.say)


def one_line(text: str) -> str:
    """A name or a sentence about it as a terminal may show it: what would break the line, or turn it round, escaped."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def is_terminal() -> bool:
    """Whether standard error is a terminal that can redraw a line."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned lines; a column whose cells below the head are all numbers is aligned right. A cell is a line,
    whatever it holds."""
    rows = [[" ".join(cell.splitlines()) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = [all(_is_number(cell) for cell in column[1:]) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "", 1).replace("-", "", 1).isdigit() or cell == "-"


class _Lines:
    """Progress as plain lines."""

    def __init__(
        self, label: str, total: int | None, unit: str, clock: Callable[[], float], say: Callable[[str], None]
    ) -> None:
        self._label, self._total, self._unit, self._clock, self._say = label, total, unit, clock, say
        self._started = self._last = clock()

    def __call__(self, done: int, note: str = "", *, total: int | None = None) -> None:
        self._total = total or self._total
        now = self._clock()
        if now - self._last < LINE_SECONDS:
            return
        self._last = now
        rate = done / (now - self._started)
        parts = [f"{self._label}: {done:,} {self._unit}", f"{speed(rate)}/s"]
        if self._total:
            parts[0] = f"{self._label}: {done:,} of {self._total:,} {self._unit}"
            if rate:
                parts.append(f"{_minutes((self._total - done) / rate)} left")
        self._say(", ".join([*parts, note] if note else parts))


def speed(rate: float) -> str:
    """Of so many a second: a whole number, or where that says little two digits."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _minutes(seconds: float) -> str:
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


@contextmanager
def _rich_bar(label: str, total: int | None, unit: str) -> Iterator[Advance]:
    with _progress(unit) as progress:
        task = progress.add_task(label, total=total, note="", rate="")
        started = time.monotonic()

        def advance(done: int, note: str = "", *, total: int | None = None) -> None:
            rate = done / max(time.monotonic() - started, 1e-9)
            values: dict[str, Any] = {"total": total} if total else {}
            progress.update(task, completed=done, note=note, rate=f"{speed(rate)} {unit}/s", **values)

        yield advance


def _progress(unit: str) -> "Progress":
    from rich.console import Console as Terminal
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=Terminal(stderr=True),
        transient=True,
    )
