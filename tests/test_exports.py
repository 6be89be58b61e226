"""Exports answer as the model does that was scored, where there is no Sixfold; or they are not there."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import pipelines
from pipelines import run
from pipelines.cli import exporting, main
from pipelines.devices.scans import scan
from pipelines.errors import ConfigError, DataError, NotServed, RunError, StateError
from pipelines.exports import alone, formats
from pipelines.exports.exporter import Exporter
from pipelines.exports.parity import Gate, answers
from pipelines.exports.writing import FILES, _register, export
from pipelines.runs import Run
from pipelines.saved_model import save_graphs
from pipelines.served import Core
from pipelines.task import Interval, Scores
from pipelines.verification import verify


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of texts, whose strings no format but one holds."""
    folder = tmp_path_factory.mktemp("exports") / "run"
    run("text-sentiment", epochs=1, limit=120, run_dir=str(folder))
    return folder


def test_every_format_is_proven_and_registered(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.chdir(finished.parent)
    parity = export(Path(finished.name), list(FILES), 60, said.append)
    for name, file in FILES.items():
        about = parity[name.replace("-", "_")]
        assert (finished / "export" / file).exists()
        assert about["examples"] == 100  # as int8 is among them
        assert about["bytes"] > 0
        assert set(about["milliseconds"]) == {"1", "32"}
        assert about["headline"] == "accuracy"
        if name != "litert-int8":
            assert about["largest_difference"] <= 1e-4
            assert abs(about["scores"]["accuracy"]["change"]) <= 1e-3
    assert parity["litert_int8"]["bytes"] < parity["litert"]["bytes"] / 2
    sidecar = json.loads((finished / "export" / "sidecar.json").read_text())
    assert sidecar["inputs"]["tokens"] == {"type": "int32", "shape": [None, None]}
    assert sidecar["signatures"] == ["before", "after"]
    assert not verify(finished).problems
    assert not list((finished / "export").glob(".*"))
    assert [line.partition(":")[0] for line in said[::2]] == list(FILES)
    # Out again, it is as it was, but for the new one.
    (finished / "export" / "model.onnx").unlink()
    assert verify(finished).problems == ["missing: export/model.onnx"]


def test_an_export_that_answers_otherwise_is_not_kept(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (finished / "export" / "model.tflite").unlink(missing_ok=True)
    core = formats._frozen

    def another(given: Any, rows: int | None) -> Any:
        """Logits of the other class."""
        graph = core(given, rows)
        specs = graph.structured_input_signature[1]
        turned = tf.function(lambda **x: {name: values[:, ::-1] for name, values in graph(**x).items()})
        return turned.get_concrete_function(**specs)

    monkeypatch.setattr(formats, "_frozen", another)
    with pytest.raises(RunError, match=r"litert is not written: its answers differ by .*; its accuracy is") as found:
        export(finished, ["litert"], 60, lambda line: None)
    assert found.value.exit_code == 5
    assert not (finished / "export" / "model.tflite").exists()
    assert not list((finished / "export").glob(".*"))


def test_what_cannot_be_is_said(finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    said: list[str] = []
    with pytest.raises(ConfigError, match=r"needs the package tf2onnx, the extra \[onnx\]"):
        export(finished, ["keras", "onnx"], 10, said.append)
    assert said == []  # before anything is loaded
    monkeypatch.setattr("pipelines.exports.exporter.load_model", lambda run: (None, {}))
    gone = tmp_path / "gone"
    (gone / "export").mkdir(parents=True)
    (gone / "run.yaml").write_text("data: none.csv\n")
    Run(gone).write_json("manifest.json", {"task": "text-sentiment", "files": {}})
    with pytest.raises(DataError, match=r"'none\.csv' does not exist: .* An export is tried on the data of its run"):
        export(gone, ["keras"], 10, said.append)
    (tmp_path / "run.yaml").write_text("epochs: 1\n")
    Run(tmp_path).write_json("manifest.json", {"task": "text-sentiment"})
    with pytest.raises(StateError, match="is unfinished, and has no model to export"):
        export(tmp_path, ["keras"], 10, lambda line: None)
    assert main(["export", str(tmp_path), "--format", "caffe"]) == 2
    with pytest.raises(ConfigError, match="there is no format caffe: choose of saved-model, litert"):
        pipelines.export(tmp_path, ["caffe"])
    assert tuple(FILES) == exporting.FORMATS


def test_a_format_that_is_refused_keeps_no_other_from_being_written(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, tried = Exporter.write, []

    def refusing(exporter: Exporter, name: str) -> dict[str, Any]:
        tried.append(name)
        if name != "keras":
            raise NotServed("There is none.") if name != "litert-int8" else RunError("It differs.")
        return write(exporter, name)

    monkeypatch.setattr(Exporter, "write", refusing)
    said: list[str] = []
    with pytest.raises(NotServed, match=r"^onnx, litert: There is none\.\nlitert-int8: It differs\.$"):
        export(finished, ["onnx", "litert-int8", "litert", "keras", "keras"], 10, said.append)
    assert tried == ["onnx", "litert-int8", "litert", "keras"]
    assert "export/model.keras" in Run(finished).manifest()["files"]
    assert said[-1].startswith(f"{finished / 'export' / 'model.keras'}: ")


def test_the_model_card_lists_the_exports_unless_somebody_wrote_in_it(finished: Path) -> None:
    card, another = finished / "MODEL_CARD.md", finished / "export" / "another.onnx"
    text = card.read_text("utf-8")
    another.touch()
    for mine in ("Mine.", ""):
        card.write_text(text + mine, "utf-8")
        _register(Run(finished))
        assert ("`another.onnx`" in card.read_text("utf-8")) is (mine == "")
    another.unlink()
    _register(Run(finished))
    assert card.read_text("utf-8") == text
    assert f"changed: {card.name}" not in verify(finished).problems


def test_a_full_disk_is_not_taken_for_too_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, f"{given[1]}/saved_model.pb; No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", full)
    with pytest.raises(OSError, match=r"\[Errno 28\] No space left on device: .*/sidecar"):
        save_graphs(tf.Module(), tmp_path / "sidecar", {})


def test_what_dies_alone_is_an_error(tmp_path: Path) -> None:
    request = {"format": "onnx", "path": str(tmp_path / "none"), "sidecar": None, "rows": None, "rename": {}}
    with pytest.raises(RunError, match="the export fails where it is loaded alone"):
        answers({**request, "needs": []}, [{"x": np.zeros(2)}], tmp_path)


def test_a_loop_over_frames_is_held_by_onnx(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    x = np.random.default_rng(0).normal(size=(7, 3, 4)).astype(np.float32)
    kernel = tf.Variable(np.eye(4, dtype=np.float32))

    def both(given: Any) -> dict[str, Any]:
        first = tf.zeros([tf.shape(given["x"])[1], 4])
        ways = [scan(lambda h, v: tf.tanh(h @ kernel + v), first, given["x"], reverse=way) for way in (False, True)]
        return {"y": tf.concat(ways, axis=-1)}

    core = Core(both, {"x": tf.TensorSpec([None, None, 4], tf.float32, name="x")}, "", dict, dict)
    formats.save_onnx(tmp_path / "a.onnx", core)
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(["y"], {"x": x})
    np.testing.assert_allclose(found, both({"x": tf.constant(x)})["y"], atol=1e-6)
    step = np.tanh(np.tanh(x[6]) + x[5])
    np.testing.assert_allclose(found[5, :, 4:], step, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning")
def test_what_is_ruled_out_by_large_numbers_leaves_int8_room(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    one, other = (random.normal(size=(8, 8)).astype(np.float32) / 3 for _ in range(2))

    def attended(x: Any) -> dict[str, Any]:
        parts = tf.reshape(tf.linalg.matmul(x["x"], one), [-1, 2, 4])
        ruled_out = tf.cast(x["x"][:, None, :2] < -0.5, tf.float32) * -1e9
        weights = tf.nn.softmax(tf.linalg.matmul(parts, parts, transpose_b=True) + ruled_out)
        return {"found": tf.linalg.matmul(tf.reshape(tf.linalg.matmul(weights, parts), [-1, 8]), other)}

    given = {"x": tf.TensorSpec([None, 8], tf.float32, name="x")}
    xs = random.normal(size=(30, 1, 8)).astype(np.float32)
    wrong = {}
    for masked in (False, True):
        core = Core(attended, given, "", dict, dict, masked=masked)
        formats.save_litert(tmp_path / "int8", core, lambda: ({"x": x} for x in xs))
        run_alone = tf.lite.Interpreter(str(tmp_path / "int8")).get_signature_runner("serving_default")
        gaps = [np.abs(run_alone(x=x)["found"] - attended({"x": x})["found"]).max() for x in xs]
        wrong[masked] = float(np.mean(gaps))
    assert 5 * wrong[True] < wrong[False], wrong


def test_columns_go_through_a_file_without_pickle(tmp_path: Path) -> None:
    texts = np.empty((2, 2), object)
    texts[:] = [[b"a\0", "ä"], [b"", b"long" * 9]]
    columns = {"text": texts, "x": np.arange(6.0).reshape(2, 3), "k": np.asarray(3, np.int32)}
    np.savez(tmp_path / "a.npz", **alone.packed(columns))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        again = alone.unpacked(arrays)
    assert again["text"].tolist() == [[b"a\0", "ä".encode()], [b"", b"long" * 9]]
    np.testing.assert_array_equal(again["x"], columns["x"])
    assert again["k"].shape == ()
    assert again["k"] == 3


def test_a_core_of_one_row_is_called_for_each() -> None:
    def core(x: Any) -> dict[str, np.ndarray]:
        assert len(x["a"]) == 1
        return {"pieces": np.ones((1, int(x["a"][0])), np.int32), "score": x["a"] * 2.0}

    found = alone._singly(core, 1)({"a": np.array([1, 3, 2]), "k": np.asarray(5)})
    assert found["pieces"].tolist() == [[1, 0, 0], [1, 1, 1], [1, 1, 0]]
    assert found["score"].tolist() == [2.0, 6.0, 4.0]


def scores(value: float, low: float = 0.5, high: float = 0.9) -> Scores:
    return Scores("accuracy", {"accuracy": Interval(value, low, high)})


def test_a_nan_does_not_pass(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*given: Any) -> np.ndarray:
        return np.array([np.nan, *[0.0] * (len(given[-1]) - 1)])

    monkeypatch.setattr("pipelines.saved_model.gaps_of", nothing)
    kept = (finished / "export" / "saved_model" / "saved_model.pb").read_bytes()
    with pytest.raises(RunError, match="its answers differ by nan"):
        export(finished, ["saved-model"], 30, lambda line: None)
    assert (finished / "export" / "saved_model" / "saved_model.pb").read_bytes() == kept


def test_the_gate() -> None:
    exact, whole = Gate("float32"), Gate("float32", quantised=True)
    assert exact.judge(9e-5, scores(0.7), scores(0.7009)) == []
    assert exact.judge(2e-4, scores(0.7), scores(0.7)) == ["its answers differ by 0.0002, and 0.0001 is allowed"]
    assert exact.judge(0.0, scores(0.7), scores(0.702)) == ["its accuracy is 0.7020, and the model's 0.7000"]
    assert exact.judge(float("nan"), scores(0.7), scores(0.7))
    assert whole.judge(3.0, scores(0.7), scores(0.52)) == []
    widened = Gate("float32", widened=True)  # of a model that computes in less
    assert widened.judge(9e-5, scores(0.7), scores(0.65)) == []
    assert widened.judge(2e-4, scores(0.7), scores(0.65)) == ["its answers differ by 0.0002, and 0.0001 is allowed"]
    assert len(widened.judge(0.0, scores(0.7), scores(0.49))) == 1
    assert whole.judge(0.0, scores(0.7), scores(0.49)) == [
        "its accuracy is 0.4900, outside the model's interval (0.5000 to 0.9000)"
    ]
