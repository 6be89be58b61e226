"""Archives of class folders: read like the folder they were packed from, and nothing in them leads anywhere."""

import bz2
import gzip
import io
import lzma
import os
import random
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import DataError
from pipelines.sources import archives, locate
from pipelines.sources.archives import ARCHIVE_SUFFIXES, class_members
from pipelines.sources.folders import class_folders

FILES = {
    "train/pos/0_9.txt": b"good",
    "train/pos/deep/1_8.txt": b"very good",
    "train/neg/0_2.txt": b"bad",
    "test/neg/0_1.txt": b"",
    "test/pos/\xff.txt".encode("latin-1").decode("utf-8", "surrogateescape"): b"fine",
    "train/unsup/0_0.txt": b"whatever",
    "train/urls.txt": b"http",
    "README": b"read me",
    "train/pos/.hidden": b"x",
    "train/neg/Thumbs.db": b"x",
}
LARGEST = 100_000


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def pack(path: Path, files: dict[str, bytes], *, shuffle: bool = True, **options: Any) -> Path:
    """An archive of the kind that the name says, its members in no order."""
    names = list(files)
    if shuffle:
        random.Random(0).shuffle(names)
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", **options) as packed:
            for name in names:
                packed.writestr(zipfile.ZipInfo(os.fsencode(name).decode("utf-8", "replace")), files[name])
        return path
    mode = {".tgz": "w:gz", ".gz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz", ".tar": "w"}[path.suffix]
    with tarfile.open(path, mode, **options) as archive:  # type: ignore[call-overload]
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(files[name])
            archive.addfile(member, io.BytesIO(files[name]))
    return path


def tar_of(path: Path, *members: tuple[str, dict[str, Any]], files: dict[str, bytes] | None = None) -> Path:
    """A tar of two classes and odd members, each with the attributes it is given."""
    with tarfile.open(path, "w") as archive:
        for name, content in {"a/1.txt": b"one", "b/2.txt": b"two", **(files or {})}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, attributes in members:
            member = tarfile.TarInfo(name)
            for attribute, value in attributes.items():
                setattr(member, attribute, value)
            archive.addfile(member)
    return path


def contents(path: Path) -> dict[str, dict[str, bytes]]:
    return {
        split: dict(zip([os.fsdecode(os.path.relpath(p, os.fsencode(path))) for p in m.paths], m.contents, strict=True))
        for split, m in class_members(path, LARGEST)[0].items()
    }


@pytest.mark.parametrize("suffix", ARCHIVE_SUFFIXES)
@pytest.mark.parametrize("above", ["", "aclImdb/", "./packed/aclImdb/"])
def test_an_archive_is_read_as_its_folder_is(tmp_path: Path, suffix: str, above: str) -> None:
    path = pack(tmp_path / f"texts{suffix}", {above + name: content for name, content in FILES.items()})
    assert locate(str(path)).kind == "archive"
    folders, _ = class_folders(write_folder(tmp_path / "folder", FILES))
    members, notes = class_members(path, LARGEST)
    assert sorted(members) == sorted(folders) == ["test", "train"]
    shown = path.joinpath(above)
    for split, files in folders.items():
        found = members[split]
        assert found.classes == files.classes == ["neg", "pos"]
        assert found.labels.tolist() == files.labels.tolist()
        names = [os.path.relpath(name, os.fsencode(tmp_path / "folder")) for name in files.paths]
        if suffix == ".zip":  # which has no names that are not UTF-8
            names = [name.replace(b"\xff", "\ufffd".encode()) for name in names]
        assert found.paths.tolist() == [os.path.join(os.fsencode(shown), name) for name in names]
        assert found.contents.tolist() == [Path(os.fsdecode(name)).read_bytes() for name in files.paths]
        assert found.bad == {}
    assert sorted(notes) == [
        (str(shown), "not read: README (1 beside the folders)."),
        (str(shown / "train"), "not read: unsup, urls.txt (2 beside the folders)."),
    ]


def test_a_folder_of_the_same_is_noted_alike(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "folder", FILES)
    assert sorted(class_folders(root)[1]) == [
        (str(root), "not read: README (1 beside the folders)."),
        (str(root / "train"), "not read: unsup, urls.txt (2 beside the folders)."),
    ]


