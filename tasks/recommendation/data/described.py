"""What tables say of users or items as numbers, a row each: what a tower sees beside the id. NumPy only."""

import re
import zlib
from typing import Any

import numpy as np

from pipelines.task import Assets
from tasks.recommendation.data.packing import unpacked

_MOST = 512
"""Numbers that a column becomes; of more categories or words than that, some share one, by hash."""
_LEAST = 2
"""Rows that a name must stand for."""
Sizes = tuple[int, int]
"""How many users or items there are, and how many of the first have training interactions."""

Named = tuple[list[str], np.ndarray]
"""What each number is, and float32 [rows, numbers]."""


def feature_table(assets: Assets, side: str) -> Named | None:
    """Of all users or items; None where no table was given, or it says nothing that can be used.

    A category becomes a place of its own, a set of them a place each, a number itself and whether it is missing, a text
    its words, each row of these of length 1. A name that fewer than two of those with training interactions have is
    left out: it tells one of them apart as an id does, and nothing is learnt of what it means for others.
    """
    columns = assets.get("features", {}).get(side, {}).get("columns", [])
    sizes = len(assets[side]), assets["trained"][side]
    parts = [_KINDS[column["kind"]](column, sizes) for column in columns]
    names = [f"{column['name']}: {name}" for column, (names, _) in zip(columns, parts, strict=True) for name in names]
    return (names, np.concatenate([part for _, part in parts], axis=1)) if names else None


def _number(column: dict[str, Any], sizes: Sizes) -> Named:
    values = np.array([np.nan if value is None else value for value in column["values"]], np.float32)
    missing = np.isnan(values)
    parts = [np.where(missing, 0, values), *([missing] if missing.any() else [])]
    return ["number", "missing"][: len(parts)], np.stack(parts, axis=1).astype(np.float32)


def _category(column: dict[str, Any], sizes: Sizes) -> Named:
    codes = unpacked(column["codes"])
    owners = np.flatnonzero(codes >= 0)
    return _counted(owners, codes[owners], column["names"], sizes)


def _set(column: dict[str, Any], sizes: Sizes) -> Named:
    owners = np.repeat(np.arange(sizes[0]), np.diff(unpacked(column["splits"])))
    return _normal(*_counted(owners, unpacked(column["codes"]), column["names"], sizes))


def _text(column: dict[str, Any], sizes: Sizes) -> Named:
    words = [re.findall(r"\w+", text.lower()) for text in column["texts"]]
    owners = np.repeat(np.arange(sizes[0]), [len(one) for one in words])
    names = sorted({word for one in words for word in one})
    place = {name: code for code, name in enumerate(names)}
    codes = np.array([place[word] for one in words for word in one], np.int64)
    return _normal(*_counted(owners, codes, names, sizes))


def _counted(owners: np.ndarray, codes: np.ndarray, names: list[str], sizes: Sizes) -> Named:
    """How often each row has each name that is kept."""
    pairs = np.unique(np.stack([owners, codes]).astype(np.int64), axis=1)
    holders = np.bincount(pairs[1, pairs[0] < sizes[1]], minlength=len(names))
    kept = np.flatnonzero(holders >= _LEAST)
    places, called = np.full(len(names), -1), [names[name] for name in kept.tolist()]
    places[kept] = np.arange(len(kept))
    if len(kept) > _MOST:
        places[kept] = [zlib.crc32(name.encode("utf-8", "surrogatepass")) % _MOST for name in called]
        called = [f"#{place}" for place in range(_MOST)]
    at = places[codes] if len(codes) else np.zeros(0, np.int64)
    counted = np.zeros((sizes[0], len(called)), np.float32)
    np.add.at(counted, (owners[at >= 0], at[at >= 0]), 1.0)
    return called, counted


def _normal(names: list[str], rows: np.ndarray) -> Named:
    lengths = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return names, np.asarray(rows / np.maximum(lengths, 1e-6), np.float32)


_KINDS = {"number": _number, "category": _category, "set": _set, "text": _text}
