"""The built-in sample: short reviews of many things, put together by a grammar. Synthetic: nobody wrote them.

Half of them are negative and half positive. What a review says depends on the order of its words ("not bad at all",
"the soup was great, but …"), and the words themselves are nearly the same in both classes.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TypeVar

from pipelines.sources.philox import numbers
from tasks.text_sentiment.data.sample_words import DOMAINS, GENERAL, Rules

CLASSES = ("negative", "positive")
COUNT = 3_000

_SEED = 5
_CHOICES = 64
"""Random numbers of a review, more than the longest needs."""
_T = TypeVar("_T")
_SPARE = 1.1
"""Reviews that are made for each that is kept: what came before is left out."""
_SLOT = re.compile(r"\{(!?)(\w+)\}")
_ARTICLE = re.compile(r"\b([Aa])(?= [aeiou])")
_SENTENCE = re.compile(r"(?:^|\. )[a-z]")


_Piece = str | tuple[str, bool]
"""Text as it stands, or the name of a rule and whether it is to say the opposite."""
_Grammar = dict[tuple[str, bool], list[list[_Piece]]]
"""(rule, whether the sentiment is positive) -> its alternatives."""


def sample() -> tuple[list[str], list[str]]:
    """COUNT different texts and the class of each, always the same ones in the same order."""
    grammars = [_grammar(GENERAL | own) for own in DOMAINS.values()]
    labels: dict[str, str] = {}
    for row, choices in enumerate(numbers(_SEED, int(COUNT * _SPARE), _CHOICES).tolist()):
        positive = row % 2 == 1
        labels.setdefault(_review(grammars, iter(choices), positive), CLASSES[positive])
    texts = list(labels)[:COUNT]
    return texts, [labels[text] for text in texts]


def _review(grammars: Sequence[_Grammar], choices: Iterator[int], positive: bool) -> str:
    text = _ARTICLE.sub(r"\1n", _grow(_chosen(grammars, choices), "review", positive, choices, set()))
    return _SENTENCE.sub(lambda found: found[0].upper(), text)


def _grow(grammar: _Grammar, rule: str, positive: bool, choices: Iterator[int], said: set[str]) -> str:
    """What a rule makes. A word or phrase without slots is said once in a review."""
    pieces = _chosen(grammar[rule, positive], choices)
    while len(pieces) == 1 and pieces[0] in said:
        pieces = _chosen(grammar[rule, positive], choices)
    if len(pieces) == 1:
        said.add(str(pieces[0]))
    return "".join(
        piece if isinstance(piece, str) else _grow(grammar, piece[0], positive ^ piece[1], choices, said)
        for piece in pieces
    )


def _chosen(options: Sequence[_T], choices: Iterator[int]) -> _T:
    return options[next(choices) * len(options) >> 32]


def _grammar(rules: Rules) -> _Grammar:
    grammar: _Grammar = {}
    for name, alternatives in rules.items():
        for positive in (False, True):
            if name[-1] != "-+"[not positive]:
                grammar[name.rstrip("+-"), positive] = [_pieces(text) for text in alternatives]
    return grammar


def _pieces(text: str) -> list[_Piece]:
    """'not {!word}' -> 'not ', ('word', True), ''."""
    between = _SLOT.split(text)
    slots = zip(between[2::3], between[1::3], between[3::3], strict=True)
    return [between[0], *(piece for name, turned, after in slots for piece in ((name, turned == "!"), after))]
