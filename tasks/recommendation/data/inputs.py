"""What predict reads: users by their ids, or by what they took; and, of ratings, pairs of user and item."""

import io
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from pipelines.console import Console
from pipelines.errors import ConfigError, DataError
from pipelines.sources.columns import Head, Place, Texts, read_columns
from pipelines.sources.folders import printable
from pipelines.sources.tables import as_text, binary, table_suffix, translated
from pipelines.task import Assets, Raw
from tasks.recommendation.config import Config
from tasks.recommendation.data.core import in_order
from tasks.recommendation.data.interactions import Interactions
from tasks.recommendation.data.packing import unpacked
from tasks.recommendation.data.parts import read_file
from tasks.recommendation.data.tables import Wanted, as_table, called, look, read_rows

_SHOWN = 3
_LOOKED_AT = 100
"""Lines of a file by which ids are told from interactions."""
_BETWEEN = re.compile(r"::|[\s|;,]+")
"""What stands between the values of a line."""
_NOTHING = np.zeros(0, np.int32)
_PAIR = "predict of ratings takes pairs: give a table with the columns user and item"


@dataclass(frozen=True)
class Asked:
    """A user that a list is wanted for."""

    id: str
    user: str | None
    items: Sequence[str] = ()
    """What they took, oldest first, besides what the model knows."""
    refused: str = ""
    """Why there can be no answer."""


