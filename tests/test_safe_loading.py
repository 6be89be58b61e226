"""No model file runs code: what Sixfold did not write is refused, in a sentence."""

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from pipelines.artefact import load_model, save_model
from pipelines.errors import ConfigError, StateError
from pipelines.keras_files import check_keras_file
from pipelines.runs import Run
from pipelines.transfer.files import load_file


def network() -> keras.Model:
    given = keras.Input((3,))
    return keras.Model(given, keras.ops.exp(keras.layers.Dense(2, activation="gelu")(given)))


def crafted(path: Path, module: str | None, name: str, settings: Any, **more: Any) -> Path:
    """A .keras file of one layer of any kind."""
    first = {"module": "keras.layers", "class_name": "InputLayer", "config": {"batch_shape": [None, 3], "name": "i"}}
    layer = {"module": module, "class_name": name, "config": settings, "registered_name": None, **more}
    config = {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": [first, layer]}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": keras.__version__}))
        archive.writestr("config.json", json.dumps(config))
        weights = path.with_suffix(".h5")
        h5py.File(weights, "w").close()
        archive.write(weights, "model.weights.h5")
    return path


def run_of(folder: Path, model: Path) -> Run:
    """A run folder whose manifest vouches for the model file: its checksum is right."""
    run = Run(folder)
    run.model.mkdir(parents=True)
    (run.model / "model.keras").write_bytes(model.read_bytes())
    run.write_json("manifest.json", {"task": "image-classification"})
    run.update_manifest(files={"model/model.keras": run.checksum("model/model.keras")})
    return run


def test_what_sixfold_writes_is_loaded_again(tmp_path: Path) -> None:
    run, model = Run(tmp_path), network()
    save_model(run, model, {"classes": ["a", "b"]})
    run.write_json("manifest.json", {"task": "image-classification"})
    again, assets = load_model(run)
    assert assets == {"classes": ["a", "b"]}
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(again(x), model(x))


def test_a_model_of_less_precision_can_be_loaded_in_float32(tmp_path: Path) -> None:
    given = keras.Input((3,), name="float")
    layer = keras.layers.Dense(64, activation="gelu", dtype="mixed_bfloat16")
    model = keras.Model(given, keras.ops.cast(keras.ops.cast(layer(given), "bfloat16") * 3, "float32"))
    run = Run(tmp_path)
    save_model(run, model, {})
    run.write_json("manifest.json", {"task": "image-classification"})
    again, wide = load_model(run)[0], load_model(run, in_float32=True)[0]
    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    np.testing.assert_array_equal(again(x), model(x))
    exact = 3 * np.array(keras.activations.gelu(x @ np.array(layer.kernel) + np.array(layer.bias)))
    np.testing.assert_allclose(wide(x), exact, atol=1e-5)
    assert np.abs(np.array(again(x)) - exact).max() > 1e-3


