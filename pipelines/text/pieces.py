"""Pieces of texts learnt by SentencePiece (Kudo and Richardson, 2018), and texts put together from pieces again.
Imports no TensorFlow.

Texts are composed (NFC) and every run of blanks, line separators and control characters is one blank; nothing else of
them is changed, for what pieces are put together to is read by people. Digits are pieces by themselves.
"""

import base64
import binascii
import io
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from pipelines.errors import StateError

PAD, UNKNOWN, START, END = range(4)
"""The first pieces; no text becomes any but UNKNOWN."""
_SILENT = (PAD, START, END)
BYTES = 256
"""Pieces that spell by bytes what others do not."""

Algorithm = Literal["unigram", "bpe"]
BLANKS = re.compile("[\\s\0-\x1f\x7f-\x9f\u200b\ufeff]+")
"""What one blank stands for."""
_RESERVED = "\u2585"
"""SentencePiece's own sign for what it does not know: it skips texts that hold it."""
_MOST = 2_000_000
"""Texts that are learnt from; of more, every so many-th."""
_NOTHING = ["."]
"""Learnt from where texts hold no sign twice: SentencePiece needs one."""
_LONGEST = 1 << 20
"""Bytes of a text that is learnt from."""


def prepared(text: str, *, lowercase: bool) -> str:
    """The text as pieces are learnt from it and found in it."""
    plain = BLANKS.sub(" ", unicodedata.normalize("NFC", text)).strip()
    return plain.lower() if lowercase else plain


def learn(texts: Sequence[str], size: int, algorithm: Algorithm, *, byte_fallback: bool, lowercase: bool) -> bytes:
    """SentencePiece's model: at most `size` pieces, special ones and bytes included; fewer where the texts hold no
    more. The same texts in the same order give the same bytes.

    Args:
        texts: to learn from.
        size: 300 or more.
        algorithm: byte-pair encoding (Sennrich et al., 2016) or a unigram language model (Kudo, 2018).
        byte_fallback: whether signs that are no pieces are spelt by their bytes, or unknown.
        lowercase: as `prepared` has it.
    """
    import sentencepiece

    plain = [prepared(text, lowercase=lowercase) for text in texts[:: -(-len(texts) // _MOST) or 1]]
    rare = _rare(plain, (size - END - 1 - BYTES * byte_fallback) * 3 // 4)
    known = [text.translate(rare) for text in plain]
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(known if any(map(str.strip, known)) else _NOTHING),
        model_writer=written,
        model_type=algorithm,
        vocab_size=size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        byte_fallback=byte_fallback,
        split_digits=True,
        normalization_rule_name="identity",
        max_sentence_length=_LONGEST,
        pad_id=PAD,
        unk_id=UNKNOWN,
        bos_id=START,
        eos_id=END,
        num_threads=1,  # the sums of several would be added up in any order
        minloglevel=2,
    )
    return written.getvalue()


def as_asset(model: bytes) -> dict[str, str]:
    """What a finished model keeps of them, as JSON."""
    return {"proto": base64.b64encode(model).decode("ascii")}


@dataclass(frozen=True)
class Pieces:
    """The pieces of one language, or of both."""

    model: bytes
    """SentencePiece's."""
    lowercase: bool

    @staticmethod
    def of(asset: dict[str, Any], *, lowercase: bool) -> "Pieces":
        """Those of an asset.

        Raises:
            StateError: it is damaged.
        """
        try:
            found = Pieces(base64.b64decode(asset["proto"], validate=True), lowercase)
            whole = found.size > END and [found.names[place] for place in (PAD, END)] == ["<pad>", "</s>"]
        except (KeyError, TypeError, ValueError, binascii.Error, RuntimeError, OSError):
            whole = False
        if not whole:
            raise StateError("The vocabulary of this model is damaged: train the model again.")
        return found

    @cached_property
    def size(self) -> int:
        """Pieces there are: 0 to size - 1."""
        return int(self._processor.get_piece_size())

    @cached_property
    def names(self) -> list[str]:
        """Each as a text; "▁" begins a word, <0x0A> is a byte."""
        return [self._processor.id_to_piece(piece) for piece in range(self.size)]

    def encode(self, texts: Sequence[str | bytes]) -> list[list[int]]:
        """The pieces of each text, nothing before or behind them."""
        plain = [
            prepared(text.decode("utf-8", "replace") if isinstance(text, bytes) else text, lowercase=self.lowercase)
            for text in texts
        ]
        if len(plain) == 1:  # a list starts threads, which cost more than a text of ordinary length
            return [self._processor.encode(plain[0], out_type=int)]
        return list(self._processor.encode(plain, out_type=int))

    def cut(self, texts: Sequence[str | bytes]) -> tuple[np.ndarray, np.ndarray]:
        """(int32 pieces of all texts, one after the other; int64 [n], how many each has)."""
        found = self.encode(texts)
        lengths = np.fromiter(map(len, found), np.int64, len(found))
        return np.fromiter(itertools.chain.from_iterable(found), np.int32, int(lengths.sum())), lengths

    def decode(self, rows: Iterable[Iterable[int]]) -> list[str]:
        """The text of each row of pieces, "⁇" for what is unknown; the other special ones are passed over."""
        return list(self._processor.decode([[int(piece) for piece in row if piece not in _SILENT] for row in rows]))

    @cached_property
    def _processor(self) -> Any:
        import sentencepiece

        return sentencepiece.SentencePieceProcessor(model_proto=self.model)


def _rare(texts: Iterable[str], most: int) -> dict[int, str]:
    """Signs that do not become pieces, each -> a blank: those seen once, from which nothing could be learnt, and all
    but the `most` frequent."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    kept = {sign for sign, count in counts.most_common(most) if count > 1} - {_RESERVED} | {" "}
    return dict.fromkeys(map(ord, counts.keys() - kept), " ")
