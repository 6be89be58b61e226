"""One pass over all examples, on several threads. What is found is kept: an unchanged example is not read again.

The findings of a source lie in one file below $SIXFOLD_CACHE (default ~/.cache/sixfold). A damaged one is ignored.
"""

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Inspect = Callable[[int], tuple[int, Sequence[int]]]
"""An example's index -> (content hash, facts); BadExample where it is unusable. Called on several threads."""

UNKNOWN = 0
"""The key of what cannot be recognised again."""

_CHUNK = 64


class BadExample(Exception):
    """An example that cannot be used, and why."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


@dataclass(frozen=True)
class Scan:
    """What is known of each example."""

    hashes: np.ndarray
    """uint64 [n]; 0 where the example is bad."""
    facts: np.ndarray
    """int64 [n, facts]; 0 where the example is bad."""
    bad: dict[int, BadExample]


def content_hash(data: bytes | memoryview) -> int:
    """64 bits of blake2b: among a million examples, the chance of any false duplicate is 1 in 37 million."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def file_keys(paths: Sequence[bytes]) -> np.ndarray:
    """uint64 [n]: each file by path, size and time of change; UNKNOWN where there is none."""
    return np.fromiter((_file_key(path) for path in paths), np.uint64, len(paths))


def scan(keys: np.ndarray, inspect: Inspect, facts: int, name: str, advance: Callable[[int], None]) -> Scan:
    """Inspect every example whose key is not known from an earlier scan.

    Args:
        keys: uint64 [n], by which an unchanged example is recognised; UNKNOWN is always inspected.
        inspect: what finds out about one.
        facts: how many facts it gives.
        name: of the findings: source, task and version of what is found out.
        advance: told how many examples were done since the last call.
    """
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    path = cache_folder() / "scans" / f"{digest}.npz"
    hashes, found = np.zeros(len(keys), np.uint64), np.zeros((len(keys), facts), np.int64)
    known = _recall(path, keys, hashes, found)
    todo = np.flatnonzero(~known).tolist()
    advance(len(keys) - len(todo))
    bad: dict[int, BadExample] = {}

    def inspect_some(start: int) -> int:
        chunk = todo[start : start + _CHUNK]
        for index in chunk:
            try:
                hashes[index], found[index] = inspect(index)
            except BadExample as problem:
                bad[index] = problem
        return len(chunk)

    threads = ThreadPoolExecutor(min(os.cpu_count() or 1, 16))
    try:
        for done in threads.map(inspect_some, range(0, len(todo), _CHUNK)):
            advance(done)
    finally:
        # Interrupted, it stops at once, and keeps what it has found so far.
        threads.shutdown(cancel_futures=True)
        if todo:
            _remember(path, keys, hashes, found)
    return Scan(hashes, found, dict(sorted(bad.items())))


def cache_folder() -> Path:
    """$SIXFOLD_CACHE, or ~/.cache/sixfold; for a user without a home, a folder of their own among temporary files."""
    if named := os.environ.get("SIXFOLD_CACHE"):
        return Path(named)
    try:
        return Path.home() / ".cache" / "sixfold"
    except RuntimeError:  # in a container, for a user id that it has no entry for
        return Path(tempfile.gettempdir()) / f"sixfold-{os.getuid()}"


def _file_key(path: bytes) -> int:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return UNKNOWN
    # The time of the inode's change too: that of the content can be set, and copying tools do.
    return content_hash(b"%s|%d|%d|%d" % (path, status.st_size, status.st_mtime_ns, status.st_ctime_ns))


def _recall(path: Path, keys: np.ndarray, hashes: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Fill in what is known; bool [n]."""
    nothing = np.zeros(len(keys), bool)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            known_keys, known_hashes, known_facts = kept["keys"], kept["hashes"], kept["facts"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return nothing
    if (
        not len(known_keys)
        or known_facts.shape != (len(known_keys), found.shape[1])
        or len(known_hashes) != len(known_keys)
    ):
        return nothing
    place = np.minimum(np.searchsorted(known_keys, keys), len(known_keys) - 1)
    known = (known_keys[place] == keys) & (keys != UNKNOWN)
    hashes[known], found[known] = known_hashes[place[known]], known_facts[place[known]]
    return np.asarray(known)


def _remember(path: Path, keys: np.ndarray, hashes: np.ndarray, found: np.ndarray) -> None:
    good = np.flatnonzero((keys != UNKNOWN) & (hashes != 0))
    order = good[np.argsort(keys[good], kind="stable")]
    aside = path.with_name(f"{path.stem}.{os.getpid()}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(aside, keys=keys[order], hashes=hashes[order], facts=found[order])
        os.replace(aside, path)
    except OSError:
        # Nowhere to keep it (a read-only home, a full disk): the next scan reads everything again, no more.
        with suppress(OSError):
            aside.unlink()
