"""What a person reads of a list of recommendations, as a table."""

from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.task import Assets, Record, Table
from tasks.recommendation.config import Config


def table(config: Config, assets: Assets) -> Table:
    """A row of CSV for each item recommended, best first, and one without an item where nothing is; or the rating,
    and whether user and item are known."""
    del assets
    if config.rates:
        return Table(("rating", "known", "known_item"), _rated)
    return Table(("rank", "item", "score", "known"), _rows)


def _rated(record: Record) -> Iterable[Mapping[str, Any]]:
    marks = {name: "yes" if record.answer[name] else "no" for name in ("known", "known_item")}
    return [{"rating": record.answer["rating"], **marks}]


def _rows(record: Record) -> Iterable[Mapping[str, Any]]:
    known = "folded in" if "folded_in" in record.answer else "yes" if record.answer["known"] else "no"
    pairs = zip(record.answer["items"], record.answer["scores"], strict=True)
    rows = [{"rank": place, "item": item, "score": score} for place, (item, score) in enumerate(pairs, start=1)]
    return [{**row, "known": known} for row in rows or [{}]]
