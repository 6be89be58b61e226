"""Archives of class folders: .tar, also compressed, and .zip. Their files are read into memory, one after the other.

Nothing is written to disk and no link is followed, so no name in an archive leads anywhere; names that would, were it
unpacked, are refused all the same. What does not pass for a file of reasonable size is an example that cannot be used.
"""

import bz2
import gzip
import lzma
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.folders import (
    ClassFiles,
    class_names,
    is_litter,
    is_unlabelled,
    not_read,
    printable,
    split_folders,
)
from pipelines.sources.scan import BadExample
from pipelines.sources.texts import LARGEST

_OPENERS: dict[str, Callable[..., Any]] = {
    ".tar": open,
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tar.xz": lzma.open,
}
ARCHIVE_SUFFIXES = (*_OPENERS, ".zip")

_LARGEST_WHOLE = 4 << 30
"""Bytes that an archive may hold, for they are kept in memory."""
_MOST_MEMBERS = 5_000_000
_BLOCK = 1 << 20
_LARGEST_HEADER = 1 << 20
"""Bytes of a header that names a long path: tarfile reads it at once."""
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    RecursionError,
    struct.error,
)
"""What reading a damaged archive raises."""
_DRIVE = re.compile(r"[A-Za-z]:/")

_Parts = tuple[str, ...]
"""A path within an archive, by its folders."""
_Content = bytes | BadExample


@dataclass(frozen=True)
class ClassMembers(ClassFiles):
    """The files of one split of an archive; a path is the archive's with the member's below it."""

    contents: np.ndarray
    """object [n], of bytes; b"" where the example is bad."""
    bad: dict[int, BadExample]

    @property
    def names(self) -> list[str]:
        """The paths, for people."""
        return [printable(path) for path in self.paths.tolist()]


@dataclass
class _Tree:
    """What an archive holds, as a folder would."""

    files: dict[_Parts, _Content] = field(default_factory=dict)
    folders: set[_Parts] = field(default_factory=set)
    repeated: int = 0
    """Files that stand in it once more, of which the last one counts."""

    def below(self, folder: _Parts) -> list[str]:
        """The names of the folders in a folder, sorted."""
        depth = len(folder)
        return sorted(parts[-1] for parts in self.folders if len(parts) == depth + 1 and parts[:depth] == folder)

    def beside(self, folder: _Parts) -> list[str]:
        """The names of the files in a folder, sorted."""
        return sorted(parts[-1] for parts in self.files if parts[:-1] == folder)


def archive_suffix(path: Path) -> str:
    """'.tar.gz', '.zip', …; '' where the file is no archive."""
    name = path.name.lower()
    return next((suffix for suffix in ARCHIVE_SUFFIXES if name.endswith(suffix)), "")


def class_members(path: Path, largest: int = LARGEST) -> tuple[dict[str, ClassMembers], list[tuple[str, str]]]:
    """The files below CLASS/ or SPLIT/CLASS/ by split (or train alone), as of a folder; and (where, what) was not read.
    All of it may lie in one further folder.

    Args:
        path: of the archive.
        largest: bytes of a file; a larger one is a bad example. By default what a text may have.

    Raises:
        DataError: it is damaged or too large, a name leads out of it, it holds no folder of a class or no file in any.
    """
    tree = _read(path, largest)
    top = _top(tree)
    root = path.joinpath(*top)
    folders = tree.below(top)
    splits = split_folders(root, folders)
    notes = not_read(path, [name for depth in range(len(top)) for name in tree.beside(top[:depth])])
    if splits:
        others = [name for name in folders if root / name not in splits.values()]
        notes += not_read(root, others + tree.beside(top))
    members = {}
    for split, folder in (splits or {"train": root}).items():
        inside = (*top, folder.name) if splits else top
        classes = tree.below(inside)
        members[split] = _members(path, tree, inside, [name for name in classes if not is_unlabelled(name)])
        notes += not_read(folder, [name for name in classes if is_unlabelled(name)] + tree.beside(inside))
    if tree.repeated:
        files = "1 file stands" if tree.repeated == 1 else f"{tree.repeated:,} files stand"
        notes.append((printable(str(path)), f"{files} in it twice: the later one counts."))
    return members, notes


