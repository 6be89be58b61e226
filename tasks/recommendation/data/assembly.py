"""From sources to data: what is read, judged and filtered, cut into splits, and coded for a model."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.folders import printable
from pipelines.task import Assets, Data, Problem, Store
from tasks.recommendation.config import SEQUENTIAL, Config
from tasks.recommendation.data import features
from tasks.recommendation.data.coding import Logged
from tasks.recommendation.data.described import feature_table
from tasks.recommendation.data.examining import Examined
from tasks.recommendation.data.log import Lists, Log, lists_of, mix
from tasks.recommendation.data.packing import packed, packed_flags
from tasks.recommendation.data.splits import SPLITS, TEST, TRAIN, VALID
from tasks.recommendation.data.stores import HistoryStore, PairStore, RankStore

_SYNTHETIC = "These interactions are synthetic: a generator in the package made them."


def assemble(config: Config, examined: Examined, found: Logged) -> Data:
    """The data of a run."""
    assets, notes = _assets(config, examined, found)
    stores = _stores(config, examined, found)
    return _data(config, examined, found, (stores, assets, found.warnings + notes))


def assemble_test(config: Config, examined: Examined, found: Logged, assets: Assets) -> Data:
    """What a finished model is scored on, as the only split, test, with its codes of users."""
    place = {name: code for code, name in enumerate(assets["users"])}
    known = np.array([place.get(name, -1) for name in found.log.users], np.int32)
    store = _stores(config, examined, found, ["test"])["test"]
    missing = found.log.item[found.log.part == TEST] < 0
    if missing.all():
        raise DataError(
            f"the model knows none of the items that {printable(config.data)} holds out: name data of its own."
        )
    unknown = int(missing.sum())
    warnings = list(found.warnings)
    if unknown:
        message = (
            f"{unknown:,} of the held-out interactions are of items that the model does not know: they are missed."
        )
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
        "seen": {
            "splits": packed(log.starts.astype(np.int64)),
            "items": packed(log.item),
            "trained": packed_flags(train),
        },
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
    for side in coded:
        named = feature_table(assets, side)
        assets[f"{side}_numbers"] = [] if named is None else named[0]
    return assets, warnings


def _stores(config: Config, examined: Examined, found: Logged, names: Sequence[str] = tuple(SPLITS)) -> dict[str, Any]:
    stores: dict[str, Any] = {}
    for name in names:
        store: PairStore | HistoryStore | RankStore
        if config.rates:
            store = PairStore(found.log, _rows(found.log, SPLITS[name], config.limit))
        elif name == "train":
            store = _training(config, found.log)
        else:
            store = _ranking(config, examined, found, name)
        if not len(store):
            raise DataError(f"the {name} split is empty: {_why_empty(config, name)}")
        stores[name] = store
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


def _ranking(config: Config, examined: Examined, found: Logged, name: str) -> RankStore:
    log, code = found.log, SPLITS[name]
    among = found.among if code == TEST else None
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
    counts = (
        f"(training {int((log.part == TRAIN).sum()):,} interactions, validation {int((log.part == VALID).sum()):,})"
    )
    only = " and ".join(f"{count:,} {what}" for what, count in alone.items() if count)
    cold = f"; {only} appear only in it" if only else ""
    if config.rates:
        return f"Scored on {len(stores['test']):,} ratings: {found.how} {counts}{cold}.{limit}{extra}"
    among = (
        f"all {len(log.items):,} items but those that the user took before"
        if found.among is None
        else f"the candidates that the protocol gives, {_median(found.among, stores['test'].users):,} for a user "
        "(sampled: such scores are higher than those of a full ranking)"
    )
    return (
        f"Scored on {len(stores['test']):,} users with {test:,} held-out items, ranked among {among}: {found.how} "
        f"{counts}{cold}.{limit}{extra}"
    )


def _median(among: Lists, users: np.ndarray) -> int:
    return int(np.median(among.lengths[users]))
