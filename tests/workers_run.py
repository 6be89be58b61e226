"""A child of test_workers.py: one of the workers that TF_CONFIG names.

python workers_run.py FOLDER     a step with dropout; what is dropped, and where the seeds stand then, into
FOLDER/RANK.json
"""

import json
import sys
from pathlib import Path
from typing import Any

WIDTH = 64


def main(folder: Path) -> None:
    """Rows of ones, of which the metric of a row tells what dropout left: row r of a batch counts in metric r."""
    from pipelines import devices
    from pipelines.config import RunConfig
    from pipelines.devices.settings import StepSettings
    from pipelines.preparation import make_optimizer
    from pipelines.workers import place

    config = RunConfig(batch_size=2, device="cpu", optimizer="sgd")
    runtime = devices.start(config, place())
    import keras
    import numpy as np
    import tensorflow as tf

    from pipelines.task import Built, Metric

    def told(row: int) -> Any:
        places = np.arange(1, WIDTH + 1, dtype=np.float32)
        return lambda y, outputs: keras.ops.sum(outputs * places, axis=1) * keras.ops.cast(y == row, "float32")

    with runtime.scope():
        scale = keras.layers.EinsumDense("bd,d->bd", WIDTH, kernel_initializer="ones")
        model = keras.Sequential([keras.Input((WIDTH,)), keras.layers.Dropout(0.5, seed=3), scale])
        built = Built(model, lambda y, outputs: outputs[:, 0], {str(row): Metric(told(row)) for row in range(2)})
        optimizer = make_optimizer(config, model)
    steps = runtime.steps(built, optimizer, StepSettings())
    workers = runtime.workers
    block = tf.ones([1, 1, WIDTH]), tf.constant([[workers.rank]]), tf.ones([1, 1])
    sums = steps.train(block, np.zeros(1, np.float32))
    seeds = {name: array.tolist() for name, array in steps.state().items() if array.dtype.kind in "iu"}
    said = workers.from_chief(b"of the chief" if workers.is_chief else b"of another").decode()
    found = {"left": sums[2:].tolist(), "seeds": seeds, "told": said, "most": workers.largest(7 * workers.rank)}
    (folder / f"{workers.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
