"""What was submitted from here: a JSON file for each job below $SIXFOLD_JOBS (default ~/.local/state/sixfold/jobs)."""

import datetime
import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pipelines.errors import ConfigError, StateError
from pipelines.jobs.spec import Job
from pipelines.state import write_bytes


@dataclass(frozen=True)
class Entry:
    """A job that was submitted."""

    id: str
    """As its scheduler calls it."""
    target: str
    name: str
    what: str
    """The verb and the task, or the run."""
    output: str
    """The run folder, or the file of predictions."""
    folder: str
    """Where its texts lie."""
    submitted: str

    @classmethod
    def of(cls, job: Job, number: str) -> Self:
        """That of a job with its number."""
        assert job.settings.to is not None
        now = datetime.datetime.now().strftime("%Y-%m-%d %H:%M")
        output = job.output if job.settings.to == "kubernetes" else str(job.directory / job.output)
        return cls(number, job.settings.to, job.name, " ".join(job.words[:2]), output, str(job.folder), now)

    @property
    def log(self) -> Path:
        """The folder of its logs."""
        return Path(self.folder) / "logs"


def home() -> Path:
    """The folder of the entries."""
    if named := os.environ.get("SIXFOLD_JOBS"):
        return Path(named)
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "sixfold" / "jobs"


def check() -> None:
    """Raise ConfigError where what is submitted could not be remembered."""
    place = next(folder for folder in (home(), *home().absolute().parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise ConfigError(f"{home()} cannot be written, where jobs are remembered: name another with SIXFOLD_JOBS.")


@contextmanager
def locked() -> Iterator[None]:
    """In here nobody else changes an entry."""
    home().mkdir(parents=True, exist_ok=True)
    with (home() / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def add(entry: Entry, **more: Any) -> None:
    """Write it down; an older job of this number is forgotten."""
    write_bytes(_file(entry.id), json.dumps({**asdict(entry), **more}, indent=1).encode())


def next_local() -> str:
    """A name for a job of this machine's queue that none had before."""
    with locked():
        file = home() / "last-local"
        number = int(file.read_text()) + 1 if file.exists() else 1
        write_bytes(file, str(number).encode())
    return f"local-{number}"


def read(number: str) -> dict[str, Any] | None:
    """All that is known of a job here; None where it is not, or no longer readable."""
    try:
        found = json.loads(_file(number).read_text("utf-8"))
        Entry(**{name: found[name] for name in Entry.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(found)


def change(number: str, function: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Put what the function makes of an entry in its place."""
    with locked():
        if (found := read(number)) is not None:
            write_bytes(_file(number), json.dumps(function(found), indent=1).encode())


def every() -> list[dict[str, Any]]:
    """All of them, in the order in which they were submitted."""
    found = [read(file.stem.replace("~", "/")) for file in home().glob("*.json")]
    return sorted((one for one in found if one is not None), key=lambda one: (one["submitted"], _natural(one["id"])))


def entry_of(found: dict[str, Any]) -> Entry:
    """The part that all targets have."""
    return Entry(**{name: found[name] for name in Entry.__dataclass_fields__})


def find(text: str) -> Entry:
    """The job of a number, a name, or a run folder.

    Raises:
        ConfigError: there is none, or there are several.
    """
    entries = [entry_of(one) for one in every()]
    found = [one for one in entries if one.id == text] or [
        one for one in entries if text == one.name or Path(one.output) == Path(os.path.abspath(text))
    ]
    if not found:
        raise ConfigError(f"there is no job {text}: `sixfold jobs` lists those that were submitted from here.")
    # Of several in one folder, as it was cancelled and submitted again, the last.
    if len({one.output for one in found}) > 1 and found[-1].id != text:
        numbers = ", ".join(one.id for one in found)
        raise ConfigError(f"{text} is the name of several jobs ({numbers}): name one by its number.")
    return found[-1]


def _file(number: str) -> Path:
    if not re.fullmatch(r"[\w./-]+", number):
        raise StateError(f"{number!r} is no number of a job.")
    return home() / f"{number.replace('/', '~')}.json"


def _natural(text: str) -> list[tuple[int, str]]:
    """Numbers by their size."""
    return [(int(part or 0), other) for part, other in re.findall(r"(\d*)(\D*)", text)]
