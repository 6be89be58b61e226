"""Images from every kind of source into splits, and what predict reads."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import DataError
from pipelines.task import Data
from tasks.image_classification.config import Config
from tasks.image_classification.data import decide, inputs, load_data, load_test, references

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIXFOLD_CACHE", str(tmp_path_factory.mktemp("cache")))


def picture(number: int, mode: str = "RGB", size: tuple[int, int] = (12, 10)) -> Image.Image:
    width, height = size
    noise = np.random.default_rng(number).integers(0, 255, (height, width, 3)).astype(np.uint8)
    return Image.fromarray(noise).convert(mode)


def photos(
    root: Path, classes: tuple[str, ...] = ("ant", "bee"), each: int = 20, first: int = 0, **options: Any
) -> Path:
    """Class folders of PNG files, no two alike."""
    for place, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            picture(first + place * 1000 + number, **options).save(root / name / f"{number:02}.png")
    return root


def counts(data: Data) -> list[int]:
    return [len(data.splits[name]) for name in ("train", "valid", "test")]


def test_the_sample_is_digits_without_network() -> None:
    data = load_data(Config())
    assert counts(data) == [1437, 180, 180]
    assert data.assets == {"classes": [str(digit) for digit in range(10)]}
    raw = data.splits["train"].fetch(np.arange(1437))
    assert raw["pixels"].shape == (1437, 8, 8, 1)
    assert (str(raw["pixels"].dtype), raw["pixels"].max(), str(raw["label"].dtype)) == ("uint8", 255, "int32")
    resolved = decide(Config(), data)
    assert (resolved.image_size, resolved.color) == (8, "grey")
    assert data.protocol == data.summary["protocol"]
    assert load_data(Config()).fingerprint == data.fingerprint
    assert load_data(Config(limit=100)).fingerprint != data.fingerprint


def test_class_folders(tmp_path: Path) -> None:
    data = load_data(Config(data=str(photos(tmp_path))))
    assert counts(data) == [32, 4, 4]
    assert data.assets["classes"] == ["ant", "bee"]
    assert data.summary["classes"]["test"] == {"ant": 2, "bee": 2}
    assert data.summary["image_sizes"] == {
        "distinct": 1,
        "common": [{"width": 12, "height": 10, "count": 40}],
        "min": [12, 10],
        "max": [12, 10],
    }
    store = data.splits["valid"]
    raw = store.fetch(np.array([3, 0]))
    assert set(raw) == {"path", "label"}
    for path, label in zip(raw["path"], raw["label"], strict=True):
        assert path.startswith(os.fsencode(tmp_path / data.assets["classes"][label]))
        assert os.path.exists(path)
    assert store.ids(np.array([3, 0])) == [path.decode() for path in raw["path"]]
    np.testing.assert_array_equal(references(store)["label"][[3, 0]], raw["label"])
    resolved = decide(Config(), data)
    assert (resolved.image_size, resolved.color) == (96, "rgb")


def test_moving_and_renaming_files_changes_no_split(tmp_path: Path) -> None:
    photos(tmp_path / "a")
    photos(tmp_path / "b")
    for path in sorted((tmp_path / "b").rglob("*.png")):
        path.rename(path.with_name(f"{99 - int(path.stem)}.png"))
    before, after = (load_data(Config(data=str(tmp_path / name))) for name in "ab")
    for split in before.splits:
        held = [
            {
                Path(path.decode()).read_bytes()
                for path in data.splits[split].fetch(np.arange(len(data.splits[split])))["path"]
            }
            for data in (before, after)
        ]
        assert held[0] == held[1]


def test_split_folders_and_further_sources(tmp_path: Path) -> None:
    photos(tmp_path / "three" / "train")
    photos(tmp_path / "three" / "val", each=3, first=100)
    photos(tmp_path / "three" / "test", each=4, first=200)
    assert counts(load_data(Config(data=str(tmp_path / "three")))) == [40, 6, 8]
    train, val, test = (str(tmp_path / "three" / name) for name in ("train", "val", "test"))
    assert counts(load_data(Config(data=train, valid=val, test=test))) == [40, 6, 8]
    data = load_data(Config(data=train, valid=val))
    assert counts(data) == [36, 4, 6]
    assert "the given validation split as the test set" in data.protocol
    assert counts(load_data(Config(data=train, test=str(tmp_path / "three")))) == [36, 4, 8]


def test_tables_name_files_relative_to_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "photos")
    files = sorted((tmp_path / "photos").rglob("*.png"))
    lines = [
        f"{file.relative_to(tmp_path) if number % 2 else file},{10 - number % 2},{number % 9}"
        for number, file in enumerate(files)
    ]
    (tmp_path / "labels.csv").write_text("\n".join(["file,class,who", *lines]))
    monkeypatch.chdir(tmp_path.parent)
    columns = {"image": "file", "label": "class"}
    data = load_data(Config(data=str(tmp_path / "labels.csv"), columns=columns))
    assert counts(data) == [32, 4, 4]
    assert data.assets["classes"] == ["9", "10"]
    assert all(os.path.exists(path) for path in data.splits["train"].fetch(np.arange(32))["path"])
    grouped = load_data(Config(data=str(tmp_path / "labels.csv"), columns={**columns, "group": "who"}))
    groups = [set(np.asarray(store.groups).tolist()) for store in grouped.splits.values()]
    assert sum(map(len, groups)) == 9
    assert "groups and duplicates kept together" in grouped.protocol


@pytest.mark.parametrize(
    ("dtype", "scale", "note"), [(np.float32, 1 / 255, "0..1"), (np.float64, 1, "0..255"), (np.int64, 1, "0..255")]
)
def test_arrays_of_other_types_become_pixels(tmp_path: Path, dtype: Any, scale: float, note: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 6, 6, 3))
    pixels[0] = 255
    np.savez(tmp_path / "a.npz", x=(pixels * scale).astype(dtype), y=(np.arange(60) % 3)[:, None])
    data = load_data(Config(data=str(tmp_path / "a.npz")))
    store: Any = data.splits["train"]
    raw = store.fetch(np.arange(len(store)))
    np.testing.assert_array_equal(raw["pixels"], pixels[store.rows])
    assert data.assets["classes"] == ["0", "1", "2"]
    assert any(f"{np.dtype(dtype)} pixels in {note} were converted" in warning for warning in data.summary["warnings"])
    assert store.ids(np.array([0])) == [f"a.npz train[{store.rows[0]}]"]


def test_a_row_of_no_group_is_a_group_of_its_own(tmp_path: Path) -> None:
    photos(tmp_path)
    files = sorted(tmp_path.rglob("*.png"))
    lines = [f"{file},{file.parent.name},{' ' if number % 2 else 'one'}" for number, file in enumerate(files)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,label,group", *lines]))
    data = load_data(Config(data=str(tmp_path / "labels.csv"), split=(0.5, 0.25, 0.25)))
    groups = [np.asarray(store.groups).tolist() for store in data.splits.values()]
    assert sorted(map(len, groups))[0] >= 5
    assert len(set(sum(groups, []))) == 21


def test_splits_of_arrays_must_agree_about_their_range(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 6, 6)).astype(np.float32)
    pixels[0] = 255
    y = np.arange(60) % 3
    for train, test in ((pixels, pixels / 255), (pixels / 255, pixels.astype(np.uint8))):
        np.savez(tmp_path / "a.npz", x_train=train, y_train=y, x_test=test, y_test=y)
        with pytest.raises(
            DataError, match=r"holds pixels in 0\.\.1 and another split in 0\.\.255: give all in one range"
        ):
            load_data(Config(data=str(tmp_path / "a.npz")))
    np.savez(tmp_path / "a.npz", x_train=pixels / 255, y_train=y, x_test=(pixels > 99).astype(np.uint8), y_test=y)
    store = load_data(Config(data=str(tmp_path / "a.npz"))).splits["test"]
    assert store.fetch(np.arange(60))["pixels"].max() == 255


@pytest.mark.parametrize(("dtype", "said"), [(np.uint8, True), (np.int32, True), (bool, False), (np.float64, False)])
def test_whole_numbers_of_0_and_1_are_warned_of(tmp_path: Path, dtype: Any, said: bool) -> None:
    bits = np.random.default_rng(0).integers(0, 2, (60, 6, 6)).astype(dtype)
    np.savez(tmp_path / "a.npz", x=bits, y=np.arange(60) % 3)
    warned = load_data(Config(data=str(tmp_path / "a.npz"))).summary["warnings"]
    assert any("only 0 and 1, which of 255 is black" in warning for warning in warned) == said


def test_empty_labels_of_arrays_are_bad_examples(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 6, 6)).astype(np.uint8)
    labels = np.array(["a", "b"] * 20)
    labels[7] = ""
    np.savez(tmp_path / "a.npz", x=pixels, y=labels)
    with pytest.raises(DataError, match=r"1 of 40 examples .*\n.*a.npz train\[7\]: has no label"):
        load_data(Config(data=str(tmp_path / "a.npz")))
    data = load_data(Config(data=str(tmp_path / "a.npz"), on_bad="skip"))
    assert sum(counts(data)) == 39
    assert data.assets["classes"] == ["a", "b"]


@pytest.mark.parametrize(
    ("x", "y", "sentence"),
    [
        (np.zeros((4, 5, 5)) - 1, [0, 1, 0, 1], "holds pixels from -1 to -1: rescale them"),
        (np.full((4, 5, 5), 300), [0, 1, 0, 1], "holds pixels from 300 to 300"),
        (np.full((4, 5, 5), np.nan), [0, 1, 0, 1], r"train\[0\] holds a pixel that is no number"),
        (np.zeros((4, 25)), [0, 1, 0, 1], r"have shape \(4, 25\)"),
        (np.zeros((4, 3, 5, 5)), [0, 1, 0, 1], "They look channels-first: move axis 1 to the end"),
        (np.zeros((4, 5, 5), "U1"), [0, 1, 0, 1], "must be numbers"),
        (np.zeros((4, 5, 5)), np.eye(4), r"labels have shape \(4, 4\): one label an example is needed"),
        (np.zeros((4, 5, 5)), [0, 0.5, 0, 1], r"train\[1\] has the label 0.5: classes must be whole numbers or text"),
        (np.zeros((4, 5, 5)), [0, np.inf, 0, 1], r"train\[1\] has the label inf"),
        (np.zeros((4, 5, 5)), np.zeros(4, "V3"), r"labels are \|V3: they must be whole numbers or text"),
        (np.zeros((4, 5, 5)), ["a", "\ud800", "a", "b"], r"train\[1\] has a label with half a character"),
        (np.zeros((4, 5, 5)), np.zeros(4, complex), "labels are complex128"),
        (np.zeros((4, 5, 5)), np.zeros(4, "M8[s]"), r"labels are datetime64\[s\]"),
        (np.zeros((4, 5, 5)), np.array([None] * 4), "holds Python objects"),
        (np.zeros((4, 5, 5)), [1, 1, 1, 1], "the one class '1' to train on: at least two classes are needed"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path: Path, x: np.ndarray, y: Any, sentence: str) -> None:
    np.savez(tmp_path / "a.npz", x=x, y=y)
    with pytest.raises(DataError, match=sentence):
        load_data(Config(data=str(tmp_path / "a.npz")))


def test_colour_is_grey_where_every_image_is(tmp_path: Path) -> None:
    photos(tmp_path, mode="L", size=(16, 16))
    data = load_data(Config(data=str(tmp_path)))
    assert (decide(Config(), data).image_size, decide(Config(), data).color) == (16, "grey")
    resolved = decide(Config(image_size=32, color="rgb"), data)
    assert (resolved.image_size, resolved.color) == (32, "rgb")
    picture(5, "P").resize((16, 16)).save(tmp_path / "ant" / "00.png")
    assert decide(Config(), load_data(Config(data=str(tmp_path)))).color == "rgb"


def test_unknown_labels_elsewhere_are_named(tmp_path: Path) -> None:
    photos(tmp_path / "train")
    photos(tmp_path / "test", ("ant", "wasp"), each=2, first=100)
    sentence = (
        r"2 of 44 examples .*\n.*wasp/00.png: has the label 'wasp', which the training examples do not \(ant, bee\)"
    )
    with pytest.raises(DataError, match=sentence):
        load_data(Config(data=str(tmp_path)))
    data = load_data(Config(data=str(tmp_path), on_bad="skip"))
    assert len(data.splits["test"]) == 2
    assert len(data.summary["skipped"]) == 2


def test_a_finished_model_is_scored_on_all_or_the_test_split(tmp_path: Path) -> None:
    photos(tmp_path / "plain", ("bee",), each=3)
    data = load_test(Config(data=str(tmp_path / "plain")), {"classes": ["ant", "bee"]})
    assert list(data.splits) == ["test"]
    assert references(data.splits["test"])["label"].tolist() == [1, 1, 1]
    photos(tmp_path / "split" / "train", ("wasp",))
    photos(tmp_path / "split" / "test", each=2)
    data = load_test(Config(data=str(tmp_path / "split"), limit=2), {"classes": ["ant", "bee"]})
    assert data.summary["classes"] == {"test": {"ant": 1, "bee": 1}}
    with pytest.raises(DataError, match="has the label 'ant', which the training examples do not"):
        load_test(Config(data=str(tmp_path / "split")), {"classes": ["bee"]})


def test_columns_are_for_tables(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="columns were given and sample has none"):
        load_data(Config(columns={"image": "x"}))


def test_inputs_of_predict_keep_their_order_and_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "photos", each=2)
    (tmp_path / "photos" / "notes.txt").write_text("x")
    (tmp_path / "labels.csv").write_text('file\nphotos/./ant/00.png\n\n/else/where.png\na,b\n""\n')
    stdin = io.TextIOWrapper(io.BytesIO(b"x.png\n\nb/\xff.png\r\na\0b\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    paths = ["missing.jpg", str(tmp_path / "photos"), str(tmp_path / "labels.csv"), "-"]
    batches = list(inputs(paths, Config(columns={"image": "file", "label": "class"}, batch_size=5)))
    assert [len(ids) for ids, _ in batches] == [5, 5, 2]
    assert {tuple(raw) for _, raw in batches} == {("path",)}
    photo, gone = tmp_path / "photos", b"\0there is no such file"
    assert [item for ids, raw in batches for item in zip(ids, raw["path"], strict=True)] == [
        ("missing.jpg", gone),
        *(
            (str(photo / name), os.fsencode(photo / name))
            for name in ("ant/00.png", "ant/01.png", "bee/00.png", "bee/01.png")
        ),
        (str(photo / "ant/00.png"), os.fsencode(photo / "ant/00.png")),
        ("/else/where.png", gone),
        (f"{tmp_path / 'labels.csv'} line 5", b"\0the row has 2 values where the table has 1 column: mend the line"),
        (f"{tmp_path / 'labels.csv'} line 6", b"\0the row names no file"),
        ("x.png", gone),
        ("b/�.png", gone),
        ("a\0b", b"\0it has a NUL in its name"),
    ]
    with pytest.raises(DataError, match="has no column 'image'"):
        list(inputs([str(tmp_path / "labels.csv")], Config()))


def test_inputs_that_the_decoder_must_not_get_come_with_the_reason(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "y.jpg")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "page.jpg").write_text("<html>")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    picture(0).save(tmp_path / "a.gif")
    Image.new("1", (10_000, 9_500)).save(tmp_path / "large.png")
    picture(0).save(tmp_path / "sound.png")
    strange = os.fsencode(tmp_path) + b"/\xff.png"
    picture(1).save(io.BytesIO(), "PNG")
    with open(strange, "wb") as file:
        picture(1).save(file, "PNG")
    (tmp_path / "rows.jsonl").write_text('{"image": 7}\n{"image": "\\ud800.png"}\n{"image": "sound.png"}\n')
    ((ids, raw),) = inputs([str(tmp_path), str(tmp_path / "rows.jsonl")], Config())
    found = dict(zip(ids, raw["path"], strict=True))
    assert {os.path.basename(name): path for name, path in found.items() if path.startswith(b"\0")} == {
        "y.jpg": b"\0it is no file",
        "empty.jpg": b"\0it is empty (0 bytes)",
        "page.jpg": b"\0it is no image, or one of an unknown format",
        "loop.jpg": b"\0it cannot be read: Too many levels of symbolic links",
        "a.gif": b"\0it is a GIF, which is for animations: convert it to PNG or JPEG",
        "large.png": b"\0it holds more than 89 million pixels: scale it down",
        "rows.jsonl line 1": b"\0the row holds 7 where a path belongs: mend it, or map another column",
        "rows.jsonl line 2": b"\0the row holds half a character (an escape from \\ud800 to \\udfff that stands alone):"
        b" mend the line",
    }
    assert found[f"{tmp_path}/\ufffd.png"] == strange
    assert found[str(tmp_path / "sound.png")] == os.fsencode(tmp_path / "sound.png")


def test_reading_images_imports_no_tensorflow(tmp_path: Path) -> None:
    photos(tmp_path)
    code = (
        "import sys; from tasks.image_classification import data; from tasks.image_classification.config import Config;"
        f"config = Config(data={str(tmp_path)!r}); data.decide(config, data.load_data(config));"
        "data.check_data(config);"
        "list(data.inputs(['-'], config)); sys.exit(len({'tensorflow', 'keras', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0


def test_fashion_mnist() -> None:
    if not (SHARED / "fashion_mnist").is_dir():
        pytest.skip("needs ../shared/data/fashion_mnist")
    data = load_data(Config(data=str(SHARED / "fashion_mnist")))
    assert counts(data) == [53333, 6667, 10000]
    assert data.assets["classes"] == [str(number) for number in range(10)]
    assert decide(Config(), data).image_size == 28
    assert data.splits["test"].fetch(np.array([0]))["label"].tolist() == [9]


def test_hymenoptera() -> None:
    if not (SHARED / "hymenoptera").is_dir():
        pytest.skip("needs ../shared/data/hymenoptera")
    with pytest.raises(
        DataError, match=r"1 of 398 examples .*\n.*imageNotFound.gif: is a GIF, which is for animations"
    ):
        load_data(Config(data=str(SHARED / "hymenoptera")))
    data = load_data(Config(data=str(SHARED / "hymenoptera"), on_bad="skip"))
    assert counts(data) == [217, 27, 153]
    assert [skipped["where"].rpartition("/")[2] for skipped in data.summary["skipped"]] == ["imageNotFound.gif"]
