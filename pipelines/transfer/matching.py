"""Taking variables over from one model to another that differs in its size, its channels or what it answers."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

import keras
import numpy as np

from pipelines.task import Head
from pipelines.transfer.freezing import owners, weights_of

_NAMED = 5
"""Rows that are new, by their names."""
_SEQUENCE = "sequence_position"
"""In the path of positions that are in a row; others are those of a grid."""
Pair = tuple[keras.layers.Layer | None, keras.layers.Layer]
"""A layer of the source, if any, and one of the target."""


@dataclass
class Matched:
    """What became of the target's variables, by their paths."""

    taken: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)


def take_over(pairs: Iterable[Pair]) -> Matched:
    """Put the source's values into the target's variables, fitted to another number of channels or positions."""
    matched = Matched()
    for source, target in pairs:
        variables = weights_of(source) if source is not None else []
        for place, variable in enumerate(weights_of(target)):
            old = variables[place] if place < len(variables) else None
            value, note = _fitted(old, variable) if old is not None else (None, "")
            if value is None:
                matched.new.append(variable.path)
                continue
            variable.assign(value)
            if note:
                matched.resized.append(f"{variable.path} {note}")
            else:
                matched.taken.append(variable.path)
    return matched


def align(source: Sequence[keras.layers.Layer], target: Sequence[keras.layers.Layer]) -> Iterator[Pair]:
    """Each layer of the target with the one of the source that stands in its place: of the same kind, with variables
    of the same shapes but for channels and positions, in the same order.

    Names do not count: Keras numbers layers on.
    """
    there, here = ([_key(layer) for layer in layers] for layers in (source, target))
    places: dict[int, int] = {}
    for first, second, length in SequenceMatcher(None, there, here, autojunk=False).get_matching_blocks():
        places |= {second + i: first + i for i in range(length)}
    for place, layer in enumerate(target):
        yield (source[places[place]] if place in places else None), layer


def take_head(
    source: keras.Model, target: keras.Model, head: Head, units: tuple[list[Any], list[Any]] | None
) -> Matched:
    """Take over the columns of outputs that both models have.

    Args:
        source: a model with layers of the same names.
        target: the other.
        head: the names.
        units: what each output of the source stands for, and each of the target; None: its place.
    """
    matched = Matched()
    there, here = ({layer.name: layer for layer in owners(model)} for model in (source, target))
    for layer in (here[name] for name in head.layers if name in here):
        old = weights_of(there[layer.name]) if layer.name in there else []
        for place, variable in enumerate(weights_of(layer)):
            one = old[place] if place < len(old) else None
            theirs, ours = units or _places(one, variable)
            value, shared = _shared(one, variable, theirs, ours, axis=-1)
            if value is None:
                matched.new.append(variable.path)
                continue
            variable.assign(value)
            if shared == len(ours) == len(theirs):
                matched.taken.append(variable.path)
            else:
                matched.resized.append(f"{variable.path} ({shared} of {len(ours)} {head.units or 'outputs'} known)")
    return matched


def take_rows(
    source: keras.Model, target: keras.Model, names: Mapping[str, tuple[Sequence[Any], Sequence[Any]]]
) -> Matched:
    """Take over the rows of embeddings that stand for the same; the others stay as they are.

    Args:
        source: a model with layers of the same names.
        target: the other.
        names: of each layer, what the rows of the source stand for, and those of the target.
    """
    matched = Matched()
    there = {layer.name: layer for layer in source.layers}
    for name, (theirs, ours) in names.items():
        old = weights_of(there[name])[0] if name in there else None
        (variable,) = weights_of(target.get_layer(name))
        value, shared = _shared(old, variable, theirs, ours, axis=0)
        if value is None:
            matched.new.append(variable.path)
            continue
        variable.assign(value)
        if shared == len(ours):
            matched.taken.append(variable.path)
        else:
            new = _named_new(theirs, ours)
            matched.resized.append(f"{variable.path} ({shared:,} of {len(ours):,} {name} known, new: {new})")
    return matched


def _named_new(theirs: Sequence[Any], ours: Sequence[Any]) -> str:
    """The first of ours that are none of theirs."""
    known = set(theirs)
    new = [str(one) for one in ours if one not in known]
    return ", ".join([*new[:_NAMED], *(["…"] if len(new) > _NAMED else [])])


