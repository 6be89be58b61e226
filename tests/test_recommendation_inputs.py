"""What predict reads of recommendation, and the options that a task declares."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.cli import main
from pipelines.config.options import declared, further_inputs, own_options
from pipelines.errors import ConfigError, DataError
from pipelines.task import Assets, Raw
from tasks.recommendation import data
from tasks.recommendation.config import Config


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Assets:
    source = tmp_path_factory.mktemp("data") / "a.txt"
    source.write_text("ann x y z w\nbob y z x\n7 x z w\n")
    found: Assets = json.loads(json.dumps(data.load_data(Config(data=str(source))).assets))
    return found


def read(path: object, assets: Assets, **settings: Any) -> list[tuple[str, int, list[str], str, list[str]]]:
    """(id, user, history by name, why refused, unknown items) of each."""
    found = []
    for ids, raw in data.inputs([str(path)], Config(**settings), assets):
        histories = np.split(raw["history"], raw["history_splits"][1:-1])
        for row, name in enumerate(ids):
            history = [assets["items"][code] for code in histories[row].tolist()]
            found.append((name, int(raw["user"][row]), history, _why(raw, row), json.loads(raw["unknown"][row])))
    return found


def _why(raw: Raw, row: int) -> str:
    name = raw["name"][row].decode()
    return name[1:] if name.startswith("\0") else ""


def test_ids_are_a_line_each(tmp_path: Path, assets: Assets) -> None:
    path = tmp_path / "ids.txt"
    path.write_text("\ufeffann\n\nzoe\n7\n\0 a\n")
    place = assets["users"].index
    assert read(path, assets, batch_size=2) == [
        ("ann", place("ann"), ["x", "y", "z", "w"], "", []),
        ("zoe", -1, [], "", []),
        ("7", place("7"), ["x", "z", "w"], "", []),
        ("\0 a", -1, [], "its id begins with a NUL: it is damaged", []),
    ]


def test_histories_are_json_lines(tmp_path: Path, assets: Assets) -> None:
    lines = [
        '{"user": "zoe", "items": ["z", "never", "x", "z"]}',
        '{"items": ["y"]}',
        '{"user": 7, "items": ["y", "x"]}',
    ]
    lines += ['"bob"', "7", '{"user": "ann", "items": "x"}', "{", "[1]", '{"who": 1}']
    path = tmp_path / "histories.jsonl"
    path.write_text("\n".join(lines))
    found = read(path, assets)
    assert found[0] == ("zoe", -1, ["z", "x"], "", ["never"])
    assert found[1] == (f"{path} line 2", -1, ["y"], "", [])
    assert found[2][2] == ["x", "z", "w", "y"]  # what is known of 7, then what is new
    assert [one[0] for one in found[3:5]] == ["bob", "7"]
    assert [one[3].split(":")[0] for one in found[5:]] == [
        "its items are no list of ids",
        "it is no JSON",
        'it is neither a user\'s id nor {"user"',
        'it is neither a user\'s id nor {"user"',
    ]


def test_tables_are_of_users_or_of_what_they_took(tmp_path: Path, assets: Assets) -> None:
    (tmp_path / "users.csv").write_text("user,age\nann,3\nzoe,4\n,5\n")
    found = read(tmp_path / "users.csv", assets)
    assert [one[:2] for one in found[:2]] == [("ann", assets["users"].index("ann")), ("zoe", -1)]
    assert "has no 'user'" in found[2][3]
    (tmp_path / "took.csv").write_text("user,item,time\nzoe,x,3\nzoe,y,1\nann,never,2\nzoe,,9\n")
    found = read(tmp_path / "took.csv", assets)
    assert found[0] == ("zoe", -1, ["y", "x"], "", [])
    assert found[1][4] == ["never"]
    assert "has no 'item'" in found[2][3]


def test_standard_input_and_what_is_not_there(tmp_path: Path, assets: Assets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('ann\n{"user": "zoe", "items": ["x"]}\n'))
    ann = assets["users"].index("ann")
    assert [one[:3] for one in read("-", assets)] == [("ann", ann, ["x", "y", "z", "w"]), ("zoe", -1, ["x"])]
    assert "does not exist" in read(tmp_path / "nowhere.txt", assets)[0][3]
    assert "is a folder" in read(tmp_path, assets)[0][3]
    (tmp_path / "latin.txt").write_bytes(b"M\xfcller\n")
    assert read(tmp_path / "latin.txt", assets, encoding="latin-1")[0][0] == "Müller"
    with pytest.raises(DataError, match="is not UTF-8"):
        read(tmp_path / "latin.txt", assets)


def test_ratings_are_asked_for_in_pairs(tmp_path: Path, assets: Assets) -> None:
    (tmp_path / "pairs.csv").write_text("user,item\nann,x\nzoe,y\nann,never\nann,\n")
    config = Config(loss="mse", batch_size=3)
    batches = list(data.inputs([str(tmp_path / "pairs.csv"), "-"], config, assets))
    assert [ids for ids, _ in batches][:1] == [["ann x", "zoe y", "ann never"]]
    place = assets["items"].index
    ann = assets["users"].index("ann")
    assert batches[0][1]["user"].tolist() == [ann, -1, ann]
    assert batches[0][1]["item"].tolist() == [place("x"), place("y"), -1]
    assert _why(batches[1][1], 0) == "it names no user or no item"
    assert "takes pairs" in _why(batches[2][1], 0)


def test_unknown_items_of_an_allow_list_are_named(assets: Assets, capsys: pytest.CaptureFixture[str]) -> None:
    assert data.allowed(["z", "gone", "x", "z"], assets).tolist() == [assets["items"].index(one) for one in "zx"]
    assert "1 of 3 items are not known to the model: gone." in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"knows none of these items \(gone\)"):
        data.allowed(["gone"], assets)


def test_options_are_the_task_s_own(tmp_path: Path) -> None:
    assert {one.name for one in declared() if "recommendation" in one.tasks} == {
        "users",
        "history",
        "exclude_seen",
        "allow",
    }
    allow = tmp_path / "allow.txt"
    allow.write_text("x\n\ny\nx\n")
    given = {"users": ("a.txt",), "history": "b.jsonl", "allow": str(allow), "top_k": 3}
    assert further_inputs(given) == ["a.txt", "b.jsonl"]
    own = own_options("recommendation", {"allow": str(allow), "exclude_seen": False, "top_k": 3})
    assert (own["allow"], own["exclude_seen"]) == (("x", "y"), False)
    assert own_options("text-sentiment", {"top_k": 3}) == {}
    with pytest.raises(
        ConfigError, match="--exclude-seen is an option of recommendation; this run is of text-sentiment"
    ):
        own_options("text-sentiment", {"exclude_seen": True})
    with pytest.raises(ConfigError, match="nowhere.txt cannot be read"):
        own_options("recommendation", {"allow": "nowhere.txt"})
    allow.write_text("\n")
    with pytest.raises(ConfigError, match="holds no name"):
        own_options("recommendation", {"allow": str(allow)})


def test_the_command_line_takes_them(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import pipelines.prediction
    from pipelines.prediction import Counts

    calls: list[Any] = []

    def note(run: Path, inputs: list[str], **named: Any) -> Counts:
        calls.append((inputs, named["options"]))
        return Counts(1, 0)

    monkeypatch.setattr(pipelines.prediction, "predict", note)
    assert main(["predict", "runs/a", "--users", "ids.txt", "-k", "20", "--keep-seen", "--allow", "some.txt"]) == 0
    options = {"users": ("ids.txt",), "top_k": 20, "exclude_seen": False, "allow": "some.txt", "encoding": "utf-8"}
    assert calls == [([], options)]
    capsys.readouterr()
    assert main(["predict", "runs/a", "--keep-seen"]) == 2
    assert "Missing argument 'INPUT...'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("took.txt", "zoe y x\nbob never\n"),
        ("took.data", "zoe\tx\t3\t20\nzoe\ty\t3\t10\nbob\tnever\t1\t5\n"),
        ("took.dat", "zoe::x::3::20\nzoe::y::3::10\nbob::never::1::5\n"),
    ],
)
def test_histories_come_in_whatever_a_run_is_trained_on(tmp_path: Path, assets: Assets, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    found = read(tmp_path / name, assets)
    assert found[0] == ("zoe", -1, ["y", "x"], "", [])
    assert (found[1][0], found[1][4]) == ("bob", ["never"])


def test_ids_may_hold_blanks(tmp_path: Path, assets: Assets) -> None:
    (tmp_path / "ids.txt").write_text("Ann Lee\nBob, junior\n")
    assert [one[0] for one in read(tmp_path / "ids.txt", assets)] == ["Ann Lee", "Bob, junior"]
    known = {**assets, "users": ["ann x", *assets["users"][1:]]}
    (tmp_path / "ids.txt").write_text("zoe x\nann x\n")
    assert [one[0] for one in read(tmp_path / "ids.txt", known)] == ["zoe x", "ann x"]


def test_pairs_come_as_a_run_was_trained_on_them(tmp_path: Path, assets: Assets) -> None:
    config = Config(loss="mse", columns="user=0 item=1 rating=2 time=3")
    (tmp_path / "u1.test").write_text("ann\tx\t5\t10\nbob\ty\t3\t20\n")
    assert [ids for ids, _ in data.inputs([str(tmp_path / "u1.test")], config, assets)] == [["ann x", "bob y"]]
    (tmp_path / "ids").write_text("ann\nbob\n")
    with pytest.raises(DataError, match=r"no column '1' \(for item\)"):
        list(data.inputs([str(tmp_path / "ids")], config, assets))
    (tmp_path / "empty").write_text("")
    ((_, raw),) = data.inputs([str(tmp_path / "empty")], config.model_copy(update={"loss": "softmax"}), assets)
    assert raw["name"][0].startswith(b"\0it is empty (0 bytes)")
    with pytest.raises(DataError, match="is empty"):
        list(data.inputs([str(tmp_path / "empty")], config, assets))
