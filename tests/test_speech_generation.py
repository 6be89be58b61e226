"""KerasHub's Moonshine, encoder and decoder: what it writes is what KerasHub generates, whatever stands beside a clip;
trained, kept and used as our own networks are."""

import io
import json
import math
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf

from pipelines import predict, run
from pipelines.artefact import load_model
from pipelines.audio.files import FULL
from pipelines.engine import resume
from pipelines.errors import ConfigError, DataError, NotServed
from pipelines.exports.writing import export
from pipelines.runs import Run
from pipelines.scoring import log_softmax
from pipelines.task import Built
from pipelines.text.ids import Ids
from pipelines.text.preset_pieces import PresetPieces
from pipelines.transfer import prepare, unfreeze
from pipelines.transfer.loading import take_weights
from pipelines.transfer.sound_writers import sound_tokenizer, writer_of
from pipelines.verification import verify
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.generation import Generator
from tasks.speech_recognition.implied import imply
from tasks.speech_recognition.model import build_model
from tasks.speech_recognition.windows import between_pauses
from tests.conftest import stopped_at
from tests.test_speech_presets import arrays, converter, tones

# KerasHub 0.32 leaves the files of SentencePiece open.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
RATE = 16_000
SHAPE: dict[str, Any] = {
    **{"filter_dim": 16, "hidden_dim": 16, "intermediate_dim": 16, "encoder_num_layers": 2, "decoder_num_layers": 2},
    **{"encoder_num_heads": 2, "decoder_num_heads": 2, "pad_head_dim_to_multiple_of": 3},
}
SPARE = 6
"""Rows of the embeddings that stand for no piece, as the real ones have them."""


def tokenizer() -> Any:
    """KerasHub's, of a few pieces."""
    hub = pytest.importorskip("keras_hub", reason="KerasHub is the extra hub")
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["ab ba aab bba a b"] * 5),
        model_writer=model,
        vocab_size=14,
        model_type="bpe",
        hard_vocab_limit=False,
        minloglevel=2,
        **{"pad_id": -1, "unk_id": 0, "bos_id": 1, "eos_id": 2},
    )
    return hub.models.MoonshineTokenizer(proto=model.getvalue())


def backbone(seed: int = 0, deviation: float = 0.3, **more: Any) -> Any:
    """With weights that tell answers apart."""
    import keras_hub

    size = tokenizer().vocabulary_size() + SPARE
    network = keras_hub.models.MoonshineBackbone(vocabulary_size=size, **{**SHAPE, **more})
    random, writer = np.random.default_rng(seed), writer_of(network)
    for variable in writer.weights:
        if variable.name != "inv_freq":
            value = random.normal(0, deviation, variable.shape)
            if variable is network.token_embedding.embeddings:
                # What is no text is never the likeliest: KerasHub would write it.
                value[[0, 1, *range(size - SPARE, size)]] = 0
            variable.assign(value)
    network.group_norm.set_weights(writer.get_layer("encoder").get_layer("norm_over_sound").norm.get_weights())
    return network


def preset(folder: Path, **more: Any) -> Path:
    for part in (tokenizer(), backbone(**more), converter("Moonshine")):
        part.save_to_preset(str(folder))
    return folder


def built_from(folder: Path) -> tuple[Built, Config, dict[str, Any]]:
    config = imply(Config(pretrained=str(folder)))
    found = sound_tokenizer(str(folder))
    assets = {"rate": RATE, "tokenizer": found.asset, "ids": found.ids}
    built = build_model(config, assets)
    origin = take_weights(built, str(folder), assets, lambda line: None)
    assert (origin.resized, origin.new) == ([], [])
    return built, config, assets


def sounds(samples: list[int], length: int) -> dict[str, Any]:
    """The same for as many clips each time."""
    audio = (np.random.default_rng(0).normal(size=(len(samples), 2 * RATE)) * 0.1).astype(np.float32)
    counts = np.array(samples, np.int32)
    return {"audio": (audio * (np.arange(2 * RATE) < counts[:, None]))[:, :length], "samples": counts}


