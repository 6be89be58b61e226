"""Settings for translation. Imports no TensorFlow."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, model_validator

from pipelines.config import RunConfig, setting
from pipelines.config.options import Options, option
from pipelines.config.values import Columns, check_roles
from pipelines.sources.texts import check_encoding

ROLES = ("source", "target", "group")
"""What columns of a table are mapped to."""
SIZES = {
    "tiny": (4, 128, 256, 4),
    "small": (6, 256, 1_024, 4),
    "base": (6, 512, 2_048, 8),
}
"""Of the transformer: layers of the encoder and as many of the decoder, width, inner width of their dense layers, heads
(tiny: Wu et al., 2021; base: Vaswani et al., 2017)."""
PRESET = "preset"
"""The network that a KerasHub preset holds."""


class PredictOptions(Options):
    """What predict takes of translation; what is left out is as the run has it."""

    beams: int | None = option(
        None, "Translations that are followed at once; 1: the likeliest piece each time.", kind="number", ge=1, le=64
    )
    n_best: int = option(1, "So many translations of each text, best first; beams at most.", kind="number", ge=1, le=64)
    length_penalty: float | None = option(None, "The larger, the longer translations are.", kind="number", ge=0, le=5)
    no_repeat: int | None = option(
        None, "No run of this many pieces stands in a translation twice; 0: any may.", kind="number", ge=0, le=20
    )

    @model_validator(mode="after")
    def _enough_beams(self) -> Self:
        if self.beams is not None and self.n_best > self.beams:
            raise ValueError(f"--n-best {self.n_best} takes as many beams, and --beams is {self.beams}")
        return self


class Config(RunConfig):
    """What can be set for translation."""

    columns: Columns | None = setting(
        None, "Which columns of a table to read, as in source=english target=deutsch.", group="data"
    )
    source_lang: str | None = setting(
        None, "What is translated, as en: the ending of the files' names, a column's name.", group="data"
    )
    target_lang: str | None = setting(None, "What it is translated to, as de.", group="data")
    encoding: Annotated[str, AfterValidator(check_encoding)] = setting(
        "utf-8", "How texts are written in files and tables, as cp1252.", group="data"
    )
    longest_ratio: float = setting(
        9.0,
        "Pairs of which one side has this many times the words of the other (each counted ten more) are no "
        "translations: they are bad examples.",
        group="data",
        gt=1,
    )

    vocabulary: Literal["unigram", "bpe"] = setting(
        "bpe", "How SentencePiece learns the pieces that sentences are cut into.", group="model"
    )
    vocabulary_size: int | None = setting(
        None,
        "Pieces that are learnt from the training sentences, fewer where these do not hold as many; by default one for "
        "every 500 of their letters, from 400 to 8,000.",
        group="model",
        ge=300,
        le=64_000,
    )
    joint: bool = setting(True, "One vocabulary for both languages, whose embeddings are shared.", group="model")
    byte_fallback: bool = setting(True, "Spell signs that training never saw by their bytes.", group="model")
    lowercase: bool = setting(False, "Whether sentences lose their capitals on both sides.", group="model")
    max_tokens: int = setting(
        128,
        "Pieces of a sentence that are trained on; longer pairs are left out and counted.",
        group="model",
        ge=8,
        le=1_024,
    )
    backbone: Literal["transformer", "gru", "preset"] = setting(
        "transformer",
        "transformer (Vaswani et al., 2017, norms first) or gru with attention (Bahdanau et al., 2015); a KerasHub "
        "preset is named with pretrained.",
        group="model",
    )
    size: Literal["tiny", "small", "base"] = setting(
        "tiny", "Of the transformer: 4 + 4 layers of width 128, 6 + 6 of 256, 6 + 6 of 512.", group="model"
    )
    layers: int | None = setting(
        None, "Of encoder and decoder each, if not as size has it.", group="model", ge=1, le=24
    )
    width: int | None = setting(
        None, "Of the embeddings and between layers, if not as size has it.", group="model", ge=8, le=2_048
    )
    heads: int | None = setting(None, "Attention heads, if not as size has it.", group="model", ge=1, le=64)
    keep_pieces: bool = setting(
        True,
        "Starting from a run: cut sentences into its pieces; if not, pieces are learnt from these sentences, and the "
        "embeddings of those that it had too are taken over.",
        group="transfer",
    )
    source_prefix: str | None = setting(
        None,
        "What is put before each source, as a preset was trained with: translate English to German: of the first T5.",
        group="model",
    )
    dropout: float = setting(0.1, "Share of features dropped behind each part of a layer.", group="model", ge=0, lt=1)
    label_smoothing: float = setting(0.1, "Share of the target spread over all pieces.", group="training", ge=0, lt=1)
    tokens_per_batch: int | None = setting(
        4_096,
        "Make batches of this many places for target pieces, by default half as many of few sentences, short ones in "
        "larger batches; none, or batch_size alone: batches of that many pairs.",
        group="training",
        ge=16,
    )
    epochs: int = setting(
        10,
        "Passes over the training data; by default more, up to 100, where they are fewer than 400 updates.",
        group="training",
        resuming="grows",
        ge=1,
    )
    learning_rate: float = setting(
        2e-3,
        "Peak learning rate; by default 0.003 of few sentences, and a tenth of this where layers of pretrained weights "
        "are trained from the first step (unfreeze all or last:N).",
        group="training",
        gt=0,
    )
    monitor: Literal["loss", "metric"] = setting(
        "loss", "What chooses the best epoch: the validation loss or the task's first metric.", group="training"
    )
    average: float | None = setting(
        0.998,
        "Decay of an exponential moving average of the weights, which is then what is scored; by default less where "
        "training is short.",
        group="training",
        gt=0,
        lt=1,
    )
    score_last: bool = setting(
        True,
        "Where weights are averaged, score those of the last epoch as they are, too, beside the averaged ones.",
        group="training",
    )

    beams: int = setting(
        5, "Translations that are followed at once; 1: the likeliest piece each time.", group="model", ge=1, le=64
    )
    length_penalty: float = setting(
        1.0,
        "Power of a translation's length, in pieces, that its log-probability is divided by: the larger, the longer.",
        group="model",
        ge=0,
        le=5,
    )
    no_repeat: int = setting(
        0, "No run of this many pieces stands in a translation twice; 0: any may.", group="model", ge=0, le=20
    )
    length_factor: float = setting(
        2.0, "A translation has at most this many times the pieces of its source, and 10.", group="model", gt=0, le=10
    )
    ter: bool = setting(
        False,
        "Score by the translation edit rate too, which takes minutes for thousands of long sentences.",
        group="runtime",
    )

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        check_roles(self.columns, ROLES)
        if "batch_size" in self.model_fields_set and "tokens_per_batch" not in self.model_fields_set:
            object.__setattr__(self, "tokens_per_batch", None)  # and not counted as set
        if self.backbone == PRESET and self.pretrained is None:
            raise ValueError("backbone preset is the network of a KerasHub preset: name it with pretrained")
        if self.tokens_per_batch is not None and self.tokens_per_batch < self.max_tokens:
            raise ValueError(
                f"tokens_per_batch {self.tokens_per_batch} holds no sentence of max_tokens {self.max_tokens}: raise it"
            )
        width, heads = self.shape[1], self.shape[3]
        if width % (2 * heads):
            raise ValueError(f"width {width} is not a multiple of twice heads {heads}: choose one that is")
        return self

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Layers, width, inner width, heads of the transformer."""
        layers, width, inner, heads = SIZES[self.size]
        if self.width is not None:
            inner = inner // width * self.width
        return self.layers or layers, self.width or width, inner, self.heads or heads
