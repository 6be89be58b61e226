"""Random access to the windows of a panel, cut from one array: no window is kept."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import as_strided

from pipelines.sources.columns import Texts
from pipelines.sources.folders import printable
from pipelines.sources.scan import content_hash
from pipelines.task import Raw
from tasks.time_series_forecasting.data.covariates import Features
from tasks.time_series_forecasting.data.panel import Panel
from tasks.time_series_forecasting.data.scaling import Naive, Scaler
from tasks.time_series_forecasting.data.spans import Windows

_ROOT = 0x9E3779B97F4A7C15
_INVERSE = pow(_ROOT, -1, 1 << 64)


@dataclass(frozen=True)
class Fitted:
    """A panel and what the training steps say about it: the same for every split."""

    panel: Panel
    scaler: Scaler
    naive: Naive | None
    """None where there is nothing to be compared: in predict."""
    features: Features
    season: int
    compared: np.ndarray | None = None
    """object [series], of texts: what scores are told apart by."""


@dataclass(frozen=True)
class WindowStore:
    """The windows of one split."""

    of: Fitted
    windows: Windows
    lookback: int
    horizon: int
    ahead: int | None = None
    """In predict, where the future is not known yet: the steps that covariates are known ahead for."""

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def sizes(self) -> np.ndarray | None:
        """All cost the same."""
        return None

    @cached_property
    def groups(self) -> np.ndarray:
        """int64 [n]: the series of each."""
        return self.windows.at(np.arange(len(self)))[0]

    def ids(self, indices: np.ndarray) -> list[str]:
        """'OT@2018-02-20T00:00': the series and the first step that is forecast."""
        series, origins = self.windows.at(indices)
        whens = self.of.panel.written(series, origins)
        return [
            f"{printable(self.of.panel.series[at])}@{when}" for at, when in zip(series.tolist(), whens, strict=True)
        ]

    def fetch(self, indices: np.ndarray) -> Raw:
        """What the model sees, and what it is to find; see the package's docstring for the columns."""
        series, origins = self.windows.at(indices)
        past = self._cut(series, origins, self.lookback)
        if self.of.panel.guessed is not None:
            start = self.of.panel.starts[series] + origins - self.lookback
            past = _without_hindsight(past, _taken(self.of.panel.guessed, start, self.lookback))
        raw = self._seen("past", past)
        raw |= {"time": self._times(series, origins)} if self.ahead is not None else self._future(series, origins)
        return raw | self._scaling(series) | self._covariates(series, origins)

    def truth(self, indices: np.ndarray) -> Raw:
        """What forecasts are judged by; none of what the model sees but the last season."""
        series, origins = self.windows.at(indices)
        assert self.of.naive is not None
        found = {
            **self._future(series, origins),
            **self._scaling(series),
            "series": series.astype(np.int64),
            "name": _texts(self.of.panel.series)[series],
            "origin": origins.astype(np.int64),
            "naive_error": self.of.naive.error[series],
            "naive_squared": self.of.naive.squared[series],
            "last_season": self._last_season(series, origins),
        }
        return found if self.of.compared is None else {**found, "group_by": self.of.compared[series]}

    def hashes(self, of: "Hashes") -> np.ndarray:
        """uint64 [n], of the values and covariates that each window holds, wherever it stands."""
        series, origins = self.windows.at(np.arange(len(self)))
        start = self.of.panel.starts[series]
        first = start + np.maximum(origins - self.lookback, 0)
        last = np.minimum(start + origins + self.horizon, self.of.panel.starts[series + 1])
        with np.errstate(over="ignore"):
            rolled = _mix((of.sums[last] - of.sums[first]) * _powers(len(of.sums) - 1, _INVERSE)[first])
        return np.asarray(rolled ^ _mix((last - first).astype(np.uint64)) ^ of.static[series])

    def _last_season(self, series: np.ndarray, origins: np.ndarray) -> np.ndarray:
        """float32 [n, m, channels], m the shorter of season and horizon: a season before the origin, and after; the
        last value again and again where a series has no whole season yet, as within the training steps."""
        length = min(self.of.season, self.horizon)
        values = self._cut(series, origins - self.of.season + length, length)
        early = origins < self.of.season
        if early.any():
            values[early] = _carried(self._cut(series[early], origins[early], length))[:, -1:]
        return _carried(values)

    def _cut(self, series: np.ndarray, origins: np.ndarray, length: int) -> np.ndarray:
        """float32 [n, length, channels] up to the origins; NaN where there is nothing."""
        values = _taken(self.of.panel.values, self.of.panel.starts[series] + origins - length, length)
        before = _before(origins, length)
        if before is not None:
            values[before] = np.nan
        return values

    def _times(self, series: np.ndarray, origins: np.ndarray) -> np.ndarray:
        """object [n, horizon], of bytes: the time of each step ahead."""
        steps = (origins[:, None] + np.arange(self.horizon)).ravel()
        written = self.of.panel.written(np.repeat(series, self.horizon), steps)
        return np.array([time.encode() for time in written], object).reshape(-1, self.horizon)

    def _future(self, series: np.ndarray, origins: np.ndarray) -> Raw:
        start, guessed = self.of.panel.starts[series] + origins, self.of.panel.guessed
        future = _taken(self.of.panel.values, start, self.horizon)
        if guessed is not None:
            future[_taken(guessed, start, self.horizon)] = np.nan
        return self._seen("future", future)

    def _seen(self, name: str, values: np.ndarray) -> Raw:
        """Without NaN, and where there was none."""
        seen = ~np.isnan(values)
        return {name: np.where(seen, values, np.float32(0)), f"{name}_seen": seen.view(np.uint8)}

    def _scaling(self, series: np.ndarray) -> Raw:
        return {"center": self.of.scaler.center[series], "scale": self.of.scaler.scale[series]}

    def _covariates(self, series: np.ndarray, origins: np.ndarray) -> Raw:
        features, found = self.of.features, {}
        start, before = self.of.panel.starts[series] + origins - self.lookback, _before(origins, self.lookback)
        for name, column, length in (
            ("past_covariates", features.past, self.lookback),
            ("known_covariates", features.known, self.lookback + (self.ahead or self.horizon)),
        ):
            if column is not None:
                found[name] = _taken(column, start, length)
                if before is not None:
                    found[name][:, : self.lookback][before] = 0
        if features.static is not None:
            found["static_covariates"] = features.static[series]
        return found


