"""Texts of TensorFlow Datasets as they lie on disk, in both formats; written by the tests, never downloaded."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from pipelines.errors import DataError
from pipelines.sources.tfds import Dataset, is_text, open_dataset
from tasks.text_sentiment.data import records

EXAMPLES = {"train": 41, "test": 12, "unsupervised": 5}
MOODS = ("sad", "glad")


def words(number: int) -> str:
    return "" if number == 7 else f"text {number}: " + "größer 表 👍 " * (number % 4)


# tfds has no types.
class SixfoldTexts(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg, misc]
    """Numbered texts, each with labels of several kinds."""

    VERSION = tfds.core.Version("1.0.0")
    code_path = None  # it looks for files beside the code with a package that is not installed

    def _info(self) -> Any:
        features = {
            "review": tfds.features.Text(),
            "feeling": tfds.features.ClassLabel(names=["bad", "good"]),
            "stars": np.int32,
            "mood": np.str_,
            "heads": tfds.features.Sequence(tfds.features.Text()),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), supervised_keys=("review", "feeling")
        )

    def _split_generators(self, manager: Any) -> dict[str, Any]:
        return {name: self._generate_examples(name) for name in EXAMPLES}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for number in range(EXAMPLES[split]):
            feeling = -1 if split == "unsupervised" else number % 2
            yield (
                number,
                {
                    "review": words(number),
                    "feeling": feeling,
                    "stars": 5 - number % 3,
                    "mood": MOODS[number % 2] if number else "",
                    "heads": ["a"],
                },
            )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of data for each format."""
    root = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()
    for name in ("array_record", "tfrecord"):
        builder = SixfoldTexts(data_dir=str(root / name), file_format=name)
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=3))
    return root


@pytest.fixture(params=["array_record", "tfrecord"])
def dataset(prepared: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared / request.param))
    return open_dataset("tfds:sixfold_texts")


def test_every_text_comes_out_with_its_label(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_BLOCK", 7)
    assert records.features(dataset, None) == ("review", "feeling")
    for split in ("train", "test"):
        texts, labels, names, damaged = records.read_records(dataset, split, "review", "feeling")
        assert names == ["bad", "good"]
        assert labels.dtype == np.int32
        assert damaged == {}
        found = {text.decode(): label for text, label in zip(texts.tolist(), labels.tolist(), strict=True)}
        assert found == {words(number): number % 2 for number in range(EXAMPLES[split])}
    assert records.read_records(dataset, "unsupervised", "review", "feeling")[1].tolist() == [-1] * 5


def test_labels_may_be_numbers_or_words(dataset: Dataset) -> None:
    assert records.features(dataset, {"label": "stars"}) == ("review", "stars")
    texts, labels, names, _ = records.read_records(dataset, "train", "review", "stars")
    assert names == ["3", "4", "5"]
    for text, label in zip(texts.tolist(), labels.tolist(), strict=True):
        if text:
            number = int(text.decode().partition(":")[0].removeprefix("text "))
            assert names[label] == str(5 - number % 3)
    assert records.features(dataset, {"label": "mood", "text": "review"}) == ("review", "mood")
    texts, labels, names, _ = records.read_records(dataset, "test", "review", "mood")
    assert sorted(names) == sorted(MOODS)
    moods = {words(number): MOODS[number % 2] if number else None for number in range(12)}
    found = [names[label] if label >= 0 else None for label in labels.tolist()]
    assert found == [moods[text.decode()] for text in texts.tolist()]


def test_features_are_told_by_what_they_hold(dataset: Dataset) -> None:
    assert [name for name in sorted(dataset.features) if is_text(dataset.features[name])] == ["mood", "review"]
    with pytest.raises(DataError, match="has no feature 'reveiw' .for text.: did you mean 'review'"):
        records.features(dataset, {"text": "reveiw"})
    with pytest.raises(DataError, match="does not say which feature is the text: map columns text=FEATURE"):
        records.features(dataset, {"text": "stars"})
    with pytest.raises(
        DataError, match="which feature is the label: map columns label=FEATURE; there are feeling, stars"
    ):
        records.features(dataset, {"label": "heads"})
    with pytest.raises(
        DataError, match="columns maps 'image', which a tfds source of texts has no use for: there are text"
    ):
        records.features(dataset, {"image": "review"})


def test_damaged_records_are_bad_examples(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = dataset.splits["train"]
    whole = stored.read(np.arange(len(stored)))

    class Damaged:
        def __len__(self) -> int:
            return len(whole)

        def read(self, indices: np.ndarray) -> list[bytes]:
            return [b"\xff\xff" if row == 3 else b"" if row == 5 else whole[row] for row in indices.tolist()]

        def keys(self) -> np.ndarray:
            return stored.keys()

    monkeypatch.setitem(dataset.splits, "train", Damaged())
    for label in ("feeling", "mood", "stars"):
        texts, labels, names, damaged = records.read_records(dataset, "train", "review", label)
        assert sorted(damaged) == [3, 5]
        assert damaged[3].message == f"is no example with review and {label}: the file is damaged."
        assert labels[[3, 5]].tolist() == [-1, -1]
        assert texts[3] == b""
        assert len(names) == len(np.unique(labels[labels >= 0]))


def test_a_damaged_file_is_named(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(prepared / "array_record", tmp_path / "data")
    file = next((tmp_path / "data").rglob("*train.array_record*"))
    data = bytearray(file.read_bytes())
    at = data.index(b"review")
    data[at : at + 6] = b"rewiev"
    file.write_bytes(data)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    with pytest.raises(DataError, match=r"array_record\S+ is damaged: Corrupted .* Prepare it again\."):
        records.read_records(open_dataset("tfds:sixfold_texts"), "train", "review", "feeling")


def test_reading_imports_no_tensorflow(dataset: Dataset) -> None:
    code = (
        "import sys; from pipelines.sources.tfds import open_dataset; from tasks.text_sentiment.data import records;"
        "data = open_dataset('tfds:sixfold_texts');"
        "print(len(records.read_records(data, 'train', 'review', 'feeling')[0]));"
        "sys.exit('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent.parent, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["41"]
