"""Arrays of .npz and idx files, mapped where they can be."""

import gzip
import struct
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from pipelines.errors import DataError
from pipelines.sources import locate
from pipelines.sources.arrays import read_arrays, read_pairs
from pipelines.sources.idx import idx_pairs, read_idx


def idx(array: np.ndarray) -> bytes:
    """An array of bytes as MNIST publishes it."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_idx(root: Path, end: str = ".gz", *, images: int = 6) -> Path:
    pack = gzip.compress if end == ".gz" else bytes
    for split, count in (("train", images), ("t10k", 3)):
        x = np.arange(count * 12).reshape(count, 3, 4)
        (root / f"{split}-images-idx3-ubyte{end}").write_bytes(pack(idx(x)))
        (root / f"{split}-labels-idx1-ubyte{end}").write_bytes(pack(idx(np.arange(count) % 2)))
    return root


@pytest.mark.parametrize("order", ["C", "F"])
def test_stored_arrays_are_mapped_and_compressed_ones_read(tmp_path: Path, order: Literal["C", "F"]) -> None:
    x = np.asarray(np.arange(24, dtype=np.float32).reshape(4, 2, 3), order=order)
    y = np.array(["a", "b", "a", "ü"])
    np.savez(tmp_path / "stored.npz", y=y, x=x)
    np.savez_compressed(tmp_path / "packed.npz", y=y, x=x)
    stored, packed = read_arrays(tmp_path / "stored.npz"), read_arrays(tmp_path / "packed.npz")
    assert isinstance(stored["x"], np.memmap)
    assert not isinstance(packed["x"], np.memmap)
    for arrays in (stored, packed):
        np.testing.assert_array_equal(arrays["x"], x)
        np.testing.assert_array_equal(arrays["y"], y)


def test_pairs_by_split(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(
        path,
        x_train=np.zeros((4, 2)),
        y_train=np.zeros(4),
        x_val=np.zeros((2, 2)),
        y_val=np.zeros(2),
        x_test=np.zeros((1, 2)),
        y_test=[1],
    )
    assert {split: len(x) for split, (x, _) in read_pairs(path).items()} == {"train": 4, "valid": 2, "test": 1}
    np.savez(path, x=np.zeros((4, 2)), y=np.zeros(4), more=1)
    assert list(read_pairs(path)) == ["train"]


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        (
            {"images": [1], "labels": [2]},
            "needs the arrays x_train and y_train, or x and y; there are: images, labels.",
        ),
        ({"x_train": [1]}, "lacks the array y_train; there are: x_train."),
        ({"x": [1, 2], "y": [1]}, "x holds 2 examples and y 1: they must be as many."),
        ({"x": [], "y": []}, "x holds no example."),
        ({"x": 1, "y": 1}, "x is a single number"),
        ({"x": [1], "y": np.array([None])}, "holds Python objects: save numbers or text"),
    ],
)
def test_wrong_arrays_are_named(tmp_path: Path, arrays: dict[str, object], sentence: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]  # numpy types further names as allow_pickle
    with pytest.raises(DataError, match=sentence):
        read_pairs(tmp_path / "a.npz")


def test_damaged_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(100), y=np.zeros(100))
    data = (tmp_path / "a.npz").read_bytes()
    for content in (b"no zip", data[:-40]):
        (tmp_path / "b.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"b.npz is no .npz file or a damaged one"):
            read_pairs(tmp_path / "b.npz")


@pytest.mark.parametrize("end", ["", ".gz"])
def test_idx_folder(tmp_path: Path, end: str) -> None:
    assert locate(str(write_idx(tmp_path, end))).kind == "idx"
    pairs = idx_pairs(tmp_path)
    assert list(pairs) == ["train", "test"]
    x, y = pairs["train"]
    assert x.shape == (6, 3, 4)
    assert x.dtype == np.uint8
    assert x[1, 0, 0] == 12
    assert y.tolist() == [0, 1, 0, 1, 0, 1]
    assert isinstance(x, np.memmap) == (end == "")


def test_damaged_idx_files_are_named(tmp_path: Path) -> None:
    write_idx(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte.gz"
    whole = labels.read_bytes()
    cases = {
        gzip.compress(b"junk, really"): "is no idx file: its first four bytes are 6a756e6b.",
        gzip.compress(idx(np.arange(6))[:6]): "is cut short: its header is incomplete.",
        gzip.compress(idx(np.arange(6))[:-2]): "holds 4 bytes where its header says 6: fetch it again.",
        gzip.compress(
            idx(np.arange(5))
        ): "train-images-idx3-ubyte.gz holds 6 examples and train-labels-idx1-ubyte.gz 5",
        whole[:-9]: "cannot be read",
    }
    for content, sentence in cases.items():
        labels.write_bytes(content)
        with pytest.raises(DataError, match=sentence):
            idx_pairs(tmp_path)
    labels.unlink()
    with pytest.raises(DataError, match="lacks the idx file with the labels of the train split"):
        idx_pairs(tmp_path)
    (tmp_path / "raw-idx1-ubyte").write_bytes(b"")
    with pytest.raises(DataError, match="is no idx file: its first four bytes are missing"):
        read_idx(tmp_path / "raw-idx1-ubyte")


def test_one_idx_file_names_its_folder(tmp_path: Path) -> None:
    write_idx(tmp_path)
    with pytest.raises(DataError, match=f"name the folder, {tmp_path}"):
        locate(str(tmp_path / "t10k-images-idx3-ubyte.gz"))


def test_npz_of_unknown_compression_or_encrypted(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(3), y=np.zeros(3))
    whole = (tmp_path / "a.npz").read_bytes()
    for local, central, value in ((8, 10, 99), (6, 8, 1)):  # the method; the flags, of which bit 0 says encrypted
        data = bytearray(whole)
        for magic, offset in ((b"PK\3\4", local), (b"PK\1\2", central)):
            at = data.find(magic)
            while at >= 0:
                data[at + offset] = value
                at = data.find(magic, at + 1)
        (tmp_path / "b.npz").write_bytes(bytes(data))
        with pytest.raises(DataError, match=r"b.npz cannot be read \(.*\): save it with np.savez"):
            read_pairs(tmp_path / "b.npz")
