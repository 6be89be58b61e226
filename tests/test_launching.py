"""How the processes that launch starts are heard and ended: plain ones, in place of Sixfold's."""

import errno
import io
import os
import signal
import sys
import time
from typing import Any

import pytest

from pipelines import launching
from pipelines.errors import ConfigError
from pipelines.launching import launch
from pipelines.workers import VARIABLE

pytestmark = pytest.mark.usefixtures("stand_ins")


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of Sixfold, launch starts Python with the code that it is given; it waits for nobody long."""
    begin = f"import json, os, sys, time; rank = json.loads(os.environ[{VARIABLE!r}])['task']['index']; "
    monkeypatch.setattr(launching, "module", lambda name, code: [sys.executable, "-c", begin + code])
    monkeypatch.setattr(launching, "_MEASURES", ((0.1, signal.SIGTERM), (5.0, signal.SIGKILL)))


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [
        ("sys.exit('füünf'[:3])", 1, "[1] füü\n"),
        ("os.write(2, 'half a line, ½'.encode()); sys.exit(3)", 3, "[1] half a line, ½\n"),
        ("os.kill(os.getpid(), 9)", 75, "[1] is gone: it dies of SIGKILL, as where memory runs out\n"),
    ],
)
def test_launch_ends_all_where_one_fails(ending: str, code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The others too where it is not the first."""
    began = time.monotonic()
    assert launch(3, [f"time.sleep(60) if rank != 1 else {ending}"]) == code
    assert time.monotonic() - began < 30
    assert said in capsys.readouterr().err


def test_launch_ends_all_where_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that writes on must not wait for ever."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    began = time.monotonic()
    assert launch(2, ["[print(rank, flush=True) for _ in range(20_000)]; time.sleep(60)"]) == 75
    assert time.monotonic() - began < 30


def test_more_workers_than_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, start = [], launching._start

    def second_fails(*given: Any) -> Any:
        if begun:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        begun.append(start(*given))
        return begun[0]

    monkeypatch.setattr(launching, "_start", second_fails)
    with pytest.raises(ConfigError, match=r"workers: 3 cannot be started here \(Too many open files\): take fewer"):
        launch(3, ["time.sleep(60)"])
    assert begun[0].returncode == -signal.SIGKILL
