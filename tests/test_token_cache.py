"""The tokens of a split, kept on disk: the same every time, whatever became of the files."""

import os
import shutil
import subprocess
import sys
import time
from functools import cache as cache_calls
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pipelines.text import cache, subwords
from pipelines.text.cache import Tokens, tokenise
from pipelines.text.tokenizers import Tokenizer, subwords_asset, tokenizer

pytestmark = pytest.mark.usefixtures("unserved")

ASSET = subwords_asset([*subwords.SPECIAL, "▁", "▁a", "b", "c"], lowercase=True)
TEXTS = ["a b c", "", "A bc", "x", "\ud800", b"abc \xff", " "] * 700


class Counted:
    """A tokenizer that counts the texts that it is given."""

    def __init__(self) -> None:
        self.given = 0
        self._kit = _kit()

    @property
    def record(self) -> Tokenizer:
        def encode(strings: list[bytes]) -> tf.RaggedTensor:
            self.given += len(strings)
            return self._kit.encode(strings)

        return Tokenizer(self._kit.size, 0, 2, 3, encode, self._kit.pieces, None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIXFOLD_CACHE", str(tmp_path))
    return tmp_path / "tokens"


def run(counted: Counted, texts: list[str | bytes] = TEXTS, fingerprint: str = "f") -> Tokens:
    done: list[int] = []
    tokens = tokenise(texts, counted.record, ASSET, fingerprint, done.append)
    assert sum(done) == len(texts) == len(tokens)
    return tokens


@cache_calls
def expected() -> list[list[int]]:
    """Row by row, without the cache."""
    as_bytes = [text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass") for text in TEXTS]
    encode = _kit().encode
    return [row for text in as_bytes[:7] for row in encode([text]).to_list()] * 700


@cache_calls
def _kit() -> Tokenizer:
    return tokenizer(ASSET)


def listed(tokens: Tokens) -> list[list[int]]:
    return [tokens.values[start:end].tolist() for start, end in zip(tokens.splits, tokens.splits[1:], strict=False)]


def test_made_once(folder: Path) -> None:
    counted = Counted()
    first, second = run(counted), run(counted)
    assert counted.given == len(TEXTS)
    assert listed(first) == listed(second) == expected()
    assert isinstance(second.values, np.memmap)
    assert second.values.dtype == np.uint16
    assert second.splits.dtype == np.int64
    assert second.lengths.tolist() == [len(row) for row in expected()]
    assert len(list(folder.iterdir())) == 1


def test_taking_rows(folder: Path) -> None:
    tokens = run(Counted())
    rows, whole = np.array([5, 0, 0, 1, 6, 2]), expected()
    values, splits = tokens.take(rows)
    assert values.dtype == np.int32
    assert [values[a:b].tolist() for a, b in zip(splits, splits[1:], strict=False)] == [whole[row] for row in rows]
    values, splits = tokens.take(np.zeros(0, np.int64))
    assert values.size == 0
    assert splits.tolist() == [0]


def test_other_texts_and_other_pieces_are_other_tokens(folder: Path) -> None:
    counted = Counted()
    run(counted)
    run(counted, fingerprint="g")
    run(counted, TEXTS[:10])
    tokenise(TEXTS, counted.record, {**ASSET, "lowercase": False}, "f", lambda _: None)
    assert counted.given == 3 * len(TEXTS) + 10
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("texts", [[], ["", " "]])
def test_no_tokens_at_all(folder: Path, texts: list[str | bytes]) -> None:
    for _ in range(2):
        tokens = run(Counted(), texts)
        assert listed(tokens) == [[]] * len(texts)
        assert tokens.take(np.arange(len(texts)))[0].size == 0


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 3)


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("name", ["values.npy", "row_splits.npy", "checksum"])
@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink, lambda file: file.write_bytes(b"")])
def test_damage_is_found_and_mended(folder: Path, name: str, damage: object) -> None:
    counted = Counted()
    run(counted)
    (kept,) = folder.iterdir()
    damage(kept / name)  # type: ignore[operator]
    assert listed(run(counted)) == expected()
    assert counted.given == 2 * len(TEXTS)
    run(counted)
    assert counted.given == 2 * len(TEXTS)


def test_nowhere_to_write(folder: Path) -> None:
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file stands where the folder should be")
    assert listed(run(Counted())) == expected()


def test_a_full_disk_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(place: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "sync", full)
    assert listed(run(Counted())) == expected()
    assert list(folder.iterdir()) == []


def test_tokens_stay_readable_when_their_files_go(folder: Path) -> None:
    tokens = run(Counted())
    shutil.rmtree(folder)
    assert listed(tokens) == expected()


def test_what_was_not_used_for_longest_goes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted()
    for name in "abc":
        run(counted, fingerprint=name)
    kept = list(folder.iterdir())
    each = sum(file.stat().st_size for file in kept[0].iterdir())
    now = time.time()
    for place in kept:
        os.utime(place, (now - 1000, now - 1000))
    run(counted, fingerprint="a")  # used: the newest now
    monkeypatch.setattr(cache, "MOST_BYTES", 2 * each)
    (folder / "stray file").touch()
    left, live = folder / ".killed.1", folder / ".working.2"
    for place in (left, live):
        place.mkdir()
    os.utime(left, (now - 2 * 24 * 3600,) * 2)
    run(counted, fingerprint="d")
    given = counted.given
    run(counted, fingerprint="a")
    run(counted, fingerprint="d")
    assert counted.given == given
    assert not left.exists()
    assert live.exists()
    assert len([place for place in folder.iterdir() if place.is_dir() and not place.name.startswith(".")]) == 2


def test_tokens_that_are_larger_than_all_stay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST_BYTES", 1)
    counted = Counted()
    run(counted)
    run(counted)
    assert counted.given == len(TEXTS)


def test_many_pieces_need_wider_numbers(folder: Path) -> None:
    pieces = [*subwords.SPECIAL, "▁", *(f"{number:05d}" for number in range(70_000))]
    asset = subwords_asset(pieces, lowercase=False)
    tokens = tokenise(["69999"], tokenizer(asset), asset, "f", lambda _: None)
    assert tokens.values.dtype == np.int32
    assert [pieces[token] for token in tokens.take(np.array([0]))[0]] == ["▁", "69999"]


def test_reading_needs_no_tensorflow() -> None:
    code = "import pipelines.text.cache, sys; assert not {'tensorflow', 'keras', 'sentencepiece'} & set(sys.modules)"
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 0, done.stderr
