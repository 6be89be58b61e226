"""Which features of a TensorFlow data set hold an example and its label, and what the numbers of its labels mean."""

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.tfds import Dataset

Fits = Callable[[Any], bool]
"""Whether a feature can be what is looked for."""


def feature_pair(
    dataset: Dataset, columns: Mapping[str, str] | None, given: str, fits: Fits, label_fits: Fits | None = None
) -> tuple[str, str]:
    """The names of the features that hold what is given and its label: as mapped, as called so, as supervised, or the
    only ones.

    Args:
        dataset: whose features they are.
        columns: the task's names -> the features'.
        given: the task's name of an example.
        fits: what it is to be.
        label_fits: what a label is to be; by default a class or a whole number.

    Raises:
        DataError: there are none.
    """
    columns = columns or {}
    for name in columns:
        if name not in (given, "label"):
            raise DataError(
                f"columns maps {name!r}, which a tfds source of {given}s has no use for: there are {given} and label."
            )
    return _feature(dataset, columns, given, 0, fits), _feature(dataset, columns, "label", 1, label_fits or is_label)


def is_label(feature: Any) -> bool:
    """Whether a feature holds a class, or a whole number that can be one."""
    return hasattr(feature, "num_classes") or (not feature.shape and np.issubdtype(feature.np_dtype, np.integer))


def named(feature: Any, numbers: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Labels as stored, int64 [n] -> int32 [n] into names, -1 where there is none; and the names."""
    if hasattr(feature, "num_classes"):
        names = list(feature.names)
        return np.where((numbers >= 0) & (numbers < len(names)), numbers, -1).astype(np.int32), names
    values, codes = np.unique(numbers, return_inverse=True)
    return codes.astype(np.int32), [str(value) for value in values.tolist()]


def _feature(dataset: Dataset, columns: Mapping[str, str], name: str, place: int, fits: Fits) -> str:
    there = sorted(dataset.features)
    if name in columns and columns[name] not in there:
        near = difflib.get_close_matches(columns[name], there, n=1)
        guess = f"did you mean {near[0]!r}? There are" if near else "there are"
        raise DataError(f"{dataset.name} has no feature {columns[name]!r} (for {name}): {guess} {', '.join(there)}.")
    supervised = [dataset.supervised[place]] if dataset.supervised else []
    fitting = [feature for feature in there if fits(dataset.features[feature])]
    wanted = [columns[name]] if name in columns else [name, *supervised, *(fitting if len(fitting) == 1 else [])]
    for candidate in wanted:
        if candidate in fitting:
            return candidate
    choice = ", ".join(fitting) or f"none of {', '.join(there)}"
    raise DataError(
        f"{dataset.name} does not say which feature is the {name}: map columns {name}=FEATURE; there are {choice}."
    )
