"""The scan: what is known is not looked at again, what changed is."""

import os
from pathlib import Path

import numpy as np
import pytest

from pipelines.sources.scan import UNKNOWN, BadExample, Scan, cache_folder, content_hash, file_keys, scan


class Looker:
    """Looks at files, and remembers at which."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = [os.fsencode(path) for path in paths]
        self.looked: list[int] = []
        self.advanced: list[int] = []

    def __call__(self, index: int) -> tuple[int, tuple[int, int]]:
        self.looked.append(index)
        with open(self.paths[index], "rb") as file:
            data = file.read()
        if not data:
            raise BadExample("empty-file", "is empty.")
        return content_hash(data), (len(data), 7)

    def scan(self) -> Scan:
        self.looked, self.advanced = [], []
        return scan(file_keys(self.paths), self, 2, "test", self.advanced.append)


@pytest.fixture
def looker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Looker:
    monkeypatch.setenv("SIXFOLD_CACHE", str(tmp_path / "cache"))
    paths = [tmp_path / f"{number}.bin" for number in range(200)]
    for number, path in enumerate(paths):
        path.write_bytes(b"x" * number)
    return Looker(paths)


def test_findings_are_kept_and_bad_examples_looked_at_again(looker: Looker) -> None:
    found = looker.scan()
    assert sorted(looker.looked) == list(range(200))
    assert sum(looker.advanced) == 200
    assert list(found.bad) == [0]
    assert found.facts[9].tolist() == [9, 7]
    again = looker.scan()
    assert looker.looked == [0]
    assert sum(looker.advanced) == 200
    np.testing.assert_array_equal(found.hashes, again.hashes)
    np.testing.assert_array_equal(found.facts, again.facts)


def test_changed_files_are_looked_at_again(looker: Looker) -> None:
    looker.scan()
    with open(looker.paths[5], "wb") as file:
        file.write(b"yyyyy!")
    os.utime(looker.paths[6], ns=(1, 1))
    assert looker.scan().facts[5].tolist() == [6, 7]
    assert sorted(looker.looked) == [0, 5, 6]


@pytest.mark.parametrize("damage", [b"", b"junk", b"PK\x03\x04 cut"])
def test_damaged_findings_are_ignored(looker: Looker, damage: bytes) -> None:
    before = looker.scan()
    (kept,) = (cache_folder() / "scans").iterdir()
    kept.write_bytes(damage)
    np.testing.assert_array_equal(looker.scan().hashes, before.hashes)
    assert len(looker.looked) == 200
    looker.scan()
    assert looker.looked == [0]


def test_an_interrupted_scan_keeps_what_it_found(looker: Looker) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(done: int) -> None:
        if done:
            raise Interrupted

    with pytest.raises(Interrupted):
        scan(file_keys(looker.paths), looker, 2, "test", interrupt)
    seen = len(looker.looked)
    looker.scan()
    assert len(looker.looked) <= 201 - seen + 1
    assert seen >= 64


def test_nowhere_to_keep_findings(looker: Looker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SIXFOLD_CACHE", str(tmp_path / "file"))
    assert looker.scan().facts[9].tolist() == [9, 7]


def test_missing_files_have_no_key() -> None:
    assert file_keys([b"/nowhere/at/all", b"a\0b"]).tolist() == [UNKNOWN, UNKNOWN]


def test_a_user_without_a_home_has_a_cache_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("SIXFOLD_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    assert cache_folder().name == f"sixfold-{os.getuid()}"
