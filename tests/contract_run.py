"""A child of test_contract.py: a run of a task in a process of its own.

python contract_run.py losses TASKS FOLDER DEVICES    20 steps of SGD without dropout of several tasks (a,b) on so many
logical CPUs, losses into FOLDER/TASK-DEVICES.json
python contract_run.py workers TASKS FOLDER BACKEND   the same as one of the workers that TF_CONFIG names, or alone,
into FOLDER/TASK-RANK-of-COUNT.json
python contract_run.py parallel FOLDER DEVICES        the same of two transformers on JAX, each computed by so many
devices, tables split over all, alone or as one of the workers, into FOLDER/TASK-DEVICES-RANK-of-COUNT.json
python contract_run.py run TASK FOLDER                a small run into FOLDER
python contract_run.py runs TASKS FOLDER BACKEND      small runs of several into FOLDER/TASK
"""

import json
import sys
from pathlib import Path
from typing import Any

SMALL = {"limit": 80, "epochs": 2, "batch_size": 16}
SHALLOW = {"layers": 1, "width": 32, "mels": 20}
"""Where a task has it: what a large network does, a small one shows sooner."""
PARALLEL: dict[str, dict[str, Any]] = {
    "translation": {},
    "text-sentiment": {"backbone": "transformer", "embedding": 32, "momentum": 0.9, "average": 0.9},
}
"""Of layers of our own, and of Keras' attention."""


def small(task_name: str) -> dict[str, Any]:
    """Options of a run that is soon over."""
    from pipelines import registry

    known = registry.config_class(task_name).model_fields
    return SMALL | {name: value for name, value in SHALLOW.items() if name in known}


def losses(task_names: str, folder: Path, logical: int) -> None:
    """The loss of each of 20 steps."""
    from pipelines import devices

    devices.import_backend("tensorflow")
    import tensorflow as tf

    if logical > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * logical)
    for task_name in task_names.split(","):
        config = plain(task_name)
        runtime = devices.start(config)
        assert runtime.replicas == logical
        (folder / f"{task_name}-{logical}.json").write_text(json.dumps(followed(task_name, config, runtime)))


def workers(task_names: str, folder: Path, backend: str) -> None:
    """The same, of several tasks."""
    from pipelines import devices
    from pipelines.workers import place

    runtime, here = None, place()
    for task_name in task_names.split(","):
        config = plain(task_name, backend)
        runtime = runtime or devices.start(config, here)
        assert runtime.replicas == here.count
        found = followed(task_name, config, runtime)
        (folder / f"{task_name}-{here.rank}-of-{here.count}.json").write_text(json.dumps(found))


def parallel(folder: Path, count: int) -> None:
    """The same, kernels and tables split; and what is saved in the end."""
    from pipelines import devices
    from pipelines.workers import place

    runtime, here = None, place()
    for task_name, options in PARALLEL.items():
        split = {"model_parallel": count, "shard_tables": True, "accumulate": 2}
        config = plain(task_name, "jax").model_copy(update={**split, **options})
        runtime = runtime or devices.start(config, here)
        assert runtime.replicas == here.count
        found = followed(task_name, config, runtime)
        (folder / f"{task_name}-{count}-{here.rank}-of-{here.count}.json").write_text(json.dumps(found))


def check_split(steps: Any, count: int) -> None:
    """Of everything that has the shape of a split kernel."""
    import jax

    shapes = {shape for shape, spec in steps._layout._split.items() if "model" in spec}
    found = [one for one in jax.tree_util.tree_leaves(steps._state) if one.shape in shapes]
    assert len(found) >= len(shapes) > 2
    assert all(count * one.addressable_shards[0].data.size == one.size for one in found)


def plain(task_name: str, backend: str = "tensorflow") -> Any:
    """Its settings: 5 steps an epoch, the last of each partial."""
    from pipelines import registry
    from pipelines.config import load_config

    options = {
        **small(task_name),
        "limit": 76,
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "schedule": "constant",
        "warmup": 0,
        "device": "cpu",
        "epochs": 4,
        "backend": backend,
    }
    known = registry.config_class(task_name).model_fields
    options |= {name: 0.0 for name in ("dropout", "word_dropout") if name in known}
    return load_config(task_name, options=options).config


def followed(task_name: str, config: Any, runtime: Any) -> list[float]:
    """The losses."""
    import keras
    import numpy as np
    import tensorflow as tf

    from pipelines import registry
    from pipelines.devices.settings import StepSettings
    from pipelines.preparation import make_optimizer
    from pipelines.stream import Share, Stream

    keras.utils.set_random_seed(config.seed)
    task = registry.task(task_name)
    data = task.load_data(config)
    config = task.resolve(config, data)
    with runtime.scope():
        built = task.build_model(config, data.assets)
        optimizer = make_optimizer(config, built.model)
    split = {"shard_tables": config.shard_tables, "model_parallel": config.model_parallel}
    steps = runtime.steps(built, optimizer, StepSettings(config.accumulate, average=config.average, **split))
    encoder, batching = task.encode(config, data.assets, True), task.batching(config)
    share = Share(runtime.workers.rank, runtime.workers.count, config.accumulate, runtime.shares)
    store = data.splits["train"]
    stream = Stream(store, encoder, batching, 0, training=True, share=share, alike=runtime.alike)
    found = []
    for block in stream.iterate(0, 20, 4):
        each = [tf.nest.map_structure(lambda part, i=i: part[i : i + 1], block) for i in range(block[1].shape[0])]
        sums = [steps.train(one, np.array([0.01], np.float32)) for one in each]
        found += [float(one[0] / one[1]) for one in sums]
    if config.model_parallel > 1:
        check_split(steps, config.model_parallel)
    return found + [float(np.abs(one).sum()) for one in steps.state().values()] if config.shard_tables else found


def run(task_name: str, folder: Path, backend: str = "tensorflow") -> None:
    """A small run, or the repetition of one from its run.yaml."""
    from pipelines.config import load_config
    from pipelines.engine import execute

    other = folder.parent / "first" / "run.yaml"
    options = {**small(task_name), "backend": backend}
    source: dict[str, Any] = {"file": other} if other.exists() else {"options": options}
    config = load_config(task_name, **source).config.model_copy(update={"run_dir": str(folder)})
    execute(task_name, config, ["contract"])


if __name__ == "__main__":
    verb, name, place, *rest = sys.argv[1:]
    if verb == "parallel":
        parallel(Path(name), int(place))
    elif verb == "losses":
        losses(name, Path(place), int(rest[0]))
    elif verb == "runs":
        for one in name.split(","):
            run(one, Path(place) / one, *rest)
    elif verb == "workers":
        workers(name, Path(place), *rest)
    else:
        run(name, Path(place), *rest)
