"""Tokenizers, all as the same record, made from what a finished model keeps of them: one JSON asset."""

import base64
import binascii
import codecs
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
import tensorflow as tf

from pipelines.errors import ConfigError, StateError
from pipelines.text import subwords

Asset = dict[str, Any]
_FILES = ("vocabulary", "merges", "proto")
"""What a KerasHub tokenizer is made from, beside its settings."""
_SETTINGS = ("lowercase", "strip_accents", "split", "split_on_cjk", "suffix_indicator", "oov_token", "add_prefix_space")
"""The settings of KerasHub's tokenizers that change what a text becomes."""
_LEFT_OUT = (
    "add_bos",
    "add_eos",
    "sequence_length",
    "special_tokens",
    "special_tokens_in_strings",
    "unsplittable_tokens",
)
"""Those that only cut, pad or mark its tokens, or let a text hold marks: none of that is done here."""
_SIGNATURE = (tf.TensorSpec([None], tf.string),)


@dataclass(frozen=True)
class Tokenizer:
    """Strings into tokens, as a graph."""

    size: int
    """Tokens there are: 0 to size - 1."""
    pad: int
    """Fills rows up; no text becomes it."""
    start: int | None
    """What is put before a text, if anything."""
    end: int | None
    """What is put after it."""
    encode: subwords.Encode
    """strings [n] -> int32 [n, ragged], without start and end. The same graph everywhere, called eagerly too."""
    pieces: Callable[[Sequence[int]], list[str]]
    """The text of each token of a row, for people; those that begin a word begin with "▁"."""
    needs: str | None
    """What a process must import to run the graph, beside TensorFlow."""
    tracked: tuple[Any, ...] = ()
    """What the graph refers to: a tf.Module that is saved with it must hold these."""
    decode: Callable[[tf.RaggedTensor], tf.Tensor] | None = None
    """int32 [n, ragged] -> strings [n], the text of each row, as a graph; None where blanks cannot be told again."""

    def cut(self, texts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """(int32 tokens of all texts, one after the other; int64 [n], how many each has)."""
        ragged = self.encode(texts)
        return ragged.values.numpy(), ragged.row_lengths().numpy()


def tokenizer(asset: Asset) -> Tokenizer:
    """The tokenizer of an asset: {"kind": "subwords", "pieces": […], "lowercase": bool}, or as `asset_of` gives it.

    Raises:
        StateError: the asset is damaged.
        ConfigError: it needs a package that is not installed.
    """
    try:
        kind = asset["kind"]
        if kind not in ("subwords", "preset"):
            raise ValueError(f"its kind is {kind!r}")
        with tf.init_scope():
            return _of_subwords(asset) if kind == "subwords" else _of_preset(asset)
    except (KeyError, TypeError, ValueError, AttributeError, tf.errors.OpError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error).strip().splitlines()[0].rstrip(".")
        raise StateError(f"The tokenizer of this model is damaged: {reason}. Train the model again.") from error


def subwords_asset(pieces: Sequence[str], *, lowercase: bool) -> Asset:
    """The asset of learnt pieces."""
    return {"kind": "subwords", "pieces": list(pieces), "lowercase": lowercase}


def asset_of(preset: Any) -> Asset:
    """The asset of a KerasHub tokenizer of WordPiece, byte-pair or SentencePiece kind.

    Raises:
        ConfigError: it is of another kind.
    """
    name = type(preset).__name__
    _tokenizer_class(name)
    about = {"name", "trainable", "dtype", "config_file", *_FILES}
    if unknown := sorted(set(preset.get_config()) - {*_SETTINGS, *_LEFT_OUT, *about}):
        raise ConfigError(f"tokenizer: {name} has the setting {unknown[0]}, which is not known: choose another preset.")
    config = {key: getattr(preset, key) for key in _SETTINGS if hasattr(preset, key)}
    asset = {"kind": "preset", "class": name, "config": config}
    if (proto := getattr(preset, "proto", None)) is not None:
        return {**asset, "proto": base64.b64encode(proto).decode()}
    vocabulary = preset.vocabulary
    if isinstance(vocabulary, dict):
        return {**asset, "vocabulary": dict(vocabulary), "merges": list(preset.merges)}
    config["strip_accents"] |= preset.lowercase and not any(map(_has_accents, vocabulary))
    return {**asset, "vocabulary": list(vocabulary)}


def _has_accents(piece: str) -> bool:
    """Whether it is another one without. BERT's uncased vocabularies hold none: they were made from texts whose accents
    had been taken off, which KerasHub (0.32) forgets for presets and Hugging Face's folders alike: café is [UNK]."""
    return unicodedata.normalize("NFD", piece) != piece or any(unicodedata.category(sign) == "Mn" for sign in piece)


def _of_subwords(asset: Asset) -> Tokenizer:
    pieces, lowercase = asset["pieces"], asset["lowercase"]
    if not isinstance(pieces, list) or not all(isinstance(piece, str) and piece for piece in pieces):
        raise ValueError("its pieces are no list of words")
    if tuple(pieces[: len(subwords.SPECIAL)]) != subwords.SPECIAL or len(set(pieces)) <= len(subwords.SPECIAL):
        raise ValueError(f"its pieces do not begin with {', '.join(subwords.SPECIAL)}")
    if not isinstance(lowercase, bool):
        raise ValueError(f"lowercase is {lowercase!r}")
    graph = tf.function(subwords.encoder(pieces, lowercase=lowercase), input_signature=_SIGNATURE, autograph=False)
    return Tokenizer(
        size=len(pieces),
        pad=subwords.PAD,
        start=subwords.START,
        end=subwords.END,
        encode=graph,
        pieces=lambda ids: [pieces[token] for token in ids],
        needs=None,
    )


def _of_preset(asset: Asset) -> Tokenizer:
    """KerasHub's own graph, fed with whole UTF-8 only."""
    hub = _rebuilt(asset)
    pad, start, end = _special(hub)
    unknown = hub.vocabulary.get("<unk>", pad) if "merges" in asset else pad

    @tf.function(input_signature=_SIGNATURE, autograph=False)
    def encode(strings: tf.Tensor) -> tf.RaggedTensor:
        text = tf.strings.unicode_transcode(strings, "UTF-8", "UTF-8", errors="replace")
        if "merges" in asset:
            text = tf.strings.regex_replace(text, _RUN, r"\0 ")
        tokens = hub.tokenize(text)
        values = tf.cast(tokens.flat_values, tf.int32)
        # Byte-pair vocabularies that lack some of the 256 bytes give -1 there.
        values = tf.where(values < 0, unknown, values)
        return tf.RaggedTensor.from_row_splits(values, tf.cast(tokens.row_splits, tf.int64), validate=False)

    return Tokenizer(
        size=hub.vocabulary_size(),
        pad=pad,
        start=start,
        end=end,
        encode=encode,
        pieces=_readable(hub),
        needs="tensorflow_text",
        tracked=(hub,),
        decode=_joining(asset, hub),
    )


_RUN = r"\S{128}"
"""KerasHub's byte-pair merging takes the square of a word's length: after that many signs a blank is put."""


def _rebuilt(asset: Asset) -> Any:
    """The KerasHub tokenizer, from the asset alone: no class but a tokenizer's, no file, no network."""
    made_from = {key: asset[key] for key in _FILES if key in asset}
    wrong = [key for key, value in made_from.items() if not isinstance(value, str if key == "proto" else list | dict)]
    if wrong or not made_from:
        raise ValueError(f"its {wrong[0] if wrong else 'vocabulary'} is missing or no such thing")
    if "proto" in made_from:
        try:
            made_from["proto"] = base64.b64decode(made_from["proto"], validate=True)
        except binascii.Error as error:
            raise ValueError("its proto is no base64") from error
    config = asset["config"]
    if unknown := sorted(set(config) - set(_SETTINGS)):
        raise ValueError(f"its config has {unknown[0]}, which no tokenizer takes")
    hub = _tokenizer_class(asset["class"])(**config, **made_from)
    if hasattr(hub, "unsplittable_tokens"):
        # "<pad>" or "<s>" in a text is text.
        hub.unsplittable_tokens = []
    return hub


def _tokenizer_class(name: str) -> Any:
    """The class of KerasHub, which must be a tokenizer of one of the three kinds."""
    try:
        import keras_hub
        import tensorflow_text  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"The tokenizer of this model needs the package {error.name}, of the extra [hub]: in a checkout of "
            "Sixfold, pip install -c constraints.txt '.[hub]'."
        ) from error
    hub = keras_hub.tokenizers
    kinds = (hub.WordPieceTokenizer, hub.BytePairTokenizer, hub.SentencePieceTokenizer)
    for module in (keras_hub.models, hub):
        found = getattr(module, name, None)
        if isinstance(found, type) and issubclass(found, kinds):
            return found
    raise ConfigError(
        f"tokenizer: {name} is none of KerasHub {keras_hub.__version__}'s tokenizers of WordPiece, byte-pair or "
        "SentencePiece kind: choose another preset."
    )


