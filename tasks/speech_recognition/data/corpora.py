"""Folders of the forms that speech is published in: LibriSpeech's, Kaldi's, and sound files with their texts beside
them."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from pipelines.audio.files import EXTENSIONS
from pipelines.errors import DataError
from pipelines.sources.folders import SPLIT_NAMES, printable, split_folders, walk
from pipelines.sources.scan import BadExample
from pipelines.sources.tables import translated
from pipelines.sources.texts import decode, from_file, misfit, read_file
from pipelines.task import Problem
from tasks.speech_recognition.data.listed import Listed, Wanted, checked_texts
from tasks.speech_recognition.data.recordings import Files

_TRANSCRIPTS = ".trans.txt"
_SCP = "wav.scp"
_TO_THE_END = -1.0
"""The end of a segment, as Kaldi has it, that is the recording's."""
_NAMED = 3

Found = tuple[dict[str, Listed], list[Problem]]
"""The clips of each split; warnings."""


def list_folder(root: Path, wanted: Wanted) -> Found:
    """The clips of a folder of sound, of whichever form it is.

    Raises:
        DataError: it is of none, or a file in it cannot be used.
    """
    kaldi, notes = _kaldi_folders(root)
    if kaldi:
        return {split: _list_kaldi(folder, wanted) for split, folder in kaldi.items()}, notes
    files = [Path(path) for path in walk(root)]
    if any(path.name.endswith(_TRANSCRIPTS) for path in files):
        return _list_librispeech(root, files, wanted)
    if any(map(_is_sound, files)):
        folders = split_folders(root, sorted(name for name in os.listdir(root) if (root / name).is_dir()))
        listed = {split: _list_pairs(list(map(Path, walk(folder))), wanted) for split, folder in folders.items()}
        return listed or {"train": _list_pairs(files, wanted)}, []
    raise DataError(
        f"{root} holds no sound: give a manifest (train.jsonl), LibriSpeech's folders (*{_TRANSCRIPTS}), Kaldi's "
        f"({_SCP} and text), or sound files with their texts beside them (a.wav and a.txt)."
    )


