"""What a translator is held against: the nearest training sentence's translation (translation memory), and the source
as it stands."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np

from pipelines.task import Baseline, Data, Frozen, Predictor, Raw, Record, Store
from tasks.translation.answers import answer
from tasks.translation.config import Config
from tasks.translation.data.stores import PairStore

_ROWS = 128
"""Sentences that are looked up at once."""
_MOST = 500_000
"""Training sentences that are looked through."""

Translate = Callable[[Sequence[str]], list[str]]


def baseline(config: Config, data: Data, frozen: Frozen | None = None) -> Baseline:
    """The yardstick is the translation memory; beside it stands the copied source."""
    del frozen
    store = cast(PairStore, data.splits["train"])
    rows = np.arange(len(store))
    note = "TF-IDF of words, pairs of words and groups of letters"
    if len(rows) > _MOST:
        rows = np.sort(np.random.default_rng(config.seed).permutation(len(rows))[:_MOST])
        note += f"; of {len(rows):,} of {len(store):,} training sentences, chosen by the seed"
    memory = Memory(store.sources(rows), store.targets(rows))
    return Baseline(
        "translation memory",
        _predictor(memory.translate),
        note,
        fetch,
        others=(naive(config, data),),
    )


def naive(config: Config, data: Data) -> Baseline:
    """The source as it stands."""
    del config, data
    return Baseline("copied source", _predictor(list), "", fetch)


def fetch(store: Store, indices: np.ndarray) -> Raw:
    """The sources of a split, as a person gives them: `text`, object [rows]."""
    column = np.empty(len(indices), object)
    column[:] = cast(PairStore, store).sources(indices)
    return {"text": column}


class Memory:
    """Sentences that were translated before.

    Args:
        sources: of training.
        targets: their translations.
    """

    def __init__(self, sources: Sequence[str], targets: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.pipeline import make_union

        self._targets = targets
        self._features = make_union(
            TfidfVectorizer(token_pattern=r"\S+", ngram_range=(1, 2), sublinear_tf=True, dtype=np.float32),
            TfidfVectorizer(
                analyzer="char_wb", ngram_range=(3, 4), sublinear_tf=True, dtype=np.float32, max_features=100_000
            ),
        )
        self._known: Any = self._features.fit_transform(sources).tocsr()

    def translate(self, texts: Sequence[str]) -> list[str]:
        """The translation of the nearest source of each, by the cosine; of equals the first."""
        found: list[str] = []
        for start in range(0, len(texts), _ROWS):
            near = (self._features.transform(texts[start : start + _ROWS]) @ self._known.T).tocsr()
            # As a whole row each: a row without any likeness is all 0, and its first is taken.
            best = np.asarray(near.argmax(axis=1)).ravel()
            found += [self._targets[place] for place in best.tolist()]
        return found


def _predictor(translate: Translate) -> Predictor:
    def predict(batches: Iterable[tuple[list[str], Raw]]) -> Iterator[Record]:
        for ids, raw in batches:
            texts = [text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in raw["text"]]
            for name, text, found in zip(ids, texts, translate(texts), strict=True):
                yield Record(name, answer(text, [(found, 0.0)]))

    return predict
