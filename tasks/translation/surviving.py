"""What must stand in a translation as in the source: placeholders, addresses, numbers. Imports no TensorFlow."""

import re
from collections import Counter
from collections.abc import Iterator

_KEPT = re.compile(
    r"""
      https?://[^\s<>"]+[^\s<>".,;:!?)\]'] | www\.[^\s<>"]+[^\s<>".,;:!?)\]']   # addresses
    | [\w.+-]+@[\w-]+(?:\.[\w-]+)+                                               # of mail
    | \{\{?\s*[\w.]*\s*\}?\} | %\(\w+\)[sdif] | %[sdif]\b | \$\{\w+\} | <[/\w][^<>]{0,60}> # placeholders and tags
    """,
    re.VERBOSE,
)
_NUMBER = re.compile(r"\d+(?:[.,:/\u00a0\u202f']\d+)*")


def lost(source: str, translation: str) -> list[str]:
    """What of the source does not stand in the translation as often: placeholders and addresses as they are, numbers by
    their digits alone, as 1,000.5 may become 1.000,5."""
    missing = Counter(_whole(source)) - Counter(_whole(translation))
    written = {_digits(number): number for number in reversed(list(_numbers(source)))}
    there = Counter(map(_digits, _numbers(translation)))
    gone = Counter(map(_digits, _numbers(source))) - there
    return [*missing.elements(), *(written[digits] for digits in gone.elements())]


def _whole(text: str) -> list[str]:
    return [found.group().strip() for found in _KEPT.finditer(text)]


def _numbers(text: str) -> Iterator[str]:
    return (found.group() for found in _NUMBER.finditer(_KEPT.sub(" ", text)))


def _digits(number: str) -> str:
    return re.sub(r"\D", "", number)
