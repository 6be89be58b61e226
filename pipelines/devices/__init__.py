"""Where a run computes: the only place that knows GPUs, tf.distribute and JAX. Imports neither TensorFlow nor Keras
by itself."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipelines import machine
from pipelines.config import RunConfig, required_devices
from pipelines.devices.accelerators import Device, named, why_no_gpu, why_no_gpu_for_jax, why_no_tpu
from pipelines.errors import ConfigError, DeviceError
from pipelines.workers import ALONE, Workers, check_port

if TYPE_CHECKING:
    import keras
    import numpy as np

    from pipelines.devices.settings import StepSettings
    from pipelines.devices.steps import Steps
    from pipelines.task import Built


FIXED_SHAPES = ContextVar("fixed_shapes", default=False)
"""Whether XLA compiles what is being traced."""


@dataclass(frozen=True)
class Runtime:
    """The devices of a run, ready for use."""

    backend: str
    device: str
    """cpu, gpu or tpu."""
    description: str
    """One line for people: devices, backend, precision."""
    replicas: int
    devices: tuple[Device, ...] = ()
    """Those that are computed on, by name and memory; a processor is one, however many logical devices it has."""
    strategy: Any = None
    """tf.distribute strategy of the TensorFlow backend; None for one device and for JAX."""
    splits: bool = False
    """Whether some weights are split over the devices (JAX)."""
    workers: Workers = ALONE
    """The processes that train together."""

    @property
    def about(self) -> dict[str, Any]:
        """For the manifest: what is computed on."""
        names, memory = [each.name for each in self.devices], [each.memory for each in self.devices]
        return {"kind": self.device, "names": names, "memory": memory, "replicas": self.replicas}

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Where models and optimizers are made."""
        with contextlib.ExitStack() as stack:
            if self.strategy is not None:
                stack.enter_context(self.strategy.scope())
            if self.splits:
                import jax

                # In the host's memory: what is split may be more than one device holds.
                stack.enter_context(jax.default_device(jax.local_devices(backend="cpu")[0]))
            yield

    def steps(self, built: "Built", optimizer: "keras.optimizers.Optimizer", settings: "StepSettings") -> "Steps":
        """The compiled training and evaluation steps of a model."""
        if self.backend == "jax":
            from pipelines.devices.jax_steps import JaxSteps

            return JaxSteps(built, optimizer, settings, self.workers)
        from pipelines.devices.tensorflow_steps import TensorFlowSteps

        return TensorFlowSteps(built, optimizer, settings, self.strategy, self.workers)

    @property
    def shares(self) -> int:
        """How many equal parts a batch must have: JAX's one program can do without, in one process."""
        return 1 if self.strategy is None and self.workers.count == 1 else self.replicas

    @property
    def alike(self) -> "Callable[[np.ndarray], np.ndarray] | None":
        """Where the parts of a batch that several processes read must have the same shapes, as in JAX's one program:
        what says which the largest sides are. See Stream."""
        return self.workers.most if self.backend == "jax" and self.workers.count > 1 else None

    def alone(self) -> "Runtime":
        """Where the chief goes on once training is over, and the other workers have ended."""
        if self.workers.count == 1:
            return self
        if self.backend == "jax":
            from pipelines.devices.jax_workers import leave

            leave()
        return replace(self, replicas=1, strategy=None, workers=ALONE)


def start(config: RunConfig, workers: Workers = ALONE) -> Runtime:
    """Choose the backend, the devices, the precision and the seeds. To be called before anything imports Keras.

    Args:
        config: of the run.
        workers: this process's place; where it is not alone, it waits here for the others.

    Raises:
        DeviceError: the backend is not installed, was already started as another one, or a device asked for is missing.
    """
    import_backend(config.backend)
    import keras
    import tensorflow as tf

    set_precision(config.precision)
    keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    if config.backend == "jax":
        return _start_jax(config, workers)
    # Grappler's pass drops the edge that keeps a variable's update after its reads, where no gradient joins the two:
    # a step then sees its own update. tests/test_stages.py has a case.
    tf.config.optimizer.set_experimental_options({"dependency_optimization": False})
    return _start_tensorflow(config, workers)


def set_precision(precision: str) -> None:
    """The number format of the layers that are made from now on. Of a worker that is yet to hear what the chief has
    chosen, it is float32 until then."""
    import keras

    keras.config.set_dtype_policy("float32" if precision == "auto" else precision)


def import_backend(backend: str) -> None:
    """Import Keras on a backend, without the notices that TensorFlow's C++ prints on the way."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = backend
    try:
        with _quiet():
            import keras
            import tensorflow  # noqa: F401  # loaded here so that its start-up notices stay in the quiet
    except ModuleNotFoundError as error:
        raise DeviceError(
            f"the {backend} backend needs the package {error.name}, the extra [{backend}]: in a checkout of Sixfold, "
            f"pip install -c constraints.txt '.[{backend}]'."
        ) from error
    # Each run makes its functions anew; that they are traced again is no news to anybody.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    if keras.backend.backend() != backend:
        raise DeviceError(
            f"Keras was already started on {keras.backend.backend()}, and this run wants {backend}: "
            "use another process, or set KERAS_BACKEND before Keras is first imported."
        )


def forward(model: "keras.Model") -> "Callable[[Any], np.ndarray]":
    """The model's outputs, compiled for the current backend: x -> float32 array."""
    import keras

    if keras.backend.backend() == "jax":
        from pipelines.devices.jax_steps import forward as compiled
    else:
        from pipelines.devices.tensorflow_steps import forward as compiled
    return compiled(model)


