"""What the preset or the run to start from, and the data, imply for the settings that were left out."""

import math
from functools import cache
from pathlib import Path
from typing import Any

from pipelines.artefact import read_settings
from pipelines.errors import ConfigError
from pipelines.runs import Run
from pipelines.task import Data
from pipelines.transfer import kind_of
from tasks.translation.config import PRESET, Config

_OURS = (
    *("size", "layers", "width", "heads", "dropout"),
    *("vocabulary", "vocabulary_size", "joint", "byte_fallback"),
)
"""What is of our own networks and vocabularies alone."""
_OF_PIECES = ("vocabulary", "vocabulary_size", "joint", "byte_fallback", "lowercase")
_OF_THE_MODEL = (*_OURS, "backbone", "lowercase", "max_tokens", "source_prefix")
_TUNED: dict[str, Any] = {"weight_decay": 0.01, "warmup": 0.1, "average": None}
_TOKENS_OF_PRESETS = 1_024
"""Their vocabularies are large: a place takes as many logits, each kept more than once."""
_RATES = {"T5Backbone": 3e-4}
_RATE_OF_OTHERS = 5e-5
"""Of AdamW, where all layers of a preset are trained (Raffel et al., 2020, took more, of Adafactor; Lewis et al., 2020,
fine-tuned BART at 3e-5)."""
_UPDATES = 400
"""From scratch: fewer leave a translator that repeats itself."""
_MOST_EPOCHS = 100
_FEW = 200_000
"""Places for pieces of all training pairs, under which batches are half as large and the learning rate is higher, or
the updates would take too long."""
_TOKENS, _RATE = 2_048, 3e-3
_WINDOW = 10
"""Windows of the averaged weights that a training has at least."""


def imply(config: Config) -> Config:
    """The config with the model of what `pretrained` names, a preset or a run, where it was not set.

    Raises:
        ConfigError: that is another network, or has another vocabulary, than was set.
        DataError: a preset cannot be had.
    """
    update: dict[str, Any] = {}
    if config.pretrained is not None:
        update = _of_a_run(config) if kind_of(config.pretrained) == "run" else _of_a_preset(config)
    return _checked(_filled(config, update))


def _filled(config: Config, update: dict[str, Any]) -> Config:
    return config.model_copy(
        update={name: value for name, value in update.items() if name not in config.model_fields_set}
    )


def _of_a_run(config: Config) -> dict[str, Any]:
    """The model as it is there; a preset is tuned on as before."""
    run = Run(Path(str(config.pretrained)))
    before = read_settings(run, "translation")
    update = {name: getattr(before, name) for name in _OF_THE_MODEL}
    names = ("joint",) if not config.keep_pieces else _OF_PIECES if before.backbone != PRESET else ()
    other = [name for name in names if name in config.model_fields_set and getattr(config, name) != update[name]]
    if other:
        remedy = " or learn others with --no-keep-pieces" if config.keep_pieces else ""
        raise ConfigError(
            f"{other[0]} {getattr(config, other[0])}: the run {config.pretrained} has {update[other[0]]}, and its "
            f"pieces are taken over: leave {other[0]} out{remedy}."
        )
    return {**_tuning(config, run.manifest()["model"]["name"]), **update} if before.backbone == PRESET else update


def _of_a_preset(config: Config) -> dict[str, Any]:
    source = str(config.pretrained)
    if config.backbone != PRESET and "backbone" in config.model_fields_set:
        raise ConfigError(
            f"backbone {config.backbone} and the preset {source} are two networks: leave backbone out, the preset "
            "brings its own."
        )
    kind, longest = _known(source)
    if longest is not None and config.max_tokens > longest and "max_tokens" in config.model_fields_set:
        raise ConfigError(f"max_tokens {config.max_tokens}: {source} takes {longest} at most.")
    most = config.max_tokens if longest is None else min(config.max_tokens, longest)
    return {**_tuning(config, kind), "backbone": PRESET, "max_tokens": most}


@cache
def _known(source: str) -> tuple[str, int | None]:
    """What network a preset holds, and the most pieces of a sentence that it takes; None where there is no limit."""
    from pipelines.transfer.pair_presets import longest_text, pair_preset

    whole = pair_preset(source)
    longest = longest_text(whole)
    return type(whole.backbone).__name__, None if longest is None else longest - 1


def _tuning(config: Config, kind: str) -> dict[str, Any]:
    """Fine-tuning takes few epochs; embeddings alone, or low-rank updates, a larger learning rate."""
    update = {**_TUNED, "tokens_per_batch": config.tokens_per_batch and _TOKENS_OF_PRESETS}
    many = 10 if config.unfreeze in ("none", "staged") or config.lora_rank else 1
    stages = len(config.stage_rates) + 1 if config.unfreeze == "staged" else 3
    rate = _RATES.get(kind, _RATE_OF_OTHERS)
    return {**update, "learning_rate": round(many * rate, 9), "epochs": max(3, stages)}


def _checked(config: Config) -> Config:
    """See that nothing was set that what is trained does not have."""
    if config.source_prefix is not None and config.backbone != PRESET:
        raise ConfigError(
            f"source_prefix {config.source_prefix!r} is for KerasHub presets, which were trained with one: leave it "
            "out, or name a preset with pretrained."
        )
    if not config.keep_pieces and (config.pretrained is None or config.backbone == PRESET):
        raise ConfigError(
            "no-keep-pieces learns pieces anew where a run of our own networks is started from (pretrained RUN): leave "
            "it out."
        )
    if config.backbone == PRESET:
        fields = type(config).model_fields
        other = [
            name for name in _OURS if name in config.model_fields_set and getattr(config, name) != fields[name].default
        ]
        if other:
            raise ConfigError(
                f"{other[0]} {getattr(config, other[0])}: {config.pretrained} holds a preset, which brings its own "
                f"network and pieces: leave {other[0]} out."
            )
    return config


def resolve(config: Config, data: Data) -> Config:
    """What the run to start from decides is filled in first; the languages of the data; and how it is trained from
    scratch on few sentences, where that was not set."""
    config = imply(config)
    languages = data.assets["languages"]
    config = config.model_copy(update={"source_lang": languages["source"], "target_lang": languages["target"]})
    sizes = data.splits["train"].sizes
    assert sizes is not None
    return config if config.pretrained is not None else _enough(config, int(sizes.max(axis=1).sum()), len(sizes))


def _enough(config: Config, places: int, pairs: int) -> Config:
    """Of few sentences small batches, and as many epochs as make enough updates; the weights' average no longer than
    suits them."""
    set_here, most = config.model_fields_set, config.max_tokens
    update: dict[str, Any] = {}
    if places < _FEW and config.tokens_per_batch is not None and most <= _TOKENS:
        update = {"tokens_per_batch": _TOKENS, "learning_rate": _RATE}
    budget = update.get("tokens_per_batch", config.tokens_per_batch)
    batches = math.ceil(places / budget) if budget else math.ceil(pairs / config.batch_size)
    update["epochs"] = max(config.epochs, min(math.ceil(_UPDATES / batches), _MOST_EPOCHS))
    updates = batches * (config.epochs if "epochs" in set_here else update["epochs"])
    if config.average is not None:
        update["average"] = min(config.average, round(1 - _WINDOW / max(updates, 2 * _WINDOW), 4))
    return config.model_copy(update={name: value for name, value in update.items() if name not in set_here})
