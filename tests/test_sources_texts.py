"""Texts of files and cells in any encoding, and what is said of those that are none."""

import csv
import gzip
import os
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from pipelines.errors import DataError
from pipelines.sources import table_formats
from pipelines.sources.scan import BadExample
from pipelines.sources.tables import read_table
from pipelines.sources.texts import LARGEST, check_encoding, from_cell, from_file, read_file

GREETING = "Grüße – 你好, مرحبا 👩🏽‍🚀 é"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-32", "gb18030"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_encoding_gives_the_same_text(encoding: str, mark: str) -> None:
    assert from_file((mark + GREETING).encode(encoding), encoding) == GREETING
    assert from_cell(GREETING.encode(encoding), encoding) == GREETING


def test_a_text_is_taken_as_it_is() -> None:
    for text in (GREETING, " two\r\nlines\t", "ab\ufeffc", "ok \u200f\x07", "x" * 1_000_000):
        assert from_file(text.encode()) == from_cell(text) == text


@pytest.mark.parametrize(
    ("data", "encoding", "kind", "message"),
    [
        (b"", "utf-8", "empty-file", "is empty (0 bytes)."),
        (b"\xef\xbb\xbf", "utf-8", "empty-text", "has no text: fill it in."),
        (b" \n\t\xc2\xa0 \xe2\x80\x8b", "utf-8", "empty-text", "holds nothing but blanks: fill it in."),
        (
            "schön".encode("cp1252"),
            "utf-8",
            "wrong-encoding",
            "is not UTF-8 (byte offset 3 holds 0xF6): save it as UTF-8, or give --encoding cp1252.",
        ),
        (
            b"\xef\xbb\xbfab\xfc",
            "utf-8",
            "wrong-encoding",
            "is not UTF-8 (byte offset 5 holds 0xFC): save it as UTF-8, or give --encoding cp1252.",
        ),
        (b"ab\xff\x81", "utf-8", "wrong-encoding", "is not UTF-8 (byte offset 2 holds 0xFF): save it as UTF-8."),
        (
            "schön".encode("utf-16"),
            "utf-8",
            "wrong-encoding",
            "is not UTF-8 (byte offset 0 holds 0xFF): save it as UTF-8, or give --encoding utf-16.",
        ),
        (
            "“a”".encode(),
            "cp1252",
            "wrong-encoding",
            "is not CP1252 (byte offset 6 holds 0x9D): save it as UTF-8, or give --encoding utf-8.",
        ),
        (
            "\ufeffschön".encode(),
            "cp1252",
            "wrong-encoding",
            "is not CP1252 (byte offset 0 holds 0xEF): save it as UTF-8, or give --encoding utf-8.",
        ),
        (b"a\0b", "utf-8", "malformed-text", "holds a NUL, its character 2: it is no text, or a damaged one."),
        (
            "good".encode("utf-16-le"),
            "utf-8",
            "malformed-text",
            "holds a NUL, its character 2: give --encoding utf-16-le, which it may be.",
        ),
        (b"\x1f\x8b\x08abc", "utf-8", "malformed-text", "is a gzip file, not a text: take the text out of it."),
        (b"PK\x03\x04abc", "cp1252", "malformed-text", "is a zip file, not a text: take the text out of it."),
        (
            b"x" * (LARGEST + 1),
            "utf-8",
            "too-large",
            "is 10,000,001 bytes long, and a text may have 10,000,000: cut it into several texts.",
        ),
    ],
)
def test_what_is_no_text_is_said(data: bytes, encoding: str, kind: str, message: str) -> None:
    with pytest.raises(BadExample) as problem:
        from_file(data, encoding)
    assert (problem.value.kind, problem.value.message) == (kind, message)


@pytest.mark.parametrize(
    ("value", "kind", "start"),
    [
        (None, "empty-text", "has no text: fill it in."),
        (float("nan"), "empty-text", "has no text: fill it in."),
        ("", "empty-text", "has no text: fill it in."),
        ("\u3000\u200d", "empty-text", "holds nothing but blanks"),
        (7, "malformed-row", "holds 7 where a text belongs: mend it, or map another column."),
        (["a"], "malformed-row", "holds ['a'] where a text belongs"),
        (b"\xff", "wrong-encoding", "is not UTF-8 (byte offset 0 holds 0xFF)"),
        ("a\ud800", "malformed-text", "holds half a character"),
        ("é" * (LARGEST + 1), "too-large", "is 10,000,001 characters long"),
    ],
)
def test_cells_that_hold_no_text_are_said(value: Any, kind: str, start: str) -> None:
    with pytest.raises(BadExample) as problem:
        from_cell(value)
    assert problem.value.kind == kind
    assert problem.value.message.startswith(start)


def test_files_are_read_whole_or_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\r\n")
    assert read_file(os.fsencode(tmp_path / "a.txt")) == b"one\r\n"
    with (tmp_path / "vast.txt").open("wb") as file:
        file.truncate(LARGEST + 1)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    wanted = {"gone.txt": "missing-file", "vast.txt": "too-large", "pipe": "unreadable", "loop": "unreadable"}
    for name, kind in {**wanted, ".": "unreadable", "a\0b": "unreadable"}.items():
        with pytest.raises(BadExample) as problem:
            read_file(os.fsencode(tmp_path / name))
        assert problem.value.kind == kind, name


