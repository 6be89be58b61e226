"""What an export answers where there is no Sixfold: run as a script, in a process of its own, with a request as its one
argument. Imports NumPy and what the format needs, nothing of ours.

A request is JSON: `format`, `path`; `signature` of a SavedModel; `sidecar`, the SavedModel of what stands before and
after the others, or null; `rename`, outputs as the sidecar calls them; `rows`, how many it takes at a time, or null;
`needs`, modules to import; `batches`, files of inputs as `packed` writes them; `answers`, where each batch's outputs
go; `timed`, how many rows to take the time of.
"""

import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

_SPLITS = "__splits"
_TURNS = 15
Answer = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


def packed(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns as arrays that a file holds without pickle: strings as their bytes, one after the other, and where each
    ends."""
    found = {}
    for name, column in columns.items():
        values = np.asarray(column)
        if values.dtype != object and values.dtype.kind not in "SU":
            found[name] = values
            continue
        texts = [text.encode() if isinstance(text, str) else bytes(text) for text in values.reshape(-1)]
        found[name] = np.frombuffer(b"".join(texts), np.uint8)
        found[name + _SPLITS] = np.array([*values.shape, *np.cumsum([0, *map(len, texts)]), values.ndim], np.int64)
    return found


def unpacked(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The columns again; strings are bytes in an array of objects."""
    found = {}
    for name, values in arrays.items():
        if name.endswith(_SPLITS):
            continue
        if (about := arrays.get(name + _SPLITS)) is None:
            found[name] = values
            continue
        rank, content = int(about[-1]), values.tobytes()
        shape, ends = about[:rank].tolist(), about[rank:-1].tolist()
        texts = np.empty(len(ends) - 1, object)
        texts[:] = [content[start:end] for start, end in zip(ends, ends[1:], strict=False)]
        found[name] = texts.reshape(shape)
    return found


def _signature(folder: str, name: str) -> Answer:
    import tensorflow as tf

    loaded = tf.saved_model.load(folder)
    function = loaded.signatures[name]

    def answer(x: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        types = {name: spec.dtype for name, spec in function.structured_input_signature[1].items()}
        found = function(**{name: tf.constant(x[name], types[name]) for name in types})
        return {name: values.numpy() for name, values in found.items()}

    answer.kept = loaded  # type: ignore[attr-defined]  # its tables live as long as it does
    return answer


def _litert(path: str) -> Answer:
    import tensorflow as tf

    runner = tf.lite.Interpreter(model_path=path).get_signature_runner()
    return lambda x: dict(runner(**{name: np.asarray(x[name]) for name in runner.get_input_details()}))


def _onnx(path: str) -> Answer:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    taken = [one.name for one in session.get_inputs()]
    given = [one.name for one in session.get_outputs()]
    return lambda x: dict(zip(given, session.run(given, {name: np.asarray(x[name]) for name in taken}), strict=True))


def _keras(path: str) -> Answer:
    """Its only output is called output."""
    import keras
    import tensorflow as tf

    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    taken = [one.name for one in model.inputs]
    compiled = tf.function(lambda x: tf.cast(model(x, training=False), tf.float32), reduce_retracing=True)

    def answer(x: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = {name: x[name] for name in taken if name in x} or x
        (only, *others) = given.values()
        return {"output": compiled(dict(given) if others else only).numpy()}

    return answer


_CORES: dict[str, Callable[[str], Answer]]
_CORES = {"litert": _litert, "litert-int8": _litert, "onnx": _onnx, "keras": _keras}


def _singly(core: Answer, rows: int | None) -> Answer:
    """A core that takes one row, for any number of them; what it gives of varying length is filled up with zeros."""
    if rows is None:
        return core

    def answer(x: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        count = max(len(column) for column in x.values() if np.ndim(column))
        singles = [
            core({name: column[row : row + 1] for name, column in x.items() if np.ndim(column)}) for row in range(count)
        ]
        return {name: _stacked([one[name] for one in singles]) for name in singles[0]}

    return answer


def _stacked(rows: list[np.ndarray]) -> np.ndarray:
    sides = np.max([one.shape for one in rows], axis=0)
    return np.concatenate(
        [np.pad(one, [(0, most - one.shape[n]) if n else (0, 0) for n, most in enumerate(sides)]) for one in rows]
    )


def _answer(request: Mapping[str, Any]) -> tuple[Answer, Answer, Answer]:
    """What answers inputs; the part of it before the one that is timed, and that one."""
    if request["format"] not in _CORES:
        whole = _signature(request["path"], request["signature"])
        return whole, dict, whole
    core = _singly(_CORES[request["format"]](request["path"]), request["rows"])
    if request["sidecar"] is None:
        return core, dict, core
    before, after = (_signature(request["sidecar"], name) for name in ("before", "after"))
    rename = request["rename"]

    def answer(x: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = before(x)
        return after(given | {rename.get(name, name): values for name, values in core(given).items()})

    return answer, before, core


def _milliseconds(function: Callable[[], Any]) -> float:
    """The median of a few calls, after one to warm up."""
    function()
    taken = []
    for _ in range(_TURNS):
        started = time.perf_counter()
        function()
        taken.append(time.perf_counter() - started)
    return round(1000 * statistics.median(taken), 3)


def main() -> None:
    """Answer the batches, take the times, say so in JSON."""
    with open(sys.argv[1], encoding="utf-8") as file:
        request = json.load(file)
    for name in request["needs"]:
        importlib.import_module(name)
    answer, before, timed = _answer(request)
    middle: dict[str, np.ndarray] = {}
    for place, (source, target) in enumerate(zip(request["batches"], request["answers"], strict=True)):
        with np.load(source, allow_pickle=False) as arrays:
            inputs = unpacked(arrays)
        if place == len(request["batches"]) // 2:  # of middling length, as they are ordered by it
            middle = inputs
        np.savez(target, **packed(answer(inputs)))  # type: ignore[arg-type]
    times = {}
    for rows in request["timed"]:
        # As many rows as asked for, however few there are: the first ones again.
        count = max((len(column) for column in middle.values() if np.ndim(column)), default=0)
        chosen = np.arange(rows) % max(count, 1)
        again = {name: column[chosen] if np.ndim(column) else column for name, column in middle.items()}
        times[str(rows)] = _milliseconds(partial(timed, before(again)))
    ours = sorted(name for name in sys.modules if name.partition(".")[0] in ("pipelines", "tasks"))
    print(json.dumps({"milliseconds": times, "ours": ours}))


if __name__ == "__main__":
    main()
