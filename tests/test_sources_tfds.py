"""TensorFlow Datasets as they lie on disk, in both formats; written by the tests, never downloaded."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from pipelines.errors import DataError
from pipelines.sources.tfds import TFRecords, open_dataset, parse
from tasks.image_classification.config import Config
from tasks.image_classification.data import load_data

EXAMPLES = {"train": 40, "test": 12}


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 255, (9, 7, 3)).astype(np.uint8)


# tfds has no types.
class SixfoldTiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg, misc]
    """Random pictures of ants and bees."""

    VERSION = tfds.core.Version("1.0.0")
    code_path = None  # it looks for files beside the code with a package that is not installed

    def _info(self) -> Any:
        features = {
            "photo": tfds.features.Image(shape=(9, 7, 3)),
            "insect": tfds.features.ClassLabel(names=["bee", "ant"]),
            "number": np.int64,
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), supervised_keys=("photo", "insect")
        )

    def _split_generators(self, manager: Any) -> dict[str, Any]:
        return {name: self._generate_examples(name) for name in EXAMPLES}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        first = 1000 if split == "test" else 0
        for number in range(first, first + EXAMPLES[split]):
            yield number, {"photo": picture(number), "insect": number % 2, "number": number % 3}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of data for each format."""
    root = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()
    for name in ("array_record", "tfrecord"):
        builder = SixfoldTiny(data_dir=str(root / name), file_format=name)
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=3))
    return root


@pytest.fixture(params=["array_record", "tfrecord"])
def root(prepared: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared / request.param))
    monkeypatch.setenv("SIXFOLD_CACHE", str(tmp_path / "cache"))
    folder: Path = prepared / request.param
    return folder


def test_records_are_read_in_any_order(root: Path) -> None:
    dataset = open_dataset("tfds:sixfold_tiny")
    assert dataset.name == "sixfold_tiny/1.0.0"
    assert {name: len(records) for name, records in dataset.splits.items()} == EXAMPLES
    records = dataset.splits["train"]
    every = records.read(np.arange(40))
    order = np.random.default_rng(0).permutation(40)[:9]
    assert records.read(order) == [every[place] for place in order]
    assert len(set(every)) == 40
    assert len(np.unique(records.keys())) == 40
    assert open_dataset("tfds:sixfold_tiny:1.0.0").folder == dataset.folder


def test_images_come_out_encoded_with_their_labels(root: Path) -> None:
    data = load_data(Config(data="tfds:sixfold_tiny"))
    assert data.assets["classes"] == ["ant", "bee"]
    assert data.summary["counts"] == {"train": 36, "valid": 4, "test": 12}
    assert data.summary["image_sizes"]["common"] == [{"width": 7, "height": 9, "count": 52}]
    store = data.splits["test"]
    raw = store.fetch(np.array([3, 0, 11]))
    assert set(raw) == {"bytes", "label"}
    pixels = [decode(content) for content in raw["bytes"]]
    wanted = {picture(1000 + number).tobytes(): 1 - number % 2 for number in range(12)}
    assert [wanted[image.tobytes()] for image in pixels] == raw["label"].tolist()
    assert store.ids(np.array([3])) == ["sixfold_tiny/1.0.0 test[3]"]
    again = load_data(Config(data="tfds:sixfold_tiny"))
    assert again.fingerprint == data.fingerprint


def test_both_formats_are_the_same_data(prepared: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIXFOLD_CACHE", str(tmp_path))
    prints = []
    for name in ("array_record", "tfrecord"):
        monkeypatch.setenv("TFDS_DATA_DIR", str(prepared / name))
        data = load_data(Config(data="tfds:sixfold_tiny"))
        prints.append((data.fingerprint, data.summary["counts"]))
    assert prints[0] == prints[1]


def test_columns_name_features(root: Path) -> None:
    columns = {"image": "photo", "label": "number"}
    assert load_data(Config(data="tfds:sixfold_tiny", columns=columns)).assets["classes"] == ["0", "1", "2"]
    with pytest.raises(DataError, match=r"has no feature 'phoot' \(for image\): did you mean 'photo'\?"):
        load_data(Config(data="tfds:sixfold_tiny", columns={"image": "phoot"}))


def test_reading_imports_no_tensorflow(root: Path) -> None:
    code = (
        "import sys; from tasks.image_classification.config import Config; from tasks.image_classification import data;"
        "data.load_data(Config(data='tfds:sixfold_tiny')); sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent, check=False).returncode == 0


def test_a_damaged_record_file_is_named(prepared: Path, tmp_path: Path) -> None:
    whole = next((prepared / "tfrecord").rglob("*train.tfrecord*")).read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-5])
    with pytest.raises(ValueError, match="cut is cut short or damaged at byte"):
        TFRecords([str(tmp_path / "cut")])
    (tmp_path / "empty").touch()
    assert len(TFRecords([str(tmp_path / "empty")])) == 0
    with pytest.raises(ValueError, match="no serialized example"):
        parse(b"\xff\xff")


def test_a_missing_shard_is_named(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    shutil.copytree(prepared / "array_record", tmp_path / "data")
    next((tmp_path / "data").rglob("*train.array_record*")).unlink()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    with pytest.raises(DataError, match=r"cannot be read: .*No such file.*Prepare the data set again"):
        open_dataset("tfds:sixfold_tiny")


def test_what_is_not_on_disk_and_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))

    def offline(*args: Any, **options: Any) -> None:
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setattr(tfds, "builder", offline)
    with pytest.raises(DataError) as error:
        open_dataset("tfds:mnist")
    assert str(error.value).startswith(
        f"tfds:mnist is not in {tmp_path} and could not be prepared: ConnectionError: no route to host."
    )
    assert "Offline: prepare it where there is a network" in str(error.value)
    with pytest.raises(DataError, match="is no TensorFlow data set: write tfds:NAME"):
        open_dataset("tfds:")


def test_several_configs_on_disk_must_be_told_apart(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for config in ("large", "small"):
        (tmp_path / "tiny" / config).mkdir(parents=True)
        (tmp_path / "tiny" / config / "1.0.0").symlink_to(root / "sixfold_tiny" / "1.0.0")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match=r"on disk in several configs \(large, small\): name one, tfds:tiny/large"):
        open_dataset("tfds:tiny")
    assert open_dataset("tfds:tiny/small").folder == tmp_path / "tiny" / "small" / "1.0.0"


def decode(content: bytes) -> np.ndarray:
    from io import BytesIO

    from PIL import Image

    return np.asarray(Image.open(BytesIO(content)))
