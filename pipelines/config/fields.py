"""The settings that every task shares, and how a task declares its own."""

import os
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo

from pipelines.config.allowed import allowed, read_value
from pipelines.config.values import (
    BatchSize,
    Columns,
    Rates,
    Require,
    SaveEvery,
    Split,
    Unfreeze,
    required_devices,
)

GROUPS = ("data", "model", "transfer", "training", "runtime")

MOST_BYTES = 255
"""Of a file's name, on the file systems there are."""


Resuming = Literal["fixed", "grows", "free"]
"""Whether a setting may be another when a run goes on: no; upwards; yes, as it decides nothing that is computed."""


def setting(
    default: Any,
    help: str,
    *,
    group: str,
    resuming: Resuming = "fixed",
    aliases: tuple[str, ...] = (),
    **constraints: Any,
) -> Any:
    """A field of a config: default, one sentence of help, the group it is listed under, further names of its option,
    its range (ge, le, gt, lt)."""
    assert group in GROUPS, group
    extra: dict[str, Any] = {"group": group, "resuming": resuming, **({"aliases": list(aliases)} if aliases else {})}
    return Field(default, description=help, json_schema_extra=extra, **constraints)


def group_of(field: FieldInfo) -> str:
    """The group a field is listed under."""
    extra = field.json_schema_extra
    return str(extra["group"]) if isinstance(extra, dict) else "runtime"


def resuming_of(field: FieldInfo) -> Resuming:
    """Whether it may be another when a run goes on."""
    extra = field.json_schema_extra
    return extra["resuming"] if isinstance(extra, dict) else "fixed"  # type: ignore[return-value]


def aliases_of(field: FieldInfo) -> tuple[str, ...]:
    """Further names of its option."""
    extra = field.json_schema_extra
    return tuple(extra.get("aliases", ())) if isinstance(extra, dict) else ()  # type: ignore[arg-type]


_MOST_EPOCHS = 1_000_000


