"""The SavedModel of speech recognition writes what predict writes, in a process that knows TensorFlow alone."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf

from pipelines import devices, run
from pipelines.devices.steps import kept_model
from pipelines.errors import RunError
from pipelines.exports.formats import save_litert, save_onnx
from pipelines.runs import Run
from pipelines.saved_model import check_served, save_served
from pipelines.scoring import log_softmax
from pipelines.served import Core, Serving
from pipelines.task import Raw, Record
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.decoding import Greedy, words
from tasks.speech_recognition.decoding_graph import likeliest
from tasks.speech_recognition.model import build_model
from tasks.speech_recognition.prediction import predictor
from tasks.speech_recognition.scores import score
from tasks.speech_recognition.serving import serving

RATE = 8_000
LONGEST = 2 * RATE
SILENT = 1
"""The clip of zeros: over its constant bands the deviation is rounding alone, which a model this loud makes heard."""
CHARACTERS = ["", " ", "'", "a", "a\u0301", "ɔ\u0303\u0301", "ß", "日", "\u0301"]
PIECES = ["", " the", " a", "er", " ", "ing", "日本", " n\u0303", "'s"]
SERVED = """
import sys


class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *place):
        hidden = name.partition(".")[0] in ("keras", "pipelines", "tasks")
        return None if hidden else self.finder.find_spec(name, *place)


sys.meta_path = [Without(finder) for finder in sys.meta_path]
import numpy as np
import tensorflow as tf

for folder in sys.argv[1:]:
    served = tf.saved_model.load(folder + "/saved_model").signatures["serving_default"]
    given = np.load(folder + "/given.npz")
    found = {}
    for batch in dict.fromkeys(name.partition("/")[0] for name in given.files):
        answers = served(waveform=given[f"{batch}/waveform"], samples=given[f"{batch}/samples"])
        for name, values in answers.items():
            values = values.numpy()
            found[f"{batch}/{name}"] = values.astype("S") if values.dtype == object else values
    np.savez(folder + "/found.npz", **found)
    try:
        served(waveform=np.zeros((1, 5), np.float32), samples=np.array([6], np.int32))
    except tf.errors.InvalidArgumentError as error:
        print(error.message)
