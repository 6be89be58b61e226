"""What a pretrained encoder makes of the items' texts: a table that the item tower sees and does not change."""

from dataclasses import dataclass

import numpy as np

from pipelines.errors import ConfigError
from pipelines.task import Assets
from pipelines.transfer.sources import Origin
from pipelines.transfer.text_vectors import text_vectors
from tasks.recommendation.config import Config


@dataclass(frozen=True)
class Read:
    """The texts of all items as numbers."""

    table: np.ndarray
    """float32 [items, numbers]; an item without a text is as the average one."""
    origin: Origin
    """Of the encoder."""


def read_items(config: Config, assets: Assets) -> Read:
    """The vectors of what the table of items says in words.

    Raises:
        ConfigError: it says nothing in words, or text_encoder names no such encoder.
        DataError: the encoder cannot be had.
    """
    texts = _texts(assets)
    vectors, origin = text_vectors(str(config.text_encoder), texts, "text_encoder")
    there = np.array([bool(text) for text in texts])
    trained = there & (np.arange(len(texts)) < assets["trained"]["items"])
    # Encoders place all texts near each other: what they have in common says nothing.
    apart = vectors - vectors[trained if trained.any() else there].mean(axis=0)
    apart[~there] = 0.0
    scale = np.linalg.norm(apart[there], axis=1).mean()
    return Read(np.asarray(apart / max(float(scale), 1e-9), np.float32), origin)


def _texts(assets: Assets) -> list[str]:
    """Of each item the title, and what other columns say in sentences."""
    features = assets.get("features", {}).get("items", {})
    columns = [column["texts"] for column in features.get("columns", []) if column["kind"] == "text"]
    titles = [title or "" for title in features.get("titles") or []]
    parts = [*([titles] if any(titles) else []), *(texts for texts in columns if texts != titles)]
    if not parts:
        names = ", ".join(f"{column['name']} ({column['kind']})" for column in features.get("columns", []))
        raise ConfigError(
            f"text_encoder: the table of items has no column of texts, as title (it has {names or 'nothing of use'}): "
            "add one, or leave text_encoder out."
        )
    return [". ".join(text for text in row if text) for row in zip(*parts, strict=True)]
