"""Speed of recommendation: training as a ratio, in one process with the two sides in turns, and lists for all users.

    python benchmarks/recommendation_speed.py [--data-root ../shared/data] [--turns 5] [--share 0.25] [--peer PYTHON]
        [sasrec] [mf] [lists]

sasrec  the recipe on Amazon Beauty: interactions a second of Sixfold's epochs, histories fetched and padded anew,
        against Keras' own train_step of the same model, compiled once, over the very batches of an epoch, held in
        memory. A turn is a share of an epoch (--share, by default a fourth) with the same batches on both sides.
mf      matrix factorisation on MovieLens 100k, softmax over all items: the same, an epoch a turn, against `fit` (XLA
        as ours, 50 steps a call) on the batches as one tensor.
lists   the 20 best of all items for each of MovieLens 100k's 943 users, from a file of ids to JSON lines, by a run
        that is loaded; the first call, which compiles, and the median of the others.

Printed are medians, and the median ratio of neighbouring turns. With --peer, an interpreter that has
benchmarks/requirements-recommendation.txt, RecBole's SASRec is timed between two of our turns (recommendation_peer.py).
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from training_speed import in_turns, report, trainer_for

from pipelines import devices, registry
from pipelines.config import load_config

TASK = "recommendation"
PEER_STEPS = 5
"""Batches of the peer that are timed."""
MOVIES: dict[str, Any] = {"columns": {"user": "0", "item": "1", "rating": "2", "time": "3"}, "top_k": 20}


def prepared(recipe: str | None = None, **options: Any) -> tuple[Any, Any, Any]:
    """(config, task, data) of a run, devices started; determinism is off, as it is in Keras by default."""
    config: Any = load_config(TASK, recipe=recipe, options={"deterministic": False, **options}).config
    devices.start(config)
    task = registry.task(TASK)
    data = task.load_data(config)
    return task.resolve(config, data), task, data


def ours(trainer: Any, count: int) -> Callable[[], int]:
    """Train the first steps of an epoch, from the stream; the interactions learnt from."""
    weights = sum(float(np.sum(block[2])) for block in trainer.train.blocks(0, count, 1))

    def run() -> int:
        for block in trainer.train.blocks(0, count, trainer.longest):
            trainer.steps.train(block, np.full(block[2].shape[0], 1e-3, np.float32))
        return int(weights)

    return run


def stock(task: Any, config: Any, data: Any) -> Any:
    """The same network and loss as a model that Keras trains by itself."""
    import keras

    from pipelines.preparation import make_optimizer

    built = task.build_model(config, data.assets)

    class Bare(keras.Model):
        """compute_loss is all that is ours."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = built.model

        def call(self, x: Any, training: bool = False) -> Any:
            """The model's outputs."""
            return self.inner(x, training=training)

        def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool = True) -> Any:
            """The mean over what counts."""
            losses = built.loss(y, y_pred) * sample_weight
            return keras.ops.sum(losses) / keras.ops.sum(sample_weight)

    model = Bare()
    model.optimizer_of_ours = make_optimizer(config, built.model)
    return model


def sasrec(arguments: argparse.Namespace) -> None:
    """SASRec on Beauty: see the module."""
    import tensorflow as tf

    source = arguments.data_root / "s3rec" / "Beauty.txt"
    config, task, data = prepared("beauty", data=str(source))
    trainer = trainer_for(config, task, data)
    count = max(int(trainer.train.steps_per_epoch * arguments.share), 1)
    side = ours(trainer, count)
    held = [tf.nest.map_structure(lambda part: part[0], block) for block in trainer.train.blocks(0, count, 1)]
    model = stock(task, config, data)
    model.compile(model.optimizer_of_ours, jit_compile=False)
    any_length = tf.nest.map_structure(lambda part: tf.TensorSpec([part.shape[0], None], part.dtype), held[0])
    step = tf.function(lambda *batch: model.train_step(batch), input_signature=any_length, autograph=False)

    def bare() -> int:
        for batch in held:
            step(*batch)
        return side_units

    side_units = side()
    bare()
    report("sasrec", "interactions/s", in_turns({"ours": side, "bare train_step": bare}, arguments.turns))
    if arguments.peer is not None:
        versus(arguments.peer, source, trainer, arguments.turns)


