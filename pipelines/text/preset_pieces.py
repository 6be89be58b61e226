"""The pieces of a KerasHub preset, by its own tokenizer. Imports TensorFlow where texts are cut."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pipelines.text.pieces_graph import PresetPiecesGraph
    from pipelines.text.tokenizers import Tokenizer


@dataclass(frozen=True)
class PresetPieces:
    """A tokenizer as pipelines.text.pieces.Pieces has ours; of translation one for both languages."""

    asset: dict[str, Any]
    """As pipelines.text.tokenizers takes it."""
    lowercase: bool
    prefix: str = ""
    """What stands before each text, for the model."""

    @cached_property
    def size(self) -> int:
        """Pieces there are: 0 to size - 1."""
        return self.tokenizer.size

    @cached_property
    def names(self) -> list[str]:
        """Each as a text; "▁" begins a word."""
        return [self.tokenizer.pieces([piece])[0] for piece in range(self.size)]

    def encode(self, texts: Sequence[str | bytes]) -> list[list[int]]:
        """The pieces of each text behind its prefix, no marks before or behind them."""
        values, lengths = self.cut(texts)
        return [part.tolist() for part in np.split(values, np.cumsum(lengths)[:-1])] if len(texts) else []

    def cut(self, texts: Sequence[str | bytes]) -> tuple[np.ndarray, np.ndarray]:
        """(int32 pieces of all texts, one after the other; int64 [n], how many each has)."""
        import tensorflow as tf

        plain = [text if isinstance(text, bytes) else text.encode("utf-8", "replace") for text in texts]
        found = self.graph.encode(self.graph.prepared(tf.constant(plain, tf.string)))
        return found.values.numpy(), found.row_lengths().numpy()

    def decode(self, rows: Iterable[Iterable[int]]) -> list[str]:
        """The text of each row of pieces, behind the prefix where it stands there; marks are passed over."""
        import tensorflow as tf

        known = [np.array([*row], np.int32) for row in rows]
        values = np.concatenate([np.zeros(0, np.int32), *known])
        lengths = np.array([len(row) for row in known], np.int64)
        return [text.decode() for text in self.graph.decode(tf.RaggedTensor.from_row_lengths(values, lengths)).numpy()]

    @cached_property
    def graph(self) -> "PresetPiecesGraph":
        """What does both, here as in an export."""
        from pipelines.text.pieces_graph import PresetPiecesGraph

        return PresetPiecesGraph(self)

    @cached_property
    def tokenizer(self) -> "Tokenizer":
        """What the asset says.

        Raises:
            StateError: it is damaged.
        """
        from pipelines.text.tokenizers import tokenizer

        return tokenizer(self.asset)
