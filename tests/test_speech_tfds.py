"""Speech of TensorFlow Datasets as it lies on disk; written by the tests, never downloaded."""

import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import soundfile
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from pipelines.audio.files import decoded
from pipelines.errors import DataError
from pipelines.sources.scan import BadExample
from tasks.speech_recognition import sounds
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.data import check_data
from tasks.speech_recognition.data.records import Stored
from tasks.speech_recognition.data.stores import ClipStore

EXAMPLES = {"train_clean100": 1, "train": 12, "validation": 3, "test": 3}
WORDS = ["go", "left", "stop", "_silence_"]
RATE = 16_000


def samples(number: int) -> np.ndarray:
    return np.rint(np.sin((0.1 + number / 70) * np.arange(2_400)) * 10_000).astype(np.int16)


class _Speech(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg, misc]
    """Numbered tones, said to be words."""

    VERSION = tfds.core.Version("1.0.0")
    code_path = None  # it looks for files beside the code with a package that is not installed
    FEATURES: Any = None
    supervised: tuple[str, str]

    def _info(self) -> Any:
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(self.features()), supervised_keys=self.supervised
        )

    def _split_generators(self, manager: Any) -> dict[str, Any]:
        return {name: self._generate_examples(name) for name in EXAMPLES}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        offset = list(EXAMPLES).index(split) * 40
        for number in range(EXAMPLES[split]):
            yield number, self.example(number + offset)

    def features(self) -> dict[str, Any]:
        raise NotImplementedError

    def example(self, number: int) -> dict[str, Any]:
        raise NotImplementedError


class SixfoldLibrispeech(_Speech, skip_registration=True):  # type: ignore[call-arg]
    """As librispeech is: samples as a list of numbers, a text, a speaker."""

    supervised = ("speech", "text")

    def features(self) -> dict[str, Any]:
        return {
            "speech": tfds.features.Audio(sample_rate=RATE, dtype=np.int16, file_format="flac"),
            "text": tfds.features.Text(),
            "speaker_id": np.int64,
            "id": np.str_,
        }

    def example(self, number: int) -> dict[str, Any]:
        return {"speech": samples(number), "text": f"W{number % 40}", "speaker_id": number % 4, "id": str(number)}


class SixfoldCommands(_Speech, skip_registration=True):  # type: ignore[call-arg]
    """As speech_commands is: a class for each word."""

    supervised = ("audio", "label")

    def features(self) -> dict[str, Any]:
        return {
            "audio": tfds.features.Audio(sample_rate=RATE, dtype=np.int16, file_format="wav"),
            "label": tfds.features.ClassLabel(names=WORDS),
        }

    def example(self, number: int) -> dict[str, Any]:
        return {"audio": samples(number), "label": number % 3 if number % 40 != 3 else 3}


class SixfoldLazy(_Speech, skip_registration=True):  # type: ignore[call-arg]
    """As librispeech's config lazy_decode is: sound files as they were."""

    supervised = ("speech", "text")

    def features(self) -> dict[str, Any]:
        sound = tfds.features.Audio(sample_rate=8_000, dtype=np.int16, file_format="wav", lazy_decode=True)
        return {"speech": sound, "text": tfds.features.Text()}

    def example(self, number: int) -> dict[str, Any]:
        file = BytesIO()
        soundfile.write(file, samples(number), RATE, format="WAV")
        file.seek(0)
        return {"speech": file, "text": f"w{number % 40}"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of data for each format."""
    root = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()
    for name in ("array_record", "tfrecord"):
        for kind in (SixfoldLibrispeech, SixfoldCommands, SixfoldLazy):
            builder = kind(data_dir=str(root / name), file_format=name)
            builder.download_and_prepare()
    return root


@pytest.fixture(params=["array_record", "tfrecord"])
def stored(prepared: Path, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared / request.param))
    monkeypatch.setenv("SIXFOLD_CACHE", str(tmp_path))
    return cast(Path, prepared / request.param)


def heard(store: ClipStore) -> list[tuple[int, str]]:
    """The number that each clip was made from, and its text."""
    raw = store.fetch(np.arange(len(store)))
    tones = np.stack([samples(number) for number in range(160)])
    parts = np.split(raw["audio"], raw["audio_splits"][1:-1])
    numbers = [int(np.flatnonzero((tones == part).all(axis=1))[0]) for part in parts]
    return list(zip(numbers, store.texts(np.arange(len(store))), strict=True))


def test_librispeech(stored: Path) -> None:
    data = sounds.load_data(Config(data="tfds:sixfold_librispeech", lowercase=True))
    assert data.assets["rate"] == RATE
    for split, first, count in (("train", 40, 12), ("valid", 80, 3), ("test", 120, 3)):
        store = cast(ClipStore, data.splits[split])
        found = heard(store)
        assert sorted(number for number, _ in found) == list(range(first, first + count))
        assert all(text == f"w{number % 40}" for number, text in found)
        assert store.speakers.tolist() == [str(number % 4) for number, _ in found]
        assert store.paths(np.arange(1)) == [""]
        assert store.ids(np.arange(1))[0].startswith("sixfold_librispeech/1.0.0 ")
    assert any("train_clean100" in note for note in data.summary["warnings"])


def test_speech_commands(stored: Path) -> None:
    report = check_data(Config(data="tfds:sixfold_commands"))
    assert {problem.kind for problem in report.errors} == {"no-word"}
    assert len(report.errors) == 1
    assert "is of the class _silence_, which is no word that is said" in report.errors[0].message
    data = sounds.load_data(Config(data="tfds:sixfold_commands", on_bad="skip"))
    found = heard(cast(ClipStore, data.splits["train"]))
    assert sorted(number for number, _ in found) == [number for number in range(40, 52) if number != 43]
    assert all(text == WORDS[number % 3] for number, text in found)


def test_sound_files_in_records(stored: Path) -> None:
    """They say themselves what rate they have."""
    data = sounds.load_data(Config(data="tfds:sixfold_lazy"))
    assert data.assets["rate"] == RATE
    found = heard(cast(ClipStore, data.splits["train"]))
    assert sorted(found) == [(number, f"w{number % 40}") for number in range(40, 52)]


@pytest.mark.parametrize("packing", ["bytes", "zlib"])
def test_packed_samples(packing: str) -> None:
    """As the features' encoding has them; tfds itself fails to write such sound from arrays."""
    kept = tfds.features.Audio(sample_rate=RATE, dtype=np.int16, encoding=packing).to_json_content()
    assert str(kept.encoding).lower() == packing
    data = samples(7).tobytes()
    stored = Stored("audio", RATE, kept.dtype, 1, packing)
    message = tf_example_pb2.Example().features.feature["audio"]
    message.bytes_list.value.append(zlib.compress(data) if packing == "zlib" else data)
    with stored.opened(message) as sound:
        np.testing.assert_array_equal(decoded(sound, RATE), samples(7))
    message.bytes_list.value[0] = data[:-1]
    with pytest.raises(BadExample, match="holds a damaged audio"), stored.opened(message):
        pass


def test_features_are_told_by_what_they_hold(stored: Path) -> None:
    with pytest.raises(DataError, match="has no feature 'speach' that could be the audio: did you mean 'speech'"):
        check_data(Config(data="tfds:sixfold_librispeech", columns="audio=speach"))
    with pytest.raises(DataError, match="columns maps 'group', which a tfds source of speech has no use for"):
        check_data(Config(data="tfds:sixfold_librispeech", columns="group=id"))
    report = check_data(Config(data="tfds:sixfold_librispeech", columns="text=id speaker=id"))
    assert report.errors == []
