"""What a report relies on in a run folder's files. What else stands in them is left to the task."""

import datetime
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, ValidationError

from pipelines.errors import StateError

Read = TypeVar("Read")


def _a_word(pair: list[Any]) -> list[Any]:
    if len(pair) != 2 or not isinstance(pair[0], str) or isinstance(pair[1], str):
        raise ValueError("a word and how much it says")
    return pair


class _Score(BaseModel):
    value: float | None
    low: float | None = None
    high: float | None = None


class _Baseline(BaseModel):
    name: str = ""
    note: str | None = None
    scores: dict[str, _Score] = {}
    difference: dict[str, _Score] | None = None


class _LastEpoch(BaseModel):
    epoch: int
    scores: dict[str, _Score]


class _Row(BaseModel):
    f1: float | None = None
    support: float | None = None


class _Group(BaseModel):
    examples: int
    small: bool
    scores: dict[str, _Score]


class _Gap(BaseModel):
    sentence: str


class _Groups(BaseModel):
    column: str
    score: str
    groups: dict[str, _Group]
    gap: _Gap | None


class _Breakdowns(BaseModel):
    per_class: dict[str, _Row] | None = None
    by_group: _Groups | None = None
    calibration: dict[str, Any] | None = None


class Metrics(BaseModel):
    """metrics.json."""

    headline: str = ""
    examples: int = 0
    scores: dict[str, _Score] = {}
    baseline: _Baseline | None = None
    baselines: list[_Baseline] | None = None
    last_epoch: _LastEpoch | None = None
    breakdowns: _Breakdowns | None = None


class _Model(BaseModel):
    parameters: int
    trainable: int | None = None


class _Data(BaseModel):
    counts: dict[str, int] | None = None
    skipped: list[Any] | None = None
    warnings: list[Any] | None = None


class _Pretraining(BaseModel):
    data: _Data | None = None


class Manifest(BaseModel):
    """manifest.json."""

    task: str = ""
    name: str = ""
    created: str = ""
    command: list[str] | None = None
    versions: dict[str, Any] | None = None
    machine: dict[str, Any] | None = None
    model: _Model | None = None
    data: _Data | None = None
    pretraining: _Pretraining | None = None


class Entry(BaseModel):
    """An entry of figures/index.json."""

    file: str
    title: str
    caption: str


class _Passage(BaseModel):
    heading: str
    words: list[Annotated[list[str | float | None], AfterValidator(_a_word)]]
    sound: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/=]*$")] | None = None


class Texts(BaseModel):
    """A file of figures/ that holds texts."""

    legend: Annotated[list[str], Field(min_length=2, max_length=2)] | None
    passages: list[_Passage]


class _Weights(BaseModel):
    epoch: int


class Event(BaseModel):
    """A line of events.jsonl."""

    event: str
    status: str = ""
    best_epoch: int | None = None
    weights: list[_Weights] | None = None


class Stage(BaseModel):
    """A stage's start or end."""

    name: str
    status: str


class StageEnd(Stage):
    """A stage's end."""

    seconds: float
    cpu_seconds: float | None = None
    processor_joules: float | None = None
    gpu_joules: float | None = None


class Steps(BaseModel):
    """An epoch, or some steps."""

    epoch: int
    step: int
    examples_per_second: float | None = None
    train: dict[str, Any] | None = None
    valid: dict[str, Any] | None = None


class PretrainingEpoch(BaseModel):
    """An epoch of a pretraining."""

    pretraining: int
    step: int
    train: dict[str, Any] | None = None


Scalar = str | int | float | bool | datetime.date | None
Settings = dict[str, Scalar | list[Scalar] | dict[str, Scalar]]
"""run.yaml."""


def checked(value: Read, shape: Any, file: str) -> Read:
    """The value as it is, or a StateError that names the file and the place in it that a report cannot be made of."""
    try:
        TypeAdapter(shape).validate_python(value, strict=True)
    except (ValidationError, RecursionError) as error:
        place = ""
        if isinstance(error, ValidationError):
            steps = error.errors(include_input=False, include_url=False)[0]["loc"]
            place = f" at {'.'.join(map(str, steps))}" if steps else ""
        raise StateError(f"{file} does not hold what a run writes{place}: take it from the run again.") from None
    return value
