"""Pieces as a graph of TensorFlow, by tensorflow_text: found in texts, and put together to texts, as `pieces` does both
of learnt ones; of a preset's this is what does it everywhere."""

import hashlib
import re
import sys
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.errors import NotServed, StateError
from pipelines.text.pieces import BLANKS, Pieces, prepared
from pipelines.text.preset_pieces import PresetPieces

NEEDS = "tensorflow_text"
"""What a process must import to run the graph, besides TensorFlow."""
_BY_LOCALE = "IJĮÌÍĨİ"
"""What becomes something else in lower case where the locale is Turkish, Azeri or Lithuanian; İ of all NFC alone is two
signs then."""


class _Graph(tf.Module):
    """Texts as either kind of pieces is found in them. Bytes that are no UTF-8 count as U+FFFD."""

    def __init__(self, *, lowercase: bool) -> None:
        super().__init__()
        self._composed, self._lowercase = _tensorflow_text().normalize_utf8, lowercase

    def prepared(self, texts: Any) -> Any:
        """Strings [n], as `pieces.prepared` has them."""
        text = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace", replace_control_characters=False)
        text = _stripped(tf.strings.regex_replace(self._composed(text, "NFC"), f"{_blanks()}+", " "))
        return _lower(text) if self._lowercase else text


class PiecesGraph(_Graph):
    """See Pieces, whose methods these are."""

    def __init__(self, pieces: Pieces) -> None:
        super().__init__(lowercase=pieces.lowercase)
        self._tokenizer = sentencepiece_graph(pieces.model)

    def encode(self, prepared: Any) -> tf.RaggedTensor:
        """int32 [n, ragged] of prepared strings [n]."""
        return self._tokenizer.tokenize(prepared)

    def decode(self, pieces: tf.RaggedTensor) -> Any:
        """Strings [n] of int32 [n, ragged], special ones not among them."""
        return self._tokenizer.detokenize(pieces)


class PresetPiecesGraph(_Graph):
    """See PresetPieces, whose methods these are."""

    def __init__(self, pieces: PresetPieces) -> None:
        super().__init__(lowercase=pieces.lowercase)
        known = pieces.tokenizer
        if known.decode is None:
            raise StateError("The vocabulary of this model is damaged: train the model again.")
        self._encode, self._decode, self._tracked = known.encode, known.decode, known.tracked
        self._silent = np.array([mark for mark in (known.pad, known.start, known.end) if mark is not None], np.int32)
        self._prefix = prepared(pieces.prefix, lowercase=False)

    def encode(self, prepared: Any) -> tf.RaggedTensor:
        """int32 [n, ragged] of prepared strings [n], the prefix before them."""
        return self._encode(_stripped(tf.strings.join([self._prefix, prepared], " ")))

    def decode(self, pieces: tf.RaggedTensor) -> Any:
        """Strings [n] of int32 [n, ragged], without the prefix; marks are passed over."""
        said = tf.reduce_all(pieces.values[:, None] != self._silent, axis=1)
        text = _stripped(self._decode(tf.ragged.boolean_mask(pieces, pieces.with_values(said))))
        return _stripped(tf.strings.regex_replace(text, f"^{re.escape(self._prefix)}", ""))


def pieces_graph(pieces: Any) -> PiecesGraph | PresetPiecesGraph:
    """Of either kind of pieces.

    Raises:
        NotServed: tensorflow_text is not installed.
    """
    return pieces.graph if isinstance(pieces, PresetPieces) else PiecesGraph(pieces)


def sentencepiece_graph(proto: bytes) -> Any:
    """What tokenizes and detokenizes by a model of SentencePiece.

    Raises:
        NotServed: tensorflow_text is not installed.
    """
    # Of two with one name in a SavedModel, or in a process, the second would be the first, once it is loaded.
    name = f"pieces_{hashlib.sha256(proto).hexdigest()[:16]}"
    return _tensorflow_text().SentencepieceTokenizer(proto, name=name)


def _tensorflow_text() -> Any:
    try:
        import tensorflow_text
    except ModuleNotFoundError as error:
        raise NotServed(
            f"SentencePiece in a graph needs the package {error.name}, of the extra [hub]: in a checkout of "
            "Sixfold, pip install -c constraints.txt '.[hub]'."
        ) from error
    return tensorflow_text


def _stripped(text: Any) -> Any:
    """Without blanks at its ends."""
    return tf.strings.regex_replace(text, f"^{_blanks()}+|{_blanks()}+$", "")


@lru_cache(maxsize=1)
def _blanks() -> str:
    """What `pieces` takes for blanks, as a class of RE2, whose own \\s is ASCII alone."""
    signs = [code for code in range(sys.maxunicode + 1) if BLANKS.fullmatch(chr(code))]
    return "[" + "".join(rf"\x{{{code:x}}}" for code in signs) + "]"


def _lower(text: Any) -> Any:
    """As Python has it, under every locale, and where TensorFlow's Unicode is the older one."""
    for sign in _lowered_apart():
        text = tf.strings.regex_replace(text, re.escape(sign), sign.lower())
    return tf.strings.lower(text, encoding="utf-8")


@lru_cache(maxsize=1)
def _lowered_apart() -> str:
    """Signs that are put in lower case one by one."""
    upper = [sign for sign in map(chr, range(0x80, sys.maxunicode + 1)) if sign.lower() != sign]
    with tf.init_scope():
        found = tf.strings.lower(tf.constant([sign.encode() for sign in upper]), encoding="utf-8").numpy()
    other = [sign for sign, low in zip(upper, found, strict=True) if low.decode() != sign.lower()]
    return "".join(dict.fromkeys([*_BY_LOCALE, *other]))
