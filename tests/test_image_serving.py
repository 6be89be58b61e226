"""The SavedModel of image classification answers as predict does, in a process that knows TensorFlow alone."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipelines import devices, predict, run
from pipelines.devices.steps import kept_model
from pipelines.errors import RunError
from pipelines.evaluation import predict_store
from pipelines.runs import Run
from pipelines.saved_model import check_served, save_served
from pipelines.served import Serving
from pipelines.task import Record
from tasks.image_classification import scores
from tasks.image_classification.config import Config
from tasks.image_classification.data.stores import ImageStore, Pixels
from tasks.image_classification.model import build_model
from tasks.image_classification.prediction import predictor
from tasks.image_classification.serving import serving
from tests.conftest import served

CLASSES = ["Ärmel", "bag", "cap", "dress"]
RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (9, 14, 3)).astype(np.uint8).repeat(5, 0).repeat(5, 1)


def file(pixels: np.ndarray, format: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format, **options)
    return content.getvalue()


def turned(way: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = way
    return file(PHOTO, "JPEG", quality=95, exif=exif.tobytes())


IMAGES = {
    **{
        "colour.png": file(PHOTO),
        "grey.png": file(PHOTO[..., 0]),
        "alpha.png": file(np.dstack([PHOTO, PHOTO[..., :1]])),
    },
    **{f"turned {way}.jpg": turned(way) for way in (1, 3, 6)},
    **{"colour.bmp": file(PHOTO, "BMP"), "colour.webp": file(PHOTO, "WEBP", lossless=True)},
    **{"small.png": file(PHOTO[:2, :3]), "long.png": file(PHOTO[:1].repeat(9, 1)), "size.png": file(PHOTO[:16, :16])},
}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "colour": ({"backbone": "cnn", "width": 4, "color": "rgb"}, {"temperature": 0.37}),
    "several": (
        {"backbone": "mlp", "hidden": (8,), "color": "grey", "multi_label": True},
        {"thresholds": [0.5, 0.4, 0.61, 0.999]},
    ),
    "published": ({"backbone": "MobileNetV2", "color": "grey", "image_size": 32}, {}),
    "bfloat16": ({"backbone": "cnn", "width": 4, "color": "grey", "precision": "mixed_bfloat16"}, {}),
}


def column(values: list[bytes]) -> np.ndarray:
    found = np.empty(len(values), object)
    found[:] = values
    return found


def kept(name: str) -> tuple[Any, Config, dict[str, Any]]:
    """An untrained model whose answers differ, its config and assets."""
    settings, further = CASES[name]
    config = Config(**({"image_size": 16, "top_k": 3} | settings))
    assets = {"classes": CLASSES, **further}
    devices.start(config)
    model = kept_model(build_model(config, assets))
    kernel, bias = model.get_layer("logits").weights
    given = RNG.integers(0, 256, (8, *model.input_shape[1:])).astype(np.uint8)
    kernel.assign(np.array(kernel) / np.array(model(given)).std(axis=0))
    bias.assign([0.5, 0.0, -0.3, 0.1])
    devices.start(Config())  # the precision of what others build
    return model, config, assets


def predicted(model: Any, config: Config, assets: Any, name: str, values: np.ndarray) -> list[Record]:
    ids = [f"{name} {row}" for row in range(len(values))]
    return list(predictor(model, config, assets, {})([(ids, {name: values})]))


def alike(served: Serving, outputs: dict[str, np.ndarray], records: list[Record], atol: float) -> None:
    """Outputs, and the records that are made of them, are those of predict."""
    logits = np.stack([np.asarray(record.output) for record in records])
    np.testing.assert_allclose(outputs["logits"], logits, atol=atol)
    assert served.records is not None
    assert served.gap is not None
    assert served.gap(outputs, records).max() < atol
    _otherwise(served, outputs, records)
    found = served.records([record.id for record in records], {}, outputs)
    assert [one.id for one in found] == [one.id for one in records]
    for row, (one, record) in enumerate(zip(found, records, strict=True)):
        assert one.error is None
        assert one.answer.keys() == record.answer.keys()
        for key in ("top_k", "labels"):
            names, wanted = ([each["label"] for each in answer.answer.get(key, [])] for answer in (one, record))
            assert names == wanted
            numbers = [[each["probability"] for each in answer.answer.get(key, [])] for answer in (one, record)]
            np.testing.assert_allclose(*numbers, atol=atol)
        if "labels" in outputs:
            texts = [text.decode() for text in outputs["labels"][row]]
            listed = [each["label"] for each in record.answer["labels"]]
            assert texts == listed + [""] * (len(texts) - len(listed))
            found_by_class = dict(zip(CLASSES, outputs["probabilities"][row], strict=True))
            for each in record.answer["top_k"]:
                assert found_by_class[each["label"]] == pytest.approx(each["probability"], abs=atol)
        else:
            assert outputs["label"][row].decode() == record.answer["label"]
            assert outputs["probability"][row] == pytest.approx(record.answer["probability"], abs=atol)
            np.testing.assert_allclose(outputs["probabilities"][row].sum(), 1, atol=1e-5)


def _otherwise(served: Serving, outputs: dict[str, np.ndarray], records: list[Record]) -> None:
    """Labels that the logits do not make, and probabilities that they do not, are no answer."""
    assert served.gap is not None
    name = "labels" if "labels" in outputs else "label"
    empty = {**outputs, name: np.full_like(outputs[name], b"")}
    assert np.isinf(served.gap(empty, records)).any()
    assert served.gap({**outputs, "probabilities": outputs["probabilities"] * 0.8}, records).min() > 0.01


def test_answers_are_those_of_predict(tmp_path: Path) -> None:
    files, arrays = column(list(IMAGES.values())), np.stack([PHOTO[:40, 5:50], PHOTO[5:, :45]])
    gif, cut, nothing = file(PHOTO, "GIF"), IMAGES["colour.png"][:300], b""
    asked: dict[str, Any] = {}
    wanted: dict[str, Any] = {}
    for name in CASES.keys() - {"published"}:
        model, config, assets = kept(name)
        made = serving(model, config, assets)
        place = str(save_served(tmp_path / name, made))
        broken = column([gif, IMAGES["grey.png"], cut, nothing])
        asked[place] = [
            *(("serving_default", {"image": one}) for one in (files, files[1:2], broken, files[:0])),
            ("pixels", {"pixels": arrays}),
        ]
        compared = ((0, "bytes", files), (1, "bytes", files[1:2]), (4, "pixels", arrays))
        wanted[place] = made, {at: predicted(model, config, assets, kind, one) for at, kind, one in compared}
        atol = 0.05 if config.precision == "mixed_bfloat16" else 1e-4
        _core_alike(made, files, atol)
    for place, answers in served(asked, tmp_path).items():
        made, by_request = wanted[place]
        for at, records in by_request.items():
            alike(made, answers[at], records, 0.05 if "bfloat16" in place else 1e-4)
        assert answers[0]["logits"].std(axis=0).min() > 0.01, "images are told apart"
        assert [one.decode() for one in answers[0]["classes"]] == CLASSES
        _one_decodes(made, answers[2], answers[1])
        assert answers[3]["logits"].shape == (0, 4)
        about = json.loads(Path(place).with_name("serving.json").read_text())
        assert about["input"] == {"name": "image", "type": "string", "what": made.what}
        assert about["needs"] == ["tensorflow"]
        assert about["signatures"]["pixels"]["outputs"]["logits"] == {"shape": [None, 4], "type": "float32"}


def _one_decodes(made: Serving, found: dict[str, np.ndarray], alone: dict[str, np.ndarray]) -> None:
    """Of four files the second, which answers as it does alone; of the others nothing is said."""
    assert found["decoded"].tolist() == [False, True, False, False]
    np.testing.assert_allclose(found["logits"][1], alone["logits"][0], atol=0.05)
    for name, values in found.items():
        if len(values) == 4 and name not in ("classes", "thresholds", "decoded"):
            others = np.delete(values, 1, axis=0).ravel().tolist()
            assert others == [b""] * len(others) or np.isnan(others).all(), name
    assert made.records is not None
    assert [record.error is None for record in made.records(list("abcd"), {}, found)] == [False, True, False, False]


def _core_alike(made: Serving, files: np.ndarray, atol: float) -> None:
    """The core between what stands round it, each compiled by itself, is the whole."""
    core = made.core
    assert core is not None
    before = tf.function(core.before, input_signature=[made.input])
    function = tf.function(core.function, input_signature=[dict(core.input)])
    given = before(tf.constant(files))
    assert {name: value.dtype for name, value in given.items()} == {"pixels": tf.float32, "decoded": tf.bool}
    assert given["pixels"].shape[1:] == core.input["pixels"].shape[1:]
    inner = function({name: given[name] for name in core.input})
    found, whole = core.after({**given, **inner}), made.function(tf.constant(files))
    assert found.keys() == whole.keys()
    for name in ("logits", "probabilities"):
        np.testing.assert_allclose(found[name], whole[name], atol=atol)
    operations = {operation.type for operation in function.get_concrete_function().graph.get_operations()}
    assert not operations & {"DecodeImage", "LookupTableFindV2", "GatherV2"}


def test_a_network_within_the_model_is_part_of_the_core() -> None:
    model, config, assets = kept("published")
    made, files = serving(model, config, assets), column(list(IMAGES.values())[:3])
    _core_alike(made, files, 1e-4)
    outputs = {name: value.numpy() for name, value in made.function(tf.constant(files)).items()}
    alike(made, outputs, predicted(model, config, assets, "bytes", files), 1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["colour", "several"])
def test_arrays_come_as_files_that_lose_nothing(name: str, channels: int) -> None:
    model, config, assets = kept(name)
    pixels = RNG.integers(0, 256, (5, 16, 16, channels)).astype(np.uint8)
    store = ImageStore(Pixels(pixels, "x"), np.arange(5)[::-1], np.zeros(5, np.int32))
    made = serving(model, config, assets)
    files = made.inputs(store, np.array([3, 0, 1]))
    assert all(one.startswith(b"\x89PNG") for one in files)
    records = predict_store(predictor(model, config, assets, {}), store)
    found = made.function(tf.constant(files))["logits"]
    wanted = [records[row].output for row in (3, 0, 1)]
    np.testing.assert_allclose(found, np.stack([np.asarray(one) for one in wanted]), atol=1e-4)


def test_a_run_leaves_one_that_it_has_tried(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"backbone": "mlp", "hidden": (16,), "epochs": 2}
    run("image-classification", data="sample", run_dir=str(tmp_path / "run"), **settings)
    parity = json.loads((tmp_path / "run" / "export" / "parity.json").read_text())["saved_model"]
    assert parity["examples"] == 64
    assert parity["largest_difference"] < 1e-4
    files = Run(tmp_path / "run").manifest()["files"]
    assert {"export/serving.json", "export/saved_model/saved_model.pb"} <= files.keys()
    (tmp_path / "photo.png").write_bytes(IMAGES["colour.png"])
    (record,) = predict(tmp_path / "run", [str(tmp_path / "photo.png")])
    loaded = tf.saved_model.load(str(tmp_path / "run" / "export" / "saved_model"))
    found = loaded.signatures["serving_default"](image=tf.constant([IMAGES["colour.png"]]))
    assert found["label"].numpy()[0].decode() == record["label"]
    assert float(found["probability"][0]) == pytest.approx(record["probability"], abs=1e-4)


def test_an_export_that_answers_otherwise_is_refused(tmp_path: Path) -> None:
    model, config, assets = kept("colour")
    made = serving(model, config, assets)
    place = save_served(tmp_path, made)
    files = column(list(IMAGES.values()))
    records = predicted(model, config, assets, "bytes", files)
    assert check_served(place, files, records, made.output)["examples"] == len(files)
    with pytest.raises(RunError, match="its logits differ"):
        check_served(place, files, records[::-1], made.output)


def test_records_are_scored_as_those_of_predict() -> None:
    model, config, assets = kept("colour")
    made = serving(model, config, assets)
    files = column(list(IMAGES.values()))
    records = predicted(model, config, assets, "bytes", files)
    outputs = {name: value.numpy() for name, value in made.function(tf.constant(files)).items()}
    assert made.records is not None
    found = made.records([record.id for record in records], {}, outputs)
    references = {"label": np.arange(len(files), dtype=np.int32) % len(CLASSES)}
    ours, theirs = (scores.score(one, references, config, assets).scores for one in (found, records))
    assert ours["accuracy"] == theirs["accuracy"]
    assert ours["log_loss"].value == pytest.approx(theirs["log_loss"].value, abs=1e-4)
