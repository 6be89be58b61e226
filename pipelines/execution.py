"""The stages of one run: data, train, baseline, score, export, report."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from pipelines import devices, registry, transfer
from pipelines.artefact import load_model, save_model
from pipelines.config import write_config
from pipelines.console import Console
from pipelines.errors import RunError, StateError
from pipelines.evaluation import Head, metrics_json, predict_store, scores_json
from pipelines.runs import STAGES, Run
from pipelines.state import load_arrays, write_bytes
from pipelines.task import Assets, Data, Record, Scores

_PARITY_EXAMPLES = 64
_PARITY = 1e-4


class Execution:
    """The stages of one run and what they hand on to each other."""

    def __init__(self, run: Run, task_name: str, config: Any, runtime: devices.Runtime, console: Console) -> None:
        self.run, self.task_name, self.config, self.runtime, self.console = run, task_name, config, runtime, console
        self.task = registry.task(task_name)
        self._data: Data | None = None
        self._built: Any = None
        self._assets: Assets | None = None

    def go_on(self) -> Iterator[str]:
        """Do what the ledger does not say is done, in its order; each stage's name when it is done."""
        todo = [self.read_data, self.train, self.fit_baseline, self.score, self.export, self.report]
        for name, stage in zip(STAGES, todo, strict=True):
            if name not in self.run.finished_stages():
                with self.run.stage(name):
                    stage()
                yield name

    @property
    def data(self) -> Data:
        """Read once; checked against the fingerprint that the run began with."""
        if self._data is None:
            self._data = self.task.load_data(self.config)
            known = self.run.manifest().get("fingerprint")
            if known not in (None, self._data.fingerprint):
                raise StateError(
                    f"the data has changed since {self.run.path} began: choose another --run-dir, or --overwrite."
                )
        return self._data

    def read_data(self) -> None:
        """Read the data; write run.yaml with all that it decides."""
        transfer.check_source(self.config, self.task_name)
        data = self.data
        self._change(**dict(self.task.resolve(self.config, data)))
        parts = self.config.accumulate * self.runtime.replicas
        largest = -(-len(data.splits["train"]) // parts) * parts
        if self.config.batch_size > largest:
            self.console.say(
                f"batch size: {largest}, as there are {len(data.splits['train']):,} {self.task.unit}s to train on"
            )
            self._change(batch_size=largest)
        self.run.update_manifest(data=data.summary, fingerprint=data.fingerprint)
        counts = ", ".join(f"{name} {len(store):,}" for name, store in data.splits.items())
        self.console.say(f"run: {self.run.path}")
        left_out = f" {len(data.summary['skipped']):,} left out as unusable." if data.summary.get("skipped") else ""
        self.console.say(f"data: {self.config.data}: {counts} {self.task.unit}s.{left_out} {data.protocol}")
        for warning in data.summary.get("warnings", []):
            self.console.say(f"warning: {warning}")

    def train(self) -> None:
        """Train, and leave the best weights on disk."""
        from pipelines.devices.settings import StepSettings
        from pipelines.training import Trainer, make_optimizer, train

        streams = {"train": self._stream("train", training=True), "valid": self._stream("valid", training=False)}
        with self.runtime.scope():
            optimizer = make_optimizer(self.config, self.built.model)
        self._settle(streams["train"])
        config = self.config
        jit = config.jit == "on"
        settings = StepSettings(config.accumulate, config.clip_norm, config.l1, config.l2, config.average, jit)
        steps = self.runtime.steps(self.built, optimizer, settings)
        progress = train(
            Trainer(
                self.run, config, self.built, steps, streams["train"], streams["valid"], self.console, self.task.unit
            )
        )
        # A clock decides nothing twice: with the step that it stopped at, the run can be repeated exactly.
        stopped = {"stop_step": progress.step} if progress.status == "stopped by budget" else {}
        self._change(max_minutes=None, **stopped)
        ended = {"status": progress.status, "best_epoch": progress.best_epoch}
        self.run.record("trained", epoch=progress.epoch, step=progress.step, **ended)

    def fit_baseline(self) -> None:
        """Fit the classical model and score it on the same split."""
        self.console.say("baseline: fitting …")
        baseline = self.task.baseline(self.config, self.data)
        scores = self._score(predict_store(baseline.predictor, self.data.splits["test"]), self.data.assets)
        self.console.say(
            f"baseline: {baseline.name} ({baseline.note})" if baseline.note else f"baseline: {baseline.name}"
        )
        self.run.write_json("baseline.json", {"name": baseline.name, "note": baseline.note, **scores_json(scores)})

    def score(self) -> None:
        """Score the best epoch on the test split, calibrated on validation."""
        from pipelines.prediction import whole_file, write_records
        from pipelines.report import save_figures

        self.console.say(f"scoring: {len(self.data.splits['test']):,} test {self.task.unit}s …")
        records = self.predict("test")
        scores = self._score(records, self.assets)
        metrics = metrics_json(self.task_name, scores, self.data, len(records))
        baseline = self.run.read_json("baseline.json")
        metrics["baseline"] = {key: baseline[key] for key in ("name", "note", "scores")}
        store = self.data.splits["test"]
        references = self.task.references(store)
        with whole_file(self.run.path / "predictions.jsonl") as file:
            targets = self.task.targets(references, self.assets)
            write_records(records, file, "jsonl", self.task.answer, targets)
        save_figures(self.run.path, self.task.figures(records, references, self.config, self.assets, store))
        self.run.write_json("metrics.json", metrics)

    def export(self) -> None:
        """Save the model with its assets, load it again, and see that it says the same."""
        save_model(self.run, self.built.model, self.assets)
        model, assets = load_model(self.run)
        store = Head(self.data.splits["test"], _PARITY_EXAMPLES)
        before = predict_store(self.task.predictor(self.built.model, self.config, self.assets, {}), store)
        again = predict_store(self.task.predictor(model, self.config, assets, {}), store)
        for old, new in zip(before, again, strict=True):
            if not np.allclose(np.asarray(old.output), np.asarray(new.output), rtol=_PARITY, atol=_PARITY):
                raise RunError(f"the saved model answers otherwise for {old.id}: {old.answer} became {new.answer}.")

    def report(self) -> None:
        """Write the report and the model card from what lies in the folder."""
        from pipelines.report import write_model_card, write_report

        self.run.update_manifest(seconds=self.run.seconds())
        write_model_card(self.run.path)
        write_report(self.run.path)

    @property
    def built(self) -> Any:
        """The model; with the best weights once training is done."""
        if self._built is None:
            with self.runtime.scope():
                built = self.task.build_model(self.config, self.data.assets)
                fresh = "train" not in self.run.finished_stages()
                origin = transfer.prepare(built, self.config, self.data.assets, self.console.say, load=fresh)
                self._built = built
            if origin is not None:
                self.run.update_manifest(pretrained=asdict(origin))
        return self._built

    @property
    def assets(self) -> Assets:
        """The data's assets and what is fitted after training (on the validation split)."""
        if self._assets is None:
            records = self.predict("valid", self.data.assets)
            references = self.task.references(self.data.splits["valid"])
            self._assets = self.task.calibrate(self.config, self.data.assets, records, references)
        return self._assets

    def predict(self, split: str, assets: Assets | None = None) -> list[Record]:
        """The best model's records for a split."""
        self._load_best()
        predictor = self.task.predictor(self.built.model, self.config, assets or self.assets, {})
        return predict_store(predictor, self.data.splits[split])

    def status(self) -> str:
        """How training ended."""
        status: str = self.run.events("trained")[-1]["status"]
        return status

    def best_epoch(self) -> int:
        """The epoch that was scored."""
        epoch: int = self.run.events("trained")[-1]["best_epoch"]
        return epoch

    def _load_best(self) -> None:
        from pipelines.devices.steps import named

        weights, _ = load_arrays(self.run.best)
        for name, variable in named(self.built.model.variables).items():
            if name not in weights or weights[name].shape != tuple(variable.shape):
                raise StateError(
                    f"{self.run.best} does not fit the model ({name} differs): start again with --overwrite."
                )
            variable.assign(weights[name])

    def _score(self, records: list[Record], assets: Assets) -> Scores:
        return self.task.score(records, self.task.references(self.data.splits["test"]), self.config, assets)

    def _stream(self, split: str, *, training: bool) -> Any:
        from pipelines.stream import Stream

        encoder = self.task.encode(self.config, self.data.assets, training)
        batching = self.task.batching(self.config)
        return Stream(self.data.splits[split], encoder, batching, self.config.seed, training=training)

    def _settle(self, stream: Any) -> None:
        """What is chosen automatically stands in run.yaml before the first step."""
        from pipelines.training import choose_jit, choose_steps

        model, config = self.built.model, self.config
        jit = "on" if config.backend == "jax" or choose_jit(config, model, self.runtime.device) else "off"
        steps = config.steps_per_execution or choose_steps(model, stream, config.batch_size)
        self._change(jit=jit, steps_per_execution=steps)
        trainable = int(sum(np.prod(v.shape) for v in model.trainable_variables))
        about = {"name": model.name, "parameters": model.count_params(), "trainable": trainable}
        self.run.update_manifest(model=about)
        self.console.say(f"model: {model.name}, {trainable:,} trainable parameters; steps a call: {steps}, XLA {jit}")

    def _change(self, **settings: Any) -> None:
        """Replace settings, here and in run.yaml."""
        self.config = self.config.model_copy(update=settings)
        write_bytes(self.run.settings, write_config(self.config, self.task_name).encode())
