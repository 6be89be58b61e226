"""Integrated gradients (Sundararajan et al., 2017): how much each word of a text speaks for an answer."""

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from pipelines.devices import forward, slopes
from pipelines.task import Assets
from pipelines.text.tokenizers import Tokenizer, tokenizer
from tasks.text_sentiment.config import Config
from tasks.text_sentiment.encoding import encode
from tasks.text_sentiment.lengths import room

_STEPS = (32, 64, 128)
"""Points on the way from the blank text: so many more until little enough is missing."""
_MISSING = 0.03
_PART = 32
"""Points that are computed at once."""
_LEAST = 0.1
"""A logit: where the answer moved by less, this is what missing shares are of."""
_SHOWN = 400
"""Words of a text."""
_WORD = re.compile(r"\s*\S+")
"""And the blanks before it."""
_LONG_WORD, _LONGEST_WORD = 24, 2_000
"""Characters: words between these are split into their pieces."""
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Letters of scripts that put no blanks between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese."""


@dataclass(frozen=True)
class Explanation:
    """Why a text got its answer."""

    words: tuple[tuple[str, float | None], ...]
    """See Passage."""
    steps: int
    missing: float
    """What the shares of all tokens do not add up to, as a share of how far the output moved."""


def explain(model: keras.Model, texts: Sequence[tuple[str, int]], config: Config, assets: Assets) -> list[Explanation]:
    """What spoke for an answer, for each text and the number of a class; none where the model has no embeddings to
    start from.

    Args:
        model: int32 tokens to logits [rows, classes].
        texts: each of one token at least.
        config: the resolved settings.
        assets: of the model.
    """
    import tensorflow as tf

    words, encoder = tokenizer(assets["tokenizer"]), encode(config, assets, training=False)
    gradients: _Gradients | None = None
    found = []
    for text, output in texts:
        encoded, *_ = encoder({"text": tf.constant([text.encode("utf-8", "replace")])}, tf.zeros([1], tf.int64))
        x = np.asarray(encoded)
        gradients = gradients or gradients_of(model, x)
        if gradients is None:
            return []
        parts = split(text, words)
        places = kept(x, [token for _, tokens in parts for token in tokens], words, config)
        blank = x.copy()
        blank.reshape(-1)[places[places >= 0]] = words.pad
        values, steps, missing = integrate(gradients, x, blank, output)
        found.append(Explanation(_coloured(parts, places, values.reshape(-1)), steps, missing))
    return found


# ---- words and the tokens that they became ---------------------------------------------------------------------


def split(text: str, words: Tokenizer) -> list[tuple[str, list[int]]]:
    """The words of a text, blanks and all, each with its tokens; together they are the text's own tokens. Where words
    become other tokens than the whole, what stands there are the tokens' own letters."""
    whole = words.encode([text])[0].numpy().tolist()
    found = _WORD.findall(text)
    tokens = words.encode(found).to_list() if found else []
    if [token for each in tokens for token in each] == whole:
        return [part for pair in zip(found, tokens, strict=True) for part in _shorter(*pair, words)]
    pieces = [piece.replace("▁", " ") for piece in words.pieces(whole)]
    return [(piece, [token]) for piece, token in zip(pieces, whole, strict=True)]


def _shorter(word: str, tokens: list[int], words: Tokenizer) -> list[tuple[str, list[int]]]:
    """A word that is long, or of a script without blanks, in its pieces as far as they are its letters."""
    if len(tokens) < 2 or len(word) > _LONGEST_WORD or not (len(word) > _LONG_WORD or _UNSPACED.search(word)):
        return [(word, tokens)]
    pieces = [piece.replace("▁", "") for piece in words.pieces(tokens)]
    bare = word.lstrip()
    ends = _ends(bare, pieces) or (_ends(bare.lower(), pieces) if len(bare.lower()) == len(bare) else None)
    if ends is None:
        return [(word, tokens)]
    found: list[tuple[str, list[int]]] = []
    start, waiting = 0, []
    for end, token in zip([end + len(word) - len(bare) for end in ends], tokens, strict=True):
        # A piece without letters, as a mark or the first bytes of a character, goes with the next.
        waiting.append(token)
        if end > start and (start or end > len(word) - len(bare)):
            found.append((word[start:end], waiting))
            start, waiting = end, []
    return [*found[:-1], (found[-1][0], found[-1][1] + waiting)] if waiting else found


