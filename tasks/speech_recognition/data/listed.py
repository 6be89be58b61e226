"""What a source says of its clips before any of them is listened to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipelines.sources.scan import BadExample
from pipelines.sources.texts import from_cell
from pipelines.task import Problem
from tasks.speech_recognition.alphabet import normalised
from tasks.speech_recognition.data.stores import Recordings


@dataclass(frozen=True)
class Wanted:
    """What is read of a source, and how it is judged."""

    columns: Mapping[str, str] | None = None
    group_by: str | None = None
    """The column that scores are told apart by."""
    encoding: str = "utf-8"
    lowercase: bool = False
    least: float = 0.1
    """Seconds of a clip."""
    stride: float | None = 0.04
    """Seconds from one answer of the network to the next; None where not every answer is a character."""


@dataclass(frozen=True)
class Listed:
    """The clips of one split."""

    recordings: Recordings
    texts: list[str]
    """Of each, as it will be written; '' where there is none that can be used."""
    wrong: dict[int, BadExample]
    """By row, why it cannot be used."""
    place: Callable[[int], str] | None = None
    """How a person finds each again, where not by its recording: file and row of a manifest."""
    claimed: np.ndarray | None = None
    """float64 [n]: seconds as a manifest has them; NaN where it does not say."""
    speakers: list[str] | None = None
    groups: list[str] | None = None
    """What must stay together, where that is something else than the speaker; '' for none."""
    compared: np.ndarray | None = None
    malformed: list[Problem] = field(default_factory=list)
    """Lines that are not even rows."""
    warnings: list[Problem] = field(default_factory=list)


def checked_texts(
    values: Sequence[Any], wanted: Wanted, wrong: Mapping[int, BadExample] | None = None
) -> tuple[list[str], dict[int, BadExample]]:
    """Transcripts as they will be written, '' where there is none that can be used; and why, by row. What is known to
    be wrong stays so."""
    texts, found = [], dict(wrong or {})
    for row, value in enumerate(values):
        text = ""
        try:
            if row not in found:
                text = normalised(from_cell(value, wanted.encoding), lowercase=wanted.lowercase)
        except BadExample as problem:
            found[row] = problem
        texts.append(text)
    return texts, found
