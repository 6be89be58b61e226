"""Which GPUs and TPUs a machine has, and why a library sees none. Imports neither TensorFlow nor JAX."""

import ctypes
import importlib.metadata
import importlib.util
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines import machine

_GPU_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg")
"""What a driver makes; the last one is that of Windows' Linux."""
_LIBRARIES = {
    12: {"cudart": 12, "cublas": 12, "cublasLt": 12, "cufft": 11, "cusolver": 11, "cusparse": 12},
    13: {"cudart": 13, "cublas": 13, "cublasLt": 13, "cufft": 12, "cusolver": 12, "cusparse": 12},
}
"""What TensorFlow loads besides cuDNN, or else sees no GPU: by version of CUDA the versions of the files."""
_GOOGLE = "0x1ae0"
_CHIPS = {"0x0027", "0x0056", "0x005e", "0x0062", "0x0063", "0x006f", "0x0076"}
"""TPUs on a PCI bus, as JAX knows them (jax/_src/hardware_utils.py)."""
_PCI = Path("/sys/bus/pci/devices")


@dataclass(frozen=True)
class Device:
    """One device, for people."""

    name: str
    memory: int | None = None
    """Bytes."""


@dataclass(frozen=True)
class Driver:
    """What NVIDIA's driver says."""

    cards: list[Device] = field(default_factory=list)
    problem: str | None = None
    """Why there are none, as a clause."""


def nvidia_driver() -> Driver:
    """Ask the driver itself, through libcuda; no context is made, so no memory is taken."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return Driver(problem=_no_library(str(error)))
    code = cuda.cuInit(0)
    count = ctypes.c_int()
    if not code:
        code = cuda.cuDeviceGetCount(ctypes.byref(count))
    hidden = _hidden()
    if code or not count.value:
        if hidden is not None:
            return Driver(problem=f"CUDA_VISIBLE_DEVICES={hidden!r} hides every GPU")
        told = f"says {_error_name(cuda, code)}" if code else "knows no GPU"
        return Driver(problem=f"NVIDIA's driver is here and {told}: see what nvidia-smi says")
    return Driver([_card(cuda, number) for number in range(count.value)])


def processor() -> Device:
    """This machine's, with its memory."""
    return Device(machine.processor(), machine.memory())


def named(kind: str, names: list[str]) -> list[Device]:
    """The devices of a kind (cpu, gpu, tpu), by what a library calls them; of cpu, this machine's processor."""
    if kind == "cpu":
        return [processor()]
    return cards(names) if kind == "gpu" else [Device(name) for name in names]


def cards(names: list[str]) -> list[Device]:
    """GPUs, with the memory that the driver says they have, where it counts as many."""
    known = nvidia_driver().cards
    memory = [card.memory for card in known] if len(known) == len(names) else [None] * len(names)
    return [Device(*each) for each in zip(names, memory, strict=True)]


def why_no_gpu(build: Mapping[str, Any]) -> str:
    """Why TensorFlow sees no GPU, as a clause with the remedy.

    Args:
        build: tf.sysconfig.get_build_info().
    """
    if build.get("is_rocm_build"):
        return "this TensorFlow was built for AMD's GPUs, which Sixfold was never run on: see what rocminfo says"
    if not build.get("is_cuda_build"):
        return "this TensorFlow was built without CUDA: install the package tensorflow in place of tensorflow-cpu"
    driver = nvidia_driver()
    if driver.problem:
        return driver.problem
    lacking = missing_libraries(build)
    if lacking:
        return f"CUDA libraries are missing ({', '.join(lacking)}): install the extra [gpu], as in pip install '.[gpu]'"
    names = ", ".join(card.name for card in driver.cards)
    architectures = ", ".join(build.get("cuda_compute_capabilities", [])) or "unknown"
    return (
        f"the driver knows {names} and the CUDA libraries load, yet TensorFlow refuses them (it was built for "
        f"{architectures}): TF_CPP_MIN_LOG_LEVEL=0 lets it say why"
    )


