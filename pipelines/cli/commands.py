"""The shapes of the commands: groups that name the nearest verb, and a command for each task with its settings."""

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from pipelines import registry

if TYPE_CHECKING:
    from pipelines.config import Loaded

COMPLETION = "_SIXFOLD_COMPLETE"
ALL_GROUPS = ("data", "model", "transfer", "training", "runtime")
_PAIR = re.compile(r"\w[\w-]*=.+", re.DOTALL)


class Verbs(click.Group):
    """A group whose commands keep their order, and whose errors name the nearest."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order they were added."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a sentence of ours for an unknown name."""
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            self.refuse(ctx, name)
        return super().resolve_command(ctx, args)

    def refuse(self, ctx: click.Context, name: str) -> None:
        """Raise the error for a name that is no command."""
        known = self.list_commands(ctx)
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
        raise click.UsageError(f"unknown command {name!r}: {hint}".rstrip("."), ctx)


@dataclass(frozen=True)
class Chosen:
    """What a person chose for a task: where its settings come from, and the switches of the verb itself."""

    task: str
    recipe: str | None
    file: str | None
    options: dict[str, Any]
    """By field, as typed."""
    switches: dict[str, Any]
    words: list[str] = field(default_factory=list)
    """The command line, for the manifest."""

    def load(self) -> "Loaded":
        """The checked config."""
        from pipelines.config import load_config

        return load_config(self.task, recipe=self.recipe, file=self.file, options=self.options, typed=True)


class PairsCommand(click.Command):
    """A command whose --columns takes every name=column word that follows it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat --columns before each further pair, which is what click can read."""
        try:
            return super().parse_args(ctx, spread_columns(args))
        except click.UsageError as error:
            # Click leaves the command out of some errors; ours name its help.
            error.ctx = error.ctx or ctx
            raise


def spread_columns(args: Sequence[str]) -> list[str]:
    """['--columns', 'a=b', 'c=d'] -> ['--columns', 'a=b', '--columns', 'c=d']; stops at `--`."""
    spread: list[str] = []
    awaits_value = takes_more = False
    for index, word in enumerate(args):
        if word == "--":
            return spread + list(args[index:])
        if takes_more and _PAIR.fullmatch(word):
            spread += ["--columns", word]
            continue
        spread.append(word)
        takes_more = awaits_value or word.startswith("--columns=")
        awaits_value = word == "--columns" and not awaits_value
    return spread


class TaskCommand(PairsCommand):
    """A verb for one task, with the task's settings as options. They are made when first asked for."""

    def __init__(self, task: str, groups: Sequence[str], **settings: Any) -> None:
        super().__init__(task, **settings)
        self._groups = groups
        self._settings: list[click.Parameter] | None = None

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """--recipe, --config, the settings, then the verb's own switches."""
        if self._settings is None:
            from pipelines.cli.options import setting_options

            self._settings = setting_options(str(self.name), self._groups) if self._groups else []
        return [*self._settings, *super().get_params(ctx)]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, a section for each group of settings."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(param, "group", "options"), []).append(record)
        for group in sorted(sections, key=[*ALL_GROUPS, "job", "options"].index):
            with formatter.section(group.capitalize()):
                formatter.write_dl(sections[group])


class TaskGroup(Verbs):
    """A verb that is followed by a task's name; the action gets what was chosen."""

    def __init__(
        self,
        name: str,
        action: Callable[[Chosen], None],
        *,
        groups: Sequence[str] = ALL_GROUPS,
        switches: Sequence[click.Parameter] | Callable[[], Sequence[click.Parameter]] = (),
        help: str,
    ) -> None:
        metavar = "TASK [OPTIONS]" if groups or switches else "TASK"
        super().__init__(name, help=help, subcommand_metavar=metavar, options_metavar="", no_args_is_help=True)
        self._action, self.groups, self._switches = action, groups, switches

    @cached_property
    def switches(self) -> list[click.Parameter]:
        """What the verb itself takes; where it is a function that makes them, they are made when first asked for."""
        return list(self._switches() if callable(self._switches) else self._switches)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The tasks."""
        return list(registry.known())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb for one task; its settings are not loaded yet."""
        if cmd_name not in registry.known():
            return None
        return TaskCommand(
            cmd_name,
            self.groups,
            params=[*self.switches],
            callback=self._call,
            help=f"{self.help}\n\n{cmd_name}: {registry.known()[cmd_name]}",
            short_help=registry.known()[cmd_name],
        )

    def refuse(self, ctx: click.Context, name: str) -> None:
        """An unknown task."""
        registry.check_name(name)

    def _call(self, **values: Any) -> None:
        context = click.get_current_context()
        own = {str(switch.name) for switch in self.switches}
        switches = {name: value for name, value in values.items() if name in own}
        recipe, file = values.pop("recipe", None), values.pop("config", None)
        options = {name: value for name, value in values.items() if name not in own and value not in (None, ())}
        words = ["sixfold", *(context.obj or [])]
        self._action(Chosen(str(context.info_name), recipe, file, options, switches, words))
