"""The classical model beside the network: TF-IDF of words and of letters into a logistic regression."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np

from pipelines import scoring
from pipelines.baselines import fitted, log_probabilities
from pipelines.task import Baseline, Data, Frozen, Predictor, Raw, Record, Store
from tasks.text_sentiment.answers import answer
from tasks.text_sentiment.config import Config
from tasks.text_sentiment.data.stores import TextStore

# How much it may take: IMDB as a whole (25,000 texts, 33 million characters) fits.
_MOST_CHARACTERS = 60_000_000
_INVERSE_PENALTY = 4.0
_FEW = 1_000
_WORD = r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|(?:(?![\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])\w)+|[^\w\s]"


def baseline(config: Config, data: Data, frozen: Frozen | None = None) -> Baseline:
    """Logistic regression (scikit-learn, lbfgs) on TF-IDF of the train split's words, pairs of words, and groups of
    letters within words; with a pretrained backbone too, as a yardstick that knows these texts alone."""
    del frozen
    from sklearn.linear_model import LogisticRegression

    store, classes = cast(TextStore, data.splits["train"]), data.assets["classes"]
    texts, indices = _sample(store, config.seed)
    grams = Grams()
    model = LogisticRegression(C=_INVERSE_PENALTY, max_iter=config.baseline_iterations)
    model, capped = fitted(model, grams.learn(texts), store.label[indices])
    note = grams.note
    if len(indices) < len(store):
        note += f"; fitted to {len(indices):,} of {len(store):,} training texts, chosen by the seed"
    if capped:
        note += f"; stopped at {config.baseline_iterations} iterations, before it converged"
    return Baseline("TF-IDF + logistic regression", _predictor(grams, model, classes), note, fetch)


def fetch(store: Store, indices: np.ndarray) -> Raw:
    """The texts of a split, as a person gives them: `text`, object [rows]."""
    column = np.empty(len(indices), object)
    column[:] = cast(TextStore, store).texts(indices)
    return {"text": column}


def _predictor(grams: "Grams", model: Any, classes: Sequence[str]) -> Predictor:
    def predict(batches: Iterable[tuple[list[str], Raw]]) -> Iterator[Record]:
        for ids, raw in batches:
            if not ids:
                continue
            texts = [text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in raw["text"]]
            for name, logits in zip(ids, log_probabilities(model, grams.features(texts), len(classes)), strict=True):
                yield Record(name, answer(scoring.softmax(logits), classes), logits)

    return predict


def _sample(store: TextStore, seed: int) -> tuple[list[str], np.ndarray]:
    """Texts to fit, and their indices, ascending: all of them, or as many as hold so many characters."""
    texts = store.texts(np.arange(len(store)))
    lengths = np.array([len(text) for text in texts], np.int64)
    if lengths.sum() <= _MOST_CHARACTERS:
        return texts, np.arange(len(store))
    order = np.random.default_rng(seed).permutation(len(store))
    fitting = int(np.searchsorted(np.cumsum(lengths[order]), _MOST_CHARACTERS))
    indices = np.sort(order[: max(fitting, 1)])
    return [texts[index] for index in indices], indices


Counts = Any
"""How often each gram stands in each text: sparse float32 [texts, grams]."""


class Grams:
    """Which words, pairs of words and groups of letters stand in texts, rare ones weighing more: TF-IDF with 1 + log of
    the counts, the rows of each kind of length 1."""

    def __init__(self) -> None:
        from sklearn.feature_extraction.text import TfidfTransformer

        self._kinds = [(kind, TfidfTransformer(sublinear_tf=True)) for kind in (Words(), Letters())]
        self.note = "texts without a word"

    def learn(self, texts: Sequence[str]) -> Any:
        """Find out which there are. Returns the texts' own features, sparse float32 [texts, features]."""
        counts = [kind.learn(texts) for kind, _ in self._kinds]
        found = [(one, each) for one, each in zip(self._kinds, counts, strict=True) if each.shape[1]]
        self._kinds = [one for one, _ in found]
        if found:
            self.note = " and ".join(_sized(each.shape[1], kind.name, kind.most) for (kind, _), each in found)
        return _beside([weighting.fit_transform(each) for (_, weighting), each in found], len(texts))

    def features(self, texts: Sequence[str]) -> Any:
        """Sparse float32 [texts, features]."""
        return _beside([weighting.transform(kind.counts(texts)) for kind, weighting in self._kinds], len(texts))


def _sized(count: int, name: str, most: int) -> str:
    return f"the {count:,} most frequent {name}" if count == most else f"{count:,} {name}"


def _beside(parts: Sequence[Any], texts: int) -> Any:
    from scipy.sparse import csr_matrix, hstack

    # Where no text has a word there is one feature, always 0.
    return hstack(parts, "csr") if parts else csr_matrix((texts, 1), dtype=np.float32)


class Words:
    """Words and signs, and pairs of them; in Chinese and Japanese each character is a word."""

    name, most = "words and pairs of words", 200_000

    def learn(self, texts: Sequence[str]) -> Counts:
        """Find out which there are, and count them."""
        if not any(map(re.compile(_WORD).search, texts)):
            return _none(len(texts))
        # In few texts a word that stands in one of them alone may still tell.
        self._vectorizer = _vectorizer(
            _WORD, ngram_range=(1, 2), min_df=1 if len(texts) < _FEW else 2, max_features=self.most
        )
        return self._vectorizer.fit_transform(texts)

    def counts(self, texts: Sequence[str]) -> Counts:
        """Of those that were found."""
        return self._vectorizer.transform(texts)


class Letters:
    """Groups of 3 to 5 letters within words, a blank at either end (scikit-learn's char_wb): counted once for each
    distinct word, which takes a fraction of the time of all texts."""

    name, most = "groups of 3 to 5 letters", 50_000

    def learn(self, texts: Sequence[str]) -> Counts:
        """Find out which there are, and count them."""
        if not any(text.strip() for text in texts):
            return _none(len(texts))
        words = _vectorizer(r"\S+")
        standing = words.fit_transform(texts)
        self._vectorizer = _vectorizer(None, analyzer="char_wb", ngram_range=(3, 5))
        within = self._vectorizer.fit_transform(words.get_feature_names_out())
        total = np.asarray(standing.sum(axis=0)).ravel() @ within
        self._kept = np.sort(np.argsort(-total, kind="stable")[: min(self.most, int((total > 1).sum()))])
        return standing @ within[:, self._kept]

    def counts(self, texts: Sequence[str]) -> Counts:
        """Of those that were found."""
        if not any(text.strip() for text in texts):
            return _none(len(texts), len(self._kept))
        words = _vectorizer(r"\S+")
        standing = words.fit_transform(texts)
        return standing @ self._vectorizer.transform(words.get_feature_names_out())[:, self._kept]


def _vectorizer(pattern: str | None, **options: Any) -> Any:
    from sklearn.feature_extraction.text import CountVectorizer

    return CountVectorizer(token_pattern=pattern, dtype=np.float32, **options)


def _none(texts: int, grams: int = 0) -> Counts:
    from scipy.sparse import csr_matrix

    return csr_matrix((texts, grams), dtype=np.float32)
