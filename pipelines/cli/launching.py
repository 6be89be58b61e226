"""The verb that starts several workers here: launch."""

import click


def _launch(workers: int, words: tuple[str, ...]) -> None:
    context = click.get_current_context()
    if words[0] not in ("run", "resume"):
        raise click.UsageError(f"launch {words[0]!r}: only run and resume take several workers", context)
    from pipelines.launching import launch as start

    code = start(workers, list(words))
    if code:
        context.exit(code)


launch = click.Command(
    "launch",
    callback=_launch,
    # What follows the verb is its own.
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    help="Start several workers on this machine for `sixfold run TASK …` or `sixfold resume RUN`; each line of theirs "
    "begins with its worker's number, 0 being the chief.\n\n"
    "The batch size is that of all workers together. Where one fails, the others are ended; exit as it did, or 75 "
    "where it was killed: `sixfold launch --workers N resume RUN` goes on. Signals are passed on to all.",
    params=[
        click.Option(
            ["--workers"], type=click.IntRange(min=1), required=True, metavar="INTEGER", help="How many processes."
        ),
        click.Argument(["words"], nargs=-1, required=True, type=click.UNPROCESSED, metavar="run|resume ..."),
    ],
)
