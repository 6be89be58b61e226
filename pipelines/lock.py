"""One process works on a run folder at a time. The system itself lifts the lock of a process that died."""

import datetime
import fcntl
import json
import os
import socket
from pathlib import Path
from typing import IO

from pipelines.errors import StateError


class Lock:
    """The file `lock` in a folder, held by flock(2). Its content only says who holds it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take it; one that a dead process left behind is taken over.

        Raises:
            StateError: another process holds it.
        """
        while self._file is None:
            file = self._path.open("a+", encoding="utf-8")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with file:
                    holder = _holder(file)
                raise StateError(
                    f"{self._path.parent} is being worked on by {holder}: wait for it to end, or work in another "
                    "folder."
                ) from None
            if _same(file, self._path):
                self._file = file
            else:
                file.close()  # its holder has removed it between our opening and our locking
        self._file.truncate(0)
        about = {"pid": os.getpid(), "host": socket.gethostname(), "since": f"{datetime.datetime.now():%F %T}"}
        self._file.write(json.dumps(about))
        self._file.flush()

    def move_to_new(self, folder: Path) -> None:
        """Make the folder, whose name was freed by renaming the locked one, and lock it too before letting go."""
        folder.mkdir()
        new = Lock(folder)
        new.acquire()
        if self._file is not None:
            self._file.close()
        self._path, self._file = new._path, new._file

    def release(self) -> None:
        """Give it back, and remove it."""
        if self._file is not None:
            if _same(self._file, self._path):
                self._path.unlink()
            self._file.close()
            self._file = None


def _same(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _holder(file: IO[str]) -> str:
    file.seek(0)
    try:
        about = json.loads(file.read())
        return f"process {about['pid']} on {about['host']}, since {about['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
