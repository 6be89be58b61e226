"""The pieces of a KerasHub preset, by its own tokenizer. Imports TensorFlow where texts are cut."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.errors import StateError
from pipelines.text.pieces import prepared

if TYPE_CHECKING:
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
        return self._tokenizer.size

    @cached_property
    def names(self) -> list[str]:
        """Each as a text; "▁" begins a word."""
        return [self._tokenizer.pieces([piece])[0] for piece in range(self.size)]

    def encode(self, texts: Sequence[str | bytes]) -> list[list[int]]:
        """The pieces of each text behind its prefix, no marks before or behind them."""
        values, lengths = self.cut(texts)
        return [part.tolist() for part in np.split(values, np.cumsum(lengths)[:-1])] if len(texts) else []

    def cut(self, texts: Sequence[str | bytes]) -> tuple[np.ndarray, np.ndarray]:
        """(int32 pieces of all texts, one after the other; int64 [n], how many each has)."""
        plain = [text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in texts]
        whole = [prepared(f"{self.prefix} {text}", lowercase=False) for text in self._cased(plain)]
        values, lengths = self._tokenizer.cut([text.encode("utf-8", "replace") for text in whole])
        return values.astype(np.int32), lengths.astype(np.int64)

    def decode(self, rows: Iterable[Iterable[int]]) -> list[str]:
        """The text of each row of pieces, behind the prefix where it stands there; marks are passed over."""
        known = self._tokenizer
        silent = {known.pad, known.start, known.end}
        assert known.text is not None
        texts = known.text([[int(piece) for piece in row if piece not in silent] for row in rows])
        prefix = prepared(self.prefix, lowercase=False)
        return [text.strip().removeprefix(prefix).strip() for text in texts]

    def _cased(self, texts: Sequence[str]) -> Sequence[str]:
        return [text.lower() for text in texts] if self.lowercase else texts

    @cached_property
    def _tokenizer(self) -> "Tokenizer":
        from pipelines.text.tokenizers import tokenizer

        found = tokenizer(self.asset)
        if found.text is None:
            raise StateError("The vocabulary of this model is damaged: train the model again.")
        return found
