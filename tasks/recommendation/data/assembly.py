"""From sources to data: what is read, judged and filtered, cut into splits, and coded for a model."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import DataError
from pipelines.labelled.parts import Meter
from pipelines.sources.folders import printable
from pipelines.sources.scan import content_hash
from pipelines.task import Assets, Data, Problem, Store
from tasks.recommendation.config import SEQUENTIAL, Config
from tasks.recommendation.data import features
from tasks.recommendation.data.core import core, in_order, repeated, told
from tasks.recommendation.data.decided import decide
from tasks.recommendation.data.interactions import Interactions, joined, taken
from tasks.recommendation.data.packing import packed
from tasks.recommendation.data.sources import Reading, read_source
from tasks.recommendation.data.splits import (
    LEAST,
    SPLITS,
    TEST,
    TRAIN,
    UNUSED,
    VALID,
    Parts,
    Rows,
    at_random,
    by_time,
    leak,
    leave_last_out,
    one_at_random,
)
from tasks.recommendation.data.stores import HistoryStore, Lists, Log, PairStore, RankStore, lists_of, mix
from tasks.recommendation.data.tables import Wanted

_NAMED = 10
_SYNTHETIC = "These interactions are synthetic: a generator in the package made them."
_UNKNOWN = content_hash(b"an item that the model does not know")


@dataclass(frozen=True)
class Examined:
    """Everything that was read and judged, not yet filtered or split."""

    rows: Interactions
    piece: np.ndarray
    """int8 [n]: the split that a row was given for."""
    given: bool
    """There is a test, or a validation to test on."""
    candidates: Interactions | None
    tables: dict[str, features.Table]
    """Of user and item, what is said of them."""
    kind: str
    """Of the source."""
    bad: list[Problem]
    warnings: list[Problem]

    @property
    def origin(self) -> dict[str, bool]:
        """What the data are, as an asset."""
        rows = self.rows
        return {
            "ordered": rows.ordered,
            "times": rows.time is not None,
            "ratings": rows.rating is not None,
            "given": self.given,
            "sampled": self.candidates is not None,
        }


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


def examine(config: Config, advance: Callable[[int, int], None] | None = None) -> Examined:
    """Read every source of a run.

    Raises:
        DataError: a source as a whole cannot be used.
    """
    try:
        return _examine(config, advance)
    except DataError as error:
        raise DataError(printable(str(error))) from error


def _examine(config: Config, advance: Callable[[int, int], None] | None) -> Examined:
    if config.columns and config.data.startswith("sample"):
        raise DataError(f"columns were given and {config.data} has none: they are for tables.")
    meter = Meter(advance)
    how = Wanted(dict(config.columns or {}), config.encoding)
    beside = frozenset(Path(spec).expanduser().resolve() for spec in (config.users, config.items) if spec)
    main = read_source(config.data, how, beside)
    readings = [main]
    pieces = dict(main.pieces)
    for name, spec in (("valid", config.valid), ("test", config.test)):
        if spec is not None:
            readings.append(read_source(spec, how, beside))
            pieces[name] = _one_piece(readings[-1], name)
    if "train" not in pieces:
        raise DataError(f"{config.data} is a test and holds nothing to train on: name that with data, and this as test.")
    if "valid" in pieces and "test" not in pieces:
        pieces["test"] = pieces.pop("valid")
    order = [name for name in SPLITS if name in pieces]
    rows = joined([pieces[name] for name in order])
    meter.expect(len(rows))
    piece = np.repeat(np.array([SPLITS[name] for name in order], np.int8), [len(pieces[name]) for name in order])
    tables, notes = _tables(config)
    meter(len(rows))
    bad = rows.bad + [problem for table in tables.values() for problem in table.bad]
    warnings = [problem for reading in readings for problem in reading.warnings] + notes
    if rows.refused is not None and rows.refused.any():
        piece = piece[~rows.refused]
        rows = taken(rows, ~rows.refused)
    candidates = next((reading.candidates for reading in readings if reading.candidates is not None), None)
    if not len(rows):
        raise DataError(f"{config.data} holds no interaction that can be used.")
    return Examined(rows, piece, "test" in pieces, candidates, tables, main.source.kind, bad, warnings)


def _tables(config: Config) -> tuple[dict[str, features.Table], list[Problem]]:
    tables = {
        role: features.read_features(spec, role, config.encoding)
        for role, spec in (("user", config.users), ("item", config.items))
        if spec is not None
    }
    if config.data == "sample":
        from tasks.recommendation.data.sample import sample_items, sample_users

        tables = {"user": sample_users(), "item": sample_items(), **tables}
    return tables, []


def refuse_bad(config: Config, examined: Examined) -> None:
    """What on_bad: fail ends with: the first of what is wrong, each with where and what, and how much it is.

    Raises:
        DataError: something is wrong.
    """
    bad = examined.bad
    if not bad or config.on_bad == "skip":
        return
    lines = [f"  {problem.where}: {problem.message}" for problem in bad[:_NAMED]]
    more = [f"  … and {len(bad) - _NAMED:,} more (sixfold data check lists them all)."] if len(bad) > _NAMED else []
    rows = "1 row" if len(bad) == 1 else f"{len(bad):,} rows"
    raise DataError("\n".join([f"{rows} cannot be used (mend them, or leave them out with --on-bad skip):", *lines, *more]))


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
        raise DataError(f"loss mse predicts ratings, and {config.data} has none: map them with --columns rating=COLUMN.")
    order = in_order(rows.user, rows.time)
    summary: dict[str, Any] = {}
    order, warnings = _filtered(config, examined, order, summary)
    if not len(order):
        raise DataError(_nothing_left(config))
    user, item = rows.user[order], rows.item[order]
    keys = _keys(rows.users, rows.items)
    with np.errstate(over="ignore"):
        key = mix(mix(keys[0][user]) + keys[1][item])
    ranked = Rows(user, None if rows.time is None else rows.time[order], rows.dated, key)
    parts = _split(config, ranked, piece[order])
    warnings += leak(ranked, parts.part, config.protocol)
    used = parts.part != UNUSED
    order, part = order[used], parts.part[used]
    found = _coded(examined, order, part, known, keys)
    summary |= _alone(found)
    return Logged(found.log, found.among, parts.how, summary, warnings, found.trained)


def _filtered(
    config: Config, examined: Examined, order: np.ndarray, summary: dict[str, Any]
) -> tuple[np.ndarray, list[Problem]]:
    """The rows, int64 [n], in order, without low ratings, duplicates, and what is outside of the core."""
    rows, piece = examined.rows, examined.piece
    warnings: list[Problem] = []
    if config.min_rating is not None:
        if rows.rating is None:
            raise DataError(f"min_rating is {config.min_rating:g}, and {config.data} has no ratings: drop it, or map them.")
        low = rows.rating[order] < config.min_rating
        summary["below_min_rating"] = int(low.sum())
        order = order[~low]
    keep = "last" if config.duplicates == "last" else "first"
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
    first = int(order[int(np.argmax(which))])
    count = int(which.sum())
    pair = f"{rows.users[rows.user[first]]!r:.40} and {rows.items[rows.item[first]]!r:.40}"
    name = "a pair of user and item that stands elsewhere too"
    message = f"is {name} ({pair}), the first of {count:,}: {what}."
    return Problem("warning", kind, printable(rows.where(first)), message)


def _nothing_left(config: Config) -> str:
    core_is = f"min_user {config.min_user} and min_item {config.min_item}"
    rated = f", min_rating {config.min_rating:g}" if config.min_rating is not None else ""
    return f"no interaction is left by {core_is}{rated}: lower them."


def _split(config: Config, rows: Rows, piece: np.ndarray) -> Parts:
    protocol = config.protocol
    if protocol == "given":
        return _as_given(config, rows, piece)
    if piece.any():
        raise DataError(f"a test is given, and protocol {protocol} would hold out another: drop one of the two.")
    if protocol == "time":
        if rows.time is None:
            raise DataError("protocol time needs times: map them with --columns time=COLUMN, or choose another protocol.")
        parts = by_time(rows, config.split)
    elif protocol == "random":
        parts = at_random(rows, config.split)
    else:
        parts = leave_last_out(rows)
        if not (parts.part == TEST).any():
            raise DataError(f"no user has {LEAST} interactions, so that none can be held out: give more data.")
    return parts


def _as_given(config: Config, rows: Rows, piece: np.ndarray) -> Parts:
    """The test as given; the validation too, or cut from what is trained on in the way that the test looks like."""
    if not (piece == TEST).any():
        raise DataError("protocol given needs a test: name one with test, or choose another protocol.")
    if (piece == VALID).any():
        return Parts(piece, "the given test; validation is as given too (given)")
    mine = np.flatnonzero(piece == TRAIN)
    train = Rows(rows.user[mine], None if rows.time is None else rows.time[mine], rows.dated, rows.key[mine])
    part = piece.copy()
    single = np.bincount(rows.user[piece == TEST]).max() == 1
    if not config.rates and single:
        part[mine[one_at_random(train)]] = VALID
        return Parts(part, "the given test; validation is one training interaction of each user, by hash (given)")
    share = config.split[1] / (config.split[0] + config.split[1]) if sum(config.split) < 1.5 else config.split[1]
    count = round(len(mine) * share) if share < 1 else int(share)
    place = np.argsort(np.argsort(train.key, kind="stable"), kind="stable")
    part[mine[place < count]] = VALID
    if not 0 < count < len(mine):
        raise DataError(f"the validation split would be empty, or all of training: {len(mine):,} interactions.")
    return Parts(part, "the given test; validation is drawn from training by a hash of user and item (given)")


@dataclass(frozen=True)
class _Coded:
    log: Log
    among: Lists | None
    trained: dict[str, int]


def _coded(
    examined: Examined, order: np.ndarray, part: np.ndarray, known: Assets | None, keys: tuple[np.ndarray, np.ndarray]
) -> _Coded:
    """Users and items under their codes: those with training interactions first, then the others that are in the data,
    then those that only a table knows. With a finished model's assets, items have its codes, or -1, and users come as
    they are."""
    rows = examined.rows
    user, item = rows.user[order], rows.item[order]
    users, user_table, trained_users = _codes(user, part, rows.users, _named(examined, "user") if known is None else [])
    if known is None:
        items, item_table, trained_items = _codes(item, part, rows.items, _named(examined, "item"))
    else:
        items, trained_items = list(known["items"]), int(known["trained"]["items"])
        place = {name: code for code, name in enumerate(items)}
        item_table = np.array([place.get(name, -1) for name in rows.items], np.int32)
    new = user_table[user]
    again = np.argsort(new, kind="stable")
    item_keys = np.array([*(content_hash(_bytes(name)) for name in items), _UNKNOWN], np.uint64)
    user_keys = np.array([content_hash(_bytes(name)) for name in users], np.uint64)
    rating = None if rows.rating is None else rows.rating[order][again]
    log = Log(users, items, new[again], item_table[item[again]], rating, part[again], (user_keys, item_keys))
    return _Coded(log, _among(examined, log), {"users": trained_users, "items": trained_items})


def _codes(
    codes: np.ndarray, part: np.ndarray, names: list[str], further: Sequence[str]
) -> tuple[list[str], np.ndarray, int]:
    """(the names in their new order, int32 [old] of the new codes, how many have training interactions)."""
    trained = np.bincount(codes[part == TRAIN], minlength=len(names)) > 0
    there = np.bincount(codes, minlength=len(names)) > 0
    order = np.concatenate([np.flatnonzero(trained), np.flatnonzero(there & ~trained)])
    table = np.full(len(names), -1, np.int32)
    table[order] = np.arange(len(order))
    found = [names[code] for code in order.tolist()]
    new = set(found)
    return found + [name for name in further if name not in new], table, int(trained.sum())


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


def assemble(config: Config, examined: Examined, found: Logged) -> Data:
    """The data of a run."""
    assets, notes = _assets(config, examined, found)
    stores = _stores(config, examined, found)
    return _data(config, examined, found, (stores, assets, found.warnings + notes))


def assemble_test(config: Config, examined: Examined, found: Logged, assets: Assets) -> Data:
    """What a finished model is scored on, as the only split, test, with its codes of users."""
    place = {name: code for code, name in enumerate(assets["users"])}
    known = np.array([place.get(name, -1) for name in found.log.users], np.int32)
    store = _stores(config, examined, found)["test"]
    unknown = int((found.log.item[found.log.part == TEST] < 0).sum())
    warnings = list(found.warnings)
    if unknown:
        message = f"{unknown:,} of the held-out interactions are of items that the model does not know: they are missed."
        warnings.append(Problem("warning", "unknown-items", printable(config.data), message))
    return _data(config, examined, found, ({"test": store.recoded(known)}, assets, warnings))


def _assets(config: Config, examined: Examined, found: Logged) -> tuple[Assets, list[Problem]]:
    log = found.log
    train = log.part == TRAIN
    assets: Assets = {
        "users": log.users,
        "items": log.items,
        "trained": found.trained,
        "counts": np.bincount(log.item[train], minlength=len(log.items)).tolist(),
        "seen": {"splits": packed(log.starts.astype(np.int64)), "items": packed(log.item)},
        "origin": examined.origin,
    }
    if log.rating is not None:
        rating = log.rating[train].astype(np.float64)
        assets["rating"] = {"mean": float(rating.mean()), "min": float(rating.min()), "max": float(rating.max())}
    coded, warnings = {}, []
    for role, names in (("user", log.users), ("item", log.items)):
        if role in examined.tables:
            coded[f"{role}s"], notes = features.code(examined.tables[role], role, names)
            warnings += notes
    if coded:
        assets["features"] = coded
    return assets, warnings


def _stores(config: Config, examined: Examined, found: Logged) -> dict[str, Any]:
    log = found.log
    if config.rates:
        stores: dict[str, Any] = {name: PairStore(log, _rows(log, code, config.limit)) for name, code in SPLITS.items()}
    else:
        stores = {
            "train": _training(config, log),
            "valid": _ranking(config, examined, log, VALID, None),
            "test": _ranking(config, examined, log, TEST, found.among),
        }
    for name, store in stores.items():
        if not len(store):
            raise DataError(f"the {name} split is empty: {_why_empty(config, name)}")
    return stores


def _why_empty(config: Config, name: str) -> str:
    if name == "train" and config.backbone in SEQUENTIAL:
        return f"no user has two training interactions, which {config.backbone} learns from: choose --backbone mf."
    return "give more data, a larger share in split, or another protocol."


def _training(config: Config, log: Log) -> PairStore | HistoryStore:
    if config.backbone not in SEQUENTIAL:
        return PairStore(log, _rows(log, TRAIN, config.limit))
    train = lists_of(log, log.part == TRAIN)
    users = _limited(np.flatnonzero(train.lengths >= 2), log.keys[0], config.limit)
    return HistoryStore(log, train, users, config.max_history + 1)


def _ranking(config: Config, examined: Examined, log: Log, code: int, among: Lists | None) -> RankStore:
    before = lists_of(log, (log.part >= TRAIN) & (log.part < code))
    held_out = lists_of(log, log.part == code)
    users = _limited(np.flatnonzero(held_out.lengths > 0), log.keys[0], config.limit)
    compared = None
    if config.group_by is not None:
        if "user" not in examined.tables:
            raise DataError(f"group_by {config.group_by} is a column of the table of users: name that with users.")
        compared = features.values_of(examined.tables["user"], config.group_by, log.users)
    return RankStore(log, before, held_out, users, config.max_history + 1, among, compared)


def _rows(log: Log, code: int, limit: int | None) -> np.ndarray:
    """int64 [n], into the log: those of a split."""
    rows = np.flatnonzero(log.part == code)
    return rows if limit is None else _limited(rows, log.hashes, limit)


def _limited(which: np.ndarray, keys: np.ndarray, limit: int | None) -> np.ndarray:
    """At most so many of them, those whose keys come first; ascending."""
    if limit is None or len(which) <= limit:
        return which
    return np.sort(which[np.argsort(mix(keys[which]), kind="stable")[:limit]])


def _data(
    config: Config, examined: Examined, found: Logged, parts: tuple[dict[str, Any], Assets, list[Problem]]
) -> Data:
    stores, assets, warnings = parts
    hashes = {name: store.hashes() for name, store in stores.items()}
    protocol = _protocol(config, found, stores)
    counts = {name: len(store) for name, store in stores.items()}
    summary = summarise(config, examined, found, warnings) | {"counts": counts, "protocol": protocol}
    splits: dict[str, Store] = dict(stores)
    return Data(splits, assets, summary, _fingerprint(config, found.log, hashes), protocol, hashes)


def summarise(config: Config, examined: Examined, found: Logged | None, warnings: Sequence[Problem]) -> dict[str, Any]:
    """JSON for the report."""
    return {
        "source": printable(config.data),
        "kind": examined.kind,
        "counts": {},
        **({} if found is None else found.summary),
        "skipped": [{"where": printable(problem.where), "message": problem.message} for problem in examined.bad],
        "warnings": [f"{problem.where}: {problem.message}" for problem in [*examined.warnings, *warnings]],
        "protocol": "",
    }


def _fingerprint(config: Config, log: Log, hashes: dict[str, np.ndarray]) -> str:
    """Of every example, the names of users and items, and what is taken of them."""
    digest = hashlib.blake2b(digest_size=16)
    for keys in log.keys:
        digest.update(keys.tobytes())
    for name, values in hashes.items():
        digest.update(b"\0" + name.encode() + b"\0" + values.tobytes())
    digest.update(f"{config.max_history} {config.protocol}".encode())
    return digest.hexdigest()


def _protocol(config: Config, found: Logged, stores: dict[str, Any]) -> str:
    log, alone = found.log, found.summary["only_in_test"]
    test = int((log.part == TEST).sum())
    limit = f" Each split is limited to {config.limit:,} examples, always the same ones." if config.limit else ""
    extra = f" {_SYNTHETIC}" if config.data == "sample" else ""
    counts = f"(training {int((log.part == TRAIN).sum()):,} interactions, validation {int((log.part == VALID).sum()):,})"
    only = " and ".join(f"{count:,} {what}" for what, count in alone.items() if count)
    cold = f"; {only} appear only in it" if only else ""
    if config.rates:
        return f"Scored on {len(stores['test']):,} ratings: {found.how} {counts}{cold}.{limit}{extra}"
    among = (
        f"all {len(log.items):,} items but those that the user took before"
        if found.among is None
        else f"the candidates that the protocol gives, {_median(found.among, stores['test'].users):,} for a user (sampled: "
        "such scores are higher than those of a full ranking)"
    )
    return (
        f"Scored on {len(stores['test']):,} users with {test:,} held-out items, ranked among {among}: {found.how} "
        f"{counts}{cold}.{limit}{extra}"
    )


def _median(among: Lists, users: np.ndarray) -> int:
    return int(np.median(among.lengths[users]))


def _one_piece(reading: Reading, split: str) -> Interactions:
    if split in reading.pieces:
        return reading.pieces[split]
    if list(reading.pieces) == ["train"]:
        return reading.pieces["train"]
    there = ", ".join(reading.pieces)
    raise DataError(f"{reading.source.spec} (given as {split}) brings the splits {there}, not {split}: name the one.")

