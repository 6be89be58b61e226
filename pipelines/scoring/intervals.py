"""Bootstrap intervals, and the verdict on a model beside its baseline."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pipelines.scoring.names import label
from pipelines.task import Interval, Scores

RESAMPLES = 1000
SEED = 0
"""Of the resamples of a run's scores, whatever the run's own: so all runs on the same examples are resampled alike, and
can be set beside each other in pairs."""
DRAWS = 1
"""Raised when the same examples and seed are resampled otherwise than before: then older runs make no pairs."""
LOWER_IS_BETTER = frozenset(
    {
        *("loss", "log_loss", "ece", "ece_uncalibrated", "ter", "perplexity"),
        *("wer", "cer", "wer_normalised", "cer_normalised", "substitutions", "insertions", "deletions"),
        *("mse", "mse_units", "rmse", "mae", "mae_units", "mase", "rmsse", "smape", "wql", "width_80", "width_95"),
        "rmse_by_user",
    }
)
NEITHER_IS_BETTER = frozenset({"coverage", "gini", "length_ratio", "novelty", "tail_share"})
"""What tells and does not judge, by its name without the cutoff."""

# What is held at once: examples of one part, and resamples times examples of one block of weights (16 MB).
_PART = 16_384
WEIGHTS = 2_000_000

# What each resample ranks anew costs more than a mean: so many values in all, but no fewer resamples than these.
_MOST_RANKED = 400_000_000
_FEWEST_RESAMPLES = 200

Statistic = Callable[[np.ndarray], np.ndarray]
"""Column means [resamples, columns] -> the score of each resample [resamples]."""


@dataclass(frozen=True)
class Resampled:
    """A score, and what it is on each resample of the examples."""

    value: float
    replicates: np.ndarray
    """float64 [resamples]; NaN where the score is not defined."""
    examples: int

    @property
    def interval(self) -> Interval:
        """With the middle 95 % of the resamples that have a value."""
        return interval(self.value, self.replicates[np.isfinite(self.replicates)], self.examples)


def bootstrap(
    columns: Mapping[str, np.ndarray],
    seed: int,
    statistics: Mapping[str, Statistic] | None = None,
    biased: frozenset[str] = frozenset(),
) -> dict[str, Interval]:
    """Scores with 95 % percentile bootstrap intervals: see `resample`."""
    return {name: one.interval for name, one in resample(columns, seed, statistics, biased).items()}


def resample(
    columns: Mapping[str, np.ndarray],
    seed: int,
    statistics: Mapping[str, Statistic] | None = None,
    biased: frozenset[str] = frozenset(),
) -> dict[str, Resampled]:
    """Scores, all on the same 1,000 resamples of the examples, which follow from their number and the seed alone.

    `columns` holds for each score its per-example values, [examples] or [examples, columns]; the score is their mean,
    or what its statistic makes of the columns' means. `biased` names statistics whose resamples sit beside the value,
    as those of ECE do (noise adds to absolute gaps): theirs are moved back until their median is the value.
    """
    statistics = statistics or {}
    tables = {name: values.reshape(len(values), -1) for name, values in columns.items()}
    replicates = _resampled_means(tables, seed)
    found = {}
    for name, table in tables.items():
        statistic = statistics.get(name, _only_column)
        value = float(statistic(table.mean(axis=0, dtype=np.float64)[None])[0])
        drawn = statistic(replicates[name])
        if name in biased:
            drawn = np.maximum(drawn - np.median(drawn) + value, 0)
        found[name] = Resampled(value, drawn, len(table))
    return found


def differences(model: Scores, baseline: Mapping[str, np.ndarray], values: Mapping[str, float]) -> dict[str, Interval]:
    """What the model's scores have over the baseline's, from the same resamples of both (the paired bootstrap: Koehn,
    2004), of those that have any.

    Args:
        model: its scores.
        baseline: float64 [resamples] of each score.
        values: the baseline's scores.
    """
    mine = model.resamples
    shared = [name for name in model.scores if name in mine and name in baseline and name in values]
    alike = [name for name in shared if mine[name].shape == baseline[name].shape]
    return {name: difference(model.scores[name].value - values[name], mine[name] - baseline[name]) for name in alike}


def difference(value: float, drawn: np.ndarray) -> Interval:
    """Of two scores, with the middle 95 % of their differences on each resample [resamples], NaN where one of them is
    not defined."""
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return Interval(value)
    low, high = np.percentile(known, (2.5, 97.5))
    return Interval(value, float(low), float(high))


def drawn_of(found: Mapping[str, Resampled]) -> dict[str, np.ndarray]:
    """What Scores.resamples holds of them; nothing of one example, whose resamples are all it."""
    return {name: one.replicates for name, one in found.items() if one.examples > 1}


def _only_column(means: np.ndarray) -> np.ndarray:
    return means[:, 0]


def interval(value: float, replicates: np.ndarray, examples: int) -> Interval:
    """The middle 95 % of the replicates [resamples]; none for a single example, which says nothing of its spread, or
    where no resample has a value."""
    if examples < 2 or not len(replicates):
        return Interval(value)
    low, high = np.percentile(replicates, (2.5, 97.5))
    return Interval(value, float(low), float(high))


def _resampled_means(tables: Mapping[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Column means of each resample, a part of the examples at a time so that memory does not grow with them.

    How many draws of a resample fall into each part is multinomial; within a part they are uniform.
    """
    total = len(next(iter(tables.values())))
    generator = np.random.default_rng(seed)
    starts = np.arange(0, total, _PART)
    lengths = np.minimum(_PART, total - starts)
    draws = generator.multinomial(total, lengths / total, size=RESAMPLES)
    sums = {name: np.zeros((RESAMPLES, table.shape[1])) for name, table in tables.items()}
    for part, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        rows = {name: table[start : start + length].astype(np.float64) for name, table in tables.items()}
        block = max(1, WEIGHTS // int(length))
        for first in range(0, RESAMPLES, block):
            weights = draw_weights(generator, draws[first : first + block, part], int(length))
            for name, values in rows.items():
                sums[name][first : first + block] += weights @ values
    return {name: summed / total for name, summed in sums.items()}


def draw_weights(generator: np.random.Generator, draws: np.ndarray, length: int) -> np.ndarray:
    """How often each example is drawn: float64 [resamples, length], with draws [resamples] in all."""
    resample = np.repeat(np.arange(len(draws)) * length, draws)
    picked = generator.integers(0, length, size=len(resample))
    counts = np.bincount(resample + picked, minlength=len(draws) * length)
    return counts.reshape(len(draws), length).astype(np.float64)


def resamples_of(values: int) -> int:
    """How many resamples are affordable where each ranks so many values."""
    return int(np.clip(_MOST_RANKED // values, _FEWEST_RESAMPLES, RESAMPLES))


def resampled_weights(examples: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each example is drawn, a block of resamples at a time: [block, examples]."""
    generator = np.random.default_rng(seed)
    block = max(1, WEIGHTS // examples)
    for start in range(0, resamples, block):
        yield draw_weights(generator, np.full(min(block, resamples - start), examples), examples)


@dataclass(frozen=True)
class Verdict:
    """How a model stands against its baseline on one score."""

    beats: bool
    """Its value is better, however little."""
    clear: bool
    """The two intervals do not overlap, or that of the difference, if there is one, does not hold 0."""
    sentence: str


def verdict(score: str, model: Interval, baseline: Interval, difference: Interval | None = None) -> Verdict:
    """Compare on one score. Intervals that overlap may hide a real difference; those that do not, show one. Where the
    difference itself has an interval, this decides."""
    gain = baseline.value - model.value if score in LOWER_IS_BETTER else model.value - baseline.value
    clear = apart(model, baseline)
    figures = f"{label(score)} {model.value:.4f} against {baseline.value:.4f}"
    if difference is not None and difference.low is not None and difference.high is not None:
        clear = apart(difference, Interval(0.0, 0.0, 0.0))
        overlap = f"the difference is {difference.low:.4f} to {difference.high:.4f}, 95 % by paired bootstrap"
    elif model.low is None or baseline.low is None:
        overlap = "too few examples for intervals"
    else:
        overlap = "the 95 % intervals do not overlap" if clear else "the 95 % intervals overlap"
    claim = "does not beat the baseline" if gain <= 0 else "beats the baseline" if clear else "is ahead of the baseline"
    doubt = ": the difference may be chance" if gain > 0 and not clear else ""
    return Verdict(gain > 0, clear, f"The model {claim} ({figures}; {overlap}){doubt}.")


def apart(one: Interval, other: Interval) -> bool:
    """Whether two intervals share no value; never where one is missing."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low > other.high or other.low > one.high
