"""Grad-CAM (Selvaraju et al., 2017): which places of an image speak for an answer."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from pipelines.devices import forward, slopes
from pipelines.report import charts
from pipelines.task import Figure, Store
from tasks.image_classification.config import Config
from tasks.image_classification.encoding import pixels

Halves = tuple[keras.Model, keras.Model]
"""From pixels to the last features that still have places, [rows, height, width, channels]; from those to logits."""


def figures(model: keras.Model, examples: Sequence[tuple[int, int, str]], config: Config, store: Store) -> list[Figure]:
    """One picture of the examples, each with the places that speak for a class; none where the model has no places.

    Args:
        model: which answered.
        examples: of the store: the index, the number of the class, and what stands below.
        config: the resolved settings.
        store: the split.
    """
    halves = split(model)
    if halves is None or not examples:
        return []
    indices, classes = (np.array(column) for column in list(zip(*examples, strict=True))[:2])
    images = np.concatenate(list(pixels(store, [indices], config, model.input_shape[1])))
    words = "true → predicted class" if not config.multi_label else "the label that is explained"
    drawn = charts.heat_maps(
        images,
        heat(halves, images, classes),
        [caption for *_, caption in examples],
        name="grad_cam",
        title="Where the model saw it",
        caption=f"The most confident right answers and mistakes ({words}, its probability). Red places raised the "
        "output of that class most, blue ones not at all (Grad-CAM, relative to the strongest place of each image). It "
        "shows where the model's evidence lies, not why it is evidence.",
    )
    return [drawn]


def heat(halves: Halves, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """How much each place speaks for a class: float32 [rows, height, width] from 0 to 1, the strongest place of each
    image at 1; all 0 where none speaks for it.

    Args:
        halves: of the model.
        images: uint8 [rows, size, size, channels].
        classes: int [rows], the number of the class for each image.
    """
    front, back = halves
    features = forward(front)(images)
    weights = slopes(back)(features, classes).mean(axis=(1, 2), keepdims=True)
    found = np.maximum((features * weights).sum(axis=-1), 0)
    strongest = found.max(axis=(1, 2), keepdims=True)
    return np.asarray(np.divide(found, strongest, out=np.zeros_like(found), where=strongest > 0), np.float32)


def split(model: keras.Model) -> Halves | None:
    """Cut a model behind its last layer with places, inside a network that it holds if need be.

    None where there is none: dense networks have no layer that learns and keeps places, and in transformers tokens
    take their part.
    """
    learnt = np.cumsum([bool(getattr(one, "weights", ())) for one in model.operations])
    for operation, layers_with_weights in zip(reversed(model.operations), reversed(learnt), strict=True):
        places = _places(_output(operation))
        if places is None or (places and not layers_with_weights):
            return None
        if places:
            return _cut(model, _output(operation))
        if hasattr(operation, "operations"):
            return _cut_inside(model, operation)
    return None


def _places(tensor: Any) -> bool | None:
    """Whether it has places; None where it has something else beside rows and features, as tokens."""
    shape = getattr(tensor, "shape", None)
    if shape is None or len(shape) == 3:
        return None
    if len(shape) != 4:
        return False
    return bool(shape[1] * shape[2] > 1)


def _cut(model: keras.Model, tensor: Any) -> Halves | None:
    try:
        return keras.Model(model.inputs[0], tensor), keras.Model(tensor, model.output)
    except ValueError:
        return None  # a way leads around that layer, so that it does not decide alone


def _cut_inside(model: keras.Model, network: keras.Model) -> Halves | None:
    inner = split(network)
    if inner is None:
        return None
    entry = keras.tree.flatten(keras.Operation.input.fget(network))[0]
    features = keras.Input(inner[1].input_shape[1:], dtype=inner[1].input.dtype)
    after = keras.Model(_output(network), model.output)
    return keras.Model(model.inputs[0], inner[0](entry)), keras.Model(features, after(inner[1](features)))


def _output(operation: Any) -> Any:
    """In the model that it is part of: of a network its `output` is the tensor inside."""
    return keras.Operation.output.fget(operation)
