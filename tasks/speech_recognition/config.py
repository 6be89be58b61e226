"""Settings for speech recognition. Imports no TensorFlow."""

from collections.abc import Collection
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, model_validator

from pipelines.config import RunConfig, setting
from pipelines.config.options import Options, option
from pipelines.config.values import Columns, check_roles
from pipelines.sources.texts import check_encoding

ROLES = ("audio", "text", "speaker", "duration", "offset", "group")
"""What columns of a manifest are mapped to."""
SIZES = {
    "tiny": (4, 96, 2),
    "small": (8, 144, 4),
    "base": (16, 256, 4),
}
"""Of the conformer: layers, width, heads (small: half as deep as S of Gulati et al., 2020, table 1; base: M)."""
PRESET = "preset"
"""The backbone that `pretrained` brings."""
CTC, GENERATE = "ctc", "generate"
"""What turns the encoder's answers into text."""
_ONLY_WITH = (
    ("decoder", CTC, ("units", "vocabulary_size", "dropout", "language_model")),
    ("decoder", GENERATE, ("pieces_per_second",)),
    ("units", "pieces", ("vocabulary_size",)),
    ("backbone", "conformer", ("size", "heads")),
)
"""A setting, and which do nothing where it is another."""
MOST_RATE = 16_000
"""Samples a second that a run keeps at most, where rate is not given: what speech models are trained on."""


def check_halved(value: int) -> int:
    """How often frames are halved."""
    if value not in (2, 4, 8):
        raise ValueError(f"takes 2, 4 or 8, and {value} is none of them: frames are halved")
    return value


class PredictOptions(Options):
    """What predict takes of speech recognition; what is left out is as the run has it."""

    beams: int | None = option(
        None, "Transcripts that are followed at once; 1: the likeliest sign each time.", kind="number", ge=1, le=256
    )
    lm_weight: float | None = option(
        None, "How much the language model counts against the sound; 0: not at all.", kind="number", ge=0, le=10
    )
    timestamps: bool = option(
        False, "Say of each word when it begins and ends, and how sure it is.", kind="flag", off="no-timestamps"
    )


