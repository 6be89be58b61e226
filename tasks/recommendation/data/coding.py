"""From rows to the log: filtered, in order, each in its split, users and items under their codes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.folders import printable
from pipelines.sources.scan import content_hash
from pipelines.task import Assets, Problem
from tasks.recommendation.config import Config
from tasks.recommendation.data.core import in_order
from tasks.recommendation.data.examining import Examined
from tasks.recommendation.data.filters import filtered, nothing_left
from tasks.recommendation.data.log import Lists, Log
from tasks.recommendation.data.splits import TEST, TRAIN, UNUSED, Rows, divided, leak

_UNKNOWN = content_hash(b"an item that the model does not know")


@dataclass(frozen=True)
class Logged:
    """Interactions filtered, split and coded."""

    log: Log
    among: Lists | None
    how: str
    """The split, in words."""
    summary: dict[str, Any]
    warnings: list[Problem]
    trained: dict[str, int] = field(default_factory=dict)
    """How many of the first users and items have training interactions."""


def logged(config: Config, examined: Examined, known: Assets | None = None) -> Logged:
    """The interactions that are used, in order, each in its split.

    Args:
        config: decided.
        examined: what was read.
        known: the assets of a finished model, whose codes are then used; None: new ones are given.

    Raises:
        DataError: a split would be empty.
    """
    rows, piece = examined.rows, examined.piece
    if config.rates and rows.rating is None:
        raise DataError(
            f"loss mse predicts ratings, and {config.data} has none: map them with --columns rating=COLUMN."
        )
    order = in_order(rows.user, rows.time)
    summary: dict[str, Any] = {}
    order, warnings = filtered(config, examined, order, summary)
    if not len(order):
        raise DataError(nothing_left(config))
    if (piece == TEST).any() and not (piece[order] == TEST).any():
        raise DataError(
            "no interaction of the test is left: all of them stand in training too, or are rated below min_rating; "
            "name a test of its own."
        )
    user, item = rows.user[order], rows.item[order]
    keys = _keys(rows.users, rows.items)
    ranked = Rows(user, item, None if rows.time is None else rows.time[order], rows.dated, keys)
    try:
        parts = divided(config, ranked, piece[order])
    except DataError as error:
        raise DataError(f"{printable(config.data)}: {error}") from error
    warnings += leak(ranked, parts.part, config.protocol)
    used = parts.part != UNUSED
    order, part = order[used], parts.part[used]
    found = _coded(examined, order, part, known, keys)
    summary |= _alone(found)
    return Logged(found.log, found.among, parts.how, summary, warnings, found.trained)


@dataclass(frozen=True)
class _Coded:
    log: Log
    among: Lists | None
    trained: dict[str, int]


def _coded(
    examined: Examined, order: np.ndarray, part: np.ndarray, known: Assets | None, keys: tuple[np.ndarray, np.ndarray]
) -> _Coded:
    """Users and items under their codes: those with training interactions first, then the others that are in the data,
    then those that only a table or the candidates know, each by name, so that codes and all that hangs on them are the
    same in whatever order the rows stand. With a finished model's assets, items have its codes, or -1, and users come
    as they are."""
    rows = examined.rows
    user, item = rows.user[order], rows.item[order]
    users, user_table, trained_users = _codes(user, part, rows.users, _named(examined, "user") if known is None else [])
    if known is None:
        further = _named(examined, "item") + ([] if examined.candidates is None else examined.candidates.items)
        items, item_table, trained_items = _codes(item, part, rows.items, further)
    else:
        items, trained_items = list(known["items"]), int(known["trained"]["items"])
        place = {name: code for code, name in enumerate(items)}
        item_table = np.array([place.get(name, -1) for name in rows.items], np.int32)
    new = user_table[user]
    again = np.argsort(new, kind="stable")
    user_keys = _rekeyed(keys[0], user_table, users)
    item_keys = np.append(_rekeyed(keys[1], item_table, items), np.uint64(_UNKNOWN))
    rating = None if rows.rating is None else rows.rating[order][again]
    log = Log(users, items, new[again], item_table[item[again]], rating, part[again], (user_keys, item_keys))
    return _Coded(log, _among(examined, log), {"users": trained_users, "items": trained_items})


def _codes(
    codes: np.ndarray, part: np.ndarray, names: list[str], further: Sequence[str]
) -> tuple[list[str], np.ndarray, int]:
    """(the names in their new order, int32 [old] of the new codes, how many have training interactions)."""
    trained = np.bincount(codes[part == TRAIN], minlength=len(names)) > 0
    there = np.bincount(codes, minlength=len(names)) > 0
    by_name = np.array(sorted(np.flatnonzero(there).tolist(), key=names.__getitem__), np.int64)
    order = np.concatenate([by_name[trained[by_name]], by_name[~trained[by_name]]])
    table = np.full(len(names), -1, np.int32)
    table[order] = np.arange(len(order))
    found = [names[code] for code in order.tolist()]
    return found + sorted(set(further).difference(found)), table, int(trained.sum())


def _named(examined: Examined, role: str) -> list[str]:
    table = examined.tables.get(role)
    return [] if table is None else table.names


def _among(examined: Examined, log: Log) -> Lists | None:
    """What the test of each user is ranked among: the given candidates and what is held out itself, once each."""
    given = examined.candidates
    if given is None:
        return None
    users, items = ({name: code for code, name in enumerate(names)} for names in (log.users, log.items))
    user = np.array([users.get(name, -1) for name in given.users], np.int64)[given.user]
    item = np.array([items.get(name, -1) for name in given.items], np.int64)[given.item]
    test = log.part == TEST
    user = np.concatenate([user, log.user[test]])
    item = np.concatenate([item, log.item[test]])
    there = (user >= 0) & (item >= 0)
    pair = np.unique(user[there] * len(log.items) + item[there])
    owner, items_of = np.divmod(pair, len(log.items))
    splits = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(owner, minlength=len(log.users)))])
    return Lists(splits, items_of.astype(np.int32))


def _rekeyed(keys: np.ndarray, table: np.ndarray, names: list[str]) -> np.ndarray:
    """uint64 [names], of the names in their new order: most are known under their old codes."""
    found = np.zeros(len(names), np.uint64)
    there = np.zeros(len(names), bool)
    old = np.flatnonzero(table >= 0)
    found[table[old]], there[table[old]] = keys[old], True
    for code in np.flatnonzero(~there).tolist():
        found[code] = content_hash(_bytes(names[code]))
    return found


def _keys(users: list[str], items: list[str]) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.array([content_hash(_bytes(name)) for name in users], np.uint64),
        np.array([content_hash(_bytes(name)) for name in items], np.uint64),
    )


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def _alone(found: _Coded) -> dict[str, Any]:
    """How many there are, and how many of them training knows nothing of."""
    log = found.log
    test = log.part == TEST
    users = np.unique(log.user[test])
    items = np.unique(log.item[test])
    before = np.bincount(log.user[log.part != TEST], minlength=len(log.users)) > 0
    seen = np.bincount(log.item[(log.part != TEST) & (log.item >= 0)], minlength=len(log.items)) > 0
    once = int((np.bincount(log.user, minlength=len(log.users)) == 1).sum())
    return {
        "users": len(log.users),
        "items": len(log.items),
        "interactions": len(log.user),
        "density": len(log.user) / max(len(log.users) * len(log.items), 1),
        "users_of_one_interaction": once,
        "only_in_test": {
            "users": int((~before[users]).sum()),
            "items": int((~seen[items[items >= 0]]).sum() + (items < 0).sum()),
        },
        "untrained": {
            "users": len(log.users) - found.trained["users"],
            "items": len(log.items) - found.trained["items"],
        },
    }
