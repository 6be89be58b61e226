"""One run, from its config to its report: a ledger of stages, each done once; where a run was cut off, it starts again."""

import shlex
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np

from pipelines import devices, registry
from pipelines.api import Result
from pipelines.artefact import load_model, save_model
from pipelines.config import RunConfig, load_config, shown, write_config
from pipelines.console import Console
from pipelines.errors import ConfigError, RunError, StateError
from pipelines.evaluation import Head, metrics_json, predict_store, scores_json
from pipelines.runs import Run, open_run, start_manifest
from pipelines.state import write_bytes
from pipelines.task import Assets, Data, Record, Scores

_PARITY_EXAMPLES = 64
_MAY_DIFFER = {"run_dir", "overwrite", "max_minutes", "stop_step"}
"""Settings that say nothing about what a run computes up to where it stops."""


def execute(task_name: str, config: RunConfig, command: list[str]) -> Result:
    """Run a task to its report.

    Raises:
        SixfoldError: with the exit code that fits.
    """
    run = open_run(config.run_dir, task_name, write_config(config, task_name))
    if config.overwrite:
        _empty(run)
    config = _continued(run, task_name, config)
    if run.finished:
        Console().say(f"{run.path} is finished: nothing to do.")
        return finished_result(run)
    execution = _prepare(run, task_name, config, command)
    for name, stage in execution.stages().items():
        if name not in run.finished_stages():
            with run.stage(name):
                stage()
    run.record("end", status=execution.status(), best_epoch=execution.best_epoch())
    run.update_manifest(seconds=run.seconds(), files=run.checksums())
    result = finished_result(run)
    _say_result(execution.console, run, result)
    return result


def finished_result(run: Run) -> Result:
    """What a finished run says of itself."""
    metrics = run.read_json("metrics.json")
    return Result(run.path, metrics, run.path / "report.html")


class _Execution:
    """The stages of one run and what they hand on to each other."""

    def __init__(self, run: Run, task_name: str, config: Any, runtime: devices.Runtime, console: Console) -> None:
        self.run, self.task_name, self.config, self.runtime, self.console = run, task_name, config, runtime, console
        self.task = registry.task(task_name)
        self._data: Data | None = None
        self._built: Any = None
        self._assets: Assets | None = None
        self._records: dict[str, list[Record]] = {}

    def stages(self) -> dict[str, Callable[[], None]]:
        """The ledger, in order."""
        return {
            "data": self.read_data, "train": self.train, "baseline": self.fit_baseline,
            "score": self.score, "export": self.export, "report": self.report,
        }  # fmt: skip

    @property
    def data(self) -> Data:
        """Read once; checked against the fingerprint that the run began with."""
        if self._data is None:
            self._data = self.task.load_data(self.config)
            known = self.run.read_json("manifest.json").get("fingerprint")
            if known not in (None, self._data.fingerprint):
                raise StateError(f"the data has changed since {self.run.path} began: choose another --run-dir, or --overwrite.")
        return self._data

    def read_data(self) -> None:
        """Read the data; write run.yaml with all that it decides."""
        data = self.data
        self.config = self.task.resolve(self.config, data)
        self._write_settings()
        self.run.update_manifest(data=data.summary, fingerprint=data.fingerprint)
        counts = ", ".join(f"{name} {len(store):,}" for name, store in data.splits.items())
        self.console.say(f"data: {self.config.data}: {counts} {self.task.unit}s. {data.protocol}")
        for warning in data.summary.get("warnings", []):
            self.console.say(f"warning: {warning}")

    def train(self) -> None:
        """Train, and leave the best weights on disk."""
        from pipelines.devices.settings import StepSettings
        from pipelines.stream import Stream
        from pipelines.training import Trainer, choose_jit, choose_steps, make_optimizer, train

        config, batching = self.config, self.task.batching(self.config)
        streams = {
            name: Stream(self.data.splits[name], self.task.encode(config, self.data.assets, training), batching, config.seed, training=training)
            for name, training in (("train", True), ("valid", False))
        }
        built = self.built
        with self.runtime.scope():
            optimizer = make_optimizer(config, built.model)
        jit = choose_jit(config, built.model, self.runtime.device)
        config = config.model_copy(update={
            "jit": "on" if jit else "off",
            "steps_per_execution": config.steps_per_execution or choose_steps(built.model, streams["train"], config.batch_size),
        })  # fmt: skip
        self.config = config
        self._write_settings()
        self._say_model()
        settings = StepSettings(config.accumulate, config.clip_norm, config.l1, config.l2, config.average, jit)
        steps = self.runtime.steps(built, optimizer, settings)
        progress = train(Trainer(self.run, config, built, steps, streams["train"], streams["valid"], self.console, self.task.unit))
        if progress.status == "stopped by budget":
            # With the step it stopped at, the run can be repeated exactly.
            self.config = config.model_copy(update={"stop_step": progress.step, "max_minutes": None})
            self._write_settings()
        self.run.record("trained", status=progress.status, epoch=progress.epoch, step=progress.step, best_epoch=progress.best_epoch)

    def fit_baseline(self) -> None:
        """Fit the classical model and score it on the same split."""
        with self.console.bar("baseline", None, "") as _:
            baseline = self.task.baseline(self.config, self.data)
            scores = self._score(predict_store(baseline.predictor, self.data.splits["test"]), self.data.assets)
        self.run.write_json("baseline.json", {"name": baseline.name, "note": baseline.note, **scores_json(scores)})

    def score(self) -> None:
        """Score the best epoch on the test split, calibrated on validation."""
        from pipelines.predict import write_records
        from pipelines.report import save_figures

        records = self.predict("test")
        scores = self._score(records, self.assets)
        metrics = metrics_json(self.task_name, scores, self.data, len(records))
        baseline = self.run.read_json("baseline.json")
        metrics["baseline"] = {key: baseline[key] for key in ("name", "note", "scores")}
        with (self.run.path / ".predictions.jsonl").open("w", encoding="utf-8") as file:
            write_records(records, file, "jsonl", self.task.answer)
        (self.run.path / ".predictions.jsonl").replace(self.run.path / "predictions.jsonl")
        store = self.data.splits["test"]
        save_figures(self.run.path, self.task.figures(records, self.task.references(store), self.config, self.assets, store))
        self.run.write_json("metrics.json", metrics)

    def export(self) -> None:
        """Save the model with its assets, load it again, and see that it says the same."""
        save_model(self.run, self.built.model, self.assets)
        model, assets = load_model(self.run)
        store = Head(self.data.splits["test"], _PARITY_EXAMPLES)
        before = predict_store(self.task.predictor(self.built.model, self.config, self.assets, {}), store)
        again = predict_store(self.task.predictor(model, self.config, assets, {}), store)
        for old, new in zip(before, again, strict=True):
            if old.answer != new.answer:
                raise RunError(f"the saved model does not repeat its answer for {old.id}: {old.answer} became {new.answer}.")

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
                self._built = self.task.build_model(self.config, self.data.assets)
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
        from pipelines.state import load_arrays

        weights, _ = load_arrays(self.run.best)
        for name, variable in named(self.built.model.variables).items():
            if name not in weights:
                raise StateError(f"{self.run.best} does not fit the model ({name} is missing): start again with --overwrite.")
            variable.assign(weights[name])

    def _score(self, records: list[Record], assets: Assets) -> Scores:
        return self.task.score(records, self.task.references(self.data.splits["test"]), self.config, assets)

    def _write_settings(self) -> None:
        write_bytes(self.run.settings, write_config(self.config, self.task_name).encode())

    def _say_model(self) -> None:
        model = self.built.model
        trainable = int(sum(np.prod(v.shape) for v in model.trainable_variables))
        self.run.update_manifest(model={"name": model.name, "parameters": model.count_params(), "trainable": trainable})
        steps = self.config.steps_per_execution
        self.console.say(f"model: {model.name}, {trainable:,} trainable parameters; {steps} step(s) a call, XLA {self.config.jit}")


