"""Interactions: from tables, lists and NCF's files to splits, and what is said of them on the way."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from pipelines.errors import DataError
from pipelines.task import Data
from tasks.recommendation import data
from tasks.recommendation.config import Config

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"
ROWS = [("ann", "x", 5, 10), ("bob", "y", 3, 20), ("ann", "z", 1, 30), ("bob", "x", 4, 40), ("cid", "x", 2, 50)] + [
    ("ann", "w", 4, 60), ("bob", "z", 5, 70), ("cid", "y", 3, 80), ("dan", "new", 5, 90), ("ann", "y", 2, 100),
]  # fmt: skip
NAMES = ("user", "item", "rating", "time")


def as_csv(rows: list[Any], names: tuple[str, ...] = NAMES) -> str:
    return "\n".join([",".join(names), *(",".join(map(str, row)) for row in rows)]) + "\n"


def put(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def load(source: str, **settings: Any) -> Data:
    return data.load_data(Config(data=source, **settings))


def taken(found: Data, split: str) -> dict[str, list[str]]:
    """By user, the names of the items of a split of pairs, or of the targets."""
    store = found.splits[split]
    raw = store.fetch(np.arange(len(store)))
    users, items = found.assets["users"], found.assets["items"]
    if "item" in raw:
        lists: dict[str, list[str]] = {}
        for user, item in zip(raw["user"].tolist(), raw["item"].tolist(), strict=True):
            lists.setdefault(users[user], []).append(items[item])
        return lists
    return {users[user]: names for user, names in zip(raw["user"].tolist(), ragged(found, raw, "target"), strict=True)}


def ragged(found: Data, raw: dict[str, np.ndarray], name: str) -> list[list[str]]:
    splits, values = raw[f"{name}_splits"].tolist(), raw[name].tolist()
    names = found.assets["items"]
    return [[names[code] for code in values[a:b]] for a, b in zip(splits, splits[1:], strict=False)]


def test_every_format_gives_the_same(tmp_path: Path) -> None:
    text = as_csv(ROWS)
    sources = [put(tmp_path, "a.csv", text), put(tmp_path, "a.tsv", text.replace(",", "\t"))]
    lines = "".join(json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in ROWS)
    sources.append(put(tmp_path, "a.jsonl", lines))
    columns = {name: [row[at] for row in ROWS] for at, name in enumerate(NAMES)}
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    sources += [str(tmp_path / "a.parquet"), str(tmp_path / "a.csv.gz")]
    for name, separator in (("u.data", "\t"), ("ratings.dat", "::"), ("u.base", "|"), ("x.inter", " ")):
        sources.append(put(tmp_path, name, text.partition("\n")[2].replace(",", separator)))
    recbole = as_csv(ROWS, ("user_id:token", "item_id:token", "rating:float", "timestamp:float"))
    sources.append(put(tmp_path, "b.inter", recbole.replace(",", "\t")))
    prints = {load(source).fingerprint for source in sources}
    assert len(prints) == 1
    bare = put(tmp_path, "bare.csv", text.partition("\n")[2])
    assert load(bare, columns="user=0 item=1 rating=2 time=3").fingerprint in prints


def test_ids_are_texts_whatever_a_table_holds(tmp_path: Path) -> None:
    columns = {"user": [7, 7, 7, 8, 8, 8], "item": [1.0, 2.0, 3.0, 1.0, 2.0, 4.0], "time": [1, 2, 3, 4, 5, 6]}
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    found = load(str(tmp_path / "a.parquet"), protocol="leave-last-out")
    assert found.assets["users"] == ["7", "8"]
    assert sorted(found.assets["items"]) == ["1", "2", "3", "4"]


def test_by_time_is_the_default_where_there_are_times(tmp_path: Path) -> None:
    found = load(put(tmp_path, "a.csv", as_csv(ROWS)), split=(0.6, 0.2, 0.2))
    assert taken(found, "train") == {"ann": ["x", "z", "w"], "bob": ["y", "x"], "cid": ["x"]}
    assert taken(found, "valid") == {"bob": ["z"], "cid": ["y"]}
    assert taken(found, "test") == {"ann": ["y"], "dan": ["new"]}
    assert found.summary["only_in_test"] == {"users": 1, "items": 1}
    assert "1 user and 1 item appear only in it" in found.protocol
    assert found.assets["trained"] == {"users": 3, "items": 4}
    # Those that training knows come first.
    assert found.assets["users"][3:] == ["dan"]
    assert found.assets["items"][4:] == ["new"]
    assert found.assets["counts"][-1] == 0
    raw = found.splits["test"].fetch(np.arange(2))
    assert ragged(found, raw, "history") == [["x", "z", "w"], []]
    assert found.assets["rating"] == {"mean": pytest.approx(19 / 6), "min": 1.0, "max": 5.0}


def test_what_is_of_one_time_is_not_torn_apart(tmp_path: Path) -> None:
    rows = [(f"u{n}", f"i{n % 5}", 3, n // 10) for n in range(100)]
    found = load(put(tmp_path, "a.csv", as_csv(rows)), split=(0.75, 0.1, 0.15), loss="mse")
    assert found.summary["counts"] == {"train": 70, "valid": 10, "test": 20}
    alike = [(f"u{n}", f"i{n % 5}", 3, 1) for n in range(100)]
    with pytest.raises(DataError, match="too many interactions are of one time"):
        load(put(tmp_path, "b.csv", as_csv(alike)))


@pytest.mark.parametrize(
    "write",
    [
        lambda day: f"2024-01-{day:02}",
        lambda day: f"2024-01-{day:02}T10:00:00Z",
        lambda day: f"2024/01/{day:02}",
        lambda day: str(1_703_980_800_000 + day * 86_400_000),
    ],
)
def test_times_are_read_as_they_are_written(tmp_path: Path, write: Callable[[int], str]) -> None:
    rows = [(user, f"i{day}", write(day)) for day, user in enumerate("abcabcabcabcabcabcab", start=1)]
    found = load(put(tmp_path, "a.csv", as_csv(rows[::-1], ("user", "item", "time"))))
    assert "from 2024-01-19" in found.protocol
    assert sum(map(len, taken(found, "test").values())) == 2


def test_lists_are_left_their_last(tmp_path: Path) -> None:
    found = load(put(tmp_path, "a.txt", "ann x y z w\nbob  y\tz\nbob x\n\ncid x y\n"))
    assert taken(found, "test") == {"ann": ["w"], "bob": ["x"]}
    assert taken(found, "valid") == {"ann": ["z"], "bob": ["z"]}
    assert "1 user with fewer than 3 is trained on alone" in found.protocol
    raw = found.splits["train"].fetch(np.arange(len(found.splits["train"])))
    assert ragged(found, raw, "history") == [["x", "y"], ["x", "y"]]  # of ann and of cid
    assert found.splits["train"].ids(np.arange(2)) == ["ann", "cid"]
    assert np.asarray(found.splits["train"].sizes).tolist() == [[2], [2]]
    test = found.splits["test"].fetch(np.array([1, 0]))
    assert ragged(found, test, "history") == [["y", "z"], ["x", "y", "z"]]


def test_histories_are_cut_to_the_latest(tmp_path: Path) -> None:
    source = put(tmp_path, "a.txt", "ann " + " ".join(f"i{n}" for n in range(10)) + "\nbob i1 i2 i3\n")
    found = load(source, max_history=3)
    raw = found.splits["train"].fetch(np.array([0]))
    assert ragged(found, raw, "history") == [["i4", "i5", "i6", "i7"]]
    assert len(ragged(found, found.splits["test"].fetch(np.array([0])), "history")[0]) == 9


@pytest.mark.parametrize("protocol", ["time", "leave-last-out"])
def test_the_order_of_rows_decides_nothing(tmp_path: Path, protocol: str) -> None:
    rows = [(f"u{n % 17}", f"i{n * 7 % 23}", n % 5, 100 + n) for n in range(300)]
    one = load(put(tmp_path, "a.csv", as_csv(rows)), protocol=protocol)
    two = load(put(tmp_path, "b.csv", as_csv(rows[::-1])), protocol=protocol)
    assert one.assets == two.assets
    assert one.fingerprint == two.fingerprint
    assert all(one.hashes[split].tolist() == two.hashes[split].tolist() for split in one.hashes)


def test_random_goes_by_the_names_alone(tmp_path: Path) -> None:
    rows = [(f"u{n % 20}", f"i{n % 21}") for n in range(200)]
    one = load(put(tmp_path, "a.csv", as_csv(rows, ("user", "item"))))
    two = load(put(tmp_path, "b.csv", as_csv(rows[::-1], ("user", "item"))))
    assert one.summary["counts"]["train"] == 160
    assert {user: set(items) for user, items in taken(one, "test").items()} == {
        user: set(items) for user, items in taken(two, "test").items()
    }
    assert "(random)" in one.protocol


def test_a_split_that_leaks_the_future_says_so(tmp_path: Path) -> None:
    source = put(tmp_path, "a.csv", as_csv(ROWS[:8] + [("cid", "w", 3, 95)]))
    warned = load(source, protocol="leave-last-out").summary["warnings"]
    # bob's last is at 70, and of training nothing is later; ann's is at 60.
    assert not [one for one in warned if "trains on the future" in one]
    rows = [("ann", f"a{n}", 3, n) for n in range(5)] + [("bob", f"b{n}", 3, 100 + n) for n in range(5)]
    late = load(put(tmp_path, "b.csv", as_csv(rows)), protocol="leave-last-out")
    assert "3 training interactions (50%) are later than the first of the test (4)" in late.summary["warnings"][0]
    cut = load(source, protocol="time", split=(0.6, 0.2, 0.2)).summary["warnings"]
    assert not [one for one in cut if "trains on the future" in one]


def test_what_stands_twice_is_kept_once_and_said(tmp_path: Path) -> None:
    rows = [*ROWS, ("ann", "x", 1, 65), ("bob", "y", 1, 66)]
    source = put(tmp_path, "a.csv", as_csv(rows))
    first = load(source, split=(0.6, 0.2, 0.2))
    assert first.summary["duplicates"] == 2
    assert first.summary["interactions"] == 10
    said = next(one for one in first.summary["warnings"] if "stands elsewhere" in one)
    assert "a.csv line 12: " in said
    assert "the first of 2: the first of each is kept" in said
    last = load(source, split=(0.6, 0.2, 0.2), loss="mse")
    train = last.splits["train"].fetch(np.arange(6))
    assert {(int(user), float(rating)) for user, rating in zip(train["user"], train["rating"], strict=True)} >= {
        (0, 1.0)
    }


def test_a_core_is_filtered_to_its_end(tmp_path: Path) -> None:
    # Without eve, y has one; without y, ann has one; what is left is of bob and cid.
    lists = "bob x z\ncid x z\nann x y\neve y\nbob w\ncid w\n"
    found = load(put(tmp_path, "a.txt", lists), min_user=2, min_item=2, backbone="mf")
    assert found.assets["users"] == ["bob", "cid"]
    assert sorted(found.assets["items"]) == ["w", "x", "z"]
    assert found.summary["core"] == {
        "min_user": 2, "min_item": 2, "rounds": 3, "interactions": 3, "users": 2, "items": 1,
    }  # fmt: skip
    with pytest.raises(DataError, match="no interaction is left by min_user 9"):
        load(put(tmp_path, "a.txt", lists), min_user=9)


def test_low_ratings_are_no_interactions(tmp_path: Path) -> None:
    source = put(tmp_path, "a.csv", as_csv(ROWS))
    found = load(source, min_rating=3, protocol="random", split=(0.6, 0.2, 0.2))
    assert found.summary["below_min_rating"] == 3
    assert found.summary["interactions"] == 7
    plain = put(tmp_path, "b.csv", as_csv([row[:2] for row in ROWS], ("user", "item")))
    with pytest.raises(DataError, match="has no ratings"):
        load(plain, min_rating=3)
    with pytest.raises(DataError, match="predicts ratings, and .* has none"):
        load(plain, loss="mse")


BROKEN = [*ROWS, ("", "x", 3, 110), ("eve", "", 3, 120), ("eve", "x", "good", 130), ("eve", "y", 3, "soon"), ("eve",)]


def test_broken_rows_are_named_by_file_and_row(tmp_path: Path) -> None:
    source = put(tmp_path, "a.csv", as_csv(BROKEN))
    with pytest.raises(DataError) as error:
        load(source)
    message = str(error.value)
    assert message.startswith("5 rows cannot be used")
    for part in ("line 12: has no 'user'", "line 13: has no 'item'", "line 14: holds 'good' in 'rating'"):
        assert part in message
    assert "line 15: has the time 'soon'" in message
    assert "line 16: has 1 value where the table has 4" in message
    found = load(source, on_bad="skip", split=(0.6, 0.2, 0.2))
    assert len(found.summary["skipped"]) == 5
    assert taken(found, "test") == {"ann": ["y"], "dan": ["new"]}
    report = data.check_data(Config(data=source))
    assert len(report.errors) == 5
    assert {problem.level for problem in data.check_data(Config(data=source, on_bad="skip")).problems} == {"warning"}


def test_an_empty_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.txt line 2: names 'bob' and no item"):
        load(put(tmp_path, "a.txt", "ann x y z\nbob\n"))


@pytest.mark.parametrize(
    ("rows", "settings", "sentence"),
    [
        ([("ann", "x")], {}, "would be empty"),
        ([("ann", "x"), ("ann", "y")], {"protocol": "leave-last-out"}, "no user has 3 interactions"),
        ([("ann", "x"), ("bob", "y")], {"protocol": "time"}, "needs times"),
        ([("ann", "x"), ("bob", "y")], {"protocol": "given"}, "needs a test"),
        ([("a", "x"), ("b", "x"), ("c", "x")], {"split": (1, 1, 1), "backbone": "sasrec"}, "choose --backbone mf"),
        ([("a", "x"), ("b", "x"), ("c", "x")], {"split": (5, 1, 1)}, "ask for fewer"),
    ],
)
def test_too_little_is_a_sentence(tmp_path: Path, rows: list[Any], settings: dict[str, Any], sentence: str) -> None:
    source = put(tmp_path, "a.csv", as_csv(rows, ("user", "item")))
    with pytest.raises(DataError, match=sentence):
        load(source, **settings)
    kinds = [problem.kind for problem in data.check_data(Config(data=source, **settings)).errors]
    assert kinds == ["split"]


def test_one_user_or_one_item_is_enough(tmp_path: Path) -> None:
    found = load(put(tmp_path, "a.csv", as_csv([("ann", f"i{n}", 3, n) for n in range(10)])))
    assert (len(found.assets["users"]), len(found.splits["test"])) == (1, 1)
    one = load(put(tmp_path, "b.csv", as_csv([(f"u{n}", "x", 3, n) for n in range(10)])))
    assert one.summary["users_of_one_interaction"] == 10
    assert one.assets["items"] == ["x"]


def test_a_given_test_is_scored_as_it_is(tmp_path: Path) -> None:
    train = put(tmp_path, "u1.base", "".join(f"u{n % 4}\ti{n % 9}\t3\t{n}\n" for n in range(36)))
    test = put(tmp_path, "u1.test", "u0\tnew\t4\t50\nu1\ti1\t5\t51\nu9\ti2\t1\t52\nu1\told\t5\t53\n")
    found = load(train, test=test)
    assert taken(found, "test") == {"u0": ["new"], "u1": ["old"], "u9": ["i2"]}
    assert any("they stand in training too and are not tested on" in one for one in found.summary["warnings"])
    assert found.summary["only_in_test"] == {"users": 1, "items": 2}
    rated = load(train, test=test, loss="mse")
    assert rated.summary["counts"]["test"] == 4
    assert data.references(rated.splits["test"])["rating"].tolist() == [4, 5, 5, 1]
    folder = tmp_path / "split"
    put(folder, "train.csv", as_csv(ROWS))
    put(folder, "test.csv", as_csv([("ann", "q", 3, 200)]))
    assert taken(load(str(folder)), "test") == {"ann": ["q"]}
    with pytest.raises(DataError, match="drop one of the two"):
        load(str(folder), protocol="time")


NEGATIVE = "(0,14)\t21\t22\t23\n(1,15)\t24\t14\t11\n"
CANDIDATES = [{"14", "21", "22", "23"}, {"15", "24", "14", "11"}]


@pytest.fixture
def ncf(tmp_path: Path) -> Path:
    """Files as NCF has them."""
    put(tmp_path, "x.train.rating", "0\t11\t5\n0\t12\t3\n1\t11\t1\n1\t13\t1\n0\t21\t2\n")
    put(tmp_path, "x.test.rating", "0\t14\t9\n1\t15\t9\n")
    put(tmp_path, "x.test.negative", NEGATIVE)
    return tmp_path


def test_the_negatives_of_ncf_are_the_candidates(ncf: Path) -> None:
    found = load(str(ncf))
    raw = found.splits["test"].fetch(np.arange(2))
    # Those that nobody took are candidates too: without them there would be fewer to stand above.
    assert [set(one) for one in ragged(found, raw, "candidates")] == CANDIDATES
    assert "(sampled" in found.protocol
    assert found.assets["origin"]["sampled"] is True
    assert load(str(ncf / "x.train.rating")).fingerprint == found.fingerprint
    put(ncf, "y.rating", (ncf / "x.train.rating").read_text())
    for test in ("x.test.rating", "x.test.negative"):  # named by hand
        again = load(str(ncf / "y.rating"), test=str(ncf / test))
        raw = again.splits["test"].fetch(np.arange(2))
        assert [set(one) for one in ragged(again, raw, "candidates")] == CANDIDATES
    # Under a name that is none of NCF's a test is ranked among all.
    put(ncf, "y.test", (ncf / "x.test.rating").read_text())
    whole = load(str(ncf / "y.rating"), test=str(ncf / "y.test"))
    assert "candidates" not in whole.splits["test"].fetch(np.arange(2))
    with pytest.raises(DataError, match="is a test and holds nothing to train on"):
        load(str(ncf / "x.test.rating"))


def test_files_of_ncf_must_be_of_one_test(ncf: Path) -> None:
    put(ncf, "x.test.negative", NEGATIVE.replace("(0,14)", "(0,12)"))
    with pytest.raises(DataError, match=r"different tests: 2 pairs .* as \(0,12\)"):
        load(str(ncf))
    put(ncf, "x.test.negative", NEGATIVE.replace("(0,14)", "14"))
    with pytest.raises(DataError, match=r"not with \(user,item\)"):
        load(str(ncf))
    put(ncf, "x.test.negative", NEGATIVE + "(1,12)\n")
    with pytest.raises(DataError, match=r"x.test.negative line 3 names '\(1,12\)' and no item"):
        load(str(ncf))
    put(ncf, "in/y.train.rating", "0\t11\t5\n")
    with pytest.raises(DataError, match=r"several data sets \(in/y.train.rating, x.train.rating\)"):
        load(str(ncf))


def test_candidates_are_of_the_test_that_they_came_with(ncf: Path) -> None:
    other = put(ncf, "other.rating", "0\t15\t9\n1\t12\t9\n")
    found = load(str(ncf / "x.train.rating"), test=other)
    assert "candidates" not in found.splits["test"].fetch(np.arange(2))
    assert "among all 5 items" in found.protocol


def test_several_files_are_one(tmp_path: Path) -> None:
    put(tmp_path, "in/a.csv", as_csv(ROWS[:6]))
    put(tmp_path, "in/b.csv", as_csv(ROWS[6:]))
    put(tmp_path, "in/README", "what this is")
    items = put(tmp_path, "in/items.csv", "item,genre\nx,red\ny,blue\nz,red\nw,red\nnew,blue\nlater,blue\n")
    one = load(put(tmp_path, "all.csv", as_csv(ROWS)), split=(0.6, 0.2, 0.2))
    found = load(str(tmp_path / "in"), items=items, split=(0.6, 0.2, 0.2))
    assert found.assets["items"] == [*one.assets["items"], "later"]
    assert taken(found, "test") == taken(one, "test")
    assert any("not read: README" in warning for warning in found.summary["warnings"])
    put(tmp_path, "in/c.csv", as_csv([row[:2] for row in ROWS], NAMES[:2]))
    with pytest.raises(DataError, match="only one of the two has ratings"):
        load(str(tmp_path / "in"), items=items)


def test_limits_are_the_same_every_time(tmp_path: Path) -> None:
    rows = [(f"u{n % 30}", f"i{n % 31}", 3, n) for n in range(600)]
    source = put(tmp_path, "a.csv", as_csv(rows))
    found, whole = load(source, limit=7), load(source)
    assert found.summary["counts"] == {"train": 7, "valid": 7, "test": 7}
    assert set(found.hashes["train"].tolist()) <= set(whole.hashes["train"].tolist())
    assert set(found.hashes["test"].tolist()) <= set(whole.hashes["test"].tolist())


def test_a_finished_model_is_scored_on_other_data(tmp_path: Path) -> None:
    source = put(tmp_path, "a.csv", as_csv(ROWS))
    settings: dict[str, Any] = {"split": (0.6, 0.2, 0.2)}
    before = load(source, **settings)
    same = data.load_test(Config(data=source, **settings), before.assets)
    one, two = (found.splits["test"].fetch(np.arange(2)) for found in (before, same))
    assert {name: column.tolist() for name, column in one.items()} == {
        name: column.tolist() for name, column in two.items()
    }
    other = put(tmp_path, "b.txt", "zoe x y never w\nbob w x z\n")
    found = data.load_test(Config(data=other, protocol="time"), before.assets)
    raw = found.splits["test"].fetch(np.arange(2))
    assert raw["user"].tolist() == [before.assets["users"].index("bob"), -1]
    place = before.assets["items"].index
    assert raw["history"].tolist() == [place("w"), place("x"), place("x"), place("y"), -1]
    assert raw["target"].tolist() == [place("z"), place("w")]
    foreign = put(tmp_path, "c.txt", "zoe 1 2 3\nbob 4 5 6\n")
    with pytest.raises(DataError, match="knows none of the items"):
        data.load_test(Config(data=foreign), before.assets)


def test_a_change_of_one_rating_changes_one_hash(tmp_path: Path) -> None:
    rows = [(f"u{n % 5}", f"i{n % 11}", 3, n) for n in range(50)]
    one = load(put(tmp_path, "a.csv", as_csv(rows)), loss="mse")
    rows[3] = (*rows[3][:2], 4, rows[3][3])
    two = load(put(tmp_path, "b.csv", as_csv(rows)), loss="mse")
    assert (one.hashes["train"] != two.hashes["train"]).sum() == 1
    assert one.fingerprint != two.fingerprint


def test_the_sample_is_what_it_says() -> None:
    found, again = load("sample"), load("sample")
    assert found.fingerprint == again.fingerprint
    assert found.protocol.endswith("These interactions are synthetic: a generator in the package made them.")
    counts = np.sort(found.assets["counts"])[::-1]
    assert counts[:40].sum() > 0.3 * counts.sum()  # a tenth of the items, a third of what is taken
    assert found.summary["only_in_test"]["items"] > 0
    assert {one["kind"] for one in found.assets["features"]["items"]["columns"]} == {"category", "number", "text"}
    assert [problem.kind for problem in data.check_data(Config()).errors] == []


def test_unknown_columns_name_what_there_is(tmp_path: Path) -> None:
    source = put(tmp_path, "a.csv", "who,what\nann,x\n")
    with pytest.raises(DataError, match=r"no column called 'user' or the like \(who, what\)"):
        load(source)
    with pytest.raises(DataError, match="no column 'whom' .*did you mean 'who'"):
        load(source, columns="user=whom item=what")


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real data sets")
def test_real_data_are_counted_as_published() -> None:
    beauty = load(str(REAL / "s3rec" / "Beauty.txt"))
    assert (beauty.summary["users"], beauty.summary["items"], beauty.summary["interactions"]) == (
        22_363,
        12_101,
        198_502,
    )
    movies = load(str(REAL / "ml-100k" / "u.data"), columns="user=0 item=1 rating=2 time=3")
    assert (movies.summary["users"], movies.summary["items"], movies.summary["interactions"]) == (943, 1_682, 100_000)
    music = load(str(REAL / "deepcf"))
    assert len(music.splits["test"]) == 1_741
    ratings = load(str(REAL / "ml-100k" / "u1.base"), test=str(REAL / "ml-100k" / "u1.test"), loss="mse")
    assert len(ratings.splits["test"]) == 20_000
