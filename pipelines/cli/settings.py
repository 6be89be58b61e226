"""The verbs that show settings: tasks, recipes, config show, config validate, config schema."""

import json

import click

from pipelines import registry
from pipelines.cli.commands import Chosen, TaskGroup, Verbs
from pipelines.console import text_table


@click.command()
def tasks() -> None:
    """List the tasks."""
    click.echo(text_table([[name, summary] for name, summary in registry.known().items()]))


def _recipes(chosen: Chosen) -> None:
    from pipelines.config import list_recipes

    found = list_recipes(chosen.task)
    if not found:
        click.echo(f"{chosen.task} has no recipes yet.", err=True)
    for recipe in found:
        click.echo(recipe.name)
        for line in recipe.head:
            click.echo(f"    {line}")


def _show(chosen: Chosen) -> None:
    from pipelines.config import GROUPS, group_of, shown, write_config

    loaded = chosen.load()
    if chosen.switches["yaml"]:
        given = {name for name, origin in loaded.origins.items() if origin != "default"}
        click.echo(write_config(loaded.config, chosen.task, given), nl=False)
        return
    rows = [
        [name, shown(getattr(loaded.config, name)), loaded.origins[name]]
        for group in GROUPS
        for name, field in type(loaded.config).model_fields.items()
        if group_of(field) == group
    ]
    click.echo(text_table([["setting", "value", "from"], *rows]))


def _validate(chosen: Chosen) -> None:
    loaded = chosen.load()
    count = sum(origin != "default" for origin in loaded.origins.values())
    click.echo(
        f"ok: {count} {'setting differs' if count == 1 else 'settings are given'}, the others have their defaults."
    )


def _schema(chosen: Chosen) -> None:
    from pipelines.config import schema

    click.echo(json.dumps(schema(chosen.task), indent=2))


recipes = TaskGroup(
    "recipes", _recipes, groups=(), help="List a task's recipes: tried settings with command and measured result."
)

config = Verbs("config", help="Show, check and describe a task's settings.", no_args_is_help=True)
config.add_command(
    TaskGroup(
        "show",
        _show,
        switches=[
            click.Option(
                ["--yaml"], is_flag=True, help="Print a file that --config reads, with what was not set commented out."
            )
        ],
        help="Print each setting, its value and where that came from. A default may still give way to what the data "
        "and pretrained weights decide when a run begins: its run.yaml has that.",
    )
)
config.add_command(
    TaskGroup("validate", _validate, help="Say whether settings are right: exit 0, or 2 with what is wrong.")
)
config.add_command(
    TaskGroup("schema", _schema, groups=(), help="Print the JSON schema of a settings file, for editors.")
)
