"""The processes that compute a run together, one of them its chief, as TF_CONFIG names them. Imports no TensorFlow.

All of them train; the chief alone keeps the run folder, and does what comes after training.
"""

import json
import os
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

    @property
    def is_chief(self) -> bool:
        """Whether this one keeps the run folder."""
        return self.rank == 0

    def largest(self, number: int) -> int:
        """Of every worker's number, none below 0, the largest."""
        numbers = np.zeros(self.count, np.int32)
        numbers[self.rank] = number
        return int(self.add(numbers).max())

    def from_chief(self, content: bytes = b"") -> bytes:
        """The chief's content, on every worker; that of the others does not matter."""
        if self.count == 1:
            return content
        content = content if self.is_chief else b""
        words, rest = self.add(np.array([-(-len(content) // 4), -len(content) % 4], np.int32)).tolist()
        mine = np.zeros(words, np.int32)
        mine.view(np.uint8)[: len(content)] = np.frombuffer(content, np.uint8)
        parts = [self.add(mine[at : at + _WORDS_AT_ONCE]) for at in range(0, words, _WORDS_AT_ONCE)]
        return b"".join(part.tobytes() for part in parts)[: 4 * words - rest]


ALONE = Workers()


def place() -> Workers:
    """This process's place by TF_CONFIG; alone where that is not set, or names one worker.

    Raises:
        ConfigError: TF_CONFIG is not what TensorFlow takes, or names other kinds of processes.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return ALONE
    try:
        told = json.loads(text)
        cluster, kind, index = told["cluster"], told["task"]["type"], int(told["task"]["index"])
        chiefs, workers = len(cluster.get("chief", [])), len(cluster.get("worker", []))
        known = {"chief": range(chiefs), "worker": range(workers)}
        if cluster.keys() - known.keys() or chiefs > 1 or index not in known[kind]:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(
            f'{VARIABLE}: {text!r} names no worker of a cluster, as {{"cluster": {{"worker": ["host:port", ...]}}, '
            '"task": {"type": "worker", "index": 0}} does: set it so, or unset it.'
        ) from None
    return Workers(index + chiefs * (kind == "worker"), chiefs + workers)
