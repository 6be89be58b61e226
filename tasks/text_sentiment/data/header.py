"""Whether a table has a header at all, where nobody said so."""

from pathlib import Path

from pipelines.sources.tables import peek

_MOST_LABELS = 20


def positions(path: Path, encoding: str) -> dict[str, str] | None:
    """{"text": "0", "label": "1"} or the other way round, where a text table of two columns begins with an example;
    None where it has a header, or nobody can tell.

    A line of names is unlike what stands below it: a column of labels has few values, and its first line holds one of
    them again only if it is an example itself.
    """
    first, below = peek(path, encoding)
    if len(first) != 2 or set(first) & {"text", "label"}:
        return None
    candidates = []
    for column in (0, 1):
        values = {row[column] for row in below}
        if first[column] in values and len(values) <= _MOST_LABELS and 2 * len(values) <= len(below):
            candidates.append(column)
    if len(candidates) != 1:
        return None
    (label,) = candidates
    return {"text": str(1 - label), "label": str(label)}


def text_column(path: Path, encoding: str) -> str:
    """The column that holds the texts, where nobody said which: the one called text; of a table without a header as
    above, or of one column."""
    first, _ = peek(path, encoding)
    if "text" in first:
        return "text"
    if len(first) == 1:
        return "0"
    return (positions(path, encoding) or {"text": "text"})["text"]
