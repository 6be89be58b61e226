"""A source of interactions read into pieces: to train on, and, where it brings them, to validate and test on."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipelines.errors import DataError
from pipelines.sources import Source, locate
from pipelines.sources.columns import Place
from pipelines.sources.folders import SPLIT_NAMES, is_litter, printable, split_tables, walk
from pipelines.sources.tables import table_suffix
from pipelines.task import Problem
from tasks.recommendation.data.interactions import Interactions, joined
from tasks.recommendation.data.lists import is_lists, read_lists
from tasks.recommendation.data.tables import Wanted, as_table, read_rows

_TRAIN, _TEST, _NEGATIVE = ".train.rating", ".test.rating", ".test.negative"
"""How the files of NCF (He et al., 2017) end."""


@dataclass(frozen=True)
class Reading:
    """What a source gives."""

    source: Source
    pieces: dict[str, Interactions]
    """By split; train alone where the source brings no splits."""
    candidates: Interactions | None = None
    """Of the test, what each user's items are ranked among, besides themselves; None: all items."""
    warnings: list[Problem] = field(default_factory=list)


def read_source(spec: str, wanted: Wanted, beside: frozenset[Path] = frozenset()) -> Reading:
    """A source by its name.

    Args:
        spec: as config.data has it.
        wanted: how tables are read.
        beside: files of a folder that are not interactions.

    Raises:
        DataError: it cannot be used as a whole.
    """
    source = locate(spec, lines=True)
    if source.kind not in _READERS:
        raise DataError(
            f"{spec} is of a kind ({source.kind}) that interactions are not read from: give a table (.csv, .tsv, "
            ".jsonl, .parquet, each also .gz), a file of lists (user item item …), or a folder of them."
        )
    return _READERS[source.kind](source, wanted, beside)


def _read_sample(source: Source, wanted: Wanted, beside: frozenset[Path]) -> Reading:
    from tasks.recommendation.data.sample import sample

    del wanted, beside
    return Reading(source, {"train": sample(source.spec)})


def _read_tfds(source: Source, wanted: Wanted, beside: frozenset[Path]) -> Reading:
    from tasks.recommendation.data.records import read_dataset

    del beside
    pieces, warnings = read_dataset(source, wanted)
    return Reading(source, pieces, None, warnings)


def _read_one(source: Source, wanted: Wanted, beside: frozenset[Path]) -> Reading:
    del beside
    name = str(source.path)
    if name.endswith(_NEGATIVE):
        test, candidates = _read_negatives(source.path, wanted)
        return Reading(source, {"test": test}, candidates)
    if name.endswith(_TRAIN) and Path(name.removesuffix(_TRAIN) + _TEST).exists():
        return _read_ncf(source, name.removesuffix(_TRAIN), wanted)
    if name.endswith(_TEST) and Path(name.removesuffix(_TEST) + _NEGATIVE).exists():
        test, candidates = _ncf_test(name.removesuffix(_TEST), wanted)
        return Reading(source, {"test": test}, candidates)
    return Reading(source, {"train": read_file(source.path, wanted)})


def _read_split_tables(source: Source, wanted: Wanted, beside: frozenset[Path]) -> Reading:
    del beside
    tables = split_tables(source.path)
    return Reading(source, {split: read_file(path, wanted) for split, path in tables.items()})


def _read_folder(source: Source, wanted: Wanted, beside: frozenset[Path]) -> Reading:
    files = [Path(path) for path in walk(source.path)]
    files = [path for path in files if path.resolve() not in beside]
    ncf = [str(path).removesuffix(_TRAIN) for path in files if path.name.endswith(_TRAIN)]
    if len(ncf) > 1:
        sets = printable(", ".join(str(Path(one + _TRAIN).relative_to(source.path)) for one in ncf[:3]))
        raise DataError(f"{source.path} holds several data sets ({sets}{', …' if len(ncf) > 3 else ''}): name one.")
    if ncf:
        return _read_ncf(source, ncf[0], wanted)
    usable = [path for path in files if table_suffix(path)] or [path for path in files if _is_text(path)]
    if not usable:
        raise DataError(
            f"{source.path} holds no table (.csv, .tsv, .jsonl, .parquet, each also .gz), no list (.txt) and no "
            ".train.rating: name the file."
        )
    others = [path for path in files if path not in usable]
    warnings = []
    if others:
        what = "tables" if table_suffix(usable[0]) else "lists"
        message = f"not read: {_listed(others)} ({len(others):,} beside the {what})."
        warnings.append(Problem("warning", "not-read", printable(str(source.path)), message))
    splits = {path: SPLIT_NAMES.get(_split_name(path, source.path), "train") for path in usable}
    if "train" not in splits.values():
        raise DataError(f"{source.path} holds a test and nothing to train on: name that with data, and this with test.")
    pieces = {
        split: joined([read_file(path, wanted) for path in usable if splits[path] == split])
        for split in ("train", "valid", "test")
        if split in splits.values()
    }
    return Reading(source, pieces, None, warnings)


