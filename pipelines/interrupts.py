"""Signals that end a run in good order: the step is finished, the state saved, exit 75."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, Self

from pipelines.errors import Preempted, SixfoldError

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
DEADLINE_SECONDS = 9.0
"""From the signal to the end of the process, whatever it is doing: batch systems kill soon after they have asked."""


class Interrupted(KeyboardInterrupt):
    """A signal has come, and nothing is half done: raised by `Interrupts.check`."""


class Interrupts:
    """While it is entered, SIGTERM, SIGINT and SIGUSR1 raise KeyboardInterrupt in the main thread; within `postponed`
    they only raise where `check` is called, which is between two steps.

    Args:
        hard: end the process itself where Python does not get to it: at the second SIGINT at once, with exit 130, and
            after `DEADLINE_SECONDS` with that of `last_words`. For a command's own process, not for a guest in
            somebody else's.
    """

    def __init__(self, *, hard: bool = False) -> None:
        self.received: signal.Signals | None = None
        self.last_words: Callable[[signal.Signals], SixfoldError] = lambda number: Preempted("")
        """What a process that this signal ends where it is does last; what it says, and its exit code."""
        self._hard, self.is_guest = hard, not hard
        self._postponed = self._waiting = False
        self._ask: Callable[[int], int] = int
        self._handlers: dict[signal.Signals, Any] = {}
        self._pipe: tuple[int, int] | None = None
        self._wakeup = -1

    def __enter__(self) -> Self:
        """Take the signals over. Outside the main thread, where Python allows no handlers, they stay as they are."""
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._handle) for number in SIGNALS}
            if self._hard:
                self._pipe = os.pipe()
                os.set_blocking(self._pipe[1], False)
                self._wakeup = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
                threading.Thread(target=self._watch, args=(self._pipe[0],), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signals back; in a process of our own that is about to end because of one, it stays that one."""
        for number, handler in self._handlers.items():
            signal.signal(number, signal.SIG_IGN if self._hard and self.received is not None else handler)
        if self._pipe:
            signal.set_wakeup_fd(self._wakeup)
            os.close(self._pipe[1])

    def check(self) -> None:
        """Raise Interrupted if a signal has come, to this process or to one that computes with it."""
        number = self._ask(self.received or 0)
        if number:
            self.received = self.received or signal.Signals(number)
            raise Interrupted

    @contextmanager
    def postponed(self, ask: Callable[[int], int] = int) -> Iterator[None]:
        """Raise at `check` only, and at the end.

        Args:
            ask: the number of a signal, or 0 -> the largest of those of all processes that check together, so that
                they all stop at the same place.
        """
        self._postponed, self._ask = True, ask
        try:
            yield
            self.check()
        finally:
            self._postponed, self._ask = False, int
        if self.received is not None:  # just now
            raise Interrupted

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """The deadline waits: for a state to be written, which is what it is all for."""
        self._waiting = True
        try:
            yield
        finally:
            self._waiting = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self.received is not None
        self.received = self.received or signal.Signals(number)
        # Once is enough: what the first one has begun to bring to its end is not to be cut short by a second.
        if number == signal.SIGINT if again else not self._postponed:
            raise KeyboardInterrupt

    def _watch(self, pipe: int) -> None:
        """Read the signals' numbers as the C handler writes them: that works while the main thread is inside a long
        call."""
        first, seen_interrupt = None, False
        while numbers := os.read(pipe, 16):
            for number in numbers:
                if number == signal.SIGINT and first is not None and seen_interrupt:
                    _show_cursor()
                    self.last_words(signal.SIGINT)
                    os._exit(130)
                seen_interrupt = seen_interrupt or number == signal.SIGINT
                if number in SIGNALS and first is None:
                    first = signal.Signals(number)
                    more = "; Ctrl-C once more ends it at once" if first == signal.SIGINT else ""
                    _tell(f"{first.name}: finishing what cannot be cut off{more}")
                    threading.Thread(target=self._expire, args=(first,), daemon=True).start()
        os.close(pipe)

    def _expire(self, number: signal.Signals) -> None:
        time.sleep(DEADLINE_SECONDS)
        while self._waiting:
            time.sleep(0.1)
        if self._handlers and signal.getsignal(number) == self._handle:
            _show_cursor()
            end = self.last_words(number)
            _tell(f"stopped by {number.name} in the middle of a long call: {end}")
            os._exit(end.exit_code)


def _show_cursor() -> None:
    """A progress bar hides it."""
    if sys.stderr.isatty():
        os.write(2, b"\x1b[?25h\n")


def _tell(text: str) -> None:
    """Say something from beside the main thread, whatever that is doing."""
    with suppress(OSError):
        os.write(2, f"{text}\n".encode())
