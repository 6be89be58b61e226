"""Folders: one folder a class, with or without train, valid and test above; and folders of one table a split."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.tables import table_suffix

SPLIT_NAMES = {
    "train": "train",
    "val": "valid",
    "valid": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
}
_T = TypeVar("_T")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LITTER = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass(frozen=True)
class ClassFiles:
    """The files of one split, in a fixed order."""

    paths: np.ndarray
    """object [n], of bytes: file names need not be UTF-8."""
    labels: np.ndarray
    """int32 [n], into classes."""
    classes: list[str]


def class_folders(root: Path) -> tuple[dict[str, ClassFiles], list[tuple[str, str]]]:
    """The files below root/CLASS/ or root/SPLIT/CLASS/ by split (or train alone); and (where, what) was not read.

    Raises:
        DataError: no folder of a class, or no file in any.
    """
    folders = _folders(root)
    splits = split_folders(root, folders)
    notes = _beside(root, [name for name in folders if root / name not in splits.values()]) if splits else []
    files = {}
    for split, folder in (splits or {"train": root}).items():
        inside = _folders(folder)
        files[split] = _class_files(folder, [name for name in inside if not is_unlabelled(name)])
        notes += _beside(folder, list(filter(is_unlabelled, inside)))
    return files, notes


def files_below(root: Path) -> tuple[np.ndarray, Path]:
    """Every file anywhere below a folder, object [n], of bytes; and where that is: its folder of the train split, where
    it has splits.

    Raises:
        DataError: there is none.
    """
    start = split_folders(root, _folders(root)).get("train", root)
    found = [os.fsencode(path) for path in walk(start)]
    if not found:
        raise DataError(f"{start} holds no file: nothing to read.")
    column = np.empty(len(found), object)
    column[:] = found
    return column, start


def split_tables(root: Path) -> dict[str, Path]:
    """train.csv, val.csv, test.csv and the like by split; empty where there is no table of train.

    Raises:
        DataError: two tables of one split.
    """
    tables: dict[str, Path] = {}
    for name in sorted(os.listdir(root)):
        path = root / name
        suffix = table_suffix(path)
        split = SPLIT_NAMES.get(name[: len(name) - len(suffix)].lower()) if suffix else None
        if split is None or not path.is_file():
            continue
        if split in tables:
            raise DataError(f"{root} holds two tables of the {split} split, {tables[split].name} and {name}: keep one.")
        tables[split] = path
    return tables if "train" in tables else {}


def split_folders(root: Path, folders: list[str]) -> dict[str, Path]:
    """By split. Only a folder named train makes the others splits: test alone may well be a class.

    Raises:
        DataError: two folders of one split.
    """
    splits: dict[str, Path] = {}
    if "train" not in map(str.lower, folders):
        return splits
    for name in folders:
        split = SPLIT_NAMES.get(name.lower())
        if split in splits:
            raise DataError(
                f"{root} holds two folders of the {split} split, {splits[split].name} and {name}: keep one."
            )
        if split:
            splits[split] = root / name
    return splits


def walk(root: Path | str) -> Iterator[str]:
    """Every file below a folder, sorted, hidden files and litter left out; links are followed, loops are not."""
    yield from _walk(os.fspath(root), ())


def is_litter(name: str) -> bool:
    """Whether a file manager left the file behind, or it is hidden."""
    return name.startswith(".") or name.lower() in _LITTER


def class_names(root: Path, folders: list[str]) -> list[str]:
    """The folders' names for people.

    Raises:
        DataError: two of them show alike.
    """
    shown = [printable(name) for name in folders]
    if len(set(shown)) < len(shown):
        twice = next(name for name in shown if shown.count(name) > 1)
        raise DataError(
            f"{root} holds two folders whose names, which are not UTF-8, both show as {twice}: rename them."
        )
    return shown


def is_unlabelled(name: str) -> bool:
    """Whether a folder beside those of the classes says that its files are of none, as in aclImdb/train/unsup."""
    return name.lower() == "unsup"


def not_read(folder: Path, names: list[str]) -> list[tuple[str, str]]:
    """Of what lies beside the folders that are read, where and a sentence; nothing of nothing."""
    if not names:
        return []
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return [(printable(str(folder)), printable(f"not read: {shown} ({len(names)} beside the folders)."))]


def printable(text: str | bytes) -> str:
    """A name for people and for JSON: what is not UTF-8 in it shows as a replacement character."""
    return _SURROGATE.sub("\ufffd", text) if isinstance(text, str) else text.decode("utf-8", "replace")


def _walk(folder: str, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    status = _readable(folder, os.stat)
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for name, is_folder in _entries(folder):
        path = os.path.join(folder, name)
        if is_folder:
            yield from _walk(path, (*above, here))
        else:
            yield path


def _entries(folder: Path | str) -> list[tuple[str, bool]]:
    """What a folder holds, sorted, litter left out: (name, whether it is a folder)."""
    with _readable(folder, os.scandir) as entries:
        return sorted((entry.name, _is_folder(entry)) for entry in entries if not is_litter(entry.name))


def _readable(folder: Path | str, call: Callable[[Path | str], _T]) -> _T:
    try:
        return call(folder)
    except OSError as error:
        reason = "the permission is missing" if isinstance(error, PermissionError) else error.strerror
        raise DataError(f"{folder} cannot be read: {reason}.") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: no folder, and whoever opens it says why not
        return False


def _folders(root: Path) -> list[str]:
    return [name for name, is_folder in _entries(root) if is_folder]


def _class_files(root: Path, classes: list[str]) -> ClassFiles:
    if not classes:
        raise DataError(f"{root} holds no folders: put the files of each class into a folder named after it.")
    paths: list[bytes] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        files = [os.fsencode(path) for path in walk(root / name)]
        paths += files
        labels += [label] * len(files)
    if not paths:
        raise DataError(f"{root} holds folders and no file in any of them: nothing to read.")
    shown = class_names(root, classes)
    column = np.empty(len(paths), object)
    column[:] = paths
    return ClassFiles(column, np.array(labels, np.int32), shown)


def _beside(folder: Path, others: list[str]) -> list[tuple[str, str]]:
    return not_read(folder, others + [name for name, is_folder in _entries(folder) if not is_folder])
