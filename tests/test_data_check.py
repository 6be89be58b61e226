"""What is said about images that are damaged, mislabelled or doubled."""

import json
import os
import struct
import zlib
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import DataError
from pipelines.sources.scan import BadExample
from pipelines.task import CheckReport
from tasks.image_classification.config import Config
from tasks.image_classification.data import check_data, load_data
from tasks.image_classification.data.inspection import FORMATS, inspect, quiet_pillow, read_file


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIXFOLD_CACHE", str(tmp_path_factory.mktemp("cache")))


def picture(number: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(number).integers(0, 255, (24, 32, 3)).astype(np.uint8))


def encoded(format: str, mode: str = "RGB", number: int = 0, **options: Any) -> bytes:
    buffer = BytesIO()
    image = (
        Image.fromarray(np.arange(768, dtype=np.uint16).reshape(24, 32))
        if mode == "I;16"
        else picture(number).convert(mode)
    )
    image.save(buffer, format, **options)
    return buffer.getvalue()


def photos(root: Path, classes: tuple[str, ...] = ("ant", "bee"), each: int = 12, first: int = 0) -> Path:
    for place, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            (root / name / f"{number:02}.jpg").write_bytes(encoded("JPEG", number=first + place * 1000 + number))
    return root


def kinds(report: CheckReport) -> Counter[str]:
    return Counter(problem.kind for problem in report.problems)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize(
    ("data", "facts"),
    [
        (encoded("JPEG"), (32, 24, 3, "JPEG")),
        (encoded("JPEG", "L"), (32, 24, 1, "JPEG")),
        (encoded("JPEG", "CMYK"), (32, 24, 3, "JPEG")),
        (encoded("JPEG", progressive=True), (32, 24, 3, "JPEG")),
        (encoded("JPEG", exif=exif(6)), (24, 32, 3, "JPEG")),
        (encoded("JPEG", exif=exif(3)), (32, 24, 3, "JPEG")),
        (encoded("PNG", exif=exif(6)), (32, 24, 3, "PNG")),
        (encoded("WEBP", exif=exif(6)), (32, 24, 3, "WEBP")),
        (encoded("PNG") + b"anything", (32, 24, 3, "PNG")),
        (encoded("JPEG") + b"anything", (32, 24, 3, "JPEG")),
        (encoded("JPEG") + b"a film, perhaps \xff\xda", (32, 24, 3, "JPEG")),
        (encoded("JPEG", exif=b"Exif\0\0 broken"), (32, 24, 3, "JPEG")),
        (encoded("PNG"), (32, 24, 3, "PNG")),
        (encoded("PNG", "1"), (32, 24, 1, "PNG")),
        (encoded("PNG", "LA"), (32, 24, 2, "PNG")),
        (encoded("PNG", "P"), (32, 24, 3, "PNG")),
        (encoded("PNG", "P", transparency=0), (32, 24, 4, "PNG")),
        (encoded("PNG", "RGBA"), (32, 24, 4, "PNG")),
        (encoded("PNG", "I;16"), (32, 24, 1, "PNG")),
        (encoded("BMP"), (32, 24, 3, "BMP")),
        (encoded("WEBP"), (32, 24, 3, "WEBP")),
    ],
)
def test_what_decodes_is_measured(data: bytes, facts: tuple[int, int, int, str]) -> None:
    with quiet_pillow():
        _, (width, height, channels, code, _) = inspect(data)
    assert (width, height, channels, FORMATS[code]) == facts


