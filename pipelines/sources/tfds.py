"""TensorFlow Datasets: the serialized records of each split, in random access, and what their features are.

ArrayRecord files are read by their own C++ reader, a batch in one call. TFRecord files have no index, so theirs is made
by one walk over the record headers; the files are then memory-mapped as they lie. Neither needs TensorFlow; only a data
set that has to be downloaded or written first does.
"""

import logging
import os
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipelines.console import is_terminal
from pipelines.errors import DataError
from pipelines.sources.scan import content_hash

_SPEC = re.compile(r"tfds:(?P<name>[a-z][a-z0-9_]*)(/(?P<config>[^:/]+))?(:(?P<version>\d+\.\d+\.\d+))?", re.IGNORECASE)
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_RETRIES = 5
"""Of a download, within some seconds."""


class Records(Protocol):
    """The serialized tf.train.Examples of one split."""

    def __len__(self) -> int: ...

    def read(self, indices: np.ndarray) -> list[bytes]:
        """The records at int64 [rows], in that order."""

    def keys(self) -> np.ndarray:
        """uint64 [n]: each record by file, size and time of change, and its place therein."""


@dataclass(frozen=True)
class Dataset:
    """A data set on disk."""

    name: str
    """NAME/CONFIG/VERSION."""
    folder: Path
    features: Any
    """tfds.features.FeaturesDict."""
    supervised: tuple[str, str] | None
    """The names of the feature to predict from and the one to predict, where the data set says."""
    splits: dict[str, Records]