def test_the_forward_pass_is_kerashub_s(tmp_path: Path) -> None:
    folder = preset(tmp_path / "preset")
    built, _, _ = built_from(folder)
    network = built.whole
    import keras_hub

    theirs = keras_hub.models.MoonshineAudioToText(keras_hub.models.Backbone.from_preset(str(folder)))
    # The second in whole frames, as KerasHub's encoder is shown silence up to there.
    x = sounds([19_200, 11_520], 19_200)
    pieces = np.array([[1, 5, 6, 9], [1, 8, 11, 2]], np.int32)
    found = arrays(network({**x, "pieces": pieces}))
    for row, samples in enumerate(x["samples"].tolist()):
        given = {
            "encoder_input_values": x["audio"][row : row + 1, :samples, None],
            "encoder_padding_mask": np.ones((1, samples), bool),
            "decoder_token_ids": pieces[row : row + 1],
            "decoder_padding_mask": np.ones((1, 4), bool),
        }
        np.testing.assert_allclose(found[row], arrays(theirs(given))[0], atol=1e-5)
    # Whatever is behind the clip, behind the text, and in the rows beside it.
    longer = {**x, "audio": np.pad(x["audio"], ((0, 0), (0, 5 * 384)))}
    again = arrays(network({**longer, "pieces": np.pad(pieces, ((0, 0), (0, 3)))}))
    np.testing.assert_allclose(again[:, :4], found, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 0.1

    network.save(tmp_path / "model.keras")
    kept = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(arrays(kept({**x, "pieces": pieces})), found)


def test_it_writes_what_kerashub_generates(tmp_path: Path) -> None:
    folder = preset(tmp_path / "preset", seed=3, deviation=0.5)
    built, config, assets = built_from(folder)
    import keras_hub

    hub = keras_hub.models
    prepared = hub.MoonshineAudioToTextPreprocessor(converter("Moonshine"), tokenizer(), decoder_sequence_length=13)
    theirs = hub.MoonshineAudioToText(hub.Backbone.from_preset(str(folder)), prepared)
    theirs.compile(sampler="greedy")
    x = sounds([19_200, 19_200], 19_200)
    # Without a prompt KerasHub 0.32 puts two starts, with an empty one, as in training, a single one. It goes on behind
    # an end until all clips have one: here both end at the same place.
    wanted = theirs.generate({"audio": x["audio"], "text": ["", ""]}, max_length=13)
    ids, pieces = Ids.of(assets), PresetPieces(assets["tokenizer"], lowercase=False)
    # Twelve pieces at most.
    config = config.model_copy(update={"pieces_per_second": 2.0 / 1.2})
    found = Generator(built.whole, config, ids, RATE).generate(**x)
    assert pieces.decode([one.pieces for one in found]) == list(wanted)
    assert [len(one.pieces) for one in found] == [2, 2]
    assert wanted[0] != wanted[1]

    mixed = sounds([19_200, 9_600, 0], 19_200 + 1_920)
    together = Generator(built.whole, config, ids, RATE).generate(**mixed)
    for row in range(2):
        alone = {"audio": mixed["audio"][row : row + 1, :19_200], "samples": mixed["samples"][row : row + 1]}
        (one,) = Generator(built.whole, config, ids, RATE).generate(**alone)
        assert one.pieces == together[row].pieces
        assert one.likelihood == pytest.approx(together[row].likelihood, abs=1e-3)

    several = Generator(built.whole, config.model_copy(update={"beams": 4}), ids, RATE).generate(**mixed)
    for row, (one, greedy) in enumerate(zip(several, together, strict=True)):
        for written in (one, greedy):
            text = np.array([[ids.start, *written.pieces]], np.int32)
            logits = arrays(built.whole({name: part[row : row + 1] for name, part in mixed.items()} | {"pieces": text}))
            each = log_softmax(logits[0, :, : ids.size].astype(np.float64))
            total = sum(each[place, piece] for place, piece in enumerate([*written.pieces, ids.end]))
            assert written.likelihood == pytest.approx(total, abs=1e-3)
            assert not {ids.pad, ids.start, ids.end} & set(written.pieces)
        assert one.likelihood / (len(one.pieces) + 1) >= greedy.likelihood / (len(greedy.pieces) + 1) - 1e-5


def test_transcripts_are_the_preset_s_pieces(tmp_path: Path) -> None:
    """As KerasHub's preprocessor packs them."""
    import keras_hub
    import tensorflow as tf

    from tasks.speech_recognition.encoding import encode
    from tasks.speech_recognition.pieces import encoded_by

    found = sound_tokenizer(str(preset(tmp_path / "preset")))
    ids = Ids(**found.ids)
    assert (ids.start, ids.end, ids.unknown, ids.size) == (1, 2, 0, tokenizer().vocabulary_size())
    texts = ["ab ba", "bba", ""]
    values, splits = encoded_by(texts, found.asset, ids)
    raw = {"text": tf.constant(values), "text_splits": tf.constant(splits)}
    # Many pieces on little sound, which is no fault as it would be for CTC.
    raw |= {"audio": tf.zeros([3 * 2_000], tf.int16), "audio_splits": tf.constant([0, 2_000, 4_000, 6_000], tf.int64)}
    config = Config(pretrained="x", backbone="preset", decoder="generate", rate=RATE, hop_ms=12, subsampling=2)
    x, y, weight = encode(config, {"rate": RATE}, False)(raw, tf.zeros([3], tf.int64))
    packed = keras_hub.models.MoonshineAudioToTextPreprocessor(converter("Moonshine"), tokenizer())
    given = {"audio": np.zeros((3, 2_000), np.float32), "text": texts}
    theirs, wanted, counted = packed(given, decoder_sequence_length=x["labels"].shape[1] + 1)
    numbers = np.asarray(y) - 1
    for row, many in enumerate(numbers.tolist()):
        np.testing.assert_array_equal(x["labels"][row, :many], theirs["decoder_token_ids"][row, 1 : many + 1])
        assert not np.asarray(x["labels"])[row, many:].any()
    np.testing.assert_array_equal(y, np.asarray(counted).sum(axis=1))
    np.testing.assert_array_equal(weight, y)
    assert np.asarray(wanted)[range(3), numbers].tolist() == [2, 2, 2]
    rows = [values[start:end].tolist() for start, end in zip(splits[:-1], splits[1:], strict=True)]
    assert PresetPieces(found.asset, lowercase=False).decode(rows) == texts
    # What the tokenizer does not know is passed over, as a character outside of the alphabet is.
    assert encoded_by(["ab bä"], found.asset, ids)[0].tolist() == encoded_by(["ab b"], found.asset, ids)[0].tolist()


def test_it_learns_two_clips(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    built, config, assets = built_from(preset(tmp_path / "preset", encoder_num_layers=1, decoder_num_layers=1))
    ids = Ids.of(assets)
    trained = keras.Model(built.model.input, built.model.output["loss"])
    trained.compile(keras.optimizers.Adam(0.01, clipnorm=1.0), loss=lambda _, loss: loss, jit_compile=False)
    place = np.arange(9_600) / RATE
    notes = [np.where((place > 0.2) & (place < 0.4), np.sin(2 * np.pi * hertz * place), 0) for hertz in (400, 1_500)]
    x = {"audio": np.stack(notes).astype(np.float32), "samples": np.full(2, 9_600, np.int32)}
    nothing = np.zeros((2, 0, 2), np.int32)
    labels = np.array([[7, 8, 10], [10, 0, 0]], np.int32)
    given = {**x, "labels": labels, "time_masks": nothing, "mel_masks": nothing}
    first = arrays(built.model(given, training=False))
    logits = arrays(built.whole({**x, "pieces": np.array([[1, 7, 8, 10], [1, 10, 0, 0]], np.int32)}))
    for row, wanted in enumerate([[7, 8, 10, 2], [10, 2]]):
        each = log_softmax(logits[row].astype(np.float64))
        mean = -np.mean([each[at, piece] for at, piece in enumerate(wanted)])
        assert first["loss"][row] == pytest.approx(mean, abs=1e-4)
    losses = [float(trained.train_on_batch(given, np.zeros(2, np.float32))) for _ in range(80)]
    assert losses[-1] < 0.1 * losses[0]
    assert arrays(built.model(given, training=False))["accuracy"].tolist() == [1, 1]
    found = Generator(built.whole, config.model_copy(update={"pieces_per_second": 6.5}), ids, RATE).generate(**x)
    assert [one.pieces for one in found] == [[7, 8, 10], [10]]
    assert all(math.exp(one.likelihood) > 0.5 for one in found)


@pytest.mark.parametrize(
    ("options", "trained"),
    [
        ({"unfreeze": "none"}, {"token_embedding"}),
        ({"unfreeze": "last:1"}, {"token_embedding", "decoder_post_norm"}),
        ({"lora_rank": 2}, {"query", "key", "value", "attention_output"}),
    ],
)
def test_what_is_trained(options: dict[str, Any], trained: set[str], tmp_path: Path) -> None:
    config = imply(Config(pretrained=str(preset(tmp_path / "preset")), **options))
    found = sound_tokenizer(str(config.pretrained))
    assets = {"rate": RATE, "tokenizer": found.asset, "ids": found.ids}
    built = build_model(config, assets)
    prepare(built, config, assets, lambda line: None, load=True)
    unfreeze(built, config, config.unfreeze, lambda line: None)
    variables = built.model.trainable_variables
    assert {variable.path.split("/")[-2] for variable in variables} == trained
    if config.lora_rank:  # of 2 + 2 layers 4 projections, and of the decoder's 4 more
        assert len(variables) == 2 * (2 * 4 + 2 * 8)


def recogniser(folder: Path, source: Path, **more: Any) -> Any:
    """A short run."""
    data = folder.parent / "tones"
    settings: dict[str, Any] = {
        **{"data": str(data if data.is_dir() else tones(data)), "split": "0.7 0.15 0.15", "batch_size": 8},
        **{"pretrained": str(source), "run_dir": str(folder), "epochs": 1},
    }
    return run("speech-recognition", **{**settings, **more})


def test_a_run_that_writes(tmp_path: Path) -> None:
    result = recogniser(tmp_path / "run", preset(tmp_path / "preset"))
    kept = Run(tmp_path / "run")
    manifest = kept.manifest()
    assert manifest["model"]["name"] == "MoonshineBackbone"
    assert (manifest["pretrained"]["kind"], manifest["pretrained"]["new"]) == ("preset", [])
    assert any(name.endswith("vocabulary.spm") for name in manifest["pretrained"]["files"])
    settings = kept.settings.read_text("utf-8")
    assert "decoder: generate\n" in settings
    assert "pieces_per_second: 6.5\n" in settings
    assert sorted(file.stem for file in kept.model.glob("*.json")) == ["ids", "rate", "tokenizer"]
    assert result.metrics["scores"]["wer"]["value"] >= 0
    parity = kept.read_json("export/parity.json")["saved_model"]
    assert parity["examples"] == kept.read_json("metrics.json")["examples"]
    assert parity["largest_difference"] < 1e-4
    assert {one["name"] for one in (result.metrics["baseline"], *result.metrics["baselines"])} == {
        *("linear CTC", "most frequent transcript")
    }
    assert not verify(kept.path).problems
    lines = [json.loads(line) for line in (kept.path / "predictions.jsonl").read_text("utf-8").splitlines()]
    assert all(0 < line["confidence"] < 1 for line in lines if line["transcript"])
    store = tmp_path / "tones" / "00.wav"
    (again,) = predict(kept.path, [store], beams=2)
    assert 0 < again["confidence"] < 1

    # One minute with a pause in it, of which 30 s at most are heard at once.
    noise = np.random.default_rng(0).normal(0, 0.1, 60 * 8_000)
    noise[int(27.5 * 8_000) : 28 * 8_000] = 0
    soundfile.write(tmp_path / "long.wav", noise, 8_000)
    (long,) = predict(kept.path, [tmp_path / "long.wav"])
    assert (long["seconds"], long["parts"]) == (60.0, 3)
    soundfile.write(tmp_path / "first.wav", noise[: int(27.75 * 8_000)], 8_000)
    (first,) = predict(kept.path, [tmp_path / "first.wav"])
    assert long["transcript"].startswith(first["transcript"][:10])
    with pytest.raises(ConfigError, match=r"timestamps: .*writes words and does not say where they lie: leave"):
        list(predict(kept.path, [store], timestamps=True))
    with pytest.raises(ConfigError, match=r"lm_weight: .* no language model beside it: leave it out"):
        list(predict(kept.path, [store], lm_weight=1.0))

    for options, sentence in [
        ({"decoder": "ctc"}, "decoder ctc: the run .* has a decoder generate, .* leave decoder out"),
        ({"units": "pieces"}, "units pieces does nothing with decoder generate: leave it out, or add --decoder ctc"),
    ]:
        with pytest.raises(ConfigError, match=sentence):
            imply(Config(pretrained=str(kept.path), **options))
    found = imply(Config(pretrained=str(kept.path)))
    assert (found.decoder, found.hop_ms, found.backbone) == ("generate", 12, "preset")


@pytest.mark.slow
def test_served_alone_it_writes_as_predict_does(tmp_path: Path) -> None:
    recogniser(tmp_path / "run", preset(tmp_path / "preset", seed=3, deviation=0.5), learning_rate=1e-9, beams=2)
    (parity,) = export(tmp_path / "run", ["saved-model"], 100, lambda line: None).values()
    assert parity["largest_difference"] < 1e-4
    assert parity["scores"]["wer"]["change"] == 0
    assert parity["needs"] == ["tensorflow", "tensorflow_text"]
    with pytest.raises(NotServed, match="a preset's own decoder writes in the SavedModel alone"):
        export(tmp_path / "run", ["litert"], 100, lambda line: None)

    served = tf.saved_model.load(str(tmp_path / "run/export/saved_model")).signatures["serving_default"]
    sound = np.random.default_rng(0).normal(0, 3_000, (3, 31 * RATE)).astype(np.int16)
    samples = np.array([RATE, 0, 31 * RATE], np.int32)
    found = {name: one.numpy() for name, one in served(waveform=sound / np.float32(FULL), samples=samples).items()}
    assert found["heard"].tolist() == [RATE, 0, 30 * RATE]
    assert (found["text"][1], found["likelihood"][1], found["pieces"][1]) == (b"", 0, 0)
    assert math.isnan(found["confidence"][1])
    soundfile.write(tmp_path / "one.wav", sound[0, :RATE], RATE)
    (one,) = predict(tmp_path / "run", [tmp_path / "one.wav"])
    assert one["transcript"] == found["text"][0].decode()
    assert one["confidence"] == pytest.approx(found["confidence"][0], abs=1e-3)
    nothing = served(waveform=np.zeros((0, 5), np.float32), samples=np.zeros(0, np.int32))
    assert all(len(one) == 0 for one in nothing.values())


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"unfreeze": "staged", "epochs": 3}, {"lora_rank": 2}])
def test_ways_to_train_and_a_warm_start(options: dict[str, Any], tmp_path: Path) -> None:
    recogniser(tmp_path / "a", preset(tmp_path / "preset"), **options)
    recogniser(tmp_path / "b", tmp_path / "a")
    origin = Run(tmp_path / "b").manifest()["pretrained"]
    assert (origin["kind"], origin["resized"], origin["new"]) == ("run", [], [])
    one, other = ((tmp_path / name / "model" / "tokenizer.json").read_bytes() for name in "ab")
    assert one == other


