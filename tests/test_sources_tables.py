"""Tables in every format, and what is said about damaged ones."""

import gzip
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from pipelines.errors import DataError
from pipelines.sources import locate
from pipelines.sources.tables import as_text, open_rows, read_table

ROWS = [("a b.jpg", "cat"), ("c,d.jpg", "01"), ("ü.jpg", "")]


def write(path: Path) -> Path:
    """The same three rows in the format that the name says."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        columns = {
            "path": [row[0] for row in ROWS],
            "label": pyarrow.array([row[1] for row in ROWS]).dictionary_encode(),
        }
        pyarrow.parquet.write_table(pyarrow.table(columns), path.parent / "raw")
        data = (path.parent / "raw").read_bytes()
    elif name.endswith(".jsonl"):
        data = "\n".join(json.dumps({"path": path, "label": label}) for path, label in ROWS).encode()
    else:
        comma = "," if name.endswith(".csv") else "\t"
        lines = [("path", "label"), *ROWS]
        quoted = [[f'"{cell}"' if comma in cell else cell for cell in line] for line in lines]
        data = "\ufeff".encode() + "\r\n".join(comma.join(line) for line in quoted).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_text(tmp_path: Path, suffix: str, end: str) -> None:
    path = write(tmp_path / f"table{suffix}{end}")
    assert locate(str(path)).kind == "table"
    table = read_table(path, {"image": "path"}, ["image", "label"])
    assert list(zip(table.columns["image"], table.columns["label"], strict=True)) == ROWS
    assert table.bad == []
    word = {".parquet": "row 2", ".jsonl": "line 2"}.get(suffix, "line 3")
    assert table.where(1) == f"{path} {word}"


def test_quotes_are_for_csv_and_text_for_tsv(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,label\n"two\nlines, ""quoted""",1\n')
    (tmp_path / "a.tsv").write_text('text\tlabel\n"unpaired\t1\n')
    assert read_table(tmp_path / "a.csv", None, ["text"]).columns["text"][0] == 'two\nlines, "quoted"'
    assert read_table(tmp_path / "a.tsv", None, ["text"]).columns["text"][0] == '"unpaired'


def test_numbers_are_positions_where_there_is_no_header(tmp_path: Path) -> None:
    path = tmp_path / "bare.tsv"
    path.write_text("good film\t1\nbad film\t0\n")
    table = read_table(path, {"text": "0", "label": "1"}, ["text", "label"])
    assert table.columns["label"].tolist() == ["1", "0"]
    assert table.where(0) == f"{path} line 1"
    path.write_text("0\t1\ngood film\t1\n")
    assert read_table(path, {"text": "0"}, ["text"]).columns["text"].tolist() == ["good film"]


def test_malformed_rows_are_collected_by_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\none,1\n\ntwo\nthree,3,3\nf\xfc,4\nfive,5\n")
    table = read_table(path, None, ["text", "label"])
    assert table.columns["text"].tolist() == ["one", "five"]
    assert [(problem.where, problem.message) for problem in table.bad] == [
        (f"{path} line 4", "has 1 value where the table has 2 columns: mend the line."),
        (f"{path} line 5", "has 3 values where the table has 2 columns: mend the line."),
        (f"{path} line 6", "is not UTF-8 (byte offset 1 of line 6 holds 0xFC): save the table as UTF-8."),
    ]


def test_malformed_json_is_collected_and_missing_keys_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'{"text": "a"}\nnot json\n\n[1]\n{"text": "b", "label": null}\n{"text": "c", "label": 2}\n"\xff"\n'
    )
    table = read_table(path, None, ["text", "label"])
    assert table.columns["label"].tolist() == [None, None, 2]
    assert [problem.where for problem in table.bad] == [f"{path} line {line}" for line in (2, 4, 7)]


def test_optional_columns_come_where_they_are_or_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("image,label,patient\na,b,c\n")
    assert list(read_table(path, None, ["image"], ["group"]).columns) == ["image"]
    assert read_table(path, {"group": "patient"}, ["image"], ["group"]).columns["group"].tolist() == ["c"]
    with open_rows(path, None, ["label"]) as (names, rows):
        assert (names, list(rows)) == (["label"], [(2, ["b"])])


