"""What records hold, to be scored."""

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
    unfit = [record.output is None or not np.isfinite(record.output).all() for record in records]
    _check(records, unfit, examples, unit)
    return np.stack([record.output for record in records if record.output is not None])


def texts_of(records: Sequence[Record], answer: str, examples: int, unit: str) -> list[str]:
    """What stands in this answer of each record, a translation or a transcript.

    Args:
        records: of a whole split.
        answer: its name.
        examples: of that split.
        unit: what one of them is called, as sentence.

    Raises:
        DataError: a record has none, some are missing, or there are none.
    """
    _check(records, [record.error is not None for record in records], examples, unit)
    return [str(record.answer[answer]) for record in records]


def _check(records: Sequence[Record], unfit: Sequence[bool], examples: int, unit: str) -> None:
    broken = [record for record, bad in zip(records, unfit, strict=True) if bad]
    if broken:
        why = broken[0].error or "the model's output is not a finite number"
        raise DataError(f"{len(broken)} {unit}s have no score, first {broken[0].id}: {why}. Repair or leave them out.")
    if len(records) != examples:
        raise DataError(f"there are {len(records)} predictions for {examples} {unit}s: predict the whole split again.")
    if not records:
        raise DataError("there is nothing to score: the split is empty. Give --test, or a larger share to --split.")
