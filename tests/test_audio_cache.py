"""Decoded sound, kept on disk: the same every time, whatever became of the files."""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from pipelines.audio import cache
from pipelines.audio.cache import Sounds, decode_all
from pipelines.errors import DataError

LENGTHS = [5, 0, 1_000, 3, *range(100, 140)]


def clip(number: int) -> np.ndarray:
    return np.arange(number, number + LENGTHS[number]).astype(np.int16)


class Counted:
    """Decodes, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, number: int) -> np.ndarray:
        self.times += 1
        return clip(number)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIXFOLD_CACHE", str(tmp_path))
    return tmp_path / "sounds"


def run(counted: Counted, fingerprint: str = "f", rate: int = 8_000) -> Sounds:
    done: list[int] = []
    sounds = decode_all(len(LENGTHS), counted, rate, fingerprint, done.append)
    assert sum(done) == len(sounds) == len(LENGTHS)
    return sounds


def check(sounds: Sounds) -> None:
    assert sounds.lengths.tolist() == LENGTHS
    rows = np.array([2, 0, 0, 1, 20])
    values, splits = sounds.take(rows)
    assert values.dtype == np.int16
    assert splits.tolist() == np.cumsum([0, *(LENGTHS[row] for row in rows)]).tolist()
    np.testing.assert_array_equal(values, np.concatenate([clip(row) for row in rows.tolist()]))
    assert sounds.take(np.zeros(0, np.int64))[0].size == 0


def test_decoded_once(folder: Path) -> None:
    counted = Counted()
    check(run(counted))
    again = run(counted)
    check(again)
    assert counted.times == len(LENGTHS)
    assert isinstance(again.values, np.memmap)
    run(counted, "other")
    run(counted, rate=16_000)
    assert counted.times == 3 * len(LENGTHS)
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize("name", ["samples.int16", "splits.npy", "checksum"])
@pytest.mark.parametrize("damage", [lambda file: os.truncate(file, file.stat().st_size - 1), Path.unlink])
def test_damage_is_found_and_mended(folder: Path, name: str, damage: object) -> None:
    counted = Counted()
    run(counted)
    (kept,) = folder.iterdir()
    damage(kept / name)  # type: ignore[operator]
    check(run(counted))
    assert counted.times == 2 * len(LENGTHS)


def test_nowhere_to_keep_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write_text("a file stands where the folder should be")
    aside = folder.parent / "temporary"
    aside.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(aside))
    check(run(Counted()))
    assert list(aside.iterdir()) == []


def test_no_room_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write_text("a file stands where the folder should be")

    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.tempfile, "TemporaryFile", full)
    with pytest.raises(DataError, match="finds no room in .*No space left on device.*SIXFOLD_CACHE"):
        run(Counted())


def test_a_full_disk_half_way(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(place: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "sync", full)
    check(run(Counted()))
    assert list(folder.iterdir()) == []


def test_sound_stays_readable_when_its_files_go(folder: Path) -> None:
    sounds = run(Counted())
    shutil.rmtree(folder)
    check(sounds)


def test_what_is_used_stays_when_room_is_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(Counted(), "old")
    (old,) = folder.iterdir()
    os.utime(old, (1, 1))
    monkeypatch.setattr(cache, "MOST_BYTES", 1)
    run(Counted(), "new")
    assert old not in list(folder.iterdir())
    assert len(list(folder.iterdir())) == 1


def test_a_clip_that_fails_leaves_nothing(folder: Path) -> None:
    def decode(number: int) -> np.ndarray:
        if number == 30:
            raise DataError("changed")
        return clip(number)

    with pytest.raises(DataError, match="changed"):
        decode_all(len(LENGTHS), decode, 8_000, "f", lambda _: None)
    assert list(folder.iterdir()) == []
