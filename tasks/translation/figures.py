"""What the report shows of the test sentences: scores by length, the best and the worst side by side, what the model
looked at, what it copied."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from pipelines import scoring
from pipelines.task import Assets, Figure, Passage, Passages, Raw, Record, Store
from tasks.translation import charts, measures
from tasks.translation.config import Config
from tasks.translation.data.stores import PairStore

_SHOWN = 6
"""Best, and as many worst and middling ones."""
_LEAST_WORDS = 4
"""Of a reference that is shown as one of the best: a word or two are no feat."""
_LOOKED_AT = 3
_MOST_PIECES = 24
"""Of a sentence whose attention is drawn."""
_COPIED = 30
_PLACE = 60
"""Characters of where a sentence stands."""


def figures(
    records: Sequence[Record], references: Raw, config: Config, assets: Assets, store: Store, model: Any
) -> list[Figure | Passages]:
    """Scores by length; sentences, best, middling and worst; attention; words that were copied."""
    found = [str(record.answer["translation"]) for record in records]
    given = list(references["target"])
    counted = measures.chrf(found, given)
    pairs = cast(PairStore, store)
    return [
        _lengths(measures.bleu(found, given), counted, references["tokens"]),
        *_sentences(counted.each, records, references),
        *_attention(counted.each, references, config, assets, pairs, model),
        *_copied(found, references),
    ]


def _lengths(bleu: measures.Counted, chrf: measures.Counted, tokens: np.ndarray) -> Figure:
    parts = scoring.quarters(tokens, "pieces")
    rows = {name: (bleu.part(part).value, chrf.part(part).value, len(part)) for name, part in parts.items()}
    return charts.by_length(rows)


def _sentences(each: np.ndarray, records: Sequence[Record], references: Raw) -> list[Figure | Passages]:
    """The source in grey, the translation with the reference's words coloured, the reference."""
    words = np.array([len(text.split()) for text in references["target"]])
    order = np.lexsort((np.arange(len(each)), -each))
    best = order[words[order] >= _LEAST_WORDS][:_SHOWN]
    middle = order[max(len(order) // 2 - _SHOWN // 2, 0) :][:_SHOWN]
    worst = order[::-1][:_SHOWN]
    chosen: dict[int, str] = {}
    for kind, rows in (("worst", worst), ("middling", middle), ("best", best)):
        for row in rows.tolist():
            chosen.setdefault(row, kind)
    passages = [
        Passage(
            f"{kind}: {charts.place(records[row].id)}, chrF {each[row]:.1f}",
            _side_by_side(references["source"][row], records[row].answer["translation"], references["target"][row]),
        )
        for row, kind in chosen.items()
    ]
    caption = (
        "By chrF of the single sentence: source, translation, and the reference it is held against. Coloured are words "
        "of the translation that stand in the reference. A good translation may share few words with it."
    )
    return [Passages("sentences", "Translations beside their references", caption, tuple(passages))]


def _side_by_side(source: str, translation: str, reference: str) -> tuple[tuple[str, float | None], ...]:
    left = Counter(_bare(word) for word in reference.split())
    words: list[tuple[str, float | None]] = [(f"{source}  →  ", None)]
    for word in translation.split():
        there = left[_bare(word)] > 0
        left[_bare(word)] -= there
        words.append((f"{word} ", 1.0 if there else 0.0))
    if not translation.strip():
        words.append(("nothing ", 0.0))
    return (*words, (f"  (reference: {reference})", None))


def _bare(word: str) -> str:
    return word.strip(".,;:!?\"'()«»„“”").casefold()


def _attention(
    each: np.ndarray, references: Raw, config: Config, assets: Assets, store: PairStore, model: Any
) -> list[Figure | Passages]:
    """Where the model looks in the source as it reads the reference: of sentences of a middling score."""
    from tasks.translation.looking import attention

    assert store.sizes is not None
    short = np.flatnonzero((store.sizes.max(axis=1) <= _MOST_PIECES) & (references["tokens"] >= _LEAST_WORDS))
    if not len(short):
        return []
    middling = short[np.argsort(np.abs(each[short] - np.median(each[short])), kind="stable")[:_LOOKED_AT]]
    found = attention(model, store.fetch(middling), config, assets)
    return [charts.attention(found)] if found else []


def _copied(found: Sequence[str], references: Raw) -> list[Figure | Passages]:
    """Words of sources that stand in the translations as they are, and not in the references."""
    times: Counter[str] = Counter()
    for translation, source, reference in zip(found, references["source"], references["target"], strict=True):
        wrong = {*map(_bare, source.split())} & {*map(_bare, translation.split())}
        times.update(word for word in wrong - {*map(_bare, reference.split())} if any(map(str.isalpha, word)))
    if not times:
        return []
    most = sorted(times.items(), key=lambda pair: (-pair[1], pair[0]))[:_COPIED]
    words = tuple((f"{word} ({count:,})  ", 0.0) for word, count in most)
    caption = (
        "Words that were taken over from the source as they are, though the reference has none like them, and in how "
        "many sentences: names may be right there, other words are a sign that they were never learnt."
    )
    return [Passages("copied", "Words that were copied", caption, (Passage("most often", words),))]
