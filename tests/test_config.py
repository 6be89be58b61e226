"""Settings: precedence and origins, what a text means, and files that load again as they were written."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic.fields import FieldInfo

from pipelines import registry
from pipelines.config import (
    GROUPS,
    Loaded,
    RunConfig,
    allowed,
    group_of,
    list_recipes,
    load_config,
    parse_columns,
    schema,
    setting,
    shown,
    write_config,
)

TASK = "image-classification"


def from_text(text: str, folder: Path) -> Loaded:
    file = folder / "settings.yaml"
    file.write_text(text, encoding="utf-8")
    return load_config(TASK, file=file)


def test_later_sources_win_and_origins_say_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "folder", lambda task: tmp_path)
    Path("recipes").mkdir()
    Path("recipes/long.yaml").write_text("epochs: 50\nbatch_size: 50\nlimit: 50\n", encoding="utf-8")
    Path("run.yaml").write_text("task: image-classification\nbatch_size: 60\nlimit: 60\n", encoding="utf-8")
    loaded = load_config(TASK, recipe="long", file="run.yaml", options={"limit": "70", "overwrite": False}, typed=True)
    config = loaded.config
    assert (config.seed, config.epochs, config.batch_size, config.limit) == (0, 50, 60, 70)
    names = ("seed", "epochs", "batch_size", "limit", "overwrite")
    assert [loaded.origins[name] for name in names] == [
        "default",
        "recipe long line 1",
        "run.yaml line 2",
        "--limit",
        "--no-overwrite",
    ]
    assert set(loaded.origins) == set(type(config).model_fields)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("batch_size", "32.0", 32),
        ("batch_size", "1e3", 1000),
        ("learning_rate", "1e-3", 0.001),
        ("learning_rate", "1", 1.0),
        ("limit", "none", None),
        ("run_dir", "none", None),
        ("augment", "none", "none"),
        ("jit", "off", "off"),
        ("deterministic", "no", False),
        ("deterministic", "on", True),
        ("data", "2024-01-01", "2024-01-01"),
        ("data", "007", "007"),
        ("data", "no", "no"),
        ("split", "0.8 0.1 0.1", (0.8, 0.1, 0.1)),
        ("split", "[800, 100, 100]", (800.0, 100.0, 100.0)),
        ("hidden", "256", (256,)),
        ("columns", "image=path label=class", {"image": "path", "label": "class"}),
    ],
)
def test_a_text_means_the_same_as_option_and_in_a_file(name: str, text: str, value: Any, tmp_path: Path) -> None:
    assert getattr(load_config(TASK, options={name: text}).config, name) == value
    assert getattr(from_text(f"{name}: {text}\n", tmp_path).config, name) == value


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("columns: {image: path, label: 3}", "columns", {"image": "path", "label": "3"}),
        ("columns: [image=path, 'label=the class']", "columns", {"image": "path", "label": "the class"}),
        ("split:\n- 0.5\n- 0.25\n- 0.25", "split", (0.5, 0.25, 0.25)),
        ("limit:", "limit", None),
        ("limit: ~", "limit", None),
        ("valid: 'none'", "valid", "none"),
        ("data: &a photos/", "data", "photos/"),
        ("\ufeffepochs: 3", "epochs", 3),
    ],
)
def test_yaml_forms(line: str, name: str, value: Any, tmp_path: Path) -> None:
    assert getattr(from_text(line + "\n", tmp_path).config, name) == value


def test_values_of_python_are_taken_as_they_are() -> None:
    config = load_config(
        TASK, options={"data": Path("photos"), "seed": 7.0, "limit": None, "columns": {"image": 3}}
    ).config
    assert (config.data, config.seed, config.limit, config.columns) == ("photos", 7, None, {"image": "3"})


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    assert set(from_text("# nothing\n", tmp_path).origins.values()) == {"default"}


@pytest.mark.parametrize(
    ("value", "mapping"),
    [
        ("text=review text, label=stars", {"text": "review text", "label": "stars"}),
        (["a=b=c"], {"a": "b=c"}),
        ({"a": 1}, {"a": "1"}),
    ],
)
def test_columns(value: Any, mapping: dict[str, str]) -> None:
    assert parse_columns(value) == mapping


STRANGE = {
    "data": 'a "quoted": path # with\ttab, {braces} and\nlines é 🙂',
    "valid": "none",
    "test": "null",
    "run_dir": "1e3",
    "columns": {"image": "no", "label": "a, b: c", "ü": "x y"},
    "split": "800,100,100",
    "learning_rate": 1e-05,
    "weight_decay": 0.1 + 0.2,
    "limit": 5,
    "deterministic": False,
    "jit": "off",
    "hidden": "",
}


@pytest.mark.parametrize("options", [{}, STRANGE], ids=["defaults", "strange"])
def test_a_written_config_loads_again_as_it_was(options: dict[str, Any], tmp_path: Path) -> None:
    config = load_config(TASK, options=options).config
    text = write_config(config, TASK)
    loaded = from_text(text, tmp_path)
    assert loaded.config == config
    assert write_config(loaded.config, TASK) == text
    assert "default" not in loaded.origins.values()


def test_other_readers_of_yaml_see_the_same_values() -> None:
    config = load_config(TASK, options={**STRANGE, "learning_rate": "0.01"}).config
    values = yaml.safe_load(write_config(config, TASK))
    assert values.pop("task") == TASK
    assert values == config.model_dump(mode="json")


def test_a_written_config_explains_every_field_in_its_group() -> None:
    lines = write_config(load_config(TASK).config, TASK).splitlines()
    assert [line for line in lines if "----" in line] == [f"# ---- {group} ----" for group in GROUPS]
    for name in registry.config_class(TASK).model_fields:
        index = next(index for index, line in enumerate(lines) if line.startswith(f"{name}:"))
        assert lines[index - 1].startswith("# ")


def test_recipes_are_listed_with_their_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "folder", lambda task: tmp_path)
    assert list_recipes(TASK) == []
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "b.yaml").write_text(
        "# sixfold run x\n# accuracy 0.9\n\n# more\nepochs: 1\n", encoding="utf-8"
    )
    (tmp_path / "recipes" / "a.yaml").write_text("epochs: 1\n", encoding="utf-8")
    assert [(recipe.name, recipe.head) for recipe in list_recipes(TASK)] == [
        ("a", ()),
        ("b", ("sixfold run x", "accuracy 0.9")),
    ]


@pytest.mark.parametrize("task", registry.TASKS)
def test_every_recipe_loads_and_gives_command_and_result(task: str) -> None:
    for recipe in list_recipes(task):
        load_config(task, recipe=recipe.name)
        assert len(recipe.head) >= 2, recipe.path
        assert any(line.lstrip("$ ").startswith("sixfold run") for line in recipe.head), recipe.path


@pytest.mark.parametrize("task", registry.TASKS)
def test_every_field_has_help_group_default_and_words(task: str) -> None:
    for name, field in registry.config_class(task).model_fields.items():
        assert field.description, name
        assert group_of(field) in GROUPS
        assert allowed(field).words
        assert not field.is_required()


@pytest.mark.parametrize("task", registry.TASKS)
def test_defaults_pass_their_own_checks(task: str) -> None:
    config_class = registry.config_class(task)
    defaults = {name: field.get_default() for name, field in config_class.model_fields.items()}
    assert config_class.model_validate(defaults) == config_class()


def test_schema() -> None:
    document = schema(TASK)
    properties = document["properties"]
    assert set(properties) == {"task", *registry.config_class(TASK).model_fields}
    assert document["additionalProperties"] is False
    assert properties["task"]["const"] == TASK
    assert properties["batch_size"]["anyOf"] == [{"minimum": 1, "type": "integer"}, {"const": "auto", "type": "string"}]
    assert properties["optimizer"]["enum"] == ["sgd", "adam", "adamw", "rmsprop", "lion"]
    assert {"type": "string"} in properties["split"]["anyOf"]
    assert {"type": "null"} in properties["columns"]["anyOf"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (True, "yes"),
        (0.1 + 0.2, "0.30000000000000004"),
        (2.0, "2"),
        ("a b", "'a b'"),
        ((1, 2), "1,2"),
        ({"a": "b", "c": "d e"}, "a=b c=d e"),
        ("x" * 100, "x" * 77 + "..."),
    ],
)
def test_shown(value: Any, text: str) -> None:
    assert shown(value) == text


def test_words_come_from_type_and_range() -> None:
    class Config(RunConfig):
        ratio: float = setting(1.0, "A ratio.", group="model", gt=0, le=2)
        sizes: tuple[int, ...] = setting((), "Sizes.", group="model")

    fields: dict[str, FieldInfo] = Config.model_fields
    assert allowed(fields["ratio"]).words == "a number above 0 and of at most 2"
    assert allowed(fields["sizes"]).words == "whole numbers"
    batch = allowed(fields["batch_size"])
    assert (batch.kind, batch.choices, batch.range) == ("whole", ("auto",), "at least 1")
    assert allowed(fields["jit"]).words == "one of auto, on, off, or none"
