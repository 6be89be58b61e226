"""KerasHub presets of image backbones: built small, saved to a folder, loaded through --pretrained FOLDER."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipelines import devices, run, transfer
from pipelines.config import load_config
from pipelines.devices.settings import StepSettings
from pipelines.errors import ConfigError, DataError
from pipelines.preparation import make_optimizer
from pipelines.runs import Run
from tasks.image_classification.implied import imply
from tasks.image_classification.model import build_model

ASSETS = {"classes": ["ant", "bee", "wasp"]}
RNG = np.random.default_rng(0)
TRANSFORMER = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "image_shape": (32, 32, 3)}
SMALL: dict[str, dict[str, Any]] = {
    "ViT": {**TRANSFORMER, "patch_size": 8, "mlp_dim": 32},
    "DeiT": {**TRANSFORMER, "patch_size": 8, "intermediate_dim": 32},
    "DINOV2": {**TRANSFORMER, "patch_size": 8, "intermediate_dim": 32, "position_embedding_shape": (64, 64)},
    "DINOV3": {**TRANSFORMER, "patch_size": 8, "intermediate_dim": 32},
    "SwinTransformer": {
        "image_shape": (32, 32, 3),
        "embed_dim": 8,
        "depths": (1, 1),
        "num_heads": (1, 2),
        "window_size": 4,
    },
    "MiT": {
        "layerwise_depths": [1, 1],
        "num_layers": 2,
        "layerwise_num_heads": [1, 2],
        "layerwise_sr_ratios": [2, 1],
        "max_drop_path_rate": 0.0,
        "layerwise_patch_sizes": [7, 3],
        "layerwise_strides": [4, 2],
        "image_shape": (32, 32, 3),
        "hidden_dims": [8, 16],
    },
    "CSPNet": {
        "stem_filters": 8,
        "stem_kernel_size": 3,
        "stem_strides": 1,
        "stackwise_depth": [1, 1],
        "stackwise_strides": [1, 2],
        "stackwise_num_filters": [8, 16],
        "block_type": "dark_block",
        "stage_type": "dark",
    },
    "ResNet": {
        "input_conv_filters": [64],
        "input_conv_kernel_sizes": [3],
        "stackwise_num_filters": [64, 64],
        "stackwise_num_blocks": [1, 1],
        "stackwise_num_strides": [1, 2],
        "block_type": "basic_block",
    },
    "EfficientNet": {
        "stackwise_kernel_sizes": [3, 3],
        "stackwise_num_repeats": [1, 1],
        "stackwise_input_filters": [8, 8],
        "stackwise_output_filters": [8, 16],
        "stackwise_expansion_ratios": [1, 4],
        "stackwise_squeeze_and_excite_ratios": [0.0, 0.25],
        "stackwise_strides": [1, 2],
        "stackwise_block_types": ["fused", "unfused"],
        "stackwise_width_coefficients": [1.0, 1.0],
        "stackwise_depth_coefficients": [1.0, 1.0],
    },
    "MobileNet": {
        "stackwise_expansion": [[8, 16]],
        "stackwise_num_blocks": [2],
        "stackwise_num_filters": [[8, 8]],
        "stackwise_kernel_size": [[3, 3]],
        "stackwise_num_strides": [[2, 1]],
        "stackwise_padding": [[1, 1]],
        "stackwise_se_ratio": [[None, None]],
        "stackwise_activation": [["relu", "relu"]],
        "output_num_filters": 16,
        "input_activation": "relu",
        "output_activation": "relu",
        "input_num_filters": 8,
        "image_shape": (32, 32, 3),
        "depthwise_filters": 8,
        "depthwise_stride": 2,
        "depthwise_residual": False,
        "squeeze_and_excite": None,
        "last_layer_filter": 16,
    },
    "MobileNetV5": {
        "stackwise_block_types": [["er"], ["uir"]],
        "stackwise_num_blocks": [1, 1],
        "stackwise_num_filters": [[8], [16]],
        "stackwise_strides": [[2], [2]],
        "stackwise_act_layers": [["relu"], ["relu"]],
        "stackwise_exp_ratios": [[4.0], [6.0]],
        "stackwise_se_ratios": [[0.0], [0.0]],
        "stackwise_dw_kernel_sizes": [[0], [5]],
        "stackwise_dw_start_kernel_sizes": [[0], [0]],
        "stackwise_dw_end_kernel_sizes": [[0], [0]],
        "stackwise_exp_kernel_sizes": [[3], [0]],
        "stackwise_pw_kernel_sizes": [[1], [0]],
        "stackwise_num_heads": [[0], [0]],
        "stackwise_key_dims": [[0], [0]],
        "stackwise_value_dims": [[0], [0]],
        "stackwise_kv_strides": [[0], [0]],
        "stackwise_use_cpe": [[False], [False]],
        "use_msfa": False,
        "image_shape": (32, 32, 3),
    },
    "DenseNet": {"stackwise_num_repeats": [1, 1], "growth_rate": 8},
    "HGNetV2": {
        "depths": [1, 1],
        "embedding_size": 8,
        "hidden_sizes": [8, 16],
        "stem_channels": [3, 8, 8],
        "hidden_act": "relu",
        "use_learnable_affine_block": False,
        "stackwise_stage_filters": [(8, 8, 8, 1, 1, 3), (8, 8, 16, 1, 1, 3)],
        "apply_downsample": [False, True],
        "use_lightweight_conv_block": [False, False],
        "image_shape": (32, 32, 3),
    },
    "VGG": {"stackwise_num_repeats": [1, 1], "stackwise_num_filters": [8, 8]},
    "Xception": {"stackwise_conv_filters": [[8, 8], [16, 16]], "stackwise_pooling": [True, False]},
}
"""A small network of each of KerasHub's image classifiers, and of DINO, which has none."""
UPDATED = {"ViT": 8, "DeiT": 8, "DINOV2": 8, "DINOV3": 8, "SwinTransformer": 4, "MiT": 12}
"""How many layers take low-rank updates, where any do."""


