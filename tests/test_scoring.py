"""Scores against hand-computed cases and scikit-learn; intervals, calibration and degenerate inputs."""

import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from pipelines import scoring
from pipelines.task import Interval, Scores

ROOT = Path(__file__).resolve().parent.parent


def guesses(examples: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits [examples, classes] that lean to the truth, and labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, examples)
    logits = random.normal(size=(examples, classes)).astype(np.float32)
    logits[np.arange(examples), labels] += 1.5
    return logits, labels


def test_softmax_by_hand_and_at_a_temperature() -> None:
    assert scoring.softmax(np.log([[1.0, 3.0]])).tolist() == [[pytest.approx(0.25), pytest.approx(0.75)]]
    assert scoring.softmax(np.array([0.0, 2 * np.log(3.0)]), 2.0)[1] == pytest.approx(0.75)
    assert scoring.softmax(np.array([1e4, -1e4])).tolist() == [1, 0]


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_scores_equal_scikit_learns(classes: int) -> None:
    logits, labels = guesses(500, classes)
    probabilities, predicted = scoring.softmax(logits), logits.argmax(axis=1)
    confusion = scoring.confusion_matrix(labels, predicted, classes)
    assert (confusion == metrics.confusion_matrix(labels, predicted)).all()
    assert scoring.macro_f1(confusion) == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))
    assert scoring.log_loss(probabilities, labels) == pytest.approx(metrics.log_loss(labels, probabilities))
    if classes > 2:
        expected = metrics.top_k_accuracy_score(labels, logits, k=2)
        assert scoring.top_k_accuracy(logits, labels, 2) == pytest.approx(expected)
    table = scoring.per_class(confusion, [str(index) for index in range(classes)])
    columns = metrics.precision_recall_fscore_support(labels, predicted)
    for name, expected in zip(("precision", "recall", "f1", "support"), columns, strict=True):
        assert [row[name] for row in table.values()] == pytest.approx(expected.tolist())


def test_macro_f1_leaves_out_classes_that_do_not_occur_as_scikit_learn_does() -> None:
    labels, predicted = np.array([0, 0, 1, 3]), np.array([0, 1, 1, 4])
    confusion = scoring.confusion_matrix(labels, predicted, 6)
    expected = metrics.f1_score(labels, predicted, average="macro", zero_division=0)
    assert scoring.macro_f1(confusion) == pytest.approx(expected)
    table = scoring.per_class(confusion, list("abcdef"))
    assert table["c"] == {"precision": None, "recall": None, "f1": None, "support": 0}
    assert table["d"] == {"precision": None, "recall": 0.0, "f1": 0.0, "support": 1}
    assert table["e"] == {"precision": 0.0, "recall": None, "f1": 0.0, "support": 0}


def test_top_k_counts_ties_as_argmax_does() -> None:
    scores = np.array([[1.0, 1.0, 0.0]] * 2)
    assert scoring.top_k_accuracy(scores, np.array([0, 1]), 1) == 0.5
    assert scoring.top_k_accuracy(scores, np.array([0, 1]), 2) == 1
    assert scoring.top_k_accuracy(scores, np.array([0, 2]), 9) == 1


def test_log_loss_of_a_certain_error_is_finite() -> None:
    assert scoring.log_loss(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(36.04, abs=0.01)
    assert scoring.outcomes(np.array([[1e3, 0.0]]), np.array([1])).log_loss[0] == pytest.approx(36.04, abs=0.01)


def test_calibration_error_by_hand() -> None:
    # Bin (0.5, 0.6]: 0.6 right, 0.6 wrong: gap 0.1 for two of four. Bin (0.8, 0.9]: 0.9 twice, right: gap 0.1.
    probabilities = np.array([[0.6, 0.4], [0.6, 0.4], [0.9, 0.1], [0.1, 0.9]])
    labels = np.array([0, 1, 0, 1])
    assert scoring.expected_calibration_error(probabilities, labels, bins=10) == pytest.approx(0.1)
    bins = scoring.reliability_bins(probabilities.max(axis=1), np.array([1, 0, 1, 1]), bins=10)
    assert bins["count"].tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 2, 0]
    assert bins["accuracy"][[5, 8]].tolist() == [0.5, 1]
    assert bins["confidence"][[5, 8]] == pytest.approx([0.6, 0.9])
    assert np.isnan(bins["accuracy"][0])


