"""Several workers of one run on this machine: started, heard, and ended together. Imports no TensorFlow."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, Any, TextIO

from pipelines.children import how_it_ended, module, with_our_code
from pipelines.errors import ConfigError, Preempted
from pipelines.interrupts import SIGNALS
from pipelines.workers import VARIABLE

_MEASURES = ((20.0, signal.SIGTERM), (45.0, signal.SIGKILL))
"""Seconds after one has failed, and what the others get then: what computes together notices by itself, in about ten,
and says what it saved."""
_LAUNCHED = "SIXFOLD_LAUNCHED"
"""Set for a worker that is to stop when its launcher is gone."""
_POLL_SECONDS = 0.1
_LINES = threading.Lock()


def launch(count: int, words: Sequence[str]) -> int:
    """Run a command line of Sixfold in so many workers, until all have ended.

    Returns: 0 where all did; else what the first said that failed by itself; 75 where they were only stopped, as by a
        signal or the death of one.
    """
    failed: float | None = None
    workers, measures, codes = list[subprocess.Popen[str]](), list(_MEASURES), dict[int, int]()
    unheard = threading.Event()
    with _passed_on(workers), _started(workers, count, words, unheard):
        while len(codes) < count:
            for rank, worker in enumerate(workers):
                if rank not in codes and (code := worker.poll()) is not None:
                    codes[rank] = code
                    if code < 0 and measures:  # not by the last of them
                        _say(rank, f"is gone: {how_it_ended(code, '')}", sys.stderr)
            if unheard.is_set():
                unheard.clear()
                _send(workers, signal.SIGTERM)
            if any(codes.values()):
                failed = failed or time.monotonic()
                if measures and time.monotonic() - failed > measures[0][0]:
                    _send(workers, measures.pop(0)[1])
            time.sleep(_POLL_SECONDS)
    bad = [code for code in codes.values() if code]  # in the order in which they ended
    own = [code for code in bad if code > 0 and code != Preempted.exit_code]
    return own[0] if own else Preempted.exit_code if bad else 0


def stop_with_the_launcher() -> None:
    """In a worker: where what launched it is killed, a signal as it would have passed on, that no worker is left to
    hold the run folder."""
    if os.environ.pop(_LAUNCHED, None):
        threading.Thread(target=_outlive, daemon=True).start()


def _outlive() -> None:
    while os.read(0, 1):  # not by sys.stdin, whose lock would be held when this process ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _started(
    workers: list[subprocess.Popen[str]], count: int, words: Sequence[str], unheard: threading.Event
) -> Iterator[None]:
    """In here the processes run, each in a session of its own, so that a terminal's Ctrl-C reaches them once; behind it
    none is left. Where nobody reads any more what they say, that is set."""
    listeners = list[threading.Thread]()
    try:
        _start_all(workers, count, words)
        for rank, worker in enumerate(workers):
            for source, target in ((worker.stdout, sys.stdout), (worker.stderr, sys.stderr)):
                listener = threading.Thread(target=_repeat, args=(rank, source, target, unheard), daemon=True)
                listener.start()
                listeners.append(listener)
        yield
    finally:
        _send(workers, signal.SIGKILL)
        for worker in workers:
            worker.wait()
        for listener in listeners:
            listener.join(timeout=1)
        if not any(listener.is_alive() for listener in listeners):  # else a child of a worker's has its pipe
            for worker in workers:
                with worker:
                    pass  # its pipes are closed


def _start_all(workers: list[subprocess.Popen[str]], count: int, words: Sequence[str]) -> None:
    try:
        addresses = [f"127.0.0.1:{port}" for port in _free_ports(count)]
        for rank in range(count):
            told = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
            workers.append(_start(words, told))
    except OSError as error:
        raise ConfigError(f"workers: {count} cannot be started here ({error.strerror}): take fewer.") from error


def _start(words: Sequence[str], told: dict[str, Any]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        module("pipelines.cli", *words),
        env={**os.environ, VARIABLE: json.dumps(told), _LAUNCHED: "1", **with_our_code()},
        stdin=subprocess.PIPE,  # nothing is written there: it ends when this process does
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def _free_ports(count: int) -> list[int]:
    """Of this machine, as it finds them free just now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _repeat(rank: int, source: IO[str], target: TextIO, unheard: threading.Event) -> None:
    """Each line of a worker, with its number. Those that nobody reads are taken too, as it would wait for that."""
    for line in source:
        if not _say(rank, line.rstrip("\n"), target):
            unheard.set()


def _say(rank: int, line: str, target: TextIO) -> bool:
    """Whether it could be said."""
    try:
        with _LINES:
            print(f"[{rank}] {line}", file=target, flush=True)
    except OSError:
        return False
    return True


@contextmanager
def _passed_on(workers: list[subprocess.Popen[str]]) -> Iterator[None]:
    """In here a signal to this process is one to each of the workers."""
    before = {number: signal.signal(number, lambda got, _: _send(workers, got)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _send(workers: list[subprocess.Popen[str]], number: int) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.send_signal(number)
