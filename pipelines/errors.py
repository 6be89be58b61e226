"""Errors a user can mend: each is one sentence and an exit code, never a traceback."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar


class SixfoldError(Exception):
    """A failure with a remedy. The message says what is wrong, where, and what to do."""

    exit_code: ClassVar[int] = 1


class ConfigError(SixfoldError):
    """Wrong usage or configuration."""

    exit_code = 2


class DataError(SixfoldError):
    """The data cannot be used as it is."""

    exit_code = 3


class DeviceError(SixfoldError):
    """A required device or backend is missing."""

    exit_code = 4


class RunError(SixfoldError):
    """The run cannot succeed as configured: NaN loss, out of memory, a failed parity check."""

    exit_code = 5


_NO_MEMORY = (
    "there is not enough memory for this. What a run has finished stays finished: end what else runs here, or take a "
    "machine or a GPU with more memory, and give the same command again (for a run, sixfold resume)."
)


class OutOfMemory(RunError):
    """Something does not fit into memory. Of a batch of training the loop knows more to say."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or _NO_MEMORY)


class NotServed(SixfoldError):
    """A model that no SavedModel can be made of, and why. No failure of its run, which says so and goes on."""

    exit_code = 5


class StateError(SixfoldError):
    """What a run folder holds cannot be used: damaged, of other data, of another version."""

    exit_code = 78


class Preempted(SixfoldError):
    """A signal ended the run; its state is saved, and the same command goes on."""

    exit_code = 75


class WorkerLost(Preempted):
    """Another worker is gone, and with it what this one computes; what was saved before stands."""


def named(name: str, message: str) -> SixfoldError:
    """The error of another process, by the name of its class; of none that is known a RunError."""
    kind = globals().get(name)
    return kind(message) if isinstance(kind, type) and issubclass(kind, SixfoldError) else RunError(message)


@contextmanager
def told_as(
    kind: type[SixfoldError],
    message: str,
    causes: type[Exception] | tuple[type[Exception], ...],
    when: Callable[[Exception], bool] = lambda _: True,
) -> Iterator[None]:
    """In here a library's errors of these classes, of which `when` holds, are one of ours."""
    try:
        yield
    except causes as error:
        if not when(error):
            raise
        raise kind(message) from error
