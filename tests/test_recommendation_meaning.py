"""What users get wrong, and what scores cannot tell: each is one sentence, before anything is trained."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.errors import DataError
from pipelines.task import CheckReport
from tasks.recommendation import data
from tasks.recommendation.config import Config

ROWS = [(f"u{n % 17}", f"i{n * 7 % 23}", n % 5, 1_600_000_000 + 1000 * n) for n in range(300)]
NAMES = "user,item,rating,time"


def put(folder: Path, name: str, rows: list[Any], names: str = NAMES, between: str = ",") -> str:
    path = folder / name
    lines = [names.replace(",", between)] if names else []
    path.write_text("\n".join([*lines, *(between.join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return str(path)


def check(source: str, **settings: Any) -> CheckReport:
    return data.check_data(Config(data=source, **settings))


def kinds(report: CheckReport) -> list[str]:
    return [problem.kind for problem in report.problems]


def test_a_test_of_strangers_is_warned_of(tmp_path: Path) -> None:
    train = put(tmp_path, "train.csv", ROWS[:200])
    users = put(tmp_path, "users.csv", [(f"new{user}", *rest) for user, *rest in ROWS[200:]])
    items = put(tmp_path, "items.csv", [(user, f"new{item}", *rest) for user, item, *rest in ROWS[200:]])
    same = put(tmp_path, "same.csv", [row for row in ROWS[200:] if row[:2] not in {one[:2] for one in ROWS[:200]}])
    assert kinds(check(train, test=same)) == []
    assert kinds(check(train, test=users)) == ["new-users"]
    report = check(train, test=items)
    assert kinds(report) == ["new-items"]
    assert "100 of the 100 held-out interactions" in report.problems[0].message
    # What is said before training stands in the report too.
    assert any("two-tower" in warning for warning in report.summary["warnings"])


def test_histories_make_users_known(tmp_path: Path) -> None:
    """In validation alone is enough for a model of histories, and for one that folds users in."""
    early = [(f"u{n % 9}", f"i{n % 31}", 3, n) for n in range(240)]
    late = [(f"late{n % 9}", f"i{n % 31}", 3, 240 + n) for n in range(60)]
    source = put(tmp_path, "a.csv", early + late)
    assert kinds(check(source, backbone="neumf")) == kinds(check(source, loss="mse")) == ["new-users"]
    assert [kinds(check(source, backbone=backbone)) for backbone in ("mf", "sasrec", "ease")] == [[], [], []]


def test_lists_that_hold_everything_are_warned_of(tmp_path: Path) -> None:
    source = put(tmp_path, "a.csv", [(user, f"i{n % 9}", *rest) for n, (user, _, *rest) in enumerate(ROWS)])
    report = check(source, protocol="leave-last-out")
    few = [problem for problem in report.problems if problem.kind == "few-items"]
    assert "a list of 10 holds all items that there are (9)" in few[0].message
    assert "few-items" not in kinds(check(source, protocol="leave-last-out", top_k=5))


def test_a_check_says_what_a_run_would_of_features(tmp_path: Path) -> None:
    table = put(tmp_path, "items.csv", [(f"i{n}", "red") for n in range(20)], "item,colour")
    report = check(put(tmp_path, "a.csv", ROWS), items=table)
    assert kinds(report) == ["no-features"]
    assert "3 of 23 items ('i20', 'i21', 'i22')" in report.problems[0].message


def test_a_line_of_names_is_no_interaction(tmp_path: Path) -> None:
    source = put(tmp_path, "a.csv", ROWS, "User_ID,movieId,rating,time")
    with pytest.raises(DataError, match="line 1 is a line of names .* map them by name .*user=User_ID item=movieId"):
        check(source, columns="user=0 item=1")
    assert check(put(tmp_path, "b.csv", ROWS, ""), columns="user=0 item=1").summary["interactions"] == len(set(ROWS))


@pytest.mark.parametrize(("between", "said"), [(";", "';' stand"), ("\t", "tabs stand"), ("|", r"'\|' stand")])
def test_other_signs_between_values_are_named(tmp_path: Path, between: str, said: str) -> None:
    with pytest.raises(DataError, match=f"has one column, .*{said}"):
        check(put(tmp_path, "a.csv", ROWS, between=between))
    assert not check(put(tmp_path, "a.dat", ROWS, between=between)).problems


def test_times_of_two_units_are_refused(tmp_path: Path) -> None:
    mixed = [(*row[:3], row[3] * 1000 if n != 7 else row[3]) for n, row in enumerate(ROWS)]
    report = check(put(tmp_path, "a.csv", mixed))
    assert [(one.kind, one.where) for one in report.problems] == [("empty-time", f"{tmp_path}/a.csv line 9")]
    assert "1600007000, which is none in milliseconds" in report.problems[0].message


def test_nanoseconds_are_times(tmp_path: Path) -> None:
    source = put(tmp_path, "a.csv", [(*row[:3], row[3] * 10**9) for row in ROWS])
    assert "taken from 2020-09-1" in check(source).summary["protocol"]
    plain = put(tmp_path, "b.csv", [(*row[:3], n) for n, row in enumerate(ROWS, start=1_234_567)])
    assert "taken from 1234837 on" in check(plain).summary["protocol"]


def test_a_test_that_is_all_trained_on_says_so(tmp_path: Path) -> None:
    source = put(tmp_path, "a.csv", ROWS)
    report = check(source, test=source)
    assert "all of them stand in training too" in report.problems[0].message


def test_the_first_of_repeated_rows_is_the_first_in_the_file(tmp_path: Path) -> None:
    source = put(tmp_path, "a.csv", [("b", "x", 1, 5), *ROWS, ("z", "x", 1, 6), ("z", "x", 1, 7), ("b", "x", 1, 8)])
    said = next(problem for problem in check(source).problems if problem.kind == "duplicate")
    assert said.where == f"{tmp_path}/a.csv line 304"
    assert "the first of 2" in said.message


def test_what_a_model_learnt_from_is_counted_in_other_data(tmp_path: Path) -> None:
    train, test = ROWS[:200], ROWS[200:202]
    known = data.load_data(Config(data=put(tmp_path, "a.csv", train), test=put(tmp_path, "t.csv", test))).assets
    again = data.load_test(Config(data=str(tmp_path / "a.csv")), known)
    held_out = int(np.diff(again.splits["test"].fetch(np.arange(len(again.splits["test"])))["target_splits"]).sum())
    assert f"{held_out} of the held-out interactions were taken before in the run's training" in again.protocol
    assert "are the users' histories" in again.protocol
    assert "(training" not in again.protocol
    who = test[0][0]
    other = put(tmp_path, "o.csv", [(who, "i2", 3, 1_600_000_000), (who, "i4", 3, 1_600_000_001), *test[:1]])
    assert "flatters" not in data.load_test(Config(data=other, protocol="leave-last-out"), known).protocol


def test_all_ratings_of_other_data_are_scored(tmp_path: Path) -> None:
    source = put(tmp_path, "a.csv", ROWS)
    known = data.load_data(Config(data=source, loss="mse")).assets
    found = data.load_test(Config(data=source, loss="mse"), known)
    assert len(found.splits["test"]) == len({row[:2] for row in ROWS})
    assert found.protocol.endswith("ratings: all of the data (given).")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("one.csv", "user,item\na,x\n", r"one.csv: the validation split would be empty: 1 interaction is too few"),
        ("inf.csv", "user,item,rating\na,x,1\na,y,inf\n", r"inf.csv line 3: has a 'rating' that is no finite number"),
        ("nested.jsonl", '{"user": "a", "item": ["x", "y"]}\n', r"nested.jsonl holds more than an id .*'x', 'y'"),
        ("latin.csv", b"user,item,time\na,caf\xe9,1\n", r"latin.csv line 2 is not UTF-8 .* give --encoding cp1252"),
    ],
)
def test_odd_tables_are_refused_by_file_and_row(name: str, content: str | bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=words):
        data.load_data(Config(data=str(tmp_path / name)))
