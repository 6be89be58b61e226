"""What a run leaves for others to load, and that it answers as the model that was scored."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np

from pipelines.artefact import load_model, save_model
from pipelines.errors import NotServed, RunError
from pipelines.evaluation import Head, predict_store
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
        store = Head(self.of.data.splits["test"], _EXAMPLES)
        before = predict_store(task.predictor(self.of.kept, config, self.of.assets, {}), store)
        again = predict_store(task.predictor(model, config, assets, {}), store)
        for old, new in zip(before, again, strict=True):
            if not np.allclose(np.asarray(old.output), np.asarray(new.output), rtol=_GAP, atol=_GAP):
                raise RunError(f"the saved model answers otherwise for {old.id}: {old.answer} became {new.answer}.")
        self._serve(model, assets, again)

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
        from pipelines.saved_model import check_served, save_served

        try:
            serving = task.serving(model, config, assets)
        except NotServed as error:
            console.say(f"export: no SavedModel: {error}")
            return
        place = save_served(run.path / "export", serving)
        store = self.of.data.splits["test"]
        inputs = serving.inputs(store, np.arange(len(records)))
        if serving.fetch is not None or serving.options:
            predictor = task.predictor(model, config, assets, serving.options)
            records = predict_store(predictor, Head(store, len(records)), serving.fetch)
        parity = check_served(place, inputs, records, serving.output, config.precision, serving.gap)
        run.write_json("export/parity.json", {"saved_model": parity})
        alike = "".join(
            f", which answers as predict --{name.replace('_', '-')} {value}" for name, value in serving.options.items()
        )
        also = f"; where it is served, import {' and '.join(serving.needs)} too" if serving.needs else ""
        console.say(f"export: {place}{alike}{also}")