def bomb() -> bytes:
    """A PNG of a few bytes that claims 400 million pixels."""
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(b""), b"IEND"]
    framed = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (encoded("JPEG")[:-30], "undecodable", "does not decode: image file is truncated"),
        (encoded("JPEG")[:100], "undecodable", "does not decode"),
        (encoded("PNG")[:-30], "undecodable", "does not decode"),
        (encoded("PNG")[:60] + b"\0\0\0\0" + encoded("PNG")[64:], "undecodable", "does not decode"),
        (encoded("PNG")[:-12], "undecodable", "does not decode: image file is truncated (its IEND chunk is missing)"),
        (encoded("PNG")[:-1], "undecodable", "does not decode: image file is truncated"),
        (encoded("BMP")[:-1], "undecodable", "does not decode"),
        (encoded("BMP") + b"\0\0", "undecodable", "does not decode: 2 bytes follow its pixels"),
        (b"<html>not found</html>", "undecodable", "is no image, or one of an unknown format."),
        (encoded("GIF"), "unsupported-format", "is a GIF, which is for animations: convert it to PNG or JPEG."),
        (
            encoded("TIFF"),
            "unsupported-format",
            "is TIFF, which is not supported: convert it to JPEG, PNG, BMP or WEBP.",
        ),
        (encoded("BMP", "P"), "unsupported-format", "is a BMP of less than 24 bits: convert it to PNG."),
        (encoded("BMP", "L"), "unsupported-format", "is a BMP of less than 24 bits"),
        (encoded("BMP", "1"), "unsupported-format", "is a BMP of less than 24 bits"),
        (encoded("WEBP", save_all=True, append_images=[picture(1)]), "unsupported-format", "is an animated WebP"),
        (bomb(), "too-large", "holds more than 89 million pixels: scale it down."),
    ],
)
def test_what_does_not_decode_is_refused(data: bytes, kind: str, message: str) -> None:
    with quiet_pillow(), pytest.raises(BadExample) as error:
        inspect(data)
    assert error.value.kind == kind
    assert error.value.message.startswith(message)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    cases = {b"": "names no file", b"/no/where": "does not exist", b"a\0b": "cannot be read", b"/": "is no file"}
    cases |= {os.fsencode(tmp_path / "empty"): "is empty (0 bytes)", os.fsencode(tmp_path / "pipe"): "is no file"}
    for path, message in cases.items():
        with pytest.raises(BadExample) as error:
            read_file(path)
        assert message in error.value.message


