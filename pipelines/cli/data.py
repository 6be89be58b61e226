"""`sixfold data check`: reads everything, says what is wrong, imports no TensorFlow."""

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from pipelines import registry
from pipelines.cli.commands import Chosen, TaskGroup, Verbs
from pipelines.console import Console, one_line
from pipelines.errors import DataError

if TYPE_CHECKING:
    from pipelines.task import CheckReport

CLASSES = 20
"""Classes of a split that the text counts."""

SHOWN = 20
"""Problems of one kind that the text lists; --json has them all."""


def _check(chosen: Chosen) -> None:
    config = chosen.load().config
    check_data = registry.load_data_module(chosen.task).check_data
    try:
        with Console().bar("check", None, "examples") as advance:
            report: CheckReport = check_data(config, lambda done, total: advance(done, total=total))
    except DataError as error:
        # Of the source as a whole: there is nothing to list but this. The sentence itself goes to standard error.
        if chosen.switches["as_json"]:
            problem = {"level": "error", "kind": "source", "where": config.data, "message": str(error)}
            click.echo(_as_json({"problems": [problem], "summary": {}, "errors": 1}))
        raise
    if chosen.switches["as_json"]:
        click.echo(_as_json(asdict(report) | {"errors": len(report.errors)}))
    else:
        click.echo(report_text(report))
    if report.errors:
        click.get_current_context().exit(3)


def _as_json(report: dict[str, Any]) -> str:
    return json.dumps(report, indent=2, ensure_ascii=False)


def report_text(report: "CheckReport") -> str:
    """The problems, errors first and a few of each kind, then what was read and the verdict."""
    lines: list[str] = []
    counts = Counter(problem.kind for problem in report.problems)
    listed: Counter[str] = Counter()
    for problem in sorted(report.problems, key=lambda problem: problem.level != "error"):
        listed[problem.kind] += 1
        if listed[problem.kind] <= SHOWN:
            lines.append(one_line(f"{problem.level}: {problem.where}: {problem.message} [{problem.kind}]"))
        elif listed[problem.kind] == SHOWN + 1:
            lines.append(
                f"{problem.level}: and {counts[problem.kind] - SHOWN:,} more [{problem.kind}]; --json lists all."
            )
    splits = report.summary.get("counts")
    if isinstance(splits, dict):
        lines.append("read: " + ", ".join(f"{name} {count:,}" for name, count in splits.items()))
        lines += [f"{name}: {_classes(counts)}" for name, counts in (report.summary.get("classes") or {}).items()]
        lines += [report.summary["protocol"]] if report.summary.get("protocol") else []
    errors, total = len(report.errors), len(report.problems)
    return "\n".join([*lines, f"{_many(errors, 'error')}, {_many(total - errors, 'warning')}"])


def _classes(counts: dict[str, int]) -> str:
    """'ant 97, bee 120', the first of many."""
    shown = [f"{name} ({count:,})" for name, count in list(counts.items())[:CLASSES]]
    return ", ".join([*shown, f"… {len(counts)} classes"] if len(counts) > CLASSES else shown)


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


data = Verbs("data", help="Look at data before training on it.", no_args_is_help=True)
data.add_command(
    TaskGroup(
        "check",
        _check,
        groups=("data",),
        switches=[
            click.Option(["as_json", "--json"], is_flag=True, help="Print every problem and the summary as JSON.")
        ],
        help="Read all the data and name what is wrong by file and row. Exit 3 where a run would fail.",
    )
)
