"""A source of translations read into parts, one for each split it brings: both sides, what is wrong with them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import DataError
from pipelines.labelled import cells
from pipelines.labelled.parts import cell_texts, compared
from pipelines.paired.parts import Part, joint_hashes
from pipelines.readings import Meter, Reading, dataset_splits
from pipelines.sources import Source, locate
from pipelines.sources.folders import split_tables
from pipelines.sources.scan import BadExample, content_hash
from pipelines.sources.tables import read_table
from pipelines.sources.texts import from_cell
from pipelines.sources.tfds import open_dataset
from tasks.translation.data import records, sample
from tasks.translation.data.aligned import Direction, by_split, corpora, corpus, read_lines
from tasks.translation.data.checks import Place, bad_pairs, far_lengths, oddities, word_counts
from tasks.translation.data.header import SIDES, Wanted, text_columns
from tasks.translation.data.stores import Pairs, as_column


def read_source(spec: str, wanted: Wanted, meter: Meter) -> Reading[Part]:
    """Read a source, every pair of it.

    Raises:
        DataError: the source as a whole cannot be used.
    """
    source = _located(spec)
    if source.kind not in _READERS:
        raise DataError(
            f"{spec} is of a kind ({source.kind}) that translations are not read from: give a folder of two aligned "
            "files (train.en, train.de), a table with both texts, or a tfds data set."
        )
    if wanted.group_by is not None and source.kind not in ("table", "tables"):
        raise DataError(f"group_by is for tables, and {spec} is none: list both texts in one.")
    return _READERS[source.kind](source, wanted, meter)


def _located(spec: str) -> Source:
    """As locate has it, but that a corpus may also be named by one of its files or by what their names begin with."""
    if not spec.startswith(("sample", "tfds:")) and corpus(spec):
        return Source(spec, "lines", Path(spec).expanduser())
    source = locate(spec)
    if source.kind == "sample" and spec != "sample":
        raise DataError(f"there is no built-in sample {spec!r}: there is one, sample.")
    return source


def _read_sample(source: Source, wanted: Wanted, meter: Meter) -> Reading[Part]:
    texts, about = sample.sample()
    meter.expect(len(about))
    given, found = wanted.direction, sample.LANGUAGES
    pair = (found[0], found[1]) if given == Direction() else given.among(found, "the sample")
    place: Place = "sample[{}]".format
    sides = _checked(texts[pair[0]]), _checked(texts[pair[1]])
    part = make_part(sides, (place, place), pair, wanted, meter)
    return Reading(source, {"train": replace(part, groups=cells.groups(about, part.hashes), group_names=about)}, [])


def _read_folder(source: Source, wanted: Wanted, meter: Meter) -> Reading[Part]:
    stems = corpora(source.path)
    if not stems:
        raise DataError(
            f"{source.path} holds no two files whose names differ by the language alone, as train.en and train.de: "
            "name them so, or give a table."
        )
    pair = wanted.direction.among(_languages(stems.values()), str(source.path))
    files, warnings = by_split(stems, source.path, pair)
    return Reading(source, {split: _files_part(*both, pair, wanted, meter) for split, both in files.items()}, warnings)


def _read_table(source: Source, wanted: Wanted, meter: Meter) -> Reading[Part]:
    return _from_tables(source, {"train": source.path}, wanted, meter)


def _read_tables(source: Source, wanted: Wanted, meter: Meter) -> Reading[Part]:
    return _from_tables(source, split_tables(source.path), wanted, meter)


def _from_tables(source: Source, tables: dict[str, Path], wanted: Wanted, meter: Meter) -> Reading[Part]:
    columns, pair = text_columns(tables["train"], wanted)
    return Reading(source, {name: _table_part(path, columns, pair, wanted, meter) for name, path in tables.items()}, [])


def _table_part(path: Path, columns: dict[str, str], pair: tuple[str, str], wanted: Wanted, meter: Meter) -> Part:
    group_by = {} if wanted.group_by is None else {"group_by": wanted.group_by}
    table = read_table(path, {**columns, **group_by}, SIDES, ["group", *group_by], wanted.encoding)
    meter.expect(len(table.rows))
    sides = tuple(_checked(table.columns[side].tolist(), encoding=wanted.encoding) for side in SIDES)
    part = make_part((sides[0], sides[1]), (table.where, table.where), pair, wanted, meter)
    part = replace(part, bad=[*part.bad, *((None, problem) for problem in table.bad)])
    if wanted.group_by is not None:
        part = replace(part, compared=compared(path, wanted.group_by, table.columns["group_by"]))
    if "group" not in table.columns:
        return part
    names = cell_texts(table.columns["group"]).tolist()
    return replace(part, groups=cells.groups(names, part.inputs), group_names=names)


def _read_tfds(source: Source, wanted: Wanted, meter: Meter) -> Reading[Part]:
    dataset = open_dataset(source.spec)
    pair = records.features(dataset, wanted.columns, wanted.direction)
    splits, notes = dataset_splits(source, dataset)
    meter.expect(sum(len(dataset.splits[name]) for name in splits.values()))
    parts = {}
    for split, name in splits.items():
        (sources, targets), damaged = records.read_records(dataset, name, pair)
        place: Place = f"{dataset.name} {name}[{{}}]".format
        sides = _checked(sources.tolist(), damaged), _checked(targets.tolist(), damaged)
        languages = (records.language(pair[0]), records.language(pair[1]))
        parts[split] = make_part(sides, (place, place), languages, wanted, meter)
    return Reading(source, parts, notes)


def _read_files(source: Source, wanted: Wanted, meter: Meter) -> Reading[Part]:
    files = corpus(source.spec)
    pair = wanted.direction.among(sorted(files), source.spec)
    return Reading(source, {"train": _files_part(files[pair[0]], files[pair[1]], pair, wanted, meter)}, [])


def _files_part(source: Path, target: Path, pair: tuple[str, str], wanted: Wanted, meter: Meter) -> Part:
    sources, targets = (read_lines(path, wanted.encoding) for path in (source, target))
    if len(sources[0]) != len(targets[0]):
        raise DataError(
            f"{source} has {len(sources[0]):,} lines and {target} {len(targets[0]):,}: line for line one must "
            "translate the other; give the files as they belong together."
        )
    meter.expect(len(sources[0]))
    places = (_numbered(source), _numbered(target))
    return make_part((_checked(*sources), _checked(*targets)), places, pair, wanted, meter)


Side = tuple[list[str], dict[int, BadExample]]
"""Texts, '' where there is none that can be used; and why, by row."""


def make_part(
    sides: tuple[Side, Side], places: tuple[Place, Place], pair: tuple[str, str], wanted: Wanted, meter: Meter
) -> Part:
    """Both sides put together and judged."""
    (source, no_source), (target, no_target) = sides
    columns = [as_column([text.encode() for text in texts]) for texts in (source, target)]
    inputs = np.fromiter(map(content_hash, columns[0]), np.uint64, len(columns[0]))
    words = word_counts(source, target)
    bad = bad_pairs((no_source, no_target), places) + far_lengths(words, wanted.longest_ratio, places)
    items = Pairs(columns[0], columns[1], places[0], pair)
    warnings = oddities(source, target, places)
    meter(len(inputs))
    return Part(items, inputs, joint_hashes(inputs, columns[1].tolist()), words, bad, warnings=warnings)


def _checked(values: Sequence[Any], wrong: Mapping[int, BadExample] | None = None, encoding: str = "utf-8") -> Side:
    """Texts without the blanks around them; what is known to be wrong stays so."""
    texts, found = [], dict(wrong or {})
    for row, value in enumerate(values):
        text = ""
        try:
            text = text if row in found else from_cell(value, encoding).strip()
        except BadExample as problem:
            found[row] = problem
        texts.append(text)
    return texts, found


def _numbered(path: Path) -> Place:
    return lambda row: f"{path} line {row + 1}"


def _languages(stems: Any) -> list[str]:
    return sorted({language for files in stems for language in files})


_READERS: dict[str, Callable[[Source, Wanted, Meter], Reading[Part]]] = {
    "sample": _read_sample,
    "folder": _read_folder,
    "lines": _read_files,
    "table": _read_table,
    "tables": _read_tables,
    "tfds": _read_tfds,
}
