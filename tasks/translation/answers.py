"""What a person reads of a translation, as a record and as a table. Imports no TensorFlow."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipelines.task import Assets, Record, Table
from tasks.translation.config import Config
from tasks.translation.surviving import lost

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
