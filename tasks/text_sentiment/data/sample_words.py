"""What the built-in sample is made of: a grammar of short reviews. Every sentence of it was made up for it.

A rule is a name and its alternatives, each as likely. In an alternative, `{name}` stands for what the rule of that name
makes with the sentiment of the text, `{!name}` with the opposite one. A name that ends in + or - is the rule for a
positive or a negative sentiment.
"""

Rules = dict[str, tuple[str, ...]]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


GENERAL: Rules = {
    "review": ("{said}.", "{said}.", "{said}.", "{aside}. {said}.", "{said}. {aside}."),
    "said": (
        "{claim}",
        "{claim}",
        "{claim}",
        "{plain}, and {plain}",
        "{plain}, and {plain}",
        "{plain}. {plain}",
        "{plain}. {plain}",
        "{plain}, and {claim}",
        "{plain}; {claim}",
        "{turn}",
        "{turn}",
    ),
    # One thing said of one thing.
    "claim": ("{plain}", "{plain}", "{plain}", "{plain}", "{denied}", "{denied}", "{doubted}"),
    "plain": (
        "the {part} was {very} {general}",
        "the {part} was {general}",
        "{it} was {very} {word}",
        "a {general} {part}",
        "we found the {part} {very} {general}",
        "I call that a {very} {general} {part}",
        "{it} has a {general} {part}",
    ),
    # The word says one thing, the sentence another.
    "denied": (
        "the {part} was not {!general} at all",
        "the {part} was not {very} {!general}",
        "the {part} was never {!general}",
        "{it} was far from {!word}",
        "{it} was anything but {!word}",
        "the {part} was by no means {!general}",
        "there was nothing {!general} about the {part}",
        "nobody could call the {part} {!general}",
        "I would not call the {part} {!general}",
        "{it} was hardly {!word}",
        "not a {!general} {part} in any way",
        "{it} never felt {!word}",
        "I cannot say that the {part} was {!general}",
        "{it} is not {!word}, it is {word}",
        "the {part} was {general}, not {!general}",
    ),
    "doubted+": (
        "the {part} was less {!general} than I had feared",
        "I expected a {!general} {part} and was wrong",
        "they told me that the {part} would be {!general}, which is not true",
        "I went in hoping for little and {it} was {word}",
        "what I took for a {!general} {part} turned out {very} {general}",
        "some call the {part} {!general}, and I disagree",
        "the {part} used to be {!general} and is {general} now",
    ),
    "doubted-": (
        "the {part} was less {!general} than I had hoped",
        "I expected a {!general} {part} and was wrong",
        "they told me that the {part} would be {!general}, which is not true",
        "I wish I could say that the {part} was {!general}",
        "the {part} could have been {!general}",
        "what I took for a {!general} {part} turned out {very} {general}",
        "some call the {part} {!general}, and I disagree",
        "the {part} used to be {!general} and is {general} now",
        "{it} would have been {!general} with another {part}",
    ),
    # Two claims, of which the second decides, or the first where the other is only granted.
    "turn": (
        "{!claim}, but {claim}",
        "{!claim}, but {claim}",
        "{!plain}, but {claim}",
        "{!plain}, but {plain}",
        "{!plain}, but {plain}",
        "{!plain}, and yet {claim}",
        "although {!plain}, {claim}",
        "even though {!plain}, {plain}",
        "{claim}, even though {!plain}",
        "{plain}, although {!plain}",
        "{plain}, no matter that {!plain}",
        "{!plain}; in the end, though, {claim}",
    ),
    "very": _words("very really quite rather truly remarkably utterly somewhat pretty thoroughly surprisingly"),
    "it": ("it", "this", "the whole thing", "{thing}", "{thing}", "{thing}"),
    "word": ("{general}", "{general}", "{own}"),
    "general+": _words(
        "good great lovely wonderful excellent superb splendid fantastic delightful brilliant impressive fine"
    ),
    "general-": _words(
        "bad awful poor dreadful terrible horrible lousy disappointing mediocre dismal hopeless annoying"
    ),
    "aside": (
        "{when} {who} and I {did}",
        "{when} {who} {did}",
        "{who} {did} {when}",
        "{who} {did}",
        "I {did} {when}",
    ),
    "when": (
        "last week",
        "on a rainy Tuesday",
        "in March",
        "the day before yesterday",
        "two weeks ago",
        "on my birthday",
        "over the holidays",
        "after work",
        "for the first time",
        "once again",
    ),
    "who": ("my sister", "my brother", "a friend", "my neighbour", "a colleague", "my aunt", "our son", "my wife"),
}
"""For every domain."""

