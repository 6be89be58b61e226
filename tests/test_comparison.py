"""sixfold report RUN RUN…: runs held against each other in pairs of test examples, or side by side."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import report, scoring
from pipelines.cli import main
from pipelines.errors import ConfigError, StateError
from pipelines.pairing import FILE, load_judged, paired_differences, save_judged
from pipelines.report.comparison import standing
from pipelines.state import load_arrays, save_arrays
from pipelines.task import Data, Interval, Scores
from tests.test_report import PROTOCOL, Page, guesses, run_folder, write_events

ROOT = Path(__file__).resolve().parent.parent
NAMES = list("abcdefg")
EXAMPLES = 400


def judged(lead: float) -> tuple[np.ndarray, np.ndarray, Scores]:
    """Labels, logits and scores of a model that leans to the truth so much; all models find the same examples hard."""
    labels, logits = guesses(EXAMPLES, len(NAMES), lead)
    return labels, logits, scoring.classification_scores(logits, labels, NAMES, temperature=1.4, k=5, seed=0)


def finished(folder: Path, lead: float, *, settings: str = "", ids: str = "image", moved: int = 0) -> Path:
    """A finished run as the runtime leaves it; `moved` makes other contents, `ids` other names."""
    run_folder(folder, NAMES, examples=EXAMPLES, lead=lead)
    labels, _, scores = judged(lead)
    data = Data({}, {}, {}, "", PROTOCOL, {"test": np.arange(EXAMPLES, dtype=np.uint64) + np.uint64(moved)})
    targets = [NAMES[label] for label in labels]
    save_judged(folder, scores, (f"{ids} {row}" for row in range(EXAMPLES)), targets, data)
    with (folder / "run.yaml").open("a") as file:
        file.write(settings)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A weaker run and a better one."""
    folder = tmp_path_factory.mktemp("runs")
    return finished(folder / "weak", 3.0), finished(folder / "<b>strong", 5.0, settings="dropout: 0.5\n")


def test_a_better_run_is_found_by_the_same_examples(runs: tuple[Path, Path]) -> None:
    comparison = report.compare(runs)
    found = comparison.others[0].differences["accuracy"]
    labels, weak, _ = judged(3.0)
    right = [(logits.argmax(axis=1) == labels).astype(float) for logits in (weak, judged(5.0)[1])]
    gain = right[1] - right[0]
    drawn = gain[np.random.default_rng(8).integers(0, EXAMPLES, (4000, EXAMPLES))].mean(axis=1)
    assert found.value == pytest.approx(gain.mean())
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(drawn, (2.5, 97.5))), abs=0.006)
    (sentence,) = comparison.sentences
    assert sentence.startswith("B is better than A: accuracy ")
    assert "95 % by paired bootstrap on the same 400 test examples" in sentence
    assert standing("log_loss", comparison.others[0].differences["log_loss"]) == "better"


def test_scores_of_a_confusion_matrix_are_drawn_in_pairs_too() -> None:
    """Of two models that differ in four examples the difference is far narrower than either interval."""
    labels, logits, scores = judged(3.0)
    rows = np.flatnonzero(logits.argmax(axis=1) != labels)[:4]
    other = logits.copy()
    other[rows, labels[rows]] += 100
    better = scoring.classification_scores(other, labels, NAMES, temperature=1.4, k=5, seed=0)
    values = {name: one.value for name, one in scores.scores.items()}
    found = scoring.differences(better, scores.resamples, values)
    assert found.keys() == better.scores.keys()
    for name in ("accuracy", "macro_f1", "mcc"):
        own = better.scores[name]
        assert found[name].value > 0
        assert found[name].high - found[name].low < 0.5 * (own.high - own.low), name


def test_text_names_runs_scores_and_settings(runs: tuple[Path, Path]) -> None:
    lines = report.as_text(report.compare(runs)).splitlines()
    assert lines[0] == f"A  {runs[0]}"
    (head,) = (line for line in lines if line.startswith("score "))
    assert head.split() == ["score", "A", "B", "B", "-", "A"]
    (accuracy,) = (line for line in lines if line.startswith("accuracy "))
    assert accuracy.endswith(" better")
    assert [line.split() for line in lines[-2:]] == [["setting", "A", "B"], ["dropout", "–", "0.5"]]


