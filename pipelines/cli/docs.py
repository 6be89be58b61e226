"""Writes docs/cli.md from the commands themselves: `python -m pipelines.cli.docs`, with --check only to compare."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click
from pydantic.fields import FieldInfo

from pipelines import registry
from pipelines.cli import cli
from pipelines.cli.commands import TaskGroup
from pipelines.config import GROUPS, aliases_of, allowed, group_of, option_name, shown

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"

HEAD = """# The command line

Written by `python -m pipelines.cli.docs` from the commands themselves; a test fails when it is stale.

Results go to standard output, notes and progress to standard error. Exit codes: 0 done; 2 usage or settings; 3 data;
4 a required device is missing; 5 the run cannot succeed as configured; 75 stopped by a signal with its state saved: run
it again to go on; 78 a run folder cannot be used; 130 interrupted; 1 anything else, with a traceback.

## Settings

Every task's settings are options (`--batch-size 64`), keys of a YAML file (`batch_size: 64`) and arguments in Python
(`batch_size=64`). What comes later wins:

1. the defaults,
2. `--recipe NAME`, tried settings that come with the task,
3. `--config FILE`, flat YAML, for instance a run's run.yaml; relative paths in it are relative to the current folder,
4. options.

`sixfold config show TASK …` prints each value and where it came from, `sixfold config show TASK --yaml` a file to start
from. Where a field may be unset, `none` resets what a recipe or file has set: `--limit none`.
`--columns image=path label=class` takes every name=column pair that follows it.

## Shell completion

Verbs, tasks, recipes, options, choices and file names complete after one of

```
eval "$(_SIXFOLD_COMPLETE=bash_source sixfold)"        # ~/.bashrc, bash 4.4 or later
eval "$(_SIXFOLD_COMPLETE=zsh_source sixfold)"         # ~/.zshrc
_SIXFOLD_COMPLETE=fish_source sixfold | source         # ~/.config/fish/completions/sixfold.fish
```
"""


def page() -> str:
    """The text of docs/cli.md."""
    root = click.Context(cli, info_name="sixfold")
    parts = [HEAD, "## Verbs", *_verbs(cli, root)]
    for task in registry.TASKS:
        parts += [f"## Settings of {task}", registry.TASKS[task], *_settings(task)]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _verbs(command: click.Command, context: click.Context) -> Iterator[str]:
    """A section for each command that does something, in the order of the help."""
    if not isinstance(command, click.Group) or isinstance(command, TaskGroup):
        yield from _verb(command, context)
        return
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        yield from _verbs(child, click.Context(child, info_name=name, parent=context))


def _verb(command: click.Command, context: click.Context) -> Iterator[str]:
    path = context.command_path
    usage = command.get_usage(context).removeprefix("Usage: ")
    yield f"### {path}"
    yield f"```\n{' '.join(usage.split())}\n```"
    yield str(command.help)
    own = [param for param in command.get_params(context) if "--help" not in param.opts]
    params = command.switches if isinstance(command, TaskGroup) else own
    rows = []
    for param in params:
        record = param.get_help_record(context) if isinstance(param, click.Option) else None
        if record is not None:
            rows.append(f"| `{_cell(record[0])}` | {_cell(record[1])} |")
    if rows:
        yield "\n".join(["| option | |", "|---|---|", *rows])
    if isinstance(command, TaskGroup) and command.groups:
        which = "the settings" if set(command.groups) == set(GROUPS) else f"the {' and '.join(command.groups)} settings"
        yield f"Also `--recipe NAME`, `--config FILE` and {which} of the task, below."


def _settings(task: str) -> Iterator[str]:
    fields = registry.config_class(task).model_fields
    for group in GROUPS:
        rows = [
            f"| {_option(name, field)} | `{_cell(shown(field.get_default()))}` | {_cell(allowed(field).words)} "
            f"| {_cell(str(field.description))} |"
            for name, field in fields.items()
            if group_of(field) == group
        ]
        if rows:
            yield f"### {group.capitalize()}: {task}"
            yield "\n".join(["| option | default | takes | |", "|---|---|---|---|", *rows])


def _option(name: str, field: FieldInfo) -> str:
    """Both of a pair where the option itself says yes or no; a file says it by a value."""
    names = [option_name(name), option_name(name, False)] if allowed(field).kind == "flag" else [option_name(name)]
    return ", ".join(f"`{each}`" for each in [*names, *map(option_name, aliases_of(field))])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main(args: list[str]) -> int:
    """Write the page, or with --check say whether it is as it would be written."""
    if args not in ([], ["--check"]):
        print("usage: python -m pipelines.cli.docs [--check]", file=sys.stderr)
        return 2
    if not args:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page():
        return 0
    print(f"{PAGE} is stale: run `python -m pipelines.cli.docs`.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
