"""The outputs that records hold, as one array to score."""

from collections.abc import Sequence

import numpy as np

from pipelines.errors import DataError
from pipelines.task import Record


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
