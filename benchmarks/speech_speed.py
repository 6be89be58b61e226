"""Speed of speech recognition: training as ratios, the sides in turns on the same batches.

    python benchmarks/speech_speed.py [--data-root ../shared/data] [--turns 5] [--steps 20] [--torch PYTHON]
        [--precision float32] [--seconds-per-batch 48]

The default network (two convolutions, two bidirectional GRUs of 192) on Mboshi's training speech: seconds of audio a
second of Sixfold's steps with the stream that feeds them (speed, noise, spectrograms and masks made anew from sound),
against Keras' own train_step of the same network behind its features, compiled once, on spectrograms in memory. A turn
is --steps batches, of each side the same; no side averages its weights. With --torch, an interpreter that has
benchmarks/requirements-translation.txt, the same network in torch takes its turns in a process of its own
(speech_peer.py), in float32 and in bfloat16. Printed are medians, and the median ratios of neighbouring turns.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from training_speed import Peer, in_turns, report, trainer_for

from pipelines import devices, registry
from pipelines.config import load_config

TASK = "speech-recognition"
RATE = 1e-3
TORCH = {"torch float32": "float32", "torch bfloat16": "bfloat16"}


def prepared(root: Path, **options: Any) -> tuple[Any, Any, Any]:
    """(config, task, data) of a run on Mboshi, devices started; determinism is off, as it is in Keras by default."""
    own = {"deterministic": False, "learning_rate": RATE, "average": None, "epochs": 100}
    config: Any = load_config(TASK, options={"data": str(root / "mboshi"), **own, **options}).config
    devices.start(config)
    task = registry.task(TASK)
    data = task.load_data(config)
    return task.resolve(config, data), task, data


def held(trainer: Any, count: int) -> list[Any]:
    """The x of the first steps: before them one of each shape, to compile for."""
    import tensorflow as tf

    blocks = trainer.train.blocks(0, max(count, 2 * trainer.train.steps_per_epoch), 1)
    every = [tf.nest.map_structure(lambda part: part[0], block)[0] for block in blocks]
    one_each = {(x["audio"].shape, x["labels"].shape): x for x in every}
    return [*one_each.values(), *every[:count]]


def seconds(x: Any, rate: int) -> float:
    """Of sound, without padding."""
    return float(np.sum(x["samples"])) / rate


def ours(trainer: Any, warm: int, sizes: Iterator[float], steps: int) -> Callable[[], float]:
    """A turn of Sixfold's steps, fed by its stream; before the first it has seen two epochs' shapes."""
    rate = np.array([RATE], np.float32)
    for block in trainer.train.blocks(0, warm, 1):
        trainer.steps.train(block, rate)
    blocks = iter(trainer.train.blocks(0, trainer.total, 1))

    def run() -> float:
        for block in islice(blocks, steps):
            trainer.steps.train(block, rate)
        return next(sizes)

    return run


def featured(network: Any, every: list[Any]) -> list[Any]:
    """Of each x the spectrograms behind SpecAugment, which frames count, and the labels."""
    import tensorflow as tf

    from tasks.speech_recognition.backbones import behind_the_features
    from tasks.speech_recognition.features import hidden

    features, _ = behind_the_features(network)
    found = []
    for x in every:
        mels, counts = features({name: x[name] for name in ("audio", "samples")})
        found.append((tf.constant(hidden(mels, x["time_masks"], x["mel_masks"])), tf.constant(counts), x["labels"]))
    return found


def bare(task: Any, config: Any, data: Any, every: list[Any], warm: int, turns: Iterator[Any]) -> Callable[[], float]:
    """A turn of the same network and loss as a model that Keras trains by itself."""
    import keras
    import tensorflow as tf

    from pipelines.preparation import make_optimizer
    from tasks.speech_recognition.backbones import behind_the_features
    from tasks.speech_recognition.ctc import ctc_loss, label_lengths

    built = task.build_model(config, data.assets)
    _, rest = behind_the_features(built.whole)

    class Bare(keras.Model):
        """compute_loss is all that is ours."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = rest

        def call(self, x: Any, training: bool = False) -> Any:
            """The network's logits."""
            return self.inner(list(x), training=training)

        def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool = True) -> Any:
            """The mean over labels."""
            answers = -(-keras.ops.cast(keras.ops.sum(x[1][..., 0], axis=1), "int32") // config.subsampling)
            labels = keras.ops.cast(keras.ops.sum(label_lengths(y)), "float32")
            return keras.ops.sum(ctc_loss(y, y_pred, answers)) / labels

    model = Bare()
    model.compile(make_optimizer(config, built.model), jit_compile=False)
    shapes = tuple(tf.TensorSpec([None, None, *part.shape[2:]], part.dtype) for part in every[0])
    step = tf.function(lambda *x: model.train_step((x[:2], x[2])), input_signature=shapes, autograph=False)
    for x in every[:warm]:
        step(*x)

    def run() -> float:
        turn, done = next(turns)
        for x in turn:
            step(*x)
        return float(done)

    return run


def written(file: Path, every: list[Any], lasting: list[float], signs: int) -> Path:
    """The batches for another process, and the seconds of sound in each."""
    arrays: dict[str, np.ndarray] = {"signs": np.array(signs), "seconds": np.array(lasting)}
    for place, (mels, counts, labels) in enumerate(every):
        arrays |= {f"mels_{place}": np.asarray(mels), f"labels_{place}": np.asarray(labels, np.int64)}
        arrays[f"frames_{place}"] = np.asarray(counts)[..., 0].sum(1).astype(np.int64)
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file


def main(arguments: argparse.Namespace) -> None:
    """See the module."""
    given = {"precision": arguments.precision, "seconds_per_batch": arguments.seconds_per_batch}
    config, task, data = prepared(arguments.data_root, **given)
    trainer = trainer_for(config, task, data)
    steps, turns = arguments.steps, arguments.turns
    batches = held(trainer, steps * turns)
    warm = len(batches) - steps * turns
    starts, lasting = range(warm, len(batches), steps), [seconds(x, config.rate) for x in batches]
    sizes = [sum(lasting[at : at + steps]) for at in starts]
    every = featured(task.build_model(config, data.assets).whole, batches)
    held_turns = [(every[at : at + steps], size) for at, size in zip(starts, sizes, strict=True)]
    sides: dict[str, Any] = {
        "ours": ours(trainer, 2 * trainer.train.steps_per_epoch, iter(sizes), steps),
        "bare train_step": bare(task, config, data, every, warm, iter(held_turns)),
    }
    with tempfile.TemporaryDirectory() as folder:
        if arguments.torch is not None:
            file = str(written(Path(folder) / "batches.npz", every, lasting, len(data.assets["alphabet"])))
            script = str(Path(__file__).with_name("speech_peer.py"))
            for name, kind in TORCH.items():
                sides[name] = Peer([arguments.torch, script, file, kind, str(warm), str(steps)])
        rates = in_turns(sides, turns)
        for side in sides.values():
            if isinstance(side, Peer):
                side.close()
    for name in list(sides)[1:]:
        title = f"{arguments.precision}, {np.mean(sizes):,.0f} seconds of audio a turn"
        report(title, "seconds of audio/s", {"ours": rates["ours"], name: rates[name]})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="batches of a turn")
    parser.add_argument("--precision", choices=["float32", "mixed_bfloat16"], default="float32")
    parser.add_argument("--seconds-per-batch", type=float, default=48.0)
    parser.add_argument("--torch", metavar="PYTHON")
    main(parser.parse_args())