def _taken(column: np.ndarray, start: np.ndarray, length: int) -> np.ndarray:
    """[n, length, columns]: so many rows from each start. What lies before the first row is whatever."""
    total, width = column.shape
    if (start < 0).any() or total < length:
        return column[np.clip(start[:, None] + np.arange(length), 0, total - 1)]
    assert column.flags.c_contiguous, "what is not would be read wrongly"
    item = column.itemsize
    every = as_strided(column, (total - length + 1, length * width), (item * width, item), writeable=False)
    return np.asarray(every[start]).reshape(len(start), length, width)


def _before(origins: np.ndarray, length: int) -> np.ndarray | None:
    """bool [n, length]: what lies before a series began; None where nothing does."""
    if (origins >= length).all():
        return None
    return np.asarray(np.arange(length) < (length - origins)[:, None])


def _texts(names: list[str]) -> np.ndarray:
    found = np.empty(len(names), object)
    found[:] = names
    return found


def _without_hindsight(past: np.ndarray, guessed: np.ndarray) -> np.ndarray:
    """A gap that reaches up to the origin is filled by the last value before it: a line would know what comes after."""
    if not guessed[:, -1].any():
        return past
    length = past.shape[1]
    place = np.arange(length)[None, :, None]
    last = np.max(np.where(guessed, -1, place), axis=1, keepdims=True)
    value = np.take_along_axis(past, np.maximum(last, 0), axis=1)
    # Where all of it is a guess, the value before it is not in sight: what was carried to the window's start is.
    value = np.where(last >= 0, value, np.nan)
    return np.asarray(np.where(guessed & (place > last), value, past))


def _carried(values: np.ndarray) -> np.ndarray:
    """float32 [n, m, channels] without NaN: the value before, else the one after, else 0."""
    missing = np.isnan(values)
    if not missing.any():
        return values
    length = values.shape[1]
    place = np.arange(length)[None, :, None]
    before = np.maximum.accumulate(np.where(missing, -1, place), axis=1)
    after = np.minimum.accumulate(np.where(missing, length, place)[:, ::-1], axis=1)[:, ::-1]
    nearest = np.where(before >= 0, before, np.minimum(after, length - 1))
    return np.asarray(np.nan_to_num(np.take_along_axis(values, nearest, axis=1)))


@dataclass(frozen=True)
class Hashes:
    """By which the content of every window is told, at the cost of one number a step."""

    sums: np.ndarray
    """uint64 [steps + 1]: a polynomial of the steps before each, modulo 2 ** 64, in which its root has an inverse; so
    that a window's is the same wherever it stands."""
    static: np.ndarray
    """uint64 [series]."""


def hashes_of(panel: Panel) -> Hashes:
    """Of all values and covariates; what was filled in by guesses counts as missing."""
    steps = np.zeros(int(panel.starts[-1]), np.uint64)
    for channel in range(panel.values.shape[1]):
        column = panel.values[:, channel]
        if panel.guessed is not None:
            column = np.where(panel.guessed[:, channel], np.float32(np.nan), column)
        steps += _mix(_bits(column) + np.uint64(channel << 32))
    for role in ("known", "past"):
        for name, cells in panel.columns[role].items():
            steps += _mix(_of_column(cells) ^ np.uint64(content_hash(f"{role} {name}".encode())))
    static = np.zeros(len(panel.series), np.uint64)
    for name, cells in panel.columns["static"].items():
        static += _mix(_of_column(cells) ^ np.uint64(content_hash(name.encode())))
    with np.errstate(over="ignore"):
        steps *= _powers(len(steps), _ROOT)[:-1]
    return Hashes(np.concatenate([np.zeros(1, np.uint64), np.cumsum(steps, dtype=np.uint64)]), static)


def _powers(count: int, root: int) -> np.ndarray:
    """uint64 [count + 1]: modulo 2 ** 64."""
    powers = np.full(count + 1, root, np.uint64)
    powers[0] = 1
    with np.errstate(over="ignore"):
        return np.asarray(np.cumprod(powers, dtype=np.uint64))


def _mix(values: np.ndarray) -> np.ndarray:
    """splitmix64's finaliser."""
    with np.errstate(over="ignore"):
        mixed = values + np.uint64(_ROOT)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def _bits(column: np.ndarray) -> np.ndarray:
    """uint64 [n] of float32 [n], with one kind of NaN and of zero."""
    column = np.where(np.isnan(column), np.float32(np.nan), column) + np.float32(0)
    return np.ascontiguousarray(column, np.float32).view(np.uint32).astype(np.uint64)


def _of_column(column: np.ndarray | Texts) -> np.ndarray:
    if not isinstance(column, Texts):
        return _bits(column)
    names = np.array([*(content_hash(name.encode("utf-8", "surrogatepass")) for name in column.names), 0], np.uint64)
    return np.asarray(names[column.codes])
