"""What is said of a machine: with pieces replaced, and once as it is."""

import ctypes
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines import doctor, machine
from pipelines.cli import main
from pipelines.devices import accelerators, probe
from pipelines.doctor import surroundings, writing

ROOT = Path(__file__).resolve().parent.parent
WORKS = {
    **{"installed": "2.21.0", "works": True, "error": None, "seconds": 3.1, "why_no_gpu": None},
    "devices": [{"kind": "gpu", "name": "NVIDIA T4", "memory": 16 << 30}],
}


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the two libraries answer; nothing is started and nobody connected to."""
    answers = {"tensorflow": dict(WORKS), "jax": {**WORKS, "installed": None, "works": False, "devices": []}}
    monkeypatch.setattr(doctor, "probe", lambda name, patience: answers[name])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return answers


class Cuda:
    """libcuda.so.1, of a driver that knows these cards, or fails to start."""

    def __init__(self, cards: list[tuple[bytes, int]], starts: int = 0) -> None:
        self.cards, self.starts = cards, starts

    def cuInit(self, flags: int) -> int:
        return self.starts

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = len(self.cards)
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> int:
        device._obj.value = number
        return 0

    def cuDeviceGetName(self, name: Any, length: int, device: Any) -> int:
        name.value = self.cards[device.value][0]
        return 0

    def cuDeviceTotalMem_v2(self, size: Any, device: Any) -> int:
        size._obj.value = self.cards[device.value][1]
        return 0

    def cuGetErrorName(self, code: int, text: Any) -> int:
        text._obj.value = b"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"
        return 0


CARDS = [(b"NVIDIA T4", 16 << 30), (b"NVIDIA L4", 24 << 30)]
BUILD = {"is_cuda_build": True, "cuda_version": "12.5.1", "cudnn_version": "9", "cuda_compute_capabilities": ["sm_80"]}
LOADED = {f"lib{name}.so.{version}" for name, version in {**accelerators._LIBRARIES[12], "cudnn": 9}.items()}


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Which libraries ctypes finds, by file."""
    found: dict[str, Any] = {}

    def load(file: str) -> Any:
        if file not in found:
            raise OSError(f"{file}: cannot open shared object file")
        return found[file]

    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(accelerators, "_in_packages", lambda file: False)
    monkeypatch.setattr(accelerators, "_GPU_FILES", ())
    monkeypatch.setattr(accelerators.shutil, "which", lambda name: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return found


def test_why_tensorflow_sees_no_gpu(loader: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """From build to libraries, each obstacle cleared after it was named."""
    assert "built without CUDA" in accelerators.why_no_gpu({"is_cuda_build": False})
    assert "no NVIDIA driver" in accelerators.why_no_gpu(BUILD)
    monkeypatch.setattr(accelerators, "_GPU_FILES", (__file__,))
    assert f"does not load (libcuda.so.1: cannot open shared object file), though {__file__} is there" in (
        accelerators.why_no_gpu(BUILD)
    )
    loader["libcuda.so.1"] = Cuda([], starts=803)
    assert "says CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)" in accelerators.why_no_gpu(BUILD)
    loader["libcuda.so.1"] = Cuda([])
    assert "knows no GPU" in accelerators.why_no_gpu(BUILD)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "CUDA_VISIBLE_DEVICES='' hides every GPU" in accelerators.why_no_gpu(BUILD)
    loader["libcuda.so.1"] = Cuda(CARDS)
    loader.update(dict.fromkeys(LOADED - {"libcudnn.so.9", "libcufft.so.11"}))
    assert "are missing (libcufft.so.11, libcudnn.so.9): install the extra [gpu]" in accelerators.why_no_gpu(BUILD)
    loader.update(dict.fromkeys(LOADED))
    reason = accelerators.why_no_gpu(BUILD)
    assert "knows NVIDIA T4, NVIDIA L4 and the CUDA libraries load, yet" in reason
    assert "it was built for sm_80" in reason


def test_why_jax_sees_no_gpu(loader: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert "JAX_PLATFORMS=cpu leaves GPUs out" in accelerators.why_no_gpu_for_jax()
    monkeypatch.delenv("JAX_PLATFORMS")
    assert "no NVIDIA driver" in accelerators.why_no_gpu_for_jax()
    loader["libcuda.so.1"] = Cuda(CARDS)
    monkeypatch.setattr(accelerators, "_version", lambda package: None)
    assert "installed without CUDA" in accelerators.why_no_gpu_for_jax()
    monkeypatch.setattr(accelerators, "_version", lambda package: "0.10.2")
    assert "yet it does not start" in accelerators.why_no_gpu_for_jax()


def test_cards_have_the_driver_s_memory_where_it_counts_as_many(loader: dict[str, Any]) -> None:
    loader["libcuda.so.1"] = Cuda(CARDS)
    assert [card.memory for card in accelerators.cards(["T4", "L4"])] == [16 << 30, 24 << 30]
    assert [card.memory for card in accelerators.cards(["T4"])] == [None]


def test_why_there_is_no_tpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "_PCI", tmp_path)
    monkeypatch.delenv("TPU_NAME", raising=False)
    for name, vendor, device in (("a", "0x1ae0", "0x0063"), ("b", "0x1ae0", "0x0042"), ("c", "0x10de", "0x0063")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(f"{vendor}\n")
        (tmp_path / name / "device").write_text(f"{device}\n")
    assert accelerators.tpu_chips() == 1  # the others are Google's network card and somebody else's
    monkeypatch.setattr(accelerators.importlib.util, "find_spec", lambda name: None)
    assert "1 TPU chip(s) are here, but not the package libtpu" in str(accelerators.why_no_tpu())
    (tmp_path / "a" / "device").unlink()
    assert "this machine has no TPU chip" in str(accelerators.why_no_tpu())
    monkeypatch.setenv("TPU_NAME", "mine")
    assert accelerators.why_no_tpu() is None


CPUINFO = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2 fma avx512f avx512_bf16\n"


def test_processor_and_its_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    monkeypatch.setattr(machine, "_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine, "_own_groups", lambda controller: [tmp_path])
    assert machine.processor() == "AMD EPYC"
    assert machine.features() == ["avx2", "fma", "avx512f", "avx512_bf16"]
    whole = machine.memory()
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert (machine.memory(), machine.core_limit()) == (whole, None)
    (tmp_path / "memory.max").write_text(f"{1 << 29}\n")
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert (machine.memory(), machine.core_limit()) == (1 << 29, 1.5)
    (tmp_path / "cpu.cfs_quota_us").write_text("-1\n")  # of version 1: no limit
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    assert machine.core_limit() == 1.5


def test_own_groups_end_at_the_root_of_what_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_GROUPS", tmp_path)
    real = Path.read_text
    text = "4:memory:/job/7\n3:cpu,cpuacct:/\n0::/job\n"
    monkeypatch.setattr(
        Path, "read_text", lambda self, *a, **k: text if str(self) == "/proc/self/cgroup" else real(self, *a, **k)
    )
    memory = tmp_path / "memory"
    assert list(machine._own_groups("memory")) == [memory / "job/7", memory / "job", memory, tmp_path / "job", tmp_path]


def test_a_host_that_never_answers_costs_seconds_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        places = {"here": listening.getsockname(), "refuses": deaf.getsockname()}
        assert surroundings._reach(places) == {"here": True, "refuses": False}
    stuck = surroundings.threading.Event()

    def hang(*args: Any, **named: Any) -> None:
        stuck.wait(10)
        raise TimeoutError

    monkeypatch.setattr(surroundings, "REACH_SECONDS", 0.05)
    monkeypatch.setattr(surroundings.socket, "create_connection", hang)
    assert surroundings._reach({"silent": ("", 0)}) == {"silent": False}
    stuck.set()


def test_of_a_proxy_only_its_host_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy.example:3128")
    tried: list[Any] = []
    monkeypatch.setattr(surroundings, "_reach", lambda targets: tried.append(targets) or dict.fromkeys(targets, True))
    found = surroundings.network()
    assert tried == [{"proxy.example": ("proxy.example", 3128)}]
    assert found["online"]
    assert "secret" not in json.dumps(found)


CLUSTER = {"worker": ["a:1", "b:1"], "chief": ["c:1"]}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        json.dumps({"cluster": CLUSTER}),
        json.dumps({"cluster": CLUSTER, "task": {"type": "worker", "index": 2}}),
        json.dumps({"cluster": {**CLUSTER, "ps": ["d:1"]}, "task": {"type": "worker", "index": 0}}),
    ],
)
def test_tf_config_that_a_run_refuses(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    found = surroundings.cluster()
    assert found is not None
    assert "names no worker of a cluster" in found["error"]
    assert found.keys() == {"tasks", "kind", "index", "error"}


def test_tf_config_that_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert surroundings.cluster() is None
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": CLUSTER, "task": {"type": "worker", "index": "1"}}))
    assert surroundings.cluster() == {"tasks": {"worker": 2, "chief": 1}, "kind": "worker", "index": 1, "error": None}


def test_caches_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_bytes(b"12345")
    monkeypatch.setenv("SIXFOLD_CACHE", str(tmp_path))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "none"))
    sizes = {one["of"]: one["bytes"] for one in surroundings.caches()}
    assert (sizes["sixfold"], sizes["kaggle"]) == (5, None)


def test_a_home_that_may_not_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """As root's in a container with another user."""
    look = surroundings.os.stat

    def denied(path: Any, **more: Any) -> Any:
        if str(path).startswith("/root/"):
            raise PermissionError(13, "Permission denied", str(path))
        return look(path, **more)

    monkeypatch.setenv("HOME", "/root")
    for name in ("SIXFOLD_CACHE", "XDG_CACHE_HOME", "KERAS_HOME", "KAGGLEHUB_CACHE", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(surroundings.os, "stat", denied)
    assert next(one["folder"] for one in surroundings.disk() if one["for"] == "caches") == "/root/.cache/sixfold"
    assert {one["bytes"] for one in surroundings.caches()} == {None}


def test_all_well(libraries: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    said = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert said["TensorFlow"] == "2.21.0 computes on GPU: NVIDIA T4 (16 GB); started in 3.1 s"
    assert said["JAX"] == "not installed"
    assert said["network"] == "offline (HF_HUB_OFFLINE is set, so nothing was tried)"
    assert said["verdict"] == "all that is needed is here"
    assert "problem" not in said


def test_tensorflow_that_cannot_compute_is_exit_4(
    libraries: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    libraries["tensorflow"] |= {"works": False, "error": "it dies of SIGILL"}
    assert main(["doctor"]) == 4
    assert "problem: TensorFlow cannot compute: it dies of SIGILL" in capsys.readouterr().out
    assert main(["doctor", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["problems"] == ["TensorFlow cannot compute: it dies of SIGILL"]


def test_what_is_no_obstacle_is_a_warning(
    libraries: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    libraries["jax"] |= {"installed": "0.10.2", "error": "it broke"}
    monkeypatch.setenv("TF_CONFIG", "{")
    monkeypatch.setattr(doctor, "needed", lambda: None)
    monkeypatch.setattr(doctor.machine, "core_limit", lambda: 0.5)
    room = {"for": "runs", "folder": "/full", "free": 1 << 20, "writable": True}
    monkeypatch.setattr(doctor, "disk", lambda: [room, {**room, "folder": "/closed", "writable": False}])
    report = doctor.examine()
    assert report["ok"]
    told = " | ".join(report["warnings"])
    for part in (
        "JAX cannot compute: it broke",
        "TF_CONFIG",
        "not installed as a package",
        "/closed cannot be written",
    ):
        assert part in told
    assert "/full has only 0.0 GB left for runs" in told
    assert "the time of 0.5 cores is granted" in told


def test_a_package_that_is_missing_is_exit_4(libraries: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "needed", lambda: [{"package": "gone", "problem": "missing (>=1 is needed)"}])
    assert main(["doctor"]) == 4
    assert doctor.examine()["problems"] == ["gone: missing (>=1 is needed)"]


def test_the_table_of_a_terminal_holds_every_line(
    libraries: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    report = doctor.examine()
    writing.print_table(report)
    shown = capsys.readouterr().out
    for topic, _ in writing.lines(report):
        assert topic in shown


def test_of_many_packages_a_few_are_named() -> None:
    extra = {"present": False, "packages": list("abcde"), "lacking": list("abcd")}
    assert writing._extra(extra) == "absent (lacks a, b, c and 1 more)"
    assert writing._extra({**extra, "present": True, "packages": ["a"]}) == "present (a)"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("raise ImportError('no libfoo.so')", "ImportError: no libfoo.so"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "it dies of SIGILL: this processor lacks"),
        ("import os; os._exit(3)", "it ends with exit 3 and no word"),
        ("import time; time.sleep(60)", "no answer within 1 seconds"),
    ],
)
def test_a_library_that_breaks_breaks_nothing_else(
    code: str, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jax.py").write_text(code)
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(ROOT), *sys.path])
    monkeypatch.setattr(probe.importlib.util, "find_spec", lambda name: name)
    found = probe.probe("jax", 1.0 if "sleep" in code else 60.0)
    assert not found["works"]
    assert error in found["error"]


def test_a_library_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe.importlib.util, "find_spec", lambda name: None)
    assert probe.probe("jax", 1.0)["error"] == "the package jax is not installed"


def test_as_it_is_here(tmp_path: Path) -> None:
    """Real processes, in a folder that is not the repository."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pipelines.cli import main; sys.exit(main())"
    words = [sys.executable, "-c", code, "doctor", "--json"]
    environment = {**surroundings.os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=560
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    tensorflow = report["libraries"]["tensorflow"]
    assert tensorflow["works"]
    assert tensorflow["devices"]
    assert (tensorflow["why_no_gpu"] is None) == (tensorflow["devices"][0]["kind"] == "gpu")
    assert report["machine"]["cores"] >= 1
    assert report["packages"]["as_tested"] > 50