def _ends(letters: str, pieces: list[str]) -> list[int] | None:
    """Where each piece ends. What stands for unknown letters reaches to the next piece that is known, or is one letter
    where another unknown one follows. None where they do not fit."""
    ends: list[int] = []
    place = 0
    for piece, following in zip(pieces, [*pieces[1:], None], strict=True):
        if letters.startswith(piece, place):
            place += len(piece)
        elif following is None:
            place = len(letters)
        else:
            place = letters.find(following, place + 1) if following in letters else place + 1
        if place < 0:
            return None
        ends.append(place)
    return ends if place == len(letters) else None


def kept(x: np.ndarray, whole: list[int], words: Tokenizer, config: Config) -> np.ndarray:
    """Where in x each token of a text stands: int64 [tokens], -1 where it was cut off.

    Args:
        x: int32 [1, length] or [1, windows, length].
        whole: the text's tokens.
        words: what they were made by.
        config: says what is cut off.
    """
    places: list[int] = []
    for number, row in enumerate(x.reshape(-1, x.shape[-1])):
        used = np.flatnonzero(row != words.pad)
        first, last = int(words.start is not None), int(words.end is not None)
        inside = range(first, int(used[-1]) + 1 - last if len(used) else 0)
        places += [number * x.shape[-1] + place for place in inside]
    heads = {"truncate-head": 0, "head-tail": room(config, words) // 4}
    head = len(places) if len(places) == len(whole) else heads.get(config.long, len(places))
    found = np.array([*places[:head], *[-1] * (len(whole) - len(places)), *places[head:]], np.int64)
    there = np.flatnonzero(found >= 0)
    if len(found) != len(whole) or not np.array_equal(x.reshape(-1)[found[there]], np.array(whole, np.int64)[there]):
        raise ValueError("the model sees other tokens than those of the text")
    return found


def _coloured(
    parts: list[tuple[str, list[int]]], places: np.ndarray, values: np.ndarray
) -> tuple[tuple[str, float | None], ...]:
    """The words with the sums of their tokens' values, the largest at 1 or -1; None where the model sees none."""
    found: list[tuple[str, float | None]] = []
    first = 0
    for word, tokens in parts:
        seen = places[first : first + len(tokens)]
        first += len(tokens)
        seen = seen[seen >= 0]
        found.append((word, float(values[seen].sum()) if len(seen) else None))
    strongest = max((abs(value) for _, value in found if value is not None), default=0.0) or 1.0
    scaled = [(word, None if value is None else value / strongest) for word, value in found]
    return (*scaled[:_SHOWN], (" …", None)) if len(scaled) > _SHOWN else tuple(scaled)


# ---- gradients -------------------------------------------------------------------------------------------------


class _FromEmbeddings(keras.Model):
    """A model from its token embeddings on: [embeddings, tokens] -> how far each logit stands above the mean of the
    others. The tokens still say what is padding."""

    def __init__(self, model: keras.Model, embedding: keras.layers.Layer) -> None:
        super().__init__(dtype="float32", name="from_embeddings")
        self.whole, self.embedding = model, embedding
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        given, tokens = inputs
        with _calling(self.embedding, lambda *_, **__: keras.ops.cast(given, self.embedding.compute_dtype)):
            logits = keras.ops.cast(self.whole(tokens, training=training), "float32")
        classes = logits.shape[-1]
        return (logits - keras.ops.mean(logits, axis=-1, keepdims=True)) * (classes / (classes - 1))


class _Gradients:
    """The embeddings of a model's tokens, its output from them on, and how that changes with them."""

    def __init__(self, model: keras.Model, embedding: keras.layers.Layer) -> None:
        self._model, self._embedding = model, embedding
        rest = _FromEmbeddings(model, embedding)
        self._forward, self.slopes = forward(rest), slopes(rest)

    def embed(self, x: np.ndarray) -> np.ndarray:
        """float32 [..., length, width] of tokens, in as many dimensions as the model calls its embedding with."""
        (found,) = (embedded for layer, _, embedded in _embedded(self._model, x) if layer is self._embedding)
        return found

    def outputs(self, embedded: np.ndarray, x: np.ndarray) -> np.ndarray:
        """float32 [rows, classes]."""
        return np.asarray(self._forward([embedded, x]))


def integrate(gradients: _Gradients, x: np.ndarray, blank: np.ndarray, output: int) -> tuple[np.ndarray, int, float]:
    """How much each token moved an output away from where it is for the blank text: float32 of x's shape, the points
    that took, and the share of the movement that is missing from the sum.

    The straight way is followed in the points of Gauss and Legendre, where a smooth slope needs few.

    Args:
        gradients: of the model.
        x: int32 [1, ..., length].
        blank: what there is before, of the same shape; special tokens stay.
        output: the number of a class.
    """
    start, end = gradients.embed(blank), gradients.embed(x)
    before, after = (float(gradients.outputs(one, x)[0, output]) for one in (start, end))
    values = np.zeros(start.shape[:-1])
    for steps in _STEPS:
        slope = _mean_slope(gradients, x, start, end, output, steps)
        values = ((end - start) * slope).sum(axis=-1)
        missing = abs(values.sum() - (after - before)) / max(abs(after - before), _LEAST)
        if missing <= _MISSING:
            break
    return values.reshape(x.shape).astype(np.float32), steps, float(missing)


def _mean_slope(
    gradients: _Gradients, x: np.ndarray, start: np.ndarray, end: np.ndarray, output: int, steps: int
) -> np.ndarray:
    points, weights = np.polynomial.legendre.leggauss(steps)
    total = np.zeros(start.shape)
    for first in range(0, steps, _PART):
        part = slice(first, first + _PART)
        shares = ((points[part] + 1) / 2).reshape(-1, *[1] * start.ndim)
        between = (start + shares * (end - start)).astype(np.float32).reshape(-1, *start.shape[1:])
        many = len(points[part])
        found = gradients.slopes(between, np.full(many, output, np.int32), np.repeat(x, many, axis=0))
        each = found.reshape(many, *start.shape)
        total += (each * (weights[part] / 2).reshape(-1, *[1] * start.ndim)).sum(axis=0)
    return total


@contextlib.contextmanager
def _calling(layer: keras.layers.Layer, function: Callable[..., Any]) -> Iterator[None]:
    """The layer computes what the function says. A network that others built can be entered behind its embedding in no
    other way: that may be a part of a layer, which no model can be cut at."""
    vars(layer)["call"] = function
    try:
        yield
    finally:
        del vars(layer)["call"]


def _embedded(model: keras.Model, x: np.ndarray) -> list[tuple[keras.layers.Layer, np.ndarray, np.ndarray]]:
    """Each call of an embedding layer on the way of x through the model: the layer, what it was given and what it
    gave."""
    calls: list[tuple[keras.layers.Layer, np.ndarray, np.ndarray]] = []

    def noting(layer: keras.layers.Layer, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(given: Any, *rest: Any, **more: Any) -> Any:
            found = call(given, *rest, **more)
            shown = keras.ops.convert_to_numpy(keras.ops.cast(found, "float32"))
            calls.append((layer, keras.ops.convert_to_numpy(given), shown))
            return found

        return noted

    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Embedding)]
    with contextlib.ExitStack() as stack:
        for layer in layers:
            stack.enter_context(_calling(layer, noting(layer, layer.call)))
        model(keras.ops.convert_to_tensor(x), training=False)
    return calls


def gradients_of(model: keras.Model, x: np.ndarray) -> "_Gradients | None":
    """From the embedding layer on that is called with the tokens x, once: others are for positions and segments. None
    where there is no such layer."""
    found = [layer for layer, given, _ in _embedded(model, x) if np.array_equal(given.reshape(-1), x.reshape(-1))]
    return _Gradients(model, found[0]) if len(found) == 1 else None
