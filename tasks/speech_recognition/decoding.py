"""From the network's answers to labels: the likeliest at each answer, repetitions and blanks left out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tasks.speech_recognition.alphabet import BLANK


@dataclass(frozen=True)
class Sign:
    """A label that was found."""

    label: int
    start: int
    """The answer that it begins at."""
    end: int
    """The answer behind it."""
    probability: float
    """Of the label at the answer that is surest of it."""


class Decoder(Protocol):
    """Of one recording, whatever its length."""

    def feed(self, log_probabilities: np.ndarray) -> None:
        """The next answers, float32 [answers, labels]."""

    def finish(self) -> list[Sign]:
        """What was said."""


class Greedy:
    """The likeliest path (Graves et al., 2006, 3.2). Of each answer a number and a probability are kept."""

    def __init__(self) -> None:
        self._best: list[np.ndarray] = []
        self._sure: list[np.ndarray] = []

    def feed(self, log_probabilities: np.ndarray) -> None:
        """See Decoder."""
        best = log_probabilities.argmax(axis=-1).astype(np.int32)
        self._best.append(best)
        self._sure.append(np.take_along_axis(log_probabilities, best[:, None], axis=-1)[:, 0].astype(np.float32))

    def finish(self) -> list[Sign]:
        """See Decoder."""
        best = np.concatenate([np.zeros(0, np.int32), *self._best])
        sure = np.concatenate([np.zeros(0, np.float32), *self._sure])
        return runs(best, np.exp(sure))


def runs(path: np.ndarray, probabilities: np.ndarray) -> list[Sign]:
    """The labels that a path says: its stretches of one label, blanks left out."""
    if not len(path):
        return []
    starts = np.flatnonzero(np.concatenate([[True], path[1:] != path[:-1]]))
    ends = np.append(starts[1:], len(path))
    surest = np.maximum.reduceat(probabilities, starts)
    rows = zip(path[starts].tolist(), starts.tolist(), ends.tolist(), surest.tolist(), strict=True)
    return [Sign(*row) for row in rows if row[0] != BLANK]


@dataclass(frozen=True)
class Word:
    """A word of a transcript."""

    text: str
    start: float
    """Seconds."""
    end: float
    confidence: float
    """The mean probability of its characters, 0 to 1. Networks are surer than they should be."""


def words(signs: Sequence[Sign], alphabet: Sequence[str], seconds: float, whole: float = math.inf) -> list[Word]:
    """The words that labels spell, between blanks; a label may hold a blank itself, at its beginning.

    Args:
        signs: found, in order.
        alphabet: the text of each label.
        seconds: from one answer to the next.
        whole: seconds of the recording, which the last answer may reach beyond.
    """
    found: list[Word] = []
    held: list[Sign] = []

    def close() -> None:
        if text := "".join(alphabet[sign.label] for sign in held).strip():
            spelled = [sign for sign in held if alphabet[sign.label].strip()]
            sure = float(np.mean([sign.probability for sign in spelled]))
            found.append(Word(text, spelled[0].start * seconds, min(spelled[-1].end * seconds, whole), sure))
        held.clear()

    for sign in signs:
        if alphabet[sign.label][:1].isspace():
            close()
        held.append(sign)
    close()
    return found
