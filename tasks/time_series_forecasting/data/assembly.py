"""From sources to data: what is read and judged, cut into splits, and fitted on what is trained on."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipelines.errors import DataError
from pipelines.readings import Meter
from pipelines.sources.columns import Texts
from pipelines.sources.folders import printable
from pipelines.sources.problems import refuse_bad
from pipelines.task import Assets, Data, Problem
from tasks.time_series_forecasting.config import COUNTS, Config
from tasks.time_series_forecasting.data import covariates, scaling
from tasks.time_series_forecasting.data.foreign import meet, with_channels
from tasks.time_series_forecasting.data.gaps import close
from tasks.time_series_forecasting.data.panel import Panel, build
from tasks.time_series_forecasting.data.parts import Reading, further, read_source
from tasks.time_series_forecasting.data.rows import Rows, as_texts, joined
from tasks.time_series_forecasting.data.spans import (
    SPLITS,
    Spans,
    Windows,
    cut,
    limited,
    make_windows,
    scored_windows,
    training_windows,
    untested,
)
from tasks.time_series_forecasting.data.stores import Fitted, WindowStore, hashes_of
from tasks.time_series_forecasting.data.tables import Wanted
from tasks.time_series_forecasting.frequency import STEP, Frequency, from_asset

_MOST_GROUPS = 100
_SYNTHETIC = "These series are synthetic: a generator in the package made them."


@dataclass(frozen=True)
class Examined:
    """Everything that was read and judged, not yet split."""

    panel: Panel
    kind: str
    """Of the source."""
    warnings: list[Problem]

    @property
    def bad(self) -> list[Problem]:
        """What cannot be used."""
        return self.panel.bad


def wanted(config: Config, assets: Assets | None = None) -> Wanted:
    """How tables are read."""
    columns = dict(config.columns or {})
    if config.group_by is not None:
        static = [*filter(None, [columns.get("static")]), config.group_by]
        columns["static"] = ",".join(dict.fromkeys(name for one in static for name in one.split(",")))
    channels = tuple(assets["channels"]) if assets and "value" not in columns else ()
    return Wanted(columns, config.encoding, config.time_zone, channels, inherited=assets is not None)


def examine(
    config: Config, advance: Callable[[int, int], None] | None = None, assets: Assets | None = None
) -> Examined:
    """Read every source of a run; or, for a finished model, what config.data scores it on.

    Raises:
        DataError: a source as a whole cannot be used.
    """
    try:
        return _examine(config, advance, assets)
    except DataError as error:
        raise DataError(printable(str(error))) from error


def _examine(config: Config, advance: Callable[[int, int], None] | None, assets: Assets | None) -> Examined:
    if config.columns and config.data.startswith("sample"):
        raise DataError(f"columns were given and {config.data} has none: they are for tables.")
    meter = Meter(advance)
    how = wanted(config, assets)
    main = read_source(config.data, how)
    if assets is not None:
        main = replace(main, pieces={name: with_channels(rows, config, assets) for name, rows in main.pieces.items()})
    readings = [main]
    pieces = dict(main.pieces)
    for name, spec in (("valid", config.valid), ("test", config.test)):
        if spec is not None and assets is None:
            reading = read_source(spec, how)
            readings.append(reading)
            pieces[name] = further(main.pieces["train"], _one_piece(reading, name))
    pieces = {name: pieces[name] for name in SPLITS if name in pieces}
    together = joined(list(pieces.values()))
    meter.expect(len(together))
    frequency: str | Frequency = config.frequency if assets is None else from_asset(assets["frequency"])
    panel = close(build(pieces, together, frequency), config.fill)
    meter(len(together))
    warnings = [problem for reading in readings for problem in reading.warnings] + panel.warnings + _ends(panel)
    if config.head == COUNTS:
        warnings += _not_counts(panel)
    # What the rows were is not needed any more.
    return Examined(replace(panel, rows=_forgotten, present=None), main.source.kind, warnings)


def refuse(config: Config, examined: Examined) -> None:
    """Stop at what is wrong, where on_bad does not say otherwise. Raises DataError."""
    fillable = any(problem.kind.startswith("missing") for problem in examined.bad)
    fill = "fill gaps with --fill forward, linear or zero, " if fillable and config.fill == "none" else ""
    places = "1 place" if len(examined.bad) == 1 else f"{len(examined.bad):,} places"
    head = f"the data cannot be used in {places} (mend them, {fill}or leave them unseen with --on-bad skip):"
    refuse_bad(config, examined.bad, head)


def split(config: Config, panel: Panel) -> tuple[Spans, dict[str, Windows]]:
    """The spans of the splits and their windows.

    Raises:
        DataError: a split has none.
    """
    spans = cut(panel, config.split, config.horizon)
    windows = make_windows(panel, spans, config.lookback, config.horizon, stride=config.stride, origins=config.origins)
    return spans, {name: limited(one, config.limit) for name, one in windows.items()}


def assemble(config: Config, examined: Examined, spans: Spans, windows: dict[str, Windows]) -> Data:
    """The data of a run."""
    compared = _compared(examined.panel, config.group_by)
    panel = _without(examined.panel, config)
    end = spans.bounds["train"][1]
    scaler = scaling.fit(panel, end, config.scaler)
    season = config.season or panel.frequency.season
    coding = covariates.fit(panel, end, config.calendar)
    trained = np.flatnonzero(end > 0)
    assets = {
        "channels": panel.channels,
        "horizon": config.horizon,
        "series": [panel.series[at] for at in trained.tolist()],
        "scaler": scaling.told(scaling.Scaler(scaler.center[trained], scaler.scale[trained])),
        "frequency": {**panel.frequency.told(), "season": season, "zone": "UTC" if panel.zoned else None},
        **coding,
    }
    naive = scaling.naive(panel, end, season)
    fitted = Fitted(panel, scaler, naive, covariates.encode(panel, assets), season, compared)
    warnings = examined.warnings + untested(panel, windows, config.lookback) + covariates.unknown(panel, assets)
    warnings += covariates.unseen(config, assets)
    protocol = _protocol(config, panel, spans, windows)
    return _data(config, examined, fitted, windows, (assets, warnings, protocol))


def assemble_test(config: Config, examined: Examined, assets: Assets) -> Data:
    """What a finished model is scored on, as the only split, test: the test of config.data, or all of it where it has
    none."""
    compared = _compared(examined.panel, config.group_by)
    panel = _without(examined.panel, config)
    start = panel.ends["valid" if "valid" in panel.ends else "train"]
    if "test" in panel.ends:
        found = scored_windows(start, panel.ends["test"], config.horizon, config.origins)
        what = "every step of the test of"
    else:
        every = training_windows(panel.observed, config.lookback, config.horizon)
        start = every.first
        found = scored_windows(start, panel.observed, config.horizon, config.origins)
        what = "every step that has a past of"
    windows = {"test": limited(Windows(found.first, np.where(start > 0, found.counts, 0), found.stride), config.limit)}
    if not len(windows["test"]):
        raise DataError(f"{printable(config.data)} holds no series with a past and horizon {config.horizon} to score.")
    # A series that the model does not know is scaled by what lies before its first forecast.
    met = meet(panel, start, config, assets)
    naive = scaling.naive(panel, start, met.season)
    fitted = Fitted(panel, met.scaler, naive, met.features, met.season, compared)
    if config.origins is not None:
        what = f"{config.origins} origins, a horizon apart, of"
    count = len(windows["test"])
    protocol = f"Scored on {count:,} windows: forecasts of {config.horizon} steps from {what} {printable(config.data)}."
    if met.note is not None:
        protocol += f" {met.note[:1].upper()}{met.note[1:]}"
    warnings = examined.warnings + covariates.unknown(panel, assets)
    return _data(config, examined, fitted, windows, (assets, warnings, protocol))


def summarise(config: Config, examined: Examined, windows: Mapping[str, Windows]) -> dict[str, Any]:
    """JSON for the report."""
    panel = examined.panel
    lengths = panel.observed
    return {
        "source": printable(config.data),
        "kind": examined.kind,
        "counts": {name: len(one) for name, one in windows.items()},
        "series": len(panel.series),
        "channels": panel.channels,
        "steps": {"least": int(lengths.min()), "median": int(np.median(lengths)), "most": int(lengths.max())},
        "frequency": _said(config, panel),
        "covariates": {role: list(columns) for role, columns in panel.columns.items() if columns},
        "filled": int(panel.guessed.sum()) if panel.guessed is not None else 0,
        "skipped": [{"where": problem.where, "message": problem.message} for problem in examined.bad],
        "warnings": [f"{problem.where}: {problem.message}" for problem in examined.warnings],
        "protocol": "",
    }


def _said(config: Config, panel: Panel) -> str:
    """The frequency, and how it is known."""
    name = panel.frequency.name
    if config.frequency != "auto":
        return name
    return f"{name} (inferred)" if panel.are_times or name == STEP else f"{name} (by the file's name)"


def _data(
    config: Config,
    examined: Examined,
    fitted: Fitted,
    windows: dict[str, Windows],
    told: tuple[Assets, list[Problem], str],
) -> Data:
    assets, warnings, protocol = told
    told_apart = hashes_of(fitted.panel)
    # What covariates were in the table is not needed any more.
    fitted = replace(fitted, panel=replace(fitted.panel, columns={}))
    stores = {name: WindowStore(fitted, one, config.lookback, config.horizon) for name, one in windows.items()}
    hashes = {name: store.hashes(told_apart) for name, store in stores.items()}
    if config.data == "sample":
        protocol = f"{protocol} {_SYNTHETIC}"
    summary = summarise(config, replace(examined, warnings=warnings), windows) | {"protocol": protocol}
    return Data(dict(stores), assets, summary, _fingerprint(fitted, windows, hashes), protocol, hashes)


def _fingerprint(fitted: Fitted, windows: Mapping[str, Windows], hashes: Mapping[str, np.ndarray]) -> str:
    """Of every window, whose it is and where it begins, and of what they are scaled by."""
    panel = fitted.panel
    digest = hashlib.blake2b(digest_size=16)
    for text in (*panel.series, "", *panel.channels, "", panel.frequency.name):
        digest.update(text.encode("utf-8", "surrogateescape") + b"\0")
    for array in (panel.first, fitted.scaler.center, fitted.scaler.scale):
        digest.update(np.ascontiguousarray(array).tobytes())
    for name, one in windows.items():
        digest.update(b"\0" + name.encode() + b"\0" + hashes[name].tobytes())
        digest.update(one.first.tobytes() + one.counts.tobytes() + str(one.stride).encode())
    return digest.hexdigest()


def _protocol(config: Config, panel: Panel, spans: Spans, windows: Mapping[str, Windows]) -> str:
    test = windows["test"]
    scored = test.counts > 0
    series = f"{int(scored.sum()):,} series"
    channels = f" of {len(panel.channels)} channels" if len(panel.channels) > 1 else ""
    origins = (
        "from every step that has them ahead in the test span, none dropped at its end"
        if config.origins is None
        else f"from {config.origins} origins of each series, a horizon apart, the last ending with it"
    )
    counts = ", ".join(
        f"{spoken} {_steps(spans.bounds[name], scored)}"
        for name, spoken in (("train", "train"), ("valid", "validation"), ("test", "test"))
    )
    limit = f" Each split is limited to {config.limit:,} windows, spread evenly." if config.limit is not None else ""
    return (
        f"Scored on {len(test):,} windows of {series}{channels}: forecasts of {config.horizon} steps "
        f"({panel.frequency.name}) {origins}; {spans.how} ({counts} steps).{limit}"
    )


def _steps(span: tuple[np.ndarray, np.ndarray], which: np.ndarray) -> str:
    lengths = (span[1] - span[0])[which]
    least, most = int(lengths.min()), int(lengths.max())
    return f"{most:,}" if least == most else f"{least:,} to {most:,}"


def _one_piece(reading: Reading, split: str) -> Rows:
    if split in reading.pieces:
        return reading.pieces[split]
    if list(reading.pieces) == ["train"]:
        return reading.pieces["train"]
    there = ", ".join(reading.pieces)
    raise DataError(f"{reading.source.spec} (given as {split}) brings the splits {there}, not {split}: name the one.")


def _ends(panel: Panel) -> list[Problem]:
    """A warning where series end at different times: the test of one may be earlier than the training of another."""
    if not panel.are_times or len(panel.series) < 2 or len(panel.ends) > 1:
        return []
    last = panel.times(np.arange(len(panel.series)), panel.observed - 1)
    early = np.flatnonzero((last < last.max()) & (panel.observed > 0))
    if not len(early):
        return []
    name = panel.series[int(early[np.argmin(last[early])])]
    ends = "ends before the others do:" if len(early) == 1 else "end before the others do,"
    where, ends = ("series " + name, ends) if len(early) == 1 else (f"{len(early):,} series", f"{ends} as {name}:")
    return [Problem("warning", "ends-differ", where, f"{ends} every series is cut at its own end.")]


def _not_counts(panel: Panel) -> list[Problem]:
    """A warning where values are no whole numbers, which counts are.

    Raises:
        DataError: some are below 0.
    """
    steps, channels = np.nonzero(panel.values < 0)
    if len(steps):
        more = f", as {len(steps) - 1:,} more are" if len(steps) > 1 else ""
        value, channel = panel.values[steps[0], channels[0]], panel.channels[int(channels[0])]
        raise DataError(
            f"{panel.rows(int(steps[0]))} holds {value:g} in {channel!r}, which is below 0{more}, and head {COUNTS} is "
            "for counts: choose another --head."
        )
    steps, channels = np.nonzero(panel.values % 1 > 0)
    if not len(steps):
        return []
    what = f"holds {panel.values[steps[0], channels[0]]:g} in {panel.channels[int(channels[0])]!r}"
    message = f"{what}, which is no whole number, as head {COUNTS} expects: another --head may do better."
    return [Problem("warning", "no-count", panel.rows(int(steps[0])), message)]


def _without(panel: Panel, config: Config) -> Panel:
    """Without the column that scores are told apart by, unless the model is to see it too."""
    asked = [one.strip() for one in (config.columns or {}).get("static", "").split(",")]
    if config.group_by is None or config.group_by in asked:
        return panel
    static = {name: column for name, column in panel.columns["static"].items() if name != config.group_by}
    return replace(panel, columns={**panel.columns, "static": static})


def _compared(panel: Panel, name: str | None) -> np.ndarray | None:
    """object [series], of texts."""
    if name is None:
        return None
    column = panel.columns["static"].get(name)
    if column is None:
        raise DataError(f"group_by {name!r} is no column of the data: it needs a table.")
    texts = column if isinstance(column, Texts) else as_texts(column.astype(np.float64))
    if len(texts.names) > _MOST_GROUPS:
        raise DataError(
            f"the data have {len(texts.names):,} values in {name!r}, by which group_by would tell scores apart: choose "
            f"a column of at most {_MOST_GROUPS}."
        )
    found = np.empty(len(texts.codes), object)
    found[:] = [texts.names[code] if code >= 0 else "" for code in texts.codes.tolist()]
    return found


def _forgotten(step: int) -> str:
    return f"step {step}"
