"""What a task says of its finished model as a graph that knows no Sixfold, for exports. Imports no TensorFlow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipelines.task import Raw, Record, Store


@dataclass(frozen=True)
class Core:
    """What of a served model is numbers alone, for formats that hold no strings and decode no files: LiteRT and ONNX.
    The served model is `after` of `function` of `before`."""

    function: Callable[[Mapping[str, Any]], dict[str, Any]]
    """Tensors of numbers [rows, ...] by name -> such tensors by name: the network, and of what stands round it as much
    as needs no string."""
    input: Mapping[str, Any]
    """tf.TensorSpec of each input, by name; the number of rows is open, and whatever else is not fixed."""
    what: str
    """What the inputs are, in words, so that a program in another language can make them."""
    before: Callable[[Any], dict[str, Any]]
    """What the served model takes -> the core's inputs, and whatever else `after` needs of it, as a TensorFlow graph:
    written beside the core."""
    after: Callable[[Mapping[str, Any]], dict[str, Any]]
    """What `before` gave and the core's outputs, by name -> the served model's outputs, likewise."""
    network: bool = False
    """Whether it is the saved Keras model itself: its inputs, or its only one, and its only output."""
    masked: bool = False
    """Whether it rules out by numbers so large that int8 would hold nothing beside them, as searches do: then products
    with weights alone are int8, and what lies between them stays as it is."""


@dataclass(frozen=True)
class Scored:
    """By which of a served model's signatures the test split is scored, where the default one leaves out what is to be
    found."""

    signature: str
    inputs: "Callable[[Store, np.ndarray], Raw]"
    """As Serving.inputs, for that signature."""
    fetch: "Callable[[Store, np.ndarray], Raw]"
    """As Serving.fetch."""


@dataclass(frozen=True)
class Serving:
    """A finished model as one TensorFlow graph, from what a person has to the answer."""

    function: Callable[[Any], dict[str, Any]]
    """inputs [rows], or a dict of them -> its outputs by name, each [rows, ...]; among them what Record.output
    holds."""
    input: Any
    """tf.TensorSpec of the inputs, with their name; of several, a dict of such by name."""
    what: str
    """What the inputs are, in words."""
    inputs: "Callable[[Store, np.ndarray], np.ndarray | Raw]"
    """(store, int64 [rows]) -> these examples' inputs, to try it with; of several, by name."""
    needs: tuple[str, ...] = ()
    """What a process must import to run it, besides TensorFlow."""
    tracked: tuple[Any, ...] = ()
    """What the graph refers to: the model, tables."""
    output: str = "logits"
    """Which of its outputs Record.output holds."""
    others: "Mapping[str, tuple[Callable[[Any], dict[str, Any]], Any, str]]" = field(default_factory=dict)
    """Further signatures by name: a function, its inputs, and what these are in words, as above."""
    fetch: "Callable[[Store, np.ndarray], Raw] | None" = None
    """(store, int64 [rows]) -> what the predictor takes to answer as the graph must, where that is not what the store
    fetches."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """With which the predictor answers as the graph must, where that is not how the run has it."""
    gap: "Callable[[Mapping[str, np.ndarray], Sequence[Record]], np.ndarray] | None" = None
    """(outputs by name, records) -> float [rows]: how far each answer is from its record, relative to numbers above 1.
    None: as far as `output` is from Record.output."""
    records: "Callable[[Sequence[str], Mapping[str, Any], Mapping[str, np.ndarray]], list[Record]] | None" = None
    """(ids, inputs by name, outputs by name) -> the records that `predict` gives for these inputs."""
    scored: Scored | None = None
    """None: by the default one."""
    core: Core | None = None
    """Of the signature that is scored by. None: there is none, and `coreless` says why."""
    coreless: str = ""
    whole: Callable[[Record], bool] = lambda record: True
    """Whether the graph answers all that `predict` does of an example, and not of its beginning alone."""
    searched: bool = False
    """Whether Record.output is of a text that a search found, which another backend's rounding may make another."""
    network_inputs: "Callable[[Raw], Mapping[str, np.ndarray]] | None" = None
    """raw examples -> what the saved Keras model takes of them, by name. None: what the encoder makes of them."""
    calibrated_on: str = "train"
    """The split of whose inputs the ranges are taken that a model of whole numbers keeps to."""
