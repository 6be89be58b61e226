"""report.html and MODEL_CARD.md from run folders: whole, cut short, of two and of many classes, with hostile names."""

import base64
import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import scoring
from pipelines.errors import StateError
from pipelines.report import charts, curves, save_figures, words, write_model_card, write_report
from pipelines.runs import Run
from pipelines.task import Figure, Interval, Passage, Passages

HOSTILE = ["<script>alert(1)</script>", "a|b *c* `d`", "日本語 🐜", "x & y"]
FASHION = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
STAGES = ("data", "train", "baseline", "score", "export")
PROTOCOL = "Scored on the given test split; validation cut from train by content hash."
VOID = {"meta", "img", "br", "link"}


def as_json(scores: dict[str, Interval]) -> dict[str, Any]:
    """Scores as metrics.json holds them."""
    return {name: vars(score) for name, score in scores.items()}


def guesses(examples: int, classes: int, lead: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and logits that lean to them; class 1 is often taken for class 0."""
    random = np.random.default_rng(3)
    labels = random.integers(0, classes, examples)
    logits = random.normal(size=(examples, classes)) * 1.6
    logits[np.arange(examples), labels] += lead
    logits[labels == 1, 0] += lead * 0.6
    return labels, logits


def write_events(folder: Path, epochs: int, stages: tuple[str, ...]) -> None:
    """A ledger and the epochs of a run."""
    now = "2026-03-01T10:00:00.000+00:00"
    lines: list[dict[str, Any]] = []
    for stage, seconds in zip(stages, (1.4, 512.0, 31.8, 4.2, 6.5), strict=False):
        lines.append({"event": "stage", "name": stage, "status": "start"})
        for epoch in range(1, epochs + 1) if stage == "train" else ():
            train = {"loss": 0.9 / epoch**0.8, "accuracy": 1 - 0.3 / epoch**0.7}
            valid = {"loss": 0.8 / epoch**0.6 + 0.01 * epoch, "accuracy": 1 - 0.28 / epoch**0.6}
            rate = 1e-3 * (1 + np.cos(np.pi * epoch / epochs)) / 2
            lines.append(
                {"event": "step", "step": epoch * 1500 - 700, "epoch": epoch, "loss": 0.5, "learning_rate": rate}
            )
            lines.append(
                {
                    "event": "epoch",
                    "epoch": epoch,
                    "step": epoch * 1500,
                    "train": train,
                    "valid": valid,
                    "learning_rate": rate,
                    "examples_per_second": 870.0 + epoch,
                    "seconds": 55.2,
                    "best": epoch != epochs,
                }
            )
        lines.append({"event": "stage", "name": stage, "status": "end", "seconds": seconds})
    if "train" in stages:
        lines.append({"event": "trained", "status": "stopped early", "best_epoch": max(1, epochs - 1), "step": 1})
    text = "".join(json.dumps({"time": now, **line}) + "\n" for line in lines)
    (folder / "events.jsonl").write_text(text + '{"event": "epo', encoding="utf-8")


def run_folder(
    folder: Path, names: list[str], *, examples: int = 2000, lead: float = 5.0, baseline_lead: float | None = 3.0
) -> Path:
    """A finished run as the runtime writes it, without model and state."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = "task: image-classification\ndata: ../fashion_mnist\nepochs: 8\nbatch_size: 32\n"
    settings += "image_size: 28\ncolor: grey\nbackbone: cnn\nlearning_rate: 0.003\nsplit: [0.8, 0.1, 0.1]\n"
    settings += "seed: 0\nvalid: null\n"
    (folder / "run.yaml").write_text(settings, encoding="utf-8")
    counts = {split: dict.fromkeys(names, size) for split, size in (("train", 540), ("valid", 60), ("test", 100))}
    manifest = {
        "task": "image-classification",
        "name": folder.name,
        "created": "2026-03-01T10:00:00.000+00:00",
        "seed": 0,
        "command": ["sixfold", "run", "image-classification", "--data", "../fashion mnist", "--epochs", "8"],
        "device": "cpu (2 cores)",
        "git": "0123456789ab",
        "versions": {"python": "3.11.9", "sixfold": "0.1.0", "keras": "3.15.1"},
        "machine": {"system": "Linux", "processor": "Some CPU", "cores": 2},
        "fingerprint": "8c1f" * 16,
        "model": {"name": "cnn", "parameters": 696_618, "trainable": 693_610},
        "data": {
            "source": "../fashion_mnist",
            "kind": "idx",
            "counts": {"train": 5400, "valid": 600, "test": 1000},
            "classes": counts,
            "image_sizes": {"distinct": 1, "common": [{"width": 28, "height": 28, "count": 7000}], "min": [28, 28]},
            "channels": {"grey": 7000},
            "skipped": [{"where": "ants/x.gif", "message": "is a GIF"}],
            "duplicates": {"total": 3, "across_splits": 1},
            "warnings": [f"class {names[0]} is rare"],
            "protocol": PROTOCOL,
        },
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    write_events(folder, 8, STAGES)
    metrics, figures = measured(tuple(names), examples, lead, baseline_lead)
    (folder / "metrics.json").write_text(json.dumps({**metrics, "protocol": PROTOCOL}), encoding="utf-8")
    save_figures(folder, figures)
    return folder


@cache
def measured(
    names: tuple[str, ...], examples: int, lead: float, baseline_lead: float | None
) -> tuple[dict[str, Any], list[Figure]]:
    """metrics.json and pictures; the same for all runs that guess alike."""
    labels, logits = guesses(examples, len(names), lead)
    found = scoring.classification_scores(logits, labels, names, temperature=1.4, k=5, seed=0)
    metrics = {
        "task": "image-classification",
        "split": "test",
        "examples": examples,
        "headline": "accuracy",
        "scores": as_json(found.scores),
        "breakdowns": found.breakdowns,
    }
    if baseline_lead is not None:
        weaker = guesses(examples, len(names), baseline_lead)[1]
        others = scoring.classification_scores(weaker, labels, names, temperature=1, k=5, seed=0)
        note = "pixels at 28x28; stopped at 100 iterations, before it converged"
        metrics["baseline"] = {"name": "logistic regression on pixels", "note": note, "scores": as_json(others.scores)}
    confusion = scoring.confusion_matrix(labels, scoring.outcomes(logits, labels).predicted, len(names))
    rows = scoring.per_class(confusion, names)
    return metrics, [charts.confusion(confusion, names), charts.class_bars(rows)]


class Page(HTMLParser):
    """Which elements a page holds, whether they are closed, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(folder: Path) -> Page:
    """The rendered report, parsed."""
    page = Page(write_report(folder).read_text("utf-8"))
    assert not page.open
    return page


def test_a_report_stands_alone_and_says_what_happened(tmp_path: Path) -> None:
    page = page_of(run_folder(tmp_path / "fashion", FASHION))
    assert "script" not in page.tags
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert len(page.links) == 2
    for words_said in (
        "The model beats the baseline",
        "logistic regression on pixels",
        "Epoch 7 was best",
        "Stopped early, as validation did not improve any more, at epoch 8 of 8.",
        "8 min 32 s",
        "macro F1",
        "top-5 accuracy",
        "Confusion matrix",
        "696,618",
        "Ankle boot",
        "class T-shirt/top is rare",
        "ants/x.gif: is a GIF",
        "sixfold run image-classification --data '../fashion mnist' --epochs 8",
        "sixfold predict",
        "temperature 1.4000",
        "common 28 × 28 (7,000); min 28 × 28",
    ):
        assert words_said in page.text, words_said
    assert "cut short" not in page.text
    assert "prefers-color-scheme" in (tmp_path / "fashion/report.html").read_text("utf-8")


def test_the_best_epoch_is_written_clear_of_the_numbers() -> None:
    for best, anchor in ((1, "start"), (3, "middle"), (5, "end")):
        chart = curves.line_chart("loss", {"train": [(x, 1.0 / x) for x in range(1, 6)]}, "epoch", best)
        assert f'text-anchor="{anchor}">best<' in chart


def test_the_report_says_what_the_training_started_from(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "fashion", FASHION)
    assert "Started from" not in page_of(folder).text
    origin = {"source": "old.weights.h5", "taken": ["a", "b"], "resized": [], "new": ["c"], "licence": "MIT"}
    Run(folder).update_manifest(pretrained=origin)
    assert (
        "Started from old.weights.h5 (variables: 2 taken over, 1 new; its licence: MIT). 8 epochs"
        in page_of(folder).text
    )


def test_settings_that_are_not_the_default_are_marked(tmp_path: Path) -> None:
    text = write_report(run_folder(tmp_path / "run", FASHION)).read_text("utf-8")
    marked = re.findall(r'<tr class="set"[^>]*><td>(\w+)</td>', text)
    assert {"data", "epochs", "batch_size", "image_size", "color"} == set(marked)


@pytest.mark.parametrize("names", [HOSTILE[:2], [*HOSTILE, *(f"class {index}" for index in range(196))]])
def test_two_classes_two_hundred_and_hostile_names(tmp_path: Path, names: list[str]) -> None:
    folder = run_folder(tmp_path / "<b>run</b>", names, examples=600)
    page = page_of(folder)
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert HOSTILE[0] in page.text
    card = write_model_card(folder).read_text("utf-8")
    assert "export/saved_model" not in card
    (folder / "export").mkdir()
    (folder / "export" / "serving.json").write_text("{}")
    assert "export/saved_model" in write_model_card(folder).read_text("utf-8")
    assert "<script" not in card
    assert "<b>" not in card


def test_no_baseline_is_said(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", FASHION, baseline_lead=None)
    assert "no baseline to compare with" in page_of(folder).text
    assert "no baseline to compare with" in write_model_card(folder).read_text("utf-8")


def test_a_model_that_loses_says_so(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", FASHION, lead=2.0, baseline_lead=5.0)
    assert "The model does not beat the baseline" in page_of(folder).text
    assert "The model does not beat the baseline" in write_model_card(folder).read_text("utf-8")


def test_a_run_cut_short_shows_what_there_is(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", FASHION)
    for gone in ("metrics.json", "figures/index.json"):
        (folder / gone).unlink()
    write_events(folder, 2, ("data",))
    page = page_of(folder)
    assert "train, baseline, score, export are not done" in page.text
    assert f"--run-dir {folder}" in page.text
    assert "There are no test scores" in page.text
    assert "cut short" in write_model_card(folder).read_text("utf-8")


def test_run_yaml_alone_is_enough_and_nothing_is_not(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("task: image-classification\nepochs: 1\n", "utf-8")
    assert "The data had not been read" in page_of(tmp_path).text
    write_model_card(tmp_path)
    with pytest.raises(StateError, match=r"no run\.yaml"):
        write_report(tmp_path.parent)
    (tmp_path / "metrics.json").write_text("{", "utf-8")
    with pytest.raises(StateError, match=r"metrics\.json"):
        write_report(tmp_path)


def test_one_epoch_and_numbers_that_are_none(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", FASHION)
    write_events(folder, 1, STAGES)
    assert "1 epoch, 1,500 steps" in page_of(folder).text
    broken = {"train": {"loss": float("nan")}, "valid": {"loss": float("inf")}}
    event = {"event": "epoch", "epoch": 1, "step": 5, "learning_rate": 0.1, **broken}
    assert "learning rate" in "".join(curves.training_curves([event], [], None))
    assert "nan" not in "".join(curves.training_curves([event], [], None))


def test_rendering_again_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", FASHION)
    assert write_report(folder).read_bytes() == write_report(folder).read_bytes()
    assert sorted(file.name for file in folder.iterdir() if file.name.startswith(".")) == []


def test_figures_of_an_earlier_try_go(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", FASHION)
    assert len(list((folder / "figures").glob("*.png"))) == 2
    save_figures(folder, [])
    assert list((folder / "figures").glob("*.png")) == []


def passages(*found: Passage) -> Passages:
    return Passages("attributions", "Which <i>words</i>", "A & B", found, ("against", "for"))


def test_texts_are_coloured_and_nothing_in_them_is_html(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", FASHION)
    hostile = (("<script>alert(1)</script>", 1.0), (" \"'><b", -0.25), (" nul\0\x1b", 0.0), (" \ud800", None))
    scripts = (("فيلم", 0.5), (" جيد", 0.01), (" 日本", -1.0), (" 👩‍👩‍👧", 0.3), ("\n e\u0301", 0.0))
    save_figures(folder, [passages(Passage("a → <u>b</u>, 97.2%", hostile), Passage("c", scripts))])
    page = page_of(folder)
    assert not {"script", "b", "u", "i"} & page.tags
    assert HOSTILE[0] in page.text
    assert "a → <u>b</u>, 97.2%" in page.text
    assert "against for" in page.text
    assert " nul\ufffd\ufffd ?" in page.text
    assert "فيلم جيد 日本 👩‍👩‍👧" in page.text
    text = (folder / "report.html").read_text("utf-8")
    assert '<span class="for" style="--w: 0.6">&lt;script&gt;' in text
    assert '<span class="against" style="--w: 0.15">' in text
    assert '<p dir="auto"><span class="for" style="--w: 0.3">فيلم</span> جيد <span class="against"' in text
    assert '<span class="unseen">?</span>' in text
    write_model_card(folder)


def test_what_can_be_played_lies_in_the_page(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", FASHION)
    played, silent = Passage("clip 1", (("said ", None),), b"fLaC..."), Passage("clip 2", (("b", 0.0),))
    save_figures(folder, [passages(played, silent)])
    page = page_of(folder)
    assert "audio" in page.tags
    text = (folder / "report.html").read_text("utf-8")
    assert text.count("<audio") == 1
    assert f'src="data:audio/flac;base64,{base64.b64encode(b"fLaC...").decode()}"' in text


def test_texts_without_colours_have_no_legend_and_go_with_an_earlier_try(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", FASHION)
    mistakes = Passages("mistakes", "Mistakes", "True → predicted.", (Passage("a → b", (("dull", 0.0),)),))
    save_figures(folder, [mistakes, *measured(tuple(FASHION), 2000, 5.0, 3.0)[1]])
    assert sorted(file.name for file in (folder / "figures").iterdir()) == [
        *("class_f1.png", "confusion_matrix.png", "index.json", "mistakes.json")
    ]
    page = page_of(folder)
    assert "dull" in page.text
    assert len(page.links) == 2
    assert 'class="quiet legend"' not in (folder / "report.html").read_text("utf-8")
    save_figures(folder, [])
    assert [file.name for file in (folder / "figures").iterdir()] == ["index.json"]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"passages": []}',
        '{"legend": ["a"], "passages": []}',
        '{"legend": null, "passages": [{"heading": "a"}]}',
        '{"legend": null, "passages": [{"heading": "a", "words": [["b", "c"]]}]}',
        '{"legend": null, "passages": [{"heading": "a", "words": [[1, 1]]}]}',
        '{"legend": null, "passages": [{"heading": "a", "words": [["b"]]}]}',
        '{"legend": null, "passages": [{"heading": "a", "words": [["b", 0]], "sound": "\\"><script>"}]}',
    ],
)
def test_texts_that_no_run_wrote_are_named(tmp_path: Path, text: str) -> None:
    folder = run_folder(tmp_path / "run", FASHION)
    save_figures(folder, [passages()])
    (folder / "figures/attributions.json").write_text(text, "utf-8")
    with pytest.raises(StateError, match=r"figures/attributions\.json"):
        write_report(folder)


def test_a_histogram_marks_a_value_and_holds_the_longest() -> None:
    values = np.array([*range(1, 400), 9000])
    figure = charts.histogram(values, 256.5, "cut at 256", "tokens", name="lengths", title="Lengths", caption="All.")
    assert figure.caption == "All. The last bar also holds the few longer ones, up to 9,000."
    for few in (np.array([0, 0]), np.array([7])):
        assert charts.histogram(few, 99.5, "cut", "tokens", name="l", title="L", caption="All.").caption == "All."


def test_model_card_names_scores_weakest_classes_and_data(tmp_path: Path) -> None:
    card = write_model_card(run_folder(tmp_path / "run", FASHION)).read_text("utf-8")
    for part in (
        "# run",
        "| accuracy | 0.",
        "beats the baseline",
        "- train: 5,400 examples",
        "8c1f8c1f",
        "The weakest classes",
        "## Intended use\n\nAssign one of N labels to an image.",
        "| train | 8 min 32 s | – |",
        "| in all | 9 min 16 s | – |",
        "Energy: not measured on this machine",
        'predict(".", ["INPUT"])',
    ):
        assert part in card, part
    table = card.split("| class | F1")[1].split("\n\n")[0]
    assert table.splitlines()[2].startswith("| T-shirt/top")
    assert re.search(r"\n\n\n", card) is None


def test_figures_in_words() -> None:
    assert [words.number(value) for value in (None, 3, 12345, 0.5, 1e-5, 512.25, "x")] == [
        "–",
        "3",
        "12,345",
        "0.5000",
        "1.00e-05",
        "512.2",
        "x",
    ]
    assert [words.duration(seconds) for seconds in (0.42, 59.7, 3599.9, 3700)] == [
        "0.4 s",
        "1 min 0 s",
        "1 h 0 min",
        "1 h 1 min",
    ]
    assert [scoring.label(name) for name in ("top_5_accuracy", "macro_f1", "ece_uncalibrated", "hr@10", "smape")] == [
        "top-5 accuracy",
        "macro F1",
        "ECE uncalibrated",
        "HR@10",
        "sMAPE",
    ]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.113, 0.114), (-3, 250), (5, 5), (1e-9, 3e-9)])
def test_ticks_enclose_and_are_few(low: float, high: float) -> None:
    ticks = curves.nice_ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert 2 <= len(ticks) <= 7


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"total": 3, "across_splits": 1}, "total 3; across splits 1"),
        (
            {"distinct": 65, "common": [{"width": 384, "height": 256, "count": 34}], "min": [193, 130]},
            "distinct 65; common 384 × 256 (34); min 193 × 130",
        ),
        ([{"word": "the", "count": 2}, {"word": "of", "count": 1}], "the (2), of (1)"),
        ([{"word": "the", "share": 0.5}], "word the share 0.5000"),
        ([0.8, 0.1], "0.8000, 0.1000"),
        (list("abcdefghij"), "a, b, c, d, e, f, g, h, …"),
        ({"lengths": {"min": 1, "most": {"a": 2}}}, "lengths min 1, most a 2"),
        (json.loads("[" * 90 + "]" * 90), "…"),
    ],
)
def test_what_a_task_says_of_its_data_in_a_line(value: Any, text: str) -> None:
    assert words.plain(value) == text


@pytest.mark.parametrize(
    ("status", "settings", "sentence"),
    [
        ("stopped early", "epochs: 20", "Stopped early, as validation did not improve any more, at epoch 8 of 20."),
        ("stopped by budget", "epochs: 20", "Stopped by --max-minutes, at epoch 8 of 20."),
        ("done", "epochs: 20\nstop_step: 12000", "Stopped by --stop-step, at epoch 8 of 20."),
        ("done", "epochs: 8", ""),
    ],
)
def test_a_training_that_was_stopped_says_why(tmp_path: Path, status: str, settings: str, sentence: str) -> None:
    folder = run_folder(tmp_path / "run", FASHION)
    (folder / "run.yaml").write_text(f"task: image-classification\n{settings}\n", "utf-8")
    events = (folder / "events.jsonl").read_text("utf-8").replace("stopped early", status)
    (folder / "events.jsonl").write_text(events, "utf-8")
    for text in (page_of(folder).text, write_model_card(folder).read_text("utf-8").replace("\\", "")):
        assert (sentence in text) if sentence else ("Stopped" not in text)


def test_a_calibration_that_did_harm_says_so(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", FASHION)
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    for after, before in ((0.05, 0.04), (0.04, 0.05)):
        metrics["scores"] |= {"ece": {"value": after}, "ece_uncalibrated": {"value": before}}
        (folder / "metrics.json").write_text(json.dumps(metrics), "utf-8")
        told = "the calibration error (ECE) rose from 0.0400 to 0.0500" in page_of(folder).text
        assert told == (after > before)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metrics.json", "[]"),
        ("metrics.json", "[" * 100_000),
        ("metrics.json", '{"scores": {"accuracy": 3}}'),
        ("metrics.json", '{"baseline": []}'),
        ("metrics.json", '{"breakdowns": {"per_class": [1]}}'),
        ("manifest.json", "[]"),
        ("manifest.json", '{"data": []}'),
        ("manifest.json", '{"model": 5}'),
        ("figures/index.json", "{}"),
        ("figures/index.json", '["a"]'),
        ("figures/index.json", '[{"file": 3}]'),
        ("events.jsonl", '{"event": "stage"}\n'),
        ("events.jsonl", '{"event": "epoch", "epoch": "x"}\n'),
        ("run.yaml", "- a\n"),
        ("run.yaml", "a: [\n"),
        ("run.yaml", "a: &a [*a]\n"),
        ("run.yaml", "a: {b: {c: d}}\n"),
        ("run.yaml", "[" * 5000),
    ],
    ids=lambda value: value[:30],
)
def test_a_file_that_no_run_wrote_is_named(tmp_path: Path, name: str, text: str) -> None:
    folder = run_folder(tmp_path / "run", FASHION)
    (folder / name).write_text(text, "utf-8")
    for write in (write_report, write_model_card):
        with pytest.raises(StateError, match=re.escape(str(folder / name))):
            write(folder)


def test_scores_that_are_no_numbers_are_shown_as_such(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", FASHION)
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    metrics["scores"]["accuracy"] = {"value": float("nan"), "low": None, "high": None}
    (folder / "metrics.json").write_text(json.dumps(metrics), "utf-8")
    assert "not a number" in page_of(folder).text
    write_model_card(folder)


def test_a_difference_in_pairs_stands_beside_the_baseline(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", FASHION)
    found = json.loads((folder / "metrics.json").read_text())
    write_report(folder)
    assert "model − baseline" not in (folder / "report.html").read_text()
    found["baseline"]["difference"] = {"accuracy": {"value": 0.1234, "low": -0.0123, "high": 0.2345}}
    (folder / "metrics.json").write_text(json.dumps(found))
    page, card = write_report(folder).read_text(), write_model_card(folder).read_text()
    assert '<th class="n">model − baseline</th>' in page
    assert "0.1234<br><small>-0.0123 to 0.2345</small>" in page
    assert page.count("<tr") == page.count("</tr>")
    for text in (page, card):
        assert "the difference is -0.0123 to 0.2345, 95 % by paired bootstrap): the difference may be chance" in text


@pytest.mark.parametrize(
    ("epochs", "sentence"),
    [
        (None, "Epoch 4 was best on validation, and is what was scored."),
        ([4], "Epoch 4 was best on validation, and is what was scored."),
        ([7], "Epoch 4 was best on validation; epoch 7, the last, is what was scored."),
        ([2, 4, 5], "Epoch 4 was best on validation; the mean of the weights of epochs 2, 4 and 5 is what was scored."),
    ],
)
def test_which_epochs_were_scored_is_said(epochs: list[int] | None, sentence: str) -> None:
    assert words.chosen({"weights": epochs and [{"epoch": epoch} for epoch in epochs]}, 4) == sentence


def test_a_baseline_that_validation_did_not_choose_is_not_kept_quiet() -> None:
    def scores(value: float, low: float, high: float) -> dict[str, Any]:
        return dict.fromkeys(("ndcg@10", "rmse"), {"value": value, "low": low, "high": high})

    model, yardstick = scores(0.60, 0.58, 0.61), {"name": "EASE", "scores": scores(0.56, 0.55, 0.57)}
    others = [{"name": "item k-NN", "scores": scores(0.61, 0.6, 0.62)}]
    others += [{"name": "popularity", "scores": scores(0.4, 0.3, 0.5)}]
    metrics = {"headline": "ndcg@10", "scores": model, "baseline": yardstick, "baselines": others}
    found = words.standing(metrics)
    assert found is not None
    assert found.sentence.startswith("The model beats the baseline (NDCG@10 0.6000 against 0.5600;")
    assert found.sentence.endswith("But item k-NN is ahead of both: 0.6100.")
    assert (found.beats, found.clear) == (True, False)
    alone = words.standing({**metrics, "baselines": others[1:]})
    assert alone is not None
    assert "But" not in alone.sentence
    assert alone.clear
    # Of errors less is better; and who does not beat the yardstick is told that alone.
    worse = words.standing({**metrics, "headline": "rmse"})
    assert worse is not None
    assert (worse.beats, "But" in worse.sentence) == (False, False)