def saved(folder: Path, family: str) -> Path:
    """A preset on disk, with weights drawn at random."""
    keras_hub = pytest.importorskip("keras_hub", reason="KerasHub is the extra hub")
    network = getattr(keras_hub.models, f"{family}Backbone")(**SMALL[family])
    for variable in network.weights:
        variable.assign(RNG.uniform(0.1, 0.3, variable.shape))
    network.save_to_preset(str(folder))
    converter = getattr(keras_hub.layers, f"{family}ImageConverter")
    converter(image_size=(32, 32), scale=[0.01, 0.02, 0.03], offset=[-1.0, -2.0, -3.0]).save_to_preset(str(folder))
    return folder


def settings(folder: Path, **options: Any) -> Any:
    options = {"pretrained": str(folder), "color": "rgb", "augment": "none", **options}
    return imply(load_config("image-classification", options=options).config)


@pytest.mark.slow
@pytest.mark.parametrize("family", SMALL)
def test_every_family_is_loaded_scaled_and_trained(family: str, tmp_path: Path) -> None:
    import keras_hub

    config = settings(saved(tmp_path / "preset", family))
    assert (config.backbone, config.image_size) == ("preset", 32)
    runtime = devices.start(config)
    built = build_model(config, ASSETS)
    origin = transfer.prepare(built, config, ASSETS, print, load=True)
    assert origin is not None
    assert len(origin.new) == 2
    assert {Path(file).name for file in origin.files} >= {"config.json", "model.weights.h5", "image_converter.json"}
    pixels = RNG.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    preset = keras_hub.models.Backbone.from_preset(config.pretrained)
    converter = keras_hub.layers.ImageConverter.from_preset(config.pretrained)
    inputs = converter(pixels)
    expected = preset(dict.fromkeys(preset.input, inputs) if isinstance(preset.input, dict) else inputs)
    assert built.network is not None
    scaled = keras.Model(built.model.input, built.model.get_layer("scale").output)(pixels)
    np.testing.assert_allclose(scaled, inputs, rtol=1e-5)
    found = built.network(dict.fromkeys(preset.input, scaled) if isinstance(preset.input, dict) else scaled)
    for one, two in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)

    transfer.unfreeze(built, config, config.unfreeze, print)  # as a run does: it leaves DINO's mask token out
    steps = runtime.steps(built, make_optimizer(config, built.model), StepSettings())
    block = (pixels[None], np.array([[0, 2]], np.int32), np.ones((1, 2), np.float32))
    before = [np.array(weight) for weight in built.network.trainable_variables]
    assert np.isfinite(steps.train(block, np.array([1e-3], np.float32))).all()
    pairs = zip(before, built.network.trainable_variables, strict=True)
    assert any(not np.array_equal(old, np.array(new)) for old, new in pairs)
    loads_elsewhere(built.model, pixels, tmp_path)