def versus(peer: str, source: Path, trainer: Any, turns: int) -> None:
    """Seconds of an epoch beside RecBole's; our whole epochs before and after it."""
    epoch = ours(trainer, trainer.train.steps_per_epoch)

    def seconds() -> float:
        started = time.perf_counter()
        epoch()
        return time.perf_counter() - started

    script = Path(__file__).with_name("recommendation_peer.py")
    mine, theirs = [seconds()], []
    for _ in range(max(turns // 2, 1)):
        command = [peer, str(script), str(source), str(PEER_STEPS)]
        theirs.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]))
        mine.append(seconds())
    own, other = statistics.median(mine), statistics.median(theirs)
    print(
        f"sasrec: an epoch takes {own:.1f} s, RecBole's {other:.0f} s (from {PEER_STEPS} batches): 1/{other / own:.1f}"
    )


def mf(arguments: argparse.Namespace) -> None:
    """Matrix factorisation on MovieLens 100k: see the module."""
    import tensorflow as tf

    source = arguments.data_root / "ml-100k" / "u.data"
    # No penalty, which Keras knows as a regulariser of layers alone.
    config, task, data = prepared(**MOVIES, data=str(source), backbone="mf", l2=0.0, epochs=100)
    trainer = trainer_for(config, task, data)
    count = trainer.train.steps_per_epoch
    side = ours(trainer, count)
    held = [tf.nest.map_structure(lambda part: part[0], block) for block in trainer.train.blocks(0, count, 1)]
    whole = tf.nest.map_structure(lambda *parts: tf.stack(parts), *held)
    batches = tf.data.Dataset.from_tensor_slices(whole).prefetch(2)
    model = stock(task, config, data)
    jit = trainer.steps._settings.jit
    model.compile(model.optimizer_of_ours, jit_compile=jit, steps_per_execution=min(50, count))

    def bare() -> int:
        model.fit(batches, epochs=1, verbose=0)
        return side_units

    side_units = side()
    bare(), side(), bare()
    report("mf", "interactions/s", in_turns({"ours": side, "bare fit": bare}, arguments.turns))


def lists(arguments: argparse.Namespace) -> None:
    """Lists for all users of MovieLens 100k: see the module."""
    from pipelines.artefact import load_predictor
    from pipelines.engine import execute
    from pipelines.prediction import write_records

    source = arguments.data_root / "ml-100k" / "u.data"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        options = {**MOVIES, "data": str(source), "backbone": "mf", "epochs": 1, "run_dir": str(folder / "run")}
        execute(TASK, load_config(TASK, options=options).config, ["benchmark"])
        loaded = load_predictor(folder / "run", {})
        ids = folder / "ids.txt"
        ids.write_text("\n".join(loaded.assets["users"]))

        def everybody() -> float:
            started = time.perf_counter()
            with (folder / "lists.jsonl").open("w") as file:
                records = loaded.predictor(loaded.task.inputs([str(ids)], loaded.config, loaded.assets))
                assert write_records(records, file).bad == 0
            return time.perf_counter() - started

        first, *others = (everybody() for _ in range(arguments.turns + 1))
        print(
            f"lists: top-20 for {len(loaded.assets['users'])} users among {len(loaded.assets['items']):,} items: "
            f"first {first:.2f} s, then median {statistics.median(others):.2f} s, best {min(others):.2f} s"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", metavar="sasrec | mf | lists")
    parser.add_argument("--data-root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.25, help="of an epoch, that a turn of sasrec is")
    parser.add_argument("--peer", metavar="PYTHON")
    given = parser.parse_args()
    for each in given.which or ["sasrec", "mf", "lists"]:
        {"sasrec": sasrec, "mf": mf, "lists": lists}[each](given)
