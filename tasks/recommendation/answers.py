"""What a person reads of a list of recommendations, as a table."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field

from pipelines import predictions
from pipelines.task import Assets, Record, Table
from tasks.recommendation.config import Config


class Recommended(predictions.Answer):
    """A user and the items that are recommended."""

    items: list[str] = Field(description="The k best ones, best first.")
    scores: list[float] = Field(description="Of each item: they order the items of one user, and say nothing else.")
    known: bool = Field(description="Whether the list is made for the user; if not, of what is popular.")
    folded_in: bool = Field(False, description="Whether a user that training did not know stands for what they took.")
    unknown_items: list[str] = Field([], description="Those of the history given that the model does not know.")


class Rated(predictions.Answer):
    """A user, an item, and the rating that is expected (--loss mse)."""

    rating: float = Field(description="On the scale of the ratings that were learnt from.")
    known: bool = Field(description="Whether training knows the user; if not, an average one stands for them.")
    known_item: bool = Field(description="Whether training knows the item; likewise.")


Prediction = Recommended | Rated


class Row(predictions.Row):
    """A row of CSV: one for each item recommended, best first; or one for each rating."""

    rank: int | None = Field(None, ge=1, description="1 is the best.")
    item: str = ""
    score: float | None = Field(None, description="It orders the items of one user, and says nothing else.")
    known: Literal["yes", "no", ""] = Field("", description="Whether the list is made for the user, or the user known.")
    folded_in: Literal["yes", "no", ""] = Field("", description="As in JSON.")
    rating: float | None = Field(None, description="In place of rank, item and score, of ratings.")
    known_item: Literal["yes", "no", ""] = Field("", description="Of ratings: whether training knows the item.")


def table(config: Config, assets: Assets) -> Table:
    """A row of CSV for each item recommended, best first, and one without an item where nothing is; or the rating,
    and whether user and item are known."""
    del assets
    if config.rates:
        return Table(("rating", "known", "known_item"), _rated)
    return Table(("rank", "item", "score", "known", "folded_in"), _rows)


def _rated(record: Record) -> Iterable[Mapping[str, Any]]:
    marks = {name: "yes" if record.answer[name] else "no" for name in ("known", "known_item")}
    return [{"rating": record.answer["rating"], **marks}]


def _rows(record: Record) -> Iterable[Mapping[str, Any]]:
    marks = {name: "yes" if record.answer.get(name) else "no" for name in ("known", "folded_in")}
    pairs = zip(record.answer["items"], record.answer["scores"], strict=True)
    rows = [{"rank": place, "item": item, "score": score} for place, (item, score) in enumerate(pairs, start=1)]
    return [{**row, **marks} for row in rows or [{}]]