def _top(tree: _Tree) -> _Parts:
    """The folder of the splits or classes: one that stands alone and holds folders is what they were packed in."""
    top: _Parts = ()
    while len(folders := tree.below(top)) == 1 and folders[0].lower() != "train" and tree.below((*top, folders[0])):
        top = (*top, folders[0])
    return top


def _members(path: Path, tree: _Tree, folder: _Parts, classes: list[str]) -> ClassMembers:
    root = path.joinpath(*folder)
    if not classes:
        raise DataError(f"{root} holds no folders: pack the files of each class into a folder named after it.")
    numbers, depth = {name: label for label, name in enumerate(classes)}, len(folder)
    chosen = sorted(
        parts for parts in tree.files if len(parts) > depth + 1 and parts[:depth] == folder and parts[depth] in numbers
    )
    if not chosen:
        raise DataError(f"{root} holds folders and no file in any of them: nothing to read.")
    found = [tree.files[parts] for parts in chosen]
    paths, contents = np.empty((2, len(chosen)), object)
    paths[:] = [os.fsencode(path.joinpath(*parts)) for parts in chosen]
    contents[:] = [b"" if isinstance(content, BadExample) else content for content in found]
    labels = np.array([numbers[parts[depth]] for parts in chosen], np.int32)
    bad = {row: content for row, content in enumerate(found) if isinstance(content, BadExample)}
    return ClassMembers(paths, labels, class_names(root, classes), contents, bad)


def _read(path: Path, largest: int) -> _Tree:
    tree = _Tree()
    members = _zipped if archive_suffix(path) == ".zip" else _tarred
    with _translated(path):
        for number, (name, content) in enumerate(members(path, largest)):
            if number >= _MOST_MEMBERS:
                raise DataError(f"{path} holds more than {_MOST_MEMBERS:,} members: unpack it into a folder.")
            parts = _parts(path, name)
            if not parts or any(map(is_litter, parts)):
                continue
            tree.folders.update(parts[:depth] for depth in range(1, len(parts)))
            if content is None:
                tree.folders.add(parts)
            else:
                tree.repeated += parts in tree.files
                tree.files[parts] = content
    return tree


def _parts(path: Path, name: str) -> _Parts:
    """A member's name by folders.

    Raises:
        DataError: it leads out of the archive.
    """
    if name.startswith("/") or ".." in name.split("/") or _DRIVE.match(name):
        raise DataError(f"{path} holds {printable(name)!r}, which leads out of it: pack it anew, with plain names.")
    return tuple(part for part in name.split("/") if part not in ("", "."))


def _is_wanted(name: str) -> bool:
    """Whether a member's bytes are worth reading: those of unlabelled files can be the most of an archive."""
    *folders, last = name.split("/")
    return bool(folders) and not is_litter(last) and not any(map(is_unlabelled, folders))


def _tarred(path: Path, largest: int) -> Iterator[tuple[str, _Content | None]]:
    with _OPENERS[archive_suffix(path)](path, "rb") as file:
        # As a stream: it never goes back, whatever its headers say.
        archive = tarfile.open(fileobj=_Counted(path, file), mode="r|", tarinfo=_Header)  # type: ignore[call-overload]  # noqa: SIM115
        while (member := archive.next()) is not None:
            # Or what comes next would be looked for behind the end of the file, block by block.
            if member.size > _LARGEST_WHOLE:
                raise _too_large_whole(path)
            yield member.name, None if member.isdir() else _of_tar(archive, member, largest)
            archive.members.clear()  # it would keep each
        # Read to the end, where the check sum of the compression lies.
        while rest := archive.fileobj.read(_BLOCK):
            if rest.strip(b"\0"):
                raise tarfile.ReadError("more follows the mark of its end")


