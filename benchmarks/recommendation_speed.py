"""Speed of recommendation: training as a ratio, in one process with the two sides in turns, and lists for all users.

    python benchmarks/recommendation_speed.py [--data-root ../shared/data] [--turns 5] [--peer PYTHON] [sasrec] [mf]
        [lists]

sasrec  the recipe on Amazon Beauty: interactions a second of Sixfold's epochs, histories fetched and padded anew,
        against Keras' own train_step of the same model, compiled once, over the batches of the first epoch, held in
        memory. A turn is an epoch.
mf      matrix factorisation on MovieLens 100k, softmax over all items: the same against `fit` (XLA as ours, 50 steps a
        call) on the batches as one tensor.
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
from training_speed import bare_model, in_turns, report, trainer_for

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


def held(trainer: Any) -> list[Any]:
    """(x, y, weight) of each step of the first epoch."""
    import tensorflow as tf

    blocks = trainer.train.blocks(0, trainer.train.steps_per_epoch, 1)
    return [tf.nest.map_structure(lambda part: part[0], block) for block in blocks]


def ours(trainer: Any, interactions: int) -> Callable[[], int]:
    """Train the next epoch, from the stream; the interactions learnt from, which are as many in each."""
    blocks = iter(trainer.train.blocks(0, trainer.total, trainer.longest))

    def run() -> int:
        done = 0
        while done < trainer.train.steps_per_epoch:
            block = next(blocks)
            steps = block[2].shape[0]
            trainer.steps.train(block, np.full(steps, 1e-3, np.float32))
            done += steps
        return interactions

    return run


def stock(task: Any, config: Any, data: Any) -> tuple[Any, Any]:
    """The same network and loss as a model that Keras trains by itself, and its optimizer."""
    from pipelines.preparation import make_optimizer

    built = task.build_model(config, data.assets)
    return bare_model(built), make_optimizer(config, built.model)


def sasrec(arguments: argparse.Namespace) -> None:
    """SASRec on Beauty: see the module."""
    import tensorflow as tf

    source = arguments.data_root / "s3rec" / "Beauty.txt"
    config, task, data = prepared("beauty", data=str(source), epochs=100)
    trainer = trainer_for(config, task, data)
    batches = held(trainer)
    interactions = int(sum(float(np.sum(weight)) for *_, weight in batches))
    epoch = ours(trainer, interactions)
    model, optimizer = stock(task, config, data)
    model.compile(optimizer, jit_compile=False)
    any_length = tf.nest.map_structure(lambda part: tf.TensorSpec([part.shape[0], None], part.dtype), batches[0])
    step = tf.function(lambda *batch: model.train_step(batch), input_signature=any_length, autograph=False)

    def bare() -> int:
        for batch in batches:
            step(*batch)
        return interactions

    epoch(), bare()
    report("sasrec", "interactions/s", in_turns({"ours": epoch, "bare train_step": bare}, arguments.turns))
    if arguments.peer is not None:
        versus(arguments.peer, source, epoch, arguments.turns)


def versus(peer: str, source: Path, epoch: Callable[[], int], turns: int) -> None:
    """Seconds of an epoch beside RecBole's; ours before and after each of its."""

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
    each = held(trainer)
    interactions = int(sum(float(np.sum(weight)) for *_, weight in each))
    epoch = ours(trainer, interactions)
    whole = tf.nest.map_structure(lambda *parts: tf.stack(parts), *each)
    batches = tf.data.Dataset.from_tensor_slices(whole).prefetch(2)
    model, optimizer = stock(task, config, data)
    model.compile(optimizer, jit_compile=trainer.steps._settings.jit, steps_per_execution=min(50, len(each)))

    def bare() -> int:
        model.fit(batches, epochs=1, verbose=0, shuffle=False)
        return interactions

    epoch(), bare(), epoch(), bare()
    report("mf", "interactions/s", in_turns({"ours": epoch, "bare fit": bare}, arguments.turns))


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
    parser.add_argument("--peer", metavar="PYTHON")
    given = parser.parse_args()
    for each in given.which or ["sasrec", "mf", "lists"]:
        {"sasrec": sasrec, "mf": mf, "lists": lists}[each](given)
