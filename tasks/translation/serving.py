"""The translator as one graph: strings in, their translations and scores out, found by beam search."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipelines.devices import FIXED_SHAPES
from pipelines.served import Core, Serving
from pipelines.task import Assets, Raw, Record, Store
from pipelines.text.ids import Ids
from pipelines.text.pieces_graph import NEEDS, pieces_graph
from pipelines.text.search import Search
from tasks.translation.answers import answer
from tasks.translation.config import Config
from tasks.translation.data.stores import as_column
from tasks.translation.decoding import BEAMS_AT_ONCE, in_float32, room
from tasks.translation.encoding import marks
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
        NotServed: tensorflow_text is not installed.
    """
    translator = _Translator(model, config, assets)
    what = (
        f"texts in UTF-8, a sentence or a few each: of what has more than {translator.most} pieces the tail is cut "
        f"off, and `cut` says so (predict translates it in parts); translated by {config.beams} beams, a blank text to "
        "a blank one"
    )
    words = vocabulary(assets)
    spec = tf.TensorSpec([None], tf.string, name="text")
    return Serving(
        function=translator.answer,
        input=spec,
        what=what,
        inputs=partial(_texts, words),
        needs=(NEEDS,),
        tracked=(model, translator),
        output="translation",
        fetch=None if words.learnt else partial(_with_texts, words),
        gap=_gap,
        records=_records,
        whole=lambda record: record.answer.get("parts", 1) == 1,
        core=translator.core() if words.learnt else None,
        coreless="a preset's network translates in the SavedModel alone.",
    )


class _Translator(tf.Module):
    """What `prediction` does with texts of one part, a batch of about equal lengths at a time."""

    def __init__(self, model: keras.Model, config: Config, assets: Assets) -> None:
        super().__init__()
        words, ids = vocabulary(assets), Ids.of(assets)
        self._source = pieces_graph(words.source)
        self._target = self._source if words.target == words.source else pieces_graph(words.target)
        self._network, self._config, self._pad = model, config, ids.pad
        self._marks = [np.array([mark], np.int32) for mark in marks("source", ids)]
        self.most = longest_source(config, assets, beside=sum(mark.size for mark in self._marks))
        self._most_written = room(model, config, ids)[1]
        self._stepper = stepper_of(model, config, ids)
        self._search = Search(config.beams, no_repeat=config.no_repeat, ids=ids)
        self._rows = max(BEAMS_AT_ONCE // config.beams, 1)

    def answer(self, text: Any) -> dict[str, Any]:
        """See serving."""
        whole, said = self._read(text)
        pieces, there = whole[:, : self.most], tf.where(said)[:, 0]
        order = tf.gather(
            there, tf.argsort(tf.gather(pieces.row_lengths(), there), direction="DESCENDING", stable=True)
        )
        found, scores = self._all(tf.gather(pieces, order))
        rows = tf.shape(text, tf.int64)
        return {
            "translation": tf.tensor_scatter_nd_update(tf.fill(rows, ""), order[:, None], found),
            "score": tf.scatter_nd(order[:, None], scores, rows),
            "cut": whole.row_lengths() > self.most,
        }

    def core(self) -> Core:
        """From pieces to pieces."""
        return Core(
            function=self.search,
            input={"source": tf.TensorSpec([None, None], tf.int32), "limit": tf.TensorSpec([None], tf.int32)},
            what=_PIECES,
            before=self.pieces,
            after=self.texts,
            masked=True,
        )

    def pieces(self, text: Any) -> dict[str, Any]:
        """source int32 [rows, length], limit int32 [rows], said and cut bool [rows]: what the search takes, and of
        which texts it is anything, and not all."""
        whole, said = self._read(text)
        source, limits = self._marked(whole[:, : self.most])
        return {"source": source, "limit": limits, "said": said, "cut": whole.row_lengths() > self.most}

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
        found = self._target.decode(tf.RaggedTensor.from_tensor(x["pieces"], padding=self._pad))
        return {
            "translation": tf.where(x["said"], found, ""),
            "score": tf.where(x["said"], x["score"], 0.0),
            "cut": x["cut"],
        }

    def _read(self, text: Any) -> tuple[tf.RaggedTensor, Any]:
        """int32 [rows, ragged], and bool [rows]: which say anything."""
        prepared = self._source.prepared(text)
        whole = self._source.encode(prepared)
        return whole, (prepared != "") & (whole.row_lengths() > 0)

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
        found, scores = self._found(*self._marked(pieces))
        return self._target.decode(tf.RaggedTensor.from_tensor(found, padding=self._pad)), scores

    def _marked(self, pieces: tf.RaggedTensor) -> tuple[Any, Any]:
        """int32 [rows, length], between their marks, and int32 [rows], how many pieces a translation may have."""
        counts = tf.cast(pieces.row_lengths(), tf.float64)
        limits = tf.cast(tf.math.ceil(self._config.length_factor * counts), tf.int32) + FEW
        before, behind = (tf.tile(mark, [pieces.nrows(), 1]) for mark in self._marks)
        source = tf.concat([before, pieces, behind], axis=1).to_tensor(self._pad)
        return tf.ensure_shape(source, [None, None]), tf.minimum(limits, self._most_written)

    def _found(self, source: Any, limits: Any) -> tuple[Any, Any]:
        """The best of each: int32 [rows, length] and float32 [rows]."""
        blank = tf.fill([tf.shape(source)[0], tf.reduce_max(limits)], self._pad)
        with in_float32(self._network):
            penalty = tf.constant(self._config.length_penalty)
            found, scores = self._search(self._stepper, source, limits, blank, penalty)
        return found[:, 0], scores[:, 0]


def _texts(words: Vocabulary, store: Store, indices: np.ndarray) -> np.ndarray:
    """As the predictor puts them together from their pieces."""
    return as_column([text.encode() for text in texts_of(store.fetch(indices), words)[1]])


def _with_texts(words: Vocabulary, store: Store, indices: np.ndarray) -> Raw:
    """So that the predictor reads what the graph does: a preset's pieces, put together, may be cut into others."""
    raw = store.fetch(indices)
    return {**raw, "text": _texts(words, store, indices)}


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
