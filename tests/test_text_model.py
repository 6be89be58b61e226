"""The networks of texts, what they are fed with, and in which shapes: padding changes no answer."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines import devices
from pipelines.config import load_config
from pipelines.devices.settings import StepSettings
from pipelines.errors import ConfigError
from pipelines.preparation import choose_fused, choose_jit, choose_steps, make_optimizer
from pipelines.stream import Stream
from pipelines.task import Raw
from pipelines.text.subwords import learn
from pipelines.text.tokenizers import subwords_asset, tokenizer
from tasks.text_sentiment import lengths
from tasks.text_sentiment.config import Config
from tasks.text_sentiment.encoding import encode
from tasks.text_sentiment.lengths import batching
from tasks.text_sentiment.model import build_model
from tasks.text_sentiment.prediction import predictor

NETWORKS = ("cnn", "bag", "bilstm", "bigru", "transformer")
WORDS = [f"{first}{last}" for first in "bdfgkl" for last in ("a", "en", "ist", "or")]
RNG = np.random.default_rng(0)
ASSETS = {
    "classes": ["bad", "good", "so-so"],
    "tokenizer": subwords_asset(learn([" ".join(WORDS)] * 3, 100, lowercase=True), lowercase=True),
}
PIECES = tokenizer(ASSETS["tokenizer"])
SMALL = {"embedding": 16, "width": 8, "max_tokens": 32}


def settings(**options: Any) -> Any:
    return load_config("text-sentiment", options={**SMALL, **options}).config


def sentences(*counts: int) -> list[str]:
    """Texts of so many words."""
    return [" ".join(RNG.choice(WORDS, count)) for count in counts]


def encoded(config: Config, texts: list[str]) -> np.ndarray:
    x: np.ndarray = encode(config, ASSETS, False)({"text": tf.constant(texts)}, None)[0].numpy()
    return x


def raw_tokens(texts: list[str]) -> Raw:
    tokens = PIECES.encode(tf.constant(texts))
    return {"tokens": tokens.values.numpy(), "tokens_splits": tokens.row_splits.numpy()}


class Store:
    """Texts in memory, as tokens; a text is good where its first word is."""

    groups = None

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts
        self._first = np.array([ord(text[0]) % 2 if text else 0 for text in texts], np.int32)

    def __len__(self) -> int:
        return len(self._texts)

    @property
    def sizes(self) -> np.ndarray:
        return lengths.sizes(settings(), PIECES)(np.diff(raw_tokens(self._texts)["tokens_splits"]))

    def ids(self, indices: np.ndarray) -> list[str]:
        return [str(index) for index in indices]

    def fetch(self, indices: np.ndarray) -> Raw:
        return {**raw_tokens([self._texts[index] for index in indices]), "label": self._first[indices]}


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("backbone", NETWORKS)
def test_padding_changes_no_answer(backbone: str, precision: str) -> None:
    keras.config.set_dtype_policy(precision)
    try:
        model = build_model(settings(backbone=backbone), ASSETS).model
        windows = build_model(settings(backbone=backbone, long="windows"), ASSETS).model
    finally:
        keras.config.set_dtype_policy("float32")
    windows.set_weights(model.get_weights())
    for words in (0, 1, 5, 9):
        (row,) = encoded(settings(), sentences(words))
        bare = row[: np.count_nonzero(row != PIECES.pad)][None]
        wide = np.full((3, 32), PIECES.pad, np.int32)
        wide[:, : bare.shape[1]] = bare
        wanted = np.asarray(model(bare, training=False))
        assert np.isfinite(wanted).all()
        near = {"rtol": 1e-5, "atol": 1e-6} if precision == "float32" else {"rtol": 0.02, "atol": 0.002}
        np.testing.assert_allclose(model(wide, training=False), np.repeat(wanted, 3, 0), **near)
        several = np.full((2, 3, 32), PIECES.pad, np.int32)
        several[0, 0], several[1, :2] = wide[0], wide[0]
        np.testing.assert_allclose(windows(several, training=False), np.repeat(wanted, 2, 0), **near)


@pytest.mark.parametrize("backbone", NETWORKS)
def test_nothing_but_padding_has_an_answer(backbone: str) -> None:
    model = build_model(settings(backbone=backbone), ASSETS).model
    assert np.isfinite(model(np.full((2, 16), PIECES.pad, np.int32), training=True)).all()


@pytest.mark.parametrize("backbone", NETWORKS)
def test_every_network_learns_in_several_lengths(backbone: str) -> None:
    config = settings(backbone=backbone, batch_size=8, word_dropout=0.0, dropout=0.0)
    runtime = devices.start(config)
    built = build_model(config, ASSETS)
    stream = Stream(Store(sentences(*[2, 18] * 20)), encode(config, ASSETS, True), batching(config), 0, training=True)
    assert stream.order.shapes == 2
    assert choose_steps(built.model, stream, 8) == 1
    assert not choose_jit(config, built.model, "cpu", stream.order.shapes)
    steps = runtime.steps(built, make_optimizer(config, built.model), StepSettings(lengths=True))
    losses = []
    for block in stream.iterate(0, 6 * stream.steps_per_epoch, 1):
        sums = steps.train(block, np.array([0.02], np.float32))
        losses.append(sums[0] / sums[1])
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_one_graph_for_all_lengths_computes_the_same(accumulate: int) -> None:
    config = settings(backbone="cnn", batch_size=8, word_dropout=0.0, dropout=0.0, accumulate=accumulate)
    stream = Stream(Store(sentences(*[2, 18] * 12)), encode(config, ASSETS, True), batching(config), 0, training=True)
    found: list[Any] = []
    first: list[np.ndarray] = []
    for lengths_vary in (False, True):
        runtime = devices.start(config)
        built = build_model(config, ASSETS)
        first = first or built.model.get_weights()
        built.model.set_weights(first)
        optimizer = make_optimizer(config, built.model)
        steps = runtime.steps(built, optimizer, StepSettings(accumulate, lengths=lengths_vary))
        rate = np.array([0.02], np.float32)
        found.append([steps.train(block, rate) for block in stream.iterate(0, stream.steps_per_epoch, 1)])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


@pytest.mark.parametrize("options", [{"average": 0.9}, {"accumulate": 2, "clip_norm": 0.5}, {"rates": True}])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_an_update_that_is_compiled_computes_the_same(optimizer: str, options: dict[str, Any]) -> None:
    config = settings(backbone="cnn", batch_size=8, word_dropout=0.0, dropout=0.0, optimizer=optimizer)
    config = config.model_copy(update={"weight_decay": 0.1, "accumulate": options.get("accumulate", 1)})
    stream = Stream(Store(sentences(*[2, 18] * 12)), encode(config, ASSETS, True), batching(config), 0, training=True)
    first: list[np.ndarray] = []
    states = []
    for fused in (False, True):
        runtime = devices.start(config)
        built = build_model(config, ASSETS)
        first = first or built.model.get_weights()
        built.model.set_weights(first)
        each = tuple(0.5 if place % 2 else 1.0 for place in range(len(built.model.trainable_variables)))
        given = {**options, "rates": each if "rates" in options else ()}
        settled = StepSettings(lengths=True, fused=fused, **given)
        steps = runtime.steps(built, make_optimizer(config, built.model), settled)
        for block in stream.iterate(0, 6, 1):
            steps.train(block, np.array([0.01], np.float32))
        states.append(steps.state())
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        np.testing.assert_allclose(states[1][name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    assert any(np.abs(states[0][name] - value).max() > 0.01 for name, value in zip(states[0], first, strict=False))


def test_only_large_updates_on_cpus_are_compiled_apart() -> None:
    config = settings(backbone="cnn")
    built = build_model(config, ASSETS)
    assert not choose_fused(config, built.model, "cpu")
    x = inputs = keras.Input((1000,))
    large = keras.Model(inputs, keras.layers.Dense(1000, name="large")(x))
    assert choose_fused(config, large, "cpu")
    assert not choose_fused(config, large, "gpu")
    assert not choose_fused(config.model_copy(update={"jit": "on"}), large, "cpu")


def test_what_is_saved_needs_keras_alone(tmp_path: Path) -> None:
    code = (
        "import sys, keras, numpy as np\n"
        "for name in sys.argv[1:]:\n"
        "    model = keras.saving.load_model(f'{name}.keras', compile=False, safe_mode=True)\n"
        "    np.save(f'{name}-logits.npy', model(np.load(f'{name}.npy'), training=False))\n"
    )
    models = {}
    for backbone in NETWORKS:
        for long in ("truncate-tail", "windows"):
            name = f"{backbone}-{long}"
            models[name] = build_model(settings(backbone=backbone, long=long), ASSETS).model
            models[name].save(tmp_path / f"{name}.keras")
            np.save(tmp_path / f"{name}.npy", encoded(settings(long=long), sentences(3, 40)))
    subprocess.run([sys.executable, "-c", code, *models], check=True, cwd=tmp_path, capture_output=True)
    for name, model in models.items():
        wanted = model(np.load(tmp_path / f"{name}.npy"), training=False)
        np.testing.assert_allclose(np.load(tmp_path / f"{name}-logits.npy"), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("long", ["truncate-tail", "truncate-head", "head-tail"])
@pytest.mark.parametrize("words", [0, 1, 29, 30, 31, 500])
def test_long_texts_are_cut_where_it_is_said(long: str, words: int) -> None:
    config = settings(long=long)
    (text,) = sentences(words)
    tokens = raw_tokens([text])["tokens"].tolist()
    most = lengths.room(config, PIECES)
    assert most == 30
    if len(tokens) > most:
        tokens = {
            "truncate-tail": tokens[:most],
            "truncate-head": tokens[-most:],
            "head-tail": [*tokens[:7], *tokens[-23:]],
        }[long]
    (row,) = encoded(config, [text])
    wanted = [PIECES.start, *tokens, PIECES.end]
    assert row[: len(wanted)].tolist() == wanted
    assert (row[len(wanted) :] == PIECES.pad).all()
    assert len(row) in lengths.bounds(config)


@pytest.mark.parametrize("most", [1, 3, 8])
def test_windows_hold_a_text_once_and_in_order(most: int) -> None:
    config = settings(long="windows", max_windows=most)
    texts = sentences(0, 4, 30, 31, 77, 1000)
    tokens = raw_tokens(texts)
    x = encoded(config, texts)
    assert x.shape[1:] == (most, 32)
    whole = np.diff(tokens["tokens_splits"])
    kept, used = lengths.cut(config, PIECES)(whole), lengths.windows(config, PIECES)(whole)
    seen = (x != PIECES.pad).any(2).sum(1)
    np.testing.assert_array_equal(seen, used)
    sizes = (x != PIECES.pad).sum((1, 2))
    np.testing.assert_array_equal(sizes, lengths.sizes(config, PIECES)(whole)[:, 0])
    for row, start in enumerate(tokens["tokens_splits"][:-1]):
        inner = x[row][~np.isin(x[row], [PIECES.pad, PIECES.start, PIECES.end])]
        np.testing.assert_array_equal(inner, tokens["tokens"][start : start + kept[row]])
        parts = (x[row] != PIECES.pad).sum(1)[: used[row]]
        assert parts.max() - parts.min() <= 1


def test_short_texts_need_one_short_window() -> None:
    assert encoded(settings(long="windows"), sentences(3, 4)).shape == (2, 1, 16)
    assert encoded(settings(long="windows"), sentences(3, 40)).shape == (2, 2, 32)
    assert encoded(settings(long="windows"), sentences(3, 80)).shape == (2, 4, 32)


def test_few_lengths() -> None:
    assert lengths.bounds(settings(max_tokens=256)) == (16, 24, 32, 48, 64, 96, 128, 192, 256)
    assert lengths.bounds(settings(max_tokens=100)) == (16, 24, 32, 48, 64, 96, 100)
    assert lengths.bounds(settings(max_tokens=8)) == (8,)
    assert len(lengths.bounds(settings(max_tokens=8192))) == 15


def test_a_bucket_has_one_shape() -> None:
    config = settings(batch_size=4)
    stream = Stream(Store(sentences(*range(40))), encode(config, ASSETS, True), batching(config), 0, training=True)
    shapes = {
        (step.bucket, block[0].shape[2])
        for step, block in zip(stream.order.epoch(0), stream.iterate(0, stream.steps_per_epoch, 1), strict=True)
    }
    assert shapes == {(0, 16), (1, 24), (2, 32)}
    assert stream.rows(0, stream.steps_per_epoch) == 40


def test_batches_of_tokens() -> None:
    plan = batching(settings(tokens_per_batch=512, max_tokens=64))
    assert plan.bounds == (16, 24, 32, 48)
    assert plan.batch_sizes == (32, 16, 16, 8, 8)
    assert batching(settings(tokens_per_batch=100)).batch_sizes == (6, 4, 3)
    assert batching(settings(tokens_per_batch=512, accumulate=3, batch_size=33)).batch_sizes == (24, 21, 15)
    several = batching(settings(long="windows", max_windows=6))
    assert several.bounds == (16, 24, 32, 64, 128)
    assert several.batch_sizes == (32,) * 6


def test_weights_of_classes_count_in_training_alone() -> None:
    config, assets = settings(class_weights="balanced"), {**ASSETS, "class_weights": [0.5, 2.0, 1.0]}
    raw = {name: tf.constant(value) for name, value in raw_tokens(sentences(3, 4)).items()}
    raw["label"] = tf.constant([1, 0])
    for training, wanted in ((True, [2.0, 0.5]), (False, [1.0, 1.0])):
        _, y, weight = encode(config, assets, training)(raw, None)
        assert (y.dtype, y.numpy().tolist(), weight.numpy().tolist()) == (tf.int32, [1, 0], wanted)


def test_predictions_of_any_length_come_in_order() -> None:
    config = settings()
    model = build_model(config, ASSETS).model
    texts = [*sentences(2, 25, 0, 7, 300), "ça 😀 שלום 漢字"]
    predict = predictor(model, config, {**ASSETS, "temperature": 2.0}, {})
    column = np.empty(len(texts) + 1, object)
    column[:] = [*[text.encode() for text in texts], b"\0it is no text"]
    ids = [str(place) for place in range(len(column))]
    records = list(predict([(ids, {"text": column})]))
    assert [record.id for record in records] == ids
    assert records[-1].error == "it is no text"
    for text, record in zip(texts, records, strict=False):
        (logits,) = np.asarray(model(encoded(config, [text]), training=False))
        assert record.output is not None
        np.testing.assert_allclose(record.output, logits, rtol=1e-4, atol=1e-5)
        shares = np.exp(logits / 2) / np.exp(logits / 2).sum()
        assert record.answer["label"] == ASSETS["classes"][int(shares.argmax())]
        np.testing.assert_allclose(list(record.answer["probabilities"].values()), shares, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pretrained": "imagenet"}, "is for networks that see images"),
        ({"backbone": "preset"}, "name it with pretrained"),
        ({"backbone": "transformer", "embedding": 30, "heads": 4}, "embedding 30 is not a multiple of heads 4"),
        ({"tokens_per_batch": 20}, "tokens_per_batch 20 holds no text of max_tokens 32"),
        ({"max_tokens": 4}, "max_tokens"),
    ],
)
def test_settings_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(**options)
