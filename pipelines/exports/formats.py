"""Writing a finished model in each format; what of it holds no strings, in those that know none."""

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.children import how_it_ended
from pipelines.errors import RunError
from pipelines.exports import litert
from pipelines.saved_model import save_graphs, save_served
from pipelines.served import Core, Serving

Calibration = Callable[[], Iterator[Mapping[str, np.ndarray]]]
"""The core's inputs of training examples, a batch at a time."""

_OPSET = 18


def save_sidecar(folder: Path, serving: Serving, core: Core, given: Any) -> None:
    """What stands before and after the core, as a SavedModel with these two signatures.

    Args:
        folder: its place; nothing may be there.
        given: tf.TensorSpec of what `core.before` takes, or a dict of them.
    """
    module = tf.Module()
    module.tracked = (serving.tracked, core)
    before = tf.function(core.before, input_signature=[given], autograph=False)
    known = {**before.get_concrete_function().structured_outputs, **outputs_of(core)}
    specs = {name: tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in known.items()}
    after = tf.function(core.after, input_signature=[specs], autograph=False)
    save_graphs(module, folder, {"before": before, "after": after})


def save_saved_model(place: Path, serving: Serving) -> None:
    """The whole graph as a SavedModel, at `place`."""
    aside = place.with_name(f"{place.name}.whole")
    try:
        save_served(aside, serving).replace(place)
        (aside / "serving.json").replace(place.with_name("serving.json"))
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def save_litert(place: Path, core: Core, calibration: Calibration | None = None) -> int | None:
    """The core as a LiteRT (TensorFlow Lite) flatbuffer with one signature; with calibration its weights and
    activations are int8, of a masked core those of its products alone, its inputs and outputs as they are.

    Returns: how many rows it takes: any (None), or 1, where LiteRT holds it no other way, as with recurrent layers.

    Raises:
        RunError: it cannot be converted.
    """
    aside = place.with_name(f"{place.name}.core")
    aside.mkdir()
    files = None if calibration is None else _saved(aside, calibration())
    about = {"calibration": files, "products_alone": core.masked}
    request = {"saved_model": str(aside / "model"), "target": str(place), **about}
    (aside / "request.json").write_text(json.dumps(request), "utf-8")
    try:
        for rows in (None, 1):
            shutil.rmtree(aside / "model", ignore_errors=True)
            _save_frozen(core, rows, aside / "model")
            words = [sys.executable, "-I", str(Path(litert.__file__).resolve()), str(aside / "request.json")]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return rows
        raise RunError(f"LiteRT's converter cannot take this model: {how_it_ended(done.returncode, done.stderr)}.")
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _save_frozen(core: Core, rows: int | None, place: Path) -> None:
    # Gradients that were written by hand would be saved too, and name what is not in the frozen graph.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    save_graphs(tf.Module(), place, {"serving_default": _frozen(core, rows)}, options)


def _saved(folder: Path, inputs: Iterator[Mapping[str, np.ndarray]]) -> list[str]:
    files = []
    for number, x in enumerate(inputs):
        files.append(str(folder / f"{number}.npz"))
        np.savez(files[-1], **x)  # type: ignore[arg-type]
    return files


