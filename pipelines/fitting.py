"""The stage `train` of a run: pretraining, then each stage of the training, or a closed form."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines import transfer
from pipelines.checkpoints import LAST, Checkpoints, Kind, State, Unsaved, shared
from pipelines.errors import StateError
from pipelines.stages import Stage, before, plan
from pipelines.state import save_arrays
from pipelines.task import Built, Data, Encoder, Store

if TYPE_CHECKING:
    from pipelines.execution import Execution
    from pipelines.progress import Progress
    from pipelines.training import Trainer


@dataclass(frozen=True)
class Fitting:
    """What a run learns, and how."""

    of: "Execution"
    caches: bool = True
    """Whether the features of a frozen backbone are computed beforehand."""

    def fit(self) -> None:
        """Train, stage by stage, and leave the weights to be scored on disk."""
        from pipelines.training import train

        workers = self.of.runtime.workers
        checkpoints, earlier = self._checkpoints(), self._checkpoints("pretrain")
        if self.of.built.solve is not None:
            if workers.is_chief:
                self._solve(self.of.built.solve, checkpoints)
            return
        state, progress = shared(checkpoints.newest(self.of.console), workers), None
        spent = self._pretrain(earlier) if self.of.config.pretrain_on is not None else 0.0
        for stage in plan(self.of.config):
            reached = state.progress.get("stage", 0) if state else 0
            if stage.number < reached or (progress and progress.status):
                continue
            trainer = self._trainer(stage, checkpoints)
            mine = state if state and stage.number == reached else None
            if self.of.change_of_data is not None and mine is not None:
                self._check_model(trainer, mine)
                trainer = replace(trainer, data_changed=True)
            self.of.keep_change()
            with self.of.interrupts.postponed(workers.largest):
                progress = train(trainer, progress, mine, spent=spent)
        assert progress is not None
        last = self._keep_last(trainer, progress)
        if workers.is_chief:
            self._record_trained(progress, checkpoints, last)
            earlier.remove()

    def _checkpoints(self, kind: Kind = "train") -> Checkpoints:
        return (Checkpoints if self.of.runtime.workers.is_chief else Unsaved)(self.of.run, kind)

    def _record_trained(
        self, progress: "Progress", checkpoints: Checkpoints, last: dict[str, Any] | None = None
    ) -> None:
        """How training ended, and where the weights to be scored are."""
        # A clock decides nothing twice: with the step that it stopped at, the run can be repeated exactly.
        stopped = {"stop_step": progress.step} if progress.status == "stopped by budget" else {}
        self.of.change(max_minutes=None, **stopped)
        self.of.run.record(
            "trained",
            epoch=progress.epoch,
            step=progress.step,
            status=progress.status,
            best_epoch=progress.best_epoch,
            weights=[
                {"epoch": one["epoch"], "file": one["file"], "sha256": checkpoints.digest(one["file"])}
                for one in progress.kept
            ],
            last=last,
        )

    def _solve(self, solve: Callable[[Data], None], checkpoints: Checkpoints) -> None:
        """Compute the weights at once, in place of training. What was cut short is computed again."""
        from pipelines.devices.steps import copies
        from pipelines.progress import Progress

        self.of.keep_change()
        self._say_model(self.of.kept, "solved in closed form, so that there are no epochs")
        solve(self.of.data)
        file = checkpoints.write_now(0, copies(self.of.kept), {"epoch": 0, "step": 0})
        kept = [{"epoch": 0, "file": file, "rank": [0]}]
        self._record_trained(Progress(kept=kept, status="solved"), checkpoints)

    def _keep_last(self, trainer: "Trainer", progress: "Progress") -> dict[str, Any] | None:
        """Write the weights that training ended with, as no average has them, if they are to be scored too."""
        if not (self.of.config.score_last and self.of.config.averages):
            return None
        file = self.of.run.path / "state" / LAST
        about = {"epoch": progress.epoch, "step": progress.step}
        weights = trainer.steps.weights(averaged=False)
        if not self.of.runtime.workers.is_chief:
            return None
        digest = save_arrays(file, weights, about)
        return {"epoch": progress.epoch, "file": LAST, "sha256": digest}

    def _pretrain(self, checkpoints: Checkpoints) -> float:
        """Learn from the examples without labels, or take up what was learned; the seconds that it took.

        Also where the training after it has begun: of layers that it keeps frozen, its own states say nothing.
        """
        from pipelines.devices.settings import StepSettings
        from pipelines.preparation import make_optimizer
        from pipelines.training import Trainer, train

        config, stage = before(self.of.config)
        transfer.unfreeze(self.of.built, config, stage.unfreeze, self.of.console.say)
        with self.of.runtime.scope():
            built = self.of.pretraining.build_model(self.of.built, config, self.of.data.assets)
            optimizer = make_optimizer(config, built.model)
        encoder = self.of.pretraining.encode(config, self.of.data.assets)
        stream = self._stream(self.of.unlabelled.splits["train"], encoder, training=True, partners=False)
        config = self._chosen(config, built.model, stream)
        lengths = stream.order.shapes > 1
        norms = config.accumulate, config.clip_norm
        split = {"shard_tables": config.shard_tables, "model_parallel": config.model_parallel}
        scaled = config.precision == "mixed_float16"
        settings = StepSettings(*norms, jit=config.jit == "on", lengths=lengths, **split, scaled=scaled)
        steps = self.of.runtime.steps(built, optimizer, settings)
        places = self.of.run, config, built, steps, stream, None, self.of.console, self.of.task.unit
        workers = self.of.runtime.workers
        with self.of.interrupts.postponed(workers.largest):
            trainer = Trainer(*places, checkpoints, stage, self.of.interrupts, workers=workers)
            return train(trainer, None, shared(checkpoints.newest(self.of.console), workers)).seconds

    def _check_model(self, trainer: "Trainer", state: State) -> None:
        """Whether the model of the changed data can take the state of the old ones."""
        try:
            trainer.steps.load_state(state.arrays)
        except StateError as error:
            raise StateError(
                "the changed data ask for another model, of other classes or sizes, and the saved state does not fit: "
                "restore them, or start a new run with --pretrained from this one's folder once it is finished."
            ) from error

    def _trainer(self, stage: Stage, checkpoints: Checkpoints) -> "Trainer":
        """Everything that a stage needs: its layers unfrozen, its optimizer new."""
        from pipelines.devices.settings import StepSettings
        from pipelines.preparation import choose_fused, make_optimizer
        from pipelines.training import Trainer
        from pipelines.transfer.freezing import layer_rates

        built: Built = self.of.built
        if not stage.is_final or stage.number:
            self.of.console.say(stage.sentence)
        transfer.unfreeze(built, self.of.config, stage.unfreeze, self.of.console.say)
        streams = {}
        for split, training in (("train", True), ("valid", False)):
            encoder = self.of.task.encode(self.of.config, self.of.data.assets, training)
            streams[split] = self._stream(self.of.data.splits[split], encoder, training=training)
        if stage.unfreeze == "none" and self.of.config.lora_rank is None and self.caches:
            built, streams = self._with_features(built, streams)
        decay = self.of.config.layer_decay
        rates = layer_rates(built.model, built.head, decay) if decay is not None and built.head else ()
        with self.of.runtime.scope():
            built = self._taught(built)
            optimizer = make_optimizer(self.of.config, built.model)
        config = self._settle(built.model, streams["train"], stage)
        jit = config.jit == "on"
        lengths = any(stream.order.shapes > 1 for stream in streams.values())
        norms = config.accumulate, config.clip_norm, config.l1, config.l2
        fused = choose_fused(config, built.model, self.of.runtime.device)
        rows = len(set(streams["train"].batching.batch_sizes)) > 1
        tables, parallel = config.shard_tables, config.model_parallel
        more = tables, rows, parallel, config.precision == "mixed_float16"
        settings = StepSettings(*norms, config.average, jit, rates, lengths, fused, *more)
        steps = self.of.runtime.steps(built, optimizer, settings)
        run, console, unit = self.of.run, self.of.console, self.of.task.unit
        places = run, config, built, steps, streams["train"], streams["valid"], console, unit
        return Trainer(*places, checkpoints, stage, self.of.interrupts, workers=self.of.runtime.workers)

    def _with_features(self, built: Built, streams: dict[str, Any]) -> tuple[Built, dict[str, Any]]:
        """The head alone, on what the frozen backbone makes of the examples, where it makes the same in every epoch."""
        from pipelines.transfer.features import cached
        from pipelines.transfer.freezing import head_layers

        if built.cacheable and built.head and self.of.config.teacher is None:
            folder = self.of.run.path / "state"
            return cached(built, streams, folder, self.of.data.fingerprint, self.of.console)
        if built.head and head_layers(built.model, built.head):
            why = "the teacher sees them too" if self.of.config.teacher else f"training varies the {self.of.task.unit}s"
            self.of.console.say(f"features: computed in every epoch, as {why}; without that, once")
        return built, streams

    def _taught(self, built: Built) -> Built:
        """What is trained with the teacher beside it, if there is one."""
        if self.of.config.teacher is None:
            return built
        from pipelines.transfer.distillation import check_lineage, load_teacher

        assert self.of.task.distil is not None
        teacher, lineage = load_teacher(self.of.config.teacher, self.of.task_name)
        check_lineage(self.of.run.manifest().get("teacher"), lineage)
        self.of.run.update_manifest(teacher=asdict(lineage))
        self.of.console.say(f"teacher: {lineage.source}: {lineage.score['name']} {lineage.score['value']:.4f}")
        return self.of.task.distil(built, teacher, self.of.config, self.of.data.assets)

    def _stream(self, store: Store, encoder: Encoder, *, training: bool, partners: bool = True) -> Any:
        from pipelines.stream import Share, Stream

        batching = self.of.task.batching(self.of.config)
        batching = replace(batching, partners=batching.partners and partners)
        workers, parts = self.of.runtime.workers, self.of.config.accumulate if training else 1
        share = Share(workers.rank, workers.count, parts, self.of.runtime.shares)
        return Stream(
            store, encoder, batching, self.of.config.seed, training=training, share=share, alike=self.of.runtime.alike
        )

    def _settle(self, model: Any, stream: Any, stage: Stage) -> Any:
        """The config with what is chosen automatically; it stands in run.yaml before the first step, where there is
        only one stage to choose for."""
        config = self._chosen(self.of.config, model, stream)
        steps, jit = config.steps_per_execution, config.jit
        if stage.is_final and not stage.number and config.pretrain_on is None:
            self.of.change(jit=jit, steps_per_execution=steps)
        shared = jit == "on" and config.backend == "tensorflow" and self.of.runtime.shares > 1
        self._say_model(model, f"steps a call: {steps}, XLA {'off, as several replicas compute' if shared else jit}")
        return config

    def _say_model(self, model: Any, how: str) -> None:
        """What is learnt, here and in the manifest."""
        whole = self.of.kept
        trainable = int(sum(np.prod(v.shape) for v in model.trainable_variables))
        about = {"name": whole.name, "parameters": whole.count_params(), "trainable": trainable}
        self.of.run.update_manifest(model=about)
        self.of.console.say(f"model: {whole.name}, {trainable:,} trainable parameters; {how}")

    def _chosen(self, config: Any, model: Any, stream: Any) -> Any:
        """The config with what is chosen for one model and its batches."""
        from pipelines.preparation import choose_jit, choose_steps

        about = config, model, self.of.runtime.device, stream.order.shapes, self.of.built.gains_by_xla
        replicas = config.jit != "on" and self.of.runtime.shares > 1  # the steps of replicas are not compiled
        jit = "on" if config.backend == "jax" or (not replicas and choose_jit(*about)) else "off"
        steps = config.steps_per_execution
        if steps is None:  # the others may have longer rows in the first batch
            steps = self.of.runtime.workers.largest(choose_steps(model, stream, config.batch_size))
        return config.model_copy(update={"jit": jit, "steps_per_execution": steps})
