"""The built-in sample: a synthetic shop, made by a generator.

600 users and 400 items in eight genres, over half a year. Popularity is skewed; a user likes a genre or two, and drifts
from one to another as time goes by; every tenth item comes out in the last weeks, so that its features (genre, price,
title) say more of it than who took it.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.columns import Cells, Texts
from pipelines.sources.philox import numbers
from tasks.recommendation.data.features import Table
from tasks.recommendation.data.interactions import Interactions

USERS, ITEMS, MOST = 600, 400, 80
"""Users, items, and interactions of a user at most."""

_SEED = 7
_START, _DAYS = 1_704_067_200, 180  # 1 January 2024
_GENRES = ("adventure", "comedy", "crime", "fantasy", "history", "romance", "science", "travel")
_FIRST = ("Silent", "Golden", "Broken", "Hidden", "Northern", "Last", "Burning", "Quiet", "Paper", "Distant")
_REGIONS = ("north", "east", "south", "west")
_NEW = 10
"""Every so-manieth item comes out late."""
_LOYAL = 0.85
"""Chance that an item is of the genre that the user likes just then."""


def sample(name: str) -> Interactions:
    """The interactions of the built-in sample.

    Raises:
        DataError: there is none of that name.
    """
    if name != "sample":
        raise DataError(f"there is no built-in sample {name!r}: there is sample.")
    users, items = ([f"{kind}{number:03}" for number in range(count)] for kind, count in (("u", USERS), ("i", ITEMS)))
    user, item, day = _taken()
    rating = _rated(user, item)
    time = _START + np.floor(day * 86_400)

    def where(row: int) -> str:
        return f"sample[{row}]"

    return Interactions(users, items, user.astype(np.int32), item.astype(np.int32), rating, time, True, False, where)


def sample_items() -> Table:
    """What is known of the items."""
    genre = _genre()
    price = np.round(5 + 3 * genre + 10 * _chance("item", ITEMS, 4)[:, 1], 2)
    first = np.arange(ITEMS) // len(_GENRES) % len(_FIRST)
    titles = [
        f"{_FIRST[word]} {_GENRES[kind].title()} {number}"
        for number, (word, kind) in enumerate(zip(first.tolist(), genre.tolist(), strict=True))
    ]
    columns = {
        "genre": Texts(genre.astype(np.int32), list(_GENRES)),
        "price": price,
        "title": Texts(np.arange(ITEMS, dtype=np.int32), titles),
    }
    return Table(Path("sample"), [f"i{number:03}" for number in range(ITEMS)], columns, "title", [])


def sample_users() -> Table:
    """What is known of the users: half of those who like a genre live where it is liked."""
    chance = _chance("user", USERS, 8)
    early = (chance[:, 0] * len(_GENRES)).astype(int)
    region = np.where(chance[:, 5] < 0.5, early // 2, (chance[:, 6] * len(_REGIONS)).astype(int))
    columns: dict[str, Cells] = {"region": Texts(region.astype(np.int32), list(_REGIONS))}
    return Table(Path("sample"), [f"u{number:03}" for number in range(USERS)], columns, None, [])


@lru_cache(maxsize=1)
def _taken() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(user, item, day), each [n]: every pair once."""
    chance = _chance("user", USERS, 8)
    early, late = ((chance[:, place] * len(_GENRES)).astype(int) for place in (0, 1))
    joined = np.where(chance[:, 2] < 0.7, 0.0, chance[:, 3] * 0.9)
    count = (8 * (MOST / 8) ** chance[:, 4]).astype(int)
    user = np.repeat(np.arange(USERS), count)
    drawn = _chance("interaction", USERS * MOST, 4).reshape(USERS, MOST, 4)
    drawn = drawn[user, np.arange(len(user)) - np.repeat(np.cumsum(count) - count, count)]
    when = joined[user] + (1 - joined[user]) * drawn[:, 0]
    liked = np.where(drawn[:, 1] < when, late[user], early[user])
    genre = np.where(drawn[:, 2] < _LOYAL, liked, -1)
    item = _picked(genre, when, drawn[:, 3])
    order = np.lexsort((when, user))
    user, item, when = user[order], item[order], when[order]
    _, first = np.unique(user * ITEMS + item, return_index=True)
    first.sort()
    return user[first], item[first], when[first] * _DAYS


def _picked(genre: np.ndarray, when: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """int [n]: an item of the genre, -1 for any, among those that are out by then; by popularity."""
    weight, out, of = _popularity(), _out(), _genre()
    item = np.zeros(len(genre), np.int64)
    for kind in range(-1, len(_GENRES)):
        rows = np.flatnonzero(genre == kind)
        there = (out[None, :] <= when[rows, None]) & ((of == kind) | (kind < 0))
        ends = np.cumsum(there * weight, axis=1)
        item[rows] = (ends <= chance[rows, None] * ends[:, -1:]).sum(axis=1)
    return item


def _rated(user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """float32 [n], 1 to 5: how good the item is, how generous the user, and whether it is what they like."""
    tastes, quality = _chance("user", USERS, 8), _chance("item", ITEMS, 4)
    kinds = (tastes[user, :2] * len(_GENRES)).astype(int)
    liked = np.where((kinds == _genre()[item][:, None]).any(axis=1), 0.7, -0.7)
    noise = _chance("rating", len(user), 4)[:, :3].sum(axis=1) - 1.5
    score = 3.2 + 1.2 * (quality[item, 2] - 0.5) + 1.2 * (tastes[user, 7] - 0.5) + liked + 0.8 * noise
    return np.asarray(np.clip(np.round(score), 1, 5), np.float32)


def _popularity() -> np.ndarray:
    """float [items]: falls as a power of the rank (Zipf's law), in each genre."""
    return np.asarray((1.0 + np.arange(ITEMS) // len(_GENRES)) ** -0.9)


def _genre() -> np.ndarray:
    return np.asarray(np.arange(ITEMS) % len(_GENRES))


def _out() -> np.ndarray:
    """float [items] in [0, 1): when an item comes out; the new ones in the last fifth."""
    chance = _chance("item", ITEMS, 4)[:, 0]
    return np.asarray(np.where(np.arange(ITEMS) % _NEW == _NEW - 1, 0.8 + 0.2 * chance, 0.0))


@lru_cache(maxsize=8)
def _chance(what: str, rows: int, places: int) -> np.ndarray:
    """float [rows, places] in [0, 1), for each purpose its own."""
    key = _SEED + 1000 * ("user", "item", "interaction", "rating").index(what)
    return np.asarray(numbers(key, rows, places) / 2.0**32)
