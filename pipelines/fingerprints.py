"""Which examples a run began with, so that a change of the data can be named. Imports no TensorFlow."""

import gzip
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from pipelines.errors import StateError
from pipelines.state import replacing
from pipelines.task import Data

FILE = "state/examples.jsonl.gz"
"""In the run folder: one line an example, [split, hash, id]."""
_BLOCK = 1 << 14
UNLABELLED = "state/unlabelled.jsonl.gz"
"""The same of the examples of --pretrain-on."""


def save_examples(folder: Path, data: Data, file: str = FILE) -> None:
    """Write down every example of every split."""
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    # A block at a time: of millions of examples, the text would be larger than the data.
    with (
        replacing(path) as aside,
        aside.open("wb") as plain,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=plain, mtime=0) as packed,
    ):
        examples = _examples(data)
        while block := "".join(f"{json.dumps(one)}\n" for one in islice(examples, _BLOCK)):
            packed.write(block.encode())


def describe_change(folder: Path, data: Data, file: str = FILE) -> str:
    """One clause: which example is gone, changed, new or in another split, the first of each kind by name.

    Raises:
        StateError: what the run began with cannot be read.
    """
    try:
        before = {name: (split, content) for split, content, name in _saved(folder, file)}
    except (OSError, EOFError, ValueError) as error:
        raise StateError(
            f"the data differ from those of the run, and {folder / file}, which says how, cannot be read ({error})."
        ) from error
    now = {name: (split, content) for split, content, name in _examples(data)}
    both = [name for name in before if name in now]
    kinds = {
        "is gone": [name for name in before if name not in now],
        "has another content or label": [name for name in both if before[name][1] != now[name][1]],
        "is new": [name for name in now if name not in before],
        "is in another split": [name for name in both if before[name][1] == now[name][1] and before[name] != now[name]],
    }
    told = [_tell(names, change) for change, names in kinds.items() if names]
    return "; ".join(told) or "their classes or their order differ"


def learned_from(folder: Path, data: Data) -> int:
    """How many examples of the test split the run in the folder was trained on or chosen by; 0 if its list is gone.

    Raises:
        StateError: the list is damaged.
    """
    if not (folder / FILE).is_file():
        return 0
    try:
        known = {content for split, content, _ in _saved(folder, FILE) if split in ("train", "valid")}
    except (OSError, EOFError, ValueError) as error:
        raise StateError(f"{folder / FILE}, which names the run's examples, cannot be read ({error}).") from error
    return sum(content in known for split, content, _ in _examples(data) if split == "test")


def _saved(folder: Path, file: str) -> Iterator[tuple[str, str, str]]:
    text = gzip.decompress((folder / file).read_bytes()).decode()
    yield from map(json.loads, text.splitlines())


def _tell(names: list[str], change: str) -> str:
    more = f" (one of {len(names):,})" if len(names) > 1 else ""
    return f"{names[0]} {change}{more}"


def _examples(data: Data) -> Iterator[tuple[str, str, str]]:
    for split, store in data.splits.items():
        for start in range(0, len(store), _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, len(store)))
            for content, name in zip(data.hashes[split][rows].tolist(), store.ids(rows), strict=True):
                yield split, f"{content:016x}", name
