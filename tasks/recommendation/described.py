"""What tables say of users or items as numbers, a row each: what a tower sees beside the id. NumPy only."""

import re
import zlib
from typing import Any

import numpy as np

from pipelines.task import Assets
from tasks.recommendation.data.packing import unpacked

_MOST = 512
"""Numbers that a column becomes; of more categories or words than that, some share one, by hash."""


def feature_table(assets: Assets, side: str) -> np.ndarray | None:
    """float32 [users or items, numbers]; None where no table was given, or it says nothing that can be used.

    A category becomes a place of its own, a set of them a place each, a number itself and whether it is missing, a text
    its words, each row of these of length 1.
    """
    columns = assets.get("features", {}).get(side, {}).get("columns", [])
    parts = [_KINDS[column["kind"]](column, len(assets[side])) for column in columns]
    return np.concatenate(parts, axis=1) if parts else None


def _number(column: dict[str, Any], rows: int) -> np.ndarray:
    values = np.array([np.nan if value is None else value for value in column["values"]], np.float32)
    missing = np.isnan(values)
    parts = [np.where(missing, 0, values), *([missing] if missing.any() else [])]
    return np.stack(parts, axis=1).astype(np.float32)


def _category(column: dict[str, Any], rows: int) -> np.ndarray:
    codes = unpacked(column["codes"])
    owners = np.flatnonzero(codes >= 0)
    return _counted(owners, codes[owners], column["names"], rows)


def _set(column: dict[str, Any], rows: int) -> np.ndarray:
    owners = np.repeat(np.arange(rows), np.diff(unpacked(column["splits"])))
    return _normal(_counted(owners, unpacked(column["codes"]), column["names"], rows))


def _text(column: dict[str, Any], rows: int) -> np.ndarray:
    words = [re.findall(r"\w+", text.lower()) for text in column["texts"]]
    owners = np.repeat(np.arange(rows), [len(one) for one in words])
    names = sorted({word for one in words for word in one})
    place = {name: code for code, name in enumerate(names)}
    codes = np.array([place[word] for one in words for word in one], np.int64)
    return _normal(_counted(owners, codes, names, rows))


def _counted(owners: np.ndarray, codes: np.ndarray, names: list[str], rows: int) -> np.ndarray:
    """float32 [rows, places]: how often each row has each name."""
    places = np.arange(len(names))
    if len(names) > _MOST:
        places = np.array([zlib.crc32(name.encode("utf-8", "surrogatepass")) % _MOST for name in names])
    counted = np.zeros((rows, max(min(len(names), _MOST), 1)), np.float32)
    np.add.at(counted, (owners, places[codes] if len(codes) else codes), 1.0)
    return counted


def _normal(rows: np.ndarray) -> np.ndarray:
    lengths = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return np.asarray(rows / np.maximum(lengths, 1e-6), np.float32)


_KINDS = {"number": _number, "category": _category, "set": _set, "text": _text}
