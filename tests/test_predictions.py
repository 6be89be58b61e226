"""The one shape of predictions; test_contract.py holds what every task writes against it."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pipelines import registry
from pipelines.cli import main
from pipelines.predictions import schema

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "predictions.md").read_text(encoding="utf-8")
GIVEN: dict[str, list[dict[str, Any]]] = {
    "image-classification": [
        {"id": "a", "label": "cat", "probability": 0.9, "top_k": [{"label": "cat", "probability": 0.9}]},
        {"id": "a", "labels": [], "top_k": [{"label": "cat", "probability": 0.1}]},
    ],
    "text-sentiment": [{"id": "a", "label": "5", "probability": 1, "probabilities": {"5": 1.0, "4": 0.0}}],
    "translation": [
        {"id": "a", "translation": "", "score": 0.0},
        {"id": "a", "translation": "x", "score": -1, "n_best": [{"translation": "x", "score": -1}], "lost": ["5"]},
    ],
    "speech-recognition": [
        {"id": "a", "transcript": "", "confidence": None, "seconds": 0.0},
        {
            **{"id": "a", "transcript": "x", "confidence": 0.5, "seconds": 9.5, "parts": 2},
            "words": [{"word": "x", "start": 0.0, "end": 0.5, "confidence": 0.5}],
        },
    ],
    "time-series-forecasting": [
        {"id": "a@1", "series": "a", "start": "1", "forecast": {"v": [1.0]}, "intervals": {"80": {"v": [[0.5, 2.0]]}}}
    ],
    "recommendation": [
        {"id": "u", "items": ["i"], "scores": [0.5], "known": True, "folded_in": True},
        {"id": "u", "rating": 3.5, "known": True, "known_item": False},
    ],
}


@pytest.mark.parametrize("task", registry.TASKS)
def test_the_schema_takes_answers_and_nothing_else(task: str) -> None:
    checker = jsonschema.Draft202012Validator(schema(task))
    checker.check_schema(checker.schema)
    for line in GIVEN[task]:
        checker.validate(line)
        checker.validate({**line, "target": ["anything"]})
        for wrong in (
            {**line, "more": 1},
            {name: value for name, value in line.items() if name != "id"},
            {**line, "error": "both"},
            {"id": "a"},
            {**line, "id": 5},
        ):
            assert not checker.is_valid(wrong), wrong
    checker.validate({"id": "a", "error": "it is no image"})
    assert not checker.is_valid({"id": "a", "error": ""})


def test_numbers_keep_their_limits() -> None:
    wrong = {"id": "a", "label": "x", "probability": 1.5, "probabilities": {"x": 1.5}}
    assert not jsonschema.Draft202012Validator(schema("text-sentiment")).is_valid(wrong)
    pair = {"id": "a", "series": "a", "start": "1", "forecast": {"v": [1.0]}, "intervals": {"80": {"v": [[1.0]]}}}
    assert not jsonschema.Draft202012Validator(schema("time-series-forecasting")).is_valid(pair)


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--schema", "translation"]) == 0
    assert json.loads(capsys.readouterr().out) == schema("translation")
    assert main(["predict", "--schema", "translatoin"]) == 2
    assert "did you mean translation" in capsys.readouterr().err


@pytest.mark.parametrize("task", registry.TASKS)
def test_the_page_names_every_field(task: str) -> None:
    section = PAGE.partition(f"\n## {task}\n")[2].partition("\n## ")[0]
    rows = [name for line in section.splitlines() if line.startswith("|") for name in re.findall(r"`(\w+)`", line)]
    answers = [one for name, one in schema(task)["$defs"].items() if name not in ("Row", "Refusal")]
    fields = {name for one in answers for name in one["properties"]} - {"id", "target"}
    assert fields <= set(rows)
    columns = re.search(r"^CSV: (.*)$", section, re.MULTILINE)
    assert columns is not None
    named = set(re.findall(r"`(\w+)`", columns.group(1)))
    assert set(schema(task)["$defs"]["Row"]["properties"]) - {"id", "error"} <= named


@pytest.mark.parametrize("task", registry.TASKS)
def test_the_page_s_examples_are_of_that_shape(task: str) -> None:
    section = PAGE.partition(f"\n## {task}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("{")]
    assert lines
    checker = jsonschema.Draft202012Validator(schema(task))
    for line in lines:
        checker.validate(json.loads(line))
