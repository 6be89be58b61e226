"""Makes the built-in sample, sample.tsv.gz: numbers and what is said with them, in English and in German.

The numbers' words are num2words', of the extra [dev]; the phrases around them are below. It is run by hand:
python -m tasks.translation.data.make_sample
"""

import gzip
from collections.abc import Callable, Iterator

from pipelines.sources.philox import numbers
from tasks.translation.data.sample import PATH

_SEED = 8
_CHOICES = 24
"""Random numbers of a pair, more than any needs."""
_YEARS = (1100, 1999)
_LAST_DAY = 28
"""That every month has."""

Line = tuple[str, str, str]
"""What a pair is about, by which it is held out (a number, a date's year, a time); English; German."""
_Draw = Callable[[int, int], int]
"""Bounds -> a whole number from the first up to the second."""

_MONTHS = {
    "January": "Januar",
    "February": "Februar",
    "March": "März",
    "April": "April",
    "May": "Mai",
    "June": "Juni",
    "July": "Juli",
    "August": "August",
    "September": "September",
    "October": "Oktober",
    "November": "November",
    "December": "Dezember",
}
_NUMBERED = (
    ("page {}", "Seite {}"),
    ("room {}", "Zimmer {}"),
    ("line {}", "Zeile {}"),
    ("number {}", "Nummer {}"),
    ("Please open the book at page {}.", "Bitte schlagen Sie das Buch auf Seite {} auf."),
    ("You will find it in room {}.", "Sie finden es in Zimmer {}."),
)
_COUNTED = (
    ("{} people", "{} Menschen"),
    ("{} books", "{} Bücher"),
    ("{} steps", "{} Stufen"),
    ("{} people live here.", "Hier wohnen {} Menschen."),
    ("We have {} books.", "Wir haben {} Bücher."),
    ("The tower has {} steps.", "Der Turm hat {} Stufen."),
    ("There are {} days left.", "Es bleiben noch {} Tage."),
)
_RANKED = (
    ("the {} day", "der {} Tag"),
    ("the {} chapter", "das {} Kapitel"),
    ("the {} time", "das {} Mal"),
    ("This is the {} attempt.", "Das ist der {} Versuch."),
)
_DATED = (
    ("the {day} of {month} {year}", "der {day} {month} {year}"),
    ("the {day} of {month} {year}", "der {day} {month} {year}"),
    ("She was born on the {day} of {month} {year}.", "Sie wurde am {day}n {month} {year} geboren."),
    ("The letter is from the {day} of {month} {year}.", "Der Brief ist vom {day}n {month} {year}."),
)
_IN_YEARS = (
    ("in {}", "im Jahr {}"),
    ("The house was built in {}.", "Das Haus wurde im Jahr {} gebaut."),
    ("That was before {}.", "Das war vor {}."),
)
_PRICED = (
    ("{} euros and {} cents", "{} Euro und {} Cent"),
    ("It costs {} euros and {} cents.", "Es kostet {} Euro und {} Cent."),
)
_TIMED = (
    ("at {}", "um {}"),
    ("It is {}.", "Es ist {}."),
    ("The train arrives at {}.", "Der Zug kommt um {} an."),
    ("We are meeting at {}.", "Wir treffen uns um {}."),
)


def lines() -> list[Line]:
    """Every pair, each once, always the same ones in the same order.

    Raises:
        ModuleNotFoundError: num2words is not installed.
    """
    found: dict[tuple[str, str], str] = {}
    seed = _SEED
    for count, make in _FAMILIES:
        seed += 1
        for choices in numbers(seed, count, _CHOICES).tolist():
            about, english, german = make(_draw(iter(choices)))
            found.setdefault((english, german), about)
    return [(about, english, german) for (english, german), about in found.items()]


def as_text(pairs: list[Line]) -> str:
    """The table, with a header."""
    return "".join("\t".join(line) + "\n" for line in [("about", "en", "de"), *pairs])


def _draw(choices: Iterator[int]) -> _Draw:
    return lambda low, high: low + (next(choices) * (high - low + 1) >> 32)


