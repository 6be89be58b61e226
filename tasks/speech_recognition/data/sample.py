"""The built-in sample: numbers and rows of digits that a synthesiser says in ten voices, as make_sample recorded them.

They are synthetic: espeak-ng's voices at several speeds, with a little noise, at 16,000 samples a second. espeak-ng is
a program under the GPL, version 3; what it says is not covered by its licence, and is free to use like the rest of
this package. All clips lie in one Ogg file, and clips.tsv says from where to where each goes.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "recorded"
SOUND = FOLDER / "clips.ogg"
TABLE = FOLDER / "clips.tsv"
COLUMNS = ("start", "samples", "speaker", "text")
RATE = 16_000


@dataclass(frozen=True)
class Spoken:
    """A clip of the sample."""

    start: int
    """Sample of the Ogg file that it begins at."""
    samples: int
    speaker: str
    """The synthesiser's voice."""
    text: str


def sample() -> list[Spoken]:
    """All clips, in the order in which they lie in the file."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Spoken(int(row["start"]), int(row["samples"]), row["speaker"], row["text"]) for row in rows]
