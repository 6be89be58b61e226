"""Error rates beside counts by hand and beside jiwer's own figures; what the report shows."""

import json
from typing import Any

import jiwer
import numpy as np
import pytest

from pipelines.errors import DataError
from pipelines.task import Record
from tasks.speech_recognition import measures
from tasks.speech_recognition.charts import in_seconds
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.scores import score, targets

GIVEN = ["the cat sat", "a dog", "It's ten o'clock.", ""]
FOUND = ["the bat sat on", "dog", "its ten o'clock", ""]


def records(texts: list[str]) -> list[Record]:
    return [Record(f"clip {place}", {"transcript": text, "confidence": None}) for place, text in enumerate(texts)]


def references(texts: list[str], speakers: list[str] | None = None) -> dict[str, np.ndarray]:
    named = speakers or [""] * len(texts)
    return {
        "text": np.array(texts, object),
        "seconds": 1.0 + np.arange(len(texts)),
        "speaker": np.array(named, object),
        "audio": np.array([""] * len(texts), object),
    }


def test_edits_by_hand() -> None:
    words = measures.words(FOUND, GIVEN)
    # Substitutions, insertions, deletions, words that were said.
    np.testing.assert_array_equal(words.counts, [[1, 1, 0, 3], [0, 0, 1, 2], [2, 0, 0, 3], [0, 0, 0, 0]])
    assert words.confused()[("cat", "bat")] == 1
    assert words.confused()[("", "on")] == 1
    assert words.confused()[("a", "")] == 1
    np.testing.assert_allclose(words.each, [2 / 3, 1 / 2, 2 / 3, 0])


def test_rates_are_jiwers() -> None:
    random = np.random.default_rng(0)
    given, found = (
        [" ".join(random.choice(["ka", "ki", "ko", "ku"], count)) for count in random.integers(1, 9, 40)]
        for _ in range(2)
    )
    for one, wanted in (
        (measures.words(found, given), jiwer.wer(given, found)),
        (measures.characters(found, given), jiwer.cer(given, found)),
    ):
        assert float(measures.ratio(one.rates.mean(axis=0)[None])[0]) == pytest.approx(wanted)


def test_the_normaliser_does_what_it_says() -> None:
    assert measures.normalised("  It's TEN o’clock, Sir! ") == "it's ten o’clock sir"
    assert measures.normalised("‘quoted’ 100 % — ①") == "quoted 100 1"
    assert measures.normalised("Straße ﬁn") == "strasse fin"
    assert measures.normalised("'") == ""
    assert measures.normalised("wáàri") == "wáàri"  # tones stay


def test_scores_have_intervals_and_are_told_apart() -> None:
    speakers = ["anna", "ben", "anna", "ben"]
    found = score(records(FOUND), references(GIVEN, speakers), Config(), {})
    assert found.headline == "wer"
    assert found.scores["wer"].value == pytest.approx(5 / 8)
    assert found.scores["wer_normalised"].value == pytest.approx(4 / 8)  # o'clock. is right, it's and its differ
    assert found.scores["substitutions"].value == pytest.approx(3 / 8)
    assert found.scores["insertions"].value == pytest.approx(1 / 8)
    assert found.scores["deletions"].value == pytest.approx(1 / 8)
    assert found.scores["wer"].low is not None
    assert list(found.breakdowns["speaker"]) == ["anna", "ben"]
    assert found.breakdowns["speaker"]["ben"] == {"examples": 2, "wer": 0.5, "cer": 0.4}
    assert found.breakdowns["intervals"] == {"resampled recordings": {"examples": 4}}
    assert sum(row["examples"] for row in found.breakdowns["duration"].values()) == 4
    json.dumps(found.breakdowns)
    assert targets(references(GIVEN), {}) == GIVEN


def test_many_speakers_are_resampled_whole() -> None:
    given = ["one two three four"] * 60
    speakers = [f"s{place % 12}" for place in range(60)]
    # One speaker is never understood, the others always.
    found = ["" if name == "s0" else "one two three four" for name in speakers]
    together = score(records(found), references(given, speakers), Config(), {})
    apart = score(records(found), references(given), Config(), {})
    assert together.breakdowns["intervals"] == {"resampled speakers": {"examples": 12}}
    assert [one.scores["wer"].value for one in (together, apart)] == pytest.approx([1 / 12, 1 / 12])
    wide, narrow = (one.scores["wer"].high - one.scores["wer"].low for one in (together, apart))  # type: ignore[operator]
    assert wide > 1.4 * narrow


def test_what_has_no_transcript_has_no_score() -> None:
    broken = [*records(["a"]), Record("bad.wav", {}, error="it is empty")]
    with pytest.raises(DataError, match=r"bad\.wav: it is empty"):
        score(broken, references(["a", "b"]), Config(), {})
    with pytest.raises(DataError, match="1 predictions for 2"):
        score(records(["a"]), references(["a", "b"]), Config(), {})


def test_durations_read_as_seconds() -> None:
    assert in_seconds("12 to 1,034 tenths of a second") == "1.2 to 103.4 s"
    assert in_seconds("7 tenths of a second") == "0.7 s"


def test_groups_of_a_column_have_scores() -> None:
    about: dict[str, Any] = {**references(GIVEN), "group_by": np.array(["x", "y", "x", "y"], object)}
    found = score(records(FOUND), about, Config(group_by="dialect"), {})
    assert set(found.breakdowns["by_group"]["groups"]) == {"x", "y"}
    assert found.breakdowns["by_group"]["groups"]["y"]["scores"]["wer"]["value"] == pytest.approx(0.5)
