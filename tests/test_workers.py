"""Several workers: where they stand, what each reads, that they follow one device, and how they end."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import devices, registry
from pipelines.checkpoints import State, shared
from pipelines.config import RunConfig
from pipelines.errors import ConfigError, DeviceError
from pipelines.interrupts import Interrupted, Interrupts
from pipelines.launching import _free_ports
from pipelines.runs import Run
from pipelines.stream import Share
from pipelines.workers import VARIABLE, Workers, check_port, place
from tests.conftest import QUICK_TO_COMPILE, told

RNG = np.random.default_rng(0)
ROOT = Path(__file__).parent.parent
QUICK = ["image-classification", "text-sentiment"]
"""One of fixed shapes, one of any length; the others are slow."""
BACKENDS = ["tensorflow", "jax"]
TOLERANCE = 1e-4
BOUND_SECONDS = 60.0
SMALL = ["run", "image-classification", "--backbone", "mlp", "--limit", "80", "--batch-size", "16", "--epochs", "20"]
SMALL += ["--save-every", "1", "--steps-per-execution", "1", "--optimizer", "sgd", "--dropout", "0", "--average", "0.9"]


def start(*words: object, **environment: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, *map(str, words)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(processes: list[subprocess.Popen[str]]) -> None:
    """All of them, well; else what they said."""
    for process in processes:
        try:
            said, _ = process.communicate(timeout=560)
        except subprocess.TimeoutExpired:
            process.terminate()  # launch ends its workers
            raise
        assert process.returncode == 0, said[-3000:]


def pair(*words: object, **environment: str) -> list[subprocess.Popen[str]]:
    ports = _free_ports(2)
    return [start(*words, **{VARIABLE: told(rank, ports)}, **environment) for rank in range(2)]


@pytest.mark.parametrize(
    ("cluster", "kind", "index", "expected"),
    [
        ({"worker": ["a:1", "b:1", "c:1"]}, "worker", 2, (2, 3)),
        ({"chief": ["a:1"], "worker": ["b:1", "c:1"]}, "chief", 0, (0, 3)),
        ({"chief": ["a:1"], "worker": ["b:1", "c:1"]}, "worker", 0, (1, 3)),
        ({"worker": ["a:1"]}, "worker", 0, (0, 1)),
    ],
)
def test_the_place_is_read_from_tf_config(
    monkeypatch: pytest.MonkeyPatch, cluster: Any, kind: str, index: int, expected: tuple[int, int]
) -> None:
    monkeypatch.setenv(VARIABLE, json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}}))
    found = place()
    assert (found.rank, found.count) == expected
    assert found.is_chief == (expected[0] == 0)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"ps": ["a:1"], "worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "evaluator", "index": 0}}',
        '{"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1", "b"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1", "b:grpc"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1", "b:65536"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_what_names_no_worker_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ConfigError, match="names no worker of a cluster"):
        place()


def test_a_port_that_is_taken_is_a_sentence() -> None:
    """JAX itself would crash, and TensorFlow say nothing of ports."""
    with socket.create_server(("", 0)) as taken:
        own, other = taken.getsockname()[1], _free_ports(1)[0]
        with pytest.raises(ConfigError, match=f"cannot listen at the port of its address 127.0.0.1:{own} "):
            check_port(f"127.0.0.1:{own}")
        here = Workers(1, 2, addresses=(f"127.0.0.1:{other}", f"127.0.0.1:{own}"))
        with pytest.raises(ConfigError, match="this worker cannot listen"):
            devices.start(RunConfig(device="cpu"), here)
    check_port(f"127.0.0.1:{other}")


def test_a_chief_that_measures_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """JAX gives up the others after the time that it is told."""
    jax = pytest.importorskip("jax", reason="the JAX backend is an extra")
    from pipelines.devices.jax_workers import join

    waited = []

    def give_up(*place: Any, initialization_timeout: int, **more: Any) -> None:
        waited.append(initialization_timeout)
        raise RuntimeError("nobody comes")

    monkeypatch.setattr(jax.distributed, "initialize", give_up)
    monkeypatch.setattr(jax.config, "update", lambda *setting: None)
    monkeypatch.setenv("XLA_FLAGS", "")
    for measuring in (False, True):
        with pytest.raises(DeviceError, match="nobody comes"):
            join(Workers(1, 2, addresses=("a:1", "b:1")), measuring=measuring)
    assert waited == [300, 3600]


def test_what_workers_ask_each_other() -> None:
    """Two in turn, where what the second adds is known."""
    others = np.zeros(0, np.int32)

    def add(numbers: np.ndarray) -> np.ndarray:
        total: np.ndarray = numbers + others
        return total

    others = np.array([0, 15], np.int32)
    assert Workers(0, 2, add).largest(9) == 15
    assert Workers(0, 2, add).largest(16) == 16
    for content in (b"", b"a", b"abcd", bytes(range(256)) + b"\xff" * 7):
        others = np.zeros(1, np.int32)
        assert Workers(0, 2, add).from_chief(content) == content
    assert Workers().from_chief(b"mine") == b"mine"
    assert Workers().largest(3) == 3


def test_what_workers_put_together() -> None:
    """Of two: a part of this one's with the other's, bit by bit; and the larger of their numbers."""
    whole = np.array([1.5, -0.0, np.nan, 3.0, -2.0, 7.0, 9.0], np.float16)
    mine, others = whole.copy(), whole.copy()
    mine[4:], others[:4] = 0, 0
    words = np.frombuffer(others.tobytes() + b"\0\0", np.int32)
    found = Workers(0, 2, lambda numbers: numbers + words).joined(mine.reshape(7, 1))
    assert (found.shape, found.dtype, found.tobytes()) == ((7, 1), whole.dtype, whole.tobytes())
    more = np.array([0, 0, 0, 5, 1, 2], np.int32)
    np.testing.assert_array_equal(Workers(0, 2, lambda numbers: numbers + more).most(np.array([3, 4, 2])), [5, 4, 2])
    np.testing.assert_array_equal(Workers().most(np.array([3, 4])), [3, 4])


def test_the_chiefs_state_is_that_of_all() -> None:
    """What the chief adds is what the other one gets, which adds nothing to it."""
    sent: list[np.ndarray] = []

    def send(numbers: np.ndarray) -> np.ndarray:
        sent.append(numbers)
        return numbers

    def receive(numbers: np.ndarray) -> np.ndarray:
        assert not numbers.any()
        return sent.pop(0)

    arrays = {"a": RNG.normal(size=(3, 5)).astype(np.float32), "b": np.array(7, np.int64), "c": np.ones(3, np.uint8)}
    for state in (State(12, arrays, {"epoch": 2, "best": [0.5, -1.0]}, ("epoch-0002.safetensors",)), None):
        assert (shared(state, Workers(0, 2, send)) is None) == (state is None)
        found = shared(None, Workers(1, 2, receive))
        assert not sent
        if state is None:
            assert found is None
            continue
        assert found is not None
        assert (found.step, found.progress, found.files) == (state.step, state.progress, state.files)
        assert found.arrays.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(found.arrays[name], array, strict=True)


def test_a_signal_of_one_worker_stops_all_at_the_same_check() -> None:
    asked: list[int] = []

    def ask(number: int) -> int:
        asked.append(number)
        return signal.SIGTERM if len(asked) == 3 else number

    def train() -> None:
        with interrupts.postponed(ask):
            while len(asked) < 5:
                interrupts.check()

    interrupts = Interrupts()
    with pytest.raises(Interrupted):
        train()
    assert interrupts.received == signal.SIGTERM
    assert asked == [0, 0, 0]


def test_a_share_of_each_part() -> None:
    """As replicas of one process cut it: of parts [0..7] and [8..15], replica r has the r-th quarter of each."""
    assert Share().rows(5).tolist() == [0, 1, 2, 3, 4]
    assert [Share(rank, 2, parts=2, replicas=4).rows(16).tolist() for rank in range(2)] == [
        [0, 1, 2, 3, 8, 9, 10, 11],
        [4, 5, 6, 7, 12, 13, 14, 15],
    ]
    assert [Share(rank, 2, replicas=2).rows(3).tolist() for rank in range(2)] == [[0, 1], [2, -1]]


def environment(backend: str) -> dict[str, str]:
    if backend == "jax":
        pytest.importorskip("jax", reason="the JAX backend is an extra")
        return QUICK_TO_COMPILE
    return {}


def follow(tasks: list[str], folder: Path, backend: str) -> None:
    words = [Path(__file__).parent / "contract_run.py", "workers", ",".join(tasks), folder, backend]
    ended([start(*words, **environment(backend)), *pair(*words, **environment(backend))])
    for task in tasks:
        one, first, second = (
            json.loads((folder / f"{task}-{name}.json").read_text()) for name in ("0-of-1", "0-of-2", "1-of-2")
        )
        assert len(one) == 20
        assert first == second
        np.testing.assert_allclose(first, one, rtol=TOLERANCE, err_msg=task)


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_workers_follow_one_device(tmp_path: Path, backend: str) -> None:
    follow(QUICK, tmp_path, backend)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_two_workers_follow_one_device_in_every_other_task(tmp_path: Path, backend: str) -> None:
    follow([task for task in registry.TASKS if task not in QUICK], tmp_path, backend)


def test_replicas_drop_differently(tmp_path: Path) -> None:
    """And leave the same seeds, for the next step and the saved state."""
    ended(pair(Path(__file__).parent / "workers_run.py", tmp_path))
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first == second
    assert first["left"][0] != first["left"][1]
    assert min(first["left"]) > 0
    assert first["seeds"]
    assert (first["told"], first["most"]) == ("of the chief", 7)


def launched(*words: object, workers: int = 2, **environment: str) -> subprocess.Popen[str]:
    return start("-m", "pipelines.cli", "launch", "--workers", str(workers), *words, **environment)


def stopped(folder: Path, worker: subprocess.Popen[str], stop: Callable[[], None]) -> tuple[int, str, float]:
    """What launch says and how long it takes, from the moment that `stop` is called, when a first state is saved."""
    run, before = Run(folder), len(Run(folder).checkpoints())
    while len(run.checkpoints()) <= before + 1:
        assert worker.poll() is None, worker.communicate()[0][-3000:]
        time.sleep(0.02)
    began = time.monotonic()
    stop()
    said, _ = worker.communicate(timeout=120)
    return worker.returncode, said, time.monotonic() - began


def workers_of(launcher: subprocess.Popen[str]) -> list[int]:
    """Their process ids, the chief's first."""
    return sorted(map(int, Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()))