@dataclass(frozen=True)
class Known:
    """What the model knows, by name."""

    users: dict[str, int]
    items: dict[str, int]
    splits: np.ndarray = field(repr=False)
    taken: np.ndarray = field(repr=False)
    """What each user took, one after the other."""

    def history(self, user: int, items: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """int32 [length]: what is known of the user, then what is not among it; and names that are of no known item."""
        before = self.taken[self.splits[user] : self.splits[user + 1]] if user >= 0 else _NOTHING
        before = before[before >= 0]
        if not items:
            return before, []
        codes = [self.items.get(name, -1) for name in dict.fromkeys(items)]
        unknown = [name for name, code in zip(dict.fromkeys(items), codes, strict=True) if code < 0]
        new = np.array([code for code in codes if code >= 0], np.int32)
        return np.concatenate([before, new[~np.isin(new, before)]]), unknown


def known_of(assets: Assets) -> Known:
    """From a model's assets."""
    users, items = ({name: code for code, name in enumerate(assets[role])} for role in ("users", "items"))
    return Known(users, items, unpacked(assets["seen"]["splits"]), unpacked(assets["seen"]["items"]))


def inputs(paths: Sequence[str], config: Config, assets: Assets) -> Iterator[tuple[list[str], Raw]]:
    """Batches of config.batch_size, of (ids, raw), in order.

    A path is a file of ids, a line each; JSON lines, each an id, or {"user": …, "items": […]} where user may be left
    out; a table of users, or of what they took; whatever else a run can be trained on, as lists; or -, for ids or JSON
    lines on stdin. Of ratings it is a table of users and items. What cannot be read comes out as NUL and the reason in
    `name`, for its record to say so.

    Raises:
        DataError: a table is damaged or has no such columns.
    """
    if config.rates:
        yield from _pairs(paths, config, assets)
        return
    known = known_of(assets)
    asked = (one for path in paths for one in _asked(path, config, known))
    while batch := list(islice(asked, config.batch_size)):
        yield [one.id for one in batch], _raw(batch, known)


def allowed(names: Iterable[str], assets: Assets) -> np.ndarray:
    """int32: the codes of items that alone are to be recommended. Those that the model does not know are named.

    Raises:
        ConfigError: it knows none of them.
    """
    place = {name: code for code, name in enumerate(assets["items"])}
    names = list(dict.fromkeys(names))
    unknown = [name for name in names if name not in place]
    if len(unknown) == len(names):
        raise ConfigError(f"allow: the model knows none of these items ({_listed(unknown)}): name items by their ids.")
    if unknown:
        Console().say(
            f"allow: {len(unknown):,} of {len(names):,} items are not known to the model: {_listed(unknown)}."
        )
    return np.array([place[name] for name in names if name in place], np.int32)


def _listed(names: Sequence[str]) -> str:
    return printable(", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else ""))


def _asked(path: str, config: Config, known: Known) -> Iterator[Asked]:
    if path == "-":
        yield from _lines("-", sys.stdin, json_lines=False)
    elif (why := _unusable(path)) is not None:
        yield Asked(printable(path), None, refused=why)
    elif not os.path.getsize(path):
        yield Asked(printable(path), None, refused="it is empty (0 bytes): nothing to predict for")
    elif table_suffix(Path(path)).removesuffix(".gz") == ".jsonl":
        yield from _opened(path, config, json_lines=True)
    elif table_suffix(Path(path)):
        yield from _table(Path(path), config)
    elif _holds_items(path, config, known):
        yield from _histories(read_file(Path(path), Wanted(dict(config.columns or {}), config.encoding)))
    else:
        yield from _opened(path, config, json_lines=False)


def _unusable(path: str) -> str | None:
    if not os.path.exists(path):
        return "it does not exist: name a file of user ids, JSON lines with histories, a table, or - for stdin"
    return "it is a folder: name a file" if os.path.isdir(path) else None


def _holds_items(path: str, config: Config, known: Known) -> bool:
    """Whether the lines of a file that is no table by name are interactions or lists, as those that a run is trained
    on: all of several words, with known items behind the first, and none of them the id of a user as a whole."""
    with translated(Path(path)), binary(Path(path), path.lower().endswith(".gz")) as file:
        start = io.TextIOWrapper(file, config.encoding, errors="replace")
        lines = [line.strip() for line in islice((line for line in start if line.strip()), _LOOKED_AT)]
    if any(line.startswith("{") or line in known.users for line in lines):
        return False
    words = [_BETWEEN.split(line) for line in lines]
    return all(len(one) > 1 for one in words) and any(word in known.items for one in words for word in one[1:])


def _opened(path: str, config: Config, *, json_lines: bool) -> Iterator[Asked]:
    with translated(Path(path)), binary(Path(path), path.lower().endswith(".gz")) as file:
        try:
            with io.TextIOWrapper(file, config.encoding) as lines:
                yield from _lines(path, lines, json_lines=json_lines)
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not {config.encoding.upper()} ({error.reason}): name its encoding.") from error


def _lines(path: str, lines: Iterable[str], *, json_lines: bool) -> Iterator[Asked]:
    """A user a line; a line of JSON where it is one of an object, or all are."""
    for number, line in enumerate(lines, start=1):
        text = line.strip().removeprefix("\ufeff")
        if not text:
            continue
        where = f"{printable(path)} line {number}"
        yield _json(text, where) if json_lines or text.startswith("{") else Asked(text, text)


def _json(text: str, where: str) -> Asked:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Asked(where, None, refused=f"it is no JSON: {error}")
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return Asked(as_text(value), as_text(value))
    if not isinstance(value, dict) or not value.keys() & {"user", "items"}:
        return Asked(where, None, refused='it is neither a user\'s id nor {"user": …, "items": […]}')
    user, items = value.get("user"), value.get("items") or []
    name = where if user is None else as_text(user)
    if not isinstance(items, list) or any(isinstance(item, list | dict | bool) or item is None for item in items):
        return Asked(name, None, refused="its items are no list of ids")
    if user is not None and not isinstance(user, str | int | float):
        return Asked(where, None, refused="its user is no id")
    return Asked(name, None if user is None else name, [as_text(item) for item in items])


def _table(path: Path, config: Config) -> Iterator[Asked]:
    """Of what users took: each once, with it, oldest first. Of users alone: a row each."""
    columns = dict(config.columns or {})
    place, first = look(Place(path, config.encoding), tuple(columns.values()))
    if (columns.get("item") in first.names) if columns else called("item", first) is not None:
        yield from _histories(read_rows(Place(path), Wanted(_there(columns, first), config.encoding)))
        return
    key = columns.get("user") if columns.get("user") in first.names else called("user", first) or first.names[0]
    read = read_columns(place, {str(key): "text"}, first)
    cells = read.cells[str(key)]
    assert isinstance(cells, Texts)
    for row, code in enumerate(cells.codes.tolist()):
        if code < 0:
            yield Asked(printable(read.where(row)), None, refused=f"it has no {key!r}")
        else:
            yield Asked(cells.names[code], cells.names[code])


def _there(columns: dict[str, str], first: Head) -> dict[str, str]:
    """The run's columns without the rating and time that a table lacks: of a history they may be left out."""
    return {role: name for role, name in columns.items() if role in ("user", "item") or name in first.names}


def _histories(rows: Interactions) -> Iterator[Asked]:
    """Each user once, with what they took, oldest first; then the rows that cannot be used."""
    user, item = rows.user, rows.item
    order = in_order(user, rows.time)
    order = order[(user[order] >= 0) & (item[order] >= 0)]
    ends = np.searchsorted(user[order], np.arange(len(rows.users) + 1))
    for code, name in enumerate(rows.users):
        taken = item[order[ends[code] : ends[code + 1]]].tolist()
        yield Asked(name, name, [rows.items[one] for one in taken])
    yield from (Asked(printable(one.where), None, refused=one.message) for one in rows.bad)


def _raw(batch: Sequence[Asked], known: Known) -> Raw:
    users = [known.users.get(one.user, -1) if one.user is not None else -1 for one in batch]
    found = [known.history(user, one.items) for user, one in zip(users, batch, strict=True)]
    splits = np.cumsum([0, *(len(history) for history, _ in found)])
    return {
        "user": np.array(users, np.int32),
        "history": np.concatenate([history for history, _ in found]).astype(np.int32),
        "history_splits": splits.astype(np.int64),
        "name": _bytes(_named(one.id, one.refused) for one in batch),
        "unknown": _bytes(json.dumps(unknown, ensure_ascii=False) for _, unknown in found),
    }


def _named(name: str, refused: str | None) -> str:
    """What stands for an input in the column `name`."""
    refused = refused or ("its id begins with a NUL: it is damaged" if name.startswith("\0") else None)
    return f"\0{refused}" if refused else name


def _bytes(texts: Iterable[str]) -> np.ndarray:
    values = [text.encode("utf-8", "surrogatepass") for text in texts]
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _pairs(paths: Sequence[str], config: Config, assets: Assets) -> Iterator[tuple[list[str], Raw]]:
    """Rows of a table, whose ratings are to be predicted."""
    users, items = ({name: code for code, name in enumerate(assets[role])} for role in ("users", "items"))
    for path in paths:
        if (why := _PAIR if path == "-" else _unusable(path)) is not None:
            yield [printable(path)], _pair_raw(np.array([-1]), np.array([-1]), [f"\0{why}"])
            continue
        columns = {role: name for role, name in (config.columns or {}).items() if role in ("user", "item")}
        rows = read_rows(_place(Path(path)), Wanted(columns, config.encoding))
        user, item = (
            np.array([*(known.get(name, -1) for name in names), -1], np.int32)[codes]
            for known, names, codes in ((users, rows.users, rows.user), (items, rows.items, rows.item))
        )
        for start in range(0, len(rows), config.batch_size):
            part = np.arange(start, min(start + config.batch_size, len(rows)))
            ids = [
                f"{rows.users[one]} {rows.items[other]}" if min(one, other) >= 0 else rows.where(row)
                for row, one, other in zip(
                    part.tolist(), rows.user[part].tolist(), rows.item[part].tolist(), strict=True
                )
            ]
            blank = (rows.user[part] < 0) | (rows.item[part] < 0)
            reasons = ["it names no user or no item" if empty else None for empty in blank]
            yield ids, _pair_raw(user[part], item[part], list(map(_named, ids, reasons)))


def _place(path: Path) -> Place:
    """A table, whether it is called one or is lines as u.data has them.

    Raises:
        DataError: it is empty.
    """
    if not path.stat().st_size:
        raise DataError(f"{path} is empty (0 bytes): nothing to predict for.")
    return Place(path) if table_suffix(path) else as_table(path)


def _pair_raw(user: np.ndarray, item: np.ndarray, names: Sequence[str]) -> Raw:
    return {"user": user.astype(np.int32), "item": item.astype(np.int32), "name": _bytes(names)}
