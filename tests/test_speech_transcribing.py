"""From recordings to transcripts: windows without seams, whatever stands beside; files, also broken ones."""

import math
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import soundfile

from pipelines.errors import ConfigError
from pipelines.task import Raw, Record
from tasks.speech_recognition.answers import answer, table
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.data.inputs import inputs
from tasks.speech_recognition.decoding import Word
from tasks.speech_recognition.prediction import predictor
from tasks.speech_recognition.windows import windows

RATE = 8_000
ALPHABET = ["", " ", "a", "b", "c"]
ASSETS = {"alphabet": ALPHABET, "rate": RATE}
CONFIG = Config(rate=RATE, chunk_seconds=4.0, overlap_seconds=1.2, max_seconds=4.0)
STEP = 320
"""Samples of one answer."""


class Named(keras.layers.Layer):
    """Each answer is the label that the loudness of its samples names, in hundredths: so what is right is known."""

    def call(self, audio: Any) -> Any:
        frames = keras.ops.reshape(audio, (keras.ops.shape(audio)[0], keras.ops.shape(audio)[1] // STEP, STEP))
        label = keras.ops.cast(keras.ops.round(100 * keras.ops.max(frames, axis=-1)), "int32")
        return 20 * keras.ops.one_hot(label, len(ALPHABET))

    def compute_output_shape(self, shape: Any) -> Any:
        return (shape[0], None, len(ALPHABET))


@pytest.fixture(scope="module")
def network() -> keras.Model:
    given = {"audio": keras.Input((None,), name="audio"), "samples": keras.Input((), dtype="int32", name="samples")}
    return keras.Model(given, Named()(given["audio"]))


def sound(labels: list[int]) -> np.ndarray:
    """int16: a label for each answer."""
    return np.repeat(np.rint(np.array(labels) * 327.68), STEP).astype(np.int16)


def spelled(text: str) -> list[int]:
    """Answers that say a text: each character three times and a blank behind it."""
    return [label for sign in text for label in (*[ALPHABET.index(sign)] * 3, 0)]


def decoded(texts: list[str]) -> tuple[list[str], Raw]:
    clips = [sound(spelled(text)) for text in texts]
    splits = np.cumsum([0, *map(len, clips)])
    return [str(place) for place in range(len(texts))], {"audio": np.concatenate(clips), "audio_splits": splits}


def transcripts(found: Iterator[Record]) -> list[str]:
    return [str(record.answer["transcript"]) for record in found]


@pytest.mark.parametrize("block", [1, 37, 100, 1_000])
@pytest.mark.parametrize("length", [0, 1, 99, 100, 101, 180, 181, 260, 777])
def test_windows_cover_every_sample_once(length: int, block: int) -> None:
    whole = np.arange(length).astype(np.int16)
    found = list(windows((whole[start : start + block] for start in range(0, length, block)), 100, 20))
    kept = [one.samples[one.first : one.last] for one in found]
    np.testing.assert_array_equal(np.concatenate(kept), whole)
    assert [one.last is None for one in found] == [False] * (len(found) - 1) + [True]
    for one in found[1:]:
        assert one.first == 10
        assert len(one.samples) > 20
    assert max(len(one.samples) for one in found) <= 100


def test_long_recordings_have_no_seams(network: keras.Model) -> None:
    random = np.random.default_rng(0)
    texts = [" ".join("".join(random.choice(list("abc"), 3)) for _ in range(count)) for count in (40, 1, 9, 120, 3)]
    found = list(predictor(network, CONFIG, ASSETS, {})(iter([decoded(texts)])))
    assert transcripts(iter(found)) == texts
    assert [record.answer.get("parts", 1) for record in found] == [
        math.ceil(max(4 * len(text) * STEP / RATE - 1.2, 1) / 2.8) for text in texts
    ]
    assert [record.answer["seconds"] for record in found] == [4 * len(text) * STEP / RATE for text in texts]


def test_times_go_on_over_windows(network: keras.Model) -> None:
    text = "ab " * 60 + "c"
    options = {"timestamps": True}
    (record,) = predictor(network, CONFIG, ASSETS, options)(iter([decoded([text])]))
    starts = [word["start"] for word in record.answer["words"]]
    np.testing.assert_allclose(starts, 12 * STEP / RATE * np.arange(61), atol=1e-3)
    assert record.answer["words"][0]["end"] == pytest.approx(7 * STEP / RATE)
    assert record.answer["confidence"] == pytest.approx(1.0, abs=1e-3)


def test_neighbours_change_nothing(network: keras.Model) -> None:
    texts = ["abc", "a b c a b c a b c", "", "cab"]
    predict = predictor(network, CONFIG, ASSETS, {})
    alone = [next(iter(predict(iter([decoded([text])])))) for text in texts]
    together = list(predict(iter([decoded(texts)])))
    assert [one.answer for one in alone] == [one.answer for one in together]
    assert together[2].answer == {"transcript": "", "confidence": None, "seconds": 0.0}


@pytest.mark.parametrize(("texts", "said"), [(["  ", " "], True), ([" ", "a"], False)])
def test_it_is_said_where_nothing_is_written(
    network: keras.Model, texts: list[str], said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(list(predictor(network, CONFIG, ASSETS, {})(iter([decoded(texts)])))) == 2
    told = "".join(capsys.readouterr())
    assert ("all 2 transcripts are empty" in told) == said


def test_files_are_read_and_broken_ones_say_so(network: keras.Model, tmp_path: Path) -> None:
    good, broken, empty = tmp_path / "good.wav", tmp_path / "broken.wav", tmp_path / "empty.wav"
    soundfile.write(good, sound(spelled("ab ba" * 9)), RATE)
    broken.write_bytes(b"RIFF nothing of the kind")
    soundfile.write(empty, np.zeros(0, np.int16), RATE)
    unscaled = tmp_path / "unscaled.wav"
    soundfile.write(unscaled, sound(spelled("ab")).astype(np.float32), RATE, subtype="FLOAT")
    paths = [str(path) for path in (broken, good, tmp_path / "none.wav", empty, good, unscaled)]
    found = list(predictor(network, CONFIG, ASSETS, {})(inputs(paths, CONFIG, ASSETS)))
    assert [record.id for record in found] == paths
    assert [record.error is None for record in found] == [False, True, False, False, True, False]
    assert transcripts(iter([found[1], found[4]])) == ["ab ba" * 9] * 2
    assert "no such file" in str(found[2].error)
    assert "holds fractions up to 983, where 1 is full scale" in str(found[5].error)


def test_the_memory_of_a_long_file_is_that_of_a_window(network: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, sound(spelled("abc " * 1_500)), RATE)  # 16 minutes
    predict = predictor(network, CONFIG, ASSETS, {})
    list(predict(iter([decoded(["abc"])])))
    tracemalloc.start()
    (record,) = predict(inputs([str(path)], CONFIG, ASSETS))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert record.answer["transcript"] == " ".join(["abc"] * 1_500)
    assert most < 30e6  # the file alone has 31 MB as float32


def test_beams_and_their_options(network: keras.Model) -> None:
    options: dict[str, Any] = {"beams": 4, "timestamps": True}
    (record,) = predictor(network, CONFIG, ASSETS, options)(iter([decoded(["ab c" * 20])]))
    assert record.answer["transcript"] == "ab c" * 20
    assert record.answer["words"][1]["start"] == pytest.approx(12 * STEP / RATE, abs=0.05)
    judged = CONFIG.model_copy(update={"language_model": "words", "beams": 8})
    for config, given, why in (
        (CONFIG, {"lm_weight": 0.5, "beams": 8}, "this run has no language model"),
        (judged, {"lm_weight": 0.5, "beams": 1}, "of 1 beam there is nothing to choose: add --beams 16"),
    ):
        with pytest.raises(ConfigError, match=why):
            predictor(network, config, ASSETS, given)


def test_no_word_ends_behind_its_recording(network: keras.Model) -> None:
    whole = sound(spelled("abc"))[:-STEP]  # it ends with its last letter,
    cut = {"audio": whole[: -STEP // 2], "audio_splits": np.array([0, len(whole) - STEP // 2])}  # in mid-answer
    (record,) = predictor(network, CONFIG, ASSETS, {"timestamps": True})(iter([(["x"], cut)]))
    (word,) = record.answer["words"]
    assert (word["word"], word["end"]) == ("abc", record.answer["seconds"])


def test_a_row_for_each_recording_or_word() -> None:
    said = [Word("ab", 0.1, 0.3, 0.9), Word("c", 0.5, 0.6, 0.7)]
    shown = table(CONFIG, ASSETS)
    (row,) = shown.rows(Record("x", answer(said, 1.0)))
    assert row == {"parts": 1, "transcript": "ab c", "confidence": 0.8, "seconds": 1.0}
    rows = list(shown.rows(Record("x", answer(said, 1.0, timestamps=True))))
    assert [(row["word"], row["start"]) for row in rows] == [("ab", 0.1), ("c", 0.5)]
    assert all(row.keys() <= set(shown.columns) for row in rows)
