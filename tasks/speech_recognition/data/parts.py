"""A source of speech read into parts, one for each split it brings: every clip listened to, what is wrong with them."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipelines.errors import DataError
from pipelines.labelled import cells
from pipelines.paired.parts import Part, joint_hashes
from pipelines.readings import Meter, Reading, dataset_splits
from pipelines.sources import Source, locate
from pipelines.sources.scan import Scan, scan
from pipelines.sources.tfds import open_dataset
from pipelines.task import Problem
from tasks.speech_recognition.alphabet import characters
from tasks.speech_recognition.data import records, sample
from tasks.speech_recognition.data.checks import misfits, oddities
from tasks.speech_recognition.data.corpora import Found, list_folder
from tasks.speech_recognition.data.listed import Listed, Wanted, checked_texts
from tasks.speech_recognition.data.listening import CHANNELS, FACTS, FRAMES, RATE, listen
from tasks.speech_recognition.data.manifests import columns_of, is_manifest, list_manifest, manifests
from tasks.speech_recognition.data.recordings import Files, as_column
from tasks.speech_recognition.data.stores import Clips

_VERSION = 3
"""Of what is found out by listening."""
_FEW = 3
"""Fewer speakers could not each stand in one split alone."""


def read_source(spec: str, wanted: Wanted, meter: Meter) -> Reading[Part]:
    """Read a source, every clip of it.

    Raises:
        DataError: the source as a whole cannot be used.
    """
    source = _located(spec)
    if source.kind == "sample" and spec != "sample":
        raise DataError(f"there is no built-in sample {spec!r}: there is one, sample.")
    if source.kind not in _LISTERS:
        kind = "one file" if source.kind == "lines" else f"of a kind ({source.kind})"
        raise DataError(
            f"{spec} is {kind} that speech is not read from: give a manifest (a table that names "
            "sound files and what is said in them), a folder of LibriSpeech's or Kaldi's form or of sound files with "
            "their texts beside them, or a tfds data set."
        )
    if wanted.group_by is not None and source.kind not in ("table", "tables"):
        raise DataError(f"group_by is for tables, and {spec} is none: list the clips in one.")
    listed, warnings = _LISTERS[source.kind](source, wanted)
    meter.expect(sum(len(each.texts) for each in listed.values()))
    parts = {
        split: make_part(each, wanted, f"{source.path.resolve()}|{split}", meter) for split, each in listed.items()
    }
    return Reading(source, parts, warnings)


def _located(spec: str) -> Source:
    """As locate has it, but that a manifest may also be a .json, and a folder hold some of other names."""
    path = Path(spec).expanduser()
    if is_manifest(path) and path.is_file():
        return Source(spec, "table", path)
    source = locate(spec, lines=True)
    return replace(source, kind="tables") if source.kind == "folder" and manifests(path) else source


def make_part(listed: Listed, wanted: Wanted, name: str, meter: Meter) -> Part:
    """Clips as a source lists them, listened to and judged.

    Args:
        listed: of one split.
        wanted: how they are judged.
        name: of what is found out, by which it is known again.
        meter: told of every clip.
    """

    def inspect(row: int) -> tuple[int, tuple[int, ...]]:
        with listed.recordings.opened(row) as sound:
            return listen(sound)

    found = scan(listed.recordings.keys(), inspect, FACTS, f"speech|{_VERSION}|{name}", meter)
    clips = _clips(listed, found)
    # A row of which nothing can be used is one problem, not two.
    wrong = {**found.bad, **listed.wrong}
    bad: list[tuple[int | None, Problem]] = [
        (row, Problem("error", example.kind, clips.where(row), example.message)) for row, example in wrong.items()
    ]
    claimed = np.full(len(clips.texts), np.nan) if listed.claimed is None else listed.claimed
    heard = [row for row in range(len(clips.texts)) if row not in wrong]
    bad += misfits(clips, heard, claimed, wanted.least, wanted.stride)
    bad = sorted(bad, key=lambda one: one[0] or 0)
    bad += [(None, problem) for problem in listed.malformed]
    hashes = joint_hashes(found.hashes, [text.encode() for text in listed.texts])
    groups, names = _groups(listed, found.hashes)
    warnings = [*listed.warnings, *oddities(clips, found.facts)]
    return Part(clips, found.hashes, hashes, _facts(clips, found), bad, groups, names, listed.compared, warnings)


def _clips(listed: Listed, found: Scan) -> Clips:
    frames, rates = found.facts[:, FRAMES], found.facts[:, RATE]
    speakers = listed.speakers or [""] * len(listed.texts)
    seconds = frames / np.maximum(rates, 1)
    return Clips(listed.recordings, as_column(listed.texts), as_column(speakers), seconds, rates, listed.place)


def _facts(clips: Clips, found: Scan) -> np.ndarray:
    """int64 [n, 4]: microseconds, rate, channels, characters."""
    length = [len(characters(text)) for text in clips.texts]
    micro = np.rint(clips.seconds * 1e6).astype(np.int64)
    return np.stack([micro, clips.rates, found.facts[:, CHANNELS], np.array(length, np.int64)], axis=1)


def _groups(listed: Listed, hashes: np.ndarray) -> tuple[np.ndarray | None, list[str]]:
    """What stays together, and its names: as a manifest has it, else the speakers, where there are some."""
    names = listed.groups or listed.speakers or []
    enough = listed.groups is not None or len(set(names) - {""}) >= _FEW
    return (cells.groups(names, hashes) if names and enough else None), names


def _list_sample(source: Source, wanted: Wanted) -> Found:
    """No row of digits is said in two splits."""
    spoken = sample.sample()
    texts, wrong = checked_texts([clip.text for clip in spoken], wanted)
    starts, samples = (np.array([getattr(clip, name) for clip in spoken]) for name in ("start", "samples"))
    files = Files(as_column([os.fsencode(sample.SOUND)] * len(spoken)), starts / sample.RATE, samples / sample.RATE)
    speakers = [clip.speaker for clip in spoken]
    return {"train": Listed(files, texts, wrong, "sample[{}]".format, speakers=speakers, groups=texts)}, []


def _list_table(source: Source, wanted: Wanted) -> Found:
    return {"train": list_manifest(source.path, columns_of(source.path, wanted), wanted)}, []


def _list_tables(source: Source, wanted: Wanted) -> Found:
    tables = manifests(source.path)
    return {split: list_manifest(path, columns_of(path, wanted), wanted) for split, path in tables.items()}, []


def _list_folder(source: Source, wanted: Wanted) -> Found:
    return list_folder(source.path, wanted)


def _list_tfds(source: Source, wanted: Wanted) -> Found:
    dataset = open_dataset(source.spec)
    of = records.features(dataset, wanted.columns)
    splits, notes = dataset_splits(source, dataset)
    return {split: records.list_records(dataset, name, of, wanted) for split, name in splits.items()}, notes


_LISTERS: dict[str, Callable[[Source, Wanted], Found]] = {
    "sample": _list_sample,
    "table": _list_table,
    "tables": _list_tables,
    "folder": _list_folder,
    "tfds": _list_tfds,
}
