"""Every field of a task's config as an option. Values stay texts: `load_config` checks them all at once."""

from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem
from pydantic.fields import FieldInfo

from pipelines import registry
from pipelines.config import Allowed, aliases_of, allowed, group_of, list_recipes, option_name, shown

METAVARS = {"whole": "INTEGER", "number": "NUMBER", "text": "TEXT", "list": "N,N,...", "pairs": "NAME=COLUMN..."}


class SettingOption(click.Option):
    """The option of a field; `group` is the section of the help it is listed in."""

    def __init__(self, name: str, field: FieldInfo, default: str | None = None) -> None:
        rule = allowed(field)
        self.group = group_of(field)
        settings: dict[str, Any] = {"help": f"{field.description}  {remark(field, default)}", "default": None}
        if rule.kind == "flag":
            declaration = f"{option_name(name)}/{option_name(name, False)}"
        else:
            declaration = option_name(name)
            settings |= {"type": str, "metavar": metavar(rule), "multiple": rule.kind == "pairs"}
            settings["shell_complete"] = lambda ctx, param, incomplete: complete(rule, incomplete)
        super().__init__([name, declaration, *map(option_name, aliases_of(field))], **settings)


def metavar(rule: Allowed) -> str:
    """What stands for the value in help."""
    if rule.kind == "choice":
        return f"[{'|'.join(rule.choices)}]"
    return "|".join([METAVARS[rule.kind], *rule.choices])


def remark(field: FieldInfo, default: str | None = None) -> str:
    """'[at least 1, or none; default: 10]': the range and the default, the metavar says the rest."""
    rule = allowed(field)
    limits = ", or ".join(part for part in (rule.range, "none" if rule.optional else "") if part)
    return f"[{limits}{'; ' if limits else ''}default: {default or shown(field.get_default())}]"


def complete(rule: Allowed, incomplete: str) -> list[CompletionItem]:
    """What a shell offers: the choices, file names for a text."""
    if rule.kind == "text":
        return [CompletionItem(incomplete, type="file")]
    return [CompletionItem(choice) for choice in rule.choices if choice.startswith(incomplete)]


def setting_options(task: str, groups: Sequence[str]) -> list[click.Parameter]:
    """--recipe, --config and an option for each field of these groups, in the order of the groups."""
    fields = registry.config_class(task).model_fields
    sources: list[click.Parameter] = [
        click.Option(
            ["--recipe"],
            metavar="NAME",
            help=f"Start from tried settings; `sixfold recipes {task}` lists them.",
            shell_complete=lambda ctx, param, incomplete: [
                CompletionItem(recipe.name, help=recipe.head[0] if recipe.head else None)
                for recipe in list_recipes(task)
                if recipe.name.startswith(incomplete)
            ],
        ),
        click.Option(
            ["--config"],
            metavar="FILE",
            type=click.Path(),
            help="Then take what this YAML file sets, such as a run's run.yaml; options win over both. "
            "Relative paths in it are relative to the current folder.",
        ),
    ]
    return sources + [
        SettingOption(name, field) for group in groups for name, field in fields.items() if group_of(field) == group
    ]