def loads_elsewhere(model: keras.Model, pixels: np.ndarray, folder: Path) -> None:
    """A fresh process that imports nothing but Keras answers the same."""
    model.save(folder / "model.keras")
    np.save(folder / "pixels.npy", pixels)
    code = (
        "import keras, numpy as np; model = keras.saving.load_model('model.keras', compile=False, safe_mode=True); "
        "np.save('logits.npy', model(np.load('pixels.npy'), training=False))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder, capture_output=True)
    np.testing.assert_allclose(np.load(folder / "logits.npy"), model(pixels, training=False), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("family", SMALL)
def test_low_rank_updates_of_every_family(family: str, tmp_path: Path) -> None:
    config = settings(saved(tmp_path / "preset", family), lora_rank=2)
    built = build_model(config, ASSETS)
    said: list[str] = []
    if family not in UPDATED:
        with pytest.raises(ConfigError, match="looked for Dense, EinsumDense and Embedding layers"):
            transfer.prepare(built, config, ASSETS, said.append, load=True)
        return
    transfer.prepare(built, config, ASSETS, said.append, load=True)
    assert said[-1] == f"lora: updates of rank 2 to {UPDATED[family]} layers"
    assert {v.name for v in built.model.trainable_variables} >= {"lora_kernel_a", "lora_kernel_b", "kernel"}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["ViT", "DeiT"])
def test_positions_fit_another_size(family: str, tmp_path: Path) -> None:
    config = settings(saved(tmp_path / "preset", family), image_size=64)
    built = build_model(config, ASSETS)
    origin = transfer.prepare(built, config, ASSETS, print, load=True)
    assert origin is not None
    assert len(origin.resized) == 1
    assert "position_embedding" in origin.resized[0]


@pytest.mark.slow
def test_a_size_that_the_network_cannot_take(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="image_size 30: ViTBackbone cannot be built for it"):
        build_model(settings(saved(tmp_path / "preset", "ViT"), image_size=30), ASSETS)


@pytest.mark.slow
def test_a_run_from_a_preset_and_a_warm_start_from_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    preset = saved(tmp_path / "preset", "ViT")
    (preset / "README.md").write_text("---\nlibrary_name: keras-hub\nlicense: apache-2.0\n---\nA model.\n")
    small = {"limit": 40, "epochs": 1, "batch_size": 8, "baseline_iterations": 5}
    run("image-classification", pretrained=str(preset), run_dir=str(tmp_path / "a"), lora_rank=2, **small)
    assert "; licence: apache-2.0" in capsys.readouterr().err
    manifest = Run(tmp_path / "a").manifest()
    assert manifest["pretrained"]["licence"] == "apache-2.0"
    assert manifest["model"]["name"] == "ViTBackbone"
    assert "backbone: preset\n" in (tmp_path / "a" / "run.yaml").read_text()
    assert Run(tmp_path / "a").read_json("baseline.json")["note"].startswith(f"of {preset} as pretrained")
    run("image-classification", pretrained=str(tmp_path / "a"), run_dir=str(tmp_path / "b"), unfreeze="none", **small)
    origin = Run(tmp_path / "b").manifest()["pretrained"]
    assert (origin["kind"], origin["resized"], origin["new"]) == ("run", [], [])


@pytest.mark.slow
def test_what_a_folder_lacks_is_named(tmp_path: Path) -> None:
    preset = saved(tmp_path / "preset", "VGG")
    (preset / "image_converter.json").unlink()
    with pytest.raises(DataError, match=r"`image_converter\.json` doesn't exist.* as KerasHub saves them"):
        settings(preset)
    config = json.loads((preset / "config.json").read_text())
    (preset / "config.json").write_text(json.dumps({**config, "registered_name": "evil>Lambda"}))
    with pytest.raises(DataError, match="no class registered"):
        settings(preset)


@pytest.mark.slow
def test_unknown_refused_and_unfit_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("keras_hub", reason="KerasHub is the extra hub")
    from pipelines.transfer.presets import check_preset, image_preset

    with pytest.raises(ConfigError, match=r"no preset of that name: did you mean resnet_18_imagenet\?"):
        check_preset("resnet_17_imagenet")
    with pytest.raises(ConfigError, match=r"did you mean imagenet\?"):
        check_preset("imagnet")
    with pytest.raises(ConfigError, match="backbone cnn and the preset resnet_18_imagenet are two networks"):
        settings(Path("resnet_18_imagenet"), backbone="cnn")

    def refuse(*args: Any, **settings: Any) -> None:
        raise OSError("403 Client Error")

    monkeypatch.setattr("kagglehub.model_download", refuse)
    with pytest.raises(
        DataError,
        match=r"cannot be had \(403 Client Error\)\. Offline: .*https://www\.kaggle\.com/models/keras/resnetv1/keras/"
        r"resnet_18_imagenet/3: config\.json, model\.weights\.h5 and image_converter\.json",
    ):
        image_preset("resnet_18_imagenet")


@pytest.mark.slow
def test_a_preset_of_texts_is_refused(tmp_path: Path) -> None:
    keras_hub = pytest.importorskip("keras_hub", reason="KerasHub is the extra hub")
    shape = {"vocabulary_size": 10, "num_layers": 1, "num_heads": 1, "hidden_dim": 2, "intermediate_dim": 2}
    keras_hub.models.BertBackbone(**shape).save_to_preset(str(tmp_path))
    with pytest.raises(ConfigError, match="holds a BertBackbone, which does not see images alone"):
        settings(tmp_path)


def test_without_kerashub_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ConfigError, match=r"need the package keras_hub, the extra \[hub\]"):
        settings(tmp_path)
    assert os.environ.get("HF_HUB_DISABLE_TELEMETRY") == "1"
