"""Speech read from every kind of source, and everything that can be wrong with it, by row."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow
import pytest
import soundfile
from pyarrow import parquet

from pipelines.errors import DataError
from pipelines.task import CheckReport, Data, Problem
from tasks.speech_recognition import sounds
from tasks.speech_recognition.alphabet import characters, encoded, learnt, normalised, steps
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.data import check_data, load_data, references
from tasks.speech_recognition.data.stores import ClipStore

RATE = 8_000
WORDS = ("one", "two", "three", "four", "five")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIXFOLD_CACHE", str(tmp_path_factory.mktemp("cache")))


def sound(number: int, seconds: float = 0.5, rate: int = RATE) -> np.ndarray:
    """Another one for each number."""
    return (np.sin((0.1 + number / 97) * np.arange(round(seconds * rate))) * 0.5).astype(np.float32)


def write(path: Path, number: int, seconds: float = 0.5, rate: int = RATE, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound(number, seconds, rate), rate, **options)
    return path


def rows(folder: Path, count: int = 20) -> list[dict[str, Any]]:
    """Of clips that are written too."""
    for number in range(count):
        write(folder / f"clips/{number}.wav", number)
    return [{"audio": f"clips/{number}.wav", "text": f"{WORDS[number % 5]} no {number % 3}"} for number in range(count)]


def manifest(folder: Path, found: list[dict[str, Any]], name: str = "all.jsonl") -> str:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return str(folder / name)


def config(data: str, **settings: Any) -> Config:
    return Config(data=data, **settings)


def stores(data: Data) -> Mapping[str, ClipStore]:
    return cast(Mapping[str, ClipStore], data.splits)


def texts_of(data: Data) -> list[str]:
    return sorted(text for store in stores(data).values() for text in store.texts(np.arange(len(store))))


def errors(report: CheckReport) -> list[tuple[str, str, str]]:
    return [(problem.kind, Path(problem.where.partition(" (")[0]).name, problem.message) for problem in report.errors]


def warnings(report: CheckReport) -> dict[str, Problem]:
    return {problem.kind: problem for problem in report.problems if problem.level == "warning"}


def test_a_manifest_becomes_clips_and_numbers(tmp_path: Path) -> None:
    data = sounds.load_data(config(manifest(tmp_path, rows(tmp_path))))
    assert {split: len(store) for split, store in data.splits.items()} == {"train": 16, "valid": 2, "test": 2}
    assert data.assets["rate"] == RATE
    alphabet = data.assets["alphabet"]
    assert alphabet[:2] == ["", " "]
    assert alphabet[1:] == sorted(alphabet[1:])
    store = stores(data)["train"]
    assert store.sizes is not None
    assert store.sizes.tolist() == [[4_000]] * 16
    picked = np.array([3, 0, 3])
    raw = store.fetch(picked)
    assert {name: column.dtype for name, column in raw.items()} == {
        "audio": np.int16,
        "audio_splits": np.int64,
        "text": np.int32,
        "text_splits": np.int64,
    }
    assert raw["audio_splits"].tolist() == [0, 4_000, 8_000, 12_000]
    written = ["".join(alphabet[one] for one in part) for part in np.split(raw["text"], raw["text_splits"][1:-1])]
    assert written == store.texts(picked)
    for place, name in enumerate(store.paths(picked)):
        found = raw["audio"][place * 4_000 : (place + 1) * 4_000] / 32_768
        np.testing.assert_allclose(found, sound(int(Path(name).stem)), atol=2.0**-15)
        assert f"all.jsonl line {int(Path(name).stem) + 1} ({name})" in store.ids(picked)[place]
    truth = references(store)
    assert truth["text"].tolist() == store.texts(np.arange(16))
    assert truth["seconds"].tolist() == [0.5] * 16
    assert set(truth["speaker"]) == {""}
    assert sorted(truth) == ["audio", "seconds", "speaker", "text"]


def test_the_same_data_are_the_same_and_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = manifest(tmp_path, rows(tmp_path))
    first = sounds.load_data(config(spec))
    monkeypatch.setattr(sounds, "decoded", None)
    again = sounds.load_data(config(spec))
    assert again.fingerprint == first.fingerprint
    for split, store in first.splits.items():
        every = np.arange(len(store))
        for name, column in store.fetch(every).items():
            np.testing.assert_array_equal(again.splits[split].fetch(every)[name], column)


def as_csv(folder: Path, found: list[dict[str, Any]]) -> str:
    lines = ["audio,text", *(f'{row["audio"]},"{row["text"]}"' for row in found)]
    (folder / "all.csv").write_text("\n".join(lines))
    return str(folder / "all.csv")


def as_tsv(folder: Path, found: list[dict[str, Any]]) -> str:
    """As Common Voice has it: its names of columns, and paths below clips."""
    named = [f"x\t{row['audio'].removeprefix('clips/')}\t{row['text']}" for row in found]
    lines = ["client_id\tpath\tsentence", *named]
    (folder / "all.tsv").write_text("\n".join(lines))
    return str(folder / "all.tsv")


def as_parquet(folder: Path, found: list[dict[str, Any]]) -> str:
    parquet.write_table(pyarrow.Table.from_pylist(found), folder / "all.parquet")
    return str(folder / "all.parquet")


def as_nemo(folder: Path, found: list[dict[str, Any]]) -> str:
    named = [
        {"audio_filepath": str(folder / row["audio"]), "duration": 0.5, "offset": 0.0, "text": row["text"]}
        for row in found
    ]
    return manifest(folder, named, "train_manifest.json")


def as_hugging_face(folder: Path, found: list[dict[str, Any]]) -> str:
    """As its folders of sound are."""
    lines = [f"{Path(row['audio']).name},{row['text']}" for row in found]
    (folder / "clips/metadata.csv").write_text("\n".join(["file_name,transcription", *lines]))
    return str(folder / "clips")


def as_pairs(folder: Path, found: list[dict[str, Any]]) -> str:
    for row in found:
        (folder / row["audio"]).with_suffix(".txt").write_text(row["text"] + "\n")
    return str(folder / "clips")


def as_librispeech(folder: Path, found: list[dict[str, Any]]) -> str:
    root = folder / "LibriSpeech"
    for number, row in enumerate(found):
        speaker, chapter = f"{number % 4 + 10}", "7"
        name = f"{speaker}-{chapter}-{number:04}"
        place = root / "train-clean-5" / speaker / chapter
        samples, rate = soundfile.read(folder / row["audio"])
        place.mkdir(parents=True, exist_ok=True)
        soundfile.write(place / f"{name}.flac", samples, rate)
        with (place / f"{speaker}-{chapter}.trans.txt").open("a") as file:
            file.write(f"{name} {row['text']}\n")
    (root / "README.TXT").write_text("")
    return str(root)


def as_kaldi(folder: Path, found: list[dict[str, Any]]) -> str:
    place = folder / "data"
    place.mkdir()
    names = [f"spk{number % 4}-{number}" for number in range(len(found))]
    pairs = list(zip(names, found, strict=True))
    (place / "wav.scp").write_text("".join(f"{name} ../{row['audio']}\n" for name, row in pairs))
    (place / "text").write_text("".join(f"{name} {row['text']}\n" for name, row in pairs))
    (place / "utt2spk").write_text("".join(f"{name} {name.partition('-')[0]}\n" for name in names))
    return str(place)


@pytest.mark.parametrize(
    "form", [as_csv, as_tsv, as_parquet, as_nemo, as_hugging_face, as_pairs, as_librispeech, as_kaldi]
)
def test_every_form_gives_the_same_clips(tmp_path: Path, form: Any) -> None:
    found = rows(tmp_path)
    data = sounds.load_data(config(form(tmp_path, found), split=(0.6, 0.2, 0.2)))
    assert texts_of(data) == sorted(row["text"] for row in found)
    own = np.stack([sound(number) * 32_768 for number in range(len(found))])
    for store in stores(data).values():
        raw = store.fetch(np.arange(len(store)))
        parts = np.split(raw["audio"], raw["audio_splits"][1:-1])
        for part, text in zip(parts, store.texts(np.arange(len(store))), strict=True):
            (number,) = np.flatnonzero(np.abs(own - part).max(axis=1) <= 1)
            assert text == found[number]["text"]
    assert check_data(config(form_again(tmp_path, form, found), split=(0.6, 0.2, 0.2))).errors == []


def form_again(folder: Path, form: Any, found: list[dict[str, Any]]) -> str:
    """The same place; what would be written twice is not."""
    known = {as_librispeech: "LibriSpeech", as_kaldi: "data"}
    return str(folder / known[form]) if form in known else form(folder, found)


def test_speakers_stay_together_where_there_are_three(tmp_path: Path) -> None:
    found = rows(tmp_path)
    for number, row in enumerate(found):
        row["speaker"] = f"s{number % 5}"
    data = load_data(config(manifest(tmp_path, found), split=(0.6, 0.2, 0.2)))
    speakers = {split: set(store.speakers) for split, store in stores(data).items()}
    assert {split: len(names) for split, names in speakers.items()} == {"train": 3, "valid": 1, "test": 1}
    assert len(set.union(*speakers.values())) == 5
    for number, row in enumerate(found):
        row["speaker"] = f"s{number % 2}"
    data = load_data(config(manifest(tmp_path, found)))
    assert [len(store) for store in data.splits.values()] == [16, 2, 2]
    assert set(stores(data)["train"].speakers) == {"s0", "s1"}
    # What a manifest calls a group is it, whoever speaks.
    for number, row in enumerate(found):
        row["group"] = f"g{number % 4}"
    data = load_data(config(manifest(tmp_path, found), split=(0.5, 0.25, 0.25), group_by="speaker"))
    assert [len(store) for store in data.splits.values()] == [10, 5, 5]
    assert set(references(data.splits["test"])["group_by"]) <= {"s0", "s1"}


def test_a_folder_with_a_manifest_for_each_split(tmp_path: Path) -> None:
    found = rows(tmp_path)
    for name, some in (("train", found[:12]), ("dev", found[12:16]), ("test", found[16:])):
        manifest(tmp_path, some, f"{name}.jsonl")
    data = load_data(config(str(tmp_path)))
    assert [len(store) for store in data.splits.values()] == [12, 4, 4]
    assert "given test split" in data.protocol


def test_splits_of_librispeech(tmp_path: Path) -> None:
    found = rows(tmp_path)
    root = Path(as_librispeech(tmp_path, found))
    for name, speaker in (("dev-clean", "11"), ("test-clean", "12"), ("test-other", "13")):
        (root / name).mkdir()
        (root / "train-clean-5" / speaker).rename(root / name / speaker)
    data = load_data(config(str(root)))
    assert {split: set(store.speakers) for split, store in stores(data).items()} == {
        "train": {"10"},
        "valid": {"11"},
        "test": {"12"},
    }
    (note,) = data.summary["warnings"]
    assert "test-clean is read, not test-other; another is named with --test" in note
    assert len(load_data(config(str(root / "train-clean-5"), test=str(root / "test-other"))).splits["test"]) == 5
    (root / "train-clean-5").rename(root / "dev-other")
    with pytest.raises(DataError, match="holds dev-clean, dev-other, test-clean, test-other and no folder of train"):
        load_data(config(str(root)))


def test_segments_of_kaldi(tmp_path: Path) -> None:
    write(tmp_path / "long.wav", 3, 9.75)
    for split, start in (("train", 0), ("test", 7)):
        place = tmp_path / split
        place.mkdir()
        (place / "wav.scp").write_text("rec ../long.wav\n")
        names = [f"u{start + number}" for number in range(3 if split == "test" else 7)]
        (place / "text").write_text("".join(f"{name} word {name}\n" for name in names))
        ends = {name: "-1" if name == "u9" else f"{name[1:]}.75" for name in names}
        (place / "segments").write_text("".join(f"{name} rec {name[1:]}.0 {ends[name]}\n" for name in names))
    data = sounds.load_data(config(str(tmp_path), split=(0.7, 0.3, 0)))
    whole = np.rint(sound(3, 9.75) * 32_768)
    for store in stores(data).values():
        raw = store.fetch(np.arange(len(store)))
        parts = np.split(raw["audio"], raw["audio_splits"][1:-1])
        for part, text in zip(parts, store.texts(np.arange(len(store))), strict=True):
            start = int(text.removeprefix("word u")) * RATE
            assert np.abs(part - whole[start : start + 6_000]).max() <= 1


def test_folders_of_kaldi(tmp_path: Path) -> None:
    place = Path(as_kaldi(tmp_path, rows(tmp_path)))
    root = tmp_path / "all"
    for name in ("train_clean_5", "dev_clean", "test_clean", "test_other", "lang"):
        (root / name).mkdir(parents=True)
        for file in place.iterdir() if name != "lang" else ():
            (root / name / file.name).write_text(file.read_text().replace("../clips", str(tmp_path / "clips")))
    data = load_data(config(str(root)))
    assert [len(store) for store in data.splits.values()] == [20, 20, 20]
    assert any(
        "test_clean is read, not test_other; another is named with --test" in note for note in data.summary["warnings"]
    )
    (root / "train_clean_5").rename(root / "train_a")
    (root / "dev_clean").rename(root / "train_b")
    with pytest.raises(DataError, match="several called train: name the one to train on"):
        load_data(config(str(root)))


def test_what_kaldi_lacks_is_named(tmp_path: Path) -> None:
    place = Path(as_kaldi(tmp_path, rows(tmp_path)))
    scp = (place / "wav.scp").read_text().splitlines()
    scp[0] = "spk0-0 sox ../clips/0.wav -t wav - |"
    scp[1] = f"spk1-1 {'x' * 5_000}"
    (place / "wav.scp").write_text("\n".join(scp[:-1]))
    (place / "segments").write_text("".join(f"{line.split()[0]} {line.split()[0]} 0.0 0.5\n" for line in scp[:5]))
    report = check_data(config(str(place), split=(1, 1, 1)))
    found = {re.split("[(,)]", one.where)[1]: (one.kind, one.message) for one in report.errors}
    assert len(found) == 17
    assert found["spk0-0"][0] == "command"
    assert "which is not run: decode it to a file first" in found["spk0-0"][1]
    assert found["spk1-1"] == ("unreadable", "cannot be read: File name too long.")
    assert found["spk1-5"] == ("malformed-row", "has no segment: write recording, start and end, in seconds.")
    (place / "segments").unlink()
    assert "spk3-19 does not stand in wav.scp" in errors(check_data(config(str(place))))[-1][2]


def test_what_kaldi_says_twice_is_named(tmp_path: Path) -> None:
    place = Path(as_kaldi(tmp_path, rows(tmp_path)))
    (tmp_path / "clips/1.wav").unlink()
    text = (place / "text").read_text()
    (place / "text").write_text(f"\n{text}spk0-0 another\n")
    (place / "wav.scp").write_text((place / "wav.scp").read_text() + "spk0-0 ../clips/0.wav\n")
    report = check_data(config(str(place)))
    assert [(problem.where.removeprefix(f"{place}/"), problem.message) for problem in report.errors] == [
        (f"text line 3 (spk1-1, {tmp_path}/clips/1.wav)", "does not exist."),
        (
            f"text line 22 (spk0-0, {tmp_path}/clips/0.wav)",
            "is a second spk0-0: leave one of the two out, or name it otherwise.",
        ),
    ]
    (place / "wav.scp").write_text((place / "wav.scp").read_text() + "spk0-0 ../clips/3.wav\n")
    with pytest.raises(DataError, match=r"wav\.scp line 22 says something else of spk0-0 than a line before it: drop"):
        load_data(config(str(place)))


def test_lines_of_librispeech_are_counted_with_the_blank_ones(tmp_path: Path) -> None:
    root = Path(as_librispeech(tmp_path, rows(tmp_path)))
    transcript = root / "train-clean-5/10/7/10-7.trans.txt"
    text = transcript.read_text().replace("\n", "\u2028x\r\n", 1)
    transcript.write_text(f"\n\n{text}10-7-9999 nobody\n")
    (missing,) = check_data(config(str(root))).errors
    assert missing.where.endswith("10-7.trans.txt line 8")
    assert missing.message == "names 10-7-9999, and there is no such sound beside it."


def test_pairs_that_are_none(tmp_path: Path) -> None:
    place = Path(as_pairs(tmp_path, rows(tmp_path)))
    (place / "3.txt").unlink()
    (place / "5.txt").write_text(" \n")
    (place / "lonely.txt").write_text("nobody says this")
    (place / "6.txt").rename(place / "6.TXT")
    report = check_data(config(str(place)))
    assert errors(report) == [
        ("no-text", "3.wav", "has no text beside it (3.txt)."),
        ("empty-text", "5.wav", "has a text that holds nothing but blanks: fill it in."),
    ]
    assert warnings(report)["not-read"].where.endswith("lonely.txt")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing/readme.md").write_text("x")
    with pytest.raises(DataError, match="holds no sound: give a manifest"):
        load_data(config(str(tmp_path / "nothing")))


def test_metadata_by_split(tmp_path: Path) -> None:
    for split, count in (("train", 6), ("validation", 3), ("test", 2)):
        named = [{"file_name": write(tmp_path / split / f"{split}{row}.flac", row).name} for row in range(count)]
        manifest(tmp_path / split, [{**row, "said": split} for row in named], "metadata.jsonl")
    data = load_data(config(str(tmp_path), columns="text=said"))
    assert [len(store) for store in data.splits.values()] == [6, 3, 2]


def test_pairs_by_split(tmp_path: Path) -> None:
    for split, count in (("train", 6), ("val", 3), ("test", 2)):
        for number in range(count):
            path = write(tmp_path / split / "deep" / f"{number}.flac", number)
            path.with_suffix(".txt").write_text(f"{split} {number}")
    data = load_data(config(str(tmp_path)))
    assert [len(store) for store in data.splits.values()] == [6, 3, 2]


def test_everything_that_is_wrong_is_named_by_row(tmp_path: Path) -> None:
    found = rows(tmp_path, 23)
    clips = tmp_path / "clips"
    (clips / "0.wav").write_bytes(b"no sound at all" * 50)
    (clips / "1.wav").unlink()
    (clips / "2.wav").write_bytes(b"")
    soundfile.write(clips / "3.wav", np.zeros(4_000, np.float32), RATE)
    soundfile.write(clips / "4.wav", np.resize([0.2, 0.2002], 4_000), RATE, subtype="FLOAT")  # beside a level
    soundfile.write(clips / "5.wav", np.zeros(0, np.float32), RATE)
    data = (clips / "6.wav").read_bytes()
    (clips / "6.wav").write_bytes(data[:3_000])
    write(clips / "7.wav", 7, 0.05)
    found[8]["duration"] = 2.0
    found[9]["text"] = "far too much to be said in half a second"
    found[10]["text"] = "  "
    found[11]["audio"] = ""
    found[12]["duration"] = "soon"
    soundfile.write(clips / "13.wav", sound(13) * 32_768, RATE, subtype="FLOAT")
    found[14]["audio"] = ["clips/14.wav"]
    found[15]["duration"] = 0.52
    found[16] |= {"offset": 0.25, "duration": 0}
    soundfile.write(clips / "17.wav", np.stack([sound(17), -sound(17)], axis=1), RATE)
    report = check_data(config(manifest(tmp_path, found), split=(4, 1, 1)))
    assert errors(report) == [
        ("undecodable", "all.jsonl line 1", "is no sound file, or a damaged one (format not recognised)."),
        ("missing-file", "all.jsonl line 2", "does not exist."),
        ("empty-file", "all.jsonl line 3", "is empty (0 bytes)."),
        ("silence", "all.jsonl line 4", "is silent (all its samples are alike): leave it out."),
        ("silence", "all.jsonl line 5", "is silent (it is never louder than -80 dB): leave it out."),
        ("no-sound", "all.jsonl line 6", "has a header and no sound behind it (0 samples): leave it out."),
        (
            "cut-short",
            "all.jsonl line 7",
            "is cut short: its header promises 8,000 bytes of sound and it holds 2,956: fetch it again.",
        ),
        ("too-short", "all.jsonl line 8", "is 0.050 s long, below min_seconds 0.1: leave it out."),
        (
            "other-duration",
            "all.jsonl line 9",
            "is 0.50 s long and the manifest says 2.00: is it the right file?",
        ),
        (
            "too-fast",
            "all.jsonl line 10",
            "says what takes 41 steps (a character each, one more between two alike) in 0.50 s, which have 13: mend "
            "the transcript, or lower subsampling or hop_ms.",
        ),
        ("empty-text", "all.jsonl line 11", "holds nothing but blanks: fill it in."),
        ("no-path", "all.jsonl line 12", "names no file: fill it in."),
        (
            "malformed-row",
            "all.jsonl line 13",
            "has the duration 'soon': seconds are a number that is not negative; mend the row.",
        ),
        (
            "unscaled",
            "all.jsonl line 14",
            "holds fractions up to 16,384, where 1 is full scale: divide them, or save whole numbers.",
        ),
        (
            "malformed-row",
            "all.jsonl line 15",
            "holds ['clips/14.wav'] where a path belongs: mend it, or map another column.",
        ),
        ("no-sound", "all.jsonl line 17", "is to give a clip of 0 s: mend the row."),
        ("silence", "all.jsonl line 18", "is silent once its 2 channels are mixed: turn one of them round."),
    ]
    assert report.errors[11].where == f"{tmp_path}/all.jsonl line 12"
    with pytest.raises(DataError, match="17 of 23 examples cannot be used"):
        load_data(config(manifest(tmp_path, found)))
    left = load_data(config(manifest(tmp_path, found), on_bad="skip", split=(4, 1, 1)))
    assert len(left.summary["skipped"]) == 17


def test_what_ctc_can_align_is_counted_as_the_network_does(tmp_path: Path) -> None:
    found = rows(tmp_path)
    found[0]["text"] = "abcdefghijklm"
    found[1]["text"] = "abcdefghijkll"
    spec = manifest(tmp_path, found)
    assert [where for _, where, _ in errors(check_data(config(spec)))] == ["all.jsonl line 2"]
    assert errors(check_data(config(spec, subsampling=2))) == []
    assert errors(check_data(config(spec, units="pieces"))) == []
    assert steps("") == 0
    assert steps("aab") == 4


def test_what_is_odd_is_said(tmp_path: Path) -> None:
    found = rows(tmp_path)
    soundfile.write(tmp_path / "clips/3.wav", np.clip(sound(3) * 8, -1, 1), RATE)
    write(tmp_path / "clips/4.wav", 4, rate=16_000)
    soundfile.write(tmp_path / "clips/5.wav", np.stack([sound(5), sound(6)], axis=1), RATE)
    found[7]["audio"] = "clips/8.wav"
    report = check_data(config(manifest(tmp_path, found)))
    assert report.errors == []
    notes = warnings(report)
    assert "line 4 " in notes["clipping"].where
    assert "1 clip is clipped, of the first" in notes["clipping"].message
    assert "line 5 " in notes["rates"].where
    assert notes["rates"].message == "the clips have several rates, 8,000 (19), 16,000 (1): all are resampled to one."
    assert "line 6 " in notes["channels"].where
    assert set(notes) == {"clipping", "rates", "channels"}
    assert report.summary["rates"] == {"8,000 Hz": 19, "16,000 Hz": 1}
    assert report.summary["seconds"]["total"] == 10.0


def test_a_peak_at_full_scale_is_not_clipped(tmp_path: Path) -> None:
    found = rows(tmp_path)
    soundfile.write(tmp_path / "clips/3.wav", sound(3) / np.abs(sound(3)).max(), RATE)
    assert warnings(check_data(config(manifest(tmp_path, found)))) == {}


def test_characters_that_training_has_none_of(tmp_path: Path) -> None:
    found = rows(tmp_path)
    manifest(tmp_path, found[:15], "train.jsonl")
    found[16]["text"] = "grüße"
    spec = manifest(tmp_path, found[15:], "test.jsonl")
    report = check_data(config(str(tmp_path)))
    note = warnings(report)["outside-alphabet"]
    assert (
        note.message == "1 clip says characters that training has none of ('g', 'ß', 'ü'): they cannot be recognised."
    )
    assert "test.jsonl line 2" in note.where
    data = sounds.load_data(config(str(tmp_path)))
    test = stores(data)["test"]
    row = test.texts(np.arange(5)).index("grüße")
    assert test.fetch(np.array([row]))["text"].size == 2
    # A finished model knows the characters that it knows.
    model = {"alphabet": ["", *" efnotuw"], "rate": 4_000}
    scored = sounds.load_test(config(spec), model)
    assert list(scored.splits) == ["test"]
    assert scored.assets == model
    assert stores(scored)["test"].sizes is not None
    assert cast(np.ndarray, scored.splits["test"].sizes).tolist() == [[2_000]] * 5
    assert any("the model does not know" in note for note in scored.summary["warnings"])
    # So does the run to start from; it can learn more.
    (tmp_path / "run/model").mkdir(parents=True)
    (tmp_path / "run/model/alphabet.json").write_text(json.dumps(["", *" 012efhnorutv"]))
    (tmp_path / "run/run.yaml").write_text("data: x\n")
    notes = check_data(config(str(tmp_path), pretrained=str(tmp_path / "run"))).problems
    assert [note.message for note in notes if "run to start from" in note.message] == [
        "6 clips say characters that the run to start from has none of ('i', 'w'): they are learnt from these clips "
        "alone."
    ]


def test_long_clips_are_left_out_and_counted_in_seconds(tmp_path: Path) -> None:
    found = rows(tmp_path)
    manifest(tmp_path, found[:10], "train.jsonl")
    manifest(tmp_path, found[10:15], "valid.jsonl")
    manifest(tmp_path, found[15:], "test.jsonl")
    for number in (1, 2, 11, 16):
        write(tmp_path / f"clips/{number}.wav", number, 3.0)
    data = sounds.load_data(config(str(tmp_path), max_seconds=2.0))
    assert [len(store) for store in data.splits.values()] == [8, 4, 5]
    assert [len(data.hashes[split]) for split in data.splits] == [8, 4, 5]
    assert data.summary["left_out_seconds"] == {"train": 6.0, "valid": 3.0}
    note = warnings(check_data(config(str(tmp_path), max_seconds=2.0)))["too-long"]
    assert note.message == "3 clips are longer than max_seconds 2, 9.0 s in all: not trained on."
    assert "train.jsonl line 2" in note.where
    assert data.summary["left_out"]["train"] == "2 of 10 clips, 6 s, longer than 2 s"
    assert data.summary["seconds_of"] == {"train": 4.0, "valid": 2.0, "test": 5.0}
    assert max(stores(data)["train"].seconds) == 0.5
    with pytest.raises(DataError, match="none of the 10 clips of train has at most 0.4 s: raise max_seconds"):
        sounds.load_data(config(str(tmp_path), max_seconds=0.4))


def test_the_rate_is_what_most_clips_have(tmp_path: Path) -> None:
    found = rows(tmp_path, 10)
    for number in range(6):
        write(tmp_path / f"clips/{number}.wav", number, rate=11_025)
    assert sounds.load_data(config(manifest(tmp_path, found), split=(8, 1, 1))).assets["rate"] == 11_025
    for number in range(6):
        write(tmp_path / f"clips/{number}.wav", number, rate=44_100)
    data = sounds.load_data(config(manifest(tmp_path, found), split=(8, 1, 1)))
    assert data.assets["rate"] == 16_000
    assert cast(np.ndarray, data.splits["train"].sizes).tolist() == [[8_000]] * 8
    data = sounds.load_data(config(manifest(tmp_path, found), rate=12_000, split=(8, 1, 1)))
    assert data.assets["rate"] == 12_000


def test_clips_cut_out_of_files_by_offset(tmp_path: Path) -> None:
    write(tmp_path / "long.flac", 3, 10.0)
    found = [
        {"audio_filepath": "long.flac", "offset": float(number), "duration": 0.5, "text": f"w{number}"}
        for number in range(10)
    ]
    data = sounds.load_data(config(manifest(tmp_path, found, "a.json")))
    raw = data.splits["train"].fetch(np.array([0]))
    start = int(stores(data)["train"].texts(np.array([0]))[0][1:]) * RATE
    assert np.abs(raw["audio"] - np.rint(sound(3, 10.0) * 32_768)[start : start + 4_000]).max() <= 1
    found[4]["duration"] = 30.0
    (problem,) = check_data(config(manifest(tmp_path, found, "a.json"))).errors
    assert problem.kind == "beyond-end"
    assert "line 5" in problem.where


def test_columns_are_mapped_or_known(tmp_path: Path) -> None:
    found = [{"clip": row["audio"], "said": row["text"], "by": "x"} for row in rows(tmp_path)]
    spec = manifest(tmp_path, found)
    with pytest.raises(DataError, match="has no column 'audio' .name the one with --columns audio=COLUMN."):
        load_data(config(spec))
    data = load_data(config(spec, columns="audio=clip text=said speaker=by"))
    assert set(stores(data)["train"].speakers) == {"x"}


def test_a_clip_that_stands_in_two_splits(tmp_path: Path) -> None:
    found = rows(tmp_path)
    manifest(tmp_path, found[:15], "train.jsonl")
    manifest(tmp_path, found[14:], "test.jsonl")
    note = warnings(check_data(config(str(tmp_path))))["duplicate-across-splits"]
    assert "train.jsonl line 15" in note.where
    assert "test.jsonl line 1" in note.where


def test_a_file_that_changes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = manifest(tmp_path, rows(tmp_path))

    def vanish(rate: Any) -> int:
        for path in (tmp_path / "clips").iterdir():
            os.truncate(path, 100)
        return RATE

    monkeypatch.setattr(sounds, "_usual_rate", vanish)
    with pytest.raises(DataError, match="It could be read before: was it changed meanwhile"):
        sounds.load_data(config(spec))


def test_sources_that_are_none(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(DataError, match=r"of a kind \(arrays\) that speech is not read from: give a manifest"):
        load_data(config(str(tmp_path / "a.npz")))
    with pytest.raises(DataError, match=r"a\.wav is one file that speech is not read from: give a manifest"):
        load_data(config(str(write(tmp_path / "a.wav", 1))))
    with pytest.raises(DataError, match="there is no built-in sample 'sample:two'"):
        load_data(config("sample:two"))
    with pytest.raises(DataError, match="group_by is for tables"):
        load_data(config("sample", group_by="speaker"))


def test_transcripts_in_pieces(tmp_path: Path) -> None:
    spec = manifest(tmp_path, rows(tmp_path))
    data = sounds.load_data(config(spec, units="pieces"))
    names = data.assets["alphabet"]
    assert names[0] == ""
    assert all(names[1:])
    assert len(set(names)) == len(names)
    assert any(name.startswith(" ") and len(name) > 2 for name in names)
    for store in (*stores(data).values(), stores(sounds.load_test(config(spec, units="pieces"), data.assets))["test"]):
        raw = store.fetch(np.arange(len(store)))
        assert raw["text"].min() > 0
        parts = np.split(raw["text"], raw["text_splits"][1:-1])
        assert ["".join(names[one] for one in part).strip() for part in parts] == store.texts(np.arange(len(store)))


def test_a_letter_keeps_its_marks() -> None:
    assert characters("l áswé ε\u0301ω\u0302\u0301!") == [
        "l",
        " ",
        "á",
        "s",
        "w",
        "é",
        " ",
        "ε\u0301",
        "ω\u0302\u0301",
        "!",
    ]
    assert characters("कि ខ្ញុំ") == ["कि", " ", "ខ្", "ញុំ"]
    assert normalised(" A\u0301  b\t", lowercase=False) == "Á b"
    assert normalised(" A\u0301  b\t", lowercase=True) == "á b"
    alphabet = learnt(["ba", "á b"])
    assert alphabet == ["", " ", "a", "b", "á"]
    ids, splits = encoded(["ab", "", "x á"], alphabet)
    assert ids.tolist() == [2, 3, 1, 4]
    assert splits.tolist() == [0, 2, 2, 4]
    assert characters("\u0301a") == ["\u0301", "a"]
    assert characters("") == []