class Config(RunConfig):
    """What can be set for speech recognition."""

    columns: Columns | None = setting(
        None, "Which columns of a manifest to read, as in audio=path text=sentence speaker=client_id.", group="data"
    )
    encoding: Annotated[str, AfterValidator(check_encoding)] = setting(
        "utf-8", "How transcripts are written in files and tables, as cp1252.", group="data"
    )
    rate: int | None = setting(
        None,
        "Samples a second that all sound is resampled to; by default what most files have, 16,000 at most.",
        group="data",
        ge=4_000,
        le=48_000,
    )
    min_seconds: float = setting(0.1, "Clips that are shorter are bad examples.", group="data", ge=0, le=10)
    max_seconds: float = setting(
        30.0,
        "Clips that are trained on have so many seconds at most; longer ones are left out and their seconds counted.",
        group="data",
        gt=0,
        le=600,
    )
    lowercase: bool = setting(False, "Whether transcripts lose their capitals.", group="data")

    mels: int = setting(80, "Mel bands of the spectrogram that the model sees.", group="model", ge=8, le=256)
    window_ms: float = setting(25.0, "Milliseconds of sound that a frame looks at.", group="model", ge=5, le=100)
    hop_ms: float = setting(10.0, "Milliseconds from frame to frame.", group="model", ge=2.5, le=50)
    subsampling: Annotated[int, AfterValidator(check_halved)] = setting(
        4,
        "Frames of the spectrogram that become one, of which each says one character at most: 2, 4 or 8.",
        group="model",
    )
    normalization: Literal["loudness", "utterance", "global"] = setting(
        "loudness",
        "What each mel band is shifted and scaled by: the clip's own mean and deviation, each frame counted by its "
        "loudness, so that pauses matter little, or all alike (utterance), or training's (global).",
        group="model",
    )
    decoder: Literal["ctc", "generate"] = setting(
        "ctc",
        "What writes: ctc, a new head behind the encoder, or generate, the decoder that a Moonshine preset has, a "
        "piece of its own tokenizer after the other; of such a preset generate by default.",
        group="model",
    )
    units: Literal["characters", "pieces"] = setting(
        "characters",
        "What is written down one after the other: characters (a letter with its marks is one), or SentencePiece "
        "pieces.",
        group="model",
    )
    vocabulary_size: int = setting(
        500,
        "Of units pieces: so many at most are learnt from the training transcripts.",
        group="model",
        ge=300,
        le=8_000,
    )
    backbone: Literal["gru", "conformer", "preset"] = setting(
        "gru",
        "gru (convolutions and bidirectional GRUs) or conformer (Gulati et al., 2020); a KerasHub preset is named with "
        "pretrained.",
        group="model",
    )
    size: Literal["tiny", "small", "base"] = setting(
        "tiny", "Of conformer: 4 layers of width 96, 8 of 144, 16 of 256.", group="model"
    )
    layers: int | None = setting(
        None, "Layers behind the convolutions: 2 of gru; of conformer as size has it.", group="model", ge=1, le=24
    )
    width: int | None = setting(
        None, "Units of gru each way, 192; of conformer as size has it.", group="model", ge=8, le=1_024
    )
    heads: int | None = setting(
        None, "Attention heads of conformer, if not as size has it.", group="model", ge=1, le=64
    )
    dropout: float = setting(0.25, "Share of features dropped between layers.", group="model", ge=0, lt=1)

    seconds_per_batch: float | None = setting(
        160.0,
        "Make batches of this many seconds of sound, short clips in larger ones, by default less of few clips; none, "
        "or batch_size alone: batches of that many clips.",
        group="training",
        gt=0,
    )
    time_masks: int = setting(
        2,
        "Stretches of a training clip that are hidden (SpecAugment; Park et al., 2019).",
        group="training",
        ge=0,
        le=20,
    )
    time_mask: float = setting(
        0.05, "Most of a clip that each of time_masks hides, as a share of it.", group="training", gt=0, le=0.5
    )
    mel_masks: int = setting(2, "Ranges of mel bands that are hidden.", group="training", ge=0, le=10)
    mel_mask: float = setting(
        0.2, "Most of the bands that each of mel_masks hides, as a share of them.", group="training", gt=0, le=0.5
    )
    speed: float = setting(
        0.1, "Training clips are played slower or faster by up to this share.", group="training", ge=0, le=0.3
    )
    joined: float = setting(
        0.5,
        "Share of the training clips that go on, as long recordings do: a pause before or behind them, and another "
        "clip beyond it, where that is not much longer.",
        group="training",
        ge=0,
        le=1,
    )
    noise: float = setting(
        0.3, "Share of the training clips that white noise is mixed into.", group="training", ge=0, le=1
    )
    noise_snr: tuple[float, float] = setting(
        (10.0, 40.0), "Of noise: how many decibels the speech is louder, from and to.", group="training"
    )
    epochs: int = setting(30, "Passes over the training data.", group="training", resuming="grows", ge=1)
    learning_rate: float = setting(
        1e-3,
        "Peak learning rate; by default a tenth of this where layers of pretrained weights are trained from the first "
        "step (unfreeze all or last:N).",
        group="training",
        gt=0,
    )
    clip_norm: float | None = setting(5.0, "Largest global norm of the gradient.", group="training", gt=0)
    monitor: Literal["loss", "metric"] = setting(
        "metric", "What chooses the best epoch: the validation loss or the task's first metric.", group="training"
    )
    average: float | None = setting(
        0.998,
        "Decay of an exponential moving average of the weights, which is then what is scored.",
        group="training",
        gt=0,
        lt=1,
    )

    beams: int = setting(
        1, "Transcripts that are followed at once; 1: the likeliest sign each time.", group="model", ge=1, le=256
    )
    pieces_per_second: float | None = setting(
        None,
        "Of decoder generate: a transcript has at most so many pieces for each second of sound, and 10; by default "
        "6.5, or as many as the training transcripts have.",
        group="model",
        gt=0,
        le=100,
    )
    language_model: Literal["none", "characters", "words"] = setting(
        "none", "An n-gram model of the training transcripts that the beams are judged by too.", group="model"
    )
    lm_order: int = setting(5, "Of the language model: the n of its n-grams.", group="model", ge=1, le=10)
    lm_weight: float = setting(0.5, "How much the language model counts against the sound.", group="model", ge=0, le=10)
    length_bonus: float = setting(
        0.5,
        "What each character, or word of language_model words, adds to the score of a beam.",
        group="model",
        ge=-10,
        le=10,
    )
    chunk_seconds: float = setting(
        30.0, "Longer sound is recognised in overlapping chunks of this many seconds.", group="model", ge=2, le=600
    )
    overlap_seconds: float = setting(
        4.0,
        "Of two chunks that follow each other; of decoder generate how far from its end the quietest place, where a "
        "chunk ends then, is looked for.",
        group="model",
        ge=0.5,
        le=60,
    )

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        check_roles(self.columns, ROLES)
        self._of_the_network()
        if "batch_size" in self.model_fields_set and "seconds_per_batch" not in self.model_fields_set:
            object.__setattr__(self, "seconds_per_batch", None)  # and not counted as set
        if self.seconds_per_batch is not None and self.seconds_per_batch < self.max_seconds:
            raise ValueError(
                f"seconds_per_batch {self.seconds_per_batch:g} holds no clip of max_seconds {self.max_seconds:g}: "
                "raise it"
            )
        if self.min_seconds >= self.max_seconds:
            raise ValueError(
                f"min_seconds {self.min_seconds:g} leaves nothing below max_seconds {self.max_seconds:g}: lower it"
            )
        if self.language_model != "none" and self.beams == 1:
            raise ValueError(f"language_model {self.language_model} has one beam to choose from: add --beams 16")
        if 2 * self.overlap_seconds > self.chunk_seconds:
            raise ValueError(
                f"overlap_seconds {self.overlap_seconds:g} is more than half of chunk_seconds "
                f"{self.chunk_seconds:g}: lower it"
            )
        if self.noise_snr[0] > self.noise_snr[1]:
            raise ValueError(f"noise_snr runs from {self.noise_snr[0]:g} to {self.noise_snr[1]:g}: turn the two round")
        return self

    def _of_the_network(self) -> None:
        if self.pretrained is None:  # which may bring what these go with
            if self.backbone == PRESET:
                raise ValueError("backbone preset is the encoder of a KerasHub preset: name it with pretrained")
            if self.decoder == GENERATE:
                raise ValueError("decoder generate is that of a Moonshine preset: name it with pretrained")
            if idle := without_effect(self, self.model_fields_set):
                raise ValueError(idle)
        if self.hop_ms > self.window_ms:
            raise ValueError(f"hop_ms {self.hop_ms:g} leaves sound between windows of {self.window_ms:g} ms: lower it")
        if self.backbone == "conformer" and self.shape[1] % (2 * self.shape[2]):
            raise ValueError(
                f"width {self.shape[1]} is not a multiple of twice heads {self.shape[2]}: choose one that is"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Layers, width and heads of the backbone."""
        layers, width, heads = SIZES[self.size] if self.backbone == "conformer" else (2, 192, 1)
        return self.layers or layers, self.width or width, self.heads or heads

    @property
    def stride_seconds(self) -> float:
        """From one answer of the network to the next: of n seconds it gives ceil(n / stride_seconds)."""
        return self.subsampling * self.hop_ms / 1_000


def without_effect(config: Config, asked: Collection[str]) -> str | None:
    """What to say of the first setting that was asked for and does nothing beside the others, if there is one."""
    fields = type(config).model_fields
    for other, needed, names in _ONLY_WITH:
        if getattr(config, other) != needed:
            for name in names:
                if name in asked and getattr(config, name) != fields[name].default:
                    return (
                        f"{name} {getattr(config, name)} does nothing with {other} {getattr(config, other)}: leave it "
                        f"out, or add --{other} {needed}"
                    )
    return None
