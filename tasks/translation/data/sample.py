"""The built-in sample: numbers, dates, prices and times in English and in German, as make_sample wrote them down.

The words of the numbers are num2words'; what is said with them is real language, made from a few phrases.
"""

import gzip
from pathlib import Path

LANGUAGES = ["en", "de"]
PATH = Path(__file__).parent / "sample.tsv.gz"
"""A header, then what a pair is about, its English and its German."""


def sample() -> tuple[dict[str, list[str]], list[str]]:
    """The texts by language; and of each pair what it is about (a number, a year, a time), by which it is held out."""
    _, *lines = gzip.decompress(PATH.read_bytes()).decode().splitlines()
    about, english, german = zip(*(line.split("\t") for line in lines), strict=True)
    return {"en": list(english), "de": list(german)}, list(about)