def _is_sound(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS


def _list_librispeech(root: Path, files: list[Path], wanted: Wanted) -> Found:
    """SPLIT/SPEAKER/CHAPTER/*.trans.txt, of which each line is the name of a .flac beside it and what is said."""
    splits: dict[str, dict[str, list[Path]]] = {}
    for path in files:
        if path.name.endswith(_TRANSCRIPTS):
            name = next((part for part in path.relative_to(root).parts[:-1] if _split_of(part)), "")
            splits.setdefault(_split_of(name) or "train", {}).setdefault(name, []).append(path)
    if "train" not in splits:
        names = sorted(name for found in splits.values() for name in found)
        raise DataError(
            f"{root} holds {', '.join(names)} and no folder of train: name the one to train on, as {root / names[0]}."
        )
    warnings = []
    for split in sorted(splits.keys() - {"train"}):
        first, *others = sorted(splits[split])
        splits[split] = {first: splits[split][first]}
        if others:
            warnings.append(_not_read(root, split, first, others))
    beside = {str(path.with_suffix("")): path for path in files if _is_sound(path)}
    listed = {split: _transcribed(sum(found.values(), []), beside, wanted) for split, found in splits.items()}
    return listed, warnings


def _transcribed(transcripts: list[Path], beside: Mapping[str, Path], wanted: Wanted) -> Listed:
    """The lines of such files; sound files by their paths without what they end in."""
    paths: list[bytes] = []
    texts, places, speakers = [], [], []
    missing = {}
    for transcript in transcripts:
        for number, name, text in _lines_of(transcript, wanted.encoding):
            sound = beside.get(str(transcript.parent / name))
            if sound is None:
                missing[len(paths)] = BadExample("missing-file", f"names {name}, and there is no such sound beside it.")
            paths.append(b"" if sound is None else os.fsencode(sound))
            texts.append(text)
            places.append(f"{transcript} line {number}")
            speakers.append(name.partition("-")[0])
    found, wrong = checked_texts(texts, wanted, missing)
    return Listed(Files.whole(paths), found, wrong, places.__getitem__, speakers=speakers)


def _kaldi_folders(root: Path) -> tuple[dict[str, Path], list[Problem]]:
    """By split; the folder itself, where it is one, is all there is. And warnings."""
    if (root / _SCP).is_file():
        return {"train": root}, []
    inside = sorted(name for name in os.listdir(root) if (root / name / _SCP).is_file())
    by_split: dict[str, list[str]] = {}
    for name in inside:
        by_split.setdefault(_split_of(name), []).append(name)
    if inside and len(by_split.get("train", [])) != 1:
        several = "several called train" if "train" in by_split else "none called train"
        raise DataError(
            f"{root} holds {', '.join(inside)}, {several}: name the one to train on, as {root / inside[0]}."
        )
    by_split.pop("", None)
    notes = [_not_read(root, split, names[0], names[1:]) for split, names in by_split.items() if len(names) > 1]
    return {split: root / names[0] for split, names in by_split.items()}, notes


def _not_read(root: Path, split: str, first: str, others: list[str]) -> Problem:
    message = (
        f"several of the {split} split: {first} is read, not {', '.join(others)}; another is named with --{split}."
    )
    return Problem("warning", "not-read", str(root), message)


def _list_kaldi(folder: Path, wanted: Wanted) -> Listed:
    """wav.scp, text, and where there are some utt2spk and segments."""
    scp = _by_name(folder / _SCP, wanted.encoding)
    lines = list(_lines_of(folder / "text", wanted.encoding))
    if not lines:
        raise DataError(f"{folder / 'text'} holds no transcript: nothing to read.")
    speakers = _optional(folder / "utt2spk", wanted.encoding)
    segments = _optional(folder / "segments", wanted.encoding)
    names = [name for _, name, _ in lines]
    wrong = _repeated(names)
    paths, starts, seconds = [], [], []
    for row, name in enumerate(names):
        recording, start, end = _segment(name, segments, row, wrong)
        paths.append(_scp_path(folder, recording, scp, row, wrong))
        starts.append(start)
        seconds.append(end - start)
    found, wrong = checked_texts([text for _, _, text in lines], wanted, wrong)
    whole = Files.whole(paths)
    sounds = [printable(path) for path in paths]
    return Listed(
        Files(whole.paths, np.array(starts), np.array(seconds)),
        found,
        wrong,
        lambda row: f"{folder / 'text'} line {lines[row][0]} ({', '.join(filter(None, [names[row], sounds[row]]))})",
        speakers=[speakers.get(name, "") for name in names] if speakers else None,
    )


def _repeated(names: list[str]) -> dict[int, BadExample]:
    """By row, utterances whose name stands in an earlier row already."""
    first: dict[str, int] = {}
    return {
        row: BadExample("malformed-row", f"is a second {name}: leave one of the two out, or name it otherwise.")
        for row, name in enumerate(names)
        if first.setdefault(name, row) != row
    }


def _segment(name: str, segments: dict[str, str], row: int, wrong: dict[int, BadExample]) -> tuple[str, float, float]:
    """(recording, start, end) of an utterance, in seconds; NaN where it is all of the recording."""
    if not segments:
        return name, np.nan, np.nan
    try:
        recording, start, end = segments.get(name, "").split()
        first, last = float(start), float(end)
        if 0 <= first < last or (first >= 0 and last == _TO_THE_END):
            return recording, first, np.nan if last == _TO_THE_END else last
    except ValueError:
        pass
    which = f"has the segment {segments[name]!r:.60}" if name in segments else "has no segment"
    wrong.setdefault(row, BadExample("malformed-row", f"{which}: write recording, start and end, in seconds."))
    return name, np.nan, np.nan


def _scp_path(folder: Path, recording: str, scp: dict[str, str], row: int, wrong: dict[int, BadExample]) -> bytes:
    """The file of a recording: relative to the folder, or as Kaldi has it to where one is."""
    named = scp.get(recording, "").strip()
    if not named:
        wrong.setdefault(row, BadExample("no-path", f"has no file: {recording} does not stand in {_SCP}."))
        return b""
    if named.endswith("|"):
        wrong.setdefault(
            row,
            BadExample(
                "command", f"is made by a command ({named!r:.60}), which is not run: decode it to a file first."
            ),
        )
        return b""
    beside = folder / named
    there = os.path.exists(beside) or not os.path.exists(named)
    return os.fsencode(os.path.normpath(beside if there else named))


def _list_pairs(files: list[Path], wanted: Wanted) -> Listed:
    """Sound files, each with a .txt of the same name."""
    sounds = sorted(filter(_is_sound, files))
    if not sounds:
        raise DataError("a folder of a split holds no sound: put its sound files and their texts into it.")
    written = {path.with_suffix(""): path for path in files if path.suffix.lower() == ".txt"}
    texts, wrong = [], {}
    for row, path in enumerate(sounds):
        try:
            text = written.get(path.with_suffix(""), path.with_suffix(".txt"))
            texts.append(from_file(read_file(os.fsencode(text)), wanted.encoding))
        except BadExample as problem:
            texts.append("")
            lacks = problem.kind == "missing-file"
            message = f"has no text beside it ({path.stem}.txt)." if lacks else f"has a text that {problem.message}"
            wrong[row] = BadExample("no-text" if lacks else problem.kind, message)
    found, wrong = checked_texts(texts, wanted, wrong)
    return Listed(Files.whole(list(map(os.fsencode, sounds))), found, wrong, warnings=_lonely(written, sounds))


def _lonely(written: Mapping[Path, Path], sounds: list[Path]) -> list[Problem]:
    """A warning about texts that belong to no sound."""
    known = {path.with_suffix("") for path in sounds}
    alone = [text for name, text in written.items() if name not in known]
    if not alone:
        return []
    where = "; ".join(printable(str(path)) for path in alone[:_NAMED]) + ("; …" if len(alone) > _NAMED else "")
    there = "1 text has" if len(alone) == 1 else f"{len(alone):,} texts have"
    return [Problem("warning", "not-read", where, f"{there} no sound beside it: not read.")]


def _optional(path: Path, encoding: str) -> dict[str, str]:
    return _by_name(path, encoding) if path.is_file() else {}


def _by_name(path: Path, encoding: str) -> dict[str, str]:
    """What stands behind the first word of each line.

    Raises:
        DataError: as `_lines_of`, or two lines say something else of one name.
    """
    found: dict[str, str] = {}
    for number, name, rest in _lines_of(path, encoding):
        if found.setdefault(name, rest) != rest:
            raise DataError(f"{path} line {number} says something else of {name} than a line before it: drop one.")
    return found


def _lines_of(path: Path, encoding: str) -> Iterator[tuple[int, str, str]]:
    """Of each line that is not blank its number, its first word and the rest of it.

    Raises:
        DataError: the file cannot be read, or does not decode.
    """
    with translated(path):
        data = path.read_bytes()
    try:
        text = decode(data, encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} {misfit(error, encoding)}") from error
    for number, line in enumerate(text.split("\n"), start=1):  # other separators are text
        if line.strip():
            name, *rest = line.split(None, 1)
            yield number, name, rest[0].strip() if rest else ""


def _split_of(name: str) -> str:
    """'train-clean-100' -> 'train'; '' where its first word is no split's."""
    return SPLIT_NAMES.get(re.split(r"[-_.]", name.lower())[0], "")
