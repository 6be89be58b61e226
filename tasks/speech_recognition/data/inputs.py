"""What predict reads: sound files, folders of them and manifests, streamed in batches; no sound is decoded yet."""

import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from pipelines.audio.files import EXTENSIONS, Stretch, opened
from pipelines.errors import DataError
from pipelines.sources.folders import printable, walk
from pipelines.sources.paths import named_path
from pipelines.sources.scan import BadExample
from pipelines.sources.table_formats import place
from pipelines.sources.tables import as_text, open_rows
from pipelines.task import Assets, Problem, Raw
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.data.listed import Wanted
from tasks.speech_recognition.data.manifests import columns_of, is_manifest, sound_path
from tasks.speech_recognition.data.recordings import as_column

_REFUSED = b"\0"
_SOUND = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"\xff\xfb")
"""How files of sound begin."""
_Input = tuple[str, Stretch]
"""The id of the record and where its sound lies; or NUL and the reason why there is none, in place of the path."""


def inputs(paths: Sequence[str], config: Config, assets: Assets | None = None) -> Iterator[tuple[list[str], Raw]]:
    """Batches of config.batch_size, of (ids, {"path": object [rows], of bytes; "start", "seconds": float64 [rows]}), in
    order. `seconds` is NaN where the clip goes to the end of the file; `pipelines.audio.files` decodes it.

    A path is a sound file; a folder, of which every sound file is taken, however deep; a manifest, of which the audio
    column names files, and offset and duration what of them; or -, for one path a line on stdin. What cannot be decoded
    comes out as NUL and the reason, for its record to say so.

    Raises:
        DataError: a manifest is damaged or has no such column, a folder holds no sound, or stdin does.
    """
    del assets
    every = (item for path in paths for item in _expand(path, config))
    while some := _next(every, config.batch_size):
        stretches = [stretch for _, stretch in some]
        yield (
            [printable(name) for name, _ in some],
            {
                "path": as_column([stretch.file for stretch in stretches]),
                "start": np.array([stretch.start for stretch in stretches]),
                "seconds": np.array([math.nan if one.seconds is None else one.seconds for one in stretches]),
            },
        )


def stretches(raw: Raw) -> list[Stretch]:
    """Where the sound of each row of such a batch lies."""
    rows = zip(raw["path"].tolist(), raw["start"].tolist(), raw["seconds"].tolist(), strict=True)
    return [Stretch(path, start, None if math.isnan(seconds) else seconds) for path, start, seconds in rows]


def _next(every: Iterator[_Input], batch: int) -> list[_Input]:
    try:
        return [(name, _checked(stretch)) for name, stretch in islice(every, batch)]
    except DataError as error:
        raise DataError(printable(str(error))) from error


def _checked(stretch: Stretch) -> Stretch:
    """Its header is read, that a batch of other files need not end where this one is decoded."""
    if stretch.file.startswith(_REFUSED):
        return stretch
    try:
        with opened(stretch) as sound:
            if sound.frames:
                return stretch
    except BadExample as problem:
        return _refused("there is no such file" if problem.kind == "missing-file" else f"it {problem.message}")
    return _refused("it has a header and no sound behind it")


def _refused(reason: str) -> Stretch:
    return Stretch(_REFUSED + reason.removesuffix(".").encode("utf-8", "replace"))


def _expand(path: str, config: Config) -> Iterable[_Input]:
    if path == "-":
        return _from_lines(sys.stdin.buffer)
    if os.path.isdir(path):
        return _from_folder(path)
    if is_manifest(Path(path)) and os.path.isfile(path):
        return _from_manifest(Path(path), config)
    return [(path, Stretch(os.fsencode(path)))]


def _from_folder(folder: str) -> Iterator[_Input]:
    empty = True
    for file in walk(folder):
        if os.path.splitext(file)[1].lower() in EXTENSIONS:
            empty = False
            yield file, Stretch(os.fsencode(file))
    if empty:
        raise DataError(f"{folder} holds no sound file: name a folder that does.")


def _from_lines(lines: Iterable[bytes]) -> Iterator[_Input]:
    for number, line in enumerate(lines):
        if not number and line.startswith(_SOUND):
            raise DataError("standard input holds sound, where paths belong, a line each: name the file instead of -.")
        if path := line.rstrip(b"\r\n"):
            yield printable(path), _refused("it has a NUL in its name") if b"\0" in path else Stretch(path)


def _from_manifest(table: Path, config: Config) -> Iterator[_Input]:
    roles = ("audio", "offset", "duration")
    columns = columns_of(table, Wanted(config.columns, encoding=config.encoding))
    columns = {role: column for role, column in columns.items() if role in roles}
    with open_rows(table, columns, ["audio"], roles[1:], config.encoding) as (names, rows):
        for number, row in rows:
            where = place(table, number)
            if isinstance(row, Problem):
                yield row.where, _refused(f"the row {row.message}")
                continue
            values = dict(zip(names, row, strict=True))
            try:
                stretch = _stretch(table, values)
            except ValueError as error:
                yield where, _refused(f"the row {error}")
            else:
                path = printable(stretch.file)
                name = f"{path} from {stretch.start:g} s" if "offset" in values and stretch.start else path
                yield (name, stretch) if stretch.file else (where, _refused("the row names no file"))


def _stretch(table: Path, values: dict[str, object]) -> Stretch:
    """What a row names. Without an offset it is the whole file, whatever its duration is said to be."""
    path = sound_path(table, named_path(table, values["audio"]))
    start, seconds = (_number(role, values.get(role)) for role in ("offset", "duration"))
    return Stretch(path) if start is None else Stretch(path, start, seconds)


def _number(role: str, value: object) -> float | None:
    text = as_text(value).strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"has the {role} {text!r:.40}, and seconds are a number that is not negative")
    return number