def test_temperature_is_found_again() -> None:
    random = np.random.default_rng(1)
    logits = random.normal(size=(20_000, 5)) * 2
    labels = (scoring.softmax(logits).cumsum(axis=1) < random.random((20_000, 1))).sum(axis=1)
    assert scoring.fit_temperature(logits * 3, labels) == pytest.approx(3, rel=0.05)
    assert scoring.fit_temperature(logits / 4, labels) == pytest.approx(0.25, rel=0.05)


def test_temperature_of_faultless_validation_data_stays_sober() -> None:
    labels = np.arange(180) % 10
    logits = np.eye(10)[labels] * 8
    confidence = scoring.softmax(logits, scoring.fit_temperature(logits, labels)).max(axis=1).mean()
    assert 0.98 < confidence < 0.999
    assert 0.05 <= scoring.fit_temperature(np.zeros((4, 3)), np.array([0, 1, 2, 0])) <= 20
    assert scoring.fit_temperature(np.zeros((0, 3)), np.zeros(0, int)) == 1
    assert np.isfinite(scoring.fit_temperature(np.array([[-np.inf, 0.0]]), np.array([1])))


def test_bootstrap_of_a_mean_has_the_width_of_theory() -> None:
    values = (np.random.default_rng(0).random(20_000) < 0.9).astype(float)
    found = scoring.bootstrap({"accuracy": values}, seed=0)["accuracy"]
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert found.value == values.mean()
    assert found.low == pytest.approx(values.mean() - half, abs=half / 8)
    assert found.high == pytest.approx(values.mean() + half, abs=half / 8)


def test_bootstrap_covers_the_truth_about_95_times_in_100() -> None:
    random = np.random.default_rng(3)
    found = [scoring.bootstrap({"x": random.normal(size=80)}, seed=trial)["x"] for trial in range(200)]
    inside = sum((interval.low or 0) <= 0 <= (interval.high or 0) for interval in found)
    assert 178 <= inside <= 199


def test_bootstrap_repeats_itself_and_one_example_has_no_interval() -> None:
    values = np.arange(50.0)
    assert scoring.bootstrap({"x": values}, seed=4) == scoring.bootstrap({"x": values}, seed=4)
    assert scoring.bootstrap({"x": values}, seed=4) != scoring.bootstrap({"x": values}, seed=5)
    assert scoring.bootstrap({"x": np.array([2.0])}, seed=0)["x"] == Interval(2.0)


def test_macro_f1_interval_agrees_with_resampling_examples() -> None:
    logits, labels = guesses(300, 4)
    predicted = logits.argmax(axis=1)
    found = scoring.classification_scores(logits, labels, list("abcd"), temperature=1, k=1, seed=0).scores["macro_f1"]
    random = np.random.default_rng(9)
    drawn = []
    for _ in range(1000):
        rows = random.integers(0, 300, 300)
        drawn.append(scoring.macro_f1(scoring.confusion_matrix(labels[rows], predicted[rows], 4)))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(drawn, (2.5, 97.5))), abs=0.01)


def test_all_scores_of_a_classifier() -> None:
    logits, labels = guesses(2000, 7)
    names = [f"c{index}" for index in range(7)]
    found = scoring.classification_scores(logits, labels, names, temperature=0.5, k=5, seed=0)
    assert list(found.scores) == [
        *("accuracy", "macro_f1", "mcc", "top_5_accuracy", "log_loss", "ece", "ece_uncalibrated"),
    ]
    probabilities = scoring.softmax(logits, 0.5)
    assert found.scores["log_loss"].value == pytest.approx(scoring.log_loss(probabilities, labels))
    assert found.scores["top_5_accuracy"].value == pytest.approx(scoring.top_k_accuracy(logits, labels, 5))
    expected = scoring.expected_calibration_error(probabilities, labels)
    assert found.scores["ece"].value == pytest.approx(expected, abs=1e-6)
    raw = scoring.expected_calibration_error(scoring.softmax(logits), labels)
    assert found.scores["ece_uncalibrated"].value == pytest.approx(raw, abs=1e-6)
    for interval in found.scores.values():
        assert interval.low is not None
        assert interval.high is not None
        assert interval.low <= interval.value <= interval.high
    assert sum(map(sum, found.breakdowns["confusion_matrix"]["counts"])) == 2000


