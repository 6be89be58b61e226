"""Which devices a run starts on, what it says of them, and how it ends where they are missing."""

import json
import types
from pathlib import Path
from typing import Any

import pytest

from pipelines import devices, machine
from pipelines.cli import main
from pipelines.devices import accelerators
from pipelines.devices.accelerators import Device
from pipelines.errors import ConfigError, DeviceError
from pipelines.fitting import Fitting
from pipelines.stages import plan
from pipelines.workers import Workers
from tasks.image_classification.config import Config

tensorflow = pytest.importorskip("tensorflow")

NO_DRIVER = "this machine has no NVIDIA driver"


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The GPUs that TensorFlow sees, by name; none at first."""
    names: list[str] = []
    config, details = tensorflow.config, lambda gpu: {"device_name": gpu.name}

    def listed(kind: str | None = None) -> list[Any]:
        return [types.SimpleNamespace(name=name) for name in names] if kind == "GPU" else []

    monkeypatch.setattr(config, "list_physical_devices", listed)
    monkeypatch.setattr(config.experimental, "get_device_details", details)
    strategy = types.SimpleNamespace(num_replicas_in_sync=2)
    monkeypatch.setattr(tensorflow.distribute, "MirroredStrategy", lambda names, cross_device_ops: strategy)
    logical = config.list_logical_devices
    monkeypatch.setattr(config, "list_logical_devices", lambda kind: listed(kind) if names else logical(kind))
    monkeypatch.setattr(accelerators, "nvidia_driver", lambda: accelerators.Driver(problem=NO_DRIVER))
    return names


def started(**settings: Any) -> devices.Runtime:
    return devices._start_tensorflow(Config(**settings))


def test_the_processor_is_described(gpus: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("processor", "AMD EPYC"), ("cores", 2), ("memory", 23 << 30)):
        monkeypatch.setattr(machine, name, lambda value=value: value)
    runtime = started()
    version = tensorflow.__version__
    assert runtime.description == f"CPU (2 cores, AMD EPYC, 23 GB), TensorFlow {version}, float32, deterministic"
    assert runtime.about == {"kind": "cpu", "names": ["AMD EPYC"], "memory": [23 << 30], "replicas": 1}


def test_what_the_system_does_not_say_is_left_out(gpus: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("processor", ""), ("cores", 1), ("memory", None)):
        monkeypatch.setattr(machine, name, lambda value=value: value)
    assert started().description.startswith("CPU (1 core), TensorFlow")


def test_gpus_are_described(gpus: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    gpus += ["NVIDIA T4", "NVIDIA T4"]
    cards = [Device("NVIDIA T4", 16 << 30)] * 2
    monkeypatch.setattr(accelerators, "nvidia_driver", lambda: accelerators.Driver(cards))
    runtime = started(require="gpu:2", precision="mixed_bfloat16", deterministic=False)
    version = tensorflow.__version__
    assert runtime.description == f"2 x NVIDIA T4 (16 GB), TensorFlow {version}, mixed_bfloat16"
    assert runtime.about == {"kind": "gpu", "names": ["NVIDIA T4"] * 2, "memory": [16 << 30] * 2, "replicas": 2}


def test_different_gpus_are_all_named() -> None:
    assert devices._counted([Device("A", 8 << 30), Device("B"), Device("A", 8 << 30)]) == "2 x A (8.0 GB), B"


@pytest.mark.parametrize("settings", [{"device": "gpu"}, {"require": "gpu"}, {"require": "gpu:2"}])
def test_no_gpu_is_said_with_the_reason(gpus: list[str], settings: dict[str, str]) -> None:
    with pytest.raises(DeviceError, match=f"^no GPU is visible to TensorFlow: {NO_DRIVER}"):
        started(**settings)


def test_fewer_gpus_than_required(gpus: list[str]) -> None:
    gpus += ["NVIDIA T4"]
    with pytest.raises(DeviceError, match=r"^require gpu:2: TensorFlow .* sees 1 \(NVIDIA T4\): free or add devices"):
        started(require="gpu:2")


def test_a_batch_that_devices_cannot_share(gpus: list[str]) -> None:
    gpus += ["NVIDIA T4", "NVIDIA T4"]
    with pytest.raises(ConfigError, match="batch_size 33 .* cannot be shared equally by 2 devices"):
        started(batch_size=33)


@pytest.mark.parametrize("settings", [{"device": "tpu"}, {"require": "tpu:4"}])
def test_no_tpu_is_said_with_the_reason(
    settings: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerators, "_PCI", tmp_path)
    monkeypatch.delenv("TPU_NAME", raising=False)
    with pytest.raises(DeviceError, match="^no TPU can be used: this machine has no TPU chip"):
        started(**settings)


def test_a_tpu_that_does_not_start_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(tpu: str) -> None:
        raise ValueError(f"no TPU is called {tpu}\nand much more")

    monkeypatch.setenv("TPU_NAME", "mine")
    monkeypatch.setattr(tensorflow.distribute.cluster_resolver, "TPUClusterResolver", refuse)
    with pytest.raises(DeviceError, match=r"^the TPU does not start \(no TPU is called mine\): see that"):
        started(device="tpu")


def test_the_order_in_which_a_tpu_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a TPU that is not there: that TensorFlow's documented calls are made, in the documented order."""
    calls: list[str] = []
    strategy = types.SimpleNamespace(num_replicas_in_sync=8)
    monkeypatch.setenv("TPU_NAME", "mine")
    places: list[tuple[Any, str, Any]] = [
        (tensorflow.distribute.cluster_resolver, "TPUClusterResolver", None),
        (tensorflow.config, "experimental_connect_to_cluster", None),
        (tensorflow.tpu.experimental, "initialize_tpu_system", None),
        (tensorflow.distribute, "TPUStrategy", strategy),
    ]
    for owner, name, result in places:
        monkeypatch.setattr(owner, name, lambda *a, name=name, result=result, **k: (calls.append(name), result)[1])
    runtime = started(device="tpu", require="tpu:8")
    assert calls == [name for _, name, _ in places]
    assert (runtime.replicas, runtime.device, runtime.strategy) == (8, "tpu", strategy)
    assert runtime.description.startswith("8 x TPU core, TensorFlow")