@pytest.mark.parametrize(
    ("name", "content", "columns", "sentence"),
    [
        (
            "a.csv",
            b"path,label\nx,y\n",
            None,
            r"has no column 'image' \(name the one with --columns image=COLUMN\): there are path, label\.",
        ),
        (
            "a.csv",
            b"path,label\nx,y\n",
            {"image": "paht"},
            r"has no column 'paht' \(for image\): did you mean 'path'\? There are path, label\.",
        ),
        (
            "a.csv",
            b"image,label\nx,y\n",
            {"imgae": "image"},
            r"columns maps 'imgae', which the task has no use for: did you mean 'image'\?",
        ),
        ("a.csv", b"image;label\nx;y\n", None, "Its columns must be separated by commas."),
        ("a.csv", b"image|label\nx|y\n", None, "Its columns must be separated by commas."),
        ("a.tsv", b"image,label\nx,y\n", None, "Its columns must be separated by tabs."),
        ("a.jsonl", b'[{"image": 1},\n{"image": 2}]\n', None, r"line 1 is no JSON"),
        ("a.jsonl", b'[\n {\n  "image": 1\n }\n]\n', None, r"line 1 is no JSON by itself: write one a line, \{"),
        ("a.jsonl", b'[{"image": 1}]\n', None, r"line 1 is no JSON object: write one a line, \{"),
        ("a.csv", b"image,image\nx,y\n", None, "has two columns named 'image': rename one."),
        ("a.csv", b"image,label\n", None, "has no rows: nothing to read."),
        ("a.csv", b"\n\n", None, "is empty: nothing to read."),
        (
            "a.csv",
            b'image,label\n"x,y\n',
            None,
            r"a.csv line 2 is malformed \(unexpected end of data\): mend its quotes.",
        ),
        ("a.csv", "image,label\nx,y\n".encode("utf-16"), None, "is UTF-16: save the table as UTF-8."),
        ("a.csv", "image,label\nx,y\n".encode("utf-16-le"), None, "seems to be UTF-16-LE: save the table as UTF-8."),
        ("a.tsv", "image\tlabel\nx\ty\n".encode("utf-16-be"), None, "seems to be UTF-16-BE: save the table"),
        ("a.csv", b"image,label\rx,y\r", None, r"a.csv line 1 holds a carriage return \(CR\) outside quotes"),
        ("a.csv", b"im\xffage,label\nx,y\n", None, "a.csv line 1 is not UTF-8"),
        ("a.csv.gz", b"image,label\n", None, r"is a damaged .gz file"),
        ("a.csv.gz", gzip.compress(b"image,label\nx,y\n" * 99, mtime=0)[:-20], None, r"is a damaged .gz file"),
        ("a.jsonl", b"\n", None, "is empty: nothing to read."),
        (
            "a.jsonl",
            b"{'image': 1}\n",
            None,
            r"a.jsonl line 1 is no JSON: Expecting property name .* quotes \(column 2\)\.",
        ),
        ("a.parquet", b"PAR1 not really", None, "is no Parquet file or a damaged one"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, name: str, content: bytes, columns: dict[str, str] | None, sentence: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        read_table(path, columns, ["image", "label"])


def test_what_is_no_source_is_said(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "empty.csv").touch()
    (tmp_path / "notes.pdf").write_text("x")
    cases = {
        "": "'' does not exist: a source is sample, tfds:NAME, or the path of a file or folder.",
        str(tmp_path / "photo"): f"did you mean {tmp_path / 'photos'}?",
        str(tmp_path / "photos"): "is an empty folder: nothing to read.",
        str(tmp_path / "empty.csv"): "is empty (0 bytes): nothing to read.",
        str(
            tmp_path / "notes.pdf"
        ): "is of no known kind: a file must end in .csv, .tsv, .jsonl, .parquet (each also .gz) or .npz",
    }
    for spec, sentence in cases.items():
        with pytest.raises(DataError) as error:
            locate(spec)
        assert sentence in str(error.value)


def test_strange_names_of_a_source_are_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for spec in ("x" * 300, "~nouser/x", "a\0b", f"{tmp_path}/gone/x", "\udcff"):
        with pytest.raises(DataError, match="does not exist|cannot be read") as error:
            locate(spec)
        str(error.value).encode()


def test_json_that_nests_too_deep_is_a_malformed_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n' + "[" * 100_000 + '\n{"text": "\\ud800"}\n')
    assert [problem.where for problem in read_table(path, None, ["text"]).bad] == [f"{path} line 2", f"{path} line 3"]


def test_parquet_with_two_columns_of_one_name(tmp_path: Path) -> None:
    table = pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["text", "text"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="has two columns named 'text': rename one"):
        read_table(tmp_path / "a.parquet", None, ["text"])
    single = pyarrow.table({"text": ["a"]})
    pyarrow.parquet.write_table(single, tmp_path / "b.parquet")
    found = read_table(tmp_path / "b.parquet", {"text": "text", "label": "text"}, ["text", "label"])
    assert found.columns["label"].tolist() == ["a"]


def test_numbers_have_one_spelling() -> None:
    values = [1, 1.0, True, 0.5, float("nan"), None, "01", 1e300]
    assert [as_text(value) for value in values] == ["1", "1", "true", "0.5", "", "", "01", "1e+300"]
