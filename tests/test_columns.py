"""Columns of tables read at once: the same numbers in every format, and what is wrong named by row."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.errors import DataError
from pipelines.sources.columns import Columns, Kind, Place, Texts, Times, head, read_columns

KINDS: dict[str, Kind] = {"when": "time", "name": "text", "value": "number", "code": "either"}
CSV = "when,name,value,code\n2020-01-01,a,1.5,7\n2020-01-02,b,,8\n2020-01-03, a ,NaN,9\n"


def read(path: Path, **kinds: Any) -> Columns:
    place = Place(path, positions=tuple(kinds or KINDS))
    return read_columns(place, kinds or KINDS, head(place))


def check(columns: Columns) -> None:
    name, value, code = (columns.cells[one] for one in ("name", "value", "code"))
    assert isinstance(name, Texts)
    assert (name.names, name.codes.tolist()) == (["a", "b"], [0, 1, 0])
    np.testing.assert_array_equal(value, [1.5, np.nan, np.nan])  # type: ignore[arg-type]
    np.testing.assert_array_equal(code, [7, 8, 9])  # type: ignore[arg-type]
    assert columns.bad == []


def test_text_tables(tmp_path: Path) -> None:
    plain, tabs, packed = tmp_path / "a.csv", tmp_path / "a.tsv", tmp_path / "a.csv.gz"
    plain.write_text(CSV)
    tabs.write_text(CSV.replace(",", "\t"))
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + CSV.encode()))
    for path in (plain, tabs, packed):
        columns = read(path)
        check(columns)
        assert columns.where(2) == f"{path} line 4"


def test_jsonl_and_parquet(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    lines = tmp_path / "a.jsonl"
    lines.write_text(
        '{"when": "2020-01-01", "name": "a", "value": 1.5, "code": 7}\n{"when": "2020-01-02", "name": "b", "code": 8}\n'
        '{"when": "2020-01-03", "name": "a", "value": null, "code": "9"}\n'
    )
    check(read(lines))
    whole = tmp_path / "a.parquet"
    days = np.array(["2020-01-01", "2020-01-02", "2020-01-03"], "M8[ns]")
    table = {"when": days, "name": ["a", "b", "a"], "value": [1.5, None, float("nan")], "code": [7, 8, 9]}
    parquet.write_table(pyarrow.table(table), whole)
    columns = read(whole)
    check(columns)
    when = columns.cells["when"]
    assert isinstance(when, Times)
    assert (when.micro == days.astype("M8[us]").astype(np.int64)).all()
    assert columns.where(2) == f"{whole} row 3"


def test_a_column_is_numbers_only_if_all_of_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("code\n" + "1\n" * 300 + "x\n")
    found = read(path, code="either").cells["code"]
    assert isinstance(found, Texts)
    assert found.names == ["1", "x"]


def test_a_cell_that_holds_no_number_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("value\n1\n\nabc\n1_0\n4\n")
    columns = read(path, value="number")
    np.testing.assert_array_equal(columns.cells["value"], [1, np.nan, np.nan, 4])  # type: ignore[arg-type]
    assert [problem.where for problem in columns.bad] == [f"{path} line 4", f"{path} line 5"]
    assert "'abc' in 'value'" in columns.bad[0].message
    assert columns.where(3) == f"{path} line 6"


def test_lines_are_counted_with_the_blank_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("value\n\n\n1\n2\n")
    assert read(path, value="number").where(1) == f"{path} line 5"


def test_malformed_rows_are_named_and_in_no_column(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n3\n4,5\n")
    columns = read(path, a="number", b="number")
    np.testing.assert_array_equal(columns.cells["a"], [1, 4])  # type: ignore[arg-type]
    assert [problem.kind for problem in columns.bad] == ["malformed-row"]


def test_positions_where_there_is_no_line_of_names(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("1,x\n2,y\n")
    place = Place(path, positions=("0", "1"))
    columns = read_columns(place, {"0": "number", "1": "text"}, head(place))
    np.testing.assert_array_equal(columns.cells["0"], [1, 2])  # type: ignore[arg-type]
    assert columns.where(0) == f"{path} line 1"


def test_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("value\n")
    with pytest.raises(DataError, match="has no rows"):
        read(path, value="number")