def test_several_workers_on_a_tpu_are_refused() -> None:
    """Each would train for itself."""
    with pytest.raises(ConfigError, match="device tpu: TensorFlow computes on TPUs from one process, and TF_CONFIG"):
        devices._start_tensorflow(Config(device="tpu"), Workers(0, 2))


def test_of_xla_it_is_said_what_is_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps of several replicas on TensorFlow are never compiled, whatever run.yaml says."""
    said: list[str] = []
    monkeypatch.setattr(Fitting, "_chosen", lambda self, config, model, stream: config)
    monkeypatch.setattr(Fitting, "_say_model", lambda self, model, how: said.append(how))
    for backend, shares in (("tensorflow", 1), ("tensorflow", 2), ("jax", 2)):
        config = Config(backend=backend, jit="on", steps_per_execution=4)
        of = types.SimpleNamespace(
            config=config, runtime=types.SimpleNamespace(shares=shares), change=lambda **settings: None
        )
        assert Fitting(of)._settle(None, None, plan(config)[0]).jit == "on"  # type: ignore[arg-type]
    assert [how.partition("XLA ")[2] for how in said] == ["on", "off, as several replicas compute", "on"]


def test_jax_says_why_it_computes_on_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jax", reason="the JAX backend is an extra")
    import jax

    if jax.devices()[0].platform != "cpu":
        pytest.skip("there is a GPU or TPU, on which JAX would start")
    monkeypatch.setattr(accelerators, "nvidia_driver", lambda: accelerators.Driver(problem=NO_DRIVER))
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.delenv("TPU_NAME", raising=False)
    for wanted, reason in (("gpu", NO_DRIVER), ("tpu", "this machine has no TPU chip")):
        with pytest.raises(DeviceError, match=f"JAX computes on cpu here, not on {wanted}: {reason}"):
            devices._start_jax(Config(backend="jax", require=wanted))
    assert devices._start_jax(Config(backend="jax", device="cpu")).about["kind"] == "cpu"


def test_a_run_ends_with_4_before_any_data_are_read(
    gpus: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--require", "gpu", "--data", str(tmp_path / "nowhere"), "--run-dir", str(tmp_path / "run")]
    assert main(["run", "image-classification", *words]) == 4
    assert NO_DRIVER in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_manifest_names_the_devices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--limit", "60", "--epochs", "1", "--backbone", "mlp", "--stop-step", "1", "--device", "cpu"]
    assert main(["run", "image-classification", *words, "--run-dir", str(tmp_path / "run")]) == 0
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    found = accelerators.processor()
    assert manifest["devices"] == {
        **{"kind": "cpu", "names": [found.name], "memory": [found.memory], "replicas": 1},
        **{"backend": "tensorflow", "precision": "float32", "deterministic": True},
    }
    first = capsys.readouterr().err.splitlines()[0]
    assert first == f"device: {manifest['device']}"
