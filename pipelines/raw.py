"""Raw examples as columns: how many there are, and some of them; of ragged columns too."""

import numpy as np

from pipelines.task import Raw


def count_of(raw: Raw) -> int:
    """How many examples there are; of ragged columns, the splits know."""
    name, column = next(iter(raw.items()))
    splits = raw.get(f"{name}_splits")
    return len(column) if splits is None else len(splits) - 1


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
