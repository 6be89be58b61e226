"""From answers to labels: the likeliest path, the likeliest transcript over all its paths, and n-grams."""

import itertools
import math
from collections import defaultdict

import numpy as np
import pytest

from tasks.speech_recognition.beam import ByCharacters, ByLength, ByWords, PrefixBeam
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.decoding import Greedy, Sign, words
from tasks.speech_recognition.language import ASSET, decoder, learnt
from tasks.speech_recognition.ngrams import EDGE, UNKNOWN, NGrams, counted

ALPHABET = ["", " ", "a", "b"]


def answers(seed: int, count: int = 6, labels: int = 4) -> np.ndarray:
    logits = 2 * np.random.default_rng(seed).normal(size=(count, labels))
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def said(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(label for label, _ in itertools.groupby(path) if label)


def every_transcript(log_probabilities: np.ndarray) -> dict[tuple[int, ...], float]:
    """The probability of each, over all its paths."""
    found: dict[tuple[int, ...], float] = defaultdict(float)
    frames, labels = log_probabilities.shape
    for path in itertools.product(range(labels), repeat=frames):
        found[said(path)] += math.exp(sum(log_probabilities[place, label] for place, label in enumerate(path)))
    return found


def labels_of(signs: list[Sign]) -> tuple[int, ...]:
    return tuple(sign.label for sign in signs)


def test_greedy_leaves_out_repetitions_and_blanks() -> None:
    path = [0, 2, 2, 0, 2, 3, 1, 1, 0]
    sure = np.full((len(path), 4), np.log(0.1 / 3))
    sure[np.arange(len(path)), path] = np.log(0.9)
    sure[2, 2] = np.log(0.95)
    found = Greedy()
    found.feed(sure[:4])
    found.feed(sure[4:])
    signs = found.finish()
    assert [(sign.label, sign.start, sign.end) for sign in signs] == [(2, 1, 3), (2, 4, 5), (3, 5, 6), (1, 6, 8)]
    assert signs[0].probability == pytest.approx(0.95, rel=1e-5)
    assert Greedy().finish() == []


def test_words_have_times_and_confidence() -> None:
    signs = [Sign(2, 1, 3, 0.9), Sign(3, 4, 5, 0.7), Sign(1, 6, 7, 0.2), Sign(2, 8, 10, 0.5), Sign(1, 11, 12, 1.0)]
    first, second = words(signs, ALPHABET, 0.04)
    assert (first.text, second.text) == ("ab", "a")
    assert (first.start, first.end) == pytest.approx((0.04, 0.2))
    assert (second.start, second.end, second.confidence) == pytest.approx((0.32, 0.4, 0.5))
    assert first.confidence == pytest.approx(0.8)
    assert words([], ALPHABET, 0.04) == []


@pytest.mark.parametrize("seed", range(20))
def test_a_wide_search_finds_the_likeliest_transcript(seed: int) -> None:
    log_probabilities = answers(seed)
    wanted = max(every_transcript(log_probabilities).items(), key=lambda pair: pair[1])[0]
    found = PrefixBeam(2_000, ByLength())
    found.feed(log_probabilities[:2])
    found.feed(log_probabilities[2:])
    assert labels_of(found.finish()) == wanted


def test_a_search_sums_over_paths_where_the_likeliest_path_errs() -> None:
    # "" is the likeliest path (0.36), "a" the likeliest transcript (0.64).
    log_probabilities = np.log(np.array([[0.6, 0.4], [0.6, 0.4]]))
    greedy, beam = Greedy(), PrefixBeam(8, ByLength())
    for one in (greedy, beam):
        one.feed(log_probabilities)
    assert labels_of(greedy.finish()) == ()
    signs = beam.finish()
    assert labels_of(signs) == (1,)
    assert signs[0].start == 0


@pytest.mark.parametrize("seed", range(10))
def test_a_language_model_counts_as_it_says(seed: int) -> None:
    model = NGrams(counted([[2, 3, 1, 2], [3, 3], [2, 3]], 2, 4))
    log_probabilities, weight, bonus = answers(seed, 5), 0.7, 0.3

    def score(labels: tuple[int, ...], probability: float) -> float:
        total, context = math.log(probability), model.first
        for label in labels:
            total += weight * model.log_probability(context, label) + bonus
            context = model.after(context, label)
        return total + weight * model.log_probability(context, EDGE)

    wanted = max(every_transcript(log_probabilities).items(), key=lambda pair: score(*pair))[0]
    found = PrefixBeam(2_000, ByCharacters(model, weight, bonus))
    found.feed(log_probabilities)
    assert labels_of(found.finish()) == wanted


def test_words_are_judged_when_they_are_over() -> None:
    texts = ["ab a", "ab b", "ab a"]
    config = Config(beams=8, language_model="words", lm_order=2, lm_weight=1.0, length_bonus=0.0)
    asset = learnt(texts, [], 4, config)[ASSET]
    assert asset["words"] == ["a", "ab", "b"]
    model = NGrams(asset)
    judge = ByWords(model, {"a": 1, "ab": 2, "b": 3}, ALPHABET, 1.0, 0.5)
    state, total = judge.first, 0.0
    for label in (2, 3, 1, 3, 3):  # "ab bb"
        score, state = judge.step(state, label)
        total += score
    total += judge.end(state)
    bigrams = [((EDGE,), 2), ((2,), UNKNOWN), ((UNKNOWN,), EDGE)]
    assert total == pytest.approx(sum(model.log_probability(*one) for one in bigrams) + 2 * 0.5)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_n_grams_add_up_to_one(order: int) -> None:
    model = NGrams(counted([[1, 2, 3, 1, 2], [2, 2], []], order, 4))
    for context in itertools.product(range(4), repeat=order - 1):
        total = sum(math.exp(model.log_probability(context, number)) for number in (*range(4), UNKNOWN))
        assert total == pytest.approx(1.0)


def test_witten_and_bell_by_hand() -> None:
    # Behind 1 stood 2 twice and the end once: two kinds. 2 is 2 of 5 in all, of three kinds; one of 3 + 1 by chance.
    model = NGrams(counted([[1, 2], [1, 2], [1]], 2, 3))
    alone = (2 + 3 * 0.25) / (8 + 3)
    assert math.exp(model.log_probability((1,), 2)) == pytest.approx((2 + 2 * alone) / (3 + 2))


def test_the_language_model_mends_what_the_sound_leaves_open() -> None:
    config = Config(beams=8, language_model="characters", lm_order=3, lm_weight=1.0, length_bonus=0.0)
    assets = {"alphabet": ALPHABET, **learnt([], [[2, 3, 1, 2, 3], [2, 3]], 4, config)}
    heard = np.log(np.array([[0.02, 0.02, 0.94, 0.02], [0.02, 0.02, 0.49, 0.47], [0.02, 0.02, 0.48, 0.48]]))
    plain, judged = decoder(config.model_copy(update={"lm_weight": 0.0}), assets)(), decoder(config, assets)()
    for one in (plain, judged):
        one.feed(heard)
    assert labels_of(judged.finish()) == (2, 3)
    assert isinstance(decoder(config.model_copy(update={"beams": 1}), assets)(), Greedy)