"""
KINDS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "gru": ({"layers": 1}, CHARACTERS),
    "conformer": (
        {"backbone": "conformer", "layers": 1, "heads": 2, "normalization": "global", "hop_ms": 12.5, "subsampling": 2},
        CHARACTERS,
    ),
    "searching": ({"layers": 1, "units": "pieces", "beams": 4, "precision": "mixed_bfloat16"}, PIECES),
}


def kept(settings: dict[str, Any], alphabet: list[str]) -> tuple[keras.Model, Config, dict[str, Any]]:
    """A model that was not trained, which says many labels, and its config and assets."""
    known = {"mels": 20, "width": 16, "dropout": 0.0, "rate": RATE, "max_seconds": 2.0, "chunk_seconds": 2.0}
    config = Config(**{**known, "overlap_seconds": 0.5, **settings})
    assets: dict[str, Any] = {"alphabet": [*alphabet], "rate": RATE}
    if config.normalization == "global":
        assets["normal"] = {"mean": [-6.0] * config.mels, "deviation": [2.0] * config.mels}
    devices.start(config)
    keras.utils.set_random_seed(0)
    network = kept_model(build_model(config, assets))
    network.get_layer("logits").kernel.assign(network.get_layer("logits").kernel * 8)
    return network, config, assets


def clips() -> list[np.ndarray]:
    """int16: of many lengths, silent ones, none at all, as long as can be heard at once, and longer."""
    random = np.random.default_rng(0)
    lengths = [RATE, 1, 81, 200, 3_001, 9_999, LONGEST, LONGEST + 1, 3 * LONGEST]
    loud = [np.repeat(random.normal(size=length // 400 + 1), 400)[:length] for length in lengths]
    sounds = [(one * random.normal(size=len(one)) * 3_000).clip(-32_768, 32_767) for one in loud]
    return [np.zeros(0, np.int16), np.zeros(4_000, np.int16), *(one.astype(np.int16) for one in sounds)]


class Clips:
    """A store of them."""

    def __init__(self, sounds: list[np.ndarray]) -> None:
        self.sounds = sounds

    def fetch(self, indices: np.ndarray) -> Raw:
        """See Store."""
        chosen = [self.sounds[row] for row in indices]
        return {"audio": np.concatenate(chosen), "audio_splits": np.cumsum([0, *map(len, chosen)])}


def wanted(model: keras.Model, config: Config, assets: dict[str, Any], served: Serving, store: Clips) -> list[Record]:
    raw = store.fetch(np.arange(len(store.sounds)))
    ids = [str(row) for row in range(len(store.sounds))]
    return list(predictor(model, config, assets, served.options)([(ids, raw)]))


def batches(whole: Raw) -> dict[str, np.ndarray]:
    """All rows; noise behind each; single ones without a sample behind them; no row."""
    waveform, samples = whole["waveform"], whole["samples"]
    noise = np.random.default_rng(1).normal(size=(len(samples), waveform.shape[1] + 777)).astype(np.float32)
    noise[:, : waveform.shape[1]] = np.where(
        np.arange(waveform.shape[1]) < samples[:, None], waveform, noise[:, : waveform.shape[1]]
    )
    found = {"all": (waveform, samples), "noise": (noise, samples), "none": (waveform[:0], samples[:0])}
    found |= {str(row): (waveform[row : row + 1, :end], samples[row : row + 1]) for row, end in enumerate(samples)}
    return {f"{batch}/{name}": one for batch, pair in found.items() for name, one in zip(whole, pair, strict=True)}


def serve(folders: list[Path]) -> tuple[list[dict[str, dict[str, np.ndarray]]], str]:
    """The outputs of each SavedModel by batch and name; what was printed."""
    command = [sys.executable, "-c", SERVED, *map(str, folders)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=400)
    assert not done.returncode, done.stderr
    found: list[dict[str, dict[str, np.ndarray]]] = []
    for folder in folders:
        found.append({})
        with np.load(folder / "found.npz") as arrays:
            for name in arrays.files:
                batch, _, output = name.partition("/")
                found[-1].setdefault(batch, {})[output] = arrays[name]
    return found, done.stdout


def test_transcripts_are_those_of_predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.speech_recognition.served_sound.SECONDS_AT_ONCE", 7.0)  # three rows
    store, records, graphs = Clips(clips()), {}, {}
    for kind, (settings, alphabet) in KINDS.items():
        model, config, assets = kept(settings, alphabet)
        graphs[kind] = served = serving(model, config, assets)
        save_served(tmp_path / kind, served)
        records[kind] = wanted(model, config, assets, served, store)
        given = batches(served.inputs(store, np.arange(len(store.sounds))))
        np.savez(tmp_path / kind / "given.npz", **given)
        about = json.loads((tmp_path / kind / "serving.json").read_text())
        assert about["needs"] == ["tensorflow"]
        assert about["input"]["types"] == {"waveform": "float32", "samples": "int32"}
        assert "at 8,000 samples a second" in about["input"]["what"]
        assert "of more than 16,000 samples (2 s) the tail is left out" in about["input"]["what"]
        assert ("by 4 beams" in about["input"]["what"]) == (kind == "searching") == (served.options == {"beams": 1})
    found, said = serve([tmp_path / kind for kind in KINDS])
    assert said.count("samples: a row has more than waveform holds of it") == len(KINDS)
    for (kind, predicted), answers in zip(records.items(), found, strict=True):
        served = graphs[kind]
        exact = kind != "searching"
        ids = [record.id for record in predicted]
        given = served.records(ids, {}, answers["all"])
        assert max(len(record.answer["transcript"]) for record in given) > 10
        assert [record.answer["transcript"] for record in given[:1]] == [""]
        assert [record.answer["seconds"] for record in given[-2:]] == [2.0, 2.0]
        assert [record.answer.get("parts", 1) for record in predicted[-3:]] == [1, 2, 4]
        for one, record in zip(given[:-2], predicted[:-2], strict=True):
            assert one.id == record.id
            assert one.answer["seconds"] == record.answer["seconds"]
            np.testing.assert_allclose(one.output, record.output, rtol=1e-4 if exact else 0.05)
            if exact:
                assert one.answer["transcript"] == record.answer["transcript"]
                assert one.answer["confidence"] == pytest.approx(record.answer["confidence"], abs=1.1e-4)
        assert served.gap is not None
        gaps = served.gap(answers["all"], predicted)
        assert gaps.max() < (1e-4 if exact else 0.05)
        for row in range(len(ids)):
            for alone in ({name: one[row : row + 1] for name, one in answers["noise"].items()}, answers[str(row)]):
                assert alone["answers"] == answers["all"]["answers"][row]
                assert alone["heard"] == answers["all"]["heard"][row]
                if row == SILENT and exact:
                    count = alone["answers"][0]
                    pair = (
                        one["log_probabilities"][place, :count] for one, place in ((alone, 0), (answers["all"], row))
                    )
                    np.testing.assert_allclose(*pair, atol=5e-3)
                elif exact:
                    assert alone["text"] == answers["all"]["text"][row]
                    np.testing.assert_allclose(alone["confidence"], answers["all"]["confidence"][row], rtol=1e-4)
        assert answers["none"]["text"].shape == (0,)
        assert [one.decode() for one in answers["all"]["alphabet"]] == KINDS[kind][1]
        truth = {
            "text": np.array([record.answer["transcript"] for record in predicted[:-2]], object),
            "seconds": np.ones(len(ids) - 2),
            "speaker": np.array([""] * (len(ids) - 2), object),
        }
        if exact:
            assert score(given[:-2], truth, Config(), {}).scores["wer"].value == 0


@pytest.mark.parametrize("kind", ["gru", "conformer"])
def test_the_served_model_is_its_core_and_what_stands_round_it(kind: str, tmp_path: Path) -> None:
    model, config, assets = kept(*KINDS[kind])
    served = serving(model, config, assets)
    core = served.core
    assert core is not None
    store = Clips(clips()[1:])
    x = {name: tf.constant(one) for name, one in served.inputs(store, np.arange(len(store.sounds))).items()}
    whole = served.function(x)
    inner = core.before(x)
    assert {name: (one.dtype, one.shape.rank) for name, one in inner.items()} == {
        name: (spec.dtype, spec.shape.rank) for name, spec in core.input.items()
    }
    outer = core.function(inner)
    assert all(one.dtype.is_floating or one.dtype.is_integer for one in outer.values())
    _held_by_onnx(core, inner, outer, tmp_path)
    again = core.after(outer)
    assert set(again) == set(whole)
    for name, values in whole.items():
        if values.dtype == tf.string or values.dtype.is_integer:
            assert values.numpy().tolist() == again[name].numpy().tolist()
        else:
            np.testing.assert_allclose(again[name], values, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning")
def test_int8_hears_nearly_the_same(tmp_path: Path) -> None:
    """What closes the gates of frames that do not count must not be what the weights are rounded by."""
    model, config, assets = kept(*KINDS["gru"])
    served = serving(model, config, assets)
    assert served.core is not None
    core, store = served.core, Clips([one for one in clips() if len(one) > 3_000 and np.any(one)][:4])

    def calibration() -> Iterator[dict[str, np.ndarray]]:
        for row in range(len(store.sounds)):
            given = served.inputs(store, np.array([row]))
            x = core.before({name: tf.constant(one) for name, one in given.items()})
            yield {name: x[name].numpy() for name in core.input}

    assert save_litert(tmp_path / "int8", core, calibration) in (None, 1)
    heard = tf.lite.Interpreter(str(tmp_path / "int8")).get_signature_runner("serving_default")
    for x in calibration():
        wanted = core.function({name: tf.constant(one) for name, one in x.items()})["logits"].numpy()
        found = heard(**x)["logits"]
        error = np.abs(found - wanted).mean() / wanted.std()
        assert error < 0.1, error


def _held_by_onnx(core: Core, given: dict[str, Any], wanted: dict[str, Any], folder: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    save_onnx(folder / "model.onnx", core)
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    found = session.run(sorted(wanted), {name: given[name].numpy() for name in core.input})
    for name, values in zip(sorted(wanted), found, strict=True):
        np.testing.assert_allclose(values, wanted[name], rtol=1e-3, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("alphabet", [CHARACTERS, PIECES, ["", "x"], ["", " ", "\u3000", "\u3000y", "z"]])
def test_the_path_is_spelled_in_a_graph_as_outside(alphabet: list[str]) -> None:
    random = np.random.default_rng(len(alphabet))
    logits = 3 * random.normal(size=(200, 40, len(alphabet))).astype(np.float32)
    logits[:40, :, 0] += 9  # nearly nothing is said
    logits[40:80, 1:] += 4 * logits[40:80, :-1]  # many repetitions
    answers = random.integers(0, 41, 200).astype(np.int32)
    log_probabilities = log_softmax(logits).astype(np.float32)
    found = {name: one.numpy() for name, one in likeliest(log_probabilities, answers, alphabet).items()}
    for row, count in enumerate(answers.tolist()):
        decoder = Greedy()
        decoder.feed(log_probabilities[row, :count])
        said = words(decoder.finish(), alphabet, 1.0)
        assert found["text"][row].decode() == " ".join(word.text for word in said)
        sure = np.mean([word.confidence for word in said]) if said else np.nan
        np.testing.assert_allclose(found["confidence"][row], sure, rtol=1e-5)
        np.testing.assert_allclose(
            found["likelihood"][row], log_probabilities[row, :count].max(axis=-1).sum(), rtol=1e-5, atol=1e-6
        )
    assert len(set(found["text"].tolist())) > 10


def test_a_graph_that_answers_otherwise_is_refused(tmp_path: Path) -> None:
    model, config, assets = kept(*KINDS["gru"])
    served = serving(model, config, assets)
    store = Clips(clips())
    place = save_served(tmp_path, served)
    given = served.inputs(store, np.arange(len(store.sounds)))
    assert given["waveform"].shape == (len(store.sounds), LONGEST + 1)
    records = wanted(model, config, assets, served, store)

    def check(others: list[Record]) -> dict[str, Any]:
        return check_served(place, given, others, served.output, "float32", served.gap)

    assert check(records)["examples"] == len(records)
    for other in (
        [replace(one, answer={**one.answer, "transcript": "x"}) for one in records],
        [replace(one, output=one.output * (1 + 1e-3)) for one in records],  # type: ignore[operator]
        [replace(one, answer={**one.answer, "parts": 2}) for one in records],
    ):
        with pytest.raises(RunError, match="answers otherwise for .: its likelihood differ"):
            check(other)
    assets["alphabet"][3], assets["alphabet"][6] = assets["alphabet"][6], assets["alphabet"][3]
    with pytest.raises(RunError, match="its likelihood differ"):
        check_served(place, given, records, "likelihood", "float32", serving(model, config, assets).gap)


def test_a_run_ends_with_what_can_be_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for number in range(24):
        letters = [*random.permutation(["a", "b"]), *random.choice(["a", "b"], number % 3)]
        tones = [np.sin(2 * np.pi * {"a": 500, "b": 1_800}[one] * np.arange(2_000) / RATE) * 0.3 for one in letters]
        soundfile.write(tmp_path / f"data/{number:02d}.wav", np.concatenate(tones), RATE)
        (tmp_path / f"data/{number:02d}.txt").write_text("".join(letters), "utf-8")
    settings = {"layers": 1, "width": 8, "mels": 20, "epochs": 1, "batch_size": 8, "split": "0.7 0.15 0.15"}
    lines = {"beams": 2, "language_model": "characters"}
    run("speech-recognition", data=str(tmp_path / "data"), run_dir=str(tmp_path / "run"), **settings, **lines)
    assert "saved_model, which answers as predict --beams 1" in capsys.readouterr().err
    kept = Run(tmp_path / "run")
    parity = kept.read_json("export/parity.json")["saved_model"]
    assert parity["examples"] == kept.read_json("metrics.json")["examples"]
    assert parity["largest_difference"] < 1e-4
    assert "2 beams and a language model of characters" in kept.read_json("export/serving.json")["input"]["what"]
    assert (kept.path / "export/saved_model/saved_model.pb").is_file()
