"""Several processes on the JAX backend: how they find each other, what they ask, how one ends without the others."""

import ctypes
import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pipelines.errors import DeviceError, WorkerLost, told_as
from pipelines.workers import Workers, check_port

_LOST = re.compile(r"gloo|nccl|coordination service|heartbeat|connection (reset|closed|refused)", re.IGNORECASE)
"""What the errors of XLA say where it cannot reach a worker; they have no type of their own."""
_HEARTBEAT_SECONDS = 60
_JOIN_SECONDS, _MEASURING_SECONDS = 300, 3600
"""How long one waits for the others to come, and for a chief that measures what is left open before it does."""
_WAIT_SECONDS = 7 * 24 * 3600
"""How long one may wait for another that is alive: for data to be read, or weights to be solved for."""
_GRACE_SECONDS = 5.0
"""For the main thread to find out by itself that a worker is gone, and to end in good order."""
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_int)


def join(workers: Workers, *, measuring: bool = False) -> Workers:
    """Wait for the others; what they can be asked then. Where they do not come, the process ends with 75.

    Args:
        workers: this process's place.
        measuring: whether the chief measures something first.

    Raises:
        ConfigError: the chief's port is taken.
        DeviceError: JAX has started already.
    """
    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # type: ignore[no-untyped-call]
    # It would take over SIGTERM, which has its meaning here.
    jax.config.update("jax_enable_preemption_service", False)  # type: ignore[no-untyped-call]
    longest = f"--xla_cpu_collective_timeout_seconds={_WAIT_SECONDS}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {longest}".strip()
    if workers.is_chief:
        check_port(workers.addresses[0])
    ctypes.CDLL(None).signal(int(signal.SIGABRT), _ABORTED)
    try:
        jax.distributed.initialize(
            workers.addresses[0],
            workers.count,
            workers.rank,
            cluster_detection_method="deactivate",
            initialization_timeout=_MEASURING_SECONDS if measuring else _JOIN_SECONDS,
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=_WAIT_SECONDS,
        )
    except RuntimeError as error:
        signal.signal(signal.SIGABRT, signal.SIG_DFL)
        raise DeviceError(
            f"JAX does not start with several workers ({str(error).partition(chr(10))[0]}): use a process in which it "
            "was not started before, and see the chief's address in TF_CONFIG."
        ) from error
    with together():
        found = replace(workers, add=_adder(workers.count))
        found.largest(0)  # connects them
    return found


def leave() -> None:
    """Go on alone; waits until all others leave too."""
    with together():
        jax.distributed.shutdown()  # type: ignore[no-untyped-call]
    signal.signal(signal.SIGABRT, signal.SIG_DFL)


def together(others: bool = True) -> AbstractContextManager[None]:
    """What several workers compute. Raises WorkerLost where one is gone; where there are no others, nothing is said of
    what fails."""
    causes = ValueError, RuntimeError
    return told_as(WorkerLost, "another worker is gone", causes, lambda e: others and bool(_LOST.search(str(e))))


def _adder(count: int) -> Callable[[np.ndarray], np.ndarray]:
    """See Workers.add. A device of each worker counts."""
    firsts = {device.process_index: device for device in reversed(jax.devices())}
    mesh = Mesh(np.array([firsts[rank] for rank in range(count)]), ("workers",))
    apart, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("workers",), ()))  # type: ignore[no-untyped-call]
    total = jax.jit(lambda numbers: numbers.sum(0), out_shardings=whole)

    def add(numbers: np.ndarray) -> np.ndarray:
        with together():
            every = jax.make_array_from_process_local_data(apart, numbers[None])  # type: ignore[no-untyped-call]
            return np.asarray(total(every))

    return add


def _aborted(_: int) -> None:
    """JAX's coordination service ends a process by abort() where it misses another's heartbeats, or the chief."""
    time.sleep(_GRACE_SECONDS)
    os.write(2, b"stopped, as another worker is gone: what was saved stands; give the same command again.\n")
    os._exit(WorkerLost.exit_code)


_ABORTED = _Handler(_aborted)
"""Kept, as C has it. Python's own handlers come too late: they run when the main thread gets round to it."""
