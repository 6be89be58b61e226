"""A child of test_recommendation_devices.py: the losses of 20 steps of some recommenders on so many CPU devices.

python devices_run.py BACKEND DEVICES FOLDER CASE...     of each case FOLDER/CASE-DEVICES.json with its losses and, of
split tables, the bytes on each device; and CASE-DEVICES.state, its state in the end. CASE-again goes on from
CASE-1.state.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

USERS, ITEMS, ROWS, STEPS = 50, 301, 16, 20
CASES: dict[str, dict[str, Any]] = {
    "in-batch-parts": {"backbone": "mf", "loss": "in-batch", "accumulate": 2, "clip_norm": 0.5},
    "in-batch-towers": {"backbone": "two-tower", "loss": "in-batch"},
    "in-batch-histories": {"backbone": "sasrec", "loss": "in-batch"},
    "sampled": {"backbone": "mf", "loss": "sampled-softmax", "negatives": 64},
    "tables": {"backbone": "mf", "loss": "sampled-softmax", "negatives": 64, "optimizer": "adamw", "average": 0.9},
    "tables-parts": {"backbone": "mf", "loss": "in-batch", "accumulate": 2, "clip_norm": 0.5, "l2": 1e-4},
    "tables-dropout": {"backbone": "two-tower", "loss": "softmax", "dropout": 0.2},
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
    """Train, two steps a call."""
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
    block, rates = batches(config), np.full(2, 0.05, np.float32)
    parts = [tf.nest.map_structure(lambda t, at=at: t[at : at + 2], block) for at in range(0, STEPS, 2)]
    sums = [steps.train(part, rates) for part in parts] + [steps.evaluate(parts[0])]
    about = {"losses": [float(one[0] / one[1]) for one in sums], **(held(steps) if config.shard_tables else {})}
    if name == "tables":
        compiled = steps._train.lower(steps._state, steps._layout.batches(parts[0]), rates).compile().as_text()
        about["whole tables in a step"] = re.findall(rf"\w+\[(?:{ITEMS}|{ITEMS + 1}),[^\]]*\]", compiled)
    (folder / f"{name}-{count}.json").write_text(json.dumps(about))
    save_arrays(folder / f"{name}-{count}.state", steps.state(), {})
    steps.release()


def assets() -> dict[str, Any]:
    """Of made-up users and items; one of ten items is in no training interaction."""
    import numpy as np

    from tasks.recommendation.data.packing import packed

    counts = np.random.default_rng(3).integers(1, 60, ITEMS)
    codes = packed(np.arange(ITEMS, dtype=np.int32) % 2)
    genre = {"kind": "category", "name": "genre", "names": ["a", "b"], "codes": codes}
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


def held(steps: Any) -> dict[str, list[int]]:
    """Bytes of the table of items, its slots and its average, on each device."""
    import jax

    found = dict.fromkeys(range(jax.device_count()), 0)
    for array in jax.tree_util.tree_leaves(steps._state):
        if array.ndim == 2 and array.shape[0] in (ITEMS, ITEMS + 1):
            for shard in array.addressable_shards:
                found[shard.device.id] += shard.data.nbytes
    return {"bytes": [*found.values()]}


if __name__ == "__main__":
    backend, count, folder, *names = sys.argv[1:]
    main(backend, int(count), Path(folder), names)