def _whole(draw: _Draw, longest: int) -> int:
    """Of two digits up to `longest`. None that end in one: German says it in another way before a noun and behind it,
    of which there would be too few to learn it from."""
    number = draw(2, 10 ** draw(2, longest) - 1)
    return _whole(draw, longest) if number % 100 == 1 else number


def _cardinal(draw: _Draw) -> Line:
    number = _whole(draw, 4)
    return str(number), *_said(number)


def _numbered(draw: _Draw) -> Line:
    number = _whole(draw, 3)
    return str(number), *_filled(_NUMBERED, draw, _said(number))


def _counted(draw: _Draw) -> Line:
    number = _whole(draw, 3)
    return str(number), *_filled(_COUNTED, draw, _said(number))


def _ranked(draw: _Draw) -> Line:
    """Of tens no more than days of a month are, which are said often enough."""
    number = _whole(draw, 3)
    if number > _LAST_DAY and number % 10 == 0:
        return _ranked(draw)
    return str(number), *_filled(_RANKED, draw, _said(number, "ordinal"))


def _dated(draw: _Draw) -> Line:
    day, year = draw(1, _LAST_DAY), draw(*_YEARS)
    days, month, years = _said(day, "ordinal"), list(_MONTHS.items())[draw(0, 11)], _said(year, "year")
    english, german = _DATED[draw(0, len(_DATED) - 1)]
    parts = [dict(zip(("day", "month", "year"), words, strict=True)) for words in zip(days, month, years, strict=True)]
    return str(year), english.format(**parts[0]), german.format(**parts[1])


def _in_year(draw: _Draw) -> Line:
    year = draw(*_YEARS)
    return str(year), *_filled(_IN_YEARS, draw, _said(year, "year"))


def _priced(draw: _Draw) -> Line:
    euros, cents = draw(2, 99), draw(2, 99)
    return f"{euros}.{cents:02}", *_filled(_PRICED, draw, _said(euros), _said(cents))


def _decimal(draw: _Draw) -> Line:
    number = f"{draw(0, 99)}.{draw(0, 9)}{draw(1, 9)}"
    return number, *_said(float(number))


def _timed(draw: _Draw) -> Line:
    """As 'ten to four', 'a quarter past nine', 'eleven twenty-three'."""
    hour, kind = draw(2, 12), draw(0, 2)
    hours = _said(hour)
    if kind == 0:
        minutes = draw(10, 59)
        return f"{hour}:{minutes}", *_filled(_TIMED, draw, _joined("{} {}", "{} Uhr {}", hours, _said(minutes)))
    minutes = (5, 10, 15, 20)[draw(0, 3)]
    spoken = ("a quarter", "Viertel") if minutes == 15 else _said(minutes)
    between = ("{} past {}", "{} nach {}") if kind == 1 else ("{} to {}", "{} vor {}")
    return between[0].format(minutes, hour), *_filled(_TIMED, draw, _joined(*between, spoken, hours))


def _filled(phrases: tuple[tuple[str, str], ...], draw: _Draw, *said: tuple[str, str]) -> tuple[str, str]:
    return _joined(*phrases[draw(0, len(phrases) - 1)], *said)


def _joined(english: str, german: str, *said: tuple[str, str]) -> tuple[str, str]:
    return english.format(*(words for words, _ in said)), german.format(*(words for _, words in said))


def _said(number: float, how: str = "cardinal") -> tuple[str, str]:
    from num2words import num2words

    english = num2words(number, lang="en", to=how).replace(",", "")
    german = num2words(number, lang="de", to=how)
    return english, german


_FAMILIES: tuple[tuple[int, Callable[[_Draw], Line]], ...] = (
    (2_400, _cardinal),
    (1_000, _numbered),
    (1_400, _counted),
    (1_000, _ranked),
    (1_000, _dated),
    (900, _in_year),
    (900, _priced),
    (500, _decimal),
    (1_000, _timed),
)
"""How many of each kind are drawn, some of them twice."""


if __name__ == "__main__":
    with PATH.open("wb") as plain, gzip.GzipFile("", "wb", compresslevel=9, fileobj=plain, mtime=0) as packed:
        packed.write(as_text(lines()).encode())
