"""The pieces that both languages are cut into, learnt from the training sentences. Imports no TensorFlow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.errors import StateError
from pipelines.task import Assets
from pipelines.text.pieces import Pieces, as_asset, learn
from tasks.translation.config import Config

KIND = "sentencepiece"
SIDES = ("source", "target")
_LETTERS, _LEAST, _MOST = 500, 400, 8_000
"""Of training sentences, for each piece; pieces."""


@dataclass(frozen=True)
class Vocabulary:
    """Of both languages; the same pieces where they are joint."""

    source: Pieces
    target: Pieces
    joint: bool


def vocabulary(assets: Assets) -> Vocabulary:
    """What a model's asset `vocabulary` holds: {"kind": "sentencepiece", "lowercase": bool, "joint": {"proto": base64}}
    or with "source" and "target" in place of "joint".

    Raises:
        StateError: it is damaged.
    """
    asset = assets["vocabulary"]
    if not isinstance(asset, dict) or asset.get("kind") != KIND or not isinstance(asset.get("lowercase"), bool):
        raise StateError("The vocabulary of this model is damaged: train the model again.")
    source, target = (Pieces.of(side_of(asset, side), lowercase=asset["lowercase"]) for side in SIDES)
    return Vocabulary(source, target, "joint" in asset)


def side_of(asset: dict[str, Any], side: str) -> dict[str, Any]:
    """What the pieces of a side are made from, and nothing of the other side's."""
    found = asset.get("joint", asset.get(side))
    return {**(found if isinstance(found, dict) else {}), "kind": KIND, "lowercase": asset["lowercase"]}


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
