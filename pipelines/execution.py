"""The stages of one run: data, train, baseline, score, export, report."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from pipelines import devices, registry, transfer
from pipelines.artefact import read_settings
from pipelines.checkpoints import load_into
from pipelines.config import write_config
from pipelines.console import Console, one_line
from pipelines.devices.energy import metering
from pipelines.errors import ConfigError, StateError
from pipelines.evaluation import (
    baseline_json,
    baselines_json,
    difference_json,
    judge,
    metrics_json,
    predict_store,
    scores_json,
)
from pipelines.fingerprints import FILE, UNLABELLED, describe_change, save_examples
from pipelines.interrupts import Interrupts
from pipelines.pairing import save_judged
from pipelines.runs import STAGES, Run
from pipelines.stages import plan
from pipelines.state import load_arrays, save_arrays
from pipelines.task import Assets, Baseline, Built, Data, Frozen, Pretraining, Record, Scores
from pipelines.tracking import Tracking

_RESAMPLES = "baseline.safetensors"
"""The baseline's scores on each resample of the test split, in the folder of the states."""


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
        self._unlabelled: Data | None = None
        self._built: Any = None
        self._assets: Assets | None = None
        self.change_of_data: str | None = None
        """What changed of the data since the run began, until it is sure that the run goes on with them."""

    def go_on(self) -> Iterator[str]:
        """Do what the ledger does not say is done, in its order; each stage's name when it is done."""
        todo = [self.read_data, self.train, self.fit_baseline, self.score, self.export, self.report]
        if self.run.finished_stages():
            _ = self.data  # before anything else: whether the data are still those that the run began with
            if "train" in self.run.finished_stages():
                self.keep_change()
        with metering(gpu=self.runtime.device == "gpu") as meter:
            for name, stage in zip(STAGES, todo, strict=True):
                if name not in self.run.finished_stages():
                    with self.run.stage(name, meter.used):
                        stage()
                    yield name

    def follow(self) -> None:
        """Train with the chief, whose data and settings are already made, and leave all else to it."""
        self.train()

    def _agree(self) -> None:
        """What the chief has made of the data, and of the settings by them, holds for all. The others read the data
        only now: whatever is prepared once is there."""
        workers = self.runtime.workers
        if workers.count == 1:
            return
        mine: dict[str, Any] = {}
        if workers.is_chief:
            settings = write_config(self.config, self.task_name)
            mine = {"settings": settings, "data": self.data.fingerprint, "change": self.change_of_data}
        told = json.loads(workers.from_chief(json.dumps(mine).encode()))
        if workers.is_chief:
            return
        self.run.write_settings(told["settings"])
        self.config, self.change_of_data = read_settings(self.run, self.task_name), told["change"]
        devices.set_precision(self.config.precision)
        if self.data.fingerprint != told["data"]:
            raise StateError(
                f"worker {workers.rank} finds other data at {self.config.data} than the chief does: "
                "give all workers the same."
            )

    def _part(self) -> None:
        """Training is over: the others end, and what comes now is one process's work."""
        if self.runtime.workers.count > 1:
            self._built, self.runtime = None, self.runtime.alone()

    @property
    def data(self) -> Data:
        """Read once; checked against the fingerprint that the run began with."""
        if self._data is None:
            self._data = self.task.load_data(self.config)
            if self.run.manifest().get("fingerprint") not in (None, self._data.fingerprint):
                self.change_of_data = self._accept_change(self._data, FILE)
            changes = self.run.manifest().get("data_changes", [])
            if changes or self.change_of_data:
                told = "; ".join([*changes, *([self.change_of_data] if self.change_of_data else [])])
                note = f"The data were changed during the run ({told}): test examples may have been trained on."
                self._data = replace(self._data, protocol=f"{self._data.protocol} {note}")
        return self._data

    @property
    def unlabelled(self) -> Data:
        """What the pretraining reads; likewise."""
        if self._unlabelled is None:
            self._unlabelled = self.pretraining.load_data(self.config, self.data)
            known = self.run.manifest().get("pretraining", {}).get("fingerprint")
            if known not in (None, self._unlabelled.fingerprint):
                change = self._accept_change(self._unlabelled, UNLABELLED)
                self.run.record("data changed", change=change)
                self._write_down(self._unlabelled, UNLABELLED)
        return self._unlabelled

    @property
    def pretraining(self) -> Pretraining:
        if self.task.pretraining is None:
            raise ConfigError(f"pretrain_on: {self.task_name} learns from labels alone so far: leave it out.")
        return self.task.pretraining

    def _write_down(self, data: Data, file: str) -> None:
        """Which examples the run has, by the file that names them."""
        save_examples(self.run.path, data, file)
        about = {"data": data.summary, "fingerprint": data.fingerprint}
        self.run.update_manifest(**(about if file == FILE else {"pretraining": about}))

    def _accept_change(self, data: Data, file: str) -> str:
        """What changed of the data since the run began: refused, unless it was asked for."""
        change = describe_change(self.run.path, data, file)
        if not self.allow_changed_data:
            raise StateError(
                f"the data have changed since {self.run.path} began: {change}. Restore them, start a new run, "
                "or go on all the same with --allow-changed-data."
            )
        self.console.say(f"warning: the data have changed: {change}. The run goes on with them as they are now.")
        return change

    def keep_change(self) -> None:
        """Write a change of the data down, once it is sure that the run can go on with them."""
        if self.change_of_data is None:
            return
        self.run.record("data changed", change=self.change_of_data)
        self._write_down(self.data, FILE)
        changes = [*self.run.manifest().get("data_changes", []), self.change_of_data]
        self.run.update_manifest(data_changes=changes)
        self.change_of_data = None

    def decide(self, data: Data | None = None) -> None:
        """Fill in what the data, and the weights to start from, decide.

        Args:
            data: of the run, where they are read already.
        """
        transfer.check_source(self.config, self.task_name)
        transfer.check_teacher(self.config, self.task_name, self.task)
        self._data = data or self.data
        self.change(**dict(self.task.resolve(self.config, self._data)))
        devices.check_divisible(self.config, self.runtime.replicas)
        parts, examples = self.config.accumulate * self.runtime.replicas, len(self._data.splits["train"])
        largest = -(-examples // parts) * parts
        if self.config.batch_size > largest:
            self.console.say(f"batch size: {largest}, as there are {examples:,} {self.task.unit}s to train on")
            self.change(batch_size=largest)

    def read_data(self) -> None:
        """Read the data; write run.yaml with all that it decides."""
        self.decide()
        data = self.data
        if self.config.pretrain_on is not None:
            _ = self.unlabelled  # what is wrong with it is said before anything is computed
        self._write_down(data, FILE)
        counts = ", ".join(f"{name} {len(store):,}" for name, store in data.splits.items())
        self.console.say(f"run: {self.run.path}")
        self._say_data(f"data: {self.config.data}: {counts}", data)
        if self.config.pretrain_on is not None:
            self._write_down(self.unlabelled, UNLABELLED)
            count = f"{len(self.unlabelled.splits['train']):,}"
            self._say_data(f"unlabelled: {self.config.pretrain_on}: {count}", self.unlabelled)

    def _say_data(self, what: str, data: Data) -> None:
        left_out = f" {len(data.summary['skipped']):,} left out as unusable." if data.summary.get("skipped") else ""
        self.console.say(f"{what} {self.task.unit}s.{left_out} {data.protocol}")
        for warning in data.summary.get("warnings", []):
            self.console.say(one_line(f"warning: {warning}"))

    def train(self) -> None:
        """Train, stage by stage, and leave the weights to be scored on disk."""
        from pipelines.fitting import Fitting

        self._agree()
        Fitting(self).fit()
        self._part()

    def fit_baseline(self) -> None:
        """Fit the classical models and score them on the same split."""
        from pipelines.transfer.features import clear

        self.console.say("baseline: fitting …")
        baseline = self.task.baseline(self.config, self.data, self._frozen())
        scores = [self._judge_baseline(one) for one in (baseline, *baseline.others)]
        save_arrays(self.run.path / "state" / _RESAMPLES, dict(scores[0].resamples), {})
        self.run.write_json("baseline.json", baseline_json(baseline, scores))
        clear(self.run.path / "state")

    def _judge_baseline(self, baseline: Baseline) -> Scores:
        """The scores of one of them."""
        records = predict_store(baseline.predictor, self.data.splits["test"], baseline.fetch)
        scores = self._score(records, self.data.assets)
        self.console.say(
            f"baseline: {baseline.name} ({baseline.note})" if baseline.note else f"baseline: {baseline.name}"
        )
        return scores

    def _frozen(self) -> Frozen | None:
        """The backbone with the weights that were taken over, as it was before training changed them."""
        from pipelines.transfer.features import split_model
        from pipelines.transfer.freezing import head_layers

        if self.config.pretrained is None:
            return None
        config = self.config.model_copy(update={"lora_rank": None})
        built = self._new_model(config)
        origin = transfer.prepare(built, config, self.data.assets, lambda text: None, load=True)
        transfer.check_origin(self.run.manifest().get("pretrained"), origin)
        if built.head is None or built.tables or not head_layers(built.model, built.head):
            return None
        return devices.forward(split_model(built.model, built.head)[0])

    def score(self) -> None:
        """Score the weights that were kept on the test split, calibrated on validation."""
        from pipelines.transfer.features import clear

        clear(self.run.path / "state")
        from pipelines.prediction import whole_file, write_records
        from pipelines.report import save_figures

        self.console.say(f"scoring: {len(self.data.splits['test']):,} test {self.task.unit}s …")
        last = self._score_last()
        records = self.predict("test")
        scores = judge(self.task, records, self.data.splits["test"], self.config, self.assets)
        metrics = metrics_json(self.task_name, scores, self.data, len(records))
        metrics |= baselines_json(self.run.read_json("baseline.json")) | last
        metrics["baseline"] |= self._difference(scores, metrics["baseline"]["scores"])
        store = self.data.splits["test"]
        references = self.task.references(store)
        with whole_file(self.run.path / "predictions.jsonl") as file:
            targets = self.task.targets(references, self.assets)
            write_records(records, file, targets)
        save_judged(self.run.path, scores, (record.id for record in records), targets, self.data)
        model = self.kept
        save_figures(self.run.path, self.task.figures(records, references, self.config, self.assets, store, model))
        self.run.write_json("metrics.json", metrics)
        Tracking(self.run).add_test(metrics["scores"])

    def _difference(self, scores: Scores, baseline: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
        """What metrics.json says of the model's difference to the baseline of these scores."""
        resamples, _, _ = load_arrays(self.run.path / "state" / _RESAMPLES)
        return difference_json(scores, resamples, {name: one["value"] for name, one in baseline.items()})

    def _score_last(self) -> dict[str, Any]:
        """What metrics.json says of the last epoch's weights, where they were kept beside the averaged ones; whatever
        is fitted on validation is fitted to them, too."""
        last = self.run.last("trained").get("last")
        if last is None:
            return {}
        self.console.say(f"scoring: the weights of epoch {last['epoch']} as they are, beside the averaged ones …")
        self._load([last])
        assets = self._fitted()
        scores = self._score(self._answers("test", assets), assets)
        return {"last_epoch": {"epoch": last["epoch"], "scores": scores_json(scores)["scores"]}}

    def export(self) -> None:
        """Save the model with its assets, load it again, and see that it says the same."""
        from pipelines.exporting import Exporting

        self._load_trained()  # a run that goes on here has predicted nothing yet
        Exporting(self).export()

    def report(self) -> None:
        """Write the report and the model card from what lies in the folder."""
        from pipelines.report import write_model_card, write_report

        self.run.update_manifest(seconds=self.run.seconds())
        write_model_card(self.run.path)
        write_report(self.run.path)

    @property
    def built(self) -> Any:
        """The model; with the weights to be scored once training is done."""
        if self._built is None:
            with self.runtime.scope():
                built = self._new_model(self.config)
                fresh = "train" not in self.run.finished_stages()
                origin = transfer.prepare(built, self.config, self.data.assets, self.console.say, load=fresh)
            if origin is not None:
                transfer.check_origin(self.run.manifest().get("pretrained"), origin)
                self.run.update_manifest(pretrained=asdict(origin))
            self._keep_encoders(built)
            self._built = built
        return self._built

    def _new_model(self, config: Any) -> Built:
        """Seeded anew, as KerasHub's layers draw their seeds one after the other, and what came before is not always
        the same: a run that is resumed does not read its data again."""
        import keras

        keras.utils.set_random_seed(config.seed)
        built: Built = self.task.build_model(config, self.data.assets)
        return built

    def _keep_encoders(self, built: Built) -> None:
        known = self.run.manifest().get("encoders", {})
        for setting, origin in built.encoders.items():
            transfer.check_origin(known.get(setting), origin, setting)
        if built.encoders:
            self.run.update_manifest(encoders={setting: asdict(one) for setting, one in built.encoders.items()})

    @property
    def kept(self) -> Any:
        """The model that is left, and predicts."""
        from pipelines.devices.steps import kept_model

        return kept_model(self.built)

    @property
    def assets(self) -> Assets:
        """The data's assets and what is fitted after training (on the validation split), if anything is."""
        if self._assets is None and self.task.calibrate is not None:
            self._load_trained()
            self._assets = self._fitted()
        return self._assets or self.data.assets

    def _fitted(self) -> Assets:
        """The same for the weights that the model holds."""
        if self.task.calibrate is None:
            return self.data.assets
        records = self._answers("valid", self.data.assets)
        references = self.task.references(self.data.splits["valid"])
        return self.task.calibrate(self.config, self.data.assets, records, references)

    def predict(self, split: str) -> list[Record]:
        """The trained model's records for a split."""
        self._load_trained()
        return self._answers(split, self.assets)

    def _answers(self, split: str, assets: Assets) -> list[Record]:
        """The records for a split, with the weights that the model holds."""
        predictor = self.task.predictor(self.kept, self.config, assets, {})
        return predict_store(predictor, self.data.splits[split])

    def status(self) -> str:
        """How training ended."""
        return str(self.run.last("trained")["status"])

    def best_epoch(self) -> int:
        """The best epoch on validation."""
        return int(self.run.last("trained")["best_epoch"])

    def _load_trained(self) -> None:
        """The weights of the epochs that are scored, or their mean, into the model."""
        files = self.run.last("trained").get("weights")
        if not files:
            raise StateError(
                f"{self.run.path} was trained by another version of Sixfold: start again with sixfold run --overwrite."
            )
        self._load(files)

    def _load(self, files: Sequence[Mapping[str, Any]]) -> None:
        """The mean of the weights of some files into the model."""
        from pipelines.devices.steps import named

        load_into(named(self.kept.variables), self.run.path / "state", files)
        # What a saved model says of its layers must not depend on the stage that this process began with.
        transfer.unfreeze(self.built, self.config, plan(self.config)[-1].unfreeze, lambda text: None)

    def _score(self, records: list[Record], assets: Assets) -> Scores:
        return self.task.score(records, self.task.references(self.data.splits["test"]), self.config, assets)

    def change(self, **settings: Any) -> None:
        """Replace settings, here and in run.yaml."""
        self.config = self.config.model_copy(update=settings)
        self.run.write_settings(write_config(self.config, self.task_name))
