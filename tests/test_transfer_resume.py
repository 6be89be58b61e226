"""A run from other weights that goes on: with the same source and the same data, or not at all."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from PIL import Image

from pipelines import run
from pipelines.engine import resume
from pipelines.errors import RunError, StateError
from pipelines.runs import Run
from pipelines.transfer import features
from tests.conftest import stopped_at

pytestmark = pytest.mark.usefixtures("unserved")

SMALL = {"backbone": "cnn", "width": 4, "batch_size": 16, "baseline_iterations": 5, "augment": "none", "epochs": 2}
FROZEN = {"unfreeze": "none", "save_every": "1", "steps_per_execution": 1}


def photos(folder: Path, count: int, seed: int = 0) -> Path:
    random = np.random.default_rng(seed)
    for label, low in (("dark", 0), ("light", 128)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = random.integers(low, low + 128, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{i:02}.png")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("data"), 30)


@pytest.fixture(scope="module")
def source(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "source"
    small(folder, data)
    return folder


def small(folder: Path, data: Path, **settings: Any) -> Any:
    return run("image-classification", **{**SMALL, "data": str(data), "run_dir": str(folder), **settings})


def stopped(folder: Path, data: Path, place: int, **settings: Any) -> None:
    with stopped_at(place):
        small(folder, data, **settings)


@pytest.mark.parametrize("unfreeze", ["none", "all"])
def test_another_source_in_the_same_place_is_refused(data: Path, source: Path, tmp_path: Path, unfreeze: str) -> None:
    copy = tmp_path / "source"
    shutil.copytree(source, copy)
    stopped(tmp_path / "run", data, 6, **{**FROZEN, "pretrained": str(copy), "unfreeze": unfreeze})
    small(copy, data, seed=1, overwrite=True)
    with pytest.raises(StateError, match="holds other weights than when this run began: restore them"):
        resume(tmp_path / "run", {}, [])
    shutil.rmtree(copy)
    shutil.copytree(source, copy)
    assert resume(tmp_path / "run", {}, []).metrics["examples"] == 6


@pytest.mark.parametrize(("count", "seed"), [(40, 0), (30, 7)])
def test_features_of_data_that_changed_are_computed_again(source: Path, tmp_path: Path, count: int, seed: int) -> None:
    changing = photos(tmp_path / "data", 30)
    settings = {**FROZEN, "pretrained": str(source)}
    stopped(tmp_path / "run", changing, 4, **settings)
    photos(changing, count, seed)
    seen: list[dict[str, np.ndarray]] = []
    cached = features.cached

    def watched(*given: Any) -> Any:
        built, streams = cached(*given)
        for stream in streams.values():
            assert len(stream.store.columns["x"]) == len(stream.store)
        seen.append({name: np.array(stream.store.columns["x"]) for name, stream in streams.items()})
        return built, streams

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(features, "cached", watched)
        resume(tmp_path / "run", {"allow_changed_data": True}, [])
        small(tmp_path / "fresh", changing, **settings)
    again, fresh = seen
    for split in ("train", "valid"):
        np.testing.assert_array_equal(again[split], fresh[split])


def test_a_full_disk_is_a_sentence_and_not_the_end_of_the_process(
    data: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features that are mapped to a file would end it with SIGBUS, which no test survives."""

    class Full:
        def __init__(self, file: BinaryIO) -> None:
            self.file = file

        def write(self, content: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

    opened = Path.open

    def full(self: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
        file = opened(self, mode, *rest, **named)
        return Full(file) if "features-" in self.name and "w" in mode else file

    settings = {**FROZEN, "pretrained": str(source)}
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", full)
        with pytest.raises(RunError, match="no space is left"):
            small(tmp_path / "run", data, **settings)
    assert not list((tmp_path / "run" / "state").glob("*features-*"))
    assert not list((tmp_path / "run" / "state").glob(".features-*"))
    assert resume(tmp_path / "run", {}, []).metrics["examples"] == 6
    assert Run(tmp_path / "run").finished
