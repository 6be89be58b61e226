"""The built-in sample of text sentiment: its random numbers, what it says, and what can learn it."""

import hashlib
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pipelines.sources.philox import numbers, philox
from tasks.text_sentiment.data.sample import CLASSES, COUNT, sample
from tasks.text_sentiment.data.sample_words import DOMAINS, GENERAL

ALL = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "block"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((ALL, ALL, ALL, ALL), (ALL, ALL), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_blocks_of_its_authors(
    counter: tuple[int, ...], key: tuple[int, int], block: tuple[int, ...]
) -> None:
    assert tuple(philox(np.array(counter, np.uint64), key).tolist()) == block


def test_a_number_depends_on_seed_row_and_place_alone() -> None:
    few, many = numbers(7, 3, 5), numbers(7, 100, 9)
    assert few.dtype == np.uint32
    assert (few == many[:3, :5]).all()
    assert len(np.unique(many)) == many.size
    assert not (numbers(8, 100, 9) == many).any()
    assert numbers(1 << 32, 1, 4).tolist() != numbers(0, 1, 4).tolist()
    counter = np.array([2, 41, 0, 0], np.uint64)
    assert numbers(7, 50, 12)[41, 8:].tolist() == philox(counter, (7, 0)).tolist()
    share = numbers(3, 1000, 64) / 2**32
    assert abs(share.mean() - 0.5) < 0.005
    assert abs(share.std() - 12**-0.5) < 0.005


def test_the_sample_is_balanced_distinct_and_clean() -> None:
    texts, labels = sample()
    assert len(texts) == len(labels) == len(set(texts)) == COUNT
    counts = Counter(labels)
    assert set(counts) == set(CLASSES)
    assert abs(counts["positive"] - counts["negative"]) < 30
    for text in texts:
        assert re.fullmatch(r"[A-Z][A-Za-z ,.;-]{8,250}\.", text), text
        assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiou]|  |\. [a-z]", text), text


def test_the_sample_is_the_same_everywhere() -> None:
    texts, labels = sample()
    digest = hashlib.blake2b("\n".join(map("\t".join, zip(texts, labels, strict=True))).encode(), digest_size=8)
    assert digest.hexdigest() == "e38ee6817ead1a4c"
    code = "from tasks.text_sentiment.data.sample import sample; import sys; print(sample()[0][17]); "
    code += "sys.exit('tensorflow' in sys.modules)"
    other = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent.parent, check=True, capture_output=True, text=True
    )
    assert other.stdout.strip() == texts[17]


def test_every_rule_is_reached_and_every_slot_has_one() -> None:
    for name, own in DOMAINS.items():
        rules = GENERAL | own
        known = {rule.rstrip("+-") for rule in rules}
        used = {slot for texts in rules.values() for text in texts for slot in re.findall(r"\{!?(\w+)\}", text)}
        assert used | {"review"} == known, name
        for rule in known:
            assert rule in rules or {f"{rule}+", f"{rule}-"} <= set(rules), (name, rule)


GOOD, BAD = (
    set(GENERAL[f"general{sign}"]) | {word for rules in DOMAINS.values() for word in rules[f"own{sign}"]}
    for sign in "+-"
)
VERY = f"(?:(?:{'|'.join(GENERAL['very'])}) )?"
DENIED = "not |far from |anything but |by no means |hardly |never "


def test_texts_say_what_their_labels_say() -> None:
    """Where the words leave no doubt: one word of one thing, said or denied."""
    checked: Counter[str] = Counter()
    for text, label in zip(*sample(), strict=True):
        if said := re.fullmatch(rf"(?:The|This|It) ?[\w ]*? was ({DENIED})?{VERY}(\w+)( at all)?\.", text):
            denied, word = said[1] is not None, said[2]
            assert word in GOOD | BAD
            assert label == CLASSES[(word in GOOD) != denied], text
            checked[f"{label} {denied}"] += 1
    assert len(checked) == 4
    assert min(checked.values()) >= 10


def test_what_follows_but_decides() -> None:
    checked: Counter[str] = Counter()
    for text, label in zip(*sample(), strict=True):
        if said := re.search(rf"he \w+ was {VERY}(\w+), but the \w+ was {VERY}(\w+)\.", text):
            assert [said[1] in GOOD, said[2] in GOOD] == [label == "negative", label == "positive"], text
            checked[label] += 1
    assert min(checked["negative"], checked["positive"]) >= 3


def test_making_it_takes_no_time() -> None:
    def seconds() -> float:
        start = time.process_time()
        sample()
        return time.process_time() - start

    assert min(seconds() for _ in range(3)) < 0.5


@pytest.mark.slow
def test_a_bag_of_words_does_not_solve_it() -> None:
    """TF-IDF of words and pairs of them, into logistic regression: better than chance, far from all."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    texts, labels = sample()
    scores = {}
    for longest in (1, 2):
        vectors = TfidfVectorizer(ngram_range=(1, longest), sublinear_tf=True)
        train, test = vectors.fit_transform(texts[600:]), vectors.transform(texts[:600])
        scores[longest] = LogisticRegression(C=10).fit(train, labels[600:]).score(test, labels[:600])
    assert 0.65 < scores[1] < 0.85
    assert 0.75 < scores[2] < 0.9
