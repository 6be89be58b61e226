"""Prefix beam search (Graves, 2012; Hannun et al., 2014): the transcripts that are likeliest over all their paths, by
the sound and by a language model. Imports no TensorFlow."""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from tasks.speech_recognition.alphabet import BLANK
from tasks.speech_recognition.decoding import Sign
from tasks.speech_recognition.ngrams import UNKNOWN, NGrams

_NEVER = -math.inf
_LEAST = math.log(1e-4)
"""A label that is less likely at an answer is not followed there."""
_LABELS = 24
"""That are followed at an answer at most."""

State = tuple[tuple[int, ...], str]
"""The context of a language model, and the beginning of a word."""


class Judge(Protocol):
    """What transcripts are judged by besides the sound."""

    first: State

    def step(self, state: State, label: int) -> tuple[float, State]:
        """What a label adds to the score, and where it leads."""

    def end(self, state: State) -> float:
        """What the end adds."""


class ByLength:
    """Nothing but a bonus for each label.

    Args:
        bonus: that each label adds.
    """

    first: State = ((), "")

    def __init__(self, bonus: float = 0.0) -> None:
        self._bonus = bonus

    def step(self, state: State, label: int) -> tuple[float, State]:
        """See Judge."""
        del label
        return self._bonus, state

    def end(self, state: State) -> float:
        """See Judge."""
        del state
        return 0.0


class ByCharacters:
    """A language model of labels.

    Args:
        model: of the labels.
        weight: that it counts with, against the sound.
        bonus: that each label adds, as a model alone prefers short transcripts.
    """

    def __init__(self, model: NGrams, weight: float, bonus: float) -> None:
        self._model, self._weight, self._bonus = model, weight, bonus
        self.first: State = (model.first, "")

    def step(self, state: State, label: int) -> tuple[float, State]:
        """See Judge."""
        context, _ = state
        score = self._weight * self._model.log_probability(context, label) + self._bonus
        return score, (self._model.after(context, label), "")

    def end(self, state: State) -> float:
        """See Judge."""
        return self._weight * self._model.log_probability(state[0], 0)


class ByWords:
    """A language model of words, which counts as soon as a word is over.

    Args:
        model: of the words.
        vocabulary: the number of each word.
        alphabet: the text of each label.
        weight: that it counts with, against the sound.
        bonus: that each word adds.
    """

    def __init__(
        self, model: NGrams, vocabulary: dict[str, int], alphabet: Sequence[str], weight: float, bonus: float
    ) -> None:
        self._model, self._vocabulary, self._alphabet = model, vocabulary, alphabet
        self._weight, self._bonus = weight, bonus
        self.first: State = (model.first, "")

    def step(self, state: State, label: int) -> tuple[float, State]:
        """See Judge."""
        context, word = state
        text = self._alphabet[label]
        if not text[:1].isspace():
            return 0.0, (context, word + text)
        score, context = self._closed(context, word)
        return score, (context, text.strip())

    def end(self, state: State) -> float:
        """See Judge."""
        score, context = self._closed(*state)
        return score + self._weight * self._model.log_probability(context, 0)

    def _closed(self, context: tuple[int, ...], word: str) -> tuple[float, tuple[int, ...]]:
        if not word:
            return 0.0, context
        number = self._vocabulary.get(word, UNKNOWN)
        score = self._weight * self._model.log_probability(context, number) + self._bonus
        return score, self._model.after(context, number)


class _Prefix:
    """A beginning of a transcript, and the probabilities of all paths that say it so far."""

    __slots__ = ("blank", "judged", "label", "next_blank", "next_sign", "parent", "sign", "start", "state", "sure")

    def __init__(self, parent: "_Prefix | None", label: int, judged: float, state: State) -> None:
        self.parent, self.label, self.judged, self.state = parent, label, judged, state
        self.blank = self.sign = self.next_blank = self.next_sign = _NEVER
        self.start, self.sure = 0, _NEVER

    @property
    def total(self) -> float:
        """The log-probability of all paths, whatever they end in."""
        return _add(self.blank, self.sign)


class PrefixBeam:
    """See Decoder, in `decoding`.

    Args:
        beams: beginnings that are followed.
        judge: what they are judged by besides the sound.
    """

    def __init__(self, beams: int, judge: Judge) -> None:
        self._beams, self._judge, self._answers = beams, judge, 0
        root = _Prefix(None, BLANK, 0.0, judge.first)
        root.blank = 0.0
        self._prefixes = [root]

    def feed(self, log_probabilities: np.ndarray) -> None:
        """See Decoder."""
        for row in log_probabilities:
            self._step(row)
            self._answers += 1

    def finish(self) -> list[Sign]:
        """See Decoder."""
        best = max(self._prefixes, key=lambda one: one.total + one.judged + self._judge.end(one.state))
        signs = []
        prefix: _Prefix | None = best
        while prefix is not None and prefix.parent is not None:
            signs.append(Sign(prefix.label, prefix.start, prefix.start + 1, math.exp(prefix.sure)))
            prefix = prefix.parent
        return signs[::-1]

    def _step(self, row: np.ndarray) -> None:
        likely = np.flatnonzero(row > _LEAST)
        if len(likely) > _LABELS:
            likely = likely[np.argsort(-row[likely], kind="stable")[:_LABELS]]
        labels = [(label, float(row[label])) for label in likely.tolist() if label != BLANK]
        blank = float(row[BLANK])
        known = {(id(one.parent), one.label): one for one in self._prefixes}
        found = list(self._prefixes)
        for prefix in self._prefixes:
            total = prefix.total
            prefix.next_blank = _add(prefix.next_blank, total + blank)
            if prefix.parent is not None:
                prefix.next_sign = _add(prefix.next_sign, prefix.sign + float(row[prefix.label]))
            for label, share in labels:
                # The same label again is a new one only behind a blank.
                mass = (prefix.blank if label == prefix.label and prefix.parent is not None else total) + share
                if mass == _NEVER:
                    continue
                key = (id(prefix), label)
                longer = known.get(key)
                if longer is None:
                    score, state = self._judge.step(prefix.state, label)
                    longer = known[key] = _Prefix(prefix, label, prefix.judged + score, state)
                    found.append(longer)
                if mass > longer.total:
                    longer.start, longer.sure = self._answers, share
                longer.next_sign = _add(longer.next_sign, mass)
        for prefix in found:
            prefix.blank, prefix.sign = prefix.next_blank, prefix.next_sign
            prefix.next_blank = prefix.next_sign = _NEVER
        found.sort(key=lambda one: one.total + one.judged, reverse=True)
        self._prefixes = found[: self._beams]


def _add(one: float, other: float) -> float:
    """log(exp(one) + exp(other))."""
    if one < other:
        one, other = other, one
    return one if other == _NEVER else one + math.log1p(math.exp(other - one))