class Settings(BaseModel):
    """Flat settings as a person writes them: as options, or as the lines of a file."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _as_written(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        return read_value(value, allowed(cls.model_fields[info.field_name]))


class RunConfig(Settings):
    """The settings that every task shares. A task's Config inherits them and adds its own."""

    data: str = setting(
        "sample",
        "sample, tfds:NAME, or a path: folder, archive, table, .npz or idx files, as the task takes them.",
        group="data",
    )
    columns: Columns | None = setting(
        None, "Which columns of a table to read, as in image=path or text=review.", group="data"
    )
    group_by: str | None = setting(
        None, "A column of a table: scores are also given for each of its values.", group="data"
    )
    valid: str | None = setting(None, "A further source, for validation.", group="data")
    test: str | None = setting(None, "A further source, for the test.", group="data")
    split: Split = setting(
        (0.8, 0.1, 0.1), "Shares or counts of train, validation and test where the data brings none.", group="data"
    )
    limit: int | None = setting(
        None, "At most this many examples of each split, always the same ones.", group="data", ge=1
    )
    on_bad: Literal["fail", "skip"] = setting(
        "fail",
        "What to do with examples that cannot be read: fail with the list, or skip and count them.",
        group="data",
    )

    pretrained: str | None = setting(
        None,
        "Weights to start from: imagenet or a FILE.weights.h5 (of networks that see images), a KerasHub preset (name, "
        "hf://, kaggle:// or folder), or the folder of another run of this task.",
        group="transfer",
    )
    unfreeze: Unfreeze = setting(
        "all",
        "Which layers of the backbone are trained: none, last:N (its last N layers that have weights), all, or staged: "
        "first none, then more and more from the top.",
        group="transfer",
    )
    stage_rates: Rates = setting(
        (1.0, 0.1, 0.03),
        "Of unfreeze staged: a stage for each number, which the learning rate is multiplied by; the epochs are shared.",
        group="transfer",
    )
    layer_decay: float | None = setting(
        None,
        "Learning rate of each layer of the backbone as a part of that of the layer above it.",
        group="transfer",
        gt=0,
        le=1,
    )
    train_norms: bool = setting(
        False,
        "Train a pretrained backbone's batch norms too; otherwise they keep what they learned, which small batches "
        "would spoil.",
        group="transfer",
    )
    lora_rank: int | None = setting(
        None,
        "Train dense, attention and embedding layers of the backbone by low-rank updates of this rank (LoRA), "
        "with their biases, and nothing else of it.",
        group="transfer",
        ge=1,
    )
    pretrain_on: str | None = setting(
        None,
        "Examples to learn from first without their labels, by filling in what is hidden of them: a folder with files "
        "anywhere below it, or any source that data takes.",
        group="transfer",
    )
    pretrain_epochs: int = setting(10, "Of pretrain_on: passes over those examples.", group="transfer", ge=1)
    pretrain_rate: float = setting(1e-3, "Of pretrain_on: peak learning rate.", group="transfer", gt=0)
    pretrain_mask: float = setting(
        0.6, "Of pretrain_on: share of each example that is hidden.", group="transfer", gt=0, lt=1
    )
    teacher: str | None = setting(
        None,
        "The folder of a finished run of this task, whose answers are learned from besides (distillation).",
        group="transfer",
    )
    teacher_temperature: float = setting(
        2.0, "What the answers of both are softened by, to be compared.", group="transfer", gt=0
    )
    teacher_weight: float = setting(
        0.5, "Share of the teacher in the loss; the rest is the task's own.", group="transfer", gt=0, le=1
    )

    epochs: int = setting(10, "Passes over the training data.", group="training", resuming="grows", ge=1)
    batch_size: BatchSize = setting(
        32,
        "Examples of one update, over all devices; auto: the largest that fits, found by trying (docs/devices.md).",
        group="training",
    )
    accumulate: int = setting(1, "Parts a batch is computed in, to save memory.", group="training", ge=1)
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop", "lion"] = setting(
        "adamw", "The update rule.", group="training"
    )
    learning_rate: float = setting(
        1e-3,
        "Peak learning rate; by default a tenth of this where layers of pretrained weights are trained from the first "
        "step (unfreeze all or last:N).",
        group="training",
        gt=0,
    )
    schedule: Literal["cosine", "noam", "step", "constant", "plateau"] = setting(
        "cosine",
        "How the learning rate falls: cosine to 0, noam by the inverse root of the step, by 10 at 1/2 and 3/4, never, "
        "or when validation stalls.",
        group="training",
    )
    warmup: float = setting(
        0.05, "Share of the steps in which the learning rate rises from 0.", group="training", ge=0, lt=1
    )
    momentum: float = setting(0.9, "Momentum of sgd and rmsprop.", group="training", ge=0, lt=1)
    weight_decay: float = setting(
        0.0, "Decoupled weight decay; biases and norms are left alone.", group="training", ge=0
    )
    l1: float = setting(0.0, "L1 penalty on the kernels.", group="training", ge=0)
    l2: float = setting(0.0, "L2 penalty on the kernels.", group="training", ge=0)
    clip_norm: float | None = setting(None, "Largest global norm of the gradient.", group="training", gt=0)
    average: float | None = setting(
        None,
        "Decay of an exponential moving average of the weights, which is then what is scored.",
        group="training",
        gt=0,
        lt=1,
    )
    average_epochs: int = setting(
        1,
        "Score the mean of the weights of this many epochs, as average_which has it, or of all where there are fewer; "
        "several take the place of average.",
        group="training",
        ge=1,
        le=1_000,
    )
    average_which: Literal["best", "last"] = setting(
        "best", "Whether average_epochs takes the best epochs on validation or the last.", group="training"
    )
    score_last: bool = setting(
        False,
        "Where weights are averaged, score those of the last epoch as they are, too, beside the averaged ones.",
        group="training",
    )
    patience: int | None = setting(
        None, "Stop after this many epochs without a better validation score.", group="training", ge=1
    )
    monitor: Literal["loss", "metric"] = setting(
        "metric", "What chooses the best epoch: the validation loss or the task's first metric.", group="training"
    )

    device: Literal["auto", "cpu", "gpu", "tpu"] = setting(
        "auto",
        "Where to compute; auto: on all GPUs that are visible, else on the processor.",
        group="runtime",
        resuming="free",
    )
    require: Require | None = setting(
        None,
        "gpu or tpu, or with a number, as gpu:2: end at once with exit 4 and the reason where there are not so many, "
        "rather than compute on what there is.",
        group="runtime",
        resuming="free",
    )
    backend: Literal["tensorflow", "jax"] = setting("tensorflow", "The Keras backend.", group="runtime")
    shard_tables: bool = setting(
        False,
        "Split the rows of tables of embeddings, and what the optimizer keeps of them, over the devices, where there "
        "are several (JAX).",
        group="runtime",
        resuming="free",
    )
    model_parallel: int = setting(
        1,
        "Devices that share the kernels of attention and of the dense layers behind it, split by heads and by columns "
        "(JAX). The other devices share the batch.",
        group="runtime",
        resuming="free",
        ge=1,
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = setting(
        "float32",
        "Number format of the layers; auto: the fastest by a few steps of each, measured once (docs/devices.md).",
        group="runtime",
    )
    jit: Literal["auto", "on", "off"] | None = setting(
        None,
        "Compile the step with XLA; by default where no layer is a convolution or recurrent, and on GPUs; auto: "
        "whichever is faster, measured once.",
        group="runtime",
    )
    steps_per_execution: int | None = setting(
        None, "Steps run in one call; by default chosen from the cost of a step.", group="runtime", ge=1
    )
    deterministic: bool = setting(True, "The same bits every time on one machine.", group="runtime")
    seed: int = setting(
        0, "Of the order of examples, augmentation, initial weights and dropout.", group="runtime", ge=0, lt=2**31
    )
    stop_step: int | None = setting(
        None,
        "Stop training after this many updates, pretraining not counted, whatever the schedule still had in store.",
        group="runtime",
        resuming="free",
        ge=1,
    )
    max_minutes: float | None = setting(
        None,
        "Stop training at the first epoch's end after this many minutes; pretraining counts, but is never cut short.",
        group="runtime",
        resuming="free",
        gt=0,
    )
    save_every: SaveEvery = setting(
        "5 minutes",
        "Save the training state this often (steps or a time, as 500 or 5m), besides at every epoch's end.",
        group="runtime",
        resuming="free",
    )
    run_dir: str | None = setting(
        None, "The run's folder; by default runs/TASK/TIME-HASH.", group="runtime", resuming="free"
    )
    overwrite: bool = setting(False, "Replace the run in the same folder.", group="runtime", resuming="free")
    allow_changed_data: bool = setting(
        False,
        "Go on with a run though its data have changed; the epoch that was cut off begins again.",
        group="runtime",
        resuming="free",
    )

    @model_validator(mode="after")
    def _gently(self) -> Self:
        """What was learned elsewhere is lost at the learning rate of a training from scratch (docs/log.md)."""
        trained = self.unfreeze not in ("none", "staged") and self.lora_rank is None
        if self.pretrained is not None and trained and "learning_rate" not in self.model_fields_set:
            # Past the frozen model, and not counted as set: a task may know a better one.
            gentle = round(type(self).model_fields["learning_rate"].default / 10, 9)
            object.__setattr__(self, "learning_rate", gentle)
        return self

    @property
    def open_choices(self) -> tuple[str, ...]:
        """The settings that are yet to be chosen by measuring."""
        return tuple(name for name in ("precision", "jit", "batch_size") if getattr(self, name) == "auto")

    @property
    def averages(self) -> bool:
        """Whether what is scored is an average of weights."""
        return self.average is not None or self.average_epochs > 1

    @model_validator(mode="after")
    def _averaged_once(self) -> Self:
        if self.average_epochs == 1 or self.average is None:
            return self
        if "average" in self.model_fields_set:
            raise ValueError(
                f"average {self.average:g} and average_epochs {self.average_epochs} are two ways to average the "
                "weights: drop one of the two"
            )
        object.__setattr__(self, "average", None)  # and not counted as set
        return self

    @field_validator("run_dir")
    @classmethod
    def _nameable(cls, value: str | None) -> str | None:
        if any(len(os.fsencode(part)) > MOST_BYTES for part in (value or "").split("/")):
            raise ValueError(f"a name in it has more than {MOST_BYTES} bytes: choose a shorter one")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.epochs > _MOST_EPOCHS:
            raise ValueError(f"epochs {self.epochs} are too many: {_MOST_EPOCHS:,} at most")
        if "batch_size" not in self.open_choices and self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}: choose one that is"
            )
        budgets = [name for name in sorted(self.model_fields_set) if name.endswith("_per_batch")]
        if "batch_size" in self.open_choices and any(getattr(self, name) is not None for name in budgets):
            raise ValueError(
                f"batch_size auto counts examples, and {budgets[0]} is another measure: drop one of the two"
            )
        if self.require is not None and self.device not in ("auto", required_devices(self.require)[0]):
            raise ValueError(f"require {self.require} contradicts device {self.device}: drop one of the two")
        split = "shard_tables" if self.shard_tables else "model_parallel" if self.model_parallel > 1 else None
        if split and self.backend != "jax":
            raise ValueError(
                f"{split} is of the JAX backend alone, and this run computes on {self.backend}: add --backend jax, or "
                f"leave {split} out"
            )
        if self.lora_rank and self.unfreeze in ("none", "staged"):
            raise ValueError(f"lora_rank trains layers that unfreeze {self.unfreeze} freezes: drop one of the two")
        if self.lora_rank and self.pretrain_on:
            raise ValueError(
                "lora_rank keeps the backbone's weights, which pretrain_on is there to change: drop one of the two"
            )
        if self.unfreeze == "staged" and self.epochs < len(self.stage_rates):
            raise ValueError(
                f"unfreeze staged has {len(self.stage_rates)} stages (stage_rates) and needs as many epochs; there are "
                f"{self.epochs}"
            )
        if self.unfreeze != "all" and self.pretrained is None and self.pretrain_on is None:
            raise ValueError(
                f"unfreeze {self.unfreeze} freezes layers that have learned nothing: name weights to start from with "
                "pretrained (or examples to learn from with pretrain_on), or leave unfreeze out"
            )
        return self
