"""What predict takes besides its own options: those that tasks declare. Merging what it made in parts."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from pipelines.cli.commands import PairsCommand
from pipelines.errors import ConfigError

_METAVARS = {"input": "FILE", "names": "FILE", "number": "NUMBER"}


class TaskOption(click.Option):
    """An option that some tasks declare; `tasks` is the section of the help it is listed in."""

    def __init__(self, one: Any) -> None:
        from pipelines.config import option_name  # with pydantic, which help and tasks do without

        self.tasks = " and ".join(one.tasks)
        settings: dict[str, Any] = {"help": one.help, "default": None}
        declaration = option_name(one.name)
        if one.kind == "flag":
            declaration += f"/--{one.off}"
            settings["help"] = f"{one.help}  [default: {'yes' if one.default else 'no'}]"
        else:
            settings |= {"type": str, "metavar": _METAVARS[one.kind], "multiple": one.kind == "input"}
        super().__init__([one.name, declaration], **settings)


class PredictCommand(PairsCommand):
    """predict, with the options of all tasks. They are made when first asked for: their configs are loaded then."""

    _own: list[click.Parameter] | None = None

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's, then the tasks'."""
        if self._own is None:
            from pipelines.config.options import declared

            self._own = [TaskOption(one) for one in declared()]
        *own, last = super().get_params(ctx)  # the last is --help
        return [*own, *self._own, last]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options for all runs, then a section for those of each task."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                of = getattr(param, "tasks", None)
                sections.setdefault(f"Options of {of}" if of else "Options", []).append(record)
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)


def _print_schema(context: click.Context, param: click.Parameter, task: str | None) -> None:
    """In place of a prediction."""
    del param
    if task is None or context.resilient_parsing:
        return
    from pipelines.predictions import schema
    from pipelines.registry import check_name

    click.echo(json.dumps(schema(check_name(task)), indent=2, ensure_ascii=False))
    context.exit()


SCHEMA = click.Option(
    ["--schema"],
    metavar="TASK",
    is_eager=True,
    expose_value=False,
    callback=_print_schema,
    help="Print the JSON schema of a task's predictions and do nothing else; see docs/predictions.md.",
)


def say_part(shard: Any, output: Path, records: int, *, together: bool) -> None:
    """What one part came to; together: merge them all where none is missing any more."""
    from pipelines.shards import missing

    click.echo(f"shard {shard}: {records:,} records" if records else f"shard {shard}: nothing to do", err=True)
    if together and not missing(output):
        _merge(output, again=records > 0)


def predict_by_beam(about: dict[str, Any], shards: int, options: Sequence[str]) -> None:
    """All parts of a prediction by Apache Beam, then merge them."""
    from pipelines.runs import find_run

    find_run(about["run_dir"])
    check_there(about["inputs"])
    try:
        from pipelines import beam
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"--runner beam needs the package {error.name}, the extra [beam]: in a checkout of Sixfold, "
            "pip install '.[beam]' in an environment of its own (see docs/jobs.md)."
        ) from error
    done = beam.predict(about, shards=shards, options=options)
    if done < shards:
        click.echo(f"{shards - done:,} of {shards:,} parts were there already", err=True)
    _merge(about["output"])


def check_there(inputs: Sequence[str]) -> None:
    """Raises ConfigError where one of them is no file."""
    for path in inputs:
        if not os.path.lexists(path):
            raise ConfigError(f"{path}: there is no such file to predict for.")


def _merge(output: Path, *, again: bool = True) -> None:
    from pipelines.shards import bad_of
    from pipelines.shards import merge as put_together

    records, bad = put_together(output, again=again)
    errors = f", {bad:,} of them errors, which are also in {bad_of(output)}" if bad else ""
    click.echo(f"{records:,} records in {output}{errors}", err=True)


merge = click.Command(
    "merge",
    callback=_merge,
    params=[click.Argument(["output"], type=click.Path(path_type=Path), metavar="OUTPUT")],
    help="Put the parts of a prediction together, in order, into OUTPUT: those of `predict --output OUTPUT --shard "
    "…`.\n\nExit 78 where a part is missing or of another prediction, 3 where too many inputs were bad.",
)
