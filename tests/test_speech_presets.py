"""KerasHub's encoders that hear, Whisper's and Moonshine's: fed as KerasHub feeds them, trained by CTC, kept and used
as our own networks are."""

import json
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import soundfile

from pipelines import predict, run
from pipelines.artefact import load_model
from pipelines.config import load_config
from pipelines.engine import resume
from pipelines.errors import ConfigError, DataError
from pipelines.runs import Run
from pipelines.transfer import unfreeze
from pipelines.transfer.loading import take_weights
from pipelines.transfer.sound_presets import encoder_of, sound_preset
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.implied import imply
from tasks.speech_recognition.lengths import answers, bounds
from tasks.speech_recognition.model import build_model
from tasks.speech_recognition.preset_features import Samples, WhisperMel
from tests.conftest import stopped_at

RATE = 16_000
FAMILIES = ["Whisper", "Moonshine"]
_SMALL = {"vocabulary_size": 12, "hidden_dim": 16, "intermediate_dim": 16}
SHAPES: dict[str, dict[str, Any]] = {
    "Whisper": {**_SMALL, "num_layers": 2, "num_heads": 2, "num_mels": 20, "max_encoder_sequence_length": 400},
    "Moonshine": {
        **{**_SMALL, "filter_dim": 16, "encoder_num_layers": 2, "decoder_num_layers": 2},
        **{"encoder_num_heads": 2, "decoder_num_heads": 2},
    },
}
ALPHABET = ["", " ", "a", "b"]
ASSETS: dict[str, Any] = {"alphabet": ALPHABET, "rate": RATE}
RNG = np.random.default_rng(0)


def backbone(family: str) -> Any:
    """With weights that tell answers apart."""
    hub = pytest.importorskip("keras_hub", reason="KerasHub is the extra hub")
    network = getattr(hub.models, f"{family}Backbone")(**SHAPES[family])
    random = np.random.default_rng(0)
    for variable in network.weights:
        if variable.name != "inv_freq":
            variable.assign(random.normal(0, 0.3, variable.shape))
    return network


def converter(family: str, **more: Any) -> Any:
    import keras_hub

    own = {"num_mels": 20, "max_audio_length": 4} if family == "Whisper" else {}
    return getattr(keras_hub.layers, f"{family}AudioConverter")(**{**own, **more})


def preset(folder: Path, family: str, **more: Any) -> Path:
    backbone(family).save_to_preset(str(folder))
    converter(family, **more).save_to_preset(str(folder))
    return folder


def clips(samples: list[int]) -> dict[str, Any]:
    audio = (RNG.normal(size=(len(samples), 2 * RATE)) * 0.1).astype(np.float32)
    counts = np.array(samples, np.int32)
    audio *= np.arange(2 * RATE) < counts[:, None]
    return {"audio": audio, "samples": counts}


def arrays(x: Any) -> Any:
    return keras.tree.map_structure(lambda one: np.asarray(keras.ops.convert_to_numpy(one)), x)


@pytest.mark.parametrize("mels", [20, 80])
def test_the_features_are_those_of_kerashub_s_converter(mels: int) -> None:
    pytest.importorskip("keras_hub", reason="KerasHub is the extra hub")
    x = clips([2 * RATE, 20_001, 160, 0])
    x["audio"][0, RATE:] *= 1e-6  # which is cut off, so far below the rest
    found, counts = arrays(WhisperMel(RATE, mels, 400, 160)(x))
    wanted = arrays(converter("Whisper", num_mels=mels)(x["audio"]))
    assert counts.sum(axis=(1, 2)).tolist() == [200, 126, 1, 0]
    for row, count in enumerate([200, 126, 1, 0]):
        np.testing.assert_allclose(found[row, :count], wanted[row, :count], atol=1e-4)
        assert not found[row, count:].any()
    assert np.ptp(wanted[0, :200]) == pytest.approx(2.0)


