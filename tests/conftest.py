"""What several test files need."""

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.errors import Preempted
from pipelines.interrupts import Interrupts

QUICK_TO_COMPILE = {
    "XLA_FLAGS": "--xla_backend_optimization_level=0",
    "JAX_COMPILATION_CACHE_DIR": str(Path(__file__).parent.parent / ".pytest_cache" / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
}
"""On JAX all is compiled, which is most of a test's time: machine code that is not polished does the same, and what one
process has compiled, such as a run, serves the others, such as that which goes on with it."""


LONGEST = ("test_contract", "test_faults", "test_workers", "test_devices_parallel", "test_recommendation_devices")
"""Files that begin first: of what takes minutes nothing is to be left when all else is done."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the order that saves time."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def told(rank: int, ports: list[int]) -> str:
    """TF_CONFIG of one of the workers on these ports."""
    addresses = [f"127.0.0.1:{port}" for port in ports]
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}})


@contextmanager
def stopped_at(look: int) -> Iterator[pytest.ExceptionInfo[Preempted]]:
    """In here a run is stopped by SIGTERM at its n-th look for a signal, its state saved."""
    seen, check_as_ever = [0], Interrupts.check

    def check(self: Interrupts) -> None:
        seen[0] += 1
        if seen[0] == look:
            os.kill(os.getpid(), signal.SIGTERM)
        check_as_ever(self)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Interrupts, "check", check)
        saying = r"stopped by SIGTERM after step \d+( of the pretraining)?, its state saved: go on with"
        with pytest.raises(Preempted, match=saying) as found:
            yield found


@pytest.fixture(scope="module")
def unserved() -> Iterator[None]:
    """Runs of this process save their model and see that it answers, but write nothing for others to serve, the
    longest part of a small run: for tests of something else."""
    from pipelines.exporting import Exporting

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Exporting, "_serve", lambda *_: None)
        yield


@pytest.fixture
def again_on_jax(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Run the tests of the same file, or those that an expression chooses, on the JAX backend: in a process of its own,
    as a process has one backend. There SIXFOLD_TEST_BACKEND says which."""
    pytest.importorskip("jax", reason="the JAX backend is an extra")

    def run(chosen: str = "") -> None:
        words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(request.path), "-k", chosen]
        environment = {**os.environ, **QUICK_TO_COMPILE, "SIXFOLD_TEST_BACKEND": "jax", "KERAS_BACKEND": "jax"}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=560)
        assert done.returncode == 0, done.stdout[-3000:]

    return run


def served(asked: dict[str, list[tuple[str, dict[str, Any]]]], folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What the signatures of SavedModels answer to inputs by name (arrays; of strings, object arrays of bytes), in a
    process that imports TensorFlow alone; see serving_run.py."""

    def written(array: np.ndarray) -> dict[str, Any]:
        if array.dtype == object:
            return {
                "type": "string",
                "shape": array.shape,
                "base64": [base64.b64encode(one).decode() for one in array.flat],
            }
        return {"type": array.dtype.name, "shape": array.shape, "values": array.ravel().tolist()}

    def read(answer: dict[str, Any]) -> dict[str, Any]:
        def array(name: str, shape: list[int]) -> np.ndarray:
            values = answer[name]
            texts = values and isinstance(values[0], str)
            found = np.empty(len(values), object) if texts else np.asarray(values)
            found[:] = [base64.b64decode(one) for one in values] if texts else values
            return found.reshape(shape)

        return answer if "error" in answer else {name: array(name, shape) for name, shape in answer["shapes"].items()}

    file = folder / "asked.json"
    file.write_text(
        json.dumps(
            {
                place: [
                    (name, {key: written(np.asarray(value)) for key, value in inputs.items()})
                    for name, inputs in requests
                ]
                for place, requests in asked.items()
            }
        )
    )
    words = [sys.executable, str(Path(__file__).parent / "serving_run.py"), str(file)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, cwd=folder, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    answers = json.loads(done.stdout.splitlines()[-1])
    return {place: [read(one) for one in found] for place, found in answers.items()}
