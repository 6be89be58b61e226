"""The processes that compute a run together, one of them its chief, as TF_CONFIG names them. Imports no TensorFlow.

All of them train; the chief alone keeps the run folder, and does what comes after training.
"""

import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipelines.errors import ConfigError

VARIABLE = "TF_CONFIG"
_WORDS_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Workers:
    """This process's place among the workers, and what it can ask all of them; by default it is alone.

    Whatever asks the others is called by every worker, in the same order.
    """

    rank: int = 0
    count: int = 1
    add: Callable[[np.ndarray], np.ndarray] = lambda numbers: numbers
    """int32 [n] of each worker -> their sum int32 [n], on every worker."""
    addresses: tuple[str, ...] = ()
    """host:port of each, the chief's first."""

    @property
    def is_chief(self) -> bool:
        """Whether this one keeps the run folder."""
        return self.rank == 0

    def largest(self, number: int) -> int:
        """Of every worker's number, none below 0, the largest."""
        return int(self.most(np.array([number], np.int32))[0])

    def most(self, numbers: np.ndarray) -> np.ndarray:
        """int32 [n]: of every worker's numbers [n], none below 0, the largest each."""
        every = np.zeros((self.count, numbers.size), np.int32)
        every[self.rank] = numbers
        largest: np.ndarray = self.add(every.reshape(-1)).reshape(every.shape).max(0)
        return largest

    def from_chief(self, content: bytes = b"") -> bytes:
        """The chief's content, on every worker; that of the others does not matter."""
        if self.count == 1:
            return content
        content = content if self.is_chief else b""
        size = self.add(np.array([-(-len(content) // 4), -len(content) % 4], np.int32))
        words, rest = size.tolist()
        return self._joined(content.ljust(4 * words, b"\0"))[: 4 * words - rest]

    def joined(self, part: np.ndarray) -> np.ndarray:
        """An array of which each worker has some elements and zeros for the others, whole on every worker."""
        content = part.tobytes()
        whole = self._joined(content.ljust(-(-len(content) // 4) * 4, b"\0"))
        return np.frombuffer(bytearray(whole), part.dtype, part.size).reshape(part.shape)

    def _joined(self, content: bytes) -> bytes:
        """Of contents of one length, a multiple of 4, each worker's own bits, where the others have zeros."""
        mine = np.frombuffer(content, np.int32)
        parts = [self.add(mine[at : at + _WORDS_AT_ONCE]) for at in range(0, mine.size, _WORDS_AT_ONCE)]
        return b"".join(part.tobytes() for part in parts)


ALONE = Workers()


@dataclass(frozen=True)
class Cluster:
    """The processes of a run, and which of them this one is."""

    members: dict[str, list[str]]
    """Kind, chief or worker, -> host:port of each."""
    kind: str
    index: int


def cluster() -> Cluster | None:
    """What TF_CONFIG says; None where it is not set.

    Raises:
        ConfigError: it is not what TensorFlow takes, or names other kinds of processes.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    try:
        told = json.loads(text)
        members, kind, index = told["cluster"], told["task"]["type"], int(told["task"]["index"])
        known = {kind: range(len(members.get(kind, []))) for kind in ("chief", "worker")}
        if members.keys() - known.keys() or len(known["chief"]) > 1 or index not in known[kind]:
            raise ValueError
        addresses = [one for hosts in members.values() for one in hosts]
        split = [one.rpartition(":") for one in addresses]
        if len({*addresses}) < len(addresses) or not all(host and 0 < int(port) < 2**16 for host, _, port in split):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(
            f'{VARIABLE}: {text!r} names no worker of a cluster, as {{"cluster": {{"worker": ["host:port", ...]}}, '
            '"task": {"type": "worker", "index": 0}} does: set it so, or unset it.'
        ) from None
    return Cluster(members, kind, index)


def place() -> Workers:
    """This process's place by TF_CONFIG; alone where that is not set, or names one worker.

    Raises:
        ConfigError: see `cluster`.
    """
    found = cluster()
    if found is None:
        return ALONE
    chiefs, workers = (found.members.get(kind, []) for kind in ("chief", "worker"))
    rank = found.index + len(chiefs) * (found.kind == "worker")
    return Workers(rank, len(chiefs) + len(workers), addresses=(*chiefs, *workers))


def check_port(address: str) -> None:
    """Whether this process can listen there: neither library says it well, and JAX crashes.

    Raises:
        ConfigError: it cannot.
    """
    try:
        socket.create_server(("", int(address.rpartition(":")[2]))).close()
    except OSError as error:
        raise ConfigError(
            f"{VARIABLE}: this worker cannot listen at the port of its address {address} ({error}): name a free one."
        ) from error
