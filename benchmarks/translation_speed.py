"""Speed of translation: training as ratios, the sides in turns on the same batches, and decoding in seconds.

    python benchmarks/translation_speed.py [--data-root ../shared/data] [--turns 5] [--steps 20]
        [--precision mixed_bfloat16] [--torch PYTHON] [--run RUN] [train] [decode]

train   Transformer-Tiny on Multi30k, English to German (4 + 4 layers of width 128, 10,000 pieces in lower case, dropout
        0.3, batches of 4,096 places): target pieces a second, their ends counted, of Sixfold's steps with the stream
        that feeds them, against Keras' own train_step of the same model, compiled once, on batches in memory. A turn is
        --steps batches, of each side the same; no side averages its weights. With --torch, an interpreter that has
        benchmarks/requirements-translation.txt, torch's nn.Transformer of the same size takes its turns in a process
        of its own (translation_peer.py), in float32 and in bfloat16.
decode  the 1,000 sentences of test_2016_flickr by 5 beams, from the file to JSON lines, by a run that is loaded: --run,
        or one that is trained here for an epoch; the first call, which compiles, and the median of the others.

Printed are medians, and the median ratios of neighbouring turns.
"""

import argparse
import gzip
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from training_speed import Peer, bare_model, in_turns, report, trainer_for

from pipelines import devices, registry
from pipelines.config import load_config

TASK = "translation"
SETTINGS: dict[str, Any] = {
    "source_lang": "en",
    "target_lang": "de",
    "size": "tiny",
    "vocabulary_size": 10_000,
    "lowercase": True,
    "dropout": 0.3,
    "epochs": 100,
}
RATE = 1e-3
BEAMS = 5
TORCH = {"torch float32": "float32", "torch bfloat16": "bfloat16"}


def prepared(root: Path, **options: Any) -> tuple[Any, Any, Any]:
    """(config, task, data) of a run on Multi30k, devices started; determinism is off, as it is in Keras by default."""
    given = {**SETTINGS, "data": str(root / "multi30k"), "deterministic": False, "learning_rate": RATE, **options}
    config: Any = load_config(TASK, options=given).config
    devices.start(config)
    task = registry.task(TASK)
    data = task.load_data(config)
    return task.resolve(config, data), task, data


def held(trainer: Any, count: int) -> list[Any]:
    """(x, y, weight) of the first steps: before them one of each shape, to compile for."""
    import tensorflow as tf

    blocks = trainer.train.blocks(0, max(count, trainer.train.steps_per_epoch), 1)
    every = [tf.nest.map_structure(lambda part: part[0], block) for block in blocks]
    one_each = {tuple(weight.shape): (x, y, weight) for x, y, weight in every}
    return [*one_each.values(), *every[:count]]


def pieces(batch: Any) -> int:
    """Of the targets, with their ends."""
    return int(np.sum(batch[2]))


def ours(trainer: Any, shapes: list[Any], sizes: Iterator[list[int]]) -> Callable[[], int]:
    """A turn of Sixfold's steps, fed by its stream; before the first each shape was seen."""
    import tensorflow as tf

    rate = np.array([RATE], np.float32)
    for batch in shapes:
        trainer.steps.train(tf.nest.map_structure(lambda part: part[None], batch), rate)
    blocks = iter(trainer.train.blocks(0, trainer.total, 1))

    def run() -> int:
        turn = next(sizes)
        for block in islice(blocks, len(turn)):
            trainer.steps.train(block, rate)
        return sum(turn)

    return run


def bare(task: Any, config: Any, data: Any, shapes: list[Any], turns: Iterator[list[Any]]) -> Callable[[], int]:
    """A turn of the same network and loss as a model that Keras trains by itself."""
    import tensorflow as tf

    from pipelines.preparation import make_optimizer

    built = task.build_model(config, data.assets)
    model = bare_model(built)
    model.compile(make_optimizer(config, built.model), jit_compile=False)
    any_shape = tf.nest.map_structure(lambda part: tf.TensorSpec([None] * part.shape.rank, part.dtype), shapes[0])
    step = tf.function(lambda *batch: model.train_step(batch), input_signature=any_shape, autograph=False)
    for batch in shapes:
        step(*batch)

    def run() -> int:
        turn = next(turns)
        for batch in turn:
            step(*batch)
        return sum(map(pieces, turn))

    return run


