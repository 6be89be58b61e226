"""What the report shows of the test texts: confusions, confidence, lengths, mistakes, and which words decided."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from pipelines import scoring
from pipelines.task import Assets, Figure, Passage, Passages, Raw, Record, Store
from tasks.text_sentiment.config import Config
from tasks.text_sentiment.data.stores import TextStore

_MISTAKES = 20
_SHORTENED = 400
"""Characters of a mistaken text that are shown: both ends."""
_LONGEST_PLACE = 60
"""Characters of where it stands."""
_EXPLAINED = 4
"""Right answers, and as many wrong ones."""
_READABLE = 100
"""Tokens: longer texts are explained only where there are not enough of these."""


def figures(
    records: Sequence[Record], references: Raw, config: Config, assets: Assets, store: Store, model: Any
) -> list[Figure | Passages]:
    """The confusion matrix, the reliability diagram, F1 by class, lengths; the most confident mistakes, and the words
    that decided a few answers."""
    from pipelines.report import charts

    labels, classes = references["label"], assets["classes"]
    logits, temperature = scoring.outputs_of(records, len(labels), "text"), assets.get("temperature", 1.0)
    judged, before = scoring.outcomes(logits, labels, temperature), scoring.outcomes(logits, labels)
    correct = judged.predicted == labels
    confusion = scoring.confusion_matrix(labels, judged.predicted, len(classes))
    texts = cast(TextStore, store)
    return [
        charts.confusion(confusion, classes),
        charts.reliability(before.confidence, judged.confidence, correct, temperature),
        charts.class_bars(scoring.per_class(confusion, classes)),
        _lengths(references["tokens"], config, assets),
        *_mistakes(judged, labels, classes, texts),
        *_attributions(judged, references, config, assets, texts, model),
    ]


def _lengths(tokens: np.ndarray, config: Config, assets: Assets) -> Figure:
    from pipelines.report import charts
    from pipelines.text.tokenizers import tokenizer
    from tasks.text_sentiment.lengths import cut

    seen = cut(config, tokenizer(assets["tokenizer"]))
    kept = np.asarray(seen(tokens))
    most = int(seen(np.array([np.iinfo(np.int32).max], np.int64))[0])
    lost = int((tokens.astype(np.int64) - kept).sum())
    caption = f"Tokens of the test texts: {int(np.median(tokens)):,} in the middle, {tokens.max():,} at most. "
    if lost:
        caption += (
            f"The model sees {most:,} of a text at most ({config.long}): {(kept < tokens).mean():.1%} of the texts are "
            f"cut, and {lost / tokens.sum(dtype=np.int64):.1%} of all tokens are lost."
        )
    else:
        caption += f"The model sees {most:,} of a text at most: none is cut."
    about = {"name": "lengths", "title": "How long the texts are", "caption": caption}
    return charts.histogram(tokens, most + 0.5, f"cut at {most:,}", "tokens", **about)


def _mistakes(judged: scoring.Outcomes, labels: np.ndarray, classes: Sequence[str], store: TextStore) -> list[Passages]:
    wrong = np.flatnonzero(judged.predicted != labels)
    worst = wrong[np.argsort(-judged.confidence[wrong], kind="stable")[:_MISTAKES]]
    if not len(worst):
        return []
    passages = tuple(
        Passage(f"{_heading(index, judged, labels, classes)} · {_short_place(place)}", ((_shortened(text), 0.0),))
        for index, place, text in zip(worst.tolist(), store.ids(worst), store.texts(worst), strict=True)
    )
    caption = (
        "True → predicted class, the probability the model gave to its answer, and where the text stands: a label may "
        "be wrong there. Long texts are shortened."
    )
    return [Passages("mistakes", "The most confident mistakes", caption, passages)]


def _heading(index: int, judged: scoring.Outcomes, labels: np.ndarray, classes: Sequence[str]) -> str:
    """'positive → negative, 97.2%', or 'positive, 99.9%'."""
    from pipelines.report import charts

    names = [charts.shorten(classes[number], 40) for number in dict.fromkeys((labels[index], judged.predicted[index]))]
    return f"{' → '.join(names)}, {judged.confidence[index]:.1%}"


def _short_place(place: str) -> str:
    """'reviews.csv line 7' of 'data/reviews.csv line 7', the end of a long name."""
    name = place.rsplit("/", 1)[-1]
    return name if len(name) <= _LONGEST_PLACE else f"…{name[-_LONGEST_PLACE + 1 :]}"


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    half = _SHORTENED // 2
    return text if len(text) <= _SHORTENED else f"{text[:half].rstrip()} … {text[-half:].lstrip()}"


def _attributions(
    judged: scoring.Outcomes, references: Raw, config: Config, assets: Assets, store: TextStore, model: Any
) -> list[Passages]:
    from tasks.text_sentiment import attributions

    labels, classes = references["label"], assets["classes"]
    chosen = telling(judged, labels, references["tokens"])
    if len(classes) < 2 or not len(chosen):
        return []
    texts = list(zip(store.texts(chosen), judged.predicted[chosen].tolist(), strict=True))
    found = attributions.explain(model, texts, config, assets)
    if not found:
        return []
    passages = []
    for index, one in zip(chosen.tolist(), found, strict=True):
        verdict = "right" if judged.predicted[index] == labels[index] else "wrong"
        passages.append(Passage(f"{verdict}: {_heading(index, judged, labels, classes)}", one.words))
    caption = (
        "The most confident right answers and mistakes (true → predicted class, its probability), the true classes in "
        "turn. Words are coloured "
        "by how much they moved the predicted class's logit away from the others' mean, relative to the strongest word "
        "of each text: integrated gradients (Sundararajan et al., 2017) from padding in every word's place, over "
        f"{max(one.steps for one in found)} steps at most; the words' shares add up to the whole movement but for "
        f"{max(one.missing for one in found):.1%} at most. What the model does not see is grey. It shows what the "
        "model went by, not why."
    )
    legend = ("speaks against the answer", "speaks for it")
    return [Passages("attributions", "Which words decided", caption, tuple(passages), legend)]


def telling(judged: scoring.Outcomes, labels: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The texts to explain, int64: the surest right answers, then the surest mistakes, readable ones first, of every
    true class one before a second of any."""
    surest = np.argsort(-judged.confidence, kind="stable")
    surest = surest[tokens[surest] > 0]
    found = []
    for rows in (surest[(judged.predicted == labels)[surest]], surest[(judged.predicted != labels)[surest]]):
        long = tokens[rows] > _READABLE
        turns = _turns(2 * labels[rows].astype(np.int64) + long)
        found.append(rows[np.lexsort((turns, long))][:_EXPLAINED])
    return np.concatenate(found)


def _turns(kinds: np.ndarray) -> np.ndarray:
    """How many before each are of its kind, int64 [n]."""
    order = np.argsort(kinds, kind="stable")
    turns = np.empty(len(kinds), np.int64)
    turns[order] = np.arange(len(kinds)) - np.searchsorted(kinds[order], kinds[order])
    return turns