def test_samples_are_normalised_as_kerashub_does_it() -> None:
    pytest.importorskip("keras_hub", reason="KerasHub is the extra hub")
    x = clips([19_200, 9_600])
    there = np.arange(19_200) < x["samples"][:, None]
    x["audio"] = x["audio"][:, :19_200] + np.float32(0.01) * there
    plain, counts = arrays(Samples(RATE, 192)(x))
    np.testing.assert_array_equal(plain.reshape(2, -1), x["audio"])
    assert counts.sum(axis=(1, 2)).tolist() == [100, 50]
    found, _ = arrays(Samples(RATE, 192, normalised=True)(x))
    for row, count in enumerate([19_200, 9_600]):
        wanted = arrays(converter("Moonshine", do_normalize=True)(x["audio"][row : row + 1, :count]))
        np.testing.assert_allclose(found[row].reshape(-1)[:count], wanted[0, :, 0], atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_clip_is_answered_as_kerashub_answers_it_alone(family: str) -> None:
    """Which pads nothing there: KerasHub's Whisper has no mask, and Moonshine's norm is over padding too."""
    theirs = backbone(family)
    whisper = family == "Whisper"
    layer = WhisperMel(RATE, 20, 400, 160) if whisper else Samples(RATE, 192)
    x = clips([23_040, 20_001, 9_990])
    x["audio"] = x["audio"][:, :23_040]
    features, counts = layer(x)
    encoder = encoder_of(theirs)
    found = arrays(encoder([features, counts]))
    assert found.shape[:2] == (3, 72 if whisper else 60)
    tokens = {"decoder_token_ids": keras.ops.ones((1, 2), "int32"), "decoder_padding_mask": keras.ops.ones((1, 2))}
    for row, samples in enumerate(x["samples"].tolist()):
        frames = -(-samples // layer.hop)
        if whisper:
            given = {"encoder_features": features[row : row + 1, :frames]}
        else:
            given = {"encoder_input_values": keras.ops.reshape(features[row : row + 1, :frames], (1, -1, 1))}
            given["encoder_padding_mask"] = keras.ops.ones((1, frames * layer.hop), bool)
        wanted = arrays(theirs({**given, **tokens})["encoder_sequence_output"])[0]
        assert 0 <= -(-frames // 2) - len(wanted) <= (0 if whisper else 2)
        np.testing.assert_allclose(found[row, : len(wanted)], wanted, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_changes_no_answer(family: str, tmp_path: Path) -> None:
    config = imply(Config(pretrained=str(preset(tmp_path / "preset", family)), decoder="ctc"))
    network = build_model(config, ASSETS).whole
    short = clips([24_960, 16_001, 700, 0])
    step = round(config.stride_seconds * RATE)
    short["audio"] = short["audio"][:, : 24_960 // step * step]
    long = {**short, "audio": np.pad(short["audio"], ((0, 0), (0, 5 * step)))}
    one, other = arrays(network(short)), arrays(network(long))
    assert np.isfinite(one).all()
    assert one.shape[1] == short["audio"].shape[1] / step
    for row, count in enumerate(answers(short["samples"], config, RATE).tolist()):
        np.testing.assert_allclose(other[row, :count], one[row, :count], atol=1e-4)
    alone = arrays(network({name: value[1:2] for name, value in short.items()}))
    np.testing.assert_allclose(alone[0, :50], one[1, :50], atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_weights_of_a_preset_are_taken_over(family: str, tmp_path: Path) -> None:
    folder = preset(tmp_path / "preset", family)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n", "utf-8")
    config = imply(Config(pretrained=str(folder), decoder="ctc"))
    built = build_model(config, ASSETS)
    origin = take_weights(built, str(folder), ASSETS, lambda line: None)
    assert (origin.kind, origin.licence, origin.resized) == ("preset", "mit", [])
    assert all("logits" in name for name in origin.new)
    assert any(file.endswith("audio_converter.json") for file in origin.files)
    theirs = {one.path: one for one in backbone(family).weights}
    ours = {one.path.replace("norm_over_sound/norm", "group_norm"): one for one in built.network.weights}
    assert ours.keys() < theirs.keys()  # the decoder's are left where they are
    assert len(origin.taken) == len(ours)
    for name, variable in ours.items():
        np.testing.assert_array_equal(arrays(variable), arrays(theirs[name]), err_msg=name)

    built.whole.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    x = clips([9_600, 5_000])
    x["audio"] = x["audio"][:, :9_600]
    np.testing.assert_array_equal(*(arrays(one(x)) for one in (built.whole, again)))


def tones(folder: Path, count: int = 24) -> Path:
    """Words of two letters, each letter a tone, at another rate than presets take."""
    folder.mkdir()
    random, place = np.random.default_rng(1), np.arange(2_000) / 8_000
    for number in range(count):
        letters = [*random.permutation(["a", "b"]), *random.choice(["a", "b"], number % 3)]
        sound = [np.sin(2 * np.pi * {"a": 500, "b": 1_800}[letter] * place) * 0.3 for letter in letters]
        soundfile.write(folder / f"{number:02d}.wav", np.concatenate(sound), 8_000)
        (folder / f"{number:02d}.txt").write_text("".join(letters), "utf-8")
    return folder


def recogniser(folder: Path, source: Path, **more: Any) -> Any:
    """A short run."""
    data = folder.parent / "tones"
    settings: dict[str, Any] = {
        **{"data": str(data if data.is_dir() else tones(data)), "split": "0.7 0.15 0.15", "batch_size": 8},
        **{"pretrained": str(source), "run_dir": str(folder), "epochs": 1, "decoder": "ctc"},
    }
    return run("speech-recognition", **{**settings, **more})


@pytest.mark.parametrize("family", ["Whisper", pytest.param("Moonshine", marks=pytest.mark.slow)])
def test_a_run_from_a_preset(family: str, tmp_path: Path) -> None:
    folder = preset(tmp_path / "preset", family)
    result = recogniser(tmp_path / "run", folder)
    kept = Run(tmp_path / "run")
    manifest = kept.manifest()
    assert manifest["model"]["name"] == f"{family}Backbone"
    assert manifest["pretrained"]["kind"] == "preset"
    assert manifest["pretrained"]["licence"] is None
    settings = kept.settings.read_text("utf-8")
    assert "backbone: preset\n" in settings
    assert "rate: 16000\n" in settings
    assert result.metrics["scores"]["wer"]["value"] >= 0
    assert (kept.path / "report.html").is_file()
    lines = [json.loads(line) for line in (kept.path / "predictions.jsonl").read_text("utf-8").splitlines()]
    assert all(line["seconds"] > 0 for line in lines)
    long = RNG.normal(size=9 * 8_000) * 0.1
    soundfile.write(tmp_path / "long.wav", long, 8_000)
    (again,) = predict(kept.path, [tmp_path / "long.wav"], timestamps=True)
    assert again["seconds"] == 9.0
    assert again.get("parts", 1) == (3 if family == "Whisper" else 1)
    assert all(0 <= word["start"] < word["end"] <= 9.1 for word in again["words"])


@pytest.mark.parametrize(
    ("which", "trained"),
    [("none", set()), ("last:3", {"encoder_layer_norm", "feedforward_output_dense", "feedforward_intermediate_dense"})],
)
def test_what_is_trained_of_whisper(which: str, trained: set[str], tmp_path: Path) -> None:
    config = imply(Config(pretrained=str(preset(tmp_path / "preset", "Whisper")), unfreeze=which))
    built = build_model(config, ASSETS)
    unfreeze(built, config, which, lambda line: None)
    found = {variable.path.split("/")[-2] for variable in built.model.trainable_variables}
    assert found == {"logits", *trained}


def test_the_places_of_whisper_are_never_trained(tmp_path: Path) -> None:
    config = imply(Config(pretrained=str(preset(tmp_path / "preset", "Whisper"))))
    built = build_model(config, ASSETS)
    unfreeze(built, config, "all", lambda line: None)
    held = [one.path for one in built.model.weights if not one.trainable and "seed" not in one.path]
    assert held == ["encoder_position_embedding/embeddings"]


def test_what_a_preset_decides(tmp_path: Path) -> None:
    whisper, moonshine = (str(preset(tmp_path / family, family)) for family in FAMILIES)
    found = imply(Config(pretrained=whisper))
    assert (found.backbone, found.rate, found.mels, found.window_ms, found.hop_ms, found.subsampling) == (
        *("preset", RATE, 20, 25, 10, 2),
    )
    # The table has 200 places of 20 ms: no clip is slowed down beyond them.
    assert (found.max_seconds, found.chunk_seconds, found.overlap_seconds) == (4, 4, 1)
    assert max(bounds(found, RATE)) == 4 * RATE
    assert all(length % 320 == 0 for length in bounds(found, RATE))
    assert imply(Config(pretrained=whisper, max_seconds=3)).max_seconds == 3
    found = imply(Config(pretrained=moonshine))
    assert (found.hop_ms, found.subsampling, found.mel_masks, found.max_seconds) == (12, 2, 0, 30)
    assert imply(Config(**{**found.model_dump(), "pretrained": str(tmp_path / "gone")})).hop_ms == 12


@pytest.mark.parametrize("which", ["last:3", "all"])
def test_learning_rates(which: str, tmp_path: Path) -> None:
    folder = str(preset(tmp_path / "preset", "Whisper"))
    asked: Any = load_config("speech-recognition", options={"pretrained": folder, "unfreeze": which}).config
    assert imply(asked).learning_rate == 1e-4
    asked = load_config("speech-recognition", options={"pretrained": folder, "unfreeze": "none"}).config
    assert imply(asked).learning_rate == 1e-3


def test_what_does_not_fit_is_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = preset(tmp_path / "preset", "Whisper")

    def asked(**settings: Any) -> Config:
        return Config(**{"pretrained": str(folder), **settings})

    for settings, sentence in [
        ({"backbone": "gru"}, "backbone gru and the preset in .* leave backbone out"),
        ({"width": 64}, "width 64: .* holds a preset, which brings its own network .* leave width out"),
        ({"mels": 64}, "mels 64: .* leave mels out"),
        ({"rate": 8_000}, "rate 8000: .* leave rate out"),
        ({"subsampling": 4}, "subsampling 4: .* leave subsampling out"),
        ({"normalization": "global"}, "normalization global: .* leave normalization out"),
        ({"max_seconds": 5}, r"max_seconds 5: .* takes 4 s at most\."),
        ({"chunk_seconds": 30}, r"chunk_seconds 30: .* takes 4 s at most\."),
        ({"overlap_seconds": 3}, "overlap_seconds 3 is more than half of the 4 s that .* takes: lower it"),
        ({"min_seconds": 4}, "min_seconds 4 leaves nothing below the 4 s that .* takes: lower it"),
        ({"pretrained": "imagenet"}, "imagenet is for networks that see images: name a KerasHub preset of Whisper"),
        ({"pretrained": str(tmp_path / "none")}, "there is no file or folder"),
        ({"pretrained": "whisper_tiny"}, "knows no preset of that name: did you mean whisper_tiny_"),
    ]:
        with pytest.raises(ConfigError, match=sentence):
            imply(asked(**settings))
    assert imply(asked(mels=20, rate=RATE)).mels == 20
    with pytest.raises(ConfigError, match="mel_masks 2: .* leave mel_masks out"):
        imply(asked(pretrained=str(preset(tmp_path / "moonshine", "Moonshine")), mel_masks=2))
    with pytest.raises(ValueError, match="backbone preset is the encoder of a KerasHub preset: name it with"):
        Config(backbone="preset")


def test_a_preset_of_another_kind_or_broken_is_refused(tmp_path: Path) -> None:
    hub = pytest.importorskip("keras_hub", reason="KerasHub is the extra hub")
    reader = hub.models.BertBackbone(vocabulary_size=9, num_layers=1, num_heads=2, hidden_dim=4, intermediate_dim=4)
    reader.save_to_preset(str(tmp_path / "bert"))
    with pytest.raises(ConfigError, match=r"BertBackbone, which does not hear: choose a preset of Whisper or Moon"):
        sound_preset(str(tmp_path / "bert"))
    folder = preset(tmp_path / "other", "Whisper", num_mels=40)
    with pytest.raises(ConfigError, match="a network of 20 mel bands and an audio_converter.json of 40"):
        sound_preset(str(folder))
    (folder / "audio_converter.json").unlink()
    with pytest.raises(DataError, match=r"cannot be opened .*it needs .*audio_converter\.json"):
        sound_preset(str(folder))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("options", [{"unfreeze": "staged", "epochs": 3}, {"unfreeze": "last:3"}, {"lora_rank": 2}])
def test_ways_to_train_and_a_warm_start(options: dict[str, Any], family: str, tmp_path: Path) -> None:
    folder = preset(tmp_path / "preset", family)
    recogniser(tmp_path / "a", folder, **options)
    manifest = Run(tmp_path / "a").manifest()
    assert 0 < manifest["model"]["trainable"] < manifest["model"]["parameters"]
    with pytest.raises(ConfigError, match="mels 30: .* leave mels out"):
        recogniser(tmp_path / "b", tmp_path / "a", mels=30)
    if family == "Whisper":
        with pytest.raises(ConfigError, match=r"max_seconds 5: .* takes 4 s at most\."):
            recogniser(tmp_path / "c", tmp_path / "a", max_seconds=5)  # said as the model is built
    recogniser(tmp_path / "b", tmp_path / "a", epochs=1)
    origin = Run(tmp_path / "b").manifest()["pretrained"]
    assert (origin["kind"], origin["resized"], origin["new"]) == ("run", [], [])
    assert len(origin["taken"]) > 20
    settings = [(tmp_path / name / "run.yaml").read_text("utf-8") for name in "ab"]
    kept = ("backbone", "hop_ms", "chunk_seconds", "mels", "rate", "mel_masks")
    one, other = ([line for line in text.splitlines() if line.startswith(kept)] for text in settings)
    assert one == other


@pytest.mark.parametrize("family", FAMILIES)
def test_an_encoder_learns_two_clips(family: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    hub = pytest.importorskip("keras_hub", reason="KerasHub is the extra hub")
    getattr(hub.models, f"{family}Backbone")(**SHAPES[family]).save_to_preset(str(tmp_path))
    converter(family).save_to_preset(str(tmp_path))
    config = imply(Config(pretrained=str(tmp_path), decoder="ctc"))
    model = build_model(config, ASSETS).model
    trained = keras.Model(model.input, model.output["loss"])
    trained.compile(keras.optimizers.Adam(0.01, clipnorm=1.0), loss=lambda _, loss: loss, jit_compile=False)
    place = np.arange(9_600) / RATE
    notes = [np.where((place > 0.2) & (place < 0.4), np.sin(2 * np.pi * hertz * place), 0) for hertz in (400, 1_500)]
    x = {"audio": np.stack(notes).astype(np.float32), "samples": np.full(2, 9_600, np.int32)}
    nothing = np.zeros((2, 0, 2), np.int32)
    x |= {"labels": np.array([[2, 3], [3, 0]], np.int32), "time_masks": nothing, "mel_masks": nothing}
    losses = [float(trained.train_on_batch(x, np.zeros(2, np.float32))) for _ in range(150)]
    assert losses[-1] < 0.1 * losses[0]
    assert arrays(model(x, training=False)["cer"]).max() == 0


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_it_goes_on_where_it_was_stopped(family: str, tmp_path: Path) -> None:
    folder = preset(tmp_path / "preset", family)
    whole = recogniser(tmp_path / "whole", folder, epochs=2)
    with stopped_at(4):
        recogniser(tmp_path / "run", folder, epochs=2)
    further = resume(tmp_path / "run", {}, [])
    assert further.metrics["scores"] == whole.metrics["scores"]
    assert (tmp_path / "run/predictions.jsonl").read_bytes() == (tmp_path / "whole/predictions.jsonl").read_bytes()
    ours, theirs = (load_model(Run(tmp_path / name))[0].get_weights() for name in ("run", "whole"))
    assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))


@pytest.mark.slow
def test_on_jax(again_on_jax: Any) -> None:
    if os.environ.get("SIXFOLD_TEST_BACKEND") != "jax":
        again_on_jax("alone or padding or features or samples or taken_over")


@pytest.mark.parametrize("family", FAMILIES)
def test_mixed_precision(family: str, tmp_path: Path) -> None:
    folder = preset(tmp_path / "preset", family)
    x = clips([9_600, 5_000])
    x["audio"] = x["audio"][:, :9_600]
    found = []
    try:
        for policy in ("float32", "mixed_bfloat16"):
            keras.config.set_dtype_policy(policy)
            built = build_model(imply(Config(pretrained=str(folder), decoder="ctc")), ASSETS)
            take_weights(built, str(folder), ASSETS, lambda line: None)
            built.whole.get_layer("logits").kernel.assign(np.random.default_rng(2).normal(size=(16, 4)))
            found.append(arrays(built.whole(x)))
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(found[1], found[0], atol=0.3)
    assert np.abs(found[0]).max() > 1


def test_a_check_of_data_leaves_to_a_preset_what_fits(tmp_path: Path) -> None:
    from tasks.speech_recognition.data import check_data

    data = tones(tmp_path / "tones")
    (data / "00.txt").write_text("ab" * 12, "utf-8")  # 24 characters in half a second: 13 answers, 25 of Whisper
    plain, other = (Config(data=str(data), **more) for more in ({}, {"pretrained": "whisper_tiny_en"}))
    found = [problem.message for problem in check_data(plain).problems]
    assert len(check_data(other).problems) == len(found) - 1
