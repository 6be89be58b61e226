"""Where jobs can run: for each place how a job is checked, written and submitted, and how its scheduler is asked."""

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import ConfigError, SixfoldError
from pipelines.jobs import airflow, kubernetes, ledger, local, slurm
from pipelines.jobs.spec import Job
from pipelines.runs import Run
from pipelines.state import write_bytes

_ENDED = re.compile(r"finished|cancelled|failed( \(.*\))?", re.DOTALL)
"""States that stay."""


@dataclass(frozen=True)
class Client:
    """How a scheduler is asked about the jobs that it was given."""

    submit: Callable[[Job], str]
    """The job, whose texts are written -> its number there. Raises ConfigError where it can never run."""
    states: Callable[[Sequence[str]], dict[str, str]]
    """Numbers -> a word for each that is known."""
    cancel: Callable[[str], None]
    logs: Callable[[Path, str], list[Path]] | None = None
    """The folder of logs, a number -> its files; None: they are with the scheduler."""


@dataclass(frozen=True)
class Target:
    """A place where jobs run."""

    file: str
    """What the text of a job is called."""
    check: Callable[[Job], None]
    render: Callable[[Job], str]
    client: Client | None = None
    """None: it takes the text, and is asked by its own means."""


TARGETS = {
    "local": Target(
        local.FILE, local.check, local.render, Client(local.submit, local.states, local.cancel, local.logs)
    ),
    "slurm": Target(
        slurm.FILE, slurm.check, slurm.render, Client(slurm.submit, slurm.states, slurm.cancel, slurm.logs)
    ),
    "kubernetes": Target(
        kubernetes.FILE,
        kubernetes.check,
        kubernetes.render,
        Client(kubernetes.submit, kubernetes.states, kubernetes.cancel),
    ),
    "airflow": Target(airflow.FILE, airflow.check, airflow.render),
}


def target_of(job: Job) -> Target:
    """That of a job, which is checked for it.

    Raises:
        ConfigError: it is nowhere, or cannot be there.
    """
    if job.settings.to is None:
        raise ConfigError(f"--to is missing: it takes {', '.join(TARGETS)}.")
    target = TARGETS[job.settings.to]
    target.check(job)
    return target


def write(job: Job, text: str) -> Path:
    """Put the job's text into its folder, and its run file.

    Raises:
        ConfigError: the folder cannot be written, or a job that has not ended has it.
    """
    assert job.settings.to is not None
    _refuse_twice(job)
    file = job.folder / TARGETS[job.settings.to].file
    try:
        job.log.mkdir(parents=True, exist_ok=True)
        if job.run_file is not None:
            write_bytes(job.folder / "run.yaml", job.run_file.encode())
        write_bytes(file, text.encode())
    except OSError as error:
        raise ConfigError(
            f"{job.folder} cannot be written ({error.strerror}): the texts and logs of a job lie beside what comes out "
            "of it; choose another place for that."
        ) from error
    return file


def submit(job: Job, text: str) -> str:
    """Write a job down, hand it to its scheduler, and remember it; its number there.

    Raises:
        ConfigError: it can never run there; then nothing is left of it.
    """
    assert job.settings.to is not None
    client = TARGETS[job.settings.to].client
    assert client is not None
    ledger.check()
    fresh = not job.folder.exists()
    write(job, text)
    try:
        number = client.submit(job)
    except BaseException:
        if fresh:
            shutil.rmtree(job.folder, ignore_errors=True)
        raise
    if job.settings.to != "local":  # whose queue is the ledger itself
        try:
            ledger.add(ledger.Entry.of(job, number))
        except OSError as error:
            raise SixfoldError(
                f"{number} is submitted, but could not be remembered in {ledger.home()} ({error.strerror}): ask "
                f"{job.settings.to} itself how it goes."
            ) from error
    return number


def states() -> list[tuple[ledger.Entry, str]]:
    """Every job that was submitted from here, with its state. Of one that has ended nobody is asked twice."""
    every = ledger.every()
    found: dict[str, str] = {one["id"]: one["ended"] for one in every if "ended" in one}
    for name, target in TARGETS.items():
        numbers = [one["id"] for one in every if one["target"] == name and one["id"] not in found]
        if not numbers or target.client is None:
            continue
        try:
            found |= target.client.states(numbers)
        except ConfigError as error:
            found |= dict.fromkeys(numbers, f"unknown ({error})")
    entries = [ledger.entry_of(one) for one in every]
    told = [(entry, found.get(entry.id) or _by_its_output(entry)) for entry in entries]
    for one, (entry, state) in zip(every, told, strict=True):
        if "ended" not in one and _ENDED.fullmatch(state):
            ledger.change(entry.id, lambda now, state=state: {**now, "ended": state})  # type: ignore[misc]
    return told


def client_of(entry: ledger.Entry) -> Client:
    """Whom to ask about a job."""
    client = TARGETS[entry.target].client
    assert client is not None
    return client


def cancel(entry: ledger.Entry) -> None:
    """Ask for a job's end.

    Raises:
        ConfigError: it has ended already.
    """
    state = {one.id: state for one, state in states()}[entry.id]
    if _ENDED.fullmatch(state):
        raise ConfigError(f"{entry.id} has ended already: {state}.")
    client_of(entry).cancel(entry.id)
    if entry.target == "kubernetes":  # of what is deleted nobody can say any more how it ended
        ledger.change(entry.id, lambda now: {**now, "ended": "cancelled"})


def log_command(entry: ledger.Entry, *, follow: bool) -> list[str]:
    """What prints a job's logs.

    Raises:
        ConfigError: there are none yet.
    """
    client = client_of(entry)
    if client.logs is None:
        return kubernetes.log_command(entry.id, follow)
    files = [str(file) for file in client.logs(entry.log, entry.id)]
    if not files:
        raise ConfigError(f"{entry.id} has no log yet: it has not begun (sixfold jobs).")
    if follow and shutil.which("tail"):
        return ["tail", "--lines=+1", "--follow=name", "--quiet", *files]
    return ["cat", *files]


def _refuse_twice(job: Job) -> None:
    """Two jobs cannot work on one folder."""
    here = str(job.directory / job.output)
    for entry, state in states():
        if entry.output == here and re.search(r"\b(queued|running)\b", state):
            raise ConfigError(f"{job.output} is the folder of the job {entry.id}, which is {state}: cancel it first.")


def _by_its_output(entry: ledger.Entry) -> str:
    """The scheduler has forgotten it: what it left tells."""
    run = Run(Path(entry.output))
    if run.settings.is_file():
        return "finished" if run.finished else "gone, its run unfinished"
    return "finished" if Path(entry.output).is_file() else "gone"