def test_what_lies_beside_the_folder_of_all_is_noted(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", {"x/a/1": b"1", "x/b/2": b"2", "LICENSE": b"l", "x/unsup/3": b"3"})
    members, notes = class_members(path, LARGEST)
    assert members["train"].classes == ["a", "b"]
    assert sorted(notes) == [
        (str(path), "not read: LICENSE (1 beside the folders)."),
        (str(path / "x"), "not read: unsup (1 beside the folders)."),
    ]


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_a_folder_unsup_within_a_class_is_said(tmp_path: Path, suffix: str) -> None:
    path = pack(tmp_path / f"a{suffix}", {"a/unsup/1": b"1", "b/2": b"2"})
    train = class_members(path)[0]["train"]
    assert train.names == [f"{path}/a/unsup/1", f"{path}/b/2"]
    assert train.bad[0].message.startswith("lies in a folder called unsup")
    assert list(train.bad) == [0]


def test_classes_without_splits_and_empty_ones(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar", ("c", {"type": tarfile.DIRTYPE}), ("d/", {"type": tarfile.DIRTYPE}))
    members, notes = class_members(path, LARGEST)
    assert members["train"].classes == ["a", "b", "c", "d"]
    assert members["train"].labels.tolist() == [0, 1]
    assert notes == []
    assert contents(pack(tmp_path / "b.zip", {"train\\a\\1": b"1", "train\\b\\2": b"2"})) == {
        "train": {"train/a/1": b"1", "train/b/2": b"2"}
    }


def test_a_file_that_stands_twice_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    tar_of(path, files={"./a/1.txt": b"newer"})
    assert contents(path)["train"]["a/1.txt"] == b"newer"
    assert class_members(path, LARGEST)[1] == [(str(path), "1 file stands in it twice: the later one counts.")]


NAMES = ["/etc/passwd", "../x/1.txt", "a/../../1.txt", "a/.."]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str, suffix: str) -> None:
    path = pack(tmp_path / f"a{suffix}", {"a/1": b"1", "b/2": b"2", name: b"x"})
    with pytest.raises(DataError) as error:
        class_members(path, LARGEST)
    assert str(error.value) == f"{path} holds {name!r}, which leads out of it: pack it anew, with plain names."
    assert sorted(os.listdir(tmp_path)) == [path.name]


@pytest.mark.parametrize("name", ["..\\..\\x", "C:\\x", "\\x", "c:/x/y"])
def test_names_of_windows_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="which leads out of it"):
        class_members(pack(tmp_path / "a.zip", {"a/1": b"1", "b/2": b"2", name: b"x"}), LARGEST)


def test_links_and_devices_are_bad_examples_and_never_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_bytes(b"secret")
    target = str(tmp_path / "secret.txt")
    path = tar_of(
        tmp_path / "a.tar",
        ("a/sym.txt", {"type": tarfile.SYMTYPE, "linkname": target}),
        ("a/hard.txt", {"type": tarfile.LNKTYPE, "linkname": "a/1.txt"}),
        ("b/null", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}),
        ("b/pipe", {"type": tarfile.FIFOTYPE}),
        ("c", {"type": tarfile.SYMTYPE, "linkname": "/"}),
    )
    members, notes = class_members(path, LARGEST)
    train = members["train"]
    shown = {os.path.basename(train.paths[row]).decode(): problem.message for row, problem in train.bad.items()}
    assert shown == {
        "sym.txt": f"is a link to {target}, and links are not followed: pack the file itself.",
        "hard.txt": "is a link to a/1.txt, and links are not followed: pack the file itself.",
        "null": "is no file (a device or a pipe): leave it out of the archive.",
        "pipe": "is no file (a device or a pipe): leave it out of the archive.",
    }
    assert train.classes == ["a", "b"]
    assert b"secret" not in train.contents.tolist()
    assert all(train.contents[row] == b"" for row in train.bad)
    assert notes == [(str(path), "not read: c (1 beside the folders).")]