def _special(hub: Any) -> tuple[int, int | None, int | None]:
    """Pad, start and end.

    Where one token serves as both start and end (T5, GPT-2) none is put before. A tokenizer without a token for
    padding (GPT-2; its pad_token_id is that of "!") pads with its end, which then is not put after a text either.
    """
    start, end = getattr(hub, "start_token_id", None), getattr(hub, "end_token_id", None)
    start = None if start == end else start
    if getattr(hub, "pad_token", None) is not None:
        return hub.pad_token_id, start, end
    if end is None:
        raise ConfigError(f"tokenizer: {type(hub).__name__} has no token to pad with: choose another preset.")
    return end, start, None


def _joining(asset: Asset, hub: Any) -> Callable[[tf.RaggedTensor], tf.Tensor] | None:
    """What puts tokens together to texts again."""
    if "proto" in asset:
        return cast(Callable[[tf.RaggedTensor], tf.Tensor], hub._sentence_piece.detokenize)
    if "merges" not in asset:
        return None

    @cache
    def spelt() -> tf.Tensor:  # a second of work, which most have no use for
        names = {token: piece for piece, token in hub.vocabulary.items()}
        with tf.init_scope():
            return tf.constant([_spelt(names.get(token, "")) for token in range(max(names) + 1)])

    def decode(tokens: tf.RaggedTensor) -> tf.Tensor:
        pieces = tokens.with_values(tf.gather(spelt(), tokens.values)).to_tensor("")
        text = tf.strings.reduce_join(pieces, axis=1)
        return tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", "replace", replace_control_characters=False)

    return decode