def _of_tar(archive: tarfile.TarFile, member: tarfile.TarInfo, largest: int) -> _Content:
    if member.issym() or member.islnk():
        return _link(member.linkname)
    if not member.isreg():
        return _no_file()
    if not _is_wanted(member.name):
        return _unread()
    if member.size > largest:
        return _too_large(member.size, largest)
    file = archive.extractfile(member)
    assert file is not None  # of a regular file
    return file.read()


def _zipped(path: Path, largest: int) -> Iterator[tuple[str, _Content | None]]:
    with zipfile.ZipFile(path) as archive:
        whole = sum(member.file_size for member in archive.infolist() if member.file_size <= largest)
        if whole > _LARGEST_WHOLE:
            raise _too_large_whole(path)
        for member in archive.infolist():
            # Some programs of Windows separate folders by what is a character like any other elsewhere.
            name = member.filename.replace("\\", "/")
            yield name, None if name.endswith("/") else _of_zip(archive, member, name, largest)


def _of_zip(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, largest: int) -> _Content:
    if refusal := _refusal(member, largest):
        return refusal
    if not _is_wanted(name):
        return _unread()
    try:
        with archive.open(member) as file:
            return file.read()  # no more than it says of itself
    except NotImplementedError as error:
        return BadExample("unreadable", f"is packed in an unknown way ({_said(error)}): pack the archive anew.")
    except _DAMAGE as error:
        return BadExample("undecodable", f"is damaged in the archive ({_said(error)}): fetch it again.")


def _refusal(member: zipfile.ZipInfo, largest: int) -> BadExample | None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return _link()
    if kind not in (0, stat.S_IFREG):
        return _no_file()
    if member.flag_bits & 1:
        return BadExample("unreadable", "is encrypted: pack the archive without a password.")
    return _too_large(member.file_size, largest) if member.file_size > largest else None


def _unread() -> BadExample:
    """What becomes an example only where the folder is not beside those of the classes but in one."""
    return BadExample("unreadable", "lies in a folder called unsup, which is for texts of no class: rename the folder.")


def _no_file() -> BadExample:
    return BadExample("unreadable", "is no file (a device or a pipe): leave it out of the archive.")


def _link(target: str = "") -> BadExample:
    to = f" to {printable(target)}" if target else ""
    return BadExample("unreadable", f"is a link{to}, and links are not followed: pack the file itself.")


def _too_large(size: int, largest: int) -> BadExample:
    return BadExample("too-large", f"is {size:,} bytes long, and an example may have {largest:,}: cut it into several.")


def _too_large_whole(path: Path) -> DataError:
    return DataError(f"{path} holds more than {_LARGEST_WHOLE / 2**30:.3g} GiB: unpack it into a folder and name that.")


class _Header(tarfile.TarInfo):
    """One whose damage is an error: tarfile takes a damaged header for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> "_Header":
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf == bytes(tarfile.BLOCKSIZE):  # the mark of the end
                raise
            raise tarfile.ReadError(f"{error} where a file or the end should be") from error
        extends = header.type in (
            tarfile.XHDTYPE,
            tarfile.XGLTYPE,
            tarfile.SOLARIS_XHDTYPE,
            tarfile.GNUTYPE_LONGNAME,
            tarfile.GNUTYPE_LONGLINK,
        )
        if header.size < 0 or (extends and header.size > _LARGEST_HEADER):
            raise tarfile.ReadError(f"a header says {header.size:,} bytes")
        return header


class _Counted:
    """A decompressed stream that ends in an error where it grows too large."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._file = file
        self._read = 0

    def read(self, size: int) -> bytes:
        """At most so many bytes, b"" at the end."""
        block = self._file.read(size)
        self._read += len(block)
        if self._read > _LARGEST_WHOLE:
            raise _too_large_whole(self._path)
        return block


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        raise DataError(f"{path} is a damaged archive ({_said(error)}): fetch it again.") from error


def _said(error: BaseException) -> str:
    return (str(error).strip().rstrip(".") or type(error).__name__).partition("\n")[0]
