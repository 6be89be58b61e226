"""The SavedModel of translation says what predict says, in a process that knows TensorFlow and its texts alone."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines import devices
from pipelines.devices.steps import kept_model
from pipelines.errors import RunError
from pipelines.saved_model import check_served, save_served
from pipelines.task import Record
from pipelines.text.pieces import BLANKS, Pieces, as_asset, learn, prepared
from pipelines.text.pieces_graph import PiecesGraph
from tasks.translation.config import Config
from tasks.translation.data.sample import sample
from tasks.translation.data.stores import as_column
from tasks.translation.model import build_model
from tasks.translation.prediction import predictor
from tasks.translation.serving import _gap, serving
from tasks.translation.vocabulary import learnt, vocabulary

pytest.importorskip("tensorflow_text")
SERVED = """
import json, sys


class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *place):
        hidden = name.partition(".")[0] in ("pipelines", "tasks", "sentencepiece", "keras_hub")
        return None if hidden else self.finder.find_spec(name, *place)


sys.meta_path = [Without(finder) for finder in sys.meta_path]
import tensorflow as tf
import tensorflow_text

asked = json.loads(open(sys.argv[1], encoding="utf-8").read())
loaded = {folder: tf.saved_model.load(folder) for folder in asked}
answers = {folder: [] for folder in asked}
for folder, batches in asked.items():
    serve = loaded[folder].signatures["serving_default"]
    for texts in batches:
        found = serve(text=tf.constant(texts, tf.string))
        texts = [one.decode() for one in found["translation"].numpy()]
        answers[folder].append([texts, *(found[name].numpy().tolist() for name in ("score", "cut"))])