def test_sound_data_has_no_problems(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    report = check_data(Config(data=str(photos(tmp_path))), lambda done, total: told.append((done, total)))
    assert report.problems == []
    assert told[-1] == (24, 24)
    assert report.summary["counts"] == {"train": 19, "valid": 3, "test": 2}
    assert json.loads(json.dumps(report.summary)) == report.summary


def test_every_bad_file_is_named_then_failed_or_skipped(tmp_path: Path) -> None:
    photos(tmp_path)
    bad = {"cut.jpg": encoded("JPEG")[:-30], "empty.jpg": b"", "moving.gif": encoded("GIF"), "page.jpg": b"<html>"}
    for name, content in bad.items():
        (tmp_path / "ant" / name).write_bytes(content)
    (tmp_path / "bee" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "bee" / "really.png").write_bytes(encoded("JPEG", number=77))
    config = Config(data=str(tmp_path))
    report = check_data(config)
    assert kinds(report) == {
        "undecodable": 2,
        "empty-file": 1,
        "unsupported-format": 1,
        "missing-file": 1,
        "wrong-extension": 1,
    }
    assert len(report.errors) == 5
    assert {problem.where for problem in report.errors} == {str(tmp_path / "ant" / name) for name in bad} | {
        str(tmp_path / "bee" / "gone.jpg")
    }
    (warning,) = [problem for problem in report.problems if problem.level == "warning"]
    assert (warning.where, warning.message) == (
        str(tmp_path / "bee" / "really.png"),
        "is JPEG inside, not PNG: rename it.",
    )
    with pytest.raises(DataError, match="5 of 30 examples cannot be used") as error:
        load_data(config)
    assert str(error.value).count("\n") == 5
    data = load_data(Config(data=str(tmp_path), on_bad="skip"))
    assert sum(data.summary["counts"].values()) == 25
    assert [entry["where"] for entry in data.summary["skipped"]] == [problem.where for problem in report.errors]
    assert not check_data(Config(data=str(tmp_path), on_bad="skip")).errors


def table(path: Path, lines: list[str]) -> Config:
    path.write_text("\n".join(lines))
    return Config(data=str(path))


def test_a_group_in_two_given_splits_is_warned_of(tmp_path: Path) -> None:
    photos(tmp_path)
    files = [f"{name}/{number:02}.jpg,{name}" for name in ("ant", "bee") for number in range(12)]
    groups = ["ann", "bob", "", "cat"]
    (tmp_path / "test.csv").write_text(
        "\n".join(["image,label,group", f"{files[0]},bob", f"{files[1]},", f"{files[2]},x"])
    )
    rows = [f"{file},{groups[number % 4]}" for number, file in enumerate(files[3:])]
    config = table(tmp_path / "all.csv", ["image,label,group", *rows])
    (tmp_path / "train.csv").write_text((tmp_path / "all.csv").read_text())
    both = [Config(data=str(tmp_path)), config.model_copy(update={"test": str(tmp_path / "test.csv")})]
    for report in map(check_data, both):
        (problem,) = report.problems
        assert (problem.level, problem.kind, problem.where) == ("warning", "group-across-splits", "bob")
        assert problem.message == "1 group stands in more than one split, which flatters the score: keep it in one."
    assert check_data(config).problems == []


def test_an_orientation_that_is_not_obeyed_is_warned_of(tmp_path: Path) -> None:
    photos(tmp_path)
    for number, way in ((50, 6), (51, 3), (52, 1)):
        (tmp_path / "bee" / f"{number}.png").write_bytes(encoded("PNG", number=number, exif=exif(way)))
    for _ in range(2):  # the second time from what was kept
        (problem,) = check_data(Config(data=str(tmp_path))).problems
        assert (problem.kind, problem.where) == ("orientation-ignored", str(tmp_path / "bee" / "50.png"))
        assert problem.message.startswith(
            "2 images like this one carry an EXIF orientation, which is obeyed in JPEG alone"
        )


def test_pillow_and_tensorflow_agree_about_ends(tmp_path: Path) -> None:
    import tensorflow as tf

    # An EXIF thumbnail, ahead of the pixels, has an end mark of its own.
    thumbnail: dict[str, Any] = {"exif": b"Exif\0\0" + encoded("JPEG", number=1)}
    cases: list[tuple[str, dict[str, Any]]] = [
        ("PNG", {}),
        ("BMP", {}),
        ("JPEG", {}),
        ("JPEG", thumbnail),
        ("WEBP", {}),
    ]
    for format, options in cases:
        whole = encoded(format, **options)
        for data in (whole, whole + b"\0", whole[:-1], whole[:-12], whole[:-2] + b"ab", whole[:-2] + bytes(99)):
            accepted = []
            for read in (inspect, lambda data: tf.io.decode_image(data, channels=3, expand_animations=False)):
                try:
                    read(data)
                    accepted.append(True)
                except (BadExample, tf.errors.InvalidArgumentError):
                    accepted.append(False)
            assert accepted[0] == accepted[1], (format, len(data) - len(whole))


def test_splits_that_are_not_used_are_named(tmp_path: Path) -> None:
    photos(tmp_path / "a" / "train")
    photos(tmp_path / "a" / "test", each=3, first=100)
    photos(tmp_path / "b" / "train", each=3, first=200)
    photos(tmp_path / "b" / "test", each=3, first=300)
    report = check_data(Config(data=str(tmp_path / "a"), test=str(tmp_path / "b")))
    assert [(problem.kind, problem.where, problem.message) for problem in report.problems] == [
        ("not-used", str(tmp_path / "a"), f"its own test split is not used, as {tmp_path / 'b'} is given as test."),
        ("not-used", str(tmp_path / "b"), "given as test: its other splits (train) are not used."),
    ]


def test_cells_that_hold_no_text_are_named_by_row(tmp_path: Path) -> None:
    photos(tmp_path)
    rows = [
        {"image": f"{name}/{number:02}.jpg", "label": label}
        for name, label in (("ant", 1), ("bee", 1.0))
        for number in range(12)
    ]
    bad = [
        {"image": 7, "label": 1},
        {"image": "ant/00.jpg", "label": [1]},
        {"image": "ant/00.jpg", "label": {"a": 1}},
        {"image": "ant/00.jpg", "label": "\ud800"},
        {"image": "\udcff.jpg", "label": "1"},
    ]
    rows[1]["label"] = True
    rows[0]["label"] = "01"
    report = check_data(table(tmp_path / "a.jsonl", [json.dumps(row) for row in rows + bad]))
    problems = {problem.where.rpartition("line ")[2].strip(")"): problem for problem in report.errors}
    assert {row: problem.kind for row, problem in problems.items()} == dict.fromkeys(
        ("25", "26", "27", "28", "29"), "malformed-row"
    )
    assert problems["25"].message == "holds 7 where a path belongs: mend it, or map another column."
    assert problems["26"].message == "has the label [1]: a label is text or a number."
    assert set(report.summary["classes"]["train"]) == {"01", "1", "true"}
    json.dumps(report.summary, ensure_ascii=False).encode()


def test_everything_said_can_be_printed(tmp_path: Path) -> None:
    root = os.fsencode(photos(tmp_path / "data"))
    for name in (b"stray\xff.txt", b"ant/bad\xff.jpg"):
        with open(os.path.join(root, name), "wb"):
            pass
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data" / "loop")
    (tmp_path / "data" / "ant" / "self").symlink_to(tmp_path / "data" / "ant" / "self")
    report = check_data(Config(data=str(tmp_path / "data")))
    assert kinds(report) == {"not-read": 1, "empty-file": 1, "unreadable": 1}
    (note,) = [problem for problem in report.problems if problem.kind == "not-read"]
    assert note.message == "not read: loop, stray\ufffd.txt (2 beside the folders)."
    json.dumps(report.summary, ensure_ascii=False).encode()
    for problem in report.problems:
        f"{problem.where}{problem.message}".encode()
    os.rename(root, os.path.join(os.fsencode(tmp_path), b"\xfe"))
    with pytest.raises(DataError) as error:
        load_data(Config(data=os.fsdecode(os.path.join(os.fsencode(tmp_path), b"\xfe"))))
    str(error.value).encode()


def test_only_ten_bad_files_are_listed(tmp_path: Path) -> None:
    photos(tmp_path)
    for number in range(13):
        (tmp_path / "ant" / f"x{number:02}.jpg").touch()
    with pytest.raises(DataError) as error:
        load_data(Config(data=str(tmp_path)))
    lines = str(error.value).split("\n")
    assert len(lines) == 12
    assert lines[-1] == "  … and 3 more (sixfold data check lists them all)."


def test_tables_with_empty_labels_and_malformed_rows(tmp_path: Path) -> None:
    photos(tmp_path)
    files = [f"{name}/{number:02}.jpg,{name}" for name in ("ant", "bee") for number in range(12)]
    files[3] = "ant/03.jpg, "
    files[5] = "ant/05.jpg"
    files[7] = ",ant"
    files[9] = "ant/99.jpg,ant"
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["image,label", *files]))
    report = check_data(Config(data=str(table)))
    assert {(problem.kind, problem.where.rpartition("line")[2].strip(" )")) for problem in report.problems} == {
        ("empty-label", "5"),
        ("malformed-row", "7"),
        ("empty-path", "9"),
        ("missing-file", "11"),
    }
    assert sum(load_data(Config(data=str(table), on_bad="skip")).summary["counts"].values()) == 20
    with pytest.raises(DataError, match="4 of 24 examples"):
        load_data(Config(data=str(table)))