@pytest.fixture(scope="module", params=BACKENDS)
def killed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with the run `whole`, and the run `run` of which a worker was killed; and what further ones need."""
    folder, needs = tmp_path_factory.mktemp("killed"), environment(request.param)
    words = [*SMALL, "--backend", request.param, "--run-dir"]
    ended([launched(*words, folder / "whole", **needs)])
    first = launched(*words, folder / "run", **needs)
    code, said, seconds = stopped(folder / "run", first, lambda: os.kill(workers_of(first)[1], signal.SIGKILL))
    assert code == 75, said
    assert "[0] stopped, as another worker is gone, after step" in said
    assert "sixfold launch --workers 2 resume RUN" in said
    assert seconds < BOUND_SECONDS
    return folder, needs


def test_a_run_of_which_a_worker_was_killed_goes_on_bit_for_bit(
    killed: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    folder, needs = killed
    run = Path(shutil.copytree(folder / "run", tmp_path / "run"))
    second = launched("resume", run, **needs)
    code, said, _ = stopped(run, second, lambda: second.send_signal(signal.SIGTERM))
    assert code == 75, said
    assert "[0] stopped by SIGTERM after step" in said
    ended([launched("resume", run, **needs)])
    kept = [Run(path).events("trained")[-1]["weights"] for path in (folder / "whole", run)]
    assert kept[0] == kept[1]


def test_another_number_of_workers_goes_on_within_the_tolerance(
    killed: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    """One, and then two again."""
    folder, needs = killed
    run = Path(shutil.copytree(folder / "run", tmp_path / "run"))
    alone = launched("resume", run, workers=1, **needs)
    code, said, _ = stopped(run, alone, lambda: alone.send_signal(signal.SIGTERM))
    assert code == 75, said
    ended([launched("resume", run, **needs)])
    expected, found = ([one["valid"]["loss"] for one in Run(path).events("epoch")] for path in (folder / "whole", run))
    assert len(found) == 20
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_whatever_else_a_run_does(tmp_path: Path, backend: str) -> None:
    """Parts of a batch, pretraining, features computed once, a teacher, an end by the clock: as one process has it."""
    needs, source = environment(backend), tmp_path / "source"
    begin = ["run", "image-classification", "--limit", "80", "--batch-size", "16", "--optimizer", "sgd"]
    begin += ["--dropout", "0", "--epochs", "2", "--augment", "none", "--backend", backend]
    ended([start("-m", "pipelines.cli", *begin, "--backbone", "cnn", "--width", "4", "--run-dir", source, **needs)])
    cases: dict[str, list[object]] = {
        "pretrained": ["--backbone", "mlp", "--pretrain-on", "sample", "--pretrain-epochs", "2", "--accumulate", "2"],
        "frozen": ["--backbone", "cnn", "--width", "4", "--pretrained", source, "--unfreeze", "none"],
        "taught": ["--backbone", "mlp", "--teacher", source],
        "stopped": ["--backbone", "mlp", "--max-minutes", "0.0001"],
    }
    for name, words in cases.items():
        one, two = tmp_path / f"{name}-1", tmp_path / f"{name}-2"
        ended([start("-m", "pipelines.cli", *begin, *words, "--run-dir", one, **needs)])
        ended([launched(*begin, *words, "--run-dir", two, **needs)])
        losses = [
            [event["train"]["loss"] for kind in ("pretraining", "epoch") for event in Run(run).events(kind)]
            for run in (one, two)
        ]
        assert len(losses[0]) == {"pretrained": 4, "stopped": 1}.get(name, 2)
        np.testing.assert_allclose(losses[1], losses[0], rtol=TOLERANCE, err_msg=name)
        assert Run(two).events("trained")[-1]["status"] == Run(one).events("trained")[-1]["status"]


def test_an_error_of_all_is_the_error_of_launch(tmp_path: Path) -> None:
    """Of a wrong setting, found before TensorFlow is loaded."""
    worker = launched("run", QUICK[0], "--epochs", "0", "--run-dir", tmp_path / "run")
    said, _ = worker.communicate(timeout=120)
    assert worker.returncode == 2, said
    assert "[0] error: " in said
    assert not (tmp_path / "run").exists()


def test_workers_do_not_outlive_their_launcher(tmp_path: Path) -> None:
    launcher = launched(*SMALL, "--run-dir", tmp_path / "run")
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
    workers: list[str] = []
    deadline = time.monotonic() + BOUND_SECONDS
    while len(workers) < 2 and time.monotonic() < deadline:
        workers = children.read_text().split()
        time.sleep(0.1)
    assert len(workers) == 2
    time.sleep(2)  # they read their settings
    launcher.kill()
    launcher.communicate()
    deadline = time.monotonic() + BOUND_SECONDS
    while any(Path("/proc", worker).exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [worker for worker in workers if Path("/proc", worker).exists()]
