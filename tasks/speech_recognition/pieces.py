"""Transcripts in pieces that SentencePiece learnt from those of training, or in a preset's.

Of its own special pieces none is a label: what it does not know is passed over, as a character that is not in the
alphabet would be. A piece that begins a word begins with a blank, so that texts are put together as from characters.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.text.ids import Ids
from pipelines.text.pieces import END, Pieces, as_asset, learn
from pipelines.text.preset_pieces import PresetPieces

_SPECIAL = END
"""Pieces that are no labels, but for the blank, which is 0 as the first of them is."""
_BLANK = "\u2581"
"""How SentencePiece writes one."""


def learnt(texts: Sequence[str], size: int) -> dict[str, Any]:
    """The asset `pieces` of training transcripts."""
    return as_asset(learn(texts, size, "bpe", byte_fallback=False, lowercase=False))


def names(asset: dict[str, Any]) -> list[str]:
    """The alphabet: the text of each label, '' for CTC's blank at 0."""
    return ["", *(name.replace(_BLANK, " ") for name in _pieces(asset).names[_SPECIAL + 1 :])]


def encoded(texts: Sequence[str], asset: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """(ids int32 [pieces of all texts], splits int64 [n + 1])."""
    return _flat([[piece - _SPECIAL for piece in row if piece > _SPECIAL] for row in _pieces(asset).encode(texts)])


def encoded_by(texts: Sequence[str], asset: dict[str, Any], ids: Ids) -> tuple[np.ndarray, np.ndarray]:
    """The same by the tokenizer of a preset, without what is no text for it."""
    silent = {ids.pad, ids.unknown, ids.start, ids.end}
    rows = PresetPieces(asset, lowercase=False).encode(texts)
    return _flat([[piece for piece in row if piece not in silent] for row in rows])


def _flat(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    ids = np.array([one for row in rows for one in row], np.int32)
    return ids, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def _pieces(asset: dict[str, Any]) -> Pieces:
    return Pieces.of(asset, lowercase=False)
