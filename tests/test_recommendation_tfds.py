"""Interactions of TensorFlow Datasets as they lie on disk; written by the test, never downloaded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from pipelines.errors import DataError
from tasks.recommendation import data
from tasks.recommendation.config import Config


# tfds has no types.
class Movielens(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg, misc]
    """Ratings as tfds' own movielens has them: the same names and types."""

    VERSION = tfds.core.Version("0.1.1")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="100k-ratings")]
    code_path = None  # it looks for files beside the code with a package that is not installed

    def _info(self) -> Any:
        features = {
            "movie_id": np.str_, "movie_title": np.str_, "user_id": np.str_, "timestamp": np.int64,
            "user_rating": np.float32,
        }  # fmt: skip
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for number in range(100):
            yield (
                number,
                {
                    "movie_id": str(number % 7),
                    "movie_title": f"title {number % 7}",
                    "user_id": "" if number == 5 else f"user {number % 9}",
                    "timestamp": 880_000_000 + 1000 * number,
                    "user_rating": float(number % 5 + 1),
                },
            )


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    tfds.disable_progress_bar()
    builder = Movielens(data_dir=str(tmp_path), config="100k-ratings", file_format="array_record")
    builder.download_and_prepare()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    return "tfds:movielens/100k-ratings"


def test_movielens_is_read_by_its_own_names(prepared: str) -> None:
    with pytest.raises(DataError, match=r"100k-ratings train\[\d+\]: has no 'user_id'"):
        data.load_data(Config(data=prepared))
    found = data.load_data(Config(data=prepared, on_bad="skip"))
    assert set(found.assets["users"]) == {f"user {n}" for n in range(9)}
    assert set(found.assets["items"]) == set("0123456")
    assert found.summary["interactions"] + found.summary["duplicates"] == 99
    assert "1997-11-" in found.protocol
    assert found.assets["origin"] == {
        "ordered": False, "times": True, "ratings": True, "given": False, "sampled": False,
    }  # fmt: skip
    with pytest.raises(DataError, match="no feature for item: map it .* there are .*movie_title"):
        data.load_data(Config(data=prepared, columns="user=user_id item=film"))
    titles = data.load_data(Config(data=prepared, columns="user=user_id item=movie_title", on_bad="skip"))
    assert titles.assets["items"][0].startswith("title ")
    assert titles.assets["origin"]["times"] is False