print(json.dumps(answers))
"""
ODD = [
    *("forty-two", "", "  \t ", "\ufeff\u200b", "on the third of May, 1999", "😀👩‍👩‍👧 \U0001f1e9\U0001f1ea"),
    *("gro\u0308\u00dfer als Bäume\u2028 das", "https://a.b/c?d=1&e=%20#f", "İSTANBUL ΟΔΟΣ I Ì", "日本語　です"),
    *("tab\tand\u00a0blank\x85", "<s> </s> <pad> <unk> <0x41> \u2581 \u2585", "{name} %s 12,5", "12 " * 60),
]
"""The last is longer than what is translated at once."""


def settings(**more: Any) -> Config:
    known = {"layers": 1, "width": 16, "heads": 2, "dropout": 0.0, "vocabulary_size": 400, "beams": 3}
    return Config(**{**known, **more})


def kept(config: Config) -> tuple[keras.Model, dict[str, Any]]:
    """A model that was not trained, whose next pieces are neither all alike nor certain, and its assets."""
    texts, _ = sample()
    assets: dict[str, Any] = {"vocabulary": learnt(texts["en"][::9], texts["de"][::9], config), "longest": 70}
    words = vocabulary(assets)
    assets |= {"pieces": words.source.names, "source_pieces": words.source.names, "target_pieces": words.target.names}
    devices.start(config)
    network = kept_model(build_model(config, assets))
    random = np.random.default_rng(0)
    for variable in network.trainable_variables:
        variable.assign(np.array(variable) * 1.5 + 0.1 * random.normal(size=variable.shape))
    return network, assets


def wanted(model: keras.Model, config: Config, assets: dict[str, Any], texts: Sequence[str]) -> list[Record]:
    raw = {"text": as_column([text.strip().encode() for text in texts])}
    return list(predictor(model, config, assets, {})([([str(row) for row in range(len(texts))], raw)]))


def serve(asked: dict[str, Any], folder: Path, locale: str = "C.UTF-8") -> dict[str, Any]:
    """Translations, scores and what was cut of each batch."""
    (folder / "asked.json").write_text(json.dumps(asked))
    words = [sys.executable, "-c", SERVED, str(folder / "asked.json")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"LC_ALL": locale}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, cwd=folder, timeout=400)
    assert not done.returncode, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_translations_are_those_of_predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.translation.serving.BEAMS_AT_ONCE", 12)  # several batches
    kinds = [
        settings(lowercase=True, length_factor=0.7, no_repeat=2, precision="mixed_bfloat16"),
        settings(backbone="gru", joint=False, vocabulary="unigram", byte_fallback=False, length_penalty=0.5),
    ]
    asked, records = {}, {}
    for number, config in enumerate(kinds):
        model, assets = kept(config)
        place = str(save_served(tmp_path / str(number), serving(model, config, assets)))
        records[place] = wanted(model, config, assets, ODD)
        asked[place] = [ODD, [], ODD[:1], ODD[1:4]]
        about = json.loads((tmp_path / str(number) / "serving.json").read_text())
        assert about["needs"] == ["tensorflow", "tensorflow_text"]
        assert "more than 69 pieces the tail is cut off" in about["input"]["what"]
    for place, batches in serve(asked, tmp_path, "tr_TR.UTF-8").items():
        (texts, scores, cut), nothing, one, blank = batches
        assert nothing == [[], [], []]
        assert blank == [["", "", ""], [0.0] * 3, [False] * 3]
        assert cut == [False] * (len(ODD) - 1) + [True] == [one.answer.get("parts", 1) > 1 for one in records[place]]
        assert texts[-1]
        assert len(set(texts)) > len(ODD) // 2
        assert one[0] == texts[:1]
        for record, text, score in list(zip(records[place], texts, scores, strict=True))[:-1]:
            assert text == record.answer["translation"], record.id
            assert score == pytest.approx(record.answer["score"], abs=1e-4)
        assert records[place][-1].answer["parts"] > 1


@pytest.mark.parametrize(("lowercase", "byte_fallback"), [(True, True), (False, False)])
def test_pieces_are_found_in_a_graph_as_outside(lowercase: bool, byte_fallback: bool) -> None:
    model = learn(sample()[0]["de"][::5], 500, "bpe", byte_fallback=byte_fallback, lowercase=lowercase)
    words = Pieces.of(as_asset(model), lowercase=lowercase)
    graph = PiecesGraph(words)
    random = np.random.default_rng(0)
    signs = [
        *"aeouAEOUßIiÌİΣσςABĄ 12-.,",
        "\u0307",
        "\u0301",
        "\u0308",
        "\u1100",
        "\u1161",
        "\u3000",
        "\x85",
        "😀",
        "ﬁ",
    ]
    texts = [*ODD, *("".join(random.choice(signs, 12)) for _ in range(500))]
    found = graph.prepared(tf.constant([text.encode() for text in texts]))
    assert [one.decode() for one in found.numpy()] == [prepared(text, lowercase=lowercase) for text in texts]
    pieces = graph.encode(found)
    assert pieces.to_list() == words.encode(texts)
    assert [one.decode() for one in graph.decode(pieces).numpy()] == words.decode(words.encode(texts))
    broken = [random.integers(4, words.size, size).tolist() for size in random.integers(0, 9, 200)]
    ragged = tf.ragged.constant(broken, tf.int32, ragged_rank=1)
    assert [one.decode() for one in graph.decode(ragged).numpy()] == words.decode(broken)


def test_every_sign_is_prepared_alike() -> None:
    words = Pieces.of(as_asset(learn(["a b"], 300, "bpe", byte_fallback=True, lowercase=True)), lowercase=True)
    signs = [chr(code) for code in range(1, sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    found = PiecesGraph(words).prepared(tf.constant([f"a{sign}b".encode() for sign in signs])).numpy()
    other = [
        sign for sign, one in zip(signs, found, strict=True) if one.decode() != prepared(f"a{sign}b", lowercase=True)
    ]
    assert other == []
    assert sum(bool(BLANKS.fullmatch(sign)) for sign in signs) > 60


def test_a_graph_that_answers_otherwise_is_refused(tmp_path: Path) -> None:
    config = settings()
    model, assets = kept(config)
    served = serving(model, config, assets)
    place = save_served(tmp_path, served)
    records = wanted(model, config, assets, ODD)
    given = as_column([text.encode() for text in ODD])
    assert check_served(place, given, records, "translation", "float32", served.gap)["examples"] == len(ODD)
    others = [replace(one, answer={**one.answer, "translation": "x"}) for one in records]
    with pytest.raises(RunError, match="its translation differ"):
        check_served(place, given, others, "translation", "float32", served.gap)
    found = {"translation": np.array([b"a"]), "score": np.array([-1.0]), "cut": np.array([False])}
    assert _gap(found, [Record("1", {"translation": "a"}, beside=-1.5)])[0] == pytest.approx(1 / 3)
    assert _gap(found, [Record("1", {"translation": "a", "parts": 2}, beside=-1.0)])[0] == np.inf
    assert _gap({**found, "cut": np.array([True])}, [Record("1", {"translation": "b", "parts": 2}, beside=0.0)])[0] == 0
