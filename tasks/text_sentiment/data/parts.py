"""A source of texts read into parts, one for each split it brings: the texts, their labels, what is wrong with them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import DataError
from pipelines.labelled import cells
from pipelines.labelled.parts import Part, Wanted, bad_rows, completed, labels_of
from pipelines.readings import Meter, Reading, dataset_splits
from pipelines.sources import Source, locate
from pipelines.sources.archives import class_members
from pipelines.sources.folders import ClassFiles, class_folders, printable, split_tables
from pipelines.sources.scan import BadExample, content_hash
from pipelines.sources.tables import read_table
from pipelines.sources.texts import from_cell, from_file, read_file
from pipelines.sources.tfds import open_dataset
from pipelines.task import Problem
from tasks.text_sentiment.data import records, sample
from tasks.text_sentiment.data.header import positions
from tasks.text_sentiment.data.stores import Texts, as_column


@dataclass(frozen=True)
class TextsWanted(Wanted):
    """What is read of a source besides the texts, and how they are written."""

    encoding: str = "utf-8"


def read_source(spec: str, wanted: TextsWanted, meter: Meter) -> Reading[Part]:
    """Read a source, every text of it.

    Raises:
        DataError: the source as a whole cannot be used.
    """
    source = locate(spec)
    wanted.check(source)
    if source.kind not in _READERS:
        raise DataError(
            f"{spec} is of a kind ({source.kind}) that texts are not read from: give a table, a folder of classes, an "
            "archive of one, or a tfds data set."
        )
    return _READERS[source.kind](source, wanted, meter)


def _read_sample(source: Source, wanted: TextsWanted, meter: Meter) -> Reading[Part]:
    del wanted
    texts, labels = sample.sample()
    meter.expect(len(texts))
    codes, names = cells.factorize(labels)
    values = [text.encode() for text in texts]
    return Reading(source, {"train": _part(values, lambda row: f"sample[{row}]", codes, names, {}, meter)}, [])


def _read_table(source: Source, wanted: TextsWanted, meter: Meter) -> Reading[Part]:
    return _from_tables(source, {"train": source.path}, wanted, meter)


def _read_tables(source: Source, wanted: TextsWanted, meter: Meter) -> Reading[Part]:
    return _from_tables(source, split_tables(source.path), wanted, meter)


def _from_tables(source: Source, tables: dict[str, Path], wanted: TextsWanted, meter: Meter) -> Reading[Part]:
    """Without --columns, a table without a header is recognised, and said to be taken so."""
    warnings: list[Problem] = []
    if wanted.columns is None and wanted.group_by is None:
        found = positions(tables["train"], wanted.encoding)
        if found is not None:
            wanted = replace(wanted, columns=found)
            message = "has no header: column {text} is taken for the text, {label} for the label.".format(**found)
            warnings.append(Problem("warning", "no-header", str(tables["train"]), message))
    parts = {split: _table_part(path, wanted, meter) for split, path in tables.items()}
    return Reading(source, parts, warnings)


def _table_part(path: Path, wanted: TextsWanted, meter: Meter) -> Part:
    table = read_table(path, wanted.mapped(), *wanted.names("text"), encoding=wanted.encoding)
    meter.expect(len(table.rows))
    values, wrong = _checked(table.columns["text"], lambda cell: from_cell(cell, wanted.encoding))
    labels = labels_of(table, wanted)
    # A row of which nothing can be used is one problem, not two.
    part = _part(values, table.where, labels.codes, labels.names, {**labels.wrong, **wrong}, meter)
    return completed(part, table, wanted, labels)


def _read_folder(source: Source, wanted: TextsWanted, meter: Meter) -> Reading[Part]:
    splits, notes = class_folders(source.path)
    meter.expect(sum(len(files.paths) for files in splits.values()))
    parts = {split: _files_part(files, wanted, meter) for split, files in splits.items()}
    return Reading(source, parts, _notes(notes))


def _files_part(files: ClassFiles, wanted: TextsWanted, meter: Meter) -> Part:
    values, wrong = _checked(files.paths, lambda path: from_file(read_file(path), wanted.encoding))
    paths = [printable(path) for path in files.paths]
    return _part(values, paths.__getitem__, files.labels, files.classes, wrong, meter)


def _read_archive(source: Source, wanted: TextsWanted, meter: Meter) -> Reading[Part]:
    splits, notes = class_members(source.path)
    meter.expect(sum(len(members.contents) for members in splits.values()))
    parts = {}
    for split, members in splits.items():
        values, wrong = _checked(members.contents, lambda content: from_file(content, wanted.encoding))
        wrong = {**wrong, **members.bad}
        parts[split] = _part(values, members.names.__getitem__, members.labels, members.classes, wrong, meter)
    return Reading(source, parts, _notes(notes))


def _read_tfds(source: Source, wanted: TextsWanted, meter: Meter) -> Reading[Part]:
    dataset = open_dataset(source.spec)
    text, label = records.features(dataset, wanted.columns)
    splits, notes = dataset_splits(source, dataset)
    meter.expect(sum(len(dataset.splits[name]) for name in splits.values()))
    parts = {}
    for split, name in splits.items():
        contents, codes, names, damaged = records.read_records(dataset, name, text, label)
        values, wrong = _checked(contents, from_file)
        place = f"{dataset.name} {name}"
        parts[split] = _part(values, _numbered(place), codes, names, {**wrong, **damaged}, meter)
    return Reading(source, parts, notes)


def _numbered(name: str) -> Callable[[int], str]:
    return lambda row: f"{name}[{row}]"


def _checked(
    column: Sequence[Any] | np.ndarray, read: Callable[[Any], str]
) -> tuple[list[bytes], dict[int, BadExample]]:
    """Each text in UTF-8, b"" where there is none that can be used; and why, by row."""
    values: list[bytes] = []
    wrong: dict[int, BadExample] = {}
    for row, cell in enumerate(column):
        try:
            values.append(read(cell).encode("utf-8"))
        except BadExample as problem:
            values.append(b"")
            wrong[row] = problem
    return values, wrong


def _part(
    values: list[bytes],
    place: Callable[[int], str],
    labels: np.ndarray,
    names: list[str],
    wrong: dict[int, BadExample],
    meter: Meter,
) -> Part:
    items = Texts(as_column(values), place)
    hashes = np.fromiter((content_hash(value) for value in values), np.uint64, len(values))
    facts = np.array([[len(value.decode("utf-8"))] for value in values], np.int64).reshape(-1, 1)
    meter(len(values))
    return Part(items, labels, names, hashes, facts, bad_rows(items, wrong, labels))


def _notes(notes: Sequence[tuple[str, str]]) -> list[Problem]:
    return [Problem("warning", "not-read", where, note) for where, note in notes]


_READERS: dict[str, Callable[[Source, TextsWanted, Meter], Reading[Part]]] = {
    "sample": _read_sample,
    "table": _read_table,
    "tables": _read_tables,
    "folder": _read_folder,
    "archive": _read_archive,
    "tfds": _read_tfds,
}