def _prepare(run: Run, task_name: str, config: RunConfig, command: list[str]) -> _Execution:
    """Start the devices, then write down what is about to happen."""
    console = Console()
    runtime = devices.start(config)
    console.say(f"device: {runtime.description}")
    console.say(f"run: {run.path}")
    if not run.settings.exists():
        run.write_json("manifest.json", start_manifest(task_name, run.path, command, config.seed, runtime.description))
        write_bytes(run.settings, write_config(config, task_name).encode())
    return _Execution(run, task_name, config, runtime, console)


def _continued(run: Run, task_name: str, config: RunConfig) -> RunConfig:
    """The config to go on with: the given one in a new folder, the run's own (which must agree) in an existing one."""
    config = config.model_copy(update={"run_dir": None, "overwrite": False})
    if not run.settings.exists():
        if any(run.path.iterdir()):
            raise ConfigError(f"run_dir: {run.path} is not empty and no run folder: choose another.")
        return config
    began = load_config(task_name, file=run.settings).config
    different = [
        f"{name} {shown(getattr(began, name))} there, {shown(value)} here"
        for name, value in config
        if name not in _MAY_DIFFER and value not in (None, "auto", getattr(began, name))
    ]
    if different:
        raise ConfigError(
            f"run_dir: {run.path} holds a run with other settings ({'; '.join(different)}): choose another folder, or replace it with --overwrite."
        )
    return began


def _empty(run: Run) -> None:
    """Remove the run that is to be overwritten; anything that is no run is left alone."""
    if run.settings.exists():
        shutil.rmtree(run.path)
        run.path.mkdir()


def _say_result(console: Console, run: Run, result: Result) -> None:
    """The last lines: the score beside the baseline, the report, the command to paste."""
    metrics = result.metrics
    name, score = metrics["headline"], metrics["scores"][metrics["headline"]]
    baseline = metrics["baseline"]
    other = baseline["scores"][name]["value"]
    verdict = "" if score["value"] > other else "  The model does not beat its baseline."
    console.say("")
    console.say(
        f"{name} {score['value']:.4f} ({score['low']:.4f} to {score['high']:.4f}) on {metrics['examples']:,} test examples; "
        f"baseline {other:.4f} ({baseline['name']}).{verdict}"
    )
    console.say(f"report: {result.report}")
    console.say(f"predict: sixfold predict {shlex.quote(str(run.path))} INPUT")