@pytest.mark.slow
def test_it_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    folder = preset(tmp_path / "preset", dropout=0.2, attention_dropout=0.2)
    whole = recogniser(tmp_path / "whole", folder, epochs=2)
    with stopped_at(4):
        recogniser(tmp_path / "run", folder, epochs=2)
    further = resume(tmp_path / "run", {}, [])
    assert further is not None
    assert further.metrics["scores"] == whole.metrics["scores"]
    assert (tmp_path / "run/predictions.jsonl").read_bytes() == (tmp_path / "whole/predictions.jsonl").read_bytes()
    ours, theirs = (load_model(Run(tmp_path / name))[0].get_weights() for name in ("run", "whole"))
    assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_what_does_not_fit_is_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = preset(tmp_path / "preset")
    for settings, sentence in [
        ({"units": "pieces"}, "units pieces does nothing with decoder generate: leave it out, or add --decoder ctc"),
        ({"dropout": 0.5}, "dropout 0.5 does nothing with decoder generate"),
        ({"language_model": "words", "beams": 4}, "language_model words does nothing with decoder generate"),
        ({"decoder": "ctc", "pieces_per_second": 9}, "pieces_per_second 9.0 does nothing with decoder ctc"),
        ({"decoder": "ctc", "vocabulary_size": 600}, "vocabulary_size 600 does nothing with units characters"),
        ({"mel_masks": 2}, "mel_masks 2: .* leave mel_masks out"),
    ]:
        with pytest.raises(ConfigError, match=sentence):
            imply(Config(pretrained=str(folder), **settings))
    assert imply(Config(pretrained=str(folder), beams=4)).beams == 4
    assert imply(Config(pretrained=str(folder), dropout=0.25)).decoder == "generate"
    with pytest.raises(ValueError, match="decoder generate is that of a Moonshine preset: name it with pretrained"):
        Config(decoder="generate")
    assets = {"rate": RATE, "ids": {**sound_tokenizer(str(folder)).ids, "size": 1_000}}
    with pytest.raises(ConfigError, match="a tokenizer of 1,000 pieces and a network of"):
        build_model(imply(Config(pretrained=str(folder))), assets)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"cannot be opened .*it needs .*tokenizer\.json"):
        recogniser(tmp_path / "run", folder)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"vocabulary_size": 600}, "vocabulary_size 600 does nothing with units characters: .* add --units pieces"),
        ({"size": "small"}, "size small does nothing with backbone gru: leave it out, or add --backbone conformer"),
        ({"heads": 4}, "heads 4 does nothing with backbone gru"),
        ({"pieces_per_second": 9}, "pieces_per_second 9.0 does nothing with decoder ctc"),
    ],
)
def test_settings_without_effect_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Config(**settings)
    # What is the default anyway, as run.yaml has it, or goes with the others, is not.
    fields = Config.model_fields
    Config(**{name: fields[name].default for name in settings})
    Config(**{"size": "small", "heads": 4}, backbone="conformer")
    Config(vocabulary_size=600, units="pieces")