def replica() -> Any:
    """int32: which part of the batch the step that is being computed sees; 0 where it sees all of it."""
    import keras

    if keras.backend.backend() == "jax":
        return 0
    from pipelines.devices.tensorflow_steps import replica as place

    return place()


def gathered(rows: Any) -> Any:
    """Of what each replica has computed for its rows of the batch, [its rows, ...], that of the whole batch, in order:
    [all rows, ...]. Gradients flow back to the replica that computed a row. JAX's one program sees the whole batch
    already."""
    import keras

    if keras.backend.backend() == "jax":
        return rows
    from pipelines.devices.tensorflow_steps import gathered as everything

    return everything(rows)


def shapes_change() -> bool:
    """Whether what is computed may have shapes that hang on its values: on TensorFlow, but where XLA compiles a step
    for shapes that it must know."""
    import keras

    return bool(keras.backend.backend() == "tensorflow") and not FIXED_SHAPES.get()


def compiled(function: "Callable[..., Any]", model: "keras.Model") -> "Callable[..., Any]":
    """A function of arrays that computes with a model's layers, in keras.ops, compiled for the current backend: on
    TensorFlow once for all lengths of its arguments' sides, on JAX for each shape."""
    import keras

    if keras.backend.backend() == "jax":
        from pipelines.devices.jax_steps import compiled as of_backend
    else:
        from pipelines.devices.tensorflow_steps import compiled as of_backend
    return of_backend(function, model)


def slopes(model: "keras.Model") -> "Callable[..., np.ndarray]":
    """How an output of each example changes with its input: (x float [rows, ...], outputs int [rows], what else the
    model takes beside x) -> the gradient of the sum of model(x)[row, output of the row], float32 of x's shape. Where
    an example's output depends on its own rows of x alone, that is the gradient of each."""
    import keras

    if keras.backend.backend() == "jax":
        from pipelines.devices.jax_steps import slopes as compiled
    else:
        from pipelines.devices.tensorflow_steps import slopes as compiled
    return compiled(model)


def _start_tensorflow(config: RunConfig, workers: Workers = ALONE) -> Runtime:
    import tensorflow as tf

    library = f"TensorFlow {tf.__version__}"
    if _wanted(config) == "tpu":
        from pipelines.devices.tpu import start_tpu

        with _quiet():
            strategy = start_tpu(workers)
        cores = strategy.num_replicas_in_sync
        return _runtime(config, "tpu", library, [Device("TPU core")] * cores, cores, strategy)
    with _quiet():
        gpus = tf.config.list_physical_devices("GPU")
    if _wanted(config) == "gpu" and not gpus:
        raise DeviceError(_missing("no GPU is visible to TensorFlow", why_no_gpu(tf.sysconfig.get_build_info())))
    if config.device == "cpu" and gpus:
        tf.config.set_visible_devices([], "GPU")
        gpus = []
    kind = "gpu" if gpus else "cpu"
    if workers.count > 1:
        return _join(config, workers, gpus)
    with _quiet():
        logical = tf.config.list_logical_devices(kind.upper())
    strategy = None
    if len(logical) > 1:
        # CPU "devices" have no NCCL; a reduction to one device is the one that works there.
        operations = None if gpus else tf.distribute.ReductionToOneDevice()
        strategy = tf.distribute.MirroredStrategy([device.name for device in logical], cross_device_ops=operations)
        check_divisible(config, len(logical))
    return _runtime(config, kind, library, named(kind, _names(gpus)), len(logical), strategy)


def _join(config: RunConfig, workers: Workers, gpus: list[Any]) -> Runtime:
    """One of several workers, of which each has all its GPUs, or its processor."""
    import tensorflow as tf

    from pipelines.devices.tensorflow_steps import adder, join

    check_port(workers.addresses[workers.rank])
    with _quiet():
        strategy = join(bool(gpus))
    here, kind = strategy.num_replicas_in_sync // workers.count, "gpu" if gpus else "cpu"
    asking = replace(workers, add=adder(strategy))
    return _runtime(config, kind, f"TensorFlow {tf.__version__}", named(kind, _names(gpus)), here, strategy, asking)


def _names(gpus: list[Any]) -> list[str]:
    import tensorflow as tf

    return [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]


