"""How translations are judged and held against: sacreBLEU's own scores, long texts, what survives, the baselines."""

import random
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from pipelines import scoring
from pipelines.config.options import own_options
from pipelines.errors import ConfigError, DataError
from pipelines.task import Record
from tasks.translation import measures, scores, segments
from tasks.translation.answers import answer, table
from tasks.translation.baseline import Memory
from tasks.translation.config import Config, PredictOptions
from tasks.translation.surviving import lost

WORDS = ["the", "a", "dog", "cat", "runs", "sits", ",", ".", "big", "Small", "3", "über", "3.5"]


def corpus(sentences: int, seed: int) -> tuple[list[str], list[str]]:
    """Translations and their references, which share some words."""
    chosen = random.Random(seed)
    given = [" ".join(chosen.choices(WORDS, k=chosen.randint(1, 12))) for _ in range(sentences)]
    found = []
    for text in given:
        kept = [word for word in text.split() if chosen.random() < 0.9]
        found.append(" ".join(word if chosen.random() < 0.7 else chosen.choice(WORDS) for word in kept))
    return found, given


@pytest.mark.parametrize("sentences", [1, 2, 5, 40])
def test_scores_are_those_of_sacrebleu(sentences: int) -> None:
    from sacrebleu.metrics import BLEU, CHRF, TER

    for seed in range(10):
        found, given = corpus(sentences, seed)
        assert measures.bleu(found, given).value == pytest.approx(BLEU().corpus_score(found, [given]).score)
        lower = BLEU(lowercase=True).corpus_score(found, [given]).score
        assert measures.bleu(found, given, lowercase=True).value == pytest.approx(lower)
        assert measures.chrf(found, given).value == pytest.approx(CHRF().corpus_score(found, [given]).score)
        assert measures.ter(found, given).value == pytest.approx(TER().corpus_score(found, [given]).score)


def test_nothing_scores_nothing() -> None:
    assert measures.bleu(["", ""], ["a b", "c"]).value == 0
    assert measures.chrf(["", ""], ["a b", "c"]).value == 0


def test_a_resample_is_scored_as_a_corpus() -> None:
    from sacrebleu.metrics import BLEU

    found, given = corpus(30, 3)
    rows = np.random.default_rng(0).integers(0, 30, 30)
    counted = measures.bleu(found, given)
    expected = BLEU().corpus_score([found[row] for row in rows], [[given[row] for row in rows]]).score
    assert counted.of_means(counted.counts[rows].mean(axis=0)[None])[0] == pytest.approx(expected)


def judged(found: list[str], given: list[str], outputs: list[Any] | None = None, **settings: Any) -> Any:
    """The scores of translations."""
    outputs = outputs or [None] * len(found)
    records = [
        Record(str(row), answer("x", [(text, -1.0)]), out)
        for row, (text, out) in enumerate(zip(found, outputs, strict=True))
    ]
    source, target = (np.array(texts, object) for texts in (["x"] * len(given), given))
    references = {"source": source, "target": target, "tokens": np.arange(len(given)) + 1}
    return scores.score(records, references, Config(**settings), {})


def test_scores_of_records() -> None:
    found, given = corpus(40, 1)
    found[:10] = given[:10]
    result = judged(found, given, [np.array([2.0, 4.0])] * 40)
    exact = np.mean([one == other for one, other in zip(found, given, strict=True)])
    assert result.headline == "bleu"
    assert result.scores["exact_match"].value == pytest.approx(exact)
    assert result.scores["perplexity"].value == pytest.approx(np.exp(0.5))
    assert result.scores["length_ratio"].value == pytest.approx(sum(map(len, found)) / sum(map(len, given)))
    for name in ("bleu", "chrf", "bleu_lowercase"):
        one = result.scores[name]
        assert one.low < one.value < one.high
    assert sum(row["examples"] for row in result.breakdowns["length"].values()) == 40
    assert "tok:13a" in result.breakdowns["signatures"]["BLEU"]["signature"]


def test_the_edit_rate_is_scored_where_it_is_asked_for() -> None:
    from sacrebleu.metrics import TER

    found, given = corpus(40, 1)
    result = judged(found, given, ter=True)
    assert result.scores["ter"].value == pytest.approx(TER().corpus_score(found, [given]).score)
    assert result.scores["ter"].low < result.scores["ter"].value < result.scores["ter"].high
    assert result.breakdowns["signatures"]["TER"]["signature"].startswith("nrefs:1|case:lc|tok:tercom")
    assert "ter" not in judged(found, given).scores