def _key(layer: keras.layers.Layer) -> tuple[Any, ...]:
    return type(layer).__name__, *((v.name, _loose_shape(v)) for v in weights_of(layer))


def _loose_shape(variable: Any) -> tuple[Any, ...]:
    """The shape, in which channels of grey and colour are the same, and so is any number of positions."""
    shape: tuple[Any, ...] = tuple(variable.shape)
    if _is_first_kernel(variable):
        return (*shape[:-2], "channels", shape[-1])
    return (*shape[:-2], "positions", shape[-1]) if _is_positions(variable) else shape


def _is_first_kernel(variable: Any) -> bool:
    return variable.name == "kernel" and len(variable.shape) == 4 and variable.shape[-2] in (1, 3)


def _is_positions(variable: Any) -> bool:
    return "position" in variable.path and len(variable.shape) in (2, 3)


def _fitted(old: Any, new: Any) -> tuple[np.ndarray | None, str]:
    """The old value in the new shape and a note on how; None where it cannot be."""
    value, shape = np.asarray(keras.ops.convert_to_numpy(old)), tuple(new.shape)
    if value.shape == shape:
        return value, ""
    there, here = value.shape[-2:-1], shape[-2:-1]
    if _is_first_kernel(old) and _is_first_kernel(new):
        return _channels(value, shape[-2]), f"({there[0]} channel{'s' * (there[0] > 1)} to {here[0]})"
    if _is_positions(old) and _is_positions(new):
        fitted = _in_a_row(value, new) if _SEQUENCE in new.path else _positions(value, shape)
        return fitted, f"({there[0]} positions to {here[0]})"
    return None, ""


def _channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """A kernel [height, width, 1 or 3, filters] for the other number of channels: the same answer to a grey image."""
    return np.repeat(kernel.sum(axis=2, keepdims=True), channels, axis=2) / np.float32(channels)


def _positions(table: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Embeddings [..., positions, width] of a square grid for another grid, bicubic (Dosovitskiy et al., 2021, 3.2).

    What stands before the grid, as a class token, stays; None where the positions are no square grid behind the same
    number of such.
    """
    old, new = math.isqrt(table.shape[-2]), math.isqrt(shape[-2])
    before = table.shape[-2] - old**2
    if before != shape[-2] - new**2 or table.shape[-1] != shape[-1]:
        return None
    flat = table.reshape(-1, table.shape[-1])
    grid = flat[before:].reshape(1, old, old, -1)
    resized = keras.ops.image.resize(grid, (new, new), interpolation="bicubic", data_format="channels_last")
    fitted = np.concatenate([flat[:before], np.asarray(resized).reshape(new**2, -1)])
    return fitted.reshape(shape)


def _in_a_row(table: np.ndarray, new: Any) -> np.ndarray | None:
    """Embeddings [positions, width] of places in a sequence, of which the first mean the same in all: those beyond are
    new."""
    if table.shape[-1] != new.shape[-1]:
        return None
    value, shared = np.array(keras.ops.convert_to_numpy(new)), min(len(table), new.shape[0])
    value[:shared] = table[:shared]
    return value


def _places(old: Any, new: Any) -> tuple[Sequence[Any], Sequence[Any]]:
    """Of the outputs of both, where these are all there is to tell them by."""
    return range(0 if old is None else old.shape[-1]), range(new.shape[-1])


def _shared(
    old: Any, new: Any, there: Sequence[Any], here: Sequence[Any], *, axis: int
) -> tuple[np.ndarray | None, int]:
    """The new value with the old rows (axis 0) or columns (axis -1) of equal names, and how many; None where there is
    none."""
    if old is None or old.shape[axis] != len(there):
        return None, 0
    value = np.array(keras.ops.convert_to_numpy(new))
    to, one = np.moveaxis(value, axis, 0), np.moveaxis(np.asarray(keras.ops.convert_to_numpy(old)), axis, 0)
    places = {name: place for place, name in enumerate(there)}
    shared = [(place, places[name]) for place, name in enumerate(here) if name in places]
    if to.shape[1:] != one.shape[1:] or not shared:
        return None, 0
    to[[place for place, _ in shared]] = one[[place for _, place in shared]]
    return value, len(shared)
