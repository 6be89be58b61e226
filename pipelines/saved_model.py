"""A SavedModel that takes what a person has, strings say, and needs none of our code where it is served."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.errors import RunError
from pipelines.exports.parity import TOLERANCES
from pipelines.served import Serving
from pipelines.state import sync, write_bytes
from pipelines.task import Record

Gap = Callable[[Mapping[str, np.ndarray], Sequence[Record]], np.ndarray]
_DEFAULT = "serving_default"
ABOUT = "serving.json"
"""The file beside the SavedModel that says what it takes and gives, and what a process must import to run it."""


def save_served(folder: Path, serving: Serving) -> Path:
    """Write folder/saved_model, whole or not at all, and what there is to know of it.

    Returns: where it lies.
    """
    place, aside = folder / "saved_model", folder / f".saved_model.{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    module = tf.Module()
    module.tracked = serving.tracked
    entries = {_DEFAULT: (serving.function, serving.input, serving.what), **serving.others}
    module.served = {
        name: tf.function(function, input_signature=[spec], autograph=False)
        for name, (function, spec, _) in entries.items()
    }
    try:
        save_graphs(module, aside, dict(module.served))
        for file in aside.rglob("*"):
            sync(file)
        shutil.rmtree(place, ignore_errors=True)
        aside.replace(place)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    sync(folder)
    described = {
        name: {"input": _described(spec, what), "outputs": _outputs(module.served[name])}
        for name, (_, spec, what) in entries.items()
    }
    about = {
        **described.pop(_DEFAULT),
        **({"signatures": described} if described else {}),
        "needs": ["tensorflow", *serving.needs],
        "tensorflow": tf.__version__,
    }
    write_bytes(folder / ABOUT, (json.dumps(about, indent=2) + "\n").encode())
    return place


def save_graphs(module: tf.Module, folder: Path, signatures: Mapping[str, Any], options: Any = None) -> None:
    """A SavedModel of these graphs.

    Raises:
        OSError: no space is left: of that too TensorFlow says that a resource is exhausted, as of memory.
    """
    try:
        tf.saved_model.save(module, str(folder), signatures, options)
    except tf.errors.ResourceExhaustedError as error:
        reason = os.strerror(errno.ENOSPC)
        if reason not in str(error):
            raise
        raise OSError(errno.ENOSPC, reason, str(folder)) from error


def check_served(
    place: Path,
    inputs: Any,
    records: Sequence[Record],
    output: str,
    precision: str = "float32",
    gap: Gap | None = None,
) -> dict[str, Any]:
    """Load the SavedModel again and see that it answers as the records do.

    Args:
        place: of the SavedModel.
        inputs: of the records, [rows]; of several, a dict of them by name.
        records: their answers; `output` holds what is compared.
        output: the name of the SavedModel's output that is compared, [rows, ...].
        precision: of the model's layers.
        gap: see Serving.

    Returns: how many were compared and the largest difference, relative to numbers above 1.

    Raises:
        RunError: it answers otherwise.
    """
    served = tf.saved_model.load(str(place)).signatures[_DEFAULT]
    if not isinstance(inputs, dict):
        (name,) = served.structured_input_signature[1]
        inputs = {name: inputs}
    outputs = served(**{name: tf.constant(values) for name, values in inputs.items()})
    found = {name: values.numpy() for name, values in outputs.items()}
    gaps = differences(found[output], records) if gap is None else gap(found, records)
    largest = float(gaps.max())
    if not largest <= TOLERANCES[precision]:
        raise RunError(
            f"{place} answers otherwise for {records[int(gaps.argmax())].id}: its {output} differ by {largest:.2g}."
        )
    return {"examples": len(records), "largest_difference": largest}


def gaps_of(serving: Serving, found: Mapping[str, np.ndarray], records: Sequence[Record]) -> np.ndarray:
    """float [rows]: how far outputs are from the records, relative to numbers above 1."""
    return differences(found[serving.output], records) if serving.gap is None else serving.gap(found, records)


def differences(found: np.ndarray, records: Sequence[Record]) -> np.ndarray:
    """float [rows]: from Record.output, relative to the largest number where that is above 1."""
    wanted = np.stack([np.asarray(record.output) for record in records])
    each: np.ndarray = np.abs(found - wanted).reshape(len(records), -1).max(axis=1)
    return each / max(1.0, float(np.abs(wanted).max()))


def _described(spec: Any, what: str) -> dict[str, Any]:
    """Name and type of the input, or of each of several, and all of it in words."""
    if isinstance(spec, dict):
        return {"types": {name: one.dtype.name for name, one in spec.items()}, "what": what}
    return {"name": spec.name, "type": spec.dtype.name, "what": what}


def _outputs(function: Any) -> dict[str, Any]:
    outputs = function.get_concrete_function().structured_outputs
    return {name: {"shape": spec.shape.as_list(), "type": spec.dtype.name} for name, spec in outputs.items()}