def test_two_translators_are_compared_on_the_same_resamples() -> None:
    given = corpus(60, 2)[1]
    better, worse = (corpus(60, 2)[0], [text.split()[0] for text in given])
    better[:30] = given[:30]
    model, baseline = judged(better, given), judged(worse, given)
    values = {name: one.value for name, one in baseline.scores.items()}
    found = scoring.differences(model, baseline.resamples, values)
    assert list(found) == ["bleu", "bleu_lowercase", "chrf", "exact_match", "length_ratio"]
    assert found["bleu"].value == pytest.approx(model.scores["bleu"].value - values["bleu"])
    rows = np.random.default_rng(1).integers(0, 60, (200, 60))
    drawn = [[measures.bleu(one, given).part(row).value for row in rows] for one in (better, worse)]
    low, high = np.percentile(np.subtract(*drawn), (2.5, 97.5))
    assert (found["bleu"].low, found["bleu"].high) == pytest.approx((low, high), abs=3)
    assert judged(better[:1], given[:1]).resamples == {}


def test_a_baseline_has_no_perplexity() -> None:
    assert "perplexity" not in judged(*corpus(5, 0)).scores


def test_a_missing_translation_is_refused() -> None:
    records = [Record("line 3", {}, error="it is empty")]
    references = {name: np.array(["x"], object) for name in ("source", "target")} | {"tokens": np.array([1])}
    with pytest.raises(DataError, match="line 3"):
        scores.score(records, references, Config(), {})


TEXT = 'He said "Go on." Then 3.5 men left, and so on; it rained. Why? Nobody knows.'


@pytest.mark.parametrize("most", [8, 12, 20, 30, 60, 100])
def test_long_texts_are_cut_into_parts_that_fit(most: int) -> None:
    parts = segments.split(TEXT, lambda part: len(part) <= most)
    assert all(len(part) <= most for part in parts)
    assert "".join(parts).replace(" ", "") == TEXT.replace(" ", "")
    if most >= 10:  # no word is cut
        assert segments.join(parts) == TEXT


def test_cuts_lie_between_sentences_where_they_can() -> None:
    sentences = ['He said "Go on."', "Then 3.5 men left, and so on; it rained.", "Why?", "Nobody knows."]
    assert segments.split(TEXT, lambda part: len(part) <= 60) == sentences
    assert segments.split(TEXT, lambda part: len(part) <= 30)[1:3] == ["Then 3.5 men left, and so on;", "it rained."]
    chinese = "这是第一句。这是第二句！好吗？"
    parts = segments.split(chinese, lambda part: len(part) <= 7)
    assert parts == ["这是第一句。", "这是第二句！", "好吗？"]
    assert segments.join(parts) == chinese


def test_a_word_that_is_too_long_is_cut_anywhere() -> None:
    assert "".join(segments.split("a" * 50, lambda part: len(part) <= 20)) == "a" * 50
    assert segments.split("", lambda part: True) == []
    assert segments.split("ab", lambda part: False) == ["a", "b"]


def test_what_does_not_survive_is_named() -> None:
    source = "See https://a.b/c?d=1. {name} pays 1,000.50 to %s at 10:30 <b>x</b> me@x.org 7"
    assert lost(source, "Siehe https://a.b/c?d=1 {name} zahlt 1.000,50 um 10:30 <b>x</b>") == ["%s", "me@x.org", "7"]
    assert lost("no numbers here", "keine") == []
    assert lost("7 and 7", "7") == ["7"]


def test_answers_and_rows() -> None:
    found = [("zwei Hunde", -0.25), ("2 Hunde", -1.5)]
    one = answer("two dogs 2", found[:1])
    assert one == {"translation": "zwei Hunde", "score": -0.25, "lost": ["2"]}
    several = answer("two dogs", found, n_best=2, parts=3)
    rows = list(table(Config(), {}).rows(Record("a", several)))
    assert [row["translation"] for row in rows] == ["zwei Hunde", "2 Hunde"]
    assert rows[0]["parts"] == 3
    assert answer("", []) == {"translation": "", "score": 0.0}


def test_the_memory_finds_the_nearest_sentence() -> None:
    memory = Memory(
        ["a dog runs", "two cats sleep", "a man reads"], ["ein Hund rennt", "zwei Katzen schlafen", "liest"]
    )
    assert memory.translate(["two cats run", "a dog runs fast", "zzz"])[:2] == [
        "zwei Katzen schlafen",
        "ein Hund rennt",
    ]
    assert len(memory.translate(["zzz", ""])) == 2


def test_options_of_predict_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"^--n-best 3 takes as many beams, and --beams is 2\.$"):
        own_options("translation", {"beams": 2, "n_best": 3})
    with pytest.raises(ConfigError, match=r"^--no-repeat takes a whole number from 0 to 20, not -1\.$"):
        own_options("translation", {"no_repeat": -1})
    assert cast(Any, PredictOptions(beams="3")).beams == 3
    assert SimpleNamespace(**dict(PredictOptions())).n_best == 1
