"""What is measured of translations: BLEU, chrF and TER as sacreBLEU counts them, each from sums over sentences, so that
resamples of the sentences cost a matrix product and no counting anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_ORDERS = 4
"""Lengths of the runs of words that BLEU counts (Papineni et al., 2002)."""
_BETA = 2
"""How much more recall counts than precision in chrF (Popović, 2015)."""


@dataclass(frozen=True)
class Counted:
    """A metric's counts of each sentence, and what makes the score of their sums."""

    counts: np.ndarray
    """float64 [sentences, counts]."""
    signature: str
    """How sacreBLEU names what was done, so that others can do the same."""
    kind: str
    """bleu, chrf or ter."""

    def of_means(self, means: np.ndarray) -> np.ndarray:
        """The score, of 100, of each row of means of the counts over as many sentences as there are: float64 [rows]."""
        return self._scored(means * len(self.counts))

    @property
    def value(self) -> float:
        """Of all sentences."""
        return float(self.of_means(self.counts.mean(axis=0)[None])[0])

    @property
    def each(self) -> np.ndarray:
        """Of every sentence by itself: float64 [sentences]."""
        return self._scored(self.counts)

    def _scored(self, sums: np.ndarray) -> np.ndarray:
        return {"bleu": _bleu, "chrf": _chrf, "ter": _ter}[self.kind](sums)

    def part(self, rows: np.ndarray) -> "Counted":
        """Of some sentences, int64 [rows]."""
        return Counted(self.counts[rows], self.signature, self.kind)


def bleu(translations: Sequence[str], references: Sequence[str], *, lowercase: bool = False) -> Counted:
    """BLEU (Papineni et al., 2002) of detokenised text, cut by mteval's rules (13a; Post, 2018)."""
    from sacrebleu.metrics.bleu import BLEU

    return _counted(BLEU(lowercase=lowercase), translations, references, "bleu")


def chrf(translations: Sequence[str], references: Sequence[str]) -> Counted:
    """chrF2 (Popović, 2015): runs of 1 to 6 letters."""
    from sacrebleu.metrics.chrf import CHRF

    return _counted(CHRF(), translations, references, "chrf")


def ter(translations: Sequence[str], references: Sequence[str]) -> Counted:
    """Translation edit rate (Snover et al., 2006); minutes for thousands of long sentences."""
    from sacrebleu.metrics.ter import TER

    return _counted(TER(), translations, references, "ter")


def _counted(metric: Any, translations: Sequence[str], references: Sequence[str], kind: str) -> Counted:
    # What sacreBLEU's own tests of significance start from (2.6); a test holds the result against its public scores.
    counts = metric._extract_corpus_statistics(list(translations), [list(references)])
    return Counted(np.asarray(counts, np.float64), str(metric.get_signature()), kind)


def _bleu(sums: np.ndarray) -> np.ndarray:
    """From [length, reference's length, hits of 1 to 4 words, runs of 1 to 4 words]; where there are runs and no hit,
    exponential smoothing (NIST's mteval-v13a)."""
    length, expected = sums[:, 0], sums[:, 1]
    hits, runs = sums[:, 2 : 2 + _ORDERS], sums[:, 2 + _ORDERS :]
    missed = hits == 0
    halves = 2.0 ** np.cumsum(missed, axis=1)
    shares = np.where(missed, 1.0 / halves, hits) / np.maximum(runs, 1e-300)
    logs = np.log(np.maximum(shares, 1e-300))
    brevity = np.minimum(1.0 - expected / np.maximum(length, 1e-300), 0.0)
    found = 100 * np.exp(brevity + logs.mean(axis=1))
    nothing = (runs == 0).any(axis=1) | missed.all(axis=1) | (length == 0)
    return np.where(nothing, 0.0, found)


def _chrf(sums: np.ndarray) -> np.ndarray:
    """From [runs, reference's runs, hits] of each length; lengths that one side has none of do not count."""
    runs, expected, hits = (sums[:, start::3] for start in range(3))
    there = (runs > 0) & (expected > 0)
    count = np.maximum(there.sum(axis=1), 1)
    precision = np.where(there, hits / np.maximum(runs, 1e-300), 0.0).sum(axis=1) / count
    recall = np.where(there, hits / np.maximum(expected, 1e-300), 0.0).sum(axis=1) / count
    factor = _BETA**2
    return np.asarray(100 * (1 + factor) * precision * recall / np.maximum(factor * precision + recall, 1e-300))


def _ter(sums: np.ndarray) -> np.ndarray:
    """From [edits, reference's words]."""
    edits, words = sums[:, 0], sums[:, 1]
    return np.where(words > 0, 100 * edits / np.maximum(words, 1e-300), np.where(edits > 0, 100.0, 0.0))
