"""A run that begins with another's rows, and goes on to users and items that it did not know."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipelines.api import predict
from pipelines.config import load_config
from pipelines.engine import execute
from pipelines.errors import ConfigError

pytestmark = pytest.mark.usefixtures("unserved")


def table(path: Path, users: int, items: int, seed: int) -> Path:
    """Users like the items of their own parity."""
    rng = np.random.default_rng(seed)
    rows = ["user,item,time"]
    for user in range(users):
        liked = np.arange(user % 2, items, 2)
        taken = rng.choice(liked, 6, replace=False)
        rows += [f"u{user},i{item},{1_600_000_000 + 1000 * place + user}" for place, item in enumerate(taken)]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["mf", "sasrec"])
def test_rows_are_found_by_name_and_new_ones_join(backbone: str, tmp_path: Path) -> None:
    shared = {"backbone": backbone, "protocol": "leave-last-out", "epochs": 2, "batch_size": 16, "width": 8}
    first, second = tmp_path / "first", tmp_path / "second"
    data = str(table(tmp_path / "old.csv", 30, 20, 0))
    execute("recommendation", load_config("recommendation", options={**shared, "data": data}).config.model_copy(
        update={"run_dir": str(first)}
    ), ["test"])  # fmt: skip
    data = str(table(tmp_path / "new.csv", 40, 26, 1))
    del shared["width"], shared["backbone"]  # taken from the run
    options = {**shared, "data": data, "pretrained": str(first)}
    execute("recommendation", load_config("recommendation", options=options).config.model_copy(
        update={"run_dir": str(second)}
    ), ["test"])  # fmt: skip
    origin = json.loads((second / "manifest.json").read_text())["pretrained"]
    assert origin["kind"] == "run"
    old, new = (json.loads((run / "model" / "items.json").read_text()) for run in (first, second))
    known = len(set(old) & set(new))
    assert known < len(new)
    assert f"items/embeddings ({known} of {len(new)} items known)" in origin["resized"]
    if backbone == "mf":
        assert "users/embeddings (30 of 40 users known)" in origin["resized"]
    else:
        assert any("qkv" in name or "mixed" in name for name in origin["taken"])
    shutil.rmtree(first)  # what began with a run does without it
    records = list(predict(second, [str(_ids(tmp_path / "ids.txt"))]))
    assert [record["id"] for record in records] == ["u1", "u39", "nobody"]
    assert [record["known"] for record in records] == [True, True, False]


def test_what_to_start_from_must_be_a_run(tmp_path: Path) -> None:
    options = {"data": str(table(tmp_path / "old.csv", 30, 20, 0)), "run_dir": str(tmp_path / "run")}
    for name, words in (("gone/run", "no file or folder gone/run"), ("imagenet", "imagenet is no folder")):
        config = load_config("recommendation", options={**options, "pretrained": name}).config
        with pytest.raises(ConfigError, match=words):
            execute("recommendation", config, ["test"])


def _ids(path: Path) -> Path:
    path.write_text("u1\nu39\nnobody\n")
    return path
