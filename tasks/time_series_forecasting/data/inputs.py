"""What predict reads: tables of what is known so far; the steps behind the last value of each series are forecast."""

import io
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipelines.console import Console
from pipelines.errors import DataError
from pipelines.sources.columns import Place, Texts
from pipelines.sources.folders import printable
from pipelines.sources.tables import table_suffix
from pipelines.task import Assets, Problem, Raw
from tasks.time_series_forecasting.config import Config
from tasks.time_series_forecasting.data.assembly import wanted
from tasks.time_series_forecasting.data.foreign import check_horizon, is_foreign, meet, own_horizon, with_channels
from tasks.time_series_forecasting.data.gaps import close
from tasks.time_series_forecasting.data.panel import Panel, build
from tasks.time_series_forecasting.data.parts import tables_below
from tasks.time_series_forecasting.data.rows import Covariate, Rows, joined, renamed
from tasks.time_series_forecasting.data.spans import Windows
from tasks.time_series_forecasting.data.stores import Fitted, WindowStore
from tasks.time_series_forecasting.data.tables import read_rows, stem
from tasks.time_series_forecasting.frequency import from_asset


def inputs(paths: Sequence[str], config: Config, assets: Assets) -> Iterator[tuple[list[str], Raw]]:
    """Batches of config.batch_size, of (ids, what a store fetches without the future, and `name`), in order.

    A path is a table; a folder of tables, however deep; or -, for CSV on stdin. Each series gives one window, that of
    its last steps. What is known ahead (covariates) stands in rows behind the last value, whose values are empty. A
    series of which a step that the model would see is missing comes out as NUL and the reason in `name`, for its
    record to say so; so does a row that cannot be read.

    Raises:
        DataError: a table is damaged, or has other columns than the model knows.
        ConfigError: the horizon asked for cannot be had.
    """
    missing = [path for path in paths if path != "-" and not os.path.exists(path)]
    if missing:
        yield _missing(missing)
    paths = [path for path in paths if path not in missing]
    if not paths:
        return
    reach = max(config.horizon, own_horizon(config, assets))
    further = check_horizon(config, assets)
    rows = _read(paths, config, assets)
    panel = _ahead(build({"train": rows}, rows, from_asset(assets["frequency"])), reach)
    if rows.single and len(assets["series"]) == 1 and not is_foreign(panel, assets):
        panel = replace(panel, series=assets["series"])
    unreadable = [problem for problem in panel.bad if config.on_bad == "fail"]
    panel = close(panel, config.fill)
    origins = panel.ends["train"]
    met = meet(panel, origins, config, assets)
    for note in filter(None, (met.note, further)):
        Console().say(f"note: {note}")
    panel = replace(panel, values=np.ascontiguousarray(panel.values))
    windows = Windows(np.maximum(origins, 1), np.ones_like(origins), 1)
    fitted = Fitted(panel, met.scaler, None, met.features, met.season)
    store = WindowStore(fitted, windows, config.lookback, config.horizon, ahead=reach)
    refused = _refused(panel, config, assets, reach)
    for first in range(0, len(store), config.batch_size):
        indices = np.arange(first, min(first + config.batch_size, len(store)))
        yield store.ids(indices), {**store.fetch(indices), "name": refused[indices]}
    if unreadable and len(store):
        yield _unreadable(unreadable, store)


def _read(paths: Sequence[str], config: Config, assets: Assets) -> Rows:
    """All tables as one, each wide one a series of its own."""
    how = wanted(config.model_copy(update={"group_by": None}), assets)
    places = [place for path in paths for place in _places(path)]
    parts = []
    for place in places:
        rows = read_rows(place, how)
        parts.append(renamed(rows, stem(place.path)) if rows.single and len(places) > 1 else rows)
    return with_channels(joined(parts), config, assets)


def _places(path: str) -> list[Place]:
    if path == "-":
        return [Place(Path("stdin.csv"), content=io.BytesIO(sys.stdin.buffer.read()))]
    if os.path.isdir(path):
        tables, _ = tables_below(Path(path))
        if not tables:
            raise DataError(f"{printable(path)} holds no table: name a folder of tables.")
        return [Place(table) for table in tables]
    if not table_suffix(Path(path)):
        raise DataError(f"{printable(path)} is no table: give .csv, .tsv, .jsonl or .parquet, each also .gz.")
    return [Place(Path(path))]


