"""`sixfold doctor`: what this installation and this machine can do, and what they lack. Nothing here imports TensorFlow
or JAX: processes of their own do, which may crash or hang."""

import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pipelines import __version__, machine
from pipelines.devices.accelerators import why_no_tpu
from pipelines.devices.probe import probe
from pipelines.doctor.packages import extras, needed, versions
from pipelines.doctor.surroundings import caches, cluster, disk, network

Report = dict[str, Any]
LIBRARIES = ("tensorflow", "jax")
PATIENCE = 300.0
"""Seconds in which a library must have started: from a cold network disk that takes minutes."""
_LITTLE = 1 << 30
"""Bytes of a disk below which a run is likely to fill it."""


def examine(patience: float = PATIENCE) -> Report:
    """All findings, of plain types alone. "problems" are those that runs end of, "warnings" what may surprise."""
    with ThreadPoolExecutor() as threads:
        libraries = {name: threads.submit(probe, name, patience) for name in LIBRARIES}
        hosts = threads.submit(network)
        report: Report = {
            "sixfold": __version__,
            "python": {"version": platform.python_version(), "executable": sys.executable},
            "packages": versions(),
            "needed": needed(),
            "extras": extras(),
            "machine": _machine(),
            "disk": disk(),
            "caches": caches(),
            "cluster": cluster(),
            "why_no_tpu": why_no_tpu(),
            "network": hosts.result(),
            "libraries": {name: answer.result() for name, answer in libraries.items()},
        }
    problems = _problems(report)
    return {"ok": not problems, "problems": problems, "warnings": _warnings(report), **report}


def _machine() -> dict[str, Any]:
    return {
        "processor": machine.processor(),
        "cores": machine.cores(),
        "core_limit": machine.core_limit(),
        "features": machine.features(),
        "memory": machine.memory(),
        "available": machine.available_memory(),
    }


def _problems(report: Report) -> list[str]:
    """What Sixfold cannot do without."""
    found = [f"{one['package']}: {one['problem']}" for one in report["needed"] or []]
    tensorflow = report["libraries"]["tensorflow"]
    if not tensorflow["works"]:
        found.append(f"TensorFlow cannot compute: {tensorflow['error']}")
    return found


def _warnings(report: Report) -> list[str]:
    """What works, and yet may not be as it is wished."""
    found = []
    jax = report["libraries"]["jax"]
    if jax["installed"] and not jax["works"]:
        found.append(f"JAX cannot compute: {jax['error']}")
    if report["needed"] is None:
        found.append("sixfold is not installed as a package, so what it needs is not known: pip install -e .")
    for place in report["disk"]:
        if not place["writable"]:
            found.append(f"{place['folder']} cannot be written, where {place['for']} go")
        elif place["free"] < _LITTLE:
            found.append(f"{place['folder']} has only {machine.gigabytes(place['free'])} left for {place['for']}")
    if report["cluster"] and report["cluster"]["error"]:
        found.append(report["cluster"]["error"])
    limit = report["machine"]["core_limit"]
    if limit and limit < report["machine"]["cores"]:
        found.append(
            f"the time of {limit:g} cores is granted, though {report['machine']['cores']} are seen: threads wait for "
            "each other"
        )
    return found
