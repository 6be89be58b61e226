"""The pieces that both languages are cut into: learnt from the training sentences, or those of a preset. Imports no
TensorFlow."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pipelines.errors import StateError
from pipelines.task import Assets
from pipelines.text.pieces import Pieces, as_asset, learn
from pipelines.text.preset_pieces import PresetPieces
from tasks.translation.config import Config

KIND, OF_PRESET = "sentencepiece", "preset"
SIDES = ("source", "target")
_LETTERS, _LEAST, _MOST = 500, 400, 8_000
"""Of training sentences, for each piece; pieces."""


class Cutter(Protocol):
    """What texts of one language are cut into pieces by, and put together again."""

    @property
    def size(self) -> int:
        """Pieces there are: 0 to size - 1."""

    @property
    def names(self) -> list[str]:
        """Each as a text; "▁" begins a word."""

    def encode(self, texts: Sequence[str | bytes]) -> list[list[int]]:
        """The pieces of each text, no marks before or behind them."""

    def cut(self, texts: Sequence[str | bytes]) -> tuple[np.ndarray, np.ndarray]:
        """(int32 pieces of all texts, one after the other; int64 [n], how many each has)."""

    def decode(self, rows: Iterable[Iterable[int]]) -> list[str]:
        """The text of each row of pieces."""


@dataclass(frozen=True)
class Vocabulary:
    """Of both languages; the same pieces where they are joint."""

    source: Cutter
    target: Cutter
    joint: bool
    learnt: bool
    """Whether the pieces are ours, learnt from sentences; else they are a preset's."""


def vocabulary(assets: Assets) -> Vocabulary:
    """What a model's asset `vocabulary` holds: {"kind": "sentencepiece", "lowercase": bool, "joint": {"proto": base64}}
    or with "source" and "target" in place of "joint"; or, of a preset, {"kind": "preset", "lowercase": bool, "prefix":
    str, "joint": what pipelines.text.tokenizers takes}.

    Raises:
        StateError: it is damaged.
    """
    asset = assets["vocabulary"]
    kinds = {KIND: _ours, OF_PRESET: _of_preset}
    kind = asset.get("kind") if isinstance(asset, dict) else None
    if kind not in kinds or not isinstance(asset.get("lowercase"), bool):
        raise StateError("The vocabulary of this model is damaged: train the model again.")
    source, target = (kinds[kind](asset, side) for side in SIDES)
    return Vocabulary(source, target, "joint" in asset, learnt=kind == KIND)


def side_of(asset: dict[str, Any], side: str) -> dict[str, Any]:
    """What the pieces of a side are made from, and nothing of the other side's."""
    found = asset.get("joint", asset.get(side))
    prefix = {"prefix": asset["prefix"]} if side == "source" and asset.get("prefix") else {}
    return {
        **(found if isinstance(found, dict) else {}),
        **prefix,
        "kind": asset["kind"],
        "lowercase": asset["lowercase"],
    }


def _ours(asset: dict[str, Any], side: str) -> Cutter:
    return Pieces.of(side_of(asset, side), lowercase=asset["lowercase"])


def _of_preset(asset: dict[str, Any], side: str) -> Cutter:
    made_from = side_of(asset, side)
    return PresetPieces(made_from, asset["lowercase"], made_from.get("prefix", ""))


def preset_asset(tokenizer: dict[str, Any], *, lowercase: bool, prefix: str) -> dict[str, Any]:
    """The asset `vocabulary` of a preset's tokenizer."""
    return {"kind": OF_PRESET, "lowercase": lowercase, "prefix": prefix, "joint": tokenizer}


def learnt(sources: Sequence[str], targets: Sequence[str], config: Config) -> dict[str, Any]:
    """The asset `vocabulary` of training sentences: joint, or of each side."""

    def made(texts: Sequence[str]) -> dict[str, str]:
        size = config.vocabulary_size or usual_size(texts)
        settings = {"byte_fallback": config.byte_fallback, "lowercase": config.lowercase}
        return as_asset(learn(texts, size, config.vocabulary, **settings))

    kept: dict[str, Any] = {"kind": KIND, "lowercase": config.lowercase}
    if config.joint:
        return {**kept, "joint": made([*sources, *targets])}
    return {**kept, "source": made(sources), "target": made(targets)}


def usual_size(texts: Sequence[str]) -> int:
    """How many pieces are learnt where nothing else is said: rare ones would not be learnt well."""
    return min(max(sum(map(len, texts)) // _LETTERS, _LEAST), _MOST)
