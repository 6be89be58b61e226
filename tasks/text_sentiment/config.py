"""Settings for text sentiment. Imports no TensorFlow."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, model_validator

from pipelines.config import RunConfig, setting
from pipelines.sources.texts import check_encoding

PRESET = "preset"
"""The network that a KerasHub preset holds."""
IMAGE_WEIGHTS = ("imagenet", ".h5")
"""How `pretrained` ends where it names weights of networks that see images."""


class Config(RunConfig):
    """What can be set for text sentiment."""

    epochs: int = setting(
        6,
        "Passes over the training data; by default more, up to 30, where they are fewer than 300 updates, and as "
        "pretrained weights are tuned.",
        group="training",
        resuming="grows",
        ge=1,
    )
    average: float | None = setting(
        0.999,
        "Decay of an exponential moving average of the weights, which is then what is scored.",
        group="training",
        gt=0,
        lt=1,
    )
    encoding: Annotated[str, AfterValidator(check_encoding)] = setting(
        "utf-8", "How texts are written in files and tables, as cp1252.", group="data"
    )
    vocabulary_size: int = setting(
        8_000, "Pieces of words that are learnt from the training texts.", group="model", ge=100, le=60_000
    )
    lowercase: bool = setting(
        True, "Whether learnt pieces know no capitals; a preset's tokenizer is as it was.", group="model"
    )
    max_tokens: int = setting(
        256,
        "Tokens of a text, or of a window of it, that the model sees; of a preset at most what it can take.",
        group="model",
        ge=8,
        le=8_192,
    )
    long: Literal["truncate-tail", "truncate-head", "head-tail", "windows"] = setting(
        "truncate-tail",
        "What becomes of longer texts: the tail is cut off, or the head, or the middle behind a first quarter; "
        "windows: all of it is seen, and the scores of its windows are averaged.",
        group="model",
    )
    max_windows: int = setting(8, "Of windows: at most this many; the rest is cut off.", group="model", ge=1, le=64)
    tokens_per_batch: int | None = setting(
        None,
        "Make batches of this many tokens, short texts in larger ones, in place of batch_size texts.",
        group="training",
        ge=16,
    )
    ordered: Literal["auto", "yes", "no"] = setting(
        "auto", "Whether the labels are grades, as stars; auto: where they are three numbers or more.", group="data"
    )
    backbone: Literal["cnn", "bag", "bilstm", "bigru", "transformer", "preset"] = setting(
        "cnn",
        "cnn (Kim, 2014), bag (mean of embeddings), bilstm, bigru, or a small transformer; a KerasHub preset is named "
        "with pretrained.",
        group="model",
    )
    embedding: int = setting(128, "Numbers that each piece of a word is embedded in.", group="model", ge=4, le=1_024)
    width: int = setting(
        128, "Filters of each kernel of cnn, units of bilstm and bigru each way.", group="model", ge=4, le=1_024
    )
    layers: int = setting(2, "Layers of transformer.", group="model", ge=1, le=24)
    heads: int = setting(4, "Attention heads of transformer.", group="model", ge=1, le=64)
    word_dropout: float = setting(
        0.2, "Share of the pieces of a training text that are hidden, but for presets.", group="model", ge=0, lt=1
    )
    dropout: float = setting(0.5, "Share of features dropped before the last layer.", group="model", ge=0, lt=1)
    loss: Literal["cross-entropy", "focal"] = setting(
        "cross-entropy", "What is minimised; focal: examples that are right already count less.", group="training"
    )
    focal_gamma: float = setting(
        2.0, "How much less: the power of focal, of which 0 is cross-entropy.", group="training", ge=0, le=10
    )
    label_smoothing: float = setting(0.0, "Share of the target spread over all classes.", group="training", ge=0, lt=1)
    class_weights: Literal["none", "balanced"] = setting(
        "none", "balanced: every class counts the same in the loss, however rare.", group="training"
    )
    baseline_iterations: int = setting(
        100, "Most iterations of the logistic regression beside the model.", group="training", ge=1
    )

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if (self.pretrained or "").endswith(IMAGE_WEIGHTS):
            raise ValueError(
                f"pretrained {self.pretrained} is for networks that see images: name a KerasHub preset of texts, or "
                "the folder of another run"
            )
        if self.backbone == PRESET and self.pretrained is None:
            raise ValueError("backbone preset is the network of a KerasHub preset: name it with pretrained")
        if self.backbone == "transformer" and self.embedding % self.heads:
            raise ValueError(f"embedding {self.embedding} is not a multiple of heads {self.heads}: choose one that is")
        if self.tokens_per_batch is not None and self.tokens_per_batch < self.max_tokens:
            raise ValueError(
                f"tokens_per_batch {self.tokens_per_batch} holds no text of max_tokens {self.max_tokens}: raise it"
            )
        return self
