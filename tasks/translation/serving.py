"""The translator as one graph: strings in, their translations and scores out, found by beam search."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from pipelines.devices import FIXED_SHAPES
from pipelines.errors import NotServed
from pipelines.served import Core, Serving
from pipelines.task import Assets, Record, Store
from pipelines.text.pieces import END, PAD, Pieces
from pipelines.text.pieces_graph import NEEDS, PiecesGraph
from pipelines.text.search import Search
from tasks.translation.answers import answer
from tasks.translation.config import PRESET, Config
from tasks.translation.data.stores import as_column
from tasks.translation.decoding import BEAMS_AT_ONCE, in_float32
from tasks.translation.lengths import FEW, longest_source
from tasks.translation.prediction import texts_of
from tasks.translation.steppers import stepper_of
from tasks.translation.vocabulary import Vocabulary, vocabulary

_FLIPPED = 0.05
"""Share of texts whose translation may be another: where two are as likely up to rounding, either is found."""
_PIECES = (
    "source: the places of a text's pieces in model/source_pieces.json, the end behind them and padding behind that; "
    "limit: how many pieces its translation may have; a search over the whole batch at once"
)


def serving(model: keras.Model, config: Config, assets: Assets) -> Serving:
    """text strings [rows] -> translation strings [rows], score float32 [rows], cut bool [rows].

    Raises:
        NotServed: of a preset; or tensorflow_text is not installed.
    """
    if config.backbone == PRESET:
        raise NotServed("the network of a preset is not served yet, as its tokenizer is no graph here; use predict.")
    translator = _Translator(model, config, assets)
    most = longest_source(config, assets)
    what = (
        f"texts in UTF-8, a sentence or a few each: of what has more than {most} pieces the tail is cut off, and `cut` "
        f"says so (predict translates it in parts); translated by {config.beams} beams, a blank text to a blank one"
    )
    spec = tf.TensorSpec([None], tf.string, name="text")
    return Serving(
        function=translator.answer,
        input=spec,
        what=what,
        inputs=partial(_texts, vocabulary(assets)),
        needs=(NEEDS,),
        tracked=(model, translator),
        output="translation",
        gap=_gap,
        records=_records,
        whole=lambda record: record.answer.get("parts", 1) == 1,
        core=Core(
            function=translator.search,
            input={"source": tf.TensorSpec([None, None], tf.int32), "limit": tf.TensorSpec([None], tf.int32)},
            what=_PIECES,
            before=translator.pieces,
            after=translator.texts,
        ),
    )


class _Translator(tf.Module):
    """What `prediction` does with texts of one part, a batch of about equal lengths at a time."""

    def __init__(self, model: keras.Model, config: Config, assets: Assets) -> None:
        super().__init__()
        words = vocabulary(assets)
        self._source = PiecesGraph(cast(Pieces, words.source))
        self._target = self._source if words.joint else PiecesGraph(cast(Pieces, words.target))
        self._network, self._config, self._most = model, config, longest_source(config, assets)
        self._search = Search(config.beams, no_repeat=config.no_repeat)
        self._rows = max(BEAMS_AT_ONCE // config.beams, 1)

    def answer(self, text: Any) -> dict[str, Any]:
        """See serving."""
        prepared = self._source.prepared(text)
        whole = self._source.encode(prepared)
        cut = whole.row_lengths() > self._most
        pieces = whole[:, : self._most]
        there = tf.where(prepared != "")[:, 0]
        order = tf.gather(
            there, tf.argsort(tf.gather(pieces.row_lengths(), there), direction="DESCENDING", stable=True)
        )
        found, scores = self._all(tf.gather(pieces, order))
        rows = tf.shape(text, tf.int64)
        return {
            "translation": tf.tensor_scatter_nd_update(tf.fill(rows, ""), order[:, None], found),
            "score": tf.scatter_nd(order[:, None], scores, rows),
            "cut": cut,
        }

    def pieces(self, text: Any) -> dict[str, Any]:
        """source int32 [rows, length], limit int32 [rows] and cut bool [rows]: what the search takes, and what of the
        texts was too long for it."""
        whole = self._source.encode(self._source.prepared(text))
        pieces = whole[:, : self._most]
        source, limits = self._ended(pieces)
        return {"source": source, "limit": limits, "cut": whole.row_lengths() > self._most}

    def search(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """pieces int32 [rows, length], padding behind the last, and score float32 [rows], of all rows at once."""
        before = FIXED_SHAPES.set(True)  # rows stay together to the end, which other formats can do
        try:
            found, scores = self._found(x["source"], x["limit"])
        finally:
            FIXED_SHAPES.reset(before)
        return {"pieces": found, "score": scores}

    def texts(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """See serving; of what was found."""
        said = x["source"][:, 0] != END  # an empty text is nothing but its end
        found = self._target.decode(tf.RaggedTensor.from_tensor(x["pieces"], padding=PAD))
        return {
            "translation": tf.where(said, found, ""),
            "score": tf.where(said, x["score"], 0.0),
            "cut": x["cut"],
        }

    def _all(self, pieces: tf.RaggedTensor) -> tuple[Any, Any]:
        """strings [n] and float32 [n] of pieces int32 [n, ragged], the longest first."""
        count = tf.cast(pieces.nrows(), tf.int32)
        batches = -(-count // self._rows)
        empty = (
            tf.TensorArray(kind, batches, element_shape=[None], infer_shape=False) for kind in (tf.string, tf.float32)
        )

        def translate(number: Any, texts: Any, scores: Any) -> tuple[Any, Any, Any]:
            some = pieces[number * self._rows : tf.minimum((number + 1) * self._rows, count)]
            text, score = self._batch(some)
            return number + 1, texts.write(number, text), scores.write(number, score)

        _, texts, scores = tf.while_loop(
            lambda number, *_: number < batches, translate, (0, *empty), parallel_iterations=1
        )
        return texts.concat(), scores.concat()

    def _batch(self, pieces: tf.RaggedTensor) -> tuple[Any, Any]:
        found, scores = self._found(*self._ended(pieces))
        return self._target.decode(tf.RaggedTensor.from_tensor(found, padding=PAD)), scores

    def _ended(self, pieces: tf.RaggedTensor) -> tuple[Any, Any]:
        """int32 [rows, length], the end behind the last, and int32 [rows], how many pieces a translation may have."""
        counts = tf.cast(pieces.row_lengths(), tf.float64)
        limits = tf.cast(tf.math.ceil(self._config.length_factor * counts), tf.int32) + FEW
        source = tf.concat([pieces, tf.fill([pieces.nrows(), 1], END)], axis=1).to_tensor(PAD)
        return tf.ensure_shape(source, [None, None]), limits

    def _found(self, source: Any, limits: Any) -> tuple[Any, Any]:
        """The best of each: int32 [rows, length] and float32 [rows]."""
        blank = tf.fill([tf.shape(source)[0], tf.reduce_max(limits)], PAD)
        with in_float32(self._network):
            stepper = stepper_of(self._network, self._config)
            found, scores = self._search(stepper, source, limits, blank, tf.constant(self._config.length_penalty))
        return found[:, 0], scores[:, 0]


def _texts(words: Vocabulary, store: Store, indices: np.ndarray) -> np.ndarray:
    """As the predictor puts them together from their pieces."""
    return as_column([text.encode() for text in texts_of(store.fetch(indices), words)[1]])


def _records(ids: Sequence[str], inputs: Mapping[str, Any], outputs: Mapping[str, np.ndarray]) -> list[Record]:
    rows = zip(ids, inputs["text"], outputs["translation"], outputs["score"], strict=True)
    return [
        Record(name, answer(text.decode(), [(found.decode(), float(score))] if text.strip() else []))
        for name, text, found, score in rows
    ]


def _gap(found: Mapping[str, np.ndarray], records: Sequence[Record]) -> np.ndarray:
    """float [rows]: by how much scores differ, relative where they are above 1; infinite where translations do, unless
    these are few. What predict translated in parts is passed over, if only all of it was cut here."""
    wanted = [(record.answer["translation"].encode(), record.beside) for record in records]  # the score, not rounded
    whole = np.array([record.answer.get("parts", 1) == 1 for record in records])
    same = np.array([text == other for text, (other, _) in zip(found["translation"], wanted, strict=True)])
    scores = np.array([score for _, score in wanted])
    gaps: np.ndarray = np.abs(found["score"] - scores) / np.maximum(1.0, np.abs(scores))
    if np.mean(~same & whole) > _FLIPPED:
        gaps[~same] = np.inf
    gaps[~whole] = 0.0
    gaps[whole == found["cut"]] = np.inf
    return gaps
