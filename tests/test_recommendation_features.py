"""Tables of users and items: what is said of them, coded for a model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.errors import DataError
from pipelines.task import Data
from tasks.recommendation import data
from tasks.recommendation.config import Config

ITEMS = """item,genres,price,colour,title,link
x,red|blue,1.5,dark,The first one,http://a/1
y,,2.5,,The second one,http://a/2
cold,blue,,light,Never taken,http://a/3
"""


def load(folder: Path, *, items: str = ITEMS, users: str = "", **settings: Any) -> Data:
    rows = [f"u{n % 4},{'xyzw'[n % 3 + n // 9]},{n}" for n in range(12)]
    (folder / "a.csv").write_text("user,item,time\n" + "\n".join(rows) + "\n")
    (folder / "items.csv").write_text(items, encoding="utf-8")
    if users:
        (folder / "users.csv").write_text(users)
        settings["users"] = str(folder / "users.csv")
    settings = {"split": (0.6, 0.2, 0.2), "items": str(folder / "items.csv"), **settings}
    return data.load_data(Config(data=str(folder / "a.csv"), **settings))


def test_columns_are_coded_by_what_they_hold(tmp_path: Path) -> None:
    found = load(tmp_path)
    items = found.assets["items"]
    assert sorted(items) == ["cold", "w", "x", "y", "z"]
    assert items[-1] == "cold"
    assert found.assets["trained"]["items"] == 3
    coded = found.assets["features"]["items"]
    columns = {one["name"]: one for one in coded["columns"]}
    x, y, cold, z = (items.index(name) for name in ("x", "y", "cold", "z"))
    price = columns["price"]
    assert (price["kind"], price["mean"], price["scale"]) == ("number", 2.0, 0.5)
    assert [price["values"][at] for at in (x, y, cold, z)] == [-1.0, 1.0, None, None]
    colour = columns["colour"]
    codes = data.unpacked(colour["codes"])
    assert [colour["names"][code] if code >= 0 else None for code in codes[[x, y, cold]]] == ["dark", None, "light"]
    genres = columns["genres"]
    splits, flat = data.unpacked(genres["splits"]), data.unpacked(genres["codes"])
    assert [genres["names"][code] for code in flat[splits[x] : splits[x + 1]]] == ["red", "blue"]
    assert splits[y] == splits[y + 1]
    assert coded["titles"][cold] == "Never taken"
    assert coded["titles"][z] is None
    assert any("says nothing of 2 of 5 items ('z', 'w')" in one for one in found.summary["warnings"])


def test_texts_and_addresses_are_told_from_categories(tmp_path: Path) -> None:
    rows = "".join(f"i{n},Title number {n},http://a/{n},c{n % 5}\n" for n in range(200))
    found = load(tmp_path, items="sku,title,link,kind\n" + rows)
    kinds = {one["name"]: one["kind"] for one in found.assets["features"]["items"]["columns"]}
    assert kinds == {"title": "text", "kind": "category"}
    assert any("'link' is empty, or another in nearly every row" in one for one in found.summary["warnings"])


def test_a_table_without_names_is_known_by_position(tmp_path: Path) -> None:
    (tmp_path / "u.item").write_text("1|Ölberg (1995)|0|1\n2|Next (1996)|1|1\n", encoding="latin-1")
    (tmp_path / "u.data").write_text("".join(f"{n % 5}\t{n % 2 + 1}\t3\t{n}\n" for n in range(10)))
    config = Config(data=str(tmp_path / "u.data"), items=str(tmp_path / "u.item"), encoding="latin-1")
    coded = data.load_data(config).assets["features"]["items"]["columns"]
    assert [one["name"] for one in coded] == ["1", "2", "3"]
    assert sorted(coded[0]["names"]) == ["Next (1996)", "Ölberg (1995)"]


def test_rows_that_name_nobody_or_twice_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load(tmp_path, items=ITEMS + "x,red,1,dark,Again,-\n,red,1,dark,Again,-\n")
    assert "items.csv line 5: is the second of 'x'" in str(error.value)
    assert "items.csv line 6: names no item" in str(error.value)
    with pytest.raises(DataError, match="holds ids alone"):
        load(tmp_path, items="item\nx\ny\n")


def test_scores_are_told_apart_by_a_column_of_users(tmp_path: Path) -> None:
    users = "user,region\nu0,north\nu1,south\nu3,north\n"
    found = load(tmp_path, users=users, group_by="region")
    truth = data.references(found.splits["test"])
    by_user = dict(zip(truth["name"].tolist(), truth["group_by"].tolist(), strict=True))
    assert by_user.items() <= {"u0": "north", "u1": "south", "u2": "", "u3": "north"}.items()
    assert len(by_user) == len(found.splits["test"])
    assert truth["activity"].tolist() == [len(one) for one in np.split(*_before(found))]
    with pytest.raises(DataError, match="no column 'age'"):
        load(tmp_path, users=users, group_by="age")
    with pytest.raises(DataError, match="name that with users"):
        load(tmp_path, group_by="region")


def _before(found: Data) -> tuple[np.ndarray, np.ndarray]:
    raw = found.splits["test"].fetch(np.arange(len(found.splits["test"])))
    return raw["history"], raw["history_splits"][1:-1]
