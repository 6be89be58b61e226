"""A finished model in one format after another, each tried on the test split before it gets its name."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipelines import devices, registry
from pipelines.artefact import as_own, load_model, read_settings
from pipelines.errors import DataError, NotServed, RunError, StateError
from pipelines.evaluation import Some, predict_store, some_rows
from pipelines.exports.parity import TOLERANCES, Gate, answers, changes
from pipelines.raw import rows_of
from pipelines.runs import Run
from pipelines.served import Core, Serving
from pipelines.state import put
from pipelines.task import Assets, Data, Record, Scores, Store, Task

FILES = {
    "saved-model": "saved_model",
    "litert": "model.tflite",
    "litert-int8": "model.int8.tflite",
    "onnx": "model.onnx",
    "keras": "model.keras",
}
"""What each format is called in the folder export/."""
SIDECAR = "sidecar"
_ASIDE = ".export."
_AT_ONCE = 32
_NUMBERS = ("litert", "litert-int8", "onnx")
"""What computes in float32, or in whole numbers, alone."""
_BACKENDS = 1e-3
"""By how much two backends may differ, which add up in other orders."""
FEWEST = 100
"""Examples that a model of whole numbers is judged by: of fewer an interval says nothing."""
_CALIBRATED_ON = 256
"""Training examples."""
_WIDENED = (
    "the same weights in float32, whose answers the difference is taken from; the scores of the model, which computes "
    "in {}, are its own"
)


@dataclass(frozen=True)
class Exporter:
    """A finished model and the examples that its exports are tried on."""

    run: Run
    task: Task
    config: Any
    model: Any
    assets: Assets
    data: Data
    examples: int
    scored: "Exporter | None" = None
    """Of the model that was scored, where this one is the same in another precision."""

    @classmethod
    def of(cls, run: Run, examples: int) -> "Exporter":
        """Whatever backend the run had: its weights know none, and a graph is TensorFlow's."""
        name = run.manifest()["task"]
        config = read_settings(run, name)
        devices.import_backend("tensorflow")
        config = config.model_copy(update={"backend": "tensorflow"})
        task = registry.task(name)
        model, assets = load_model(run)
        try:
            data = task.load_data(as_own(config, run))
        except DataError as error:
            raise DataError(
                f"{error} An export is tried on the data of its run: put them back, or, where their path is relative, "
                "stand in the folder that the run was started in."
            ) from error
        if data.fingerprint != run.manifest().get("fingerprint"):
            raise StateError(
                f"{config.data} has changed since the run: its exports must be held against the same data."
            )
        return cls(run, task, config, model, assets, data, examples)

    @cached_property
    def in_float32(self) -> "Exporter":
        """Of the same weights; itself where the model computes in float32."""
        if self.config.precision == "float32":
            return self
        config = self.config.model_copy(update={"precision": "float32"})
        return replace(self, model=load_model(self.run, in_float32=True)[0], config=config, scored=self)

    @cached_property
    def serving(self) -> Serving:
        """Raises NotServed."""
        if self.task.serving is None:
            raise NotServed("there is no graph of this task's models yet: use sixfold predict.")
        return self.task.serving(self.model, self.config, self.assets)

    @property
    def core(self) -> Core:
        """Raises NotServed where no part of the model is numbers alone."""
        if self.serving.core is None:
            raise NotServed(f"LiteRT and ONNX hold numbers alone: {self.serving.coreless} Use --format saved-model.")
        return self.serving.core

    @cached_property
    def rows(self) -> np.ndarray:
        """int64: which of the test split are scored."""
        return some_rows(self.data.splits["test"], self.examples, self.config.seed)

    @property
    def store(self) -> Store:
        """The examples that are scored."""
        return Some(self.data.splits["test"], self.rows)

    @cached_property
    def records(self) -> list[Record]:
        """What the model answers for the examples."""
        predictor = self.task.predictor(self.model, self.config, self.assets, self.serving.options)
        scored = self.serving.scored
        return predict_store(predictor, self.store, self.serving.fetch if scored is None else scored.fetch)

    def write(self, name: str) -> dict[str, Any]:
        """One format, at its place once it has passed.

        Returns: what parity.json says of it.
        """
        if name in _NUMBERS and self is not self.in_float32:
            return self.in_float32.write(name)
        folder = self.run.path / "export"
        folder.mkdir(exist_ok=True)
        for left in folder.glob(f"{_ASIDE}*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_ASIDE, dir=folder) as aside:
            made = Path(aside) / FILES[name]
            rows = self._make(name, made)
            found = self._judged(name, made, Path(aside), rows)
            for file in sorted(Path(aside).iterdir()):
                if file.name in (made.name, SIDECAR, f"{SIDECAR}.json", "serving.json"):
                    put(file, folder / file.name)
        known = self.run.read_json("export/parity.json") if (folder / "parity.json").is_file() else {}
        self.run.write_json("export/parity.json", {**known, name.replace("-", "_"): found})
        return found

    def compare(self, outputs: Mapping[str, np.ndarray]) -> None:
        """Raises RunError where the model answers otherwise than another backend did: numbers, not places in lists, nor
        what a search found."""
        for row, other in outputs.items():
            if other.dtype.kind != "f" or self.serving.options or self.serving.searched:
                continue
            mine = np.asarray(self.records[int(row)].output)
            gap = float(np.abs(mine - other).max() / max(1.0, float(np.abs(other).max()))) if other.size else 0.0
            if not gap <= max(TOLERANCES[self.config.precision], _BACKENDS):
                raise RunError(
                    f"on the TensorFlow backend the model answers otherwise: its outputs differ by {gap:.2g}."
                )

    def _make(self, name: str, place: Path) -> int | None:
        """Write it, with what it needs beside it.

        Returns: how many rows it takes, where it does not take any number.
        """
        from pipelines.exports import formats

        if name == "saved-model":
            formats.save_saved_model(place, self.serving)
            return None
        rows = None
        if name == "keras":
            shutil.copy(self.run.model / "model.keras", place)
        elif name == "onnx":
            formats.save_onnx(place, self.core)
        else:
            rows = formats.save_litert(place, self.core, self._calibration if name == "litert-int8" else None)
        if name != "keras" or self._is_network:
            formats.save_sidecar(place.with_name(SIDECAR), self.serving, self.core, self._given)
            content = formats.describe(self.core, self.serving.needs)
            place.with_name(f"{SIDECAR}.json").write_text(content, "utf-8")
        return rows

    @property
    def _is_network(self) -> bool:
        try:
            return self.core.network
        except NotServed:
            return False

    @property
    def _given(self) -> Any:
        """tf.TensorSpec of what the examples are scored from; of several, by name."""
        scored = self.serving.scored
        return self.serving.input if scored is None else self.serving.others[scored.signature][1]

    @property
    def _spec(self) -> dict[str, Any]:
        """By name, in either case."""
        return self._given if isinstance(self._given, dict) else {self._given.name: self._given}

    def _inputs(self, store: Store, rows: np.ndarray) -> Mapping[str, Any]:
        """What these examples are scored from, by name."""
        make = self.serving.inputs if self.serving.scored is None else self.serving.scored.inputs
        found = make(store, rows)
        return found if isinstance(found, dict) else {next(iter(self._spec)): found}

    def _calibration(self) -> Iterator[Mapping[str, np.ndarray]]:
        """The core's inputs of training examples, one at a time."""
        import tensorflow as tf

        store = self.data.splits[self.serving.calibrated_on]
        chosen = np.random.default_rng(self.config.seed).permutation(len(store))[:_CALIBRATED_ON]
        for row in chosen:
            given = self._inputs(store, np.array([row]))
            tensors = {name: tf.constant(value, self._spec[name].dtype) for name, value in given.items()}
            x = self.core.before(tensors if isinstance(self._given, dict) else next(iter(tensors.values())))
            yield {name: x[name].numpy() for name in self.core.input}

    def _judged(self, name: str, made: Path, folder: Path, at_once: int | None) -> dict[str, Any]:
        """Raises RunError where it does not pass."""
        whole = name != "keras" or self._is_network
        found = self._of_answers(name, made, folder, at_once) if whole else self._of_network(made, folder)
        if at_once is not None:
            found["rows"] = at_once
        size = sum(file.stat().st_size for file in made.rglob("*")) if made.is_dir() else made.stat().st_size
        return {"examples": len(self.store), "bytes": size, **found}

    def _of_answers(self, name: str, made: Path, folder: Path, at_once: int | None) -> dict[str, Any]:
        """Of an export from what a person has to the answers: records, and what they score."""
        from pipelines.saved_model import gaps_of

        scored, serving, batches = self.serving.scored, self.serving, self._batches()
        sidecar = None if name == "saved-model" else folder / SIDECAR
        request = {
            "format": name,
            "path": str(made),
            "sidecar": None if sidecar is None else str(sidecar),
            "signature": "serving_default" if scored is None else scored.signature,
            "rename": {"output": self._only_output} if name == "keras" else {},
            "rows": at_once,
            "needs": ["tensorflow", *serving.needs, *(self._own_layers if name == "keras" else ())],
        }
        inputs = [self._inputs(self.data.splits["test"], self.rows[rows]) for rows in batches]
        outputs, times = answers(request, inputs, folder)
        wanted = self.records
        found: dict[int, Record] = {}
        gaps = [0.0]
        if serving.records is None:
            raise NotServed("the task does not say what records a graph's outputs are, so none can be scored.")
        for rows, asked, given in zip(batches, inputs, outputs, strict=True):
            gaps += gaps_of(serving, given, [wanted[row] for row in rows]).tolist()
            records = serving.records(self.store.ids(rows), asked, given)
            found |= dict(zip(rows.tolist(), records, strict=True))
        whole = np.array([row for row, record in enumerate(wanted) if serving.whole(record)], np.int64)
        if not len(whole):
            raise RunError(f"{name} is not written: of none of the examples the graph answers the whole.")
        model = self.records if self.scored is None else self.scored.records
        before = self._scores([model[row] for row in whole], whole)
        after = self._scores([found[row] for row in whole], whole)
        gate = Gate(self.config.precision, quantised="int8" in name, widened=self.scored is not None)
        largest = float(np.max(gaps))
        if wrong := gate.judge(largest, before, after):
            raise RunError(f"{name} is not written: {'; '.join(wrong)}.")
        scores = changes(before, after)
        return {
            "milliseconds": times,
            "largest_difference": largest,
            **({"too_long": len(wanted) - len(whole)} if len(whole) < len(wanted) else {}),
            "headline": before.headline,
            "scores": scores,
            "needs": request["needs"],
            **({} if self.scored is None else {"of": _WIDENED.format(self.scored.config.precision)}),
        }

    def _of_network(self, made: Path, folder: Path) -> dict[str, Any]:
        """Of the network alone, as its file: its outputs."""
        inputs = [self._network_inputs(rows) for rows in self._batches()]
        request: dict[str, Any]
        request = {"format": "keras", "path": str(made), "sidecar": None, "rename": {}, "rows": None}
        outputs, times = answers({**request, "needs": ["keras", *self._own_layers]}, inputs, folder)
        compute = devices.forward(self.model)
        gaps = [0.0]
        for x, found in zip(inputs, outputs, strict=True):
            wanted = compute(dict(x) if len(x) > 1 else next(iter(x.values())))
            gaps.append(float(np.abs(found["output"] - wanted).max() / max(1.0, float(np.abs(wanted).max()))))
        largest = float(np.max(gaps))
        if not largest <= TOLERANCES[self.config.precision]:
            raise RunError(f"keras is not written: its outputs differ by {largest:.2g}.")
        return {
            "milliseconds": times,
            "largest_difference": largest,
            "needs": ["keras", *self._own_layers],
            "of": "the network alone, without what stands before and after it",
        }

    def _network_inputs(self, rows: np.ndarray) -> Mapping[str, np.ndarray]:
        """What the network takes of these examples, by name; an only input is called x."""
        raw = self.store.fetch(rows)
        with suppress(NotServed):  # then the encoder says
            if self.serving.network_inputs is not None:
                return self.serving.network_inputs(raw)
        import tensorflow as tf

        encode = self.task.encode(self.config, self.assets, False)
        x = encode({name: tf.constant(column) for name, column in raw.items()}, tf.zeros([len(rows)], tf.int64))[0]
        if not isinstance(x, dict):
            return {"x": x.numpy()}
        # What only the training looks at comes along.
        return {one.name: x[one.name].numpy() for one in self.model.inputs}

    @property
    def _only_output(self) -> str:
        from pipelines.exports.formats import outputs_of

        (name,) = outputs_of(self.core)
        return name

    @property
    def _own_layers(self) -> list[str]:
        """The modules of layers that neither Keras nor KerasHub has."""
        modules = {type(layer).__module__ for layer in self.model._flatten_layers()}
        return sorted(name for name in modules if name.partition(".")[0] in ("pipelines", "tasks"))

    def _scores(self, records: Sequence[Record], whole: np.ndarray) -> Scores:
        """Of these of the examples."""
        references = self.task.references(self.data.splits["test"])
        return self.task.score(records, rows_of(references, self.rows[whole]), self.config, self.assets)

    def _batches(self) -> list[np.ndarray]:
        """The places of each among the examples: those of like size together, about as many in each."""
        sizes = self.store.sizes
        order = np.arange(len(self.store)) if sizes is None else np.lexsort(sizes.T)
        return np.array_split(order, -(-len(order) // _AT_ONCE))
