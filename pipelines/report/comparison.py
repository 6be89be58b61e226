"""Finished runs of one task held against each other: in pairs of test examples where they have the same ones, else
side by side. Imports no TensorFlow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Literal

from pipelines.config import shown
from pipelines.errors import ConfigError, StateError
from pipelines.pairing import Judged, load_judged, paired_differences, why_no_pairs
from pipelines.report import words
from pipelines.report.folder import RunFiles, read_run
from pipelines.scoring import LOWER_IS_BETTER, label
from pipelines.task import Interval

Standing = Literal["better", "worse", "other", "not told apart", "the same"]
"""What a difference says: `other` is clear of 0, of a score of which no direction is better."""


@dataclass(frozen=True)
class Contender:
    """One of the runs."""

    letter: str
    files: RunFiles
    judged: Judged | None
    why: str = ""
    """Why it makes no pairs with the first run; nothing where it does, and of the first itself."""
    differences: Mapping[str, Interval] | None = None
    """What its scores have over the first run's; None where they make no pairs."""

    @property
    def scores(self) -> dict[str, Mapping[str, Any]]:
        """Those that have a value."""
        return {name: score for name, score in self.files.metrics["scores"].items() if words.finite(score)}

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.files.run.path.resolve().name


@dataclass(frozen=True)
class Comparison:
    """All of them; the first is what the others are held against."""

    contenders: tuple[Contender, ...]
    headline: str
    """The score that decides."""

    @property
    def first(self) -> Contender:
        """The reference."""
        return self.contenders[0]

    @property
    def task(self) -> str:
        """Of all of them."""
        return self.first.files.task

    @property
    def others(self) -> tuple[Contender, ...]:
        """Those that are held against the first."""
        return self.contenders[1:]

    @property
    def scores(self) -> list[str]:
        """The names of all scores, the headline first."""
        names = [self.headline, *(name for one in self.contenders for name in one.scores)]
        return list(dict.fromkeys(names))

    @property
    def verdicts(self) -> list[tuple[str, str]]:
        """Which is better and by how much, and what to make of it: a tone (good, bad, even or none) and a sentence."""
        told = [_verdict(self.first, other, self.headline) for other in self.others]
        paired = [other for other in self.others if other.differences is not None]
        if len(self.others) > 1 and paired:
            told.insert(0, ("", _foremost([self.first, *paired], self.headline)))
        if len(paired) > 1:
            note = (
                f"Each interval is of one pair with {self.first.letter}, and not corrected for there being "
                f"{len(paired)} pairs: if no run differed, one of them or more would be clear of 0 by chance with a "
                f"probability of up to {min(5 * len(paired), 100)} %."
            )
            told.append(("", note))
        return told

    @property
    def sentences(self) -> list[str]:
        """The same without the tones."""
        return [sentence for _, sentence in self.verdicts]

    @property
    def settings(self) -> dict[str, list[str]]:
        """The settings that differ: of each the value in every run, a dash where a run has none."""
        every = [one.files.settings for one in self.contenders]
        names = dict.fromkeys(name for settings in every for name in settings if name != "task")
        rows = {name: [shown(one[name]) if name in one else "–" for one in every] for name in names}
        return {name: row for name, row in rows.items() if len(set(row)) > 1}


def compare(folders: Sequence[Path]) -> Comparison:
    """Read finished runs of one task.

    Raises:
        StateError: one is no run folder, is damaged, or was not scored yet.
        ConfigError: one is named twice, they are of different tasks, have no score in common, or are too many.
    """
    if len(folders) > len(ascii_uppercase):
        raise ConfigError(f"there are {len(folders)} runs, and a page holds {len(ascii_uppercase)}: name fewer.")
    places = [folder.resolve() for folder in folders]
    if twice := [str(folder) for folder, place in zip(folders, places, strict=True) if places.count(place) > 1]:
        raise ConfigError(f"{twice[-1]} is named twice: name each run once.")
    runs = [_read(folder) for folder in folders]
    if other := [files for files in runs if files.task != runs[0].task]:
        raise ConfigError(
            f"{other[0].run.path} is a run of {other[0].task} and {runs[0].run.path} one of {runs[0].task}: their "
            "scores say nothing of each other; compare runs of one task."
        )
    contenders = [
        Contender(letter, files, load_judged(files.run.path))
        for letter, files in zip(ascii_uppercase, runs, strict=False)
    ]
    headline = _headline(contenders)
    first = contenders[0]
    return Comparison((first, *(_against(first, other) for other in contenders[1:])), headline)