def test_odd_classes(tmp_path: Path) -> None:
    photos(tmp_path, ("ant", "Ant ", "bee"))
    photos(tmp_path, ("rare",), each=1, first=5000)
    (tmp_path / "none").mkdir()
    report = check_data(Config(data=str(tmp_path)))
    assert report.errors == []
    assert {(problem.kind, problem.where) for problem in report.problems} == {
        ("alike-classes", "'Ant ' / 'ant'"),
        ("empty-class", "none"),
        ("rare-class", "rare"),
        ("imbalance", "Ant  / rare"),
    }
    assert any("out of balance, 12 to 1 (12 examples and 1)" in warning for warning in report.summary["warnings"])


def test_the_same_example_in_two_splits_and_under_two_labels(tmp_path: Path) -> None:
    photos(tmp_path / "train")
    photos(tmp_path / "test", each=3, first=100)
    for name in ("test/ant/copy.jpg", "train/bee/copy.jpg"):
        (tmp_path / name).write_bytes((tmp_path / "train" / "ant" / "00.jpg").read_bytes())
    report = check_data(Config(data=str(tmp_path)))
    assert kinds(report) == {"duplicate-across-splits": 1, "contradicting-labels": 1}
    assert report.summary["duplicates"] == {"total": 2, "across_splits": 1}
    assert "test/ant/copy.jpg" in next(
        problem.where for problem in report.problems if problem.kind == "duplicate-across-splits"
    )
    assert len(load_data(Config(data=str(tmp_path))).splits["test"]) == 7


def test_what_stops_a_run_is_an_error(tmp_path: Path) -> None:
    (problem,) = check_data(Config(data=str(photos(tmp_path / "one", ("ant",))))).errors
    assert "holds the one class 'ant' to train on: at least two classes are needed" in problem.message
    (problem,) = check_data(Config(data=str(photos(tmp_path / "few", each=1)))).errors
    assert problem.kind == "split"
    assert "split would be empty" in problem.message
    with pytest.raises(DataError, match="does not exist"):
        check_data(Config(data=str(tmp_path / "none")))


def test_a_class_that_the_split_leaves_nothing_to_train_on_is_named(tmp_path: Path) -> None:
    report = check_data(Config(data=str(photos(tmp_path / "photos")), limit=1))
    named = [problem.message for problem in report.problems if problem.kind == "untrained-class"]
    assert len(named) == 1
    assert "no training example is left of" in named[0]
    assert any("no training example is left" in warning for warning in report.summary["warnings"])
