"""The verbs that take a run folder as it lies there: resume, report, verify."""

import json
from pathlib import Path
from typing import Any

import click

from pipelines.cli.running import RUN, stoppable
from pipelines.errors import StateError

_COMPARISON = "comparison.html"


class ResumeCommand(click.Command):
    """resume, with the settings that may change as options. They are made when first asked for."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """RUN and the options."""
        from pipelines.cli.options import SettingOption
        from pipelines.config import RunConfig, resuming_of

        chosen = {
            name: field
            for name, field in RunConfig.model_fields.items()
            if resuming_of(field) != "fixed" and name not in ("run_dir", "overwrite")
        }
        options = [SettingOption(name, field, default="as the run") for name, field in chosen.items()]
        return [RUN, *options, *super().get_params(ctx)]


def _resume(run: Path, **settings: Any) -> None:
    context = click.get_current_context()
    changes = {name: value for name, value in settings.items() if value is not None}
    with stoppable() as interrupts:
        from pipelines.engine import resume as go_on

        go_on(run, changes, ["sixfold", *(context.obj or [])], interrupts)


resume = ResumeCommand(
    "resume",
    callback=_resume,
    help="Go on with a run that was stopped or killed: what comes out is what would have come out.\n\n"
    "Training continues after the last saved step, other stages begin again. Exit 0 where it is finished already, "
    "75 where a signal stops it once more, 78 where its states cannot be used or its data have changed. The options "
    "are the settings that may be others from here on; epochs may only grow.",
)


def _report(run: tuple[Path, ...], output: Path | None, as_json: bool) -> None:
    if len(run) > 1:
        _compare(run, output or Path(_COMPARISON), as_json)
        return
    if output is not None or as_json:
        raise click.UsageError(
            "--output and --json are for a comparison: name several runs.", click.get_current_context()
        )
    _render(run[0])


def _compare(runs: tuple[Path, ...], output: Path, as_json: bool) -> None:
    from pipelines import report

    comparison = report.compare(runs)
    file = report.write_comparison(comparison, output)
    if as_json:
        click.echo(json.dumps({**report.as_json(comparison), "page": str(file)}, indent=1, ensure_ascii=False))
        return
    click.echo(f"{report.as_text(comparison)}\n\n{file}")


def _render(run: Path) -> None:
    from pipelines.report import write_report
    from pipelines.runs import Run

    click.echo(write_report(run))
    found = Run(run)
    if found.finished:
        found.update_manifest(files={**found.manifest()["files"], "report.html": found.checksum("report.html")})
    else:
        click.echo(f"note: the run in {run} is unfinished, and so is its report, which says what is missing.", err=True)


report = click.Command(
    "report",
    callback=_report,
    params=[
        click.Argument(["run"], nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN..."),
        click.Option(
            ["--output"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            help=f"Of several runs: the page to write; default: {_COMPARISON}.",
        ),
        click.Option(["as_json", "--json"], is_flag=True, help="Of several runs: print the comparison as JSON."),
    ],
    help="Write a run's report.html again from its files; compare several runs of a task.\n\n"
    "Of several runs, all are held against the first: their scores, whether they differ by more than chance (paired "
    "bootstrap, where they were scored on the same test examples), their curves and the settings that differ, in one "
    "page and on standard output. No model and no data are read.",
)


def _verify(run: Path) -> None:
    from pipelines.verification import verify as check

    found = check(run)
    for problem in found.problems:
        click.echo(problem)
    if found.problems:
        raise StateError(f"{run} is not what its run left ({len(found.problems)} of {found.files} files differ).")
    click.echo(found.sentence)


verify = click.Command(
    "verify",
    callback=_verify,
    params=[RUN],
    help="Compare every file of a run with the checksums in its manifest; exit 78 with what changed.\n\n"
    "Of an unfinished run the saved training states are verified.",
)
