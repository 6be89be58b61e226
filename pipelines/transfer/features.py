"""What a frozen backbone makes of each example, computed once: the epochs then cost the head alone."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

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
    return keras.Model(model.input, features), keras.Model(inputs, x, name=model.name)


def cached(
    built: Built, streams: dict[str, Stream], folder: Path, fingerprint: str, console: Console
) -> tuple[Built, dict[str, Stream]]:
    """The head as a model of its own, and the splits as it sees them.

    The files features-FINGERPRINT-SPLIT-PART.npy in the folder are used again by a run that goes on with the same data;
    those of other data are removed.
    """
    assert built.head is not None
    backbone, model = split_model(built.model, built.head)
    compute, new = forward(backbone), {}
    clear(folder, but=fingerprint)
    for split, stream in streams.items():
        files = {part: folder / f"features-{fingerprint}-{split}-{part}.npy" for part in _PARTS}
        new[split] = _stream(stream, split, files, compute, console)
    counts = ", ".join(f"{name} {stream.examples:,}" for name, stream in streams.items())
    console.say(f"features: computed once ({counts}); the epochs train the head alone")
    return replace(built, model=model, whole=built.model, network=None), new


def clear(folder: Path, but: str | None = None) -> None:
    """Remove the files, but for those of the data with this fingerprint."""
    for file in folder.glob("features-*.npy"):
        if but is None or not file.name.startswith(f"features-{but}-"):
            file.unlink()


def _stream(stream: Stream, split: str, files: dict[str, Path], compute: Any, console: Console) -> Stream:
    if not all(file.exists() for file in files.values()):
        _write(files, stream, compute, split, console)
    columns = {part: np.load(file, mmap_mode="r", allow_pickle=False) for part, file in files.items()}
    store = FeatureStore(stream.store, columns)
    batching = Batching(batch_sizes=(max(stream.batching.batch_sizes),))
    share, alike = stream.share, stream.alike
    return Stream(store, _encode, batching, stream.seed, training=stream.training, share=share, alike=alike)


def _encode(raw: Any, keys: Any) -> tuple[Any, Any, Any]:
    del keys
    return raw["x"], raw["y"], raw["weight"]


def _write(files: dict[str, Path], stream: Stream, compute: Any, split: str, console: Console) -> None:
    """Each example at its place; the files get their names when they are whole, the last one last.

    They are written, not mapped: on a full disk a write is refused, whereas a mapped page kills the process.
    """
    examples, done = stream.examples, 0
    next(iter(files.values())).parent.mkdir(exist_ok=True)
    with ExitStack() as stack, console.bar(f"features of {split}", examples, "examples") as advance:
        asides = {part: stack.enter_context(replacing(file)) for part, file in files.items()}
        opened = {part: stack.enter_context(aside.open("wb")) for part, aside in asides.items()}
        starts: dict[str, int] = {}
        for indices, batch in _batches(stream):
            rows = dict(zip(_PARTS, (compute(batch[0]), *batch[1:]), strict=True))
            for part, values in rows.items():
                if part not in starts:
                    starts[part] = _write_header(opened[part], values, examples)
                _write_rows(opened[part], starts[part], indices, values[: len(indices)])
            done += len(indices)
            advance(done)


def _write_header(file: BinaryIO, first: np.ndarray, examples: int) -> int:
    """Of a .npy file of so many rows like the first ones; where the rows begin."""
    about = {"descr": np.lib.format.dtype_to_descr(first.dtype), "fortran_order": False}
    np.lib.format.write_array_header_1_0(file, {**about, "shape": (examples, *first.shape[1:])})
    return file.tell()


def _write_rows(file: BinaryIO, start: int, indices: np.ndarray, values: np.ndarray) -> None:
    """The rows at their places, neighbours in one go."""
    cuts = np.flatnonzero(np.diff(indices) != 1) + 1
    for places, rows in zip(np.split(indices, cuts), np.split(values, cuts), strict=True):
        file.seek(start + int(places[0]) * values[0].nbytes)
        file.write(np.ascontiguousarray(rows).tobytes())


def _batches(stream: Stream) -> Iterator[tuple[np.ndarray, tuple[Any, np.ndarray, np.ndarray]]]:
    """Which examples, and what they are encoded as; a batch may hold more, which only fill its shape."""
    plain = stream.in_order()
    for step, block in zip(plain.order.epoch(0), plain.iterate(0, plain.steps_per_epoch, 1), strict=True):
        x, y, weight = block
        first = keras.tree.map_structure(lambda tensor: tensor[0], x)
        yield step.indices[: step.rows], (first, np.asarray(y[0]), np.asarray(weight[0]))
