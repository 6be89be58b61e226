"""A source read into parts, one for each split it brings: the images, their labels, and what a scan found out."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from pipelines.errors import DataError
from pipelines.labelled.parts import Part, Wanted, bad_rows, completed, labels_of
from pipelines.readings import Meter, Reading, dataset_splits
from pipelines.sources import Source, locate
from pipelines.sources.arrays import read_pairs
from pipelines.sources.folders import class_folders, files_below, printable, split_tables
from pipelines.sources.idx import idx_pairs
from pipelines.sources.paths import named_paths
from pipelines.sources.scan import BadExample, file_keys, scan
from pipelines.sources.tables import read_table
from pipelines.sources.tfds import open_dataset
from pipelines.task import Problem
from tasks.image_classification.data import arrays, records
from tasks.image_classification.data.inspection import (
    FACTS,
    FORMATS,
    TURNED,
    claimed_format,
    inspect,
    quiet_pillow,
    read_file,
)
from tasks.image_classification.data.sample import sample
from tasks.image_classification.data.stores import Files, Images

_VERSION = 2
"""Of what the scan finds out: raise it when inspection changes, and old findings are no longer used."""


def read_source(spec: str, wanted: Wanted, meter: Meter) -> Reading[Part]:
    """Read and scan a source, every image of it.

    Raises:
        DataError: the source as a whole cannot be used.
    """
    source = locate(spec)
    wanted.check(source)
    if source.kind not in _READERS:
        raise DataError(f"{spec} is of a kind ({source.kind}) that images are not read from: unpack it first.")
    with quiet_pillow():
        return _READERS[source.kind](source, wanted, meter)


def _read_sample(source: Source, wanted: Wanted, meter: Meter) -> Reading[Part]:
    del wanted
    return _from_arrays(source, {"train": sample()}, "digits", meter)


def _read_arrays(source: Source, wanted: Wanted, meter: Meter) -> Reading[Part]:
    del wanted
    return _from_arrays(source, read_pairs(source.path), printable(source.path.name), meter)


def _read_idx(source: Source, wanted: Wanted, meter: Meter) -> Reading[Part]:
    del wanted
    return _from_arrays(source, idx_pairs(source.path), printable(source.path.name), meter)


def _from_arrays(
    source: Source, pairs: dict[str, tuple[np.ndarray, np.ndarray]], name: str, meter: Meter
) -> Reading[Part]:
    images, notes = arrays.as_pixels({split: x for split, (x, _) in pairs.items()}, name)
    meter.expect(sum(len(pixels.array) for pixels in images.values()))
    parts = {}
    for split, pixels in images.items():
        labels, names = arrays.as_labels(pairs[split][1], f"{name} {split}")
        count, height, width, channels = pixels.array.shape
        facts = np.broadcast_to(np.array([width, height, channels, -1, 0]), (count, FACTS))
        hashes = arrays.hash_pixels(pixels.array, meter)
        parts[split] = Part(pixels, labels, names, hashes, facts, bad_rows(pixels, {}, labels))
    return Reading(source, parts, [Problem("warning", kind, source.spec, note) for kind, note in notes])


def _read_folder(source: Source, wanted: Wanted, meter: Meter) -> Reading[Part]:
    if not wanted.labelled:
        return _read_files(source, meter)
    splits, notes = class_folders(source.path)
    meter.expect(sum(len(files.paths) for files in splits.values()))
    parts = {
        split: _scan_files(f"{source.path.resolve()}|{split}", Files(files.paths), files.labels, files.classes, meter)
        for split, files in splits.items()
    }
    return Reading(source, parts, [Problem("warning", "not-read", where, note) for where, note in notes])


def _read_files(source: Source, meter: Meter) -> Reading[Part]:
    """All files anywhere below a folder, of one nameless class."""
    paths, place = files_below(source.path)
    meter.expect(len(paths))
    part = _scan_files(f"{place.resolve()}|", Files(paths), np.zeros(len(paths), np.int32), [""], meter)
    return Reading(source, {"train": part}, [])


def _read_table(source: Source, wanted: Wanted, meter: Meter) -> Reading[Part]:
    return Reading(source, {"train": _table_part(source.path, wanted, meter)}, [])


def _read_tables(source: Source, wanted: Wanted, meter: Meter) -> Reading[Part]:
    tables = split_tables(source.path)
    return Reading(source, {split: _table_part(path, wanted, meter) for split, path in tables.items()}, [])


def _table_part(path: Path, wanted: Wanted, meter: Meter) -> Part:
    table = read_table(path, wanted.mapped(), *wanted.names("image"))
    meter.expect(len(table.rows))
    paths, wrong = named_paths(path, table.columns["image"])
    labels = labels_of(table, wanted)
    malformed = labels.wrong | {row: BadExample("malformed-row", message) for row, message in wrong.items()}
    files = Files(paths, table.where)
    part = _scan_files(str(path.resolve()), files, labels.codes, labels.names, meter, malformed)
    return completed(part, table, wanted, labels)


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
    bad = bad_rows(files, {**found.bad, **(malformed or {})}, labels)
    return Part(files, labels, names, found.hashes, found.facts, bad, warnings=warnings)


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


def _read_tfds(source: Source, wanted: Wanted, meter: Meter) -> Reading[Part]:
    dataset = open_dataset(source.spec)
    image, label = records.features(dataset, wanted.columns)
    splits, notes = dataset_splits(source, dataset)
    meter.expect(sum(len(dataset.splits[name]) for name in splits.values()))
    parts = {}
    for split, name in splits.items():
        images, found, labels, names = records.scan_records(dataset, name, image, label, f"image|{_VERSION}", meter)
        facts, bad = found.facts[:, :FACTS], bad_rows(images, found.bad, labels)
        parts[split] = Part(
            images, labels, names, found.hashes, facts, bad, warnings=_ignored_orientation(images, facts)
        )
    return Reading(source, parts, notes)


_READERS: dict[str, Callable[[Source, Wanted, Meter], Reading[Part]]] = {
    "sample": _read_sample,
    "arrays": _read_arrays,
    "idx": _read_idx,
    "folder": _read_folder,
    "table": _read_table,
    "tables": _read_tables,
    "tfds": _read_tfds,
}