def train(arguments: argparse.Namespace) -> None:
    """Training: see the module."""
    config, task, data = prepared(arguments.data_root, precision=arguments.precision)
    trainer = trainer_for(config, task, data)
    steps, turns = arguments.steps, arguments.turns
    batches = held(trainer, steps * turns)
    warm = len(batches) - steps * turns
    shapes, every = batches[:warm], [batches[at : at + steps] for at in range(warm, len(batches), steps)]
    sides: dict[str, Any] = {
        "ours": ours(trainer, shapes, iter([list(map(pieces, turn)) for turn in every])),
        "bare train_step": bare(task, config, data, shapes, iter(every)),
    }
    with tempfile.TemporaryDirectory() as folder:
        if arguments.torch is not None:
            file = written(Path(folder) / "batches.npz", batches)
            script = str(Path(__file__).with_name("translation_peer.py"))
            words = [arguments.torch, script, str(file)]
            sides |= {name: Peer([*words, kind, str(warm), str(steps)]) for name, kind in TORCH.items()}
        rates = in_turns(sides, turns)
        for side in sides.values():
            if isinstance(side, Peer):
                side.close()
    for name in list(sides)[1:]:
        title = f"{arguments.precision}, {int(np.mean([sum(map(pieces, turn)) for turn in every])):,} pieces a turn"
        report(title, "target pieces/s", {"ours": rates["ours"], name: rates[name]})


def written(file: Path, batches: list[Any]) -> Path:
    """The batches for another process: sources, targets from their starts, and what comes after each piece."""
    arrays: dict[str, np.ndarray] = {}
    for place, (x, y, _) in enumerate(batches):
        arrays |= {f"source_{place}": np.asarray(x["source"]), f"target_{place}": np.asarray(x["target"])}
        arrays[f"after_{place}"] = np.asarray(y)
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file


def decode(arguments: argparse.Namespace) -> None:
    """Decoding: see the module."""
    from pipelines.artefact import load_predictor
    from pipelines.engine import execute
    from pipelines.prediction import write_records

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        run = arguments.run
        if run is None:
            run = folder / "run"
            own = {"epochs": 1, "precision": arguments.precision, "run_dir": str(run), "beams": BEAMS}
            options = {**SETTINGS, "data": str(arguments.data_root / "multi30k"), **own}
            execute(TASK, load_config(TASK, options=options).config, ["benchmark"])
        loaded = load_predictor(run, {"beams": BEAMS})
        sentences = folder / "test.en"
        packed = arguments.data_root / "multi30k" / "test_2016_flickr.en.gz"
        sentences.write_bytes(gzip.decompress(packed.read_bytes()))

        def everything() -> float:
            started = time.perf_counter()
            with (folder / "found.jsonl").open("w") as file:
                records = loaded.predictor(loaded.task.inputs([str(sentences)], loaded.config, loaded.assets))
                assert write_records(records, file).bad == 0
            return time.perf_counter() - started

        first, *others = (everything() for _ in range(arguments.turns + 1))
        found = [json.loads(line)["translation"] for line in (folder / "found.jsonl").open()]
        words = sum(len(text.split()) for text in found) / len(found)
        print(
            f"decode: {len(found):,} sentences by {BEAMS} beams, to {words:.1f} words each: first {first:.1f} s, "
            f"then median {statistics.median(others):.1f} s, best {min(others):.1f} s"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", metavar="train | decode")
    parser.add_argument("--data-root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="batches of a turn")
    parser.add_argument("--precision", choices=["float32", "mixed_bfloat16"], default="mixed_bfloat16")
    parser.add_argument("--torch", metavar="PYTHON")
    parser.add_argument("--run", type=Path, help="a finished run that translates English")
    given = parser.parse_args()
    for each in given.which or ["train", "decode"]:
        {"train": train, "decode": decode}[each](given)
