"""A source read into parts, one for each split it brings: the images, their labels, and what a scan found out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipelines.errors import DataError
from pipelines.sources import Source, locate
from pipelines.sources.arrays import read_pairs
from pipelines.sources.folders import SPLIT_NAMES, class_folders, files_below, printable, split_tables
from pipelines.sources.idx import idx_pairs
from pipelines.sources.scan import BadExample, file_keys, scan
from pipelines.sources.tables import as_text, read_table
from pipelines.sources.tfds import open_dataset
from pipelines.task import Problem
from tasks.image_classification.data import arrays, cells, records
from tasks.image_classification.data.inspection import (
    FACTS,
    FORMATS,
    TURNED,
    claimed_format,
    inspect,
    quiet_pillow,
    read_file,
)
from tasks.image_classification.data.labels import missing
from tasks.image_classification.data.stores import Files, Images

_MOST_GROUPS = 100
_VERSION = 2
"""Of what the scan finds out: raise it when inspection changes, and old findings are no longer used."""


@dataclass(frozen=True)
class Part:
    """All examples of one split as a source gives it."""

    images: Images
    labels: np.ndarray
    """int32 [n], into names; -1 where there is none. Or bool [n, names]: see data.labels."""
    names: list[str]
    hashes: np.ndarray
    """uint64 [n]."""
    facts: np.ndarray
    """int64 [n, 5]: width, height, channels, format, whether an orientation is ignored."""
    bad: list[tuple[int | None, Problem]]
    """Examples that cannot be used, by row; None where a malformed line of a table is not even a row."""
    groups: np.ndarray | None = None
    """int64 [n]."""
    group_names: list[str] = field(default_factory=list)
    """Of each example, where there are groups; '' for none."""
    compared: np.ndarray | None = None
    """object [n], of texts: the column that scores are told apart by."""
    warnings: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class Reading:
    """What a source gives."""

    source: Source
    parts: dict[str, Part]
    """By split; train alone where the source brings no splits."""
    warnings: list[Problem]


@dataclass(frozen=True)
class Wanted:
    """What is read of a source besides the images, and how."""

    columns: Mapping[str, str] | None = None
    separator: str | None = None
    """Between the labels of an image; None: each has one label."""
    group_by: str | None = None
    """The column that scores are told apart by."""
    labelled: bool = True
    """False: tables need no column of labels, and folders no classes."""


class Meter:
    """Counts what is done of what there is to do, over several scans."""

    def __init__(self, advance: Callable[[int, int], None] | None) -> None:
        self._advance = advance
        self._done = 0
        self._total = 0

    def expect(self, examples: int) -> None:
        """So many more are to be done."""
        self._total += examples

    def __call__(self, examples: int) -> None:
        self._done += examples
        if self._advance:
            self._advance(self._done, self._total)


def read_source(spec: str, wanted: Wanted, meter: Meter) -> Reading:
    """Read and scan a source, every image of it.

    Raises:
        DataError: the source as a whole cannot be used.
    """
    source = locate(spec)
    if source.kind not in ("table", "tables"):
        for name, value in (("multi_label", wanted.separator), ("group_by", wanted.group_by)):
            if value is not None:
                raise DataError(f"{name} is for tables, and {spec} is none: list the images and their labels in one.")
    with quiet_pillow():
        return _READERS[source.kind](source, wanted, meter)


def _read_sample(source: Source, wanted: Wanted, meter: Meter) -> Reading:
    del wanted
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = np.round(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    return _from_arrays(source, {"train": (pixels, labels)}, "digits", meter)


def _read_arrays(source: Source, wanted: Wanted, meter: Meter) -> Reading:
    del wanted
    return _from_arrays(source, read_pairs(source.path), printable(source.path.name), meter)


def _read_idx(source: Source, wanted: Wanted, meter: Meter) -> Reading:
    del wanted
    return _from_arrays(source, idx_pairs(source.path), printable(source.path.name), meter)


def _from_arrays(source: Source, pairs: dict[str, tuple[np.ndarray, np.ndarray]], name: str, meter: Meter) -> Reading:
    images, notes = arrays.as_pixels({split: x for split, (x, _) in pairs.items()}, name)
    meter.expect(sum(len(pixels.array) for pixels in images.values()))
    parts = {}
    for split, pixels in images.items():
        labels, names = arrays.as_labels(pairs[split][1], f"{name} {split}")
        count, height, width, channels = pixels.array.shape
        facts = np.broadcast_to(np.array([width, height, channels, -1, 0]), (count, FACTS))
        hashes = arrays.hash_pixels(pixels.array, meter)
        parts[split] = Part(pixels, labels, names, hashes, facts, _bad(pixels, {}, labels))
    return Reading(source, parts, [Problem("warning", kind, source.spec, note) for kind, note in notes])


def _read_folder(source: Source, wanted: Wanted, meter: Meter) -> Reading:
    if not wanted.labelled:
        return _read_files(source, meter)
    splits, notes = class_folders(source.path)
    meter.expect(sum(len(files.paths) for files in splits.values()))
    parts = {
        split: _scan_files(f"{source.path.resolve()}|{split}", Files(files.paths), files.labels, files.classes, meter)
        for split, files in splits.items()
    }
    return Reading(source, parts, [Problem("warning", "not-read", where, note) for where, note in notes])


def _read_files(source: Source, meter: Meter) -> Reading:
    """All files anywhere below a folder, of one nameless class."""
    paths, place = files_below(source.path)
    meter.expect(len(paths))
    part = _scan_files(f"{place.resolve()}|", Files(paths), np.zeros(len(paths), np.int32), [""], meter)
    return Reading(source, {"train": part}, [])


def _read_table(source: Source, wanted: Wanted, meter: Meter) -> Reading:
    return Reading(source, {"train": _table_part(source.path, wanted, meter)}, [])


def _read_tables(source: Source, wanted: Wanted, meter: Meter) -> Reading:
    tables = split_tables(source.path)
    return Reading(source, {split: _table_part(path, wanted, meter) for split, path in tables.items()}, [])


def _table_part(path: Path, wanted: Wanted, meter: Meter) -> Part:
    compared = {} if wanted.group_by is None else {"group_by": wanted.group_by}
    columns = {**(wanted.columns or {}), **compared}
    needed, further = (["image", "label"], ["group", *compared]) if wanted.labelled else (["image"], [])
    table = read_table(path, columns, needed, further)
    meter.expect(len(table.rows))
    paths, wrong = cells.paths(path, table.columns["image"])
    twice: list[int] = []
    if not wanted.labelled:
        labels, names, wrong_labels = np.zeros(len(table.rows), np.int32), [""], dict[int, str]()
    elif wanted.separator is None:
        labels, names, wrong_labels = cells.labels(table.columns["label"])
    else:
        labels, names, wrong_labels, twice = cells.label_sets(table.columns["label"], wanted.separator)
    malformed = {row: BadExample("malformed-row", message) for row, message in (wrong_labels | wrong).items()}
    part = _scan_files(str(path.resolve()), Files(paths, table.where), labels, names, meter, malformed)
    part = replace(part, bad=part.bad + [(None, problem) for problem in table.bad])
    part = replace(part, warnings=part.warnings + _repeated(part.images, twice))
    if wanted.group_by is not None:
        part = replace(part, compared=_compared(path, wanted.group_by, table.columns["group_by"]))
    if "group" not in table.columns:
        return part
    groups = _texts(table.columns["group"]).tolist()
    return replace(part, groups=cells.groups(groups, part.hashes), group_names=groups)


def _compared(path: Path, name: str, column: np.ndarray) -> np.ndarray:
    texts = _texts(column)
    different = len(set(texts.tolist()))
    if different > _MOST_GROUPS:
        raise DataError(
            f"{path} has {different:,} values in {name!r}, by which group_by would tell scores apart: "
            f"choose a column of at most {_MOST_GROUPS}."
        )
    return texts


def _texts(column: np.ndarray) -> np.ndarray:
    texts = np.empty(len(column), object)
    texts[:] = [printable(as_text(value).strip()) for value in column]
    return texts


def _repeated(images: Images, rows: list[int]) -> list[Problem]:
    if not rows:
        return []
    which = "this image" if len(rows) == 1 else f"{len(rows):,} images like this one"
    message = f"{which} {'has' if len(rows) == 1 else 'have'} a label twice: it counts once."
    return [Problem("warning", "repeated-label", images.where(rows[0]), message)]


def _scan_files(
    name: str,
    files: Files,
    labels: np.ndarray,
    names: list[str],
    meter: Meter,
    malformed: Mapping[int, BadExample] | None = None,
) -> Part:
    paths = files.paths
    found = scan(
        file_keys(paths.tolist()), lambda row: inspect(read_file(paths[row])), FACTS, f"image|{_VERSION}|{name}", meter
    )
    wrong = [
        _wrong_extension(files, row, int(found.facts[row, 3])) for row in range(len(paths)) if row not in found.bad
    ]
    warnings = [problem for problem in wrong if problem] + _ignored_orientation(files, found.facts)
    bad = _bad(files, {**found.bad, **(malformed or {})}, labels)
    return Part(files, labels, names, found.hashes, found.facts, bad, warnings=warnings)


def _bad(images: Images, found: Mapping[int, BadExample], labels: np.ndarray) -> list[tuple[int | None, Problem]]:
    bad: list[tuple[int | None, Problem]] = [
        (row, Problem("error", example.kind, images.where(row), example.message)) for row, example in found.items()
    ]
    empty = [row for row in missing(labels).tolist() if row not in found]
    return bad + [
        (row, Problem("error", "empty-label", images.where(row), "has no label: fill it in.")) for row in empty
    ]


def _wrong_extension(files: Files, row: int, code: int) -> Problem | None:
    claimed = claimed_format(files.paths[row])
    if claimed in (None, FORMATS[code]):
        return None
    return Problem(
        "warning", "wrong-extension", files.where(row), f"is {FORMATS[code]} inside, not {claimed}: rename it."
    )


def _ignored_orientation(images: Images, facts: np.ndarray) -> list[Problem]:
    rows = np.flatnonzero(facts[:, TURNED]).tolist()
    if not rows:
        return []
    which = "this one carries" if len(rows) == 1 else f"{len(rows):,} images like this one carry"
    message = f"{which} an EXIF orientation, which is obeyed in JPEG alone: turn the pixels themselves."
    return [Problem("warning", "orientation-ignored", images.where(rows[0]), message)]


def _read_tfds(source: Source, wanted: Wanted, meter: Meter) -> Reading:
    dataset = open_dataset(source.spec)
    image, label = records.features(dataset, wanted.columns)
    known = {SPLIT_NAMES.get(name, ""): name for name in dataset.splits}
    splits = {split: name for split, name in known.items() if split} if "train" in known else {}
    if not splits and len(dataset.splits) == 1:
        splits = {"train": next(iter(dataset.splits))}
    left = sorted(set(dataset.splits) - set(splits.values()))
    if not splits:
        raise DataError(f"{source.spec} has no train split: there are {', '.join(left)}.")
    meter.expect(sum(len(dataset.splits[name]) for name in splits.values()))
    parts = {}
    for split, name in splits.items():
        images, found, labels, names = records.scan_records(dataset, name, image, label, f"image|{_VERSION}", meter)
        facts, bad = found.facts[:, :FACTS], _bad(images, found.bad, labels)
        parts[split] = Part(
            images, labels, names, found.hashes, facts, bad, warnings=_ignored_orientation(images, facts)
        )
    notes = [Problem("warning", "not-read", source.spec, f"not read: the splits {', '.join(left)}.")] if left else []
    return Reading(source, parts, notes)


_READERS: dict[str, Callable[[Source, Wanted, Meter], Reading]] = {
    "sample": _read_sample,
    "arrays": _read_arrays,
    "idx": _read_idx,
    "folder": _read_folder,
    "table": _read_table,
    "tables": _read_tables,
    "tfds": _read_tfds,
}