def test_a_chunk_ends_where_it_is_quiet() -> None:
    random = np.random.default_rng(0)
    sound = (random.normal(size=10_000) * 3_000).astype(np.int16)
    sound[3_500:3_740] = 0
    sound[7_000:7_240] = (sound[7_000:7_240] / 100).astype(np.int16)
    for size in (1, 777, 10_000):
        blocks = [sound[start : start + size] for start in range(0, len(sound), size)] if size > 1 else [sound]
        found = list(between_pauses(iter(blocks), 4_000, 1_000, 20))
        assert [one.first for one in found] == [0] * len(found)
        assert all(one.last is None and len(one.samples) <= 4_000 for one in found)
        np.testing.assert_array_equal(np.concatenate([one.samples for one in found]), sound)
        ends = np.cumsum([len(one.samples) for one in found]).tolist()
        assert 3_600 <= ends[0] <= 3_640
        assert 7_100 <= ends[1] <= 7_140
    (nothing,) = between_pauses(iter([]), 4_000, 1_000, 20)
    assert len(nothing.samples) == 0
    silent = [len(one.samples) for one in between_pauses([np.zeros(9_000, np.int16)], 4_000, 1_000, 20)]
    assert sum(silent) == 9_000
    assert all(silent)


def test_a_check_of_data_says_nothing_of_characters(tmp_path: Path) -> None:
    from tasks.speech_recognition.data import check_data

    data = tones(tmp_path / "tones")
    (data / "00.txt").write_text("ab" * 12, "utf-8")
    test = tones(tmp_path / "test", 3)
    (test / "00.txt").write_text("aä", "utf-8")
    given = {"data": str(data), "test": str(test)}
    plain, other = (Config(**given, **more) for more in ({}, {"pretrained": "moonshine_tiny_en"}))
    kinds = [{problem.kind for problem in check_data(config).problems} for config in (plain, other)]
    assert kinds[0] >= {"outside-alphabet", "too-fast"}
    assert not {"outside-alphabet", "too-fast"} & kinds[1]


@pytest.mark.slow
def test_on_jax(again_on_jax: Any) -> None:
    if os.environ.get("SIXFOLD_TEST_BACKEND") != "jax":
        again_on_jax("kerashub or learns")
