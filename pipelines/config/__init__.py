"""Settings: one flat, frozen model a task; every field is a key of run.yaml and an option of the command line.

`fields` holds what all tasks share, `values` how those that are no plain values are read, `allowed` what a field takes
in words, `loading` the precedence (defaults < recipe < file < options) and its errors, `writing` the text of run.yaml.
Nothing here imports TensorFlow.
"""

from pipelines.config.allowed import Allowed, allowed
from pipelines.config.fields import (
    GROUPS,
    RunConfig,
    Settings,
    aliases_of,
    group_of,
    resuming_of,
    setting,
)
from pipelines.config.loading import Loaded, load_config, load_settings, option_name
from pipelines.config.recipes import Recipe, list_recipes
from pipelines.config.values import parse_columns, required_devices, save_interval
from pipelines.config.writing import schema, shown, write_config

__all__ = [
    "GROUPS",
    "Allowed",
    "Loaded",
    "Recipe",
    "RunConfig",
    "Settings",
    "aliases_of",
    "allowed",
    "group_of",
    "list_recipes",
    "load_config",
    "load_settings",
    "option_name",
    "parse_columns",
    "required_devices",
    "resuming_of",
    "save_interval",
    "schema",
    "setting",
    "shown",
    "write_config",
]
