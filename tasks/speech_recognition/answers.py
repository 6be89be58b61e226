"""What a person reads of a recording, as a record and as a table. Imports no TensorFlow."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from pipelines import predictions
from pipelines.predictions import Probability
from pipelines.task import Assets, Record, Table
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.decoding import Word

_SURE = "How sure the model is of it, from 0 to 1, not calibrated"


class Spoken(BaseModel):
    """A word and when it was said."""

    model_config = ConfigDict(extra="forbid")

    word: str
    start: float = Field(ge=0, description="In seconds.")
    end: float = Field(ge=0, description="In seconds.")
    confidence: Probability = Field(description=f"{_SURE}.")


class Prediction(predictions.Answer):
    """A recording and what is said in it."""

    transcript: str
    confidence: Probability | None = Field(description=f"{_SURE}; null where nothing was heard.")
    seconds: float = Field(ge=0, description="How long the recording is.")
    parts: int = Field(1, ge=1, description="In how many parts it was recognised, where it was too long for one.")
    words: list[Spoken] = Field([], description="With --timestamps.")


class Row(predictions.Row):
    """A row of CSV: one for each recording, with --timestamps one for each word."""

    transcript: str = ""
    confidence: Probability | None = Field(None, description=f"{_SURE}; of the word, where there is one.")
    seconds: float | None = Field(None, ge=0, description="How long the recording is.")
    parts: int | None = Field(None, ge=1, description="In how many parts it was recognised.")
    word: str = ""
    start: float | None = Field(None, ge=0, description="Of the word, in seconds.")
    end: float | None = Field(None, ge=0, description="Of the word, in seconds.")


def answer(said: Sequence[Word], seconds: float, *, timestamps: bool = False, parts: int = 1) -> dict[str, Any]:
    """The transcript, how sure it is (the mean over its words; none where nothing was heard), how long the recording
    is; in how many parts it was recognised, where it was too long for one; its words with their times, if asked for."""
    sure = float(np.mean([word.confidence for word in said])) if said else None
    whole = written(" ".join(word.text for word in said), sure, seconds, parts)
    return {**whole, **({"words": [_word(word) for word in said]} if timestamps else {})}


def written(transcript: str, confidence: float | None, seconds: float, parts: int = 1) -> dict[str, Any]:
    """The same of a transcript whose words have no times."""
    return {
        "transcript": transcript,
        "confidence": None if confidence is None else round(confidence, 4),
        "seconds": round(seconds, 3),
        **({"parts": parts} if parts > 1 else {}),
    }


def table(config: Config, assets: Assets) -> Table:
    """A row of CSV for each recording; with timestamps one for each word."""
    del config, assets
    return Table(("transcript", "confidence", "seconds", "parts", "word", "start", "end"), _rows)


def _word(word: Word) -> dict[str, Any]:
    return {
        "word": word.text,
        "start": round(word.start, 3),
        "end": round(word.end, 3),
        "confidence": round(word.confidence, 4),
    }


def _rows(record: Record) -> Iterable[Mapping[str, Any]]:
    given = dict(record.answer)
    words = given.pop("words", None)
    whole = {"parts": 1, **given, "confidence": "" if given["confidence"] is None else given["confidence"]}
    return [whole] if not words else [{**whole, **word} for word in words]
