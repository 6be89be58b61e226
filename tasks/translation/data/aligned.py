"""Two files whose lines translate each other, as train.en and train.de: which of them there are, and their lines.

Only LF and CRLF end a line. What else Unicode calls a line separator is text, as in the tools that wrote these files.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import AnyStr

from pipelines.errors import DataError
from pipelines.sources.folders import SPLIT_NAMES, is_litter, not_read
from pipelines.sources.scan import BadExample
from pipelines.sources.tables import binary, table_suffix, translated
from pipelines.sources.texts import decode, is_narrow, misfit, utf16_or_32
from pipelines.splits import SPLITS
from pipelines.task import Problem

_LANGUAGE = re.compile(r"[a-z]{2,3}([-_][a-z0-9]{2,8})*", re.IGNORECASE)
_OTHER = {
    *("bin", "bz2", "cfg", "csv", "gz", "idx", "ini", "log", "md", "npy", "npz", "pdf"),
    *("py", "rst", "sgm", "sh", "tar", "tgz", "tmx", "tsv", "xml", "xz", "yml", "zip"),
}
"""Endings that may look like a language and are none."""
_PLAIN = (".gz", ".txt")
"""What may stand behind the language."""
_SHOWN = 6

Stems = dict[str, dict[str, Path]]
"""The name without its language -> language -> file."""


@dataclass(frozen=True)
class Direction:
    """What is translated to what, as far as somebody said."""

    source: str | None = None
    target: str | None = None

    def among(self, found: list[str], where: str) -> tuple[str, str]:
        """Source and target of the languages that are there.

        Raises:
            DataError: one that is asked for is not, or it stays open which are meant.
        """
        there = " and ".join(found) if len(found) == 2 else ", ".join(found)
        for option, language in (("source-lang", self.source), ("target-lang", self.target)):
            if language is not None and language not in found:
                raise DataError(f"{where} holds {there}, not {language}: give another --{option}.")
        if self.source is not None and self.source == self.target:
            raise DataError(f"{self.source} is given as source-lang and as target-lang: name two languages.")
        left = [language for language in found if language not in (self.source, self.target)]
        if self.source is not None and self.target is not None:
            return self.source, self.target
        if len(left) == 1:
            return self.source or left[0], self.target or left[0]
        remedy = f"give --source-lang {self.source or left[0]} --target-lang {self.target or left[-1]}"
        turned = ", or the other way round" if self.source == self.target else ", or another"
        raise DataError(f"{where} holds {there}, and nothing says which is translated to which: {remedy}{turned}.")


def corpora(folder: Path) -> Stems:
    """The corpora of a folder that are there in two languages or more.

    Raises:
        DataError: a file lies there twice, as train.en and train.en.gz.
    """
    found: Stems = {}
    for name in sorted(os.listdir(folder)):
        stem, language = _parted(name)
        if not language or is_litter(name) or not (folder / name).is_file():
            continue
        if language in (files := found.setdefault(stem, {})):
            raise DataError(f"{folder} holds {files[language].name} and {name}, the same twice: keep one.")
        files[language] = folder / name
    return {stem: files for stem, files in found.items() if len(files) > 1}


def corpus(spec: str) -> dict[str, Path]:
    """The files by language of a corpus named by one of them, or by what their names begin with (FOLDER/train); empty
    where it is neither."""
    path = Path(spec).expanduser()
    if path.is_dir() or table_suffix(path) or not path.parent.is_dir():
        return {}
    found = corpora(path.parent)
    return found.get(path.name) or found.get(_parted(path.name)[0], {})


def by_split(stems: Stems, folder: Path, pair: tuple[str, str]) -> tuple[dict[str, tuple[Path, Path]], list[Problem]]:
    """Source and target file of each split; train alone where no name says a split. Of several corpora of one split the
    one is read that is called so, or the first by name, and a warning says which.

    Raises:
        DataError: there is nothing to train on, or several corpora that may be meant.
    """
    splits: dict[str, list[str]] = {}
    for stem, files in stems.items():
        if pair[0] in files and pair[1] in files:
            splits.setdefault(_split(stem), []).append(stem)
    others = splits.pop("", [])
    if "train" not in splits and len(others) == 1:
        splits["train"], others = others, []
    if "train" not in splits:
        there = [*others, *(stem for known in splits.values() for stem in known)]
        which = ", ".join(there[:_SHOWN])
        raise DataError(f"{folder} holds {which}, none of them called train: name one, as {folder / there[0]}.")
    read, warnings = {}, []
    for split in (name for name in SPLITS if name in splits):
        known = splits[split]
        first = min(known, key=lambda stem: (stem.lower() not in SPLIT_NAMES, stem))
        read[split] = (stems[first][pair[0]], stems[first][pair[1]])
        if len(known) > 1:
            left = ", ".join(stem for stem in known if stem != first)
            option = "data" if split == "train" else split
            message = f"several of the {split} split: {first} is read, not {left}; another is named with --{option}."
            warnings.append(Problem("warning", "not-read", str(folder), message))
    warnings += [Problem("warning", "not-read", *note) for note in not_read(folder, _beside(folder, read))]
    return read, warnings


def read_lines(path: Path, encoding: str) -> tuple[list[str], dict[int, BadExample]]:
    """The lines of a text file, without what ends them, '' where one does not decode; and why, by row.

    Raises:
        DataError: it cannot be read, is empty or of an encoding whose lines cannot be told.
    """
    with translated(path), binary(path, path.name.lower().endswith(".gz")) as file:
        data = file.read()
    if not data:
        raise DataError(f"{path} is empty: nothing to read.")
    if is_narrow(encoding) and (marked := utf16_or_32(data[:4])):
        raise DataError(f"{path} is {marked.upper()}: save it as UTF-8, or give --encoding {marked}.")
    try:
        return [line.removesuffix("\r") for line in _cut(decode(data, encoding), "\n")], {}
    except UnicodeDecodeError as error:
        if not is_narrow(encoding):
            raise DataError(f"{path} {misfit(error, encoding)}") from error
    return _line_by_line(_cut(data, b"\n"), encoding)


def _line_by_line(lines: list[bytes], encoding: str) -> tuple[list[str], dict[int, BadExample]]:
    texts, wrong = [], {}
    for row, line in enumerate(lines):
        try:
            text = decode(line, encoding) if row == 0 else line.decode(encoding)
        except UnicodeDecodeError as error:
            message = misfit(error, encoding, line=row + 1, whole="the file")
            wrong[row], text = BadExample("wrong-encoding", message), ""
        texts.append(text.removesuffix("\r"))
    return texts, wrong


def _cut(text: AnyStr, end: AnyStr) -> list[AnyStr]:
    lines = text.split(end)
    return lines if lines[-1] else lines[:-1]


def _parted(name: str) -> tuple[str, str]:
    """'train.en.gz' -> 'train', 'en'; no language: ''."""
    for suffix in _PLAIN:
        name = name[: -len(suffix)] if name.lower().endswith(suffix) else name
    stem, _, language = name.rpartition(".")
    is_one = _LANGUAGE.fullmatch(language) and language.lower() not in _OTHER
    return (stem, language) if stem and is_one else (name, "")


def _split(stem: str) -> str:
    """'test_2016_flickr' -> 'test'; '' where no part of the name is a split's."""
    return next((SPLIT_NAMES[part] for part in re.split(r"[._\-]", stem.lower()) if part in SPLIT_NAMES), "")


def _beside(folder: Path, read: Mapping[str, tuple[Path, Path]]) -> list[str]:
    taken = {path.name for pair in read.values() for path in pair}
    return [name for name in sorted(os.listdir(folder)) if name not in taken and not is_litter(name)]
