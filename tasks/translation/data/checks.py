"""What is wrong with pairs of texts: a side that is no text, sides that cannot translate each other."""

import re
from collections.abc import Callable, Sequence

import numpy as np

from pipelines.sources.scan import BadExample
from pipelines.task import Problem

Place = Callable[[int], str]
"""How a person finds one side of a row again."""
Bad = list[tuple[int | None, Problem]]

_MORE = 10
"""Words that each side counts more, so that short ones are not held against each other."""
_CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
_NAMED = 3


def bad_pairs(wrong: tuple[dict[int, BadExample], dict[int, BadExample]], places: tuple[Place, Place]) -> Bad:
    """Rows of which a side is no text, each once, by file and line."""
    bad: Bad = []
    for row in sorted(wrong[0].keys() | wrong[1].keys()):
        sides = [(places[side](row), wrong[side][row]) for side in (0, 1) if row in wrong[side]]
        where, found = sides[0]
        if len(sides) == 2 and {one.kind for _, one in sides} == {"empty-text"}:
            beside = "" if sides[1][0] == where else f" ({sides[1][0]})"
            found = BadExample("empty-text", f"is empty, and so is its translation{beside}: leave both out.")
        bad.append((row, Problem("error", found.kind, where, found.message)))
    return bad


def far_lengths(words: np.ndarray, longest: float, places: tuple[Place, Place]) -> Bad:
    """Rows of which one side has `longest` times the words of the other, int64 [n, 2]; empty sides are another's
    affair."""
    more = words + _MORE
    far = (more.max(axis=1) >= longest * more.min(axis=1)) & (words > 0).all(axis=1)
    bad: Bad = []
    for row in np.flatnonzero(far).tolist():
        source, target = words[row].tolist()
        beside = "" if places[1](row) == places[0](row) else f" ({places[1](row)})"
        message = f"has {_words(source)} and its translation{beside} {target:,}: mend it, or raise --longest-ratio."
        bad.append((row, Problem("error", "length-ratio", places[0](row), message)))
    return bad


def oddities(source: Sequence[str], target: Sequence[str], places: tuple[Place, Place]) -> list[Problem]:
    """Warnings about what can be used all the same: sides that are equal, characters that are none of a text."""
    problems = []
    same = [row for row, pair in enumerate(zip(source, target, strict=True)) if pair[0] and pair[0] == pair[1]]
    if same:
        stand = "1 pair has" if len(same) == 1 else f"{len(same):,} pairs have"
        message = f"{stand} the same text on both sides: are they translated?"
        problems.append(Problem("warning", "identical-sides", _listed(same, places[0]), message))
    for texts, place in zip((source, target), places, strict=True):
        odd = [row for row, text in enumerate(texts) if _CONTROL.search(text)]
        if odd:
            hold = "1 text holds" if len(odd) == 1 else f"{len(odd):,} texts hold"
            message = f"{hold} control characters or line separators other than LF, which are read as blanks."
            problems.append(Problem("warning", "control-characters", _listed(odd, place), message))
    return problems


def word_counts(source: Sequence[str], target: Sequence[str]) -> np.ndarray:
    """int64 [n, 2]."""
    return np.array([(len(a.split()), len(b.split())) for a, b in zip(source, target, strict=True)], np.int64).reshape(
        -1, 2
    )


def _listed(rows: Sequence[int], place: Place) -> str:
    return ", ".join(map(place, rows[:_NAMED])) + (", …" if len(rows) > _NAMED else "")


def _words(count: int) -> str:
    return "1 word" if count == 1 else f"{count:,} words"
