"""The verb that starts several workers here, or is one of those that a scheduler started: launch."""

import json
import os
import sys

import click

from pipelines.clusters import SCHEDULERS, await_names, told_by
from pipelines.errors import Preempted


def _launch(workers: int | None, by: str | None, words: tuple[str, ...]) -> None:
    context = click.get_current_context()
    if words[0] not in ("run", "resume"):
        raise click.UsageError(f"launch {words[0]!r}: only run and resume take several workers", context)
    if (workers is None) == (by is None):
        raise click.UsageError("launch takes --workers, or --by where a scheduler has started them", context)
    if by is not None:
        _become_worker(by, words)
    assert workers is not None
    from pipelines.launching import launch as start

    code = start(workers, list(words))
    if code == Preempted.exit_code:
        click.echo(f"with all workers it goes on by sixfold launch --workers {workers} resume RUN", err=True)
    if code:
        context.exit(code)


def _become_worker(scheduler: str, words: tuple[str, ...]) -> None:
    """The same process goes on as the worker, so that the scheduler's signals reach it."""
    from pipelines.workers import VARIABLE

    told = told_by("slurm" if scheduler == "slurm" else "kubernetes", os.environ)
    await_names(told["cluster"]["worker"])
    os.environ[VARIABLE] = json.dumps(told)
    os.execv(sys.executable, [sys.executable, "-P", "-m", "pipelines.cli", *words])


launch = click.Command(
    "launch",
    callback=_launch,
    # What follows the verb is its own.
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    help="Start several workers on this machine for `sixfold run TASK …` or `sixfold resume RUN`; each line of theirs "
    "begins with its worker's number, 0 being the chief.\n\n"
    "The batch size is that of all workers together. Where one fails, the others are ended; exit as it did, or 75 "
    "where it was killed: `sixfold launch --workers N resume RUN` goes on. Signals are passed on to all. With --by "
    "this process is itself one of the workers that a scheduler has started.",
    params=[
        click.Option(["--workers"], type=click.IntRange(min=1), metavar="INTEGER", help="How many processes."),
        click.Option(
            ["--by"],
            type=click.Choice(SCHEDULERS),
            help="Start none: take this worker's place from what the scheduler's variables say.",
        ),
        click.Argument(["words"], nargs=-1, required=True, type=click.UNPROCESSED, metavar="run|resume ..."),
    ],
)