def test_the_page_stands_alone(runs: tuple[Path, Path], tmp_path: Path) -> None:
    file = report.write_comparison(report.compare(runs), tmp_path / "page.html")
    text = file.read_text("utf-8")
    page = Page(text)
    assert not page.open
    assert not page.links
    assert "<b>strong" in page.text
    for part in ("2 runs compared", "B is better than A", "Settings that differ", "dropout", "loss, training"):
        assert part in page.text, part
    assert text.count('<polyline class="line run-0"') == text.count('<polyline class="line run-1"') > 3
    assert 'class="dot baseline"' in text
    first = text
    assert report.write_comparison(report.compare(runs), file).read_text("utf-8") == first


def test_many_runs_say_that_intervals_are_of_pairs(runs: tuple[Path, Path], tmp_path: Path) -> None:
    more = [finished(tmp_path / f"run{number}", 4.0 + number / 10) for number in range(8)]
    comparison = report.compare([*runs, *more])
    assert comparison.sentences[0].startswith("The best accuracy is that of B, <b>strong: 0.")
    assert "not corrected for there being 9 pairs" in comparison.sentences[-1]
    assert "up to 45 %" in comparison.sentences[-1]
    page = Page(report.write_comparison(comparison, tmp_path / "many.html").read_text("utf-8"))
    assert not page.open
    three = report.compare([runs[0], *more[:2]])
    assert "up to 10 %" in three.sentences[-1]


