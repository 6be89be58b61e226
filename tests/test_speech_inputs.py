"""What predict reads of speech: files, folders, manifests and standard input, nothing of it decoded yet."""

import io
import json
import math
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import soundfile
from pyarrow import parquet

from pipelines.audio.files import Stretch
from pipelines.errors import DataError
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.data.inputs import inputs, stretches

RATE = 8_000


def write(path: Path, seconds: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.sin(np.arange(round(seconds * RATE)) * 0.1) * 0.5, RATE)
    return path


def read(*paths: object, **settings: object) -> list[tuple[str, Stretch]]:
    found = []
    for ids, raw in inputs([str(path) for path in paths], Config(**{"batch_size": 2, **settings})):
        assert 0 < len(ids) == len(raw["path"]) <= 2
        found += list(zip(ids, stretches(raw), strict=True))
    return found


def refusal(stretch: Stretch) -> str:
    assert stretch.file.startswith(b"\0")
    return stretch.file[1:].decode()


def test_files_and_folders(tmp_path: Path) -> None:
    one = write(tmp_path / "one.wav")
    inside = [write(tmp_path / f"folder/{name}") for name in ("a.flac", "b/c.ogg", "b/d.wav")]
    (tmp_path / "folder/a.txt").write_text("no sound")
    found = read(one, tmp_path / "folder")
    assert found == [(str(path), Stretch(os.fsencode(path))) for path in (one, *inside)]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no sound file: name a folder that does"):
        read(tmp_path / "empty")


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound " * 50)
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0), RATE)
    (tmp_path / "empty.wav").write_bytes(b"")
    names = ["text.wav", "nothing.wav", "empty.wav", "none.wav"]
    found = read(*(tmp_path / name for name in names))
    assert [Path(name).name for name, _ in found] == names
    assert [refusal(stretch) for _, stretch in found] == [
        "it is no sound file, or a damaged one (format not recognised)",
        "it has a header and no sound behind it",
        "it is empty (0 bytes)",
        "there is no such file",
    ]


def test_manifests(tmp_path: Path) -> None:
    write(tmp_path / "clips/a.wav", 3.0)
    rows = [
        {"audio_filepath": "clips/a.wav", "text": "said", "duration": 99},
        {"audio_filepath": "clips/a.wav", "offset": 1.0, "duration": 0.5},
        {"audio_filepath": "clips/a.wav", "offset": 2.5},
        {"audio_filepath": "clips/a.wav", "offset": 2.5, "duration": 2},
        {"audio_filepath": "", "offset": ""},
        {"audio_filepath": "clips/a.wav", "offset": "late"},
        {"audio_filepath": "clips/b.wav"},
    ]
    manifest = tmp_path / "all.json"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows) + "[]\n")
    found = read(manifest)
    path = os.fsencode(tmp_path / "clips/a.wav")
    assert [stretch for _, stretch in found[:3]] == [
        Stretch(path),
        Stretch(path, 1.0, 0.5),
        Stretch(path, 2.5),
    ]
    assert [name for name, _ in found[:3]] == [
        path.decode(),
        f"{path.decode()} from 1 s",
        f"{path.decode()} from 2.5 s",
    ]
    assert [refusal(stretch) for _, stretch in found[3:]] == [
        "it is 3.00 s long, and the clip is to be 2.50 to 4.50 s of it: mend the row",
        "the row names no file",
        "the row has the offset 'late', and seconds are a number that is not negative",
        "there is no such file",
        'the row is no JSON object: write one a line, {"name": value, …}, nothing around them',
    ]
    inside = tmp_path / "inside.parquet"  # as Hugging Face publishes sound
    parquet.write_table(pyarrow.table({"audio": [{"bytes": b"RIFF", "path": "a.wav"}]}), inside)
    assert refusal(read(inside)[0][1]).startswith("the row holds a file's bytes where a path belongs: save them")
    other = tmp_path / "other.csv"
    other.write_text("clip\nclips/a.wav\n")
    with pytest.raises(DataError, match="has no column 'audio'"):
        read(other)
    assert read(other, columns="audio=clip text=nothing") == [(path.decode(), Stretch(path))]


def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.wav")
    lines = os.fsencode(path) + b"\n\nx\0y\r\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    found = read("-")
    assert found[0] == (str(path), Stretch(os.fsencode(path)))
    assert refusal(found[1][1]) == "it has a NUL in its name"
    assert len(found) == 2
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    with pytest.raises(DataError, match="standard input holds sound, where paths belong"):
        read("-")


def test_a_batch_says_where_the_sound_lies(tmp_path: Path) -> None:
    ((ids, raw),) = inputs([str(write(tmp_path / "a.wav"))], Config())
    assert raw["path"].dtype == object
    assert raw["start"].tolist() == [0.0]
    assert math.isnan(raw["seconds"][0])
    assert len(ids) == 1
