"""From texts to translations: cut into pieces, followed by beam search, put together; texts that are longer than what
the model was trained on in parts."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from pipelines.devices import forward
from pipelines.raw import count_of, rows_of
from pipelines.task import Assets, Predictor, Raw, Record
from pipelines.text.ids import Ids
from pipelines.text.pieces import prepared
from tasks.translation import segments
from tasks.translation.answers import answer
from tasks.translation.config import Config
from tasks.translation.decoding import Decoder
from tasks.translation.encoding import marks, padded_pair
from tasks.translation.lengths import FEW, longest_source
from tasks.translation.vocabulary import Vocabulary, vocabulary

_PAIRS = 64
"""References whose likelihood is computed at once."""


def predictor(model: keras.Model, config: Config, assets: Assets, options: Mapping[str, Any]) -> Predictor:
    """Texts, or the pieces of sources, to translations; where the pieces of a `target` come along, Record.output holds
    float64 [2]: the negative log-probability of that target in all, and how many pieces it has. Record.beside holds the
    score as it was before it was rounded.

    Options: `beams`, `length_penalty`, `no_repeat` in place of the run's settings; `n_best`, how many translations.
    """
    translator = _Translator(model, config, assets, options)

    def predict(batches: Iterable[tuple[list[str], Raw]]) -> Iterator[Record]:
        for ids, raw in batches:
            if ids:
                yield from translator.records(ids, raw)

    return predict


class _Translator:
    def __init__(self, model: keras.Model, config: Config, assets: Assets, options: Mapping[str, Any]) -> None:
        chosen = {name: options.get(name) for name in ("beams", "length_penalty", "no_repeat")}
        self._config = config.model_copy(update={name: value for name, value in chosen.items() if value is not None})
        self._n_best = int(options.get("n_best") or 1)
        if self._n_best > self._config.beams:
            self._config = self._config.model_copy(update={"beams": self._n_best})
        self._words = vocabulary(assets)
        ids = Ids.of(assets)
        self._decoder = Decoder(model, self._config, ids)
        self._marks = marks("source", ids)
        self._most = longest_source(config, assets, beside=sum(map(len, self._marks)))
        self._likelihood = _Likelihood(model, config, ids)

    def records(self, ids: Sequence[str], raw: Raw) -> Iterator[Record]:
        """Of one batch."""
        refused, texts = texts_of(raw, self._words)
        parts = self._parts(texts, raw)
        found = self._translated([part for each in parts for part in each])
        outputs = self._likelihood.of(raw) if "target" in raw else [None] * len(ids)
        place = 0
        for name, why, text, own, output in zip(ids, refused, texts, parts, outputs, strict=True):
            mine = found[place : place + len(own)]
            place += len(own)
            if why is not None:
                yield Record(name, {}, error=why)
            else:
                joined = self._joined(mine)
                given = answer(text, joined, parts=len(own), n_best=self._n_best)
                yield Record(name, given, output, beside=joined[0][1] if joined else 0.0)

    def _parts(self, texts: Sequence[str], raw: Raw) -> list[list[list[int]]]:
        """Of each text the pieces of its parts; none of one that says nothing."""
        whole = _rows(raw) if "text" not in raw else self._words.source.encode(texts)
        cut = self._words.source.encode

        def blank(text: str, pieces: Sequence[int]) -> bool:
            return not (pieces and prepared(text, lowercase=False))

        def split(text: str) -> list[str]:
            return segments.split(prepared(text, lowercase=False), self._fits)

        return [
            [] if blank(text, pieces) else [pieces] if len(pieces) <= self._most else cut(split(text))
            for text, pieces in zip(texts, whole, strict=True)
        ]

    def _fits(self, text: str) -> bool:
        return len(self._words.source.encode([text])[0]) <= self._most

    def _translated(self, parts: Sequence[list[int]]) -> list[list[tuple[str, float]]]:
        """Of the pieces of each the best translations with their scores, best first."""
        if not parts:
            return []
        before, behind = self._marks
        sources = [np.array([*before, *pieces, *behind], np.int32) for pieces in parts]
        config = self._config
        limits = np.array([math.ceil(config.length_factor * len(pieces)) + FEW for pieces in parts], np.int32)
        found = self._decoder.translate_all(
            sources,
            limits,
            beams=config.beams,
            n_best=self._n_best,
            length_penalty=config.length_penalty,
            no_repeat=config.no_repeat,
        )
        written = iter(self._words.target.decode([one for each in found for one in each.pieces]))
        return [[(next(written), float(score)) for score in each.scores] for each in found]

    def _joined(self, parts: Sequence[Sequence[tuple[str, float]]]) -> list[tuple[str, float]]:
        """The parts' best as one, their second bests as one, and so on; the score is the mean of theirs."""
        if not parts:
            return []
        return [
            (segments.join([text for text, _ in row]), float(np.mean([score for _, score in row])))
            for row in zip(*parts, strict=True)
        ]


def texts_of(raw: Raw, words: Vocabulary) -> tuple[list[str | None], list[str]]:
    """Of each row why it was refused, if it was, and its text."""
    if "text" not in raw:
        texts = words.source.decode(_rows(raw))
        return [None] * len(texts), texts
    given = [text if isinstance(text, bytes) else str(text).encode() for text in raw["text"]]
    refused = [text[1:].decode("utf-8", "replace") if text[:1] == b"\0" else None for text in given]
    whole = ["" if why else text.decode("utf-8", "replace") for text, why in zip(given, refused, strict=True)]
    return refused, whole


def _rows(raw: Raw) -> list[list[int]]:
    """The pieces of each source."""
    splits, pieces = raw["source_splits"].tolist(), raw["source"].tolist()
    return [pieces[start:end] for start, end in zip(splits, splits[1:], strict=False)]


class _Likelihood:
    """How likely the given translations are."""

    def __init__(self, model: keras.Model, config: Config, ids: Ids) -> None:
        self._forward = forward(model)
        self._config, self._ids = config, ids

    def of(self, raw: Raw) -> list[np.ndarray]:
        """float64 [2] for each row: the negative log-probability, its end included, and how many pieces that are."""
        found: list[np.ndarray] = []
        for start in range(0, count_of(raw), _PAIRS):
            part = rows_of(raw, np.arange(start, min(start + _PAIRS, count_of(raw))))
            x, y, weight = padded_pair(part, self._config, self._ids)
            logits = self._forward(x).astype(np.float64)
            top = logits.max(axis=-1, keepdims=True)
            total = np.log(np.exp(logits - top).sum(axis=-1)) + top[..., 0]
            own = np.take_along_axis(logits, y[..., None], axis=-1)[..., 0]
            found += list(np.stack([((total - own) * weight).sum(axis=1), weight.sum(axis=1)], axis=1))
        return found