def test_the_same_answers_score_the_same(runs: tuple[Path, Path], tmp_path: Path) -> None:
    again = finished(tmp_path / "again", 3.0)
    assert report.compare([runs[0], again]).sentences[0].startswith("B and A score the same on the same test examples")
    close = finished(tmp_path / "close", 3.1)
    assert report.compare([runs[0], close]).sentences[0].startswith("B and A cannot be told apart: accuracy ")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ids": "photo", "moved": 1}, "they were scored on other examples"),
        ({"ids": "photo"}, ""),  # renamed
        ({"moved": 1}, ""),  # of the same names, seen in another way
    ],
)
def test_examples_are_matched_by_name_or_content(
    changes: dict[str, Any], why: str, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    other = finished(tmp_path / "other", 5.0, **changes)
    comparison = report.compare([runs[0], other])
    assert comparison.others[0].why == why
    assert (comparison.others[0].differences is None) == bool(why)
    if why:
        (sentence,) = comparison.sentences
        assert sentence.startswith(f"B and A make no pairs of examples to compare, as {why} (accuracy 0.")
        assert "no pairs" in Page(report.write_comparison(comparison, tmp_path / "page.html").read_text()).text


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("targets", "0", "what is true of their test examples differs"),
        ("examples", 7, "they were scored on 400 and on 7 examples"),
        ("protocol", "Of 99.", f"their protocols differ, {PROTOCOL!r} and 'Of 99.'"),
        ("draws", 0, "their resamples are of different versions of Sixfold: run the older one again"),
    ],
)
def test_what_makes_no_pairs_is_said(name: str, value: Any, why: str, runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = finished(tmp_path / "other", 5.0)
    arrays, about, _ = load_arrays(other / FILE)
    save_arrays(other / FILE, arrays, {**about, name: value})
    assert report.compare([runs[0], other]).others[0].why == why


def test_a_run_of_before_stands_beside(runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = finished(tmp_path / "other", 5.0)
    (other / FILE).unlink()
    found = report.as_json(report.compare([runs[0], other]))
    assert found["differences"][0]["paired"] is False
    assert "was scored before runs kept what this takes: run it again" in found["differences"][0]["why_not"]


def test_json_holds_all_of_it(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", *map(str, runs), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["page"] == "comparison.html"
    assert (found["headline"], found["task"]) == ("accuracy", "image-classification")
    assert found["differences"][0]["scores"]["accuracy"]["standing"] == "better"
    assert found["settings"] == {"dropout": {"A": "–", "B": "0.5"}}
    assert [one["baseline"]["name"] for one in found["runs"]] == ["logistic regression on pixels"] * 2
    assert (tmp_path / "comparison.html").is_file()


def test_a_comparison_loads_no_framework(runs: tuple[Path, Path], tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pipelines.cli import main\n"
        f"assert main(['report', {str(runs[0])!r}, {str(runs[1])!r}]) == 0\n"
        "print(*(one for one in ('tensorflow', 'keras', 'jax', 'matplotlib') if one in sys.modules), file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert done.stdout.endswith("\ncomparison.html\n")


def test_what_cannot_be_compared_is_a_sentence(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = finished(tmp_path / "other", 4.0)
    for name, task in (("manifest.json", None), ("run.yaml", "text-sentiment")):
        text = (other / name).read_text()
        (other / name).write_text(text.replace("image-classification", task or "text-sentiment"))
    assert main(["report", str(runs[0]), str(other)]) == 2
    assert "is a run of text-sentiment" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="is named twice"):
        report.compare([runs[0], runs[0].parent / "." / "weak"])
    unscored = finished(tmp_path / "unscored", 4.0)
    (unscored / "metrics.json").unlink()
    page = (unscored / "report.html").write_text("<p>Its scores.</p>")
    with pytest.raises(StateError, match=r"was scored, and has no metrics\.json: restore it"):
        report.compare([runs[0], unscored])
    assert main(["report", str(unscored)]) == 78
    assert (unscored / "report.html").stat().st_size == page
    write_events(unscored, 2, ("data",))
    with pytest.raises(StateError, match="has no scores yet: go on with sixfold resume"):
        report.compare([runs[0], unscored])
    with pytest.raises(ConfigError, match="name fewer"):
        report.compare([runs[0]] * 27)
    (unscored / "metrics.json").write_text('{"headline": "bleu", "scores": {"bleu": {"value": 3.0}}}')
    with pytest.raises(ConfigError, match="no score in common"):
        report.compare([runs[0], unscored])


def test_nothing_of_somebody_else_s_is_overwritten(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.html"
    mine.write_text("<p>Mine.</p>")
    assert main(["report", *map(str, runs), "--output", str(mine)]) == 2
    assert "is there and is no comparison of runs: choose another name" in capsys.readouterr().err
    assert mine.read_text() == "<p>Mine.</p>"
    assert main(["report", *map(str, runs), "--output", str(tmp_path / "no" / "page.html")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert main(["report", str(runs[0]), "--json"]) == 2
    assert "--output and --json are for a comparison: name several runs" in capsys.readouterr().err
    assert main(["report"]) == 2


@pytest.mark.parametrize(
    ("score", "difference", "expected"),
    [
        ("wer", Interval(-0.1, -0.2, -0.05), "better"),
        ("wer", Interval(0.1, 0.05, 0.2), "worse"),
        ("bleu", Interval(0.1, -0.05, 0.2), "not told apart"),
        ("bleu", Interval(0.1), "not told apart"),
        ("bleu", Interval(0.0, 0.0, 0.0), "the same"),
        ("coverage_80", Interval(0.1, 0.05, 0.2), "other"),
        ("novelty@10", Interval(0.1, 0.05, 0.2), "other"),
    ],
)
def test_what_a_difference_says(score: str, difference: Interval, expected: str) -> None:
    assert standing(score, difference) == expected


def test_resamples_without_a_value_tell_nothing(tmp_path: Path) -> None:
    data = Data({}, {}, {}, "", "", {"test": np.zeros(3, np.uint64)})
    drawn = {"auc": np.array([0.5, np.nan, 0.7]), "x": np.full(3, np.nan), "y": np.zeros(2)}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        save_judged(tmp_path / name, Scores("auc", {}, {}, drawn), "abc", [0, 1, 0], data)
    one, two = (load_judged(tmp_path / name) for name in ("one", "two"))
    assert one is not None
    assert two is not None
    found = paired_differences(one, two, {"auc": 0.6, "x": 1.0}, {"auc": 0.7, "x": 1.5, "y": 2.0})
    assert found == {"auc": Interval(pytest.approx(0.1), 0.0, 0.0), "x": Interval(0.5)}
    (tmp_path / "one" / FILE).write_bytes(b"{}")
    with pytest.raises(StateError, match="is damaged"):
        load_judged(tmp_path / "one")
