"""The machine that computes: its processor, cores and memory, as far as this process may use them. Imports no
TensorFlow."""

import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

FEATURES = {
    "avx2": "AVX2",
    "fma": "FMA",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 bfloat16",
    "avx512_fp16": "AVX-512 float16",
    "amx_tile": "AMX",
    "amx_bf16": "AMX bfloat16",
    "asimd": "NEON",
    "sve": "SVE",
    "bf16": "Arm bfloat16",
}
"""What decides how fast a processor computes a network, by its name in /proc/cpuinfo."""
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
_INFO = Path("/proc/cpuinfo")
_GROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60
"""Bytes from which on a limit is none; cgroups of version 1 have no other word for it."""


def processor() -> str:
    """Its name, as in 'AMD EPYC'; '' where the system does not say."""
    return _stated("model name") or platform.processor()


def features() -> list[str]:
    """Of FEATURES, those that the processor has, by their names in /proc/cpuinfo."""
    flags = set((_stated("flags") or _stated("Features")).split())
    return [name for name in FEATURES if name in flags]


def cores() -> int:
    """Those that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def core_limit() -> float | None:
    """As many cores' time as the container or batch job grants; None where there is no such limit."""
    limits = []
    for folder in _own_groups("cpu"):
        with suppress(OSError, ValueError):
            quota, period = (folder / "cpu.max").read_text().split()
            limits.append(int(quota) / int(period))
        with suppress(OSError, ValueError):
            quota, period = ((folder / f"cpu.cfs_{what}_us").read_text() for what in ("quota", "period"))
            limits.append(int(quota) / int(period))
    return min((limit for limit in limits if limit > 0), default=None)


def memory() -> int | None:
    """Bytes: the machine's, or fewer where the container or batch job has a limit; None where the system does not
    say."""
    limits = []
    with suppress(ValueError, OSError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for folder in _own_groups("memory"):
        for file in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):
                limits.append(int((folder / file).read_text()))
    return min((limit for limit in limits if 0 < limit < _UNLIMITED), default=None)


def available_memory() -> int | None:
    """Bytes that nothing uses at the moment; None where the system does not say."""
    with suppress(OSError, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        kilobytes = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
        return None if kilobytes is None else int(kilobytes) * 1024
    return None


def gigabytes(size: int) -> str:
    """'23 GB', of 2^30 bytes each, as memory is sold; below ten with a digit more."""
    number = size / 2**30
    return f"{number:.0f} GB" if number >= 10 else f"{number:.1f} GB"


def _stated(key: str) -> str:
    try:
        lines = _INFO.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")


def _own_groups(controller: str) -> Iterator[Path]:
    """The folders of the control groups that this process is in, of either version, and of those around them."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        root = _GROUPS / controller if controller in controllers.split(",") else _GROUPS
        if controllers and controller not in controllers.split(","):
            continue
        own = root / path.lstrip("/")
        # In a container the path may be that on the host, which is not to be seen: the root of what is seen, then.
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(root))
