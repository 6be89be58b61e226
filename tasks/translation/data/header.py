"""Which columns of a table hold the two texts, where nobody said so."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import DataError
from pipelines.sources.tables import peek
from tasks.translation.data.aligned import Direction

SIDES = ("source", "target")


@dataclass(frozen=True)
class Wanted:
    """What is read of a source, and how."""

    direction: Direction = Direction()
    columns: Mapping[str, str] | None = None
    group_by: str | None = None
    """The column that scores are told apart by."""
    encoding: str = "utf-8"
    longest_ratio: float = 9.0


def text_columns(path: Path, wanted: Wanted) -> tuple[dict[str, str], tuple[str, str]]:
    """The task's names of columns -> the table's; and the languages of source and target.

    Columns are as mapped, as called so, or as the languages that were named. A language that was not is what its column
    is called.

    Raises:
        DataError: it stays open which they are.
    """
    columns = dict(wanted.columns or {})
    names, _ = peek(path, wanted.encoding)
    said = (wanted.direction.source, wanted.direction.target)
    for side, language in zip(SIDES, said, strict=True):
        if side not in columns and side not in names and language in names:
            columns[side] = str(language)
    open_ = [side for side in SIDES if side not in columns and side not in names]
    if open_:
        there = ", ".join(names[:20])
        example = " ".join(f"{side}={'ENGLISH' if side == 'source' else 'GERMAN'}" for side in open_)
        raise DataError(
            f"{path} does not say which column is the {' or the '.join(open_)}: name them with --columns, as in "
            f"--columns {example} (by number, from 0, where there is no header); there are {there}."
        )
    found = [language or _named(columns.get(side, side), side) for side, language in zip(SIDES, said, strict=True)]
    return {role: column for role, column in columns.items() if role != column}, (found[0], found[1])


def source_column(path: Path, columns: Mapping[str, str] | None, language: str | None, encoding: str) -> str:
    """The column with the texts to be translated: as mapped, the one called source or as the language, the only one."""
    if columns and "source" in columns:
        return columns["source"]
    names, _ = peek(path, encoding)
    if "source" not in names and language in names:
        return str(language)
    return "0" if len(names) == 1 and names != ["source"] else "source"


def _named(column: str, side: str) -> str:
    return side if column.isdecimal() else column
