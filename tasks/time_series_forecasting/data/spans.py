"""Which steps are trained on, validated on and tested on: by time, never shuffled; and the windows of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.errors import DataError
from pipelines.task import Problem
from tasks.time_series_forecasting.data.panel import Panel

SPLITS = ("train", "valid", "test")
_SPOKEN = {"train": "train", "valid": "validation", "test": "test"}
_NAMED = 5


@dataclass(frozen=True)
class Spans:
    """Of each series, where each split begins and ends, in steps; and how they came about."""

    bounds: dict[str, tuple[np.ndarray, np.ndarray]]
    """train, valid, test -> (start, end), int64 [series] each."""
    how: str
    """Part of the protocol: 'cut in time by split …'."""


@dataclass(frozen=True)
class Windows:
    """The windows of a split: of each series, origins that follow each other at a stride."""

    first: np.ndarray
    """int64 [series]: the first origin, a step; the first of the future."""
    counts: np.ndarray
    """int64 [series]."""
    stride: int
    chosen: np.ndarray | None = None
    """int64: those that a limit left."""

    def __len__(self) -> int:
        return int(self.counts.sum()) if self.chosen is None else len(self.chosen)

    def at(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(series, origin) of windows, int64 [n] each."""
        indices = indices if self.chosen is None else self.chosen[indices]
        ends = np.cumsum(self.counts)
        series = np.searchsorted(ends, indices, side="right")
        return series, self.first[series] + self.stride * (indices - ends[series] + self.counts[series])


def cut(panel: Panel, shares: Sequence[float], horizon: int) -> Spans:
    """The three splits.

    Args:
        panel: with the pieces that are given.
        shares: of train, validation and test, adding up to 1; or counts of steps.
        horizon: steps that a split must have to hold a window.

    Raises:
        DataError: a series has fewer steps than are asked for.
    """
    given = panel.ends
    further = [name for name in ("test", "valid") if name in given]
    zero = np.zeros(len(panel.series), np.int64)
    split = ",".join(f"{share:g}" for share in shares)
    if len(further) == 2:
        bounds = (zero, given["train"], given["valid"], given["test"])
        return _spans(bounds, "train, validation and test are as given")
    counted = sum(shares) > 1.5  # shares add up to 1, within rounding
    lengths = given["train"]
    if not further:
        parts = _counted(panel, shares) if counted else _shared(lengths, shares, horizon)
        ends = np.cumsum(np.stack(parts), axis=0)
        unused = int((lengths - ends[-1]).sum())
        left = f" ({unused:,} steps at the end are not used)" if unused else ""
        return _spans((zero, *ends), f"every series is cut in time by split {split}{left}")
    kept = (shares[0], shares[1], 0.0)
    whole = kept if counted else tuple(share / sum(kept) for share in kept)
    train, valid, _ = _counted(panel, whole) if counted else _shared(lengths, whole, horizon)
    which = "test" if further[0] == "test" else "validation source as the"
    how = f"the {which} test is as given" if which != "test" else "the test is as given"
    spans = _spans((zero, train, train + valid, given[further[0]]), f"{how}, validation is the end of the train data")
    # What counts leave over between validation and test is nobody's target.
    return Spans({**spans.bounds, "test": (lengths, given[further[0]])}, spans.how)


def _spans(bounds: Sequence[np.ndarray], how: str) -> Spans:
    return Spans({name: (bounds[at], bounds[at + 1]) for at, name in enumerate(SPLITS)}, how)


def _shared(lengths: np.ndarray, shares: Sequence[float], horizon: int) -> tuple[np.ndarray, ...]:
    """Steps of each; at least a horizon, where a series has enough of them, else all are trained on."""
    train, test = (np.floor(lengths * shares[at] + 1e-6).astype(np.int64) for at in (0, 2))
    valid = lengths - train - test
    least = [horizon if share > 0 else 0 for share in shares]
    valid, test = np.maximum(valid, least[1]) if shares[1] > 0 else valid * 0, np.maximum(test, least[2])
    # Of short series, validation and test take no more than they must.
    short = lengths - valid - test <= horizon
    valid, test = np.where(short, least[1], valid), np.where(short, least[2], test)
    enough = lengths - valid - test > horizon
    valid, test = np.where(enough, valid, 0), np.where(enough, test, 0)
    return lengths - valid - test, valid, test


def _counted(panel: Panel, counts: Sequence[float]) -> tuple[np.ndarray, ...]:
    asked = int(sum(counts))
    short = np.flatnonzero(panel.ends["train"] < asked)
    if len(short):
        name, there = panel.series[int(short[0])], int(panel.ends["train"][short[0]])
        more = f" ({len(short):,} series have too few)" if len(short) > 1 else ""
        raise DataError(
            f"split asks for {asked:,} steps of every series, and {name!r} has {there:,}{more}: ask for fewer, or give "
            "shares."
        )
    return tuple(np.full(len(panel.series), int(count), np.int64) for count in counts)