def _ahead(panel: Panel, horizon: int) -> Panel:
    """With room for a horizon behind the last value of each series."""
    lengths = np.maximum(panel.lengths, panel.ends["train"] + horizon)
    if (lengths == panel.lengths).all():
        return panel
    starts = np.concatenate([[0], np.cumsum(lengths)])
    place = np.repeat(starts[:-1], panel.lengths) + panel.step_of
    total = int(starts[-1])
    values = np.full((total, panel.values.shape[1]), np.nan, np.float32)
    values[place] = panel.values
    there = np.zeros(total, bool)
    there[place] = panel.there
    columns = {
        **panel.columns,
        **{
            role: {name: _longer(column, place, total) for name, column in panel.columns[role].items()}
            for role in ("known", "past")
        },
    }
    rows = panel.rows

    def row(step: int) -> str:
        return rows(max(int(np.searchsorted(place, step, side="right")) - 1, 0))

    return replace(panel, starts=starts, values=values, present=there, columns=columns, rows=row)


def _longer(column: Covariate, place: np.ndarray, total: int) -> Covariate:
    if isinstance(column, Texts):
        codes = np.full(total, -1, np.int32)
        codes[place] = column.codes
        return Texts(codes, column.names)
    cells = np.full(total, np.nan, np.float32)
    cells[place] = column
    return cells


def _refused(panel: Panel, config: Config, assets: Assets, reach: int) -> np.ndarray:
    """object [series], of bytes: the name, or NUL and why there is no forecast."""
    found = np.empty(len(panel.series), object)
    for series, name in enumerate(panel.series):
        why = _why_not(panel, series, config, assets, reach)
        why = why or ("its series begins with a NUL: its name is damaged" if name.startswith("\0") else None)
        found[series] = name.encode("utf-8", "surrogateescape") if why is None else b"\0" + why.encode()
    return found


def _why_not(panel: Panel, series: int, config: Config, assets: Assets, reach: int) -> str | None:
    start, origin = int(panel.starts[series]), int(panel.ends["train"][series])
    if origin < 1:
        return "it has no value to forecast from"
    if config.on_bad == "skip":
        return None
    first = max(origin - config.lookback, 0)
    missing = np.isnan(panel.values[start + first : start + origin])
    if missing.any():
        step, channel = (int(one) for one in np.argwhere(missing)[0])
        when = panel.written(np.array([series]), np.array([first + step]))[0]
        return f"it has no value of {panel.channels[channel]!r} at {when}, which the model would see"
    for role, last in (("known", origin + reach), ("past", origin)):
        for one in assets["coding"][role]:
            if one["kind"] == "calendar":
                continue
            column = panel.columns[role][one["name"]]
            cells = column.codes[start + first : start + last] if isinstance(column, Texts) else None
            gone = np.isnan(column[start + first : start + last]) if cells is None else cells < 0  # type: ignore[index]
            if gone.any():
                when = panel.written(np.array([series]), np.array([first + int(np.argmax(gone))]))[0]
                ahead = ": give rows behind the last value" if role == "known" else ""
                return f"{one['name']!r} is not known at {when}{ahead}"
    return None


def _missing(paths: Sequence[str]) -> tuple[list[str], Raw]:
    """Paths that lead nowhere, as records of their own."""
    reasons = np.empty(len(paths), object)
    reasons[:] = b"\0it does not exist: name a table, a folder of tables, or - for CSV on stdin"
    return [printable(path) for path in paths], {"name": reasons}


def _unreadable(problems: Sequence[Problem], store: WindowStore) -> tuple[list[str], Raw]:
    """Rows of tables that cannot be read, as records of their own."""
    raw = store.fetch(np.zeros(len(problems), np.int64))
    reasons = np.empty(len(problems), object)
    reasons[:] = [b"\0" + f"it {one.message}".removesuffix(".").encode() for one in problems]
    return [printable(one.where) for one in problems], {**raw, "name": reasons}