_READERS: dict[str, Callable[[Source, Wanted, frozenset[Path]], Reading]] = {
    "sample": _read_sample,
    "tfds": _read_tfds,
    "table": _read_one,
    "lines": _read_one,
    "tables": _read_split_tables,
    "folder": _read_folder,
}


def read_file(path: Path, wanted: Wanted) -> Interactions:
    """The interactions of one file: a table, or lists where it is called .txt or its lines differ in length."""
    if table_suffix(path):
        return read_rows(Place(path), wanted)
    if not wanted.columns and (_is_text(path) or is_lists(path)):
        return read_lists(path, wanted.encoding)
    return read_rows(as_table(path), wanted)


def _read_ncf(source: Source, start: str, wanted: Wanted) -> Reading:
    """START.train.rating, START.test.rating, and START.test.negative, whose items are what the test is ranked among."""
    pieces = {"train": read_file(Path(start + _TRAIN), wanted)}
    test, negative = Path(start + _TEST), Path(start + _NEGATIVE)
    if not negative.exists():
        return Reading(source, {**pieces, "test": read_file(test, wanted)} if test.exists() else pieces)
    found, candidates = _ncf_test(start, wanted)
    return Reading(source, {**pieces, "test": found}, candidates)


def _ncf_test(start: str, wanted: Wanted) -> tuple[Interactions, Interactions]:
    """(the test, what each user's is ranked among): START.test.negative, and where it is there START.test.rating, which
    must be of the same pairs."""
    test, negative = Path(start + _TEST), Path(start + _NEGATIVE)
    found, candidates = _read_negatives(negative, wanted)
    if not test.exists():
        return found, candidates
    given = read_file(test, wanted)
    if differ := _pairs(given) ^ _pairs(found):
        user, item = min(differ)
        raise DataError(
            f"{test} and {negative} are of different tests: {len(differ):,} pairs of user and item stand in one of "
            f"them alone, as ({printable(user)},{printable(item)})."
        )
    return given, candidates


def _read_negatives(path: Path, wanted: Wanted) -> tuple[Interactions, Interactions]:
    """(the pairs of the test, what each user's is ranked among): a line each, `(user,item) item item …`."""
    rows = read_lists(path, wanted.encoding)
    if rows.bad:
        raise DataError(f"{rows.bad[0].where} {rows.bad[0].message}")
    pairs = [name.removeprefix("(").removesuffix(")").rpartition(",") for name in rows.users]
    odd = [name for name, (user, _, item) in zip(rows.users, pairs, strict=True) if not (user and item)]
    if odd:
        raise DataError(f"{path} holds a line that begins with {odd[0]!r:.40}, not with (user,item): mend it.")
    users = list(dict.fromkeys(user for user, _, _ in pairs))
    items = list(dict.fromkeys(item for _, _, item in pairs))
    known = {name: code for code, name in enumerate(users)}
    user = np.array([known[user] for user, _, _ in pairs], np.int32)
    taken = {name: code for code, name in enumerate(items)}
    item = np.array([taken[item] for _, _, item in pairs], np.int32)
    test = Interactions(users, items, user, item, None, None, False, False, lambda row: f"{path} line {row + 1}")
    return test, replace(rows, users=users, user=user[rows.user])


def _pairs(rows: Interactions) -> set[tuple[str, str]]:
    return {
        (rows.users[user], rows.items[item])
        for user, item in zip(rows.user.tolist(), rows.item.tolist(), strict=True)
        if user >= 0 and item >= 0
    }


def _is_text(path: Path) -> bool:
    return path.name.lower().endswith((".txt", ".txt.gz")) and not is_litter(path.name)


def _split_name(path: Path, root: Path) -> str:
    """What may be the name of a split: that of the folder below the root, else of the file."""
    below = path.relative_to(root)
    return below.parts[0].lower() if len(below.parts) > 1 else below.name.lower().partition(".")[0]


def _listed(paths: list[Path]) -> str:
    return printable(", ".join(path.name for path in paths[:3]) + (", …" if len(paths) > 3 else ""))