def why_no_gpu_for_jax() -> str:
    """Why JAX sees no GPU, as a clause with the remedy."""
    platforms = os.environ.get("JAX_PLATFORMS")
    if platforms and not {"cuda", "gpu", "rocm"} & set(platforms.split(",")):
        return f"JAX_PLATFORMS={platforms} leaves GPUs out"
    driver = nvidia_driver()
    if driver.problem:
        return driver.problem
    if not any(_version(f"jax-cuda{version}-plugin") for version in _LIBRARIES):
        return "this JAX was installed without CUDA: pip install 'jax[cuda12]', of the same version as jax"
    return (
        f"the driver knows {', '.join(card.name for card in driver.cards)} and JAX's CUDA plugin is installed, yet it "
        "does not start: JAX_PLATFORMS=cuda lets it say why"
    )


def why_no_tpu() -> str | None:
    """Why there is no TPU to start, as a clause with the remedy; None where one may be started. It asks nobody, where
    TensorFlow would ask the network for minutes."""
    chips = tpu_chips()
    if not chips and not os.environ.get("TPU_NAME"):
        return "this machine has no TPU chip, and TPU_NAME names none elsewhere"
    if chips and not os.environ.get("TPU_NAME") and importlib.util.find_spec("libtpu") is None:
        return f"{chips} TPU chip(s) are here, but not the package libtpu, which drives them"
    return None


def tpu_chips() -> int:
    """On the PCI bus of this machine."""
    count = 0
    for place in _PCI.glob("*"):
        with suppress(OSError):
            is_google = (place / "vendor").read_text().strip() == _GOOGLE
            count += is_google and (place / "device").read_text().strip() in _CHIPS
    return count


def missing_libraries(build: Mapping[str, Any]) -> list[str]:
    """Files that this TensorFlow needs for a GPU and the loader does not find, neither by itself nor in NVIDIA's
    packages; of a CUDA whose files are not known here, none."""
    major = _major(build.get("cuda_version"))
    wanted = dict(_LIBRARIES.get(major or 0, {}))
    if wanted and (dnn := _major(build.get("cudnn_version"))):
        wanted["cudnn"] = dnn
    files = [f"lib{name}.so.{version}" for name, version in wanted.items()]
    return [file for file in files if not (_in_packages(file) or _loads(file))]


def _in_packages(file: str) -> bool:
    spec = importlib.util.find_spec("nvidia")
    places = list(spec.submodule_search_locations or []) if spec else []
    return any(found for place in places for found in Path(place).glob(f"*/lib/{file}"))


def _loads(file: str) -> bool:
    try:
        ctypes.CDLL(file)
    except OSError:
        return False
    return True


def _no_library(error: str) -> str:
    """Why libcuda.so.1 does not load: no driver at all, or one that does not reach this process."""
    signs = [file for file in _GPU_FILES if os.path.exists(file)]
    if tool := shutil.which("nvidia-smi"):
        signs.append(tool)
    if not signs:
        return "this machine has no NVIDIA driver: no libcuda.so.1, no nvidia-smi, no /dev/nvidia0"
    return (
        f"the driver's library does not load ({error}), though {signs[0]} is there: in a container, start it with "
        "--gpus all and NVIDIA's container toolkit; else install the driver again"
    )


def _hidden() -> str | None:
    """CUDA_VISIBLE_DEVICES, where it is set."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def _card(cuda: Any, number: int) -> Device:
    device, name, size = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_size_t()
    if cuda.cuDeviceGet(ctypes.byref(device), number) or cuda.cuDeviceGetName(name, len(name), device):
        return Device("GPU")
    failed = cuda.cuDeviceTotalMem_v2(ctypes.byref(size), device)
    return Device(name.value.decode(errors="replace"), None if failed else size.value)


def _error_name(cuda: Any, code: int) -> str:
    """'CUDA_ERROR_NO_DEVICE (100)'."""
    text = ctypes.c_char_p()
    failed = cuda.cuGetErrorName(code, ctypes.byref(text))
    return f"error {code}" if failed or not text.value else f"{text.value.decode()} ({code})"


def _major(version: Any) -> int | None:
    first = str(version or "").partition(".")[0]
    return int(first) if first.isdigit() else None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