BAD: dict[str, tuple[str | None, str, Any, dict[str, Any], str]] = {
    "a lambda layer": (
        "keras.layers",
        "Lambda",
        {"name": "l", "function": {"class_name": "__lambda__", "config": {"code": "4wEA"}}},
        {},
        "it holds (Lambda|__lambda__), which is code",
    ),
    "a lambda inside another layer": (
        "keras.layers",
        "Dense",
        {"units": 2, "activation": {"class_name": "__lambda__", "config": {"code": "4wEA"}}},
        {},
        "__lambda__, which is code",
    ),
    "a saved model": ("keras.layers", "TFSMLayer", {"filepath": "nowhere"}, {}, "TFSMLayer, which is code"),
    "a builtin": ("builtins", "print", {}, {}, "names builtins.print"),
    "another package": ("antigravity", "Layer", {}, {}, "names antigravity.Layer"),
    "a tool of Keras": (
        "keras.layers",
        "Dense",
        {"units": 2, "activation": {"module": "keras.utils", "class_name": "function", "config": "get_file"}},
        {},
        "keras.utils.get_file, which is no part of a network",
    ),
    "a class as a function": (
        "keras.src.ops.core",
        "Switch",
        {"name": "s"},
        {
            "inbound_nodes": [
                {"args": [0, [{"class_name": "function", "module": "keras.layers", "config": "TFSMLayer"}]]}
            ]
        },
        "holds TFSMLayer, which is code",
    ),
    "a layer as a function": (
        "keras.layers",
        "Dense",
        {
            "units": 2,
            "activation": {"module": "keras.datasets.cifar10", "class_name": "function", "config": "load_data"},
        },
        {},
        "keras.datasets.cifar10.load_data, which is no part of a network",
    ),
    "a name with a dot": (
        "keras",
        "layers.Lambda",
        {"name": "l"},
        {},
        "names keras.layers.Lambda, which is no part of a network",
    ),
    "a tool by a name with a dot": (
        "keras.layers",
        "Dense",
        {"units": 2, "activation": {"module": "keras", "class_name": "function", "config": "utils.plot_model"}},
        {},
        "keras.utils.plot_model, which is no part of a network",
    ),
    "no class": ("keras.layers", "Dense", {"units": 2, "activation": {"module": 5, "class_name": "x"}}, {}, "no class"),
    "a custom object": (None, "Evil", {}, {"registered_name": "evil>Evil"}, "names evil>Evil"),
    "a file outside": (
        "keras.layers",
        "StringLookup",
        {"name": "l", "vocabulary": "/etc/passwd"},
        {},
        "would read the file /etc/passwd",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_crafted_model_is_refused_though_its_checksum_is_right(kind: str, tmp_path: Path) -> None:
    module, name, settings, more, said = BAD[kind]
    run = run_of(tmp_path / "run", crafted(tmp_path / "crafted.keras", module, name, settings, **more))
    with pytest.raises(StateError, match=said):
        load_model(run)


def test_a_tampered_model_is_refused(tmp_path: Path) -> None:
    model = crafted(tmp_path / "a.keras", "keras.layers", "Dense", {"units": 2})
    run = run_of(tmp_path / "run", model)
    (run.model / "model.keras").write_bytes(
        crafted(tmp_path / "b.keras", "keras.layers", "Dense", {"units": 3}).read_bytes()
    )
    with pytest.raises(StateError, match="its checksum differs"):
        load_model(run)


def test_what_somebody_put_beside_a_model_is_not_read(tmp_path: Path) -> None:
    run = Run(tmp_path)
    save_model(run, network(), {"classes": ["a", "b"]})
    run.write_json("manifest.json", {"task": "image-classification", "files": run.checksums()})
    run.write_json("model/thresholds.json", [0, 1])
    assert load_model(run)[1] == {"classes": ["a", "b"]}


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a\\..\\..\\evil.txt"])
def test_an_archive_that_would_escape_is_refused(name: str, tmp_path: Path) -> None:
    path = crafted(tmp_path / "a.keras", "keras.layers", "Dense", {"units": 2})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, "x")
    with pytest.raises(StateError, match="would write outside its folder"):
        check_keras_file(path)


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    whole = tmp_path / "a.keras"
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Sequential", "config": "x" * 500}))
    content = bytearray(whole.read_bytes())
    content[45:60] = b"\xff" * 15
    whole.write_bytes(content)
    with pytest.raises(StateError, match=r"it is no \.keras file, or a damaged one"):
        check_keras_file(whole)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.keras").write_bytes(b"no zip")
    with pytest.raises(StateError, match=r"it is no \.keras file"):
        check_keras_file(tmp_path / "a.keras")


def test_an_old_whole_model_is_refused_and_its_weights_are_not(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.save(tmp_path / "whole.h5")
    with pytest.raises(ConfigError, match=r"whole\.h5 is a whole model in the old HDF5 format"):
        load_file(model, tmp_path / "whole.h5", "net")
    before = [np.array(variable) for variable in model.weights]
    model.save_weights(tmp_path / "net.weights.h5")
    load_file(model, tmp_path / "net.weights.h5", "net")
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new)
