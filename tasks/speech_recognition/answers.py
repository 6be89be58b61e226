"""What a person reads of a recording, as a record and as a table. Imports no TensorFlow."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.task import Assets, Record, Table
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.decoding import Word


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
