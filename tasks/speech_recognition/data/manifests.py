"""Manifests: tables whose rows name a sound file, what is said in it, and perhaps who speaks and when."""

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.labelled.parts import cell_texts, compared
from pipelines.sources.folders import printable, split_folders, split_tables
from pipelines.sources.paths import named_paths
from pipelines.sources.scan import BadExample
from pipelines.sources.tables import Table, as_text, peek, read_table, table_suffix
from tasks.speech_recognition.data.listed import Listed, Wanted, checked_texts
from tasks.speech_recognition.data.recordings import Files, as_column

_CALLED = {
    "audio": ("audio", "audio_filepath", "audio_path", "path", "file", "file_name", "filename", "wav"),
    "text": ("text", "transcript", "transcription", "sentence", "normalized_text"),
    "speaker": ("speaker", "speaker_id", "client_id", "spk_id"),
    "duration": ("duration", "seconds"),
    "offset": ("offset",),
    "group": ("group",),
}
"""What others call the columns: NeMo, Common Voice, Hugging Face; the first that is there is meant."""


def is_manifest(path: Path) -> bool:
    """Whether a path is that of a table, or of the .json that NeMo calls its JSON lines."""
    return bool(table_suffix(path)) or path.suffix.lower() == ".json"


def manifests(folder: Path) -> dict[str, Path]:
    """The manifests of a folder by split: one table a split; or, as Hugging Face has it, metadata.csv beside the sound,
    in folders of splits or in the one; none, empty."""
    if tables := split_tables(folder):
        return tables
    if found := _metadata(folder):
        return {"train": found}
    inside = sorted(name for name in os.listdir(folder) if (folder / name).is_dir())
    by_split = {split: _metadata(place) for split, place in split_folders(folder, inside).items()}
    return {split: path for split, path in by_split.items() if path is not None} if by_split.get("train") else {}


def columns_of(path: Path, wanted: Wanted) -> dict[str, str]:
    """The task's names -> the table's: as mapped, or as they are usually called."""
    names, _ = peek(path, wanted.encoding)
    found = dict(wanted.columns or {})
    for role, usual in _CALLED.items():
        known = next((name for name in usual if name in names and name not in found.values()), None)
        if role not in found and known is not None:
            found[role] = known
    return found


def list_manifest(path: Path, columns: dict[str, str], wanted: Wanted) -> Listed:
    """The clips of a manifest. Where it has an offset, clips are cut out of the files.

    Raises:
        DataError: it is damaged, or has no column of files or of transcripts.
    """
    group_by = {} if wanted.group_by is None else {"group_by": wanted.group_by}
    optional = ["speaker", "duration", "offset", "group", *group_by]
    table = read_table(path, {**columns, **group_by}, ["audio", "text"], optional, wanted.encoding)
    paths, no_path = named_paths(path, table.columns["audio"])
    paths = as_column([sound_path(path, sound) for sound in paths.tolist()])
    wrong = {row: BadExample("malformed-row", message) for row, message in no_path.items()}
    starts, seconds = _numbers(table, "offset", wrong), _numbers(table, "duration", wrong)
    texts, wrong = checked_texts(table.columns["text"].tolist(), wanted, wrong)
    cut = ~np.isnan(starts)
    return Listed(
        Files(paths, starts, np.where(cut, seconds, np.nan)),
        texts,
        wrong,
        lambda row: f"{table.where(row)} ({printable(paths[row])})" if paths[row] else table.where(row),
        np.where(cut, np.nan, seconds),
        _names(table, "speaker"),
        _names(table, "group"),
        None if wanted.group_by is None else compared(path, wanted.group_by, table.columns["group_by"]),
        table.bad,
    )


def sound_path(manifest: Path, sound: bytes) -> bytes:
    """Where a file lies that a manifest names beside itself: Common Voice has it in a folder clips there."""
    folder = os.fsencode(manifest.parent)
    inside = os.path.join(folder, b"clips", os.path.relpath(sound, folder)) if sound else b""
    return inside if inside and not os.path.exists(sound) and os.path.exists(inside) else sound


def _metadata(folder: Path) -> Path | None:
    there = (folder / f"metadata{suffix}" for suffix in (".csv", ".jsonl", ".parquet"))
    return next((path for path in there if path.is_file()), None)


def _numbers(table: Table, role: str, wrong: dict[int, BadExample]) -> np.ndarray:
    """float64 [n]: seconds of a column, NaN where a cell is empty; rows where it is no such number are added to
    wrong."""
    found = np.full(len(table.rows), np.nan)
    for row, value in enumerate(_column(table, role)):
        text = as_text(value).strip()
        if not text:
            continue
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or number < 0:
            message = f"has the {role} {text!r:.40}: seconds are a number that is not negative; mend the row."
            wrong.setdefault(row, BadExample("malformed-row", message))
        else:
            found[row] = number
    return found


def _names(table: Table, role: str) -> list[str] | None:
    return cell_texts(table.columns[role]).tolist() if role in table.columns else None


def _column(table: Table, role: str) -> Iterable[Any]:
    return table.columns.get(role, ())
