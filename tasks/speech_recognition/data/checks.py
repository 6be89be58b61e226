"""What is wrong with clips: sound and transcript that cannot belong together, sound that is hard to hear."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from pipelines.paired.parts import Part
from pipelines.task import Problem
from tasks.speech_recognition.alphabet import learnt, steps, strange
from tasks.speech_recognition.data.listening import CHANNELS, CLIPPED, FRAMES, RATE
from tasks.speech_recognition.data.stores import Clips

Bad = list[tuple[int | None, Problem]]

_OFF_SECONDS, _OFF_SHARE = 0.25, 0.05
"""What a manifest's duration may be wrong by: the larger of the two."""
_CLIPPED_SHARE, _CLIPPED_LEAST = 1e-3, 16
_ROUNDING = 1e-9
_NAMED = 3
_SHOWN = 10
"""Characters."""


def misfits(clips: Clips, rows: Iterable[int], claimed: np.ndarray, least: float, stride: float | None) -> Bad:
    """Clips that are too short, or of another length than their manifest says, or too short for what they say.

    Args:
        clips: all of a source.
        rows: those that can be heard.
        claimed: float64 [n], seconds as the manifest has them; NaN where it does not say.
        least: seconds.
        stride: seconds from one answer of the network to the next; None where what it answers is not known yet.
    """
    bad: Bad = []
    for row in rows:
        seconds, said = float(clips.seconds[row]), float(claimed[row])
        found = (
            _too_short(seconds, least) or _other_length(seconds, said) or _too_fast(seconds, clips.texts[row], stride)
        )
        if found:
            bad.append((row, Problem("error", found[0], clips.where(row), found[1])))
    return bad


def oddities(clips: Clips, facts: np.ndarray) -> list[Problem]:
    """Warnings about what can be used all the same: clips that are clipped, files of several channels or rates."""
    problems = []
    clipped = np.flatnonzero(facts[:, CLIPPED] > np.maximum(_CLIPPED_SHARE * facts[:, FRAMES], _CLIPPED_LEAST))
    if len(clipped):
        worst = clipped[np.argsort(-facts[clipped, CLIPPED] / facts[clipped, FRAMES], kind="stable")]
        share = facts[worst[0], CLIPPED] / facts[worst[0], FRAMES]
        message = f"{_are(len(clipped), 'clip')} clipped, of the first {share:.1%} of the samples: record them lower."
        problems.append(Problem("warning", "clipping", _where(clips, worst), message))
    several = np.flatnonzero(facts[:, CHANNELS] > 1)
    if len(several):
        message = f"{_are(len(several), 'clip')} of several channels, which are mixed down to one."
        problems.append(Problem("warning", "channels", _where(clips, several), message))
    rates, counts = np.unique(facts[facts[:, RATE] > 0, RATE], return_counts=True)
    if len(rates) > 1:
        which = ", ".join(f"{rate:,} ({count:,})" for rate, count in zip(rates.tolist(), counts.tolist(), strict=True))
        other = np.flatnonzero((facts[:, RATE] > 0) & (facts[:, RATE] != rates[np.argmax(counts)]))
        message = f"the clips have several rates, {which}: all are resampled to one."
        problems.append(Problem("warning", "rates", _where(clips, other), message))
    return problems


def outside_training(parts: Mapping[str, Part], good: Mapping[str, np.ndarray]) -> list[Problem]:
    """Warnings about characters that validation and test have and training has not.

    Args:
        parts: by split.
        good: int64: the rows of each that can be used.
    """
    if "train" not in parts:
        return []
    known = set(learnt(_texts(parts["train"], good["train"])))
    others = {name: part for name, part in parts.items() if name != "train"}
    return outside(others, good, known, "that training has none of", "they cannot be recognised")


def outside(
    parts: Mapping[str, Part], good: Mapping[str, np.ndarray], known: Collection[str], which: str, so: str
) -> list[Problem]:
    """Warnings about characters that are not known, in the words `which` and `so`."""
    problems = []
    for name, part in parts.items():
        rows = good[name].tolist()
        says = zip(rows, (strange(text, known) for text in _texts(part, good[name])), strict=True)
        found = [(row, new) for row, new in says if new]
        if found:
            clips: Clips = part.items  # type: ignore[assignment]
            there = "1 clip says" if len(found) == 1 else f"{len(found):,} clips say"
            message = f"{there} characters {which} ({_shown(found)}): {so}."
            problems.append(Problem("warning", "outside-alphabet", _where(clips, [row for row, _ in found]), message))
    return problems


def too_long(parts: Mapping[str, Part], good: Mapping[str, np.ndarray], most: float) -> list[Problem]:
    """A warning about clips of more than so many seconds, which are trained on nowhere; the test's are recognised."""
    where, lost = [], 0.0
    for name, part in parts.items():
        clips: Clips = part.items  # type: ignore[assignment]
        rows = [row for row in good[name].tolist() if name != "test" and clips.seconds[row] > most]
        where += [clips.where(row) for row in rows]
        lost += float(sum(clips.seconds[row] for row in rows))
    if not where:
        return []
    message = f"{_are(len(where), 'clip')} longer than max_seconds {most:g}, {lost:,.1f} s in all: not trained on."
    return [Problem("warning", "too-long", _joined(where), message)]


def _too_short(seconds: float, least: float) -> tuple[str, str] | None:
    if seconds >= least:
        return None
    return "too-short", f"is {seconds:.3f} s long, below min_seconds {least:g}: leave it out."


def _other_length(seconds: float, said: float) -> tuple[str, str] | None:
    if math.isnan(said) or abs(seconds - said) <= max(_OFF_SECONDS, _OFF_SHARE * seconds):
        return None
    return "other-duration", f"is {seconds:.2f} s long and the manifest says {said:.2f}: is it the right file?"


def _too_fast(seconds: float, text: str, stride: float | None) -> tuple[str, str] | None:
    if stride is None or (needed := steps(text)) <= (there := math.ceil(seconds / stride - _ROUNDING)):
        return None
    return "too-fast", (
        f"says what takes {needed:,} steps (a character each, one more between two alike) in {seconds:.2f} s, which "
        f"have {there:,}: mend the transcript, or lower subsampling or hop_ms."
    )


def _texts(part: Part, rows: np.ndarray) -> list[str]:
    clips: Clips = part.items  # type: ignore[assignment]
    return list(clips.texts[rows])


def _shown(found: list[tuple[int, list[str]]]) -> str:
    new = sorted({character for _, characters in found for character in characters})
    return ", ".join(map(repr, new[:_SHOWN])) + (", …" if len(new) > _SHOWN else "")


def _where(clips: Clips, rows: Iterable[int]) -> str:
    return _joined([clips.where(int(row)) for row in rows])


def _joined(places: Sequence[str]) -> str:
    return "; ".join(places[:_NAMED]) + ("; …" if len(places) > _NAMED else "")


def _are(count: int, noun: str) -> str:
    return f"1 {noun} is" if count == 1 else f"{count:,} {noun}s are"
