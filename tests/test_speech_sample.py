"""The built-in sample, and the digits that are put together from other people's recordings."""

import importlib.util
import json
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import soundfile

from pipelines.errors import DataError
from tasks.speech_recognition import sounds
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.data import check_data, sample
from tasks.speech_recognition.data.compose_digits import WORDS, compose
from tasks.speech_recognition.data.make_sample import VOICES, Synthesiser, recorded, texts
from tasks.speech_recognition.data.stores import ClipStore

_SPEAKS = importlib.util.find_spec("espeakng_loader") is not None


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIXFOLD_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_the_sample_is_what_the_script_says() -> None:
    spoken = sample.sample()
    assert [clip.text for clip in spoken] == texts()
    assert {clip.speaker for clip in spoken} == set(VOICES)
    assert sample.SOUND.stat().st_size < 1_600_000
    ends = np.cumsum([clip.samples for clip in spoken])
    assert [clip.start for clip in spoken] == [0, *ends[:-1].tolist()]
    about = soundfile.info(sample.SOUND)
    assert (about.samplerate, about.channels, about.frames) == (sample.RATE, 1, ends[-1])


def test_the_sample_can_be_used() -> None:
    report = check_data(Config())
    assert report.problems == []
    data = sounds.load_data(Config())
    assert {split: len(store) for split, store in data.splits.items()} == {"train": 400, "valid": 50, "test": 50}
    assert data.assets["rate"] == sample.RATE
    assert "synthetic" in data.protocol
    stores = {split: cast(ClipStore, store) for split, store in data.splits.items()}
    said = {split: set(store.texts(np.arange(len(store)))) for split, store in stores.items()}
    assert not said["test"] & (said["train"] | said["valid"])
    words = {split: {word for text in known for word in text.split()} for split, known in said.items()}
    assert len(words["train"]) == 19
    assert words["test"] <= words["train"]
    assert set(stores["test"].speakers) == set(stores["train"].speakers) == set(VOICES)
    # What is cut out of the one file by seeking is what lies there.
    whole, _ = soundfile.read(sample.SOUND, dtype="float32")
    spoken = sample.sample()
    for place, row in enumerate(stores["test"].rows.tolist()):
        raw = stores["test"].fetch(np.array([place]))
        clip = whole[spoken[row].start : spoken[row].start + spoken[row].samples]
        np.testing.assert_allclose(raw["audio"] / 32_768, clip, atol=2.0**-15)


@pytest.mark.skipif(not _SPEAKS, reason="espeakng-loader, of the extra [dev], is not installed")
def test_the_synthesiser_still_says_it() -> None:
    """As long as it was, and like it: Vorbis has left out of it what is not heard."""
    whole, _ = soundfile.read(sample.SOUND, dtype="float32")
    for clip, (voice, text, sound) in zip(sample.sample()[:8], recorded(), strict=False):
        assert (clip.speaker, clip.text, clip.samples) == (voice, text, len(sound))
        kept = whole[clip.start : clip.start + clip.samples]
        assert np.corrcoef(kept, sound)[0, 1] > 0.9
    with pytest.raises(ValueError, match="no voice xx-nobody"):
        Synthesiser().say("one", "xx-nobody", 150, 50)


def recordings(folder: Path, numbers: tuple[int, ...] = (0, 1, 5, 6, 10, 11, 12)) -> Path:
    """Of two speakers: each recording another constant, by which it is told."""
    (folder / "recordings").mkdir(parents=True)
    for digit in range(10):
        for place, speaker in enumerate(("ann", "bob")):
            for number in numbers:
                level = 3_000 + digit * 1_000 + place * 500 + number * 20
                samples = np.full(400, level, np.int16)
                soundfile.write(folder / f"recordings/{digit}_{speaker}_{number}.wav", samples, 8_000)
    return folder


def levels(path: Path) -> list[int]:
    """What was put together, in order."""
    samples, _ = soundfile.read(path, dtype="int16")
    loud = np.where(samples > 1_000, samples, 0)
    starts = np.flatnonzero((loud[1:] > 0) & (loud[:-1] == 0))
    assert np.count_nonzero(loud) == 400 * len(starts)
    return loud[starts + 1].tolist()


def test_digits_are_composed_of_one_speaker_and_of_their_split(tmp_path: Path) -> None:
    compose(recordings(tmp_path / "fsdd"), tmp_path / "out", {"train": 12, "valid": 4, "test": 4})
    drawn: dict[str, set[int]] = {}
    for split, count in (("train", 12), ("valid", 4), ("test", 4)):
        rows = [json.loads(line) for line in (tmp_path / f"out/{split}.jsonl").read_text().splitlines()]
        assert len(rows) == count
        assert [row["speaker"] for row in rows] == ["ann", "bob"] * (count // 2)
        for row in rows:
            found = levels(tmp_path / "out" / row["audio"])
            digits = [(level - 3_000) // 1_000 for level in found]
            assert 3 <= len(digits) <= 7
            assert row["text"] == " ".join(WORDS[digit] for digit in digits)
            assert {(level - 3_000) % 1_000 // 500 for level in found} == {int(row["speaker"] == "bob")}
            assert row["duration"] == round(soundfile.info(tmp_path / "out" / row["audio"]).duration, 3)
            drawn.setdefault(split, set()).update((level % 500) // 20 for level in found)
    assert drawn == {"train": {10, 11, 12}, "valid": {5, 6}, "test": {0, 1}}


def test_the_same_seed_composes_the_same(tmp_path: Path) -> None:
    source = recordings(tmp_path / "fsdd")
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        compose(source, tmp_path / name, {"train": 4, "valid": 2, "test": 2}, seed=seed)
    contents = {
        name: [path.read_bytes() for path in sorted((tmp_path / name).rglob("*")) if path.is_file()] for name in "abc"
    }
    assert contents["a"] == contents["b"]
    assert contents["a"] != contents["c"]


def test_what_cannot_be_composed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lacks recordings of some digit for train"):
        compose(tmp_path, tmp_path / "out", {"train": 1})
    source = recordings(tmp_path / "fsdd")
    (source / "recordings/7_bob_5.wav").unlink()
    (source / "recordings/7_bob_6.wav").unlink()
    with pytest.raises(DataError, match="lacks recordings of some digit of bob for valid"):
        compose(source, tmp_path / "out", {"train": 1})
    with pytest.raises(DataError, match="is there already and not empty"):
        compose(source, source, {"train": 1})
