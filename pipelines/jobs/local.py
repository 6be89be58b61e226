"""This machine: a job as a script of its own queue."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.errors import ConfigError
from pipelines.jobs import ledger, queue
from pipelines.jobs.spec import Job, check_secret_files, preamble, shard_words, shell

FILE = "job.sh"


def check(job: Job) -> None:
    """Raise ConfigError where this machine's queue cannot run it so."""
    check_secret_files(job)
    settings = job.settings
    for name in ("image", "mount", "cpus", "memory"):
        if getattr(settings, name):
            raise ConfigError(
                f"--{name}: the queue of this machine has no containers and sets no limits; leave it out."
            )
    if settings.at_once not in (None, 1):
        raise ConfigError(f"--at-once {settings.at_once}: here one shard is predicted after another; leave it out.")
    if settings.nodes > 1:
        raise ConfigError(f"--nodes {settings.nodes}: this is one machine; use --workers for several processes on it.")


def render(job: Job) -> str:
    """The script: one attempt. What computes takes the shell's place, so that a signal reaches it."""
    head = [
        "#!/bin/bash",
        f"# {job.name}: written by sixfold submit, run by its queue on this machine.",
        *preamble(job),
    ]
    if not job.shards:
        several = ("launch", "--workers", str(job.settings.all_workers)) if job.settings.all_workers > 1 else ()
        return "\n".join([*head, f"exec {shell([*job.program, *several, *job.words])}"]) + "\n"
    one = [f"for shard in $(seq 0 {job.shards - 1}); do", f"    {shard_words(job, '$shard')} || exit $?", "done"]
    return "\n".join([*head, *one]) + "\n"


def submit(job: Job) -> str:
    """Put it into the queue."""
    settings = job.settings
    limits = queue.Limits(settings.retries, settings.grace, settings.minutes)
    number = ledger.next_local()
    ledger.add(ledger.Entry.of(job, number), queue=queue.first_state(limits))
    queue.ensure_runner()
    return number


def states(ids: Sequence[str]) -> dict[str, str]:
    """What the queue has of these."""
    queue.ensure_runner()
    found = {number: entry for number in ids if (entry := ledger.read(number))}
    return {number: queue.in_words(entry["queue"]) for number, entry in found.items() if "queue" in entry}


def logs(folder: Path, number: str) -> list[Path]:
    """One, to which every attempt is appended."""
    return list(folder.glob(f"{number}.log"))


def cancel(number: str) -> None:
    """Take it from the queue, or end it as a signal does."""
    queue.cancel(number)
    queue.ensure_runner()