@pytest.mark.parametrize("grades", [[1, 2, 3, 4, 5], [10, 30, 20, 50, 40]])
def test_agreement_equals_scikit_learns(grades: list[float]) -> None:
    logits, labels = guesses(400, 5)
    names, predicted = [str(grade) for grade in grades], logits.argmax(axis=1)
    found = scoring.classification_scores(logits, labels, names, temperature=1, k=1, seed=0, grades=grades).scores
    ranked = np.argsort(np.argsort(grades))
    expected = metrics.cohen_kappa_score(ranked[labels], ranked[predicted], weights="quadratic")
    assert found["quadratic_kappa"].value == pytest.approx(expected)
    assert found["mcc"].value == pytest.approx(metrics.matthews_corrcoef(labels, predicted))
    assert "auc" not in found
    random = np.random.default_rng(1)
    drawn = [random.integers(0, 400, 400) for _ in range(500)]
    each = [metrics.matthews_corrcoef(labels[rows], predicted[rows]) for rows in drawn]
    assert (found["mcc"].low, found["mcc"].high) == pytest.approx(tuple(np.percentile(each, (2.5, 97.5))), abs=0.015)


def test_kappa_of_uneven_grades_by_hand() -> None:
    # Truth 1 and 4, answers 1 and 2: observed (0 + 4) / 2; by chance ((1-1)^2 + (1-2)^2 + (4-1)^2 + (4-2)^2) / 4.
    logits, labels = np.eye(3)[[0, 1]], np.array([0, 2])
    found = scoring.classification_scores(logits, labels, list("124"), temperature=1, k=1, seed=0, grades=[1, 2, 4])
    assert found.scores["quadratic_kappa"].value == pytest.approx(1 - 2 / 3.5)


def test_auc_with_ties_equals_scikit_learns_and_its_interval_agrees_with_resampling() -> None:
    logits, labels = guesses(300, 2)
    logits = np.round(logits)  # many ties
    found = scoring.classification_scores(logits, labels, ["no", "yes"], temperature=3, k=1, seed=0).scores["auc"]
    scores = logits[:, 1] - logits[:, 0]
    assert found.value == pytest.approx(metrics.roc_auc_score(labels, scores))
    random = np.random.default_rng(5)
    drawn = [random.integers(0, 300, 300) for _ in range(500)]
    each = [metrics.roc_auc_score(labels[rows], scores[rows]) for rows in drawn]
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(each, (2.5, 97.5))), abs=0.012)
    weights = np.random.default_rng(0).integers(0, 3, (4, 300)).astype(float)
    expected = [metrics.roc_auc_score(labels, scores, sample_weight=row) for row in weights]
    assert scoring.auc(scores, labels == 1, weights) == pytest.approx(expected)


def test_agreement_where_there_is_little_to_agree_on() -> None:
    def scores(logits: list[list[float]], labels: list[int]) -> dict[str, Interval]:
        names = [str(index) for index in range(len(logits[0]))]
        grades = list(map(float, names))
        arrays = np.array(logits), np.array(labels)
        return scoring.classification_scores(*arrays, names, temperature=1, k=1, seed=0, grades=grades).scores

    assert not {"mcc", "auc", "quadratic_kappa"} & scores([[1, 0], [0, 1]], [0, 0]).keys()
    constant = scores([[1, 0], [2, 0], [3, 0]], [0, 1, 0])
    assert (constant["mcc"].value, constant["auc"].value) == (0, 0.5)
    assert constant["quadratic_kappa"].value == pytest.approx(0)
    perfect = scores([[1, 0, 0], [0, 0, 1]], [0, 2])
    assert perfect["mcc"] == perfect["quadratic_kappa"] == Interval(1.0, 1.0, 1.0)


