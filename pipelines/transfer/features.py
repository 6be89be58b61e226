"""What a frozen backbone makes of each example, computed once: the epochs then cost the head alone."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipelines.console import Console
from pipelines.devices import forward
from pipelines.state import replacing
from pipelines.stream import Stream
from pipelines.task import Batching, Built, Head, Raw, Store
from pipelines.transfer.freezing import head_layers

_PARTS = ("x", "y", "weight")


@dataclass(frozen=True)
class FeatureStore:
    """The examples of a split as the head sees them: memory-mapped arrays."""

    store: Store
    columns: dict[str, np.ndarray]
    """x [n, features], and y and weight as the encoder gave them."""
    sizes: None = None

    def __len__(self) -> int:
        return len(self.store)

    @property
    def groups(self) -> np.ndarray | None:
        """See Store."""
        return self.store.groups

    def ids(self, indices: np.ndarray) -> list[str]:
        """See Store."""
        return self.store.ids(indices)

    def fetch(self, indices: np.ndarray) -> Raw:
        """x, y and weight [rows, ...]."""
        return {name: column[indices] for name, column in self.columns.items()}


def split_model(model: keras.Model, head: Head) -> tuple[keras.Model, keras.Model]:
    """The backbone, input -> features; and the head, features -> outputs, of the very same layers."""
    layers = head_layers(model, head)
    features = layers[0].input
    x = inputs = keras.Input(features.shape[1:], dtype="float32", name="features")
    for layer in layers:
        x = layer(x)
    return keras.Model(model.inputs[0], features), keras.Model(inputs, x, name=model.name)


def cached(
    built: Built, streams: dict[str, Stream], folder: Path, console: Console
) -> tuple[Built, dict[str, Stream]]:
    """The head as a model of its own, and the splits as it sees them.

    The files features-SPLIT-PART.npy in the folder are used again by a run that goes on.
    """
    assert built.head is not None
    backbone, model = split_model(built.model, built.head)
    compute = forward(backbone)
    new = {name: _stream(stream, name, compute, backbone, folder, console) for name, stream in streams.items()}
    counts = ", ".join(f"{name} {stream.examples:,}" for name, stream in streams.items())
    console.say(f"features: computed once ({counts}); the epochs train the head alone")
    return replace(built, model=model, whole=built.model, network=None), new


def clear(folder: Path) -> None:
    """Remove the files."""
    for file in folder.glob("features-*.npy"):
        file.unlink()


def _stream(stream: Stream, split: str, compute: Any, backbone: keras.Model, folder: Path, console: Console) -> Stream:
    files = {part: folder / f"features-{split}-{part}.npy" for part in _PARTS}
    if not all(file.exists() for file in files.values()):
        _write(files, stream, compute, split, console)
    columns = {part: np.load(file, mmap_mode="r", allow_pickle=False) for part, file in files.items()}
    store = FeatureStore(stream.store, columns)
    batching = Batching(batch_sizes=(max(stream.batching.batch_sizes),))
    return Stream(store, _encode, batching, stream.seed, training=stream.training)


def _encode(raw: Any, keys: Any) -> tuple[Any, Any, Any]:
    del keys
    return raw["x"], raw["y"], raw["weight"]


def _write(files: dict[str, Path], stream: Stream, compute: Any, split: str, console: Console) -> None:
    """Each example at its place; the files get their names when they are whole, the last one last."""
    examples, done = stream.examples, 0
    next(iter(files.values())).parent.mkdir(exist_ok=True)
    with ExitStack() as stack, console.bar(f"features of {split}", examples, "examples") as advance:
        asides = {part: stack.enter_context(replacing(file)) for part, file in files.items()}
        opened: dict[str, np.ndarray] = {}
        for indices, batch in _batches(stream):
            rows = dict(zip(_PARTS, (compute(batch[0]), *batch[1:]), strict=True))
            for part, values in rows.items():
                if part not in opened:
                    shape = (examples, *values.shape[1:])
                    opened[part] = np.lib.format.open_memmap(asides[part], "w+", values.dtype, shape)
                opened[part][indices] = values[: len(indices)]
            done += len(indices)
            advance(done)
        for column in opened.values():
            column.flush()  # type: ignore[attr-defined]


def _batches(stream: Stream) -> Iterator[tuple[np.ndarray, tuple[Any, np.ndarray, np.ndarray]]]:
    """Which examples, and what they are encoded as; a batch may hold more, which only fill its shape."""
    plain = stream.in_order()
    for step, block in zip(plain.order.epoch(0), plain.iterate(0, plain.steps_per_epoch, 1), strict=True):
        x, y, weight = block
        yield step.indices[: step.rows], (x[0], np.asarray(y[0]), np.asarray(weight[0]))
