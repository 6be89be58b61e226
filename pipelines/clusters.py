"""Where a scheduler says that this worker stands among the workers of its job: TF_CONFIG from the variables it sets."""

import itertools
import re
import socket
import time
from collections.abc import Mapping
from typing import Any, Literal

from pipelines.errors import ConfigError, Preempted

Scheduler = Literal["slurm", "kubernetes"]
SCHEDULERS: tuple[Scheduler, ...] = ("slurm", "kubernetes")
ADDRESSES = "SIXFOLD_WORKERS"
"""On Kubernetes: host:port of every worker, by comma, in the order of the completion index."""
_FIRST_PORT, _PORTS = 20_000, 10_000
_PATIENCE_SECONDS = 600.0


def told_by(scheduler: Scheduler, variables: Mapping[str, str]) -> dict[str, Any]:
    """What TF_CONFIG is to hold.

    Raises:
        ConfigError: this is no process of that scheduler's.
    """
    try:
        addresses, rank = _slurm(variables) if scheduler == "slurm" else _kubernetes(variables)
        addresses[rank]
    except (KeyError, ValueError, IndexError) as error:
        missing = f"{error.args[0]} is not set" if isinstance(error, KeyError) else str(error)
        raise ConfigError(
            f"--by {scheduler}: this is no worker of a job of {scheduler} ({missing}): use --workers instead."
        ) from None
    return {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}


def await_names(addresses: list[str], patience: float = _PATIENCE_SECONDS) -> None:
    """Wait until every host has an address: a pod's name is known some time after it was made.

    Raises:
        Preempted: one still has none; the job is to be started again.
    """
    deadline = time.monotonic() + patience
    for address in addresses:
        host = address.rpartition(":")[0]
        while True:
            try:
                socket.getaddrinfo(host, None)
                break
            except socket.gaierror:
                if time.monotonic() > deadline:
                    raise Preempted(f"the worker {host} has no address after {patience:g} s: start again.") from None
                time.sleep(min(1.0, patience))


def _slurm(variables: Mapping[str, str]) -> tuple[list[str], int]:
    """Of a step of srun with --distribution=block: the first tasks are on the first node."""
    nodes = expand_nodes(variables["SLURM_STEP_NODELIST"])
    counts = expand_counts(variables["SLURM_STEP_TASKS_PER_NODE"])
    if len(nodes) != len(counts):
        raise ValueError(f"{len(nodes)} nodes and tasks for {len(counts)}")
    # Jobs that share a node differ in their number, and so in their ports.
    first = _FIRST_PORT + int(variables["SLURM_JOB_ID"]) * 37 % _PORTS
    addresses = [f"{node}:{first + task}" for node, count in zip(nodes, counts, strict=True) for task in range(count)]
    return addresses, int(variables["SLURM_PROCID"])


def _kubernetes(variables: Mapping[str, str]) -> tuple[list[str], int]:
    return variables[ADDRESSES].split(","), int(variables["JOB_COMPLETION_INDEX"])


def expand_nodes(text: str) -> list[str]:
    """Slurm's short form of a list of nodes: 'a[01-03,7],b' -> a01, a02, a03, a7, b."""
    names = []
    for one in re.findall(r"(?:[^,\[\]]|\[[^\]]*\])+", text):
        pieces = re.split(r"\[([^\]]*)\]", one)
        choices = [_numbers(piece) if index % 2 else [piece] for index, piece in enumerate(pieces)]
        names += ["".join(parts) for parts in itertools.product(*choices)]
    return names


def _numbers(text: str) -> list[str]:
    found = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += [str(number).zfill(len(first)) for number in range(int(first), int(last or first) + 1)]
    return found


def expand_counts(text: str) -> list[int]:
    """Slurm's short form of a list of counts: '2(x3),1' -> 2, 2, 2, 1."""
    parts = [re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part) for part in text.split(",")]
    if not all(parts):
        raise ValueError(f"{text!r} are no counts of tasks")
    return [int(part[1]) for part in parts if part for _ in range(int(part[2] or 1))]
