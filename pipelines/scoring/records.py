"""The outputs that records hold, as one array to score."""

from collections.abc import Sequence

import numpy as np

from pipelines.errors import DataError
from pipelines.task import Raw, Record


def outputs_of(records: Sequence[Record], examples: int, unit: str) -> np.ndarray:
    """Float32 [examples, ...].

    A record without an answer has no score: better none than a flattering one.

    Args:
        records: of a whole split.
        examples: of that split.
        unit: what one of them is called, as image.

    Raises:
        DataError: a record has no output or one that is not finite, some are missing, or there are none.
    """
    broken = [record for record in records if record.output is None or not np.isfinite(record.output).all()]
    if broken:
        why = broken[0].error or "the model's output is not a finite number"
        raise DataError(f"{len(broken)} {unit}s have no score, first {broken[0].id}: {why}. Repair or leave them out.")
    if len(records) != examples:
        raise DataError(f"there are {len(records)} predictions for {examples} labels: predict the whole split again.")
    if not records:
        raise DataError("there is nothing to score: the split is empty. Give --test, or a larger share to --split.")
    return np.stack([record.output for record in records if record.output is not None])


def rows_of(raw: Raw, rows: np.ndarray) -> Raw:
    """Some examples of raw, int64 [rows], in that order; of ragged columns too."""
    found: Raw = {}
    for name, column in raw.items():
        splits = raw.get(f"{name}_splits")
        if splits is not None:
            lengths = np.diff(splits)[rows]
            ends = np.cumsum(lengths)
            place = np.arange(int(lengths.sum())) + np.repeat(splits[rows] - ends + lengths, lengths)
            found |= {name: column[place], f"{name}_splits": np.concatenate([np.zeros(1, ends.dtype), ends])}
        elif name.removesuffix("_splits") not in raw or not name.endswith("_splits"):
            found[name] = column[rows]
    return found