def test_links_and_passwords_in_a_zip_are_bad_examples(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("b/2.txt", b"two")
        for name, kind in (("a/link", stat.S_IFLNK), ("a/pipe", stat.S_IFIFO)):
            member = zipfile.ZipInfo(name)
            member.external_attr = (kind | 0o777) << 16
            archive.writestr(member, b"/etc/passwd")
        archive.writestr("a/locked.txt", b"locked")
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")  # of the last, in the directory
    data[at + 8] |= 1
    path.write_bytes(data)
    train = class_members(path, LARGEST)[0]["train"]
    assert {
        os.path.basename(train.paths[row]): problem.message.partition(",")[0] for row, problem in train.bad.items()
    } == {
        b"link": "is a link",
        b"pipe": "is no file (a device or a pipe): leave it out of the archive.",
        b"locked.txt": "is encrypted: pack the archive without a password.",
    }
    assert train.contents.tolist() == [b"", b"", b"", b"two"]


@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
def test_a_file_too_large_is_a_bad_example(tmp_path: Path, suffix: str) -> None:
    files = {"a/1": b"x" * LARGEST, "a/2": b"x" * (LARGEST + 1), "b/3": b"y"}
    train = class_members(pack(tmp_path / f"a{suffix}", files), LARGEST)[0]["train"]
    assert [len(content) for content in train.contents] == [LARGEST, 0, 1]
    assert train.bad[1].message == "is 100,001 bytes long, and an example may have 100,000: cut it into several."


def test_a_bomb_ends_where_it_grows_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_LARGEST_WHOLE", 1 << 20)
    files = {f"{name}/{number}": bytes(90_000) for name in "ab" for number in range(8)}
    for suffix in (".tar.gz", ".zip"):
        path = pack(
            tmp_path / f"a{suffix}", files, **({"compression": zipfile.ZIP_DEFLATED} if suffix == ".zip" else {})
        )
        with pytest.raises(DataError, match=r"holds more than 0.000977 GiB: unpack it into a folder and name that\."):
            class_members(path, LARGEST)
    # Also where it is one file that is too large to be kept anyway, or lies behind the end.
    with pytest.raises(DataError, match="holds more than"):
        class_members(pack(tmp_path / "b.tar.xz", {"a/1": bytes(2 << 20), "b/2": b"x"}), LARGEST)
    padded = pack(tmp_path / "c.tar", {"a/1": b"1", "b/2": b"x"}).read_bytes() + bytes(2 << 20)
    (tmp_path / "c.tar.gz").write_bytes(gzip.compress(padded))
    with pytest.raises(DataError, match="holds more than"):
        class_members(tmp_path / "c.tar.gz", LARGEST)


def test_a_zip_that_lies_about_a_size_gives_no_more_than_it_says(tmp_path: Path) -> None:
    path = pack(
        tmp_path / "a.zip", {"a/1": bytes(50_000), "b/2": b"y"}, shuffle=False, compression=zipfile.ZIP_DEFLATED
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1", bytes(5_000_000))
        archive.writestr("b/2", b"y")
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, 10)
    path.write_bytes(data)
    train = class_members(path, LARGEST)[0]["train"]
    assert train.contents.tolist() == [b"", b"y"]
    assert "is damaged in the archive (Bad CRC-32" in train.bad[0].message


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_MOST_MEMBERS", 3)
    with pytest.raises(DataError, match="holds more than 3 members"):
        class_members(pack(tmp_path / "a.zip", {f"a/{number}": b"" for number in range(4)}), LARGEST)


def two_hundred(path: Path) -> bytes:
    noise = random.Random(1)
    return pack(path, {f"{'ab'[n % 2]}/{n}": noise.randbytes(3000) for n in range(200)}).read_bytes()


@pytest.mark.parametrize("suffix", ARCHIVE_SUFFIXES)
@pytest.mark.parametrize("share", [0.0001, 0.3, 0.95, 0.9999])
def test_an_archive_cut_short_is_said(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a{suffix}"
    data = two_hundred(path)
    if suffix == ".tar":
        share = min(share, 0.98)  # the last blocks are empty
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=r"is a damaged archive \(.+\): fetch it again\."):
        class_members(path, LARGEST)


@pytest.mark.parametrize("suffix", [suffix for suffix in ARCHIVE_SUFFIXES if suffix != ".zip"])
def test_a_tar_cut_between_two_members_is_said(tmp_path: Path, suffix: str) -> None:
    whole = two_hundred(tmp_path / "a.tar")[: 100 * (512 + 3072)]
    path = tmp_path / f"b{suffix}"
    packers: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".tgz": gzip.compress}
    path.write_bytes({**packers, ".bz2": bz2.compress, ".xz": lzma.compress, ".tar": bytes}[path.suffix](whole))
    with pytest.raises(DataError, match=r"is a damaged archive \(empty header where a file or the end should be\)"):
        class_members(path, LARGEST)