DOMAINS: dict[str, Rules] = {
    "films": {
        "thing": ("the film", "the movie", "this picture", "the sequel"),
        "part": _words("plot acting ending cast script camerawork soundtrack dialogue opening"),
        "own+": _words("gripping moving funny clever charming"),
        "own-": _words("tedious predictable silly clumsy lifeless"),
        "did": ("saw it in a small cinema", "chose the seats", "watched it at home", "paid for the tickets"),
    },
    "food": {
        "thing": ("the meal", "the dinner", "our order", "this lunch"),
        "part": _words("soup service menu dessert bread sauce waiter coffee table"),
        "own+": _words("delicious tasty fresh tender generous"),
        "own-": _words("bland stale soggy greasy tasteless"),
        "did": ("booked a table by the window", "ordered the fish", "shared a starter", "came for lunch"),
    },
    "hotels": {
        "thing": ("the hotel", "our stay", "this guesthouse", "the hostel"),
        "part": _words("room bed breakfast view staff lobby shower location pool"),
        "own+": _words("spotless quiet comfortable spacious welcoming"),
        "own-": _words("dirty noisy cramped damp shabby"),
        "did": ("stayed for three nights", "arrived by train", "checked in after midnight", "had a room upstairs"),
    },
    "gadgets": {
        "thing": ("the phone", "this gadget", "the new model", "the tablet"),
        "part": _words("battery screen camera speaker charger keyboard case manual design"),
        "own+": _words("sturdy fast reliable bright handy"),
        "own-": _words("flimsy slow unreliable dim fiddly"),
        "did": ("bought it in blue", "unpacked it", "used it at the office", "gave it away"),
    },
    "books": {
        "thing": ("the book", "this novel", "the second volume", "the story"),
        "part": _words("prose plot hero translation cover pacing dialogue chapter narrator"),
        "own+": _words("witty absorbing touching vivid elegant"),
        "own-": _words("dull wordy confusing shallow pompous"),
        "did": ("read it on the train", "borrowed it from the library", "got it as a present", "lent me a copy"),
    },
    "software": {
        "thing": ("the app", "this program", "the update", "the website"),
        "part": _words("layout search menu support editor sync installer design map"),
        "own+": _words("smooth intuitive stable quick tidy"),
        "own-": _words("buggy sluggish cluttered unstable laggy"),
        "did": ("installed it", "tried the free version", "used it for the accounts", "opened an account"),
    },
    "travel": {
        "thing": ("the trip", "the tour", "this airline", "the ferry"),
        "part": _words("guide seat crew route cabin bus timetable beach boat"),
        "own+": _words("relaxing punctual scenic friendly safe"),
        "own-": _words("exhausting late dreary rude unsafe"),
        "did": ("travelled with two bags", "took the morning bus", "sat by the window", "flew home on Sunday"),
    },
    "concerts": {
        "thing": ("the concert", "the show", "this band", "the festival"),
        "part": _words("singer sound stage drummer lighting venue encore setlist choir"),
        "own+": _words("thrilling lively catchy polished inspired"),
        "own-": _words("boring shrill monotonous sloppy listless"),
        "did": ("stood near the stage", "got the tickets", "went there by tram", "came for the second half"),
    },
}
"""What each adds. Words of its own are said of the thing, never of its parts."""