def open_dataset(spec: str) -> Dataset:
    """The data set of tfds:NAME[/CONFIG][:VERSION]: as it lies on disk, or else downloaded and written as ArrayRecord.

    Raises:
        DataError: no such data set, or it is not on disk and cannot be had.
    """
    found = _SPEC.fullmatch(spec)
    if not found:
        raise DataError(f"{spec!r} is no TensorFlow data set: write tfds:NAME, tfds:NAME/CONFIG or tfds:NAME:1.0.0.")
    folder = _on_disk(found["name"], found["config"], found["version"]) or _download(
        spec, found["name"], found["config"], found["version"]
    )
    import tensorflow_datasets as tfds

    try:
        info = tfds.builder_from_directory(str(folder)).info
        splits = {name: _records(info.splits[name]) for name in info.splits}
    except (AssertionError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise DataError(f"{spec}: {folder} cannot be read: {_first_line(error)} Prepare the data set again.") from error
    supervised = info.supervised_keys
    return Dataset(
        info.full_name, folder, info.features, supervised if supervised and len(supervised) == 2 else None, splits
    )


def data_folder() -> Path:
    """Where TensorFlow Datasets keeps its data: $TFDS_DATA_DIR, or ~/tensorflow_datasets."""
    try:
        return Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets").expanduser()
    except RuntimeError as error:  # nobody's home
        raise DataError("no home folder to look for TensorFlow Datasets in: set TFDS_DATA_DIR.") from error


def is_image(feature: Any) -> bool:
    """Whether a feature holds one encoded image."""
    import tensorflow_datasets as tfds

    return isinstance(feature, tfds.features.Image)


def is_sound(feature: Any) -> bool:
    """Whether a feature holds one sound: its samples, or a sound file."""
    import tensorflow_datasets as tfds

    return isinstance(feature, tfds.features.Audio)


def is_text(feature: Any) -> bool:
    """Whether a feature holds one text, as it was written: not encoded as numbers, and no list of them."""
    import tensorflow_datasets as tfds

    return isinstance(feature, tfds.features.Tensor) and feature.shape == () and feature.np_dtype in (object, np.str_)


def parse(record: bytes) -> Mapping[str, Any]:
    """The features of a serialized example, each with bytes_list, int64_list and float_list.

    Raises:
        ValueError: it is damaged.
    """
    from tensorflow_datasets.proto import tf_example_pb2

    try:
        features: Mapping[str, Any] = tf_example_pb2.Example.FromString(record).features.feature
    except Exception as error:  # protobuf's DecodeError; protobuf has no types
        raise ValueError("no serialized example") from error
    return features


class ArrayRecords:
    """Records in ArrayRecord files."""

    def __init__(self, files: Sequence[str]) -> None:
        from array_record.python.array_record_module import ArrayRecordReader

        for file in files:
            os.stat(file)  # the reader says nothing of a file that is not there
        # No read-ahead: it would load a whole buffer for each record of a shuffled batch.
        self._readers = [
            ArrayRecordReader(file, options="readahead_buffer_size:0", file_reader_buffer_size=32768) for file in files
        ]
        self._files = files
        self._starts = np.cumsum([0] + [reader.num_records() for reader in self._readers])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read(self, indices: np.ndarray) -> list[bytes]:
        """The records at int64 [rows], in that order: one call for each file that holds some.

        Raises:
            DataError: a file is damaged.
        """
        shard = np.searchsorted(self._starts, indices, side="right") - 1
        records = np.empty(len(indices), object)
        for number in np.unique(shard):
            rows = np.flatnonzero(shard == number)
            records[rows] = self._some(number, (indices[rows] - self._starts[number]).tolist())
        return list(records)

    def _some(self, number: int, rows: list[int]) -> list[bytes]:
        try:
            records: list[bytes] = self._readers[number].read(rows)
        except RuntimeError as error:  # the reader's word for a check sum that differs
            raise DataError(f"{self._files[number]} is damaged: {_first_line(error)} Prepare it again.") from error
        return records

    def keys(self) -> np.ndarray:
        """uint64 [n]."""
        return _record_keys(self._files, np.diff(self._starts))


class TFRecords:
    """Records in TFRecord files, memory-mapped."""

    def __init__(self, files: Sequence[str]) -> None:
        self._files = files
        self._maps = [np.memmap(file, np.uint8, "r") for file in files if os.path.getsize(file)]
        spans = [
            _spans(file, data) for file, data in zip((f for f in files if os.path.getsize(f)), self._maps, strict=True)
        ]
        self._shard = np.repeat(np.arange(len(spans)), [len(span) for span in spans])
        self._spans = np.concatenate([*spans, np.zeros((0, 2), np.int64)])
        self._counts = np.array([len(span) for span in spans], np.int64)

    def __len__(self) -> int:
        return len(self._spans)

    def read(self, indices: np.ndarray) -> list[bytes]:
        """The records at int64 [rows], in that order."""
        places = zip(self._shard[indices].tolist(), self._spans[indices].tolist(), strict=True)
        return [self._maps[shard][start : start + length].tobytes() for shard, (start, length) in places]

    def keys(self) -> np.ndarray:
        """uint64 [n]."""
        return _record_keys([file for file in self._files if os.path.getsize(file)], self._counts)


def _on_disk(name: str, config: str | None, version: str | None) -> Path | None:
    folder = data_folder() / name
    if config:
        folder = folder / config
    if not folder.is_dir():
        return None
    if not _versions(folder, version):
        configs = sorted(path.name for path in folder.iterdir() if path.is_dir() and _versions(path, version))
        if len(configs) > 1:
            raise DataError(
                f"tfds:{name} is on disk in several configs ({', '.join(configs)}): name one, tfds:{name}/{configs[0]}."
            )
        if configs:
            folder = folder / configs[0]
    versions = _versions(folder, version)
    return folder / versions[-1] if versions else None


def _versions(folder: Path, version: str | None) -> list[str]:
    """Finished versions, oldest first."""
    there = [
        path.name
        for path in folder.iterdir()
        if _VERSION.fullmatch(path.name) and (path / "dataset_info.json").is_file()
    ]
    return sorted(
        (name for name in there if version in (None, name)), key=lambda name: [int(part) for part in name.split(".")]
    )


def _download(spec: str, name: str, config: str | None, version: str | None) -> Path:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import downloader

    # Without a network the default of 10 goes on for minutes, with a warning for each.
    downloader.MAX_RETRIES = _RETRIES
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    if not is_terminal():
        tfds.disable_progress_bar()
    full = name + (f"/{config}" if config else "") + (f":{version}" if version else "")
    try:
        builder = tfds.builder(full, data_dir=str(data_folder()), file_format="array_record", try_gcs=False)
        builder.download_and_prepare(file_format="array_record")
    except Exception as error:  # downloads and other people's builders fail in any way
        raise DataError(
            f"{spec} is not in {data_folder()} and could not be prepared: {type(error).__name__}: {_first_line(error)} "
            "Offline: prepare it where there is a network (tfds build) and copy its folder there, or set TFDS_DATA_DIR."
        ) from error
    return Path(str(builder.data_dir))


def _records(split: Any) -> Records:
    files = [os.fspath(file) for file in split.filepaths]
    if ".array_record" in Path(files[0]).name:
        return ArrayRecords(files)
    if ".tfrecord" in Path(files[0]).name:
        return TFRecords(files)
    raise ValueError(f"{files[0]} is neither ArrayRecord nor TFRecord.")


def _spans(file: str, data: np.ndarray) -> np.ndarray:
    """int64 [records, 2], start and length. A record: its length (8 bytes), a check sum (4), its bytes, another."""
    spans = []
    at, end = 0, len(data)
    view: memoryview = data.data
    while at < end:
        length = struct.unpack_from("<Q", view, at)[0] if at + 12 <= end else end
        if at + 16 + length > end:
            raise ValueError(f"{file} is cut short or damaged at byte {at:,}.")
        spans.append((at + 12, length))
        at += 16 + length
    return np.array(spans, np.int64).reshape(-1, 2)


def _record_keys(files: Sequence[str], counts: np.ndarray) -> np.ndarray:
    keys = []
    for file, count in zip(files, counts.tolist(), strict=True):
        status = os.stat(file)
        base = content_hash(f"{file}|{status.st_size}|{status.st_mtime_ns}".encode())
        keys.append(np.uint64(base) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return np.concatenate([*keys, np.zeros(0, np.uint64)])


def _first_line(error: Exception) -> str:
    line = (str(error).strip().partition("\n")[0] or type(error).__name__).strip()
    return line if line.endswith((".", "!", "?")) else f"{line}."
