"""How speech recognition is judged: error rates of words and characters, raw and normalised; by duration and speaker.
The baselines and the figures lie beside.

`Record.answer["transcript"]` is the text that is scored.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines import scoring
from pipelines.task import Assets, Interval, Raw, Record, Scores
from tasks.speech_recognition import measures
from tasks.speech_recognition.charts import in_seconds
from tasks.speech_recognition.config import Config

_SPEAKERS = 10
"""From so many on, resamples are of speakers: of fewer they would say little."""


def targets(references: Raw, assets: Assets) -> list[Any]:
    """What is said in each recording."""
    del assets
    return list(references["text"])


def score(records: Sequence[Record], references: Raw, config: Config, assets: Assets) -> Scores:
    """WER (the headline) and CER as jiwer counts them, raw and normalised; substitutions, insertions and deletions of
    words over the words that were said. Intervals from resampling speakers, where there are enough and each clip has
    one, or else recordings.

    Raises:
        DataError: there is nothing to score, or a record has no transcript.
    """
    given = list(references["text"])
    found = scoring.texts_of(records, "transcript", len(given), "recording")
    plain, other = ([measures.normalised(text) for text in texts] for texts in (given, found))
    words, characters = measures.words(found, given), measures.characters(found, given)
    columns = {
        "wer": words.rates,
        "cer": characters.rates,
        "wer_normalised": measures.words(other, plain).rates,
        "cer_normalised": measures.characters(other, plain).rates,
        **{kind: words.part(kind) for kind in ("substitutions", "insertions", "deletions")},
    }
    speakers = _speakers(references)
    resampled = _resampled(columns, speakers)
    scores = _intervals(resampled)
    breakdowns: dict[str, Any] = {
        "intervals": {"resampled recordings": {"examples": len(given)}}
        if speakers is None
        else {"resampled speakers": {"examples": int(speakers.max()) + 1}},
        "normaliser": {measures.NORMALISER: {"examples": len(given)}},
        "duration": _by_duration(words, characters, references["seconds"]),
    }
    if by_speaker := _by_speaker(words, characters, references["speaker"]):
        breakdowns["speaker"] = by_speaker
    if "group_by" in references and config.group_by:
        breakdowns["by_group"] = scoring.by_group(
            references["group_by"],
            config.group_by,
            lambda rows: Scores(
                "wer", _intervals(_resampled({name: one[rows] for name, one in columns.items()}, None))
            ),
        )
    return Scores("wer", scores, breakdowns, scoring.drawn_of(resampled))


def _speakers(references: Raw) -> np.ndarray | None:
    """int64 [n]: the speaker of each recording; None where they are too few, or one is not known."""
    names = references["speaker"].astype(str)
    known, numbers = np.unique(names, return_inverse=True)
    return numbers if len(known) >= _SPEAKERS and (names != "").all() else None


def _resampled(columns: dict[str, np.ndarray], speakers: np.ndarray | None) -> dict[str, scoring.Resampled]:
    """Of sums over sums: a speaker's recordings stay together."""
    if speakers is not None:
        columns = {name: _summed(one, speakers) for name, one in columns.items()}
    return scoring.resample(columns, scoring.SEED, dict.fromkeys(columns, measures.ratio))


def _intervals(resampled: dict[str, scoring.Resampled]) -> dict[str, Interval]:
    return {name: one.interval for name, one in resampled.items()}


def _summed(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return np.stack([np.bincount(groups, column) for column in values.T], axis=1)


def _by_duration(words: measures.Edits, characters: measures.Edits, seconds: np.ndarray) -> dict[str, Any]:
    """Rows for a table."""
    parts = scoring.quarters(np.rint(10 * seconds).astype(np.int64), "tenths of a second")
    return {in_seconds(name): _rates(words, characters, part) for name, part in parts.items()}


def _by_speaker(words: measures.Edits, characters: measures.Edits, speakers: np.ndarray) -> dict[str, Any]:
    """Rows for a table, those with the most words first; none where nobody said who speaks, or one alone does."""
    names = sorted({str(name) for name in speakers.tolist() if name})
    rows = {name: np.flatnonzero(speakers == name) for name in names}
    if len(rows) < 2:
        return {}
    ordered = sorted(rows, key=lambda name: (-len(rows[name]), name))
    return {name: _rates(words, characters, rows[name]) for name in ordered}


def _rates(words: measures.Edits, characters: measures.Edits, rows: np.ndarray) -> dict[str, Any]:
    found = {"wer": words, "cer": characters}
    shares = {name: float(measures.ratio(one.rates[rows].mean(axis=0)[None])[0]) for name, one in found.items()}
    return {"examples": len(rows), **{name: round(value, 4) for name, value in shares.items()}}
