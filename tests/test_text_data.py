"""Texts from every source to splits: what is read, refused, counted and found again."""

import gzip
import json
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.errors import ConfigError, DataError
from pipelines.labelled.assembly import sort_classes
from tasks.text_sentiment.config import Config
from tasks.text_sentiment.data import check_data, inputs, load_data, load_test
from tasks.text_sentiment.implied import enough_epochs

ROWS = [
    (f"the {thing} was {word}", label) for thing in "abcdefghij" for word, label in (("fine", "good"), ("dull", "bad"))
]


def table(path: Path, rows: list[tuple[str, str]] = ROWS, header: str = "text,label") -> Path:
    lines = ([header] if header else []) + [",".join(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def config(source: Path | str, **settings: Any) -> Config:
    return Config(data=str(source), **settings)


def texts_of(data: Any, split: str) -> list[str]:
    store = data.splits[split]
    return list(store.texts(np.arange(len(store))))


def test_a_table_is_read_with_its_places(tmp_path: Path) -> None:
    data = load_data(config(table(tmp_path / "reviews.csv")))
    assert data.assets["classes"] == ["bad", "good"]
    store = data.splits["train"]
    every = {
        name: text
        for split in data.splits
        for name, text in zip(
            data.splits[split].ids(np.arange(len(data.splits[split]))), texts_of(data, split), strict=True
        )
    }  # type: ignore[attr-defined]
    assert every[f"{tmp_path / 'reviews.csv'} line 2"] == "the a was fine"
    raw = store.fetch(np.array([0]))
    assert raw["text"][0].decode() == texts_of(data, "train")[0]
    assert sum(data.summary["counts"].values()) == len(ROWS)


@pytest.mark.parametrize("end", [".csv", ".csv.gz", ".tsv", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_examples(tmp_path: Path, end: str) -> None:
    path = tmp_path / f"t{end}"
    if end.startswith(".csv"):
        content = ("text,label\n" + "\n".join(map(",".join, ROWS))).encode()
        path.write_bytes(gzip.compress(content) if end.endswith("gz") else content)
    elif end == ".tsv":
        path.write_text("text\tlabel\n" + "\n".join(map("\t".join, ROWS)))
    elif end == ".jsonl":
        path.write_text("\n".join(json.dumps({"text": text, "label": label}) for text, label in ROWS))
    else:
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.table({"text": [t for t, _ in ROWS], "label": [x for _, x in ROWS]}), path)
    data = load_data(config(path))
    assert sorted(sum((texts_of(data, split) for split in data.splits), [])) == sorted(text for text, _ in ROWS)


@pytest.mark.parametrize("turned", [False, True])
def test_tables_without_a_header_are_recognised(tmp_path: Path, turned: bool) -> None:
    for name, rows in (("train", ROWS), ("dev", ROWS[:6]), ("test", ROWS[4:10])):
        lines = [f"{label}\t{text}" if turned else f"{text}\t{label}" for text, label in rows]
        (tmp_path / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    data = load_data(config(tmp_path))
    assert data.summary["counts"] == {"train": 20, "valid": 6, "test": 6}
    assert texts_of(data, "train") == [text for text, _ in ROWS]
    assert any("has no header" in warning for warning in data.summary["warnings"])


def test_a_header_of_other_names_is_no_example(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", header="review,stars")
    with pytest.raises(DataError, match="has no column 'text'"):
        load_data(config(path))
    assert sum(load_data(config(path, columns={"text": "review", "label": "stars"})).summary["counts"].values()) == 20


def test_bad_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    bad: list[Any] = ["", "   ", None, 7, ["a"], "\u0000x"]
    rows = [{"text": text, "label": label} for text, label in ROWS] + [{"text": text, "label": "good"} for text in bad]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError) as refused:
        load_data(config(path))
    for number in range(21, 27):
        assert f"line {number}" in str(refused.value)
    assert "6 of 26 examples" in str(refused.value)
    data = load_data(config(path, on_bad="skip"))
    assert len(data.summary["skipped"]) == 6
    assert sum(data.summary["counts"].values()) == 20


def test_another_encoding_names_byte_and_row(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    lines = ["text,label", *map(",".join, ROWS), "caf\xe9 au lait,good"]
    path.write_bytes("\n".join(lines).encode("cp1252"))
    with pytest.raises(DataError) as refused:
        load_data(config(path))
    message = str(refused.value)
    assert "line 22" in message
    assert "0xE9" in message
    assert "--encoding cp1252" in message
    data = load_data(config(path, encoding="cp1252"))
    assert any("café au lait" in texts_of(data, split) for split in data.splits)


def test_folders_of_texts(tmp_path: Path) -> None:
    for number, (text, label) in enumerate(ROWS):
        file = tmp_path / label / f"{number}.txt"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    data = load_data(config(tmp_path))
    assert data.assets["classes"] == ["bad", "good"]
    assert sum(data.summary["counts"].values()) == 20
    (tmp_path / "bad" / "empty.txt").write_text("")
    with pytest.raises(DataError, match=r"empty\.txt: is empty"):
        load_data(config(tmp_path))


def test_what_the_training_does_not_know(tmp_path: Path) -> None:
    path, other = table(tmp_path / "t.csv"), table(tmp_path / "o.csv", [*ROWS[:4], ("so so", "mixed")])
    with pytest.raises(DataError, match="'mixed', which the training examples do not"):
        load_data(config(path, test=str(other)))
    with pytest.raises(DataError, match="at least two classes"):
        load_data(config(table(tmp_path / "one.csv", [(text, "good") for text, _ in ROWS])))
    with pytest.raises(DataError, match="mixed"):
        load_test(config(other), {"classes": ["bad", "good"]})


def test_duplicates_across_splits_are_counted(tmp_path: Path) -> None:
    path, other = table(tmp_path / "t.csv"), table(tmp_path / "o.csv", [*ROWS[:4], ("so so", "good")])
    data = load_data(config(path, test=str(other)))
    assert data.summary["duplicates"]["across_splits"] == 4
    assert any("4 contents stand in more than one split" in warning for warning in data.summary["warnings"])


def test_the_check_lists_everything(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", [*ROWS, ("", "good"), ("x", "")])
    report = check_data(config(path))
    assert sorted((problem.kind, problem.where[-7:]) for problem in report.errors) == [
        ("empty-label", "line 23"),
        ("empty-text", "line 22"),
    ]


def test_sources_that_hold_no_texts(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=np.zeros(3), y_train=np.zeros(3))
    with pytest.raises(DataError, match="texts are not read from"):
        load_data(config(tmp_path / "a.npz"))
    with pytest.raises(DataError, match="they are for tables and tfds"):
        load_data(config("sample", columns={"text": "a"}))


@pytest.mark.parametrize(
    ("classes", "ordered"), [(["1", "2", "3", "4", "5"], "yes"), (["0", "1"], "no"), (["bad", "fine", "good"], "no")]
)
def test_grades_are_recognised(classes: list[str], ordered: str) -> None:
    from tasks.text_sentiment.implied import resolve

    data: Any = type("Data", (), {"assets": {"classes": classes}, "splits": {"train": range(5_000)}})()
    assert resolve(Config(), data).ordered == ordered
    if ordered == "no" and "0" not in classes:
        with pytest.raises(ConfigError, match="'bad' is no number"):
            resolve(Config(ordered="yes"), data)


@pytest.mark.parametrize(("texts", "epochs"), [(10, 30), (240, 30), (500, 19), (1_500, 7), (1_600, 6), (90_000, 6)])
def test_few_texts_are_passed_over_more_often_unless_epochs_are_set(texts: int, epochs: int) -> None:
    assert enough_epochs(Config(), texts).epochs == epochs
    assert enough_epochs(Config(epochs=6), texts).epochs == 6
    assert enough_epochs(Config(pretrained="there"), texts).epochs == 6


def test_predict_reads_lines_files_folders_and_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "a.txt").write_text("one text\nof two lines")
    (tmp_path / "t.csv").write_text("id,text\n1,from a table\n2,\n")
    (tmp_path / "bare.csv").write_text("a line\nanother\n")
    lines = b"a joyless film\n\n\xd0\xb1 \xf0\x9f\x98\x80\r\n\xff\n"
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(lines)))
    paths = ["-", str(tmp_path / "f"), str(tmp_path / "t.csv"), str(tmp_path / "bare.csv"), str(tmp_path / "none.txt")]
    found = [
        (name.removeprefix(f"{tmp_path}/"), text)
        for names, raw in inputs(paths, Config(batch_size=2))
        for name, text in zip(names, raw["text"], strict=True)
    ]
    good = {name: text.decode() for name, text in found if text[:1] != b"\0"}
    assert good == {
        "line 1": "a joyless film",
        "line 3": "б 😀",
        "f/a.txt": "one text\nof two lines",
        "t.csv line 2": "from a table",
        "bare.csv line 1": "a line",
        "bare.csv line 2": "another",
    }
    assert [name for name, text in found if text[:1] == b"\0"] == ["line 2", "line 4", "t.csv line 3", "none.txt"]
    assert found[-1][1].startswith(b"\0it does not exist; a text itself is given on standard input")


def test_standard_input_of_wide_encodings_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO("a film\n".encode("utf-16"))))
    with pytest.raises(DataError, match=r"standard input is read by the line, which utf-16 hides: pass it on"):
        next(inputs(["-"], Config(encoding="utf-16")))


def test_predict_says_how_a_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("review,stars\nfine,5\n")
    message = r"no column 'text' \(name the one with --columns text=COLUMN\): there are review"
    with pytest.raises(DataError, match=message):
        next(inputs([str(tmp_path / "t.csv")], Config(), {}))


def test_labels_that_are_texts_are_told(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,label\n" + "".join(f"{'bad' if row % 2 else 'good'},a film {row}\n" for row in range(40)))
    with pytest.raises(DataError, match="40 labels for 40 examples, nearly one each: name the column of the labels"):
        load_data(config(path))
    rare = [problem for problem in check_data(config(path)).problems if problem.kind == "rare-class"]
    messages = [problem.message for problem in rare]
    assert messages == ["40 of 40 classes have a single training example: are they labels?"]


def test_nan_has_no_place_among_numbers() -> None:
    assert sort_classes(["10", "9", "-1"]) == ["-1", "9", "10"]
    assert sort_classes(["3", "nan", "10"]) == sort_classes(["nan", "10", "3"]) == ["10", "3", "nan"]
