"""Scores of several labels an input: beside scikit-learn, and worked out by hand."""

import warnings

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, precision_recall_curve

from pipelines import scoring


def guesses(examples: int = 400, classes: int = 5, seed: int = 0, digits: int | None = None) -> tuple[np.ndarray, ...]:
    """Logits that lean to the truth, the truth; with few digits, many ties."""
    random = np.random.default_rng(seed)
    truth = random.random((examples, classes)) < np.linspace(0.05, 0.6, classes)
    logits = random.normal(size=truth.shape) + 1.5 * truth - 0.5
    return (logits if digits is None else logits.round(digits)), truth


@pytest.mark.parametrize("digits", [None, 0])
def test_scores_are_scikit_learns(digits: int | None) -> None:
    logits, truth = guesses(digits=digits)
    thresholds = [0.3, 0.5, 0.5, 0.6, 0.4]
    found = scoring.multilabel_scores(logits, truth, list("abcde"), thresholds=thresholds, seed=0)
    answers = scoring.sigmoid(logits) >= thresholds
    assert found.headline == "map"
    assert found.scores["map"].value == pytest.approx(average_precision_score(truth, logits, average="macro"))
    assert found.scores["micro_f1"].value == pytest.approx(f1_score(truth, answers, average="micro"))
    assert found.scores["macro_f1"].value == pytest.approx(f1_score(truth, answers, average="macro"))
    assert found.scores["exact_match"].value == pytest.approx(accuracy_score(truth, answers))
    rows = found.breakdowns["per_class"]
    areas = average_precision_score(truth, logits, average=None)
    np.testing.assert_allclose([row["average_precision"] for row in rows.values()], areas)
    for interval in found.scores.values():
        assert interval.low is not None
        assert interval.high is not None
        assert interval.low < interval.value < interval.high


def test_average_precision_of_a_resample_is_that_of_the_repeated_examples() -> None:
    logits, truth = guesses(60, 1, digits=1)
    weights = np.random.default_rng(1).integers(0, 4, (5, 60)).astype(float)
    found = scoring.average_precision(logits[:, 0], truth[:, 0], weights)
    for area, weight in zip(found, weights.astype(int), strict=True):
        scores, true = np.repeat(logits[:, 0], weight), np.repeat(truth[:, 0], weight)
        if true.any():
            assert area == pytest.approx(average_precision_score(true, scores))
    assert np.isnan(scoring.average_precision(logits[:, 0], np.zeros(60, bool), weights)).all()


def test_classes_that_do_not_occur_are_left_out() -> None:
    logits, truth = guesses(100, 3)
    truth[:, 0], logits[:, 0] = False, -9
    found = scoring.multilabel_scores(logits, truth, list("abc"), thresholds=[0.5] * 3, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = f1_score(truth, logits > 0, average="macro", zero_division=np.nan)
    assert found.scores["macro_f1"].value == pytest.approx(wanted)
    assert found.scores["map"].value == pytest.approx(average_precision_score(truth[:, 1:], logits[:, 1:]))
    absent = found.breakdowns["per_class"]["a"]
    undefined = dict.fromkeys(("average_precision", "precision", "recall", "f1"))
    assert absent == {**undefined, "support": 0, "threshold": 0.5}
    nothing = scoring.multilabel_scores(logits, truth & False, list("abc"), thresholds=[0.5] * 3, seed=0)
    assert set(nothing.scores) == {"micro_f1", "macro_f1", "exact_match"}


def test_thresholds_are_the_best_there_are() -> None:
    logits, truth = guesses(200, 4, seed=3)
    probabilities = scoring.sigmoid(logits)
    thresholds = scoring.best_thresholds(probabilities, truth)
    for place, threshold in enumerate(thresholds):
        precision, recall, _ = precision_recall_curve(truth[:, place], probabilities[:, place])
        best = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))
        assert f1_score(truth[:, place], probabilities[:, place] >= threshold) == pytest.approx(best)


def test_thresholds_by_hand() -> None:
    probabilities = np.array([[0.9, 0.3, 0.2], [0.6, 0.3, 0.1], [0.2, 0.1, 0.4]])
    truth = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]], bool)
    assert scoring.best_thresholds(probabilities, truth) == pytest.approx([0.75, 0.2, scoring.UNTUNED])


def test_the_interval_of_map_covers_what_it_should() -> None:
    """About 95 of 100 intervals hold the value of a very large sample."""
    logits, truth = guesses(60_000, 2, seed=9)
    large = average_precision_score(truth, logits)
    held = 0
    for part in range(100):
        rows = slice(200 * part, 200 * part + 200)
        found = scoring.multilabel_scores(logits[rows], truth[rows], ["a", "b"], thresholds=[0.5] * 2, seed=part)
        low, high = found.scores["map"].low, found.scores["map"].high
        assert low is not None
        assert high is not None
        held += low <= large <= high
    assert 85 <= held <= 100


def test_sigmoid_of_extremes() -> None:
    found = scoring.sigmoid(np.array([-1e4, -40.0, 0.0, 40.0, 1e4], np.float32))
    np.testing.assert_allclose(found, [0, 0, 0.5, 1, 1], atol=1e-15)
