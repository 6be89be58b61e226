"""Which of the interactions that were read are used: none too low, none twice, none outside of the core."""

from typing import Any, Literal

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.folders import printable
from pipelines.task import Problem
from tasks.recommendation.config import Config
from tasks.recommendation.data.core import core, repeated, told
from tasks.recommendation.data.examining import Examined
from tasks.recommendation.data.interactions import Interactions
from tasks.recommendation.data.splits import TEST


def filtered(
    config: Config, examined: Examined, order: np.ndarray, summary: dict[str, Any]
) -> tuple[np.ndarray, list[Problem]]:
    """The rows, int64 [n], in order, without low ratings, duplicates, and what is outside of the core."""
    rows, piece = examined.rows, examined.piece
    warnings: list[Problem] = []
    if config.min_rating is not None:
        if rows.rating is None:
            raise DataError(
                f"min_rating is {config.min_rating:g}, and {config.data} has no ratings: drop it, or map them."
            )
        low = rows.rating[order] < config.min_rating
        summary["below_min_rating"] = int(low.sum())
        order = order[~low]
    keep: Literal["first", "last"] = "last" if config.duplicates == "last" else "first"
    twice = np.zeros(len(order), bool)
    for code in np.unique(piece):
        of = np.flatnonzero(piece[order] == code)
        twice[of] = repeated(rows.user[order[of]], rows.item[order[of]], keep)
    summary["duplicates"] = int(twice.sum())
    if twice.any():
        warnings.append(_said(rows, order, twice, "duplicate", f"the {keep} of each is kept"))
    order = order[~twice]
    order, more = _across(config, rows, piece, order)
    warnings += more
    if config.min_user > 1 or config.min_item > 1:
        # What a test that was given holds is scored as it is.
        mine = piece[order] != TEST
        left = core(rows.user[order[mine]], rows.item[order[mine]], config.min_user, config.min_item)
        summary["core"] = told(left, config.min_user, config.min_item)
        kept = np.ones(len(order), bool)
        kept[mine] = left.kept
        order = order[kept]
    return order, warnings


def _across(
    config: Config, rows: Interactions, piece: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, list[Problem]]:
    """What a given test holds and training too: no list could have it, as it has been taken."""
    if not piece.any():
        return order, []
    by_piece = np.argsort(piece[order], kind="stable")
    both = np.zeros(len(order), bool)
    both[by_piece] = repeated(rows.user[order[by_piece]], rows.item[order[by_piece]], "first")
    if not both.any():
        return order, []
    if config.rates:
        return order, [_said(rows, order, both, "leak", "their ratings are trained on and tested on")]
    return order[~both], [_said(rows, order, both, "leak", "they stand in training too and are not tested on")]


def _said(rows: Interactions, order: np.ndarray, which: np.ndarray, kind: str, what: str) -> Problem:
    first = int(order[which].min())
    count = int(which.sum())
    pair = f"{rows.users[rows.user[first]]!r:.40} and {rows.items[rows.item[first]]!r:.40}"
    name = "a pair of user and item that stands elsewhere too"
    message = f"is {name} ({pair}), the first of {count:,}: {what}."
    return Problem("warning", kind, printable(rows.where(first)), message)


def nothing_left(config: Config) -> str:
    core_is = f"min_user {config.min_user} and min_item {config.min_item}"
    rated = f", min_rating {config.min_rating:g}" if config.min_rating is not None else ""
    return f"no interaction is left by {core_is}{rated}: lower them."
