"""`sixfold export`: a finished run's model in a format, proven equal to the model that was scored, or not there at
all."""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from pipelines import children
from pipelines.errors import ConfigError, NotServed, RunError, SixfoldError, StateError, named
from pipelines.exports.exporter import FEWEST, FILES, Exporter
from pipelines.lock import Lock
from pipelines.report import write_model_card
from pipelines.runs import Run, find_run
from pipelines.task import Record

_EXTRA = "in a checkout of Sixfold, pip install -c constraints.txt '.[onnx]'"

_CARD = ("MODEL_CARD.md", "metrics.json", "events.jsonl")
"""The model card and what it is made of."""


def export(run_dir: Path, formats: Sequence[str], examples: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Write a finished run's model in these formats, each held against the model on the test split.

    Args:
        run_dir: the run folder.
        formats: of FILES.
        examples: of the test split, at most, that are scored.
        say: is told each step.

    Returns: parity.json: of each format what was found.

    Raises:
        StateError: the run is unfinished, damaged, or its data have changed.
        NotServed: there is no such graph of this model, and why.
        RunError: an export does not answer as the model does; nothing of it is left. The formats after it are written.
    """
    unknown = [name for name in formats if name not in FILES]
    if unknown:
        raise ConfigError(f"there is no format {unknown[0]}: choose of {', '.join(FILES)}.")
    if "onnx" in formats:
        _check_extra()
    run = find_run(run_dir.resolve())  # other processes are given its paths, and stand elsewhere
    if not run.finished:
        raise StateError(f"{run_dir} is unfinished, and has no model to export: go on with sixfold resume {run_dir}.")
    lock = Lock(run_dir)
    lock.acquire()
    refused: dict[str, SixfoldError] = {}
    try:
        exporter = Exporter.of(run, max(examples, FEWEST) if "litert-int8" in formats else examples)
        for name in dict.fromkeys(formats):
            say(f"{name}: writing …")
            try:
                found = exporter.write(name)
            except (NotServed, RunError) as error:
                refused[name] = error
                say(f"{name}: not written")
                continue
            _register(run)
            say(_sentence(run.path / "export" / FILES[name], found))
    finally:
        lock.release()
    if refused:
        first = next(iter(refused.values()))
        raise first if len(formats) == 1 else type(first)(_reasons(refused))
    parity: dict[str, Any] = run.read_json("export/parity.json")
    return parity


def _reasons(refused: Mapping[str, SixfoldError]) -> str:
    """A line for each reason, with the formats that it is of."""
    names: dict[str, list[str]] = {}
    for name, error in refused.items():
        names.setdefault(str(error), []).append(name)
    return "\n".join(f"{', '.join(of)}: {reason}" for reason, of in names.items())


def _check_extra() -> None:
    """Raises ConfigError where what writes and tries ONNX is not installed."""
    for package in ("onnx", "onnxruntime", "tf2onnx"):
        if find_spec(package) is None:
            raise ConfigError(f"--format onnx needs the package {package}, the extra [onnx]: {_EXTRA}.")


def export_in_child(run_dir: Path, examples: int, records: Sequence[Record]) -> str:
    """The SavedModel of a run that is about to end in a process of its own on the TensorFlow backend, as this one is on
    another; its answers held against these records as well.

    Returns: why there is none, where there is none.

    Raises:
        RunError: it does not answer as the model does.
    """
    outputs = {str(place): np.asarray(one.output) for place, one in enumerate(records) if one.output is not None}
    with tempfile.TemporaryDirectory() as aside:
        np.savez(Path(aside) / "outputs.npz", **outputs)  # type: ignore[arg-type]
        code = "from pipelines.exports.writing import as_child; as_child(*sys.argv[2:])"
        words = children.calling(code, str(run_dir), str(examples), str(Path(aside) / "outputs.npz"))
        hidden = ("KERAS_BACKEND", "TF_CONFIG", "JAX_PLATFORMS")
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"the SavedModel cannot be written: {children.how_it_ended(done.returncode, done.stderr)}.")
    kind, message = json.loads(done.stdout.splitlines()[-1])
    if kind not in (None, "NotServed"):
        raise named(kind, message)
    return str(message)


def as_child(run_dir: str, examples: str, outputs: str) -> None:
    """What `export_in_child` starts: prints the class of an error and its message."""
    try:
        exporter = Exporter.of(Run(Path(run_dir).resolve()), int(examples))
        with np.load(outputs, allow_pickle=False) as arrays:
            exporter.compare(dict(arrays))
        exporter.write("saved-model")
        print(json.dumps([None, ""]))
    except SixfoldError as error:
        print(json.dumps([type(error).__name__, str(error)]))


def _register(run: Run) -> None:
    """Put the checksums of what lies in export/ into the manifest, and let the others stand as the run left them."""
    expected = run.manifest()["files"]
    kept = {name: digest for name, digest in expected.items() if not name.startswith("export/")}
    files = sorted(file for file in (run.path / "export").rglob("*") if file.is_file())
    names = [str(file.relative_to(run.path)) for file in files]
    if all(name in expected and run.checksum(name) == expected[name] for name in _CARD):
        names.append(write_model_card(run.path).name)  # which lists the exports; one that was edited stays
    run.update_manifest(files={**kept, **{name: run.checksum(name) for name in names}})


def _sentence(place: Path, found: Mapping[str, Any]) -> str:
    headline = found["scores"].get(found["headline"]) if "scores" in found else None
    score = "" if headline is None else f", {found['headline']} {headline['export']:.4f} ({headline['change']:+.4f})"
    times = ", ".join(f"{taken} ms for {rows}" for rows, taken in found["milliseconds"].items())
    gap = f"on {found['examples']:,} test examples its answers differ by {found['largest_difference']:.2g} at most"
    rows = f"; it takes {found['rows']} at a time" if found.get("rows") else ""
    return f"{place}: {found['bytes'] / 1e6:.2f} MB, {times}{rows}; {gap}{score}"
