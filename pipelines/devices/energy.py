"""What a process has used: processor time, and energy where the machine counts it. Imports no TensorFlow.

Energy is what counters of the hardware say, RAPL's of the processor packages and NVML's of NVIDIA's GPUs, and nothing
where none can be read: no figure is worked out from time and rated power. The counters are of whole packages and GPUs,
whatever else runs on them.
"""

import ctypes
import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_POWERCAP = Path("/sys/class/powercap")
_NVML = "libnvidia-ml.so.1"
_SECONDS = 60.0
"""Between two looks at the counters: RAPL's begin again from 0 after some tens of minutes."""


@dataclass
class Counter:
    """A counter of energy that begins again from 0 when it is full."""

    read: Callable[[], float]
    """In joules."""
    full: float | None = None
    """Joules after which it begins again; None: never."""
    total: float = 0.0
    """Joules since it was first read."""
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._last = self.read()

    def update(self) -> float:
        """The total as it is now."""
        now = self.read()
        gained = now - self._last
        self.total += gained if gained >= 0 or self.full is None else gained + self.full
        self._last = now
        return self.total


class Meter:
    """What this process uses."""

    def __init__(self, counters: dict[str, list[Counter]]) -> None:
        self._counters, self._lock = counters, threading.Lock()

    def used(self) -> dict[str, float]:
        """cpu_seconds of this process and of its children that have ended; processor_joules and gpu_joules where they
        are counted. Only differences of two readings say anything."""
        own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        seconds = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
        joules = {}
        with self._lock:
            for name, each in list(self._counters.items()):
                try:
                    joules[f"{name}_joules"] = sum(one.update() for one in each)
                except (OSError, ValueError):
                    del self._counters[name]  # what is not counted to the end is not told
        return {"cpu_seconds": seconds, **joules}


@contextmanager
def metering(*, gpu: bool, powercap: Path = _POWERCAP, nvml: str = _NVML) -> Iterator[Meter]:
    """A meter, whose counters are looked at now and then in a thread.

    Args:
        gpu: whether GPUs are computed on.
        powercap: where Linux has RAPL's counters.
        nvml: NVIDIA's library.
    """
    counters = {"processor": _packages(powercap), "gpu": _gpus(nvml) if gpu else []}
    meter = Meter({name: each for name, each in counters.items() if each})
    over = threading.Event()

    def look() -> None:
        while not over.wait(_SECONDS):
            meter.used()

    if any(counters.values()):
        threading.Thread(target=look, name="energy", daemon=True).start()
    try:
        yield meter
    finally:
        over.set()


def _packages(powercap: Path) -> list[Counter]:
    """Of the processor's packages; none where one of them cannot be read, as only root may on most machines."""
    found = []
    for zone in sorted(powercap.glob("intel-rapl:[0-9]*")):  # AMD's too have that name
        if zone.name.count(":") > 1:  # a part of a package
            continue
        try:
            full = int((zone / "max_energy_range_uj").read_text()) / 1e6
            found.append(Counter(lambda file=zone / "energy_uj": int(file.read_text()) / 1e6, full))  # type: ignore[misc]
        except (OSError, ValueError):
            return []
    return found


def _gpus(library: str) -> list[Counter]:
    """Of the GPUs that this process may use; none where one of them does not count."""
    found = []
    with suppress(OSError, AttributeError, ValueError):
        nvml = ctypes.CDLL(library)
        if nvml.nvmlInit_v2():
            return []
        for number in _visible(nvml):
            handle = ctypes.c_void_p()
            if nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(number), ctypes.byref(handle)):
                return []
            found.append(Counter(lambda handle=handle: _joules(nvml, handle)))  # type: ignore[misc]
    return found


def _visible(nvml: ctypes.CDLL) -> list[int]:
    """Those that CUDA_VISIBLE_DEVICES names by number, or all where it is not set; by another name they are not known.

    Raises:
        ValueError: it names one otherwise.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [int(number) for number in given.split(",") if number]
    count = ctypes.c_uint()
    return [] if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) else list(range(count.value))


def _joules(nvml: ctypes.CDLL, handle: ctypes.c_void_p) -> float:
    """Since its driver was loaded.

    Raises:
        OSError: it does not count.
    """
    counted = ctypes.c_ulonglong()
    if nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(counted)):
        raise OSError("this GPU does not count its energy")
    return counted.value / 1e3
