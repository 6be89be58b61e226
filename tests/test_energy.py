"""What a run has used: processor time, and energy only where a counter could be read."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from pipelines.devices.energy import Counter, metering
from pipelines.report import words
from pipelines.runs import Run

ABSENT = "libnothing-of-that-name.so"


def package(folder: Path, name: str, joules: float, full: float = 100.0) -> Path:
    """A package of the processor, as Linux shows it."""
    zone = folder / name
    zone.mkdir(parents=True, exist_ok=True)
    (zone / "energy_uj").write_text(f"{joules * 1e6:.0f}\n")
    (zone / "max_energy_range_uj").write_text(f"{full * 1e6:.0f}\n")
    return zone


def test_packages_are_added_up_over_a_counter_that_begins_again(tmp_path: Path) -> None:
    package(tmp_path, "intel-rapl:0", 90)
    package(tmp_path, "intel-rapl:1", 10)
    package(tmp_path, "intel-rapl:0:0", 5)  # a part of the first
    with metering(gpu=False, powercap=tmp_path, nvml=ABSENT) as meter:
        before = meter.used()
        package(tmp_path, "intel-rapl:0", 30)  # 40 later: it began again at 100
        package(tmp_path, "intel-rapl:1", 12)
        after = meter.used()
        assert after["processor_joules"] - before["processor_joules"] == pytest.approx(42)
        (tmp_path / "intel-rapl:1" / "energy_uj").unlink()
        assert "processor_joules" not in meter.used(), "what is not counted to the end is not told"
    assert after["cpu_seconds"] >= before["cpu_seconds"] > 0


@pytest.mark.parametrize("content", [None, "no number"])
def test_a_counter_that_cannot_be_read_is_none(tmp_path: Path, content: str | None) -> None:
    zone = package(tmp_path, "intel-rapl:0", 1)
    package(tmp_path, "intel-rapl:1", 1)
    (zone / "energy_uj").unlink() if content is None else (zone / "energy_uj").write_text(content)
    with metering(gpu=True, powercap=tmp_path, nvml=ABSENT) as meter:
        assert set(meter.used()) == {"cpu_seconds"}


NVML = """
static unsigned long long millijoules[] = {1000, 5000};
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned number, void **handle) {
    if (number > 1) return 2;
    *handle = &millijoules[number];
    return 0;
}
int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *energy) {
    *energy = *(unsigned long long *)handle;
    *(unsigned long long *)handle += 2000;
    return 0;
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for a stand-in of NVML")
@pytest.mark.parametrize(("visible", "joules"), [(None, 4.0), ("1", 2.0), ("", None), ("GPU-8e5f", None), ("7", None)])
def test_gpus_are_counted_that_the_process_may_use(
    visible: str | None, joules: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a library with NVML's functions, each look at which costs 2 J."""
    (tmp_path / "nvml.c").write_text(NVML)
    library = tmp_path / "libnvml.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "nvml.c")], check=True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    ctypes.CDLL(str(library))
    with metering(gpu=True, powercap=tmp_path, nvml=str(library)) as meter:
        before, after = meter.used(), meter.used()
    if joules is None:
        assert "gpu_joules" not in after
    else:
        assert after["gpu_joules"] - before["gpu_joules"] == joules
    with metering(gpu=False, powercap=tmp_path, nvml=str(library)) as meter:
        assert set(meter.used()) == {"cpu_seconds"}


def test_a_counter_that_never_begins_again_may_not_fall() -> None:
    values = iter([5.0, 7.0])
    counter = Counter(lambda: next(values))
    assert counter.update() == 2.0


def test_every_try_of_a_stage_counts_and_a_killed_one_is_said(tmp_path: Path) -> None:
    run, clock = Run(tmp_path), iter(range(0, 1000, 2))
    run.record("stage", name="train", status="start")  # killed
    with pytest.raises(KeyboardInterrupt), run.stage("train", lambda: {"cpu_seconds": next(clock)}):
        raise KeyboardInterrupt
    with run.stage("train", lambda: {"cpu_seconds": next(clock), "processor_joules": next(clock)}):
        pass
    run.record("stage", name="report", status="start")  # is at it
    spent = run.spent()
    assert spent.keys() == {"train"}
    assert spent["train"]["cpu_seconds"] == 2 + 4
    assert spent["train"]["killed"] == 1
    assert "processor_joules" not in spent["train"], "it was not counted in the first try"
    assert run.seconds() == {"train": spent["train"]["seconds"]}
    assert run.finished_stages() == ["train"]
    assert words.spent(spent)["killed"] == "A process was killed in the course of it: what it took is not known."


def test_energy_in_words_is_counted_or_not_measured() -> None:
    nothing = words.energy({"train": {"seconds": 5.0, "cpu_seconds": 9.0}})
    assert nothing.startswith("Energy: not measured on this machine")
    assert not any(sign.isdigit() for sign in nothing)
    found = words.energy(
        {"train": {"processor_joules": 7200.0}, "score": {"processor_joules": 0.0, "gpu_joules": 12.0}}
    )
    assert "2.00 Wh by the processor's packages (RAPL)" in found
    assert "12 J by its GPUs (NVML) in 1 of 2 stages" in found