def standing(score: str, difference: Interval) -> Standing:
    """What a difference of this score says."""
    if difference.low is None or difference.high is None or difference.low <= 0 <= difference.high:
        alike = difference.value == 0 and not (difference.low or difference.high)
        return "the same" if alike else "not told apart"
    if words.direction(score) not in ("lower is better", "higher is better"):
        return "other"
    return "better" if (difference.value > 0) != (score in LOWER_IS_BETTER) else "worse"


def _read(folder: Path) -> RunFiles:
    files = read_run(folder)
    if not files.metrics.get("scores"):
        raise StateError(f"{folder} has no scores yet: go on with sixfold resume {folder}.")
    return files


def _headline(contenders: Sequence[Contender]) -> str:
    """The first run's, where all have it; else the first score that all have."""
    headline = str(contenders[0].files.metrics.get("headline"))
    shared = [name for name in contenders[0].scores if all(name in one.scores for one in contenders)]
    if not shared:
        has = [f"{one.files.run.path} has {', '.join(list(one.scores)[:3])}" for one in contenders[:2]]
        raise ConfigError(f"the runs have no score in common ({'; '.join(has)}): compare runs that are scored alike.")
    return headline if headline in shared else shared[0]


def _against(first: Contender, other: Contender) -> Contender:
    if why := why_no_pairs(first.judged, other.judged):
        return Contender(other.letter, other.files, other.judged, why)
    assert first.judged is not None
    assert other.judged is not None
    values, others = ({name: score["value"] for name, score in one.scores.items()} for one in (first, other))
    found = paired_differences(first.judged, other.judged, values, others)
    return Contender(other.letter, other.files, other.judged, differences=found)


def _verdict(first: Contender, other: Contender, score: str) -> tuple[str, str]:
    """On the headline of two of them: a tone, and a sentence."""
    values = [one.scores[score]["value"] for one in (other, first)]
    figures = f"{label(score)} {words.number(values[0])} against {words.number(values[1])}"
    one, two = other.letter, first.letter
    found = (other.differences or {}).get(score)
    if other.differences is None:
        return "even", f"{one} and {two} make no pairs of examples to compare, as {other.why} ({figures})."
    if found is None:
        return "even", f"{one} and {two} have {figures}; that score was not resampled, so nothing tells it from chance."
    ground = f"95 % by paired bootstrap on the same {other.files.metrics.get('examples', 0):,} test examples"
    by = f"the difference is {words.signed(found.value)} ({words.range_of(found)}, {ground})"
    claims = {
        "better": ("good", f"{one} is better than {two}: {figures}; {by}."),
        "worse": ("bad", f"{one} is worse than {two}: {figures}; {by}."),
        "other": ("even", f"{one} differs from {two}: {figures}; {by}."),
        "not told apart": ("even", f"{one} and {two} cannot be told apart: {figures}; {by}."),
        "the same": ("even", f"{one} and {two} score the same on the same test examples: {figures}."),
    }
    return claims[standing(score, found)]


def _foremost(contenders: Sequence[Contender], score: str) -> str:
    sign = -1 if score in LOWER_IS_BETTER else 1
    best = max(contenders, key=lambda one: sign * one.scores[score]["value"])
    value = words.number(best.scores[score]["value"])
    return f"The best {label(score)} is that of {best.letter}, {best.name}: {value}."
