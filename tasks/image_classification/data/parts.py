"""A source read into parts, one for each split it brings: the images, their labels, and what a scan found out."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import DataError
from pipelines.sources import Source, locate
from pipelines.sources.arrays import read_pairs
from pipelines.sources.folders import SPLIT_NAMES, class_folders, split_tables
from pipelines.sources.idx import idx_pairs
from pipelines.sources.scan import Scan, content_hash, file_keys, scan
from pipelines.sources.tables import as_text, read_table
from pipelines.sources.tfds import open_dataset
from pipelines.task import Problem
from tasks.image_classification.data import arrays, records
from tasks.image_classification.data.inspection import FACTS, FORMATS, claimed_format, inspect, quiet_pillow, read_file
from tasks.image_classification.data.stores import Files, Images

_VERSION = 1
"""Of what the scan finds out: raise it when inspection changes, and old findings are no longer used."""


@dataclass(frozen=True)
class Part:
    """All examples of one split as a source gives it."""

    images: Images
    labels: np.ndarray
    """int32 [n], into names; -1 where there is none."""
    names: list[str]
    hashes: np.ndarray
    """uint64 [n]."""
    facts: np.ndarray
    """int64 [n, 4]: width, height, channels, format."""
    bad: list[tuple[int | None, Problem]]
    """Examples that cannot be used, by row; None where a malformed line of a table is not even a row."""
    groups: np.ndarray | None = None
    warnings: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class Reading:
    """What a source gives."""

    source: Source
    parts: dict[str, Part]
    """By split; train alone where the source brings no splits."""
    warnings: list[Problem]


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


def read_source(spec: str, columns: Mapping[str, str] | None, meter: Meter) -> Reading:
    """Read and scan a source, every image of it.

    Raises:
        DataError: the source as a whole cannot be used.
    """
    source = locate(spec)
    with quiet_pillow():
        return _READERS[source.kind](source, columns, meter)


def _read_sample(source: Source, columns: Mapping[str, str] | None, meter: Meter) -> Reading:
    del columns
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = np.round(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    return _from_arrays(source, {"train": (pixels, labels)}, "digits", meter)


def _read_arrays(source: Source, columns: Mapping[str, str] | None, meter: Meter) -> Reading:
    del columns
    return _from_arrays(source, read_pairs(source.path), source.path.name, meter)


def _read_idx(source: Source, columns: Mapping[str, str] | None, meter: Meter) -> Reading:
    del columns
    return _from_arrays(source, idx_pairs(source.path), source.path.name, meter)


def _from_arrays(source: Source, pairs: dict[str, tuple[np.ndarray, np.ndarray]], name: str, meter: Meter) -> Reading:
    images, note = arrays.as_pixels({split: x for split, (x, _) in pairs.items()}, name)
    meter.expect(sum(len(pixels.array) for pixels in images.values()))
    parts = {}
    for split, pixels in images.items():
        labels, names = arrays.as_labels(pairs[split][1], f"{name} {split}")
        count, height, width, channels = pixels.array.shape
        facts = np.broadcast_to(np.array([width, height, channels, -1]), (count, FACTS))
        parts[split] = Part(pixels, labels, names, arrays.hash_pixels(pixels.array, meter), facts, [])
    warnings = [Problem("warning", "converted", source.spec, note)] if note else []
    return Reading(source, parts, warnings)


def _read_folder(source: Source, columns: Mapping[str, str] | None, meter: Meter) -> Reading:
    del columns
    splits, notes = class_folders(source.path)
    meter.expect(sum(len(files.paths) for files in splits.values()))
    parts = {
        split: _scan_files(f"{source.path.resolve()}|{split}", Files(files.paths), files.labels, files.classes, meter)
        for split, files in splits.items()
    }
    return Reading(source, parts, [Problem("warning", "not-read", source.spec, note) for note in notes])


def _read_table(source: Source, columns: Mapping[str, str] | None, meter: Meter) -> Reading:
    return Reading(source, {"train": _table_part(source.path, columns, meter)}, [])


def _read_tables(source: Source, columns: Mapping[str, str] | None, meter: Meter) -> Reading:
    tables = split_tables(source.path)
    return Reading(source, {split: _table_part(path, columns, meter) for split, path in tables.items()}, [])


def _table_part(path: Path, columns: Mapping[str, str] | None, meter: Meter) -> Part:
    table = read_table(path, columns, ["image", "label"], ["group"])
    meter.expect(len(table.rows))
    files = Files(table_paths(path, table.columns["image"]), table.where)
    labels, names = arrays.factorize([as_text(value) for value in table.columns["label"]])
    part = _scan_files(str(path.resolve()), files, labels, names, meter)
    groups = None
    if "group" in table.columns:
        keys = (content_hash(as_text(value).encode()) for value in table.columns["group"])
        groups = np.fromiter(keys, np.uint64, len(labels)).view(np.int64)
    return replace(part, groups=groups, bad=part.bad + [(None, problem) for problem in table.bad])


def table_paths(table: Path, values: Iterable[Any]) -> np.ndarray:
    """object [n], of bytes: the files that a column names, relative to the table's folder; b'' where it names none.

    Raises:
        DataError: the column holds something else than paths.
    """
    paths = []
    folder = os.fsencode(table.parent)
    for value in values:
        if not isinstance(value, str | None):
            raise DataError(
                f"{table}: the image column holds {type(value).__name__} values, not paths: map another column."
            )
        name = value.encode("utf-8", "surrogateescape") if value else b""
        paths.append(os.path.normpath(os.path.join(folder, name)) if name else b"")
    column = np.empty(len(paths), object)
    column[:] = paths
    return column


def _scan_files(name: str, files: Files, labels: np.ndarray, names: list[str], meter: Meter) -> Part:
    paths = files.paths
    found = scan(
        file_keys(paths.tolist()), lambda row: inspect(read_file(paths[row])), FACTS, f"image|{_VERSION}|{name}", meter
    )
    warnings = [
        _wrong_extension(files, row, int(found.facts[row, 3])) for row in range(len(paths)) if row not in found.bad
    ]
    return Part(
        files, labels, names, found.hashes, found.facts, _bad(files, found, labels), None, [w for w in warnings if w]
    )


def _bad(images: Images, found: Scan, labels: np.ndarray) -> list[tuple[int | None, Problem]]:
    bad: list[tuple[int | None, Problem]] = [
        (row, Problem("error", example.kind, images.where(row), example.message)) for row, example in found.bad.items()
    ]
    empty = [row for row in np.flatnonzero(labels < 0).tolist() if row not in found.bad]
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


def _read_tfds(source: Source, columns: Mapping[str, str] | None, meter: Meter) -> Reading:
    dataset = open_dataset(source.spec)
    image, label = records.features(dataset, columns)
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
        parts[split] = Part(images, labels, names, found.hashes, found.facts[:, :FACTS], _bad(images, found, labels))
    notes = [Problem("warning", "not-read", source.spec, f"not read: the splits {', '.join(left)}.")] if left else []
    return Reading(source, parts, notes)


_READERS: dict[str, Callable[[Source, Mapping[str, str] | None, Meter], Reading]] = {
    "sample": _read_sample,
    "arrays": _read_arrays,
    "idx": _read_idx,
    "folder": _read_folder,
    "table": _read_table,
    "tables": _read_tables,
    "tfds": _read_tfds,
}
