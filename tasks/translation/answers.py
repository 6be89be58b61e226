"""What a person reads of a translation, as a record and as a table. Imports no TensorFlow."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pipelines import predictions
from pipelines.task import Assets, Record, Table
from tasks.translation.config import Config
from tasks.translation.surviving import lost

_SCORE = "Its log-probability over its length to the power of --length-penalty: the nearer to 0, the surer."


class Scored(BaseModel):
    """One of several translations."""

    model_config = ConfigDict(extra="forbid")

    translation: str
    score: float = Field(description=_SCORE)


class Prediction(predictions.Answer):
    """A text and its translation."""

    translation: str = Field(description="The best one.")
    score: float = Field(description=_SCORE)
    n_best: list[Scored] = Field([], description="The n best ones, with --n-best above 1.")
    parts: int = Field(1, ge=1, description="In how many parts it was translated, where it was too long for one.")
    lost: list[str] = Field([], description="Numbers, addresses and placeholders that are not in the translation.")


class Row(predictions.Row):
    """A row of CSV: one for each translation, best first."""

    rank: int | None = Field(None, ge=1, description="1 is the best.")
    translation: str = ""
    score: float | None = Field(None, description=_SCORE)
    parts: int | None = Field(None, ge=1, description="In how many parts the text was translated.")
    lost: str = Field("", description="What is not in the translation, with blanks between.")


_WITHOUT = ("", 0.0)
"""The translation of nothing."""


def answer(source: str, found: Sequence[tuple[str, float]], *, parts: int = 1, n_best: int = 1) -> dict[str, Any]:
    """Of the translations found and their scores, best first: the best; all where several were asked for; in how many
    parts the text was translated, where it was too long for one; what of it did not survive, where anything did not.
    """
    best, score = found[0] if found else _WITHOUT
    missing = lost(source, best)
    return {
        "translation": best,
        "score": round(score, 4),
        **({"n_best": [{"translation": one, "score": round(at, 4)} for one, at in found]} if n_best > 1 else {}),
        **({"parts": parts} if parts > 1 else {}),
        **({"lost": missing} if missing else {}),
    }


def table(config: Config, assets: Assets) -> Table:
    """A row of CSV for each translation, best first."""
    del config, assets
    return Table(("rank", "translation", "score", "parts", "lost"), _rows)


def _rows(record: Record) -> Iterable[Mapping[str, Any]]:
    given = record.answer
    about = {"parts": given.get("parts", 1), "lost": " ".join(given.get("lost", []))}
    every = given.get("n_best") or [{name: given[name] for name in ("translation", "score")}]
    return [{"rank": place, **one, **about} for place, one in enumerate(every, start=1)]