def _frozen(core: Core, rows: int | None) -> Any:
    """The core as one graph whose variables are constants: LiteRT would read them before they are written."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    concrete = _concrete(core, rows)
    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
    given = [tensor.op.name for tensor in frozen.inputs]
    names = sorted(outputs_of(core))  # as TensorFlow flattens a dict

    def function(**x: Any) -> dict[str, Any]:
        return dict(zip(names, frozen(*(x[name] for name in given)), strict=True))

    specs = concrete.structured_input_signature[1]
    return tf.function(function, autograph=False).get_concrete_function(**specs)


def save_onnx(place: Path, core: Core) -> None:
    """The core as an ONNX graph whose inputs and outputs have the core's names.

    Raises:
        RunError: it cannot be converted.
    """
    import onnx
    import tf2onnx

    names = list(core.input)
    function = tf.function(
        lambda *values: core.function(dict(zip(names, values, strict=True))),
        input_signature=[tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in core.input.items()],
        autograph=False,
    )
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # what it logs, the error says
    try:
        graph, _ = tf2onnx.convert.from_function(
            function,
            input_signature=function.input_signature,
            opset=_OPSET,
            custom_op_handlers={"Erfc": (_as_erf, []), "XlaDynamicUpdateSlice": (_as_where, [])},
        )
        onnx.checker.check_model(graph)
    except Exception as error:  # tf2onnx has no class for what it cannot do
        raise RunError(f"ONNX cannot hold this model: {litert.why(error)}.") from error
    if [output.name for output in graph.graph.output] != (names := sorted(outputs_of(core))):
        raise RunError(f"ONNX gives this model's outputs other names than {', '.join(names)}.")
    place.write_bytes(graph.SerializeToString())


def _as_erf(graph: Any, node: Any, name: str, arguments: Any) -> None:
    """1 - erf(x) for erfc(x), half of GELU, which tf2onnx does not know."""
    del name, arguments
    shape, kind = graph.get_shape(node.output[0]), graph.get_dtype(node.output[0])
    outputs = list(node.output)
    graph.remove_node(node.name)
    one = graph.make_const(f"{node.name}/one", np.array(1, np.float32))
    erf = graph.make_node("Erf", list(node.input), shapes=[shape], dtypes=[kind])
    graph.make_node("Sub", [one.output[0], erf.output[0]], outputs=outputs, shapes=[shape], dtypes=[kind])


def _as_where(graph: Any, node: Any, name: str, arguments: Any) -> None:
    """Of a slice that is put into a tensor and is as long as it along every side but one: each place along that side
    holds what is put there, or what was."""
    del name, arguments
    from onnx import TensorProto

    whole, part, start = node.input
    sides = [
        side
        for side, pair in enumerate(zip(graph.get_shape(whole), graph.get_shape(part), strict=True))
        if pair[1] >= 0 and pair[0] != pair[1]
    ]
    if len(sides) != 1:
        raise ValueError(f"a slice of unknown shape is put into another tensor at {node.name}")
    (side,) = sides
    shape, kind, outputs = graph.get_shape(whole), graph.get_dtype(node.output[0]), list(node.output)
    rank, size = len(shape), graph.get_shape(part)[side]
    graph.remove_node(node.name)

    def constant(value: Any) -> str:
        return str(graph.make_const(f"{node.name}/{len(graph.get_nodes())}", np.array(value, np.int64)).output[0])

    def made(kind: str, *inputs: str, **about: Any) -> str:
        return str(graph.make_node(kind, list(inputs), **about).output[0])

    first = made("Gather", made("Cast", start, attr={"to": TensorProto.INT64}), constant(side))
    count = made("Gather", made("Shape", whole), constant(side))
    places = made("Sub", made("Range", constant(0), count, constant(1)), first)
    inside = made("And", made("GreaterOrEqual", places, constant(0)), made("Less", places, constant(size)))
    others = [axis for axis in range(rank) if axis != side]
    inside = made("Unsqueeze", inside, constant(others))
    near = made("Max", made("Min", places, constant(size - 1)), constant(0))
    spread = made("Gather", part, near, attr={"axis": side})
    graph.make_node("Where", [inside, spread, whole], outputs=outputs, shapes=[shape], dtypes=[kind])


def describe(core: Core, needs: Sequence[str]) -> str:
    """The core's inputs and outputs, for those who make them in another language, and what a process must import to
    make them with the sidecar: JSON."""

    def each(specs: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: {"type": spec.dtype.name, "shape": spec.shape.as_list() if spec.shape.rank is not None else None}
            for name, spec in specs.items()
        }

    about = {"what": core.what, "inputs": each(core.input), "outputs": each(outputs_of(core))}
    return json.dumps({**about, "signatures": ["before", "after"], "needs": ["tensorflow", *needs]}, indent=2) + "\n"


def outputs_of(core: Core) -> dict[str, Any]:
    """tf.TensorSpec of each output, by name."""
    found: dict[str, Any] = _concrete(core).structured_outputs
    return found


def _concrete(core: Core, rows: int | None = None) -> Any:
    """The core as one graph, whose inputs have names; of any number of rows, or of so many."""
    specs = {name: tf.TensorSpec([rows, *spec.shape[1:]], spec.dtype, name=name) for name, spec in core.input.items()}
    return tf.function(lambda **x: core.function(x), autograph=False).get_concrete_function(**specs)