def training_windows(end: np.ndarray, lookback: int, horizon: int, stride: int = 1) -> Windows:
    """Every origin whose past and future lie in the first `end` steps. Of series too short for a whole past: every one
    that has a past of a horizon, or else the last."""
    last = end - horizon
    first = np.where(last >= lookback, lookback, np.maximum(np.minimum(last, horizon), 1))
    counts = np.maximum((last - first) // stride + 1, 0)
    return Windows(first, counts, stride)


def scored_windows(start: np.ndarray, end: np.ndarray, horizon: int, origins: int | None = None) -> Windows:
    """Every origin whose future lies in the span, whose past may reach back; or so many, a horizon apart, of which the
    last ends with it."""
    first, last = np.maximum(start, 1), end - horizon
    if origins is None:
        return Windows(first, np.maximum(last - first + 1, 0), 1)
    counts = np.clip((last - first) // horizon + 1, 0, origins)
    return Windows(last - (counts - 1) * horizon, counts, horizon)


def make_windows(
    panel: Panel, spans: Spans, lookback: int, horizon: int, *, stride: int, origins: int | None
) -> dict[str, Windows]:
    """The windows of each split; none of series that have no training steps.

    Raises:
        DataError: a split has none.
    """
    trained = spans.bounds["train"][1] > 0
    windows = {"train": training_windows(spans.bounds["train"][1], lookback, horizon, stride)}
    for name in ("valid", "test"):
        found = scored_windows(*spans.bounds[name], horizon, origins if name == "test" else None)
        windows[name] = Windows(found.first, np.where(trained, found.counts, 0), found.stride)
    for name in SPLITS:
        if not len(windows[name]):
            raise DataError(_empty(panel, spans, name, horizon))
    _check_origins(windows["test"], spans.bounds["test"], horizon, origins)
    return windows


def limited(windows: Windows, limit: int | None) -> Windows:
    """At most so many, spread evenly over all."""
    total = len(windows)
    if limit is None or total <= limit:
        return windows
    chosen = np.arange(limit, dtype=np.int64) * total // limit
    return Windows(windows.first, windows.counts, windows.stride, chosen)


def untested(panel: Panel, windows: Mapping[str, Windows], lookback: int) -> list[Problem]:
    """A warning of series that are too short to be in every split, or that nobody gave anything to train on; and of a
    lookback that no series fills."""
    absent, empty = panel.ends["train"] == 0, panel.observed == 0
    found = [(empty, "without a single value, so left out")]
    found.append((absent & ~empty, "not in the data to train on, so left out"))
    for name, what in (("train", "trained on"), ("valid", "validated on"), ("test", "tested on")):
        found.append(((windows[name].counts == 0) & ~absent, f"too short to be {what}"))
    problems = []
    for which, what in found:
        missing = np.flatnonzero(which).tolist()
        if missing:
            names = ", ".join(panel.series[at] for at in missing[:_NAMED])
            more = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
            where = f"{len(missing):,} of {len(panel.series):,} series"
            problems.append(Problem("warning", "short-series", where, f"{names}{more}: {what}."))
    train = windows["train"]
    longest = int((train.first + train.stride * (train.counts - 1))[train.counts > 0].max(initial=0))
    if longest < lookback:
        message = f"is more than any series has to train on: the longest past is of {longest:,} steps, the rest unseen."
        problems.append(Problem("warning", "long-lookback", f"lookback {lookback:,}", message))
    return problems


def _check_origins(windows: Windows, span: tuple[np.ndarray, np.ndarray], horizon: int, origins: int | None) -> None:
    most = int(windows.counts.max())
    if origins is None or most >= origins:
        return
    longest = int((span[1] - span[0]).max())
    raise DataError(
        f"origins {origins} of horizon {horizon} need {origins * horizon:,} steps to test on, and the longest series "
        f"has {longest:,}: give the test more in split, or ask for fewer."
    )


def _empty(panel: Panel, spans: Spans, name: str, horizon: int) -> str:
    start, end = spans.bounds[name]
    longest = int((end - start).max(initial=0))
    needed = f"{horizon + 1:,} (a past and horizon {horizon})" if name == "train" else f"horizon {horizon}"
    return (
        f"the {_SPOKEN[name]} split would be empty: of {len(panel.series):,} series the longest has {longest:,} steps "
        f"in it, and a window needs {needed}. Give more data, a larger share in split, or a shorter horizon."
    )
