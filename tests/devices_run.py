"""A child of test_recommendation_devices.py: the losses of 20 steps of some recommenders on so many CPU devices.

python devices_run.py BACKEND DEVICES FOLDER CASE...     of each case FOLDER/CASE-DEVICES.json with its losses and the bytes of
its state on each device, and CASE-DEVICES.state with its state after them; one that goes on begins with CASE-1.state.
"""

import json
import sys
from pathlib import Path
from typing import Any

USERS, ITEMS, ROWS, STEPS = 50, 301, 16, 20
CASES: dict[str, dict[str, Any]] = {
    "in-batch": {"backbone": "mf", "loss": "in-batch"},
    "in-batch-parts": {"backbone": "mf", "loss": "in-batch", "accumulate": 2, "clip_norm": 0.5},
    "in-batch-towers": {"backbone": "two-tower", "loss": "in-batch"},
    "in-batch-histories": {"backbone": "sasrec", "loss": "in-batch"},
    "sampled": {"backbone": "mf", "loss": "sampled-softmax", "negatives": 64},
    "tables": {"backbone": "mf", "loss": "sampled-softmax", "negatives": 64, "optimizer": "adamw", "average": 0.9},
    "tables-whole": {"backbone": "two-tower", "loss": "softmax", "optimizer": "adam", "l2": 1e-4, "dropout": 0.2},
    "tables-parts": {"backbone": "gru4rec", "loss": "in-batch", "optimizer": "adamw", "accumulate": 2},
}
CASES["tables-again"] = CASES["tables"]
KNOWN = {"width": 16, "max_history": 8, "dropout": 0.0, "batch_size": ROWS, "optimizer": "sgd", "heads": 2, "layers": 2}


def main(backend: str, count: int, folder: Path, names: list[str]) -> None:
    """Every case in turn."""
    from pipelines import devices
    from tasks.recommendation.config import Config

    devices.import_backend(backend)
    if backend == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    for name in names:
        config = Config(**{**KNOWN, **CASES[name], "backend": backend, "shard_tables": name.startswith("tables")})
        runtime = devices.start(config)
        assert runtime.replicas == count
        losses(runtime, config, folder, name, count)


def losses(runtime: Any, config: Any, folder: Path, name: str, count: int) -> None:
    """Train, the first ten steps one by one, then in blocks of five."""
    import numpy as np
    import tensorflow as tf

    from pipelines.devices.settings import StepSettings
    from pipelines.preparation import make_optimizer
    from pipelines.state import load_arrays, save_arrays
    from tasks.recommendation.model import build_model

    with runtime.scope():
        built = build_model(config, assets())
        optimizer = make_optimizer(config, built.model)
    norms = config.accumulate, config.clip_norm, config.l1, config.l2, config.average
    steps = runtime.steps(built, optimizer, StepSettings(*norms, shard_tables=config.shard_tables))
    if name.endswith("-again"):
        steps.load_state(load_arrays(folder / f"{name.removesuffix('-again')}-1.state")[0])
    found, block = [], batches(config)
    for first, length in [*((place, 1) for place in range(10)), (10, 5), (15, 5)]:
        part = tf.nest.map_structure(lambda t, at=slice(first, first + length): t[at], block)
        sums = steps.train(part, np.full(length, 0.05, np.float32))
        found.append(float(sums[0] / sums[1]))
    valid = steps.evaluate(part)
    about = {"losses": found, "valid": float(valid[0] / valid[1]), "bytes": held(steps, config)}
    (folder / f"{name}-{count}.json").write_text(json.dumps(about))
    save_arrays(folder / f"{name}-{count}.state", steps.state(), {})
    steps.release()


def assets() -> dict[str, Any]:
    """Of made-up users and items; one of ten items is in no training interaction."""
    import numpy as np

    from tasks.recommendation.data.packing import packed

    counts = np.random.default_rng(3).integers(1, 60, ITEMS)
    genre = {"kind": "category", "name": "genre", "names": ["a", "b"], "codes": packed(np.arange(ITEMS, dtype="i4") % 2)}
    return {
        "users": [f"u{n}" for n in range(USERS)],
        "items": [f"i{n}" for n in range(ITEMS)],
        "trained": {"users": USERS, "items": ITEMS - 30},
        "counts": counts.tolist(),
        "rating": {"mean": 3.5, "min": 1.0, "max": 5.0},
        "features": {"items": {"columns": [genre]}},
    }


def batches(config: Any) -> Any:
    """(x, y, weight) of all steps, each tensor [steps, batch, ...]; of the last rows some only fill the shape."""
    import numpy as np
    import tensorflow as tf

    from pipelines.stream import example_keys
    from tasks.recommendation.encoding import encode

    random, rows = np.random.default_rng(5), STEPS * ROWS
    raw = {"user": random.integers(0, USERS, rows).astype(np.int32)}
    if config.backbone in ("sasrec", "gru4rec"):
        splits = np.cumsum([0, *random.integers(2, 9, rows)])
        raw |= {"history": random.integers(0, ITEMS, splits[-1]).astype(np.int32), "history_splits": splits}
    else:
        raw |= {"item": (ITEMS * random.random(rows) ** 3).astype(np.int32), "rating": np.ones(rows, np.float32)}
    keys = tf.constant(example_keys(config.seed, 0, np.arange(rows)))
    x, y, weight = encode(config, assets(), True)({name: tf.constant(column) for name, column in raw.items()}, keys)
    weight *= tf.constant((np.arange(rows) % ROWS < ROWS - 3).astype(np.float32)[:, None])
    return tf.nest.map_structure(lambda t: tf.reshape(t, [STEPS, ROWS, *t.shape[1:]]), (x, y, weight))


def held(steps: Any, config: Any) -> dict[str, dict[str, int]]:
    """Of JAX: bytes of the tables with their slots and averages, and of all else, on each device."""
    import jax

    if config.backend != "jax":
        return {}
    found: dict[str, dict[str, int]] = {"tables": {}, "others": {}}
    for array in jax.tree_util.tree_leaves(steps._state):
        kind = "tables" if array.ndim == 2 and array.shape[0] in range(ITEMS, ITEMS + 8) else "others"
        for shard in array.addressable_shards:
            place = str(shard.device.id)
            found[kind][place] = found[kind].get(place, 0) + shard.data.nbytes
    return found


if __name__ == "__main__":
    backend, count, folder, *names = sys.argv[1:]
    main(backend, int(count), Path(folder), names)
