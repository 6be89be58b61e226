"""The verbs of jobs elsewhere: submit, jobs, logs, cancel."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.commands import Chosen, TaskGroup
from pipelines.cli.predicting import PredictCommand, check_there
from pipelines.console import text_table
from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.jobs.settings import JobSettings
    from pipelines.jobs.spec import Job

_METAVARS = {"env": "NAME=VALUE", "secret": "NAME=WHERE", "mount": "SOURCE=/PATH", "setup": "LINE", "sbatch": "OPTION"}
_KINDS = {"whole": "INTEGER", "text": "TEXT"}


class JobOption(click.Option):
    """An option of the job; `group` is the section of the help it is listed in."""

    group = "job"


def switches() -> list[click.Parameter]:
    """An option for each field of JobSettings, and where they are read from and whether anything is done."""
    from pipelines.cli.options import remark
    from pipelines.config import allowed, option_name
    from pipelines.jobs.settings import JobSettings

    found: list[click.Parameter] = []
    for name, field in JobSettings.model_fields.items():
        rule = allowed(field)
        metavar = _METAVARS.get(name) or (f"[{'|'.join(rule.choices)}]" if rule.choices else _KINDS[rule.kind])
        help = f"{field.description}{'' if field.default in (None, ()) else '  ' + remark(field)}"
        option = JobOption([name, option_name(name)], type=str, metavar=metavar, multiple=name in _METAVARS, help=help)
        found.append(option)
    words = "Take what this YAML file says of the job, `gpus: 1`; options win over it."
    file = JobOption(["job_file", "--job"], type=click.Path(), metavar="FILE", help=words)
    words = "Print the job's text, and write and submit nothing."
    return [*found, file, JobOption(["dry_run", "--dry-run"], is_flag=True, help=words)]


class SubmitGroup(TaskGroup):
    """submit, followed by a task or by predict."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The tasks, and predict."""
        return [*super().list_commands(ctx), "predict"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Of predict: with all its options, but those by which a job calls it."""
        if cmd_name != "predict":
            return super().get_command(ctx, cmd_name)
        from pipelines.cli.running import predict

        shards = click.Option(
            ["--shards"],
            type=click.IntRange(1, 10_000),
            default=1,
            show_default=True,
            metavar="INTEGER",
            help="Parts that are predicted independently of each other, and merged in order.",
        )
        own = [param for param in predict.params if param.name not in ("shard", "merge", "runner", "shards", "beam")]
        return PredictCommand(
            "predict",
            callback=_submit_predict,
            params=[*own, shards, *self.switches],
            help="Predict in parts as a job elsewhere, and merge them in order into --output.",
            short_help="Predict in parts, and merge them in order.",
        )


def _settings(values: dict[str, Any]) -> "JobSettings":
    from pipelines.config import load_settings
    from pipelines.jobs.settings import JobSettings

    file = values["job_file"]
    if file is not None and not Path(file).is_file():
        raise ConfigError(f"--job {file}: there is no such file; it takes a YAML file of what the job is to get.")
    given = {name: value for name, value in values.items() if name in JobSettings.model_fields}
    return load_settings(JobSettings, file=file, options={n: v for n, v in given.items() if v not in (None, ())})


def _submit(chosen: Chosen) -> None:
    settings = _settings(chosen.switches)
    # First the run's settings: what is wrong with them is told now, and not by the job.
    config = chosen.load().config
    from pipelines.jobs.spec import of_run

    _hand_over(of_run(chosen.task, config, settings), dry_run=chosen.switches["dry_run"])


submit = SubmitGroup(
    "submit",
    _submit,
    switches=switches,
    help="Run a task, or predict, as a job elsewhere: on this machine's queue, Slurm, Kubernetes or Airflow.\n\n"
    "The settings are checked first. The resolved run file, the job's text and its logs lie beside the run, in "
    "RUN.job. A job that was cut off is started again and goes on. `sixfold submit predict RUN --data FILE --output "
    "FILE --shards N` predicts in N parts, and takes the options of predict. See docs/jobs.md.",
)


def _submit_predict(run: Path, shards: int, dry_run: bool, **values: Any) -> None:
    settings = _settings(values)
    context = click.get_current_context()
    if values["output"] == Path("-"):
        raise click.UsageError("a job has no standard output: name a file with --output.", context)
    if "-" in (*values["input"], *values["data"]):
        raise click.UsageError("a job has no standard input: name a file.", context)
    from pipelines.cli.running import asked_of_prediction
    from pipelines.jobs.spec import of_prediction

    own = {"output", "format", "max_bad", "job_file", *type(settings).model_fields}
    inputs, options = asked_of_prediction({name: value for name, value in values.items() if name not in own}, context)
    of = Path(inputs[0]).stem if inputs else Path(os.path.abspath(run)).name
    output = values["output"] or Path(f"{of}.predictions.{values['format']}")
    if settings.to != "kubernetes":
        from pipelines.artefact import read_options
        from pipelines.runs import find_run

        read_options(find_run(run), options)
        check_there(inputs)
    words = _typed(context, {"run", "shards", "output"})
    job = of_prediction([_no_option(str(run)), *words], output, shards, settings)
    _hand_over(job, dry_run=dry_run)
    if values["output"] is None:
        click.echo(f"the records come to {output}", err=True)


def _no_option(path: str) -> str:
    """A path as a word that is no option."""
    return f"./{path}" if path.startswith("-") else path


def _typed(context: click.Context, own: set[str]) -> list[str]:
    """The words of predict again: what was given, but for what the job itself is told."""
    words: list[str] = []
    for param in context.command.get_params(context):
        source = context.get_parameter_source(str(param.name))
        if param.name in own or isinstance(param, JobOption) or source != click.core.ParameterSource.COMMANDLINE:
            continue
        value = context.params[str(param.name)]
        if isinstance(param, click.Argument):
            words += (_no_option(str(one)) for one in value)
        elif isinstance(value, bool):
            words.append(param.opts[-1] if value else param.secondary_opts[-1])
        else:
            for one in value if isinstance(value, tuple) else (value,):
                words += [param.opts[0] if param.opts[0].startswith("--") else param.opts[-1], str(one)]
    return words


def _hand_over(job: "Job", *, dry_run: bool) -> None:
    from pipelines.jobs import targets

    target = targets.target_of(job)
    text = target.render(job)
    if dry_run:
        click.echo(text, nl=False)
        return
    if target.client is None:
        file = targets.write(job, text)
        click.echo(text, nl=False)
        click.echo(f"kept as {file}", err=True)
        return
    number = targets.submit(job, text)
    click.echo(number)
    file = job.folder / target.file
    click.echo(f"{job.settings.to}: {file}; sixfold logs {number}, sixfold cancel {number}", err=True)


@click.command()
def jobs() -> None:
    """List the jobs that were submitted from here, each with its state."""
    from pipelines.jobs.targets import states

    rows = [[one.id, one.target, state, one.what, one.output, one.submitted] for one, state in states()]
    if not rows:
        click.echo("no jobs yet: see `sixfold submit --help`.", err=True)
        return
    click.echo(text_table([["job", "to", "state", "what", "output", "submitted"], *rows]))


@click.command()
@click.argument("job", metavar="JOB")
@click.option("--follow", is_flag=True, help="Go on with what is added.")
def logs(job: str, follow: bool) -> None:
    """Print what a job has said, of all its attempts. JOB is its number, its name or its run's folder."""
    from pipelines.jobs import ledger, targets

    words = targets.log_command(ledger.find(job), follow=follow)
    sys.stdout.flush()
    try:
        os.execvp(words[0], words)
    except FileNotFoundError:
        raise ConfigError(f"{words[0]}: there is no such command here.") from None


@click.command()
@click.argument("job", metavar="JOB")
def cancel(job: str) -> None:
    """End a job. One that runs is asked to save first, and can be submitted again to go on."""
    from pipelines.jobs import ledger, targets

    entry = ledger.find(job)
    targets.cancel(entry)
    click.echo(f"{entry.id}: asked to end", err=True)
