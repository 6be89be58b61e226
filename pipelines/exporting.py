"""What a run leaves for others to load, and that it answers as the model that was scored."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import keras
import numpy as np

from pipelines.artefact import load_model, save_model
from pipelines.errors import NotServed, RunError
from pipelines.evaluation import Some, predict_store, some_rows
from pipelines.state import put
from pipelines.task import Assets, Record

if TYPE_CHECKING:
    from pipelines.execution import Execution

_EXAMPLES = 64
"""Of the test split, that are compared."""
_GAP = 1e-4


@dataclass(frozen=True)
class Exporting:
    """The trained model of a run, as files."""

    of: "Execution"

    def export(self) -> None:
        """Save the model with its assets, load it again, and see that it says the same.

        Raises:
            RunError: it does not.
        """
        run, task, config = self.of.run, self.of.task, self.of.config
        save_model(run, self.of.kept, self.of.assets)
        model, assets = load_model(run)
        store = Some(self.of.data.splits["test"], self._rows)
        before = predict_store(task.predictor(self.of.kept, config, self.of.assets, {}), store)
        again = predict_store(task.predictor(model, config, assets, {}), store)
        for old, new in zip(before, again, strict=True):
            if not np.allclose(np.asarray(old.output), np.asarray(new.output), rtol=_GAP, atol=_GAP):
                raise RunError(f"the saved model answers otherwise for {old.id}: {old.answer} became {new.answer}.")
        self._serve(model, assets, again)

    @property
    def _rows(self) -> np.ndarray:
        """int64: the examples of the test split that are compared."""
        return some_rows(self.of.data.splits["test"], _EXAMPLES, self.of.config.seed)

    def _serve(self, model: keras.Model, assets: Assets, records: list[Record]) -> None:
        """Export what takes the task's own inputs, and see that it answers as the records do."""
        run, task, config, console = self.of.run, self.of.task, self.of.config, self.of.console
        if task.serving is None:
            return
        if config.backend != "tensorflow":
            from pipelines.exports.writing import export_in_child

            why = export_in_child(run.path, _EXAMPLES, records)
            console.say(f"export: no SavedModel: {why}" if why else f"export: {run.path / 'export' / 'saved_model'}")
            return
        from pipelines.saved_model import ABOUT, check_served, save_served

        try:
            serving = task.serving(model, config, assets)
        except NotServed as error:
            console.say(f"export: no SavedModel: {error}")
            return
        store = self.of.data.splits["test"]
        inputs = serving.inputs(store, self._rows)
        if serving.fetch is not None or serving.options:
            predictor = task.predictor(model, config, assets, serving.options)
            records = predict_store(predictor, Some(store, self._rows), serving.fetch)
        place = run.path / "export" / "saved_model"
        place.parent.mkdir(exist_ok=True)
        with TemporaryDirectory(prefix=".export.", dir=place.parent) as aside:
            made = save_served(Path(aside), serving)
            parity = check_served(made, inputs, records, serving.output, config.precision, serving.gap)
            for file in (made, made.with_name(ABOUT)):
                put(file, place.with_name(file.name))
        run.write_json("export/parity.json", {"saved_model": parity})
        alike = "".join(
            f", which answers as predict --{name.replace('_', '-')} {value}" for name, value in serving.options.items()
        )
        also = f"; where it is served, import {' and '.join(serving.needs)} too" if serving.needs else ""
        console.say(f"export: {place}{alike}{also}")