def test_damage_in_the_middle_is_never_taken_for_the_end(tmp_path: Path) -> None:
    data = two_hundred(tmp_path / "a.tar")
    path = tmp_path / "b.tar"
    header = 50 * (512 + 3072)
    for damage in (b"\xff" * 512, bytes(512)):
        path.write_bytes(data[:header] + damage + data[header + 512 :])
        with pytest.raises(DataError, match="is a damaged archive"):
            class_members(path, LARGEST)
    path.write_bytes(data + data)
    with pytest.raises(DataError, match="more follows the mark of its end"):
        class_members(path, LARGEST)
    packed = bytearray(gzip.compress(data))
    packed[-8] ^= 1  # the check sum
    (tmp_path / "c.tar.gz").write_bytes(packed)
    with pytest.raises(DataError, match="CRC check failed"):
        class_members(tmp_path / "c.tar.gz", LARGEST)


@pytest.mark.parametrize("suffix", ARCHIVE_SUFFIXES)
def test_random_damage_is_one_sentence(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    whole = pack(path, {f"{'ab'[n % 2]}/{n}": bytes([n]) * 700 for n in range(30)}).read_bytes()
    noise = random.Random(2)
    refused = 0
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(noise.choice((1, 4, 40))):
            data[noise.randrange(len(data))] = noise.randrange(256)
        path.write_bytes(data)
        said = refusal(path)
        refused += said is not None
        assert said is None or (said.startswith(str(path)) and said.endswith(".") and "\n" not in said)
    assert refused >= 5


def refusal(path: Path) -> str | None:
    try:
        class_members(path, LARGEST)
    except DataError as error:
        return str(error)
    return None


def test_headers_that_lie_are_damage(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar")
    data = bytearray(path.read_bytes())
    for size in (b"\xff" * 12, b"\x80" + b"\x7f" * 11):  # in base 256: -1, and more than there is
        data[124:136] = size
        total = sum(data[:148]) + 8 * 32 + sum(data[156:512])
        data[148:156] = b"%06o\0 " % total
        path.write_bytes(data)
        with pytest.raises(DataError, match="is a damaged archive .a header says|holds more than 4 GiB"):
            class_members(path, LARGEST)
    vast = {"format": tarfile.PAX_FORMAT, "pax_headers": {"size": str(1 << 60)}}
    with tarfile.open(path, "w", **vast) as archive:  # type: ignore[call-overload]
        member = tarfile.TarInfo("a/1")
        member.pax_headers = vast["pax_headers"]  # type: ignore[assignment]
        archive.addfile(member)
    with pytest.raises(DataError, match="holds more than 4 GiB"):
        class_members(path, LARGEST)
    chain = b""
    for _ in range(3000):  # headers that extend headers
        member = tarfile.TarInfo("x")
        member.type = tarfile.XHDTYPE
        chain += member.tobuf()
    path.write_bytes(chain + bytes(1024))
    with pytest.raises(DataError, match="is a damaged archive"):
        class_members(path, LARGEST)
    member.type, member.pax_headers = tarfile.XHDTYPE, {}
    member.size = 1 << 30  # read at once, were it believed
    path.write_bytes(member.tobuf() + bytes(1024))
    with pytest.raises(DataError, match=r"a header says 1,073,741,824 bytes"):
        class_members(path, LARGEST)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"1.txt": b"a", "2.txt": b"b"}, "a.tar holds no folders: pack the files of each class into a folder"),
        ({"train/1.txt": b"a"}, "a.tar/train holds no folders"),
        ({"train/a/1": b"", "val/a/1": b"", "dev/a/1": b""}, "two folders of the valid split"),
        ({"a/.x": b"", "b/.y": b""}, "holds no folders|no file in any"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, files: dict[str, bytes], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        class_members(pack(tmp_path / "a.tar", files), LARGEST)


def test_an_archive_by_name_alone(tmp_path: Path) -> None:
    for suffix in ARCHIVE_SUFFIXES:
        path = tmp_path / f"a{suffix}"
        path.write_bytes(b"no archive at all" * 100)
        with pytest.raises(DataError, match="is a damaged archive"):
            class_members(path, LARGEST)
    empty = tmp_path / "empty.tar"
    empty.write_bytes(bytes(10_240))
    with pytest.raises(DataError, match=r"empty.tar holds no folders"):
        class_members(empty, LARGEST)
