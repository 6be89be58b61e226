"""Asks TensorFlow and JAX what they see and whether they compute: each in a process of its own, so that a library that
crashes or hangs takes nobody with it."""

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import time
from typing import Any

from pipelines.children import calling, how_it_ended

_CODE = "import sys; from pipelines.devices.probe import say; say(sys.argv[2])"
_ANSWER = "sixfold probe: "


def probe(library: str, timeout: float) -> dict[str, Any]:
    """What a library answers: {"installed": version or null, "works", "error" (a clause, or null), "seconds",
    "devices": [{"kind", "name", "memory"}], "why_no_gpu": a clause, or null}.

    Args:
        library: tensorflow or jax.
        timeout: seconds after which it is given up.
    """
    if importlib.util.find_spec(library) is None:
        return _answer(None, error=f"the package {library} is not installed")
    try:
        version = importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        version = "of unknown version"
    # No memory is set aside that is not used: other processes may compute on the same GPU.
    sparing = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, **sparing}
    words = calling(_CODE, library)
    started = time.monotonic()
    try:
        done = subprocess.run(words, env=environment, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return _answer(version, error=f"no answer within {timeout:.0f} seconds")
    seconds = round(time.monotonic() - started, 1)
    for line in done.stdout.decode(errors="replace").splitlines():
        if line.startswith(_ANSWER):
            return {**_answer(version, works=True, seconds=seconds), **json.loads(line.removeprefix(_ANSWER))}
    return _answer(version, error=how_it_ended(done.returncode, done.stderr.decode(errors="replace")), seconds=seconds)


def say(library: str) -> None:
    """Of the child: print the answer. What goes wrong is left to end the process."""
    print(_ANSWER + json.dumps({"tensorflow": _tensorflow, "jax": _jax}[library]()), flush=True)


def _answer(
    version: str | None, *, works: bool = False, error: str | None = None, seconds: float = 0.0
) -> dict[str, Any]:
    return {
        **{"installed": version, "works": works, "error": error, "seconds": seconds},
        **{"devices": [], "why_no_gpu": None},
    }


def _tensorflow() -> dict[str, Any]:
    import tensorflow as tf

    from pipelines.devices.accelerators import why_no_gpu

    gpus = tf.config.list_physical_devices("GPU")
    for kind in ["CPU", *(["GPU"] if gpus else [])]:
        with tf.device(f"{kind}:0"):
            _check(kind, float(tf.reduce_sum(tf.matmul(tf.ones([64, 64]), tf.ones([64, 64])))))
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
    return {
        "devices": _devices("gpu" if gpus else "cpu", names),
        "why_no_gpu": None if gpus else why_no_gpu(tf.sysconfig.get_build_info()),
    }


def _jax() -> dict[str, Any]:
    import jax

    from pipelines.devices.accelerators import why_no_gpu_for_jax

    devices = jax.devices()
    kind = {"cpu": "cpu", "tpu": "tpu"}.get(devices[0].platform, "gpu")
    ones = jax.device_put(jax.numpy.ones([64, 64]), devices[0])
    _check(kind, float(jax.numpy.sum(ones @ ones)))
    names = [] if kind == "cpu" else [device.device_kind for device in devices]
    return {"devices": _devices(kind, names), "why_no_gpu": None if kind == "gpu" else why_no_gpu_for_jax()}


def _check(kind: str, found: float) -> None:
    """A product of two matrices of ones, 64 by 64, summed."""
    if found != 64.0**3:
        raise ArithmeticError(f"a product of matrices is wrong on {kind}: {found:g} in place of {64.0**3:g}")


def _devices(kind: str, names: list[str]) -> list[dict[str, Any]]:
    """The accelerators, or where there are none the processor."""
    from pipelines.devices.accelerators import named

    found = named(kind, names)
    return [{"kind": kind, "name": each.name, "memory": each.memory} for each in found]
