"""A source of series read into pieces: to train on, and, where it brings them, to validate and test on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import DataError
from pipelines.sources import Source, locate
from pipelines.sources.columns import Place
from pipelines.sources.folders import SPLIT_NAMES, printable, split_tables, walk
from pipelines.sources.tables import table_suffix
from pipelines.task import Problem
from tasks.time_series_forecasting.data.rows import Rows, joined, renamed
from tasks.time_series_forecasting.data.sample import sample
from tasks.time_series_forecasting.data.tables import Wanted, read_rows, stem


@dataclass(frozen=True)
class Reading:
    """What a source gives."""

    source: Source
    pieces: dict[str, Rows]
    """By split; train alone where the source brings no splits."""
    warnings: list[Problem]


def read_source(spec: str, wanted: Wanted) -> Reading:
    """A source by its name.

    Raises:
        DataError: it cannot be used as a whole.
    """
    source = locate(spec)
    if source.kind == "sample":
        return Reading(source, {"train": sample(spec)}, [])
    if source.kind == "table":
        return Reading(source, {"train": read_rows(Place(source.path), wanted)}, [])
    if source.kind == "tables":
        tables = split_tables(source.path)
        return Reading(source, {split: read_rows(Place(path), wanted) for split, path in tables.items()}, [])
    if source.kind == "folder":
        return _read_folder(source, wanted)
    raise DataError(
        f"{spec} is of a kind ({source.kind}) that series are not read from: give a table (.csv, .tsv, .jsonl, "
        ".parquet, each also .gz) or a folder of tables."
    )


def read_tables(paths: Sequence[Path], wanted: Wanted) -> Rows:
    """Several tables as one; a wide one is a series of its file's name.

    Raises:
        DataError: as read_source.
    """
    if len(paths) == 1:
        return read_rows(Place(paths[0]), wanted)
    parts = []
    for path in paths:
        rows = read_rows(Place(path), wanted)
        parts.append(renamed(rows, stem(path)) if rows.single else rows)
    _check_names(paths, parts)
    return joined(parts)


def tables_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """(the tables anywhere below a folder, the other files), in a fixed order."""
    files = [Path(path) for path in walk(folder)]
    tables = [path for path in files if table_suffix(path)]
    return tables, [path for path in files if not table_suffix(path)]


def further(main: Rows, other: Rows) -> Rows:
    """A further source under the name of the series that it goes on with, where both are one wide table."""
    return renamed(other, main.series[0]) if main.single and other.single else other


def _read_folder(source: Source, wanted: Wanted) -> Reading:
    """Each file a series, or several; in folders called train, valid or test where there are such."""
    inside = sorted(path for path in source.path.iterdir() if path.is_dir())
    splits = {SPLIT_NAMES[path.name.lower()]: path for path in inside if path.name.lower() in SPLIT_NAMES}
    folders = splits if "train" in splits else {"train": source.path}
    pieces: dict[str, Rows] = {}
    warnings: list[Problem] = []
    for split in ("train", "valid", "test"):
        if split not in folders:
            continue
        tables, others = tables_below(folders[split])
        if not tables:
            raise DataError(f"{folders[split]} holds no table (.csv, .tsv, .jsonl, .parquet, each also .gz).")
        if others:
            what = (
                "1 file that is no table was" if len(others) == 1 else f"{len(others):,} files that are no tables were"
            )
            message = f"{what} not read, as {others[0].name}."
            warnings.append(Problem("warning", "not-read", printable(str(folders[split])), message))
        pieces[split] = read_tables(tables, wanted)
    return Reading(source, pieces, warnings)


def _check_names(paths: Sequence[Path], parts: Sequence[Rows]) -> None:
    known: dict[str, Path] = {}
    for path, rows in zip(paths, parts, strict=True):
        for name in rows.series:
            if rows.moments is None and name in known:
                raise DataError(f"{path} and {known[name]} both hold a series {name!r}: rename one.")
            known[name] = path
