"""Class folders, split folders, folders of tables, and what file managers leave in them."""

import os
from pathlib import Path

import pytest

from pipelines.errors import DataError
from pipelines.sources import locate
from pipelines.sources.folders import class_folders, split_tables, walk


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_classes_are_folders_and_may_hold_folders(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b/2.png",
        "b/deep/er/1.png",
        "a/9.png",
        "b/.hidden",
        "b/Thumbs.db",
        "a/desktop.ini",
        ".git/x",
        "README.txt",
    )
    splits, notes = class_folders(tmp_path)
    files = splits["train"]
    assert locate(str(tmp_path)).kind == "folder"
    assert list(splits) == ["train"]
    assert files.classes == ["a", "b"]
    assert files.labels.tolist() == [0, 1, 1]
    assert [os.path.relpath(path.decode(), tmp_path) for path in files.paths] == [
        "a/9.png",
        "b/2.png",
        "b/deep/er/1.png",
    ]
    assert notes == [(str(tmp_path), "not read: README.txt (1 beside the folders).")]


@pytest.mark.parametrize("valid", ["val", "valid", "Validation"])
def test_split_folders_by_any_of_their_names(tmp_path: Path, valid: str) -> None:
    touch(tmp_path, "train/a/1", "train/b/1", f"{valid}/a/2", "test/b/3", "annotations/x")
    splits, notes = class_folders(tmp_path)
    assert {name: len(files.paths) for name, files in splits.items()} == {"test": 1, "train": 2, "valid": 1}
    assert notes == [(str(tmp_path), "not read: annotations (1 beside the folders).")]


def test_test_without_train_is_a_class(tmp_path: Path) -> None:
    splits, _ = class_folders(touch(tmp_path, "test/1", "other/1"))
    assert splits["train"].classes == ["other", "test"]


def test_loops_of_links_end_and_links_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "real", "a/1.png")
    (tmp_path / "real" / "a" / "loop").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "b").symlink_to(tmp_path / "real" / "a")
    (tmp_path / "real" / "a" / "gone.png").symlink_to(tmp_path / "nowhere")
    names = [os.path.relpath(path, tmp_path / "real") for path in walk(tmp_path / "real")]
    assert names == ["a/1.png", "a/gone.png", "b/1.png", "b/gone.png"]


def test_names_that_are_not_utf8_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with open(os.fsencode(tmp_path) + b"/a/\xff.png", "wb"):
        pass
    splits, _ = class_folders(tmp_path)
    assert splits["train"].paths[0].endswith(b"/a/\xff.png")


def test_folder_of_tables(tmp_path: Path) -> None:
    touch(tmp_path, "train.csv", "dev.csv.gz", "test.tsv", "images/1.png")
    assert locate(str(tmp_path)).kind == "tables"
    assert {split: path.name for split, path in split_tables(tmp_path).items()} == {
        "train": "train.csv",
        "valid": "dev.csv.gz",
        "test": "test.tsv",
    }
    with pytest.raises(DataError, match="two tables of the train split, train.csv and train.jsonl: keep one"):
        split_tables(touch(tmp_path, "train.jsonl"))


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["1.png", "2.png"], "holds no folders: put the files of each class into a folder named after it"),
        (["a/.keep", "b/.keep"], "holds folders and no file in any of them"),
        (["train/a/1", "val/a/1", "valid/a/1"], "two folders of the valid split, val and valid: keep one"),
        (["train/1.png"], "train holds no folders"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, names: list[str], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        class_folders(touch(tmp_path, *names))


def test_links_to_themselves_are_files_that_cannot_be_read(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png")
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a" / "self")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    splits, notes = class_folders(tmp_path)
    assert [path.rpartition(b"/")[2] for path in splits["train"].paths] == [b"1.png", b"self"]
    assert notes == [(str(tmp_path), "not read: self (1 beside the folders).")]
    with pytest.raises(DataError, match="self' does not exist|cannot be read"):
        locate(str(tmp_path / "self"))


def test_class_names_that_show_alike_are_refused(tmp_path: Path) -> None:
    for name in (b"/\xff", b"/\xfe"):
        os.mkdir(os.fsencode(tmp_path) + name)
        with open(os.fsencode(tmp_path) + name + b"/1.png", "wb"):
            pass
    with pytest.raises(
        DataError, match="two folders whose names, which are not UTF-8, both show as \ufffd: rename them"
    ):
        class_folders(tmp_path)
