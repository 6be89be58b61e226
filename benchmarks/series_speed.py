"""Training speed of forecasting as a ratio, in one process with the two sides in turns: ours against a bare Keras fit.

    python benchmarks/series_speed.py [--data-root ../shared/data] [--turns 5] [--peer PYTHON] [dlinear] [patchtst]

ETTh1, lookback 336, 96 steps ahead, 7 channels, batches of 32: windows a second of Sixfold's epochs, each window cut
from the series and scaled anew, against `fit` of the same model (XLA, 50 steps a call) on the very same batches, held
in memory as tensors. A turn is an epoch of dlinear, 10 steps of patchtst (paper's size for this data: width 16, 4
heads, 3 layers); printed are medians, and the median ratio of neighbouring turns.

With --peer, an interpreter that has benchmarks/requirements-series.txt, neuralforecast trains the same network on the
same windows right after (series_peer.py), in batches of its own best size.
"""

import argparse
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from training_speed import in_turns, report, trainer_for

from pipelines import devices, registry
from pipelines.config import load_config

SETTINGS: dict[str, Any] = {
    "columns": {"time": "date"},
    "split": "8640,2880,2880",
    "lookback": 336,
    "horizon": 96,
    "head": "point",
    "batch_size": 32,
    "weight_decay": 0,
    "epochs": 100,
    "deterministic": False,  # else Keras leaves XLA off
}
NETWORKS: dict[str, dict[str, Any]] = {
    "dlinear": {},
    "patchtst": {"width": 16, "heads": 4, "layers": 3, "feedforward": 128},
}
SHARE = {"dlinear": 1, "patchtst": 25}
"""What part of an epoch a turn is."""


def compare(name: str, root: Path, turns: int, peer: str | None) -> None:
    """One network."""
    options = {**SETTINGS, **NETWORKS[name], "data": str(root / "ett" / "ETTh1.csv"), "backbone": name}
    config: Any = load_config("time-series-forecasting", options=options).config
    devices.start(config)
    import keras
    import tensorflow as tf

    task = registry.task("time-series-forecasting")
    data = task.load_data(config)
    config = task.resolve(config, data)
    trainer = trainer_for(config, task, data)
    count = trainer.train.steps_per_epoch // SHARE[name]
    blocks = iter(trainer.train.blocks(0, trainer.total, trainer.longest if name == "dlinear" else count))

    def ours() -> int:
        done = 0
        while done < count:
            block = next(blocks)
            steps = block[1].shape[0]
            trainer.steps.train(block, np.full(steps, 1e-4, np.float32))
            done += steps
        return done * config.batch_size

    held = [tf.nest.map_structure(lambda part: part[0], block[:2]) for block in trainer.train.iterate(0, count, 1)]
    whole = tf.nest.map_structure(lambda *parts: tf.stack(parts), *held)
    batches = tf.data.Dataset.from_tensor_slices(whole).prefetch(2)
    model = task.build_model(config, data.assets).model

    def squared(y: Any, outputs: Any) -> Any:
        return keras.ops.mean(keras.ops.square(y - keras.ops.reshape(outputs, keras.ops.shape(y))))

    model.compile(keras.optimizers.AdamW(1e-4), squared, jit_compile=True, steps_per_execution=min(50, count))

    def bare() -> int:
        model.fit(batches, epochs=1, verbose=0)
        return count * config.batch_size

    ours(), bare(), ours(), bare()
    report(name, "windows/s", in_turns({"ours": ours, "bare fit": bare}, turns))
    if peer is not None:
        start = time.perf_counter()
        windows = ours()
        mine = windows / (time.perf_counter() - start)
        theirs = peer_speed(peer, name, root)
        print(f"{name}: {mine:,.0f} windows/s against neuralforecast's {theirs:,.0f}: {mine / theirs:.2f} times")


def peer_speed(peer: str, name: str, root: Path) -> float:
    """Windows of 7 channels a second of neuralforecast, in a process of its own."""
    script = Path(__file__).with_name("series_peer.py")
    command = [peer, str(script), name, str(root / "ett" / "ETTh1.csv")]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", metavar="dlinear | patchtst")
    parser.add_argument("--data-root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--peer", metavar="PYTHON")
    given = parser.parse_args()
    for each in given.which or NETWORKS:
        compare(each, given.data_root, given.turns, given.peer)
