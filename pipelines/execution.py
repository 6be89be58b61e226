"""The stages of one run: data, train, baseline, score, export, report."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines import devices, registry, transfer
from pipelines.artefact import load_model, save_model
from pipelines.checkpoints import Checkpoints, load_best
from pipelines.config import write_config
from pipelines.console import Console
from pipelines.errors import RunError, StateError
from pipelines.evaluation import Head, judge, metrics_json, predict_store, scores_json
from pipelines.fingerprints import describe_change, save_examples
from pipelines.interrupts import Interrupts
from pipelines.runs import STAGES, Run
from pipelines.stages import Stage, plan
from pipelines.state import write_bytes
from pipelines.task import Assets, Built, Data, Record, Scores

if TYPE_CHECKING:
    from pipelines.training import Trainer

_PARITY_EXAMPLES = 64
_PARITY = 1e-4


class Execution:
    """The stages of one run and what they hand on to each other."""

    def __init__(
        self,
        run: Run,
        task_name: str,
        config: Any,
        runtime: devices.Runtime,
        console: Console,
        interrupts: Interrupts,
        *,
        allow_changed_data: bool = False,
    ) -> None:
        self.run, self.task_name, self.config, self.runtime, self.console = run, task_name, config, runtime, console
        self.interrupts, self.allow_changed_data = interrupts, allow_changed_data
        self.task = registry.task(task_name)
        self._data: Data | None = None
        self._built: Any = None
        self._assets: Assets | None = None

    def go_on(self) -> Iterator[str]:
        """Do what the ledger does not say is done, in its order; each stage's name when it is done."""
        todo = [self.read_data, self.train, self.fit_baseline, self.score, self.export, self.report]
        if self.run.finished_stages():
            _ = self.data  # before anything else: whether the data are still those that the run began with
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
                self._accept_change(self._data)
        return self._data

    def _accept_change(self, data: Data) -> None:
        """Of the data since the run began: refused, unless it was asked for."""
        change = describe_change(self.run.path, data)
        if not self.allow_changed_data:
            raise StateError(
                f"the data have changed since {self.run.path} began: {change}. Restore them, start a new run, "
                "or go on all the same with --allow-changed-data."
            )
        self.console.say(f"warning: the data have changed: {change}. The run goes on with them as they are now.")
        self.run.record("data changed", change=change)
        save_examples(self.run.path, data)
        self.run.update_manifest(data=data.summary, fingerprint=data.fingerprint)

    def read_data(self) -> None:
        """Read the data; write run.yaml with all that it decides."""
        transfer.check_source(self.config, self.task_name)
        transfer.check_teacher(self.config, self.task_name, self.task)
        data = self.data
        self._change(**dict(self.task.resolve(self.config, data)))
        parts = self.config.accumulate * self.runtime.replicas
        largest = -(-len(data.splits["train"]) // parts) * parts
        if self.config.batch_size > largest:
            self.console.say(
                f"batch size: {largest}, as there are {len(data.splits['train']):,} {self.task.unit}s to train on"
            )
            self._change(batch_size=largest)
        save_examples(self.run.path, data)
        self.run.update_manifest(data=data.summary, fingerprint=data.fingerprint)
        counts = ", ".join(f"{name} {len(store):,}" for name, store in data.splits.items())
        self.console.say(f"run: {self.run.path}")
        left_out = f" {len(data.summary['skipped']):,} left out as unusable." if data.summary.get("skipped") else ""
        self.console.say(f"data: {self.config.data}: {counts} {self.task.unit}s.{left_out} {data.protocol}")
        for warning in data.summary.get("warnings", []):
            self.console.say(f"warning: {warning}")

    def train(self) -> None:
        """Train, stage by stage, and leave the best weights on disk."""
        from pipelines.training import train

        checkpoints = Checkpoints(self.run)
        state, progress = checkpoints.newest(self.console), None
        for stage in plan(self.config):
            reached = state.progress.get("stage", 0) if state else 0
            if stage.number < reached or (progress and progress.status):
                continue
            trainer = self._trainer(stage, checkpoints)
            with self.interrupts.postponed():
                progress = train(trainer, progress, state if state and stage.number == reached else None)
        assert progress is not None
        assert progress.best_file is not None
        # A clock decides nothing twice: with the step that it stopped at, the run can be repeated exactly.
        stopped = {"stop_step": progress.step} if progress.status == "stopped by budget" else {}
        self._change(max_minutes=None, **stopped)
        self.run.record(
            "trained",
            epoch=progress.epoch,
            step=progress.step,
            status=progress.status,
            best_epoch=progress.best_epoch,
            best={"file": progress.best_file, "sha256": checkpoints.digest(progress.best_file)},
        )

    def _trainer(self, stage: Stage, checkpoints: Checkpoints) -> "Trainer":
        """Everything that a stage needs: its layers unfrozen, its optimizer new."""
        from pipelines.devices.settings import StepSettings
        from pipelines.preparation import make_optimizer
        from pipelines.training import Trainer
        from pipelines.transfer.features import cached
        from pipelines.transfer.freezing import layer_rates

        built: Built = self.built
        if not stage.is_final or stage.number:
            self.console.say(stage.sentence)
        transfer.unfreeze(built, self.config, stage.unfreeze, self.console.say)
        streams = {"train": self._stream("train", training=True), "valid": self._stream("valid", training=False)}
        head_alone = stage.unfreeze == "none" and self.config.lora_rank is None
        if built.cacheable and built.head and head_alone and self.config.teacher is None:
            built, streams = cached(built, streams, self.run.path / "state", self.console)
        decay = self.config.layer_decay
        rates = layer_rates(built.model, built.head, decay) if decay is not None and built.head else ()
        with self.runtime.scope():
            built = self._taught(built)
            optimizer = make_optimizer(self.config, built.model)
        config = self._settle(built.model, streams["train"], stage)
        jit = config.jit == "on"
        settings = StepSettings(config.accumulate, config.clip_norm, config.l1, config.l2, config.average, jit, rates)
        steps = self.runtime.steps(built, optimizer, settings)
        places = self.run, config, built, steps, streams["train"], streams["valid"], self.console, self.task.unit
        return Trainer(*places, checkpoints, stage, self.interrupts)

    def _taught(self, built: Built) -> Built:
        """What is trained with the teacher beside it, if there is one."""
        if self.config.teacher is None:
            return built
        from pipelines.transfer.distillation import check_lineage, load_teacher

        assert self.task.distil is not None
        teacher, lineage = load_teacher(self.config.teacher, self.task_name)
        check_lineage(self.run.manifest().get("teacher"), lineage)
        self.run.update_manifest(teacher=asdict(lineage))
        self.console.say(f"teacher: {lineage.source}: {lineage.score['name']} {lineage.score['value']:.4f}")
        return self.task.distil(built, teacher, self.config, self.data.assets)

    def fit_baseline(self) -> None:
        """Fit the classical model and score it on the same split."""
        from pipelines.transfer.features import clear

        self.console.say("baseline: fitting …")
        baseline = self.task.baseline(self.config, self.data)
        scores = self._score(predict_store(baseline.predictor, self.data.splits["test"]), self.data.assets)
        self.console.say(
            f"baseline: {baseline.name} ({baseline.note})" if baseline.note else f"baseline: {baseline.name}"
        )
        self.run.write_json("baseline.json", {"name": baseline.name, "note": baseline.note, **scores_json(scores)})
        clear(self.run.path / "state")

    def score(self) -> None:
        """Score the best epoch on the test split, calibrated on validation."""
        from pipelines.transfer.features import clear

        clear(self.run.path / "state")
        from pipelines.prediction import whole_file, write_records
        from pipelines.report import save_figures

        self.console.say(f"scoring: {len(self.data.splits['test']):,} test {self.task.unit}s …")
        records = self.predict("test")
        scores = judge(self.task, records, self.data.splits["test"], self.config, self.assets)
        metrics = metrics_json(self.task_name, scores, self.data, len(records))
        baseline = self.run.read_json("baseline.json")
        metrics["baseline"] = {key: baseline[key] for key in ("name", "note", "scores")}
        store = self.data.splits["test"]
        references = self.task.references(store)
        with whole_file(self.run.path / "predictions.jsonl") as file:
            targets = self.task.targets(references, self.assets)
            write_records(records, file, "jsonl", self.task.answer(self.config), targets)
        model = self.built.model
        save_figures(self.run.path, self.task.figures(records, references, self.config, self.assets, store, model))
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

        best = self.run.events("trained")[-1]["best"]
        file = self.run.path / "state" / best["file"]
        weights = load_best(file, best["sha256"])
        for name, variable in named(self.built.model.variables).items():
            if name not in weights or weights[name].shape != tuple(variable.shape):
                raise StateError(f"{file} does not fit the model ({name} differs): start again with --overwrite.")
            variable.assign(weights[name])

    def _score(self, records: list[Record], assets: Assets) -> Scores:
        return self.task.score(records, self.task.references(self.data.splits["test"]), self.config, assets)

    def _stream(self, split: str, *, training: bool) -> Any:
        from pipelines.stream import Stream

        encoder = self.task.encode(self.config, self.data.assets, training)
        batching = self.task.batching(self.config)
        return Stream(self.data.splits[split], encoder, batching, self.config.seed, training=training)

    def _settle(self, model: Any, stream: Any, stage: Stage) -> Any:
        """The config with what is chosen automatically; it stands in run.yaml before the first step, where there is
        only one stage to choose for."""
        from pipelines.preparation import choose_jit, choose_steps

        config = self.config
        jit = "on" if config.backend == "jax" or choose_jit(config, model, self.runtime.device) else "off"
        steps = config.steps_per_execution or choose_steps(model, stream, config.batch_size)
        if stage.is_final and not stage.number:
            self._change(jit=jit, steps_per_execution=steps)
        whole = self.built.model
        trainable = int(sum(np.prod(v.shape) for v in model.trainable_variables))
        about = {"name": whole.name, "parameters": whole.count_params(), "trainable": trainable}
        self.run.update_manifest(model=about)
        self.console.say(f"model: {whole.name}, {trainable:,} trainable parameters; steps a call: {steps}, XLA {jit}")
        return config.model_copy(update={"jit": jit, "steps_per_execution": steps})

    def _change(self, **settings: Any) -> None:
        """Replace settings, here and in run.yaml."""
        self.config = self.config.model_copy(update=settings)
        write_bytes(self.run.settings, write_config(self.config, self.task_name).encode())