@pytest.mark.parametrize(("classes", "k"), [(2, 5), (5, 5), (6, 1)])
def test_top_k_is_left_out_where_it_says_nothing(classes: int, k: int) -> None:
    logits, labels = guesses(20, classes)
    found = scoring.classification_scores(logits, labels, [str(c) for c in range(classes)], temperature=1, k=k, seed=0)
    assert not [name for name in found.scores if name.startswith("top_")]


def test_one_example_and_one_class_have_scores() -> None:
    found = scoring.classification_scores(np.zeros((1, 3)), np.array([0]), list("abc"), temperature=1, k=5, seed=0)
    assert found.scores["accuracy"] == Interval(1.0)
    assert found.scores["macro_f1"] == Interval(1.0)
    alone = scoring.classification_scores(np.zeros((3, 1)), np.zeros(3, int), ["a"], temperature=1, k=5, seed=0)
    assert alone.scores["log_loss"].value == 0


def test_scoring_imports_numpy_only() -> None:
    heavy = "{'tensorflow', 'keras', 'jax', 'sklearn', 'scipy', 'matplotlib', 'jinja2'}"
    code = f"import sys, pipelines.scoring, tasks.image_classification.scores; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_memory_does_not_grow_with_resamples_times_examples() -> None:
    values = np.random.default_rng(0).random(40_000)
    tracemalloc.start()
    started = time.perf_counter()
    scoring.bootstrap({"x": values}, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120e6  # all at once would be 320 MB of indices alone
    assert time.perf_counter() - started < 10


def test_a_difference_is_resampled_in_pairs() -> None:
    """Of what is as hard for one as for the other: the intervals overlap, that of the difference is clear of 0."""
    random = np.random.default_rng(5)
    hard = random.normal(size=400)
    values = {"model": hard + 0.1, "baseline": hard + random.normal(size=400) * 0.1}
    model, baseline = (scoring.resample({"x": values[name], name: hard}, seed=3) for name in values)
    scores = Scores("x", {name: one.interval for name, one in model.items()}, {}, {"x": model["x"].replicates})
    drawn = {"x": baseline["x"].replicates, "baseline": baseline["baseline"].replicates}
    (name, found), *others = scoring.differences(scores, drawn, {"x": baseline["x"].value}).items()
    assert name == "x"
    assert not others
    assert found.value == pytest.approx((values["model"] - values["baseline"]).mean())
    rows = np.random.default_rng(9).integers(0, 400, (2000, 400))
    expected = np.percentile((values["model"] - values["baseline"])[rows].mean(axis=1), (2.5, 97.5))
    assert [found.low, found.high] == pytest.approx(expected, abs=0.002)
    alone = scoring.verdict("x", scores.scores["x"], baseline["x"].interval)
    paired = scoring.verdict("x", scores.scores["x"], baseline["x"].interval, found)
    assert (alone.clear, paired.clear) == (False, True)
    assert f"the difference is {found.low:.4f} to {found.high:.4f}, 95 % by paired bootstrap" in paired.sentence
    chance = scoring.verdict("x", scores.scores["x"], baseline["x"].interval, Interval(0.1, -0.1, 0.3))
    assert not chance.clear
    assert "may be chance" in chance.sentence


@pytest.mark.parametrize(
    ("name", "model", "baseline", "beats", "clear", "words"),
    [
        ("accuracy", Interval(0.9, 0.88, 0.92), Interval(0.8, 0.78, 0.82), True, True, "beats the baseline"),
        ("accuracy", Interval(0.9, 0.80, 0.95), Interval(0.8, 0.70, 0.85), True, False, "may be chance"),
        ("accuracy", Interval(0.7, 0.68, 0.72), Interval(0.8, 0.78, 0.82), False, True, "does not beat the baseline"),
        ("accuracy", Interval(0.8, 0.78, 0.82), Interval(0.8, 0.78, 0.82), False, False, "does not beat the baseline"),
        ("log_loss", Interval(0.3, 0.2, 0.4), Interval(0.8, 0.7, 0.9), True, True, "beats the baseline"),
        ("accuracy", Interval(0.9), Interval(0.8), True, False, "too few examples"),
    ],
)
def test_verdict(name: str, model: Interval, baseline: Interval, beats: bool, clear: bool, words: str) -> None:
    found = scoring.verdict(name, model, baseline)
    assert (found.beats, found.clear) == (beats, clear)
    assert words in found.sentence