def _start_jax(config: RunConfig, workers: Workers = ALONE) -> Runtime:
    import jax
    import tensorflow as tf

    if config.device == "cpu":
        # Where JAX has started already this changes nothing.
        jax.config.update("jax_platforms", "cpu")  # type: ignore[no-untyped-call]
    with _quiet():
        # TensorFlow only feeds data here; left alone it would reserve the GPU's memory.
        tf.config.set_visible_devices([], "GPU")
        if workers.count > 1:
            from pipelines.devices.jax_workers import join

            with _quiet(1):
                workers = join(workers, measuring=bool(config.open_choices))
        try:
            devices = jax.local_devices()
        except RuntimeError as error:
            raise DeviceError(f"JAX does not start: {str(error).partition(chr(10))[0]}") from error
    kind = {"cpu": "cpu", "tpu": "tpu"}.get(devices[0].platform, "gpu")
    if _wanted(config) not in ("auto", kind):
        raise DeviceError(_other_for_jax(_wanted(config), kind))
    found = named(kind, [device.device_kind for device in devices])
    if len(devices) % config.model_parallel:
        raise ConfigError(
            f"model_parallel {config.model_parallel}: the {len(devices)} device(s) of this process cannot be put into "
            "groups of so many: choose a number that divides them."
        )
    return _runtime(config, kind, f"JAX {jax.__version__}", found, len(devices), workers=workers)


def _wanted(config: RunConfig) -> str:
    """auto, cpu, gpu or tpu: what is required is wanted, too."""
    return config.device if config.require is None else required_devices(config.require)[0]


def _other_for_jax(wanted: str, kind: str) -> str:
    """A sentence on why JAX computes on something else."""
    what = f"JAX computes on {kind} here, not on {wanted}"
    if wanted == "cpu":
        return f"{what}: it was started before this run: use another process."
    reason = why_no_gpu_for_jax() if wanted == "gpu" else why_no_tpu()
    return _missing(what, reason or "the chips are here, so install jax[tpu], and see what JAX_PLATFORMS says")


def _missing(what: str, reason: str) -> str:
    return f"{what}: {reason}. Or compute on what there is, with --device cpu and without --require."


def _runtime(
    config: RunConfig,
    kind: str,
    library: str,
    found: list[Device],
    here: int,
    strategy: Any = None,
    workers: Workers = ALONE,
) -> Runtime:
    """See that there are as many devices as are required, and that they can share a batch; `here` are those of this
    process, logical ones counted."""
    if config.require is not None and len(found) < required_devices(config.require)[1]:
        raise DeviceError(
            f"require {config.require}: {library} sees {len(found)} ({_counted(found)}): free or add devices, see "
            "what CUDA_VISIBLE_DEVICES leaves visible, or require fewer."
        )
    replicas = here * workers.count // config.model_parallel
    check_divisible(config, replicas)
    name = _counted(found) if kind != "cpu" else _described_processor(found[0], here)
    parts = [name, library, config.precision, *(["deterministic"] if config.deterministic else [])]
    if config.shard_tables:
        parts.append("tables split by rows" if here * workers.count > 1 else "tables whole as there is one device")
    if config.model_parallel > 1:
        parts.append(f"kernels split over {config.model_parallel}")
    together = f"{workers.count} workers, each " if workers.count > 1 else ""
    splits = config.shard_tables or config.model_parallel > 1
    return Runtime(config.backend, kind, together + ", ".join(parts), replicas, tuple(found), strategy, splits, workers)


def check_divisible(config: RunConfig, replicas: int) -> None:
    """Every replica takes an equal part of each batch, once its size is known."""
    if "batch_size" not in config.open_choices and config.batch_size % (config.accumulate * replicas):
        raise ConfigError(
            f"batch_size {config.batch_size} (in {config.accumulate} part(s)) cannot be shared equally "
            f"by {replicas} devices: choose a multiple of {config.accumulate * replicas}."
        )


def _described_processor(found: Device, logical: int) -> str:
    """'CPU (2 cores, AMD EPYC, 23 GB)'."""
    count = machine.cores()
    parts = [f"{count} core{'' if count == 1 else 's'}", found.name, _size(found.memory)]
    parts.append(f"{logical} logical devices" if logical > 1 else "")
    return f"CPU ({', '.join(filter(None, parts))})"


def _counted(found: list[Device]) -> str:
    """'2 x NVIDIA H100 80GB HBM3 (80 GB)', or each by itself where they differ."""
    shown = [each.name + (f" ({_size(each.memory)})" if each.memory else "") for each in found]
    unique = list(dict.fromkeys(shown))
    return ", ".join(name if shown.count(name) == 1 else f"{shown.count(name)} x {name}" for name in unique)


def _size(memory: int | None) -> str:
    return machine.gigabytes(memory) if memory else ""


@contextlib.contextmanager
def _quiet(output: int = 2) -> Iterator[None]:
    """Nothing on the process's standard error, or another of its outputs, C++ included; a failing import still
    raises."""
    try:
        kept, sink = os.dup(output), os.open(os.devnull, os.O_WRONLY)
    except OSError:
        yield
        return
    try:
        os.dup2(sink, output)
        yield
    finally:
        os.dup2(kept, output)
        os.close(kept)
        os.close(sink)
