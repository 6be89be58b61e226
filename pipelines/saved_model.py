"""A SavedModel that takes what a person has, strings say, and needs none of our code where it is served."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.errors import RunError
from pipelines.state import sync, write_bytes
from pipelines.task import Record, Serving

_TOLERANCES = {"float32": 1e-4, "mixed_bfloat16": 0.05}
"""By precision. In bfloat16, whose numbers have 8 bits, a text answers otherwise beside longer ones: by 0.026 at most
among 64 of SST-2."""
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
    module.serve = tf.function(serving.function, input_signature=[serving.input], autograph=False)
    try:
        tf.saved_model.save(module, str(aside), signatures={"serving_default": module.serve})
        for file in aside.rglob("*"):
            sync(file)
        shutil.rmtree(place, ignore_errors=True)
        aside.replace(place)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    sync(folder)
    outputs = module.serve.get_concrete_function().structured_outputs
    about = {
        "input": _described(serving),
        "outputs": {name: {"shape": spec.shape.as_list(), "type": spec.dtype.name} for name, spec in outputs.items()},
        "needs": ["tensorflow", *serving.needs],
        "tensorflow": tf.__version__,
    }
    write_bytes(folder / ABOUT, (json.dumps(about, indent=2) + "\n").encode())
    return place


def check_served(
    place: Path, inputs: Any, records: Sequence[Record], output: str, precision: str = "float32"
) -> dict[str, Any]:
    """Load the SavedModel again and see that it answers as the records do.

    Args:
        place: of the SavedModel.
        inputs: of the records, [rows]; of several, a dict of them by name.
        records: their answers; `output` holds what is compared.
        output: the name of the SavedModel's output that is compared, [rows, ...].
        precision: of the model's layers.

    Returns: how many were compared and the largest difference.

    Raises:
        RunError: it answers otherwise.
    """
    served = tf.saved_model.load(str(place)).signatures["serving_default"]
    if not isinstance(inputs, dict):
        (name,) = served.structured_input_signature[1]
        inputs = {name: inputs}
    found = served(**{name: tf.constant(values) for name, values in inputs.items()})[output].numpy()
    wanted = np.stack([np.asarray(record.output) for record in records])
    gap = float(np.abs(found - wanted).max())
    if not gap <= _TOLERANCES[precision] * max(1.0, float(np.abs(wanted).max())):
        worst = int(np.abs(found - wanted).reshape(len(records), -1).max(axis=1).argmax())
        raise RunError(f"{place} answers otherwise for {records[worst].id}: its {output} differ by {gap:.2g}.")
    return {"examples": len(records), "largest_difference": gap}


def _described(serving: Serving) -> dict[str, Any]:
    """What it takes: name and type of the input, or of each of several, and all of it in words."""
    if isinstance(serving.input, dict):
        return {"types": {name: spec.dtype.name for name, spec in serving.input.items()}, "what": serving.what}
    return {"name": serving.input.name, "type": serving.input.dtype.name, "what": serving.what}