def _readable(hub: Any) -> Callable[[Sequence[int]], list[str]]:
    from keras_hub.tokenizers import BytePairTokenizer, WordPieceTokenizer

    special = set(hub.special_tokens)
    if isinstance(hub, BytePairTokenizer):
        return _byte_pairs({token: piece for piece, token in hub.vocabulary.items()}, special)
    names = list(hub.get_vocabulary())
    if isinstance(hub, WordPieceTokenizer):
        inner = hub.suffix_indicator
        names = [
            name if name in special else name.removeprefix(inner) if name.startswith(inner) else f"▁{name}"
            for name in names
        ]
    return lambda ids: [names[token] for token in ids]


def _byte_pairs(names: dict[int, str], special: set[str]) -> Callable[[Sequence[int]], list[str]]:
    """Pieces whose signs stand for bytes. A character that is spread over several stands with the last."""

    def pieces(ids: Sequence[int]) -> list[str]:
        found: list[str] = []
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for token in ids:
            name = names.get(int(token), "")
            if name in special:
                found.append(name)
                continue
            text = decoder.decode(_spelt(name))
            is_first = all(earlier in special for earlier in found)
            found.append(f"▁{text.removeprefix(' ')}" if is_first or text.startswith(" ") else text)
        return found

    return pieces


@cache
def _byte_of() -> dict[str, bytes]:
    """The byte that each sign of a byte-pair vocabulary stands for."""
    from keras_hub.src.tokenizers.byte_pair_tokenizer import bytes_to_unicode

    return {sign: byte for byte, sign in zip(*bytes_to_unicode(), strict=True)}


def _spelt(piece: str) -> bytes:
    """The bytes of a piece."""
    known = _byte_of()
    return b"".join(known.get(sign, sign.encode()) for sign in piece)
