"""Learnt pieces as a graph of TensorFlow, by tensorflow_text: found in texts, and put together to texts, as `pieces`
does both."""

import hashlib
import re
import sys
from functools import lru_cache
from typing import Any

import tensorflow as tf

from pipelines.errors import NotServed
from pipelines.text.pieces import BLANKS, Pieces

NEEDS = "tensorflow_text"
"""What a process must import to run the graph, besides TensorFlow."""
_BY_LOCALE = "IJĮÌÍĨİ"
"""What becomes something else in lower case where the locale is Turkish, Azeri or Lithuanian; İ of all NFC alone is two
signs then."""


class PiecesGraph(tf.Module):
    """See Pieces, whose methods these are.

    Bytes that are no UTF-8 count as U+FFFD.
    """

    def __init__(self, pieces: Pieces) -> None:
        super().__init__()
        try:
            from tensorflow_text import SentencepieceTokenizer, normalize_utf8
        except ModuleNotFoundError as error:
            raise NotServed(
                f"SentencePiece in a graph needs the package {error.name}, of the extra [hub]: in a checkout of "
                "Sixfold, pip install -c constraints.txt '.[hub]'."
            ) from error
        self._composed, self._lowercase = normalize_utf8, pieces.lowercase
        # Of two with one name in a SavedModel the second would be the first, once it is loaded.
        name = f"pieces_{hashlib.sha256(pieces.model).hexdigest()[:16]}"
        self._tokenizer: Any = SentencepieceTokenizer(pieces.model, name=name)

    def prepared(self, texts: Any) -> Any:
        """Strings [n], as `pieces.prepared` has them."""
        text = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace", replace_control_characters=False)
        text = tf.strings.regex_replace(self._composed(text, "NFC"), f"{_blanks()}+", " ")
        text = tf.strings.regex_replace(text, "^ | $", "")
        return _lower(text) if self._lowercase else text

    def encode(self, prepared: Any) -> tf.RaggedTensor:
        """int32 [n, ragged] of prepared strings [n]."""
        return self._tokenizer.tokenize(prepared)

    def decode(self, pieces: tf.RaggedTensor) -> Any:
        """Strings [n] of int32 [n, ragged], special ones not among them."""
        return self._tokenizer.detokenize(pieces)


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