def test_encodings_are_known_by_any_of_their_names() -> None:
    assert [check_encoding(name) for name in ("UTF8", "utf-8-sig", "latin1", "Windows-1252")] == [
        "utf-8",
        "utf-8",
        "iso8859-1",
        "cp1252",
    ]
    hints = {"utf-88": "text: try utf-8", "rot13": "'rot13' is no", "a\0b": "", "": "'' is no encoding of text: name"}
    for name, hint in hints.items():
        with pytest.raises(ValueError, match="is no encoding of text") as error:
            check_encoding(name)
        assert hint in str(error.value)
        assert "rot-13" not in str(error.value)  # which Python knows, and which is none either


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16", "utf-16-le", "shift_jis"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv.gz", "a.jsonl"])
def test_tables_of_any_encoding(tmp_path: Path, name: str, encoding: str) -> None:
    text = "表\\ソ\r\n能" if encoding == "shift_jis" else "schön, “gut” \u0152"
    if ".tsv" in name:
        text = text.replace("\r\n", " ")
    lines = {
        "a.csv": f'text,label\r\n"{text}",1\r\n',
        "a.tsv.gz": f"text\tlabel\n{text}\t1\n",
        "a.jsonl": '{"text": "' + text.replace("\\", "\\\\").replace("\r\n", "\\r\\n") + '", "label": "1"}\n',
    }
    data = lines[name].encode(encoding)
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    table = read_table(path, None, ["text", "label"], encoding=encoding)
    assert table.bad == []
    assert table.columns["text"].tolist() == [text]
    assert table.columns["label"].tolist() == ["1"]


def test_a_row_of_another_encoding_names_its_byte(tmp_path: Path) -> None:
    data = b'text,label\none,1\n"two\nlines \xfc",0\nthree,1\n'
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    table = read_table(path, None, ["text", "label"], encoding="utf-8")
    assert table.columns["text"].tolist() == ["one", "three"]
    (problem,) = table.bad
    assert (problem.kind, problem.where) == ("wrong-encoding", f"{path} line 4")
    remedy = "save the table as UTF-8, or give --encoding cp1252."
    assert problem.message == f"is not UTF-8 (byte offset 6 of line 4 holds 0xFC): {remedy}"
    assert "--encoding" not in read_table(path, None, ["text"]).bad[0].message
    assert read_table(path, None, ["text"], encoding="cp1252").columns["text"].tolist()[1] == "two\nlines ü"
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "\xfc"}\n{"text": "b"}\n')
    (problem,) = read_table(tmp_path / "a.jsonl", None, ["text"], encoding="utf-8").bad
    assert problem.message.startswith("is not UTF-8 (byte offset 10 of line 1 holds 0xFC)")


def test_wide_tables_are_refused_by_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes("text\tlabel\na\t1\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"a.tsv is UTF-16: save the table as UTF-8, or give --encoding utf-16\."):
        read_table(path, None, ["text"], encoding="utf-8")
    with pytest.raises(DataError, match=r"a.tsv is UTF-16: save the table as UTF-8\.$"):
        read_table(path, None, ["text"])
    path.write_bytes("text\tlabel\na\t1\n".encode("utf-16") + b"\x00")
    with pytest.raises(DataError, match=r"a.tsv is not UTF-16 \(byte offset 32 holds 0x00\): save the table"):
        read_table(path, None, ["text"], encoding="utf-16")


def test_wide_tables_are_decoded_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_formats, "_BLOCK", 7)
    path = tmp_path / "a.tsv"
    rows = [f"{number} 👍\t{number % 2}" for number in range(50)]
    data = "\n".join(["text\tlabel", *rows]).encode("utf-16")
    path.write_bytes(data)
    table = read_table(path, None, ["text"], encoding="utf-16")
    assert table.columns["text"].tolist() == [f"{number} 👍" for number in range(50)]
    assert table.where(49) == f"{path} line 51"
    path.write_bytes(data[:200] + b"\x00\xdc" + data[202:])
    with pytest.raises(DataError, match=r"\(byte offset 200 holds 0x00\)"):
        read_table(path, None, ["text"], encoding="utf-16")
    path.write_bytes(data[2:])
    with pytest.raises(DataError, match=r"does not start with BOM"):
        read_table(path, None, ["text"], encoding="utf-16")


def test_long_cells_are_read_and_endless_ones_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "x" * 1_000_000 + ",1\n")
    assert len(read_table(path, None, ["text"]).columns["text"][0]) == 1_000_000
    path.write_text('text,label\na,1\n"' + "x" * (LARGEST + 1) + '",1\n')
    with pytest.raises(DataError, match=r"a.csv line \d+ ends a value of more than 10,000,000 characters: cut it"):
        read_table(path, None, ["text"])
    assert csv.field_size_limit() >= LARGEST


def test_null_nan_and_bytes_of_parquet(tmp_path: Path) -> None:
    texts = pyarrow.array([b"sch\xf6n", None], pyarrow.binary())
    pyarrow.parquet.write_table(pyarrow.table({"text": texts}), tmp_path / "a.parquet")
    first, second = read_table(tmp_path / "a.parquet", None, ["text"], encoding="cp1252").columns["text"]
    assert from_cell(first, "cp1252") == "schön"
    with pytest.raises(BadExample, match="has no text"):
        from_cell(second)
