"""Translations beside what is found by trying everything, one step at a time and in full; on both backends."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from scipy.special import log_softmax

from pipelines.devices.steps import kept_model
from pipelines.text.search import Search, largest
from tasks.translation.config import Config
from tasks.translation.decoding import Decoder
from tasks.translation.model import build_model
from tasks.translation.steppers import stepper_of

BACKEND = os.environ.get("SIXFOLD_TEST_BACKEND", "tensorflow")
"""test_on_jax runs this file again in a process with the other backend."""
END = 3
SOURCE = np.array([[5, 6, 7, 3, 0], [6, 3, 0, 0, 0], [7, 5, 6, 7, 3], [4, 3, 0, 0, 0]], np.int32)
LIMITS = np.array([7, 3, 5, 7], np.int32)
BACKBONES = ["transformer", "gru"]


@lru_cache
def network(backbone: str, pieces: int = 12, scale: float = 1.5) -> tuple[keras.Model, Config]:
    """One whose next pieces are neither all alike nor certain."""
    config = Config(layers=2, width=16, heads=2, dropout=0.0, backend=BACKEND, backbone=backbone)
    keras.utils.set_random_seed(0)
    made = kept_model(build_model(config, {"pieces": [f"p{n}" for n in range(pieces)]}))
    random = np.random.default_rng(5 if backbone == "gru" else 3)
    for variable in made.trainable_variables:
        variable.assign(np.array(variable) * scale + 0.1 * random.normal(size=variable.shape))
    return made, config


@lru_cache
def decoder(backbone: str, pieces: int = 12) -> Decoder:
    return Decoder(*network(backbone, pieces))


def next_piece(backbone: str, source: np.ndarray, target: np.ndarray, pieces: int = 12) -> np.ndarray:
    """float64 [rows, T, pieces]: log-probabilities after each piece of the target, by the whole network."""
    logits = network(backbone, pieces)[0]({"source": source, "target": target})
    return log_softmax(np.asarray(logits, np.float64), axis=-1)


def greedy(backbone: str, source: np.ndarray, limit: int) -> tuple[list[int], float]:
    """The likeliest piece each time."""
    found, total = [2], 0.0
    while True:
        each = next_piece(backbone, source[None], np.array([found], np.int32))[0, -1]
        each[:3] = -np.inf
        if len(found) > limit:
            each[np.arange(len(each)) != END] = -np.inf
        best = int(each.argmax())
        total += each[best]
        if best == END:
            return found[1:], total / len(found)
        found.append(best)


def all_translations(source: np.ndarray, limit: int, penalty: float) -> list[tuple[float, list[int]]]:
    """Every one of a vocabulary of 4 pieces besides the special ones, best first."""
    texts = [list(text) for length in range(limit + 1) for text in itertools.product(range(4, 8), repeat=length)]
    target = np.zeros((len(texts), limit + 1), np.int32)
    target[:, 0] = 2
    for row, text in enumerate(texts):
        target[row, 1 : len(text) + 1] = text
    each = next_piece("transformer", np.repeat(source[None], len(texts), axis=0), target, 8)
    found = []
    for row, text in enumerate(texts):
        total = sum(each[row, place, piece] for place, piece in enumerate([*text, END]))
        found.append((total / (len(text) + 1) ** penalty, text))
    return sorted(found, reverse=True)


def texts_of(pieces: np.ndarray) -> list[list[int]]:
    return [[piece for piece in row.tolist() if piece] for row in pieces]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_one_beam_is_the_likeliest_piece_each_time(backbone: str) -> None:
    pieces, scores = decoder(backbone).translate(SOURCE, beams=1, limits=LIMITS)
    for row, limit in enumerate(LIMITS):
        wanted, score = greedy(backbone, SOURCE[row], limit)
        assert texts_of(pieces[row]) == [wanted]
        assert scores[row, 0] == pytest.approx(score, abs=1e-5)
    assert len({tuple(texts_of(one)[0]) for one in pieces}) > 1


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_beams_enough_for_all_find_the_best_of_all(penalty: float) -> None:
    limits = np.full(4, 3, np.int32)
    pieces, scores = decoder("transformer", 8).translate(
        SOURCE, beams=100, n_best=20, length_penalty=penalty, limits=limits
    )
    for row in range(4):
        wanted = all_translations(SOURCE[row], 3, penalty)[:20]
        np.testing.assert_allclose(scores[row], [score for score, _ in wanted], atol=1e-5)
        assert texts_of(pieces[row]) == [text for _, text in wanted]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_scores_are_those_of_the_whole_network(backbone: str) -> None:
    """What is kept from step to step changes nothing, though hypotheses change their beams."""
    pieces, scores = decoder(backbone).translate(SOURCE, beams=4, n_best=4, length_penalty=0.7, limits=LIMITS)
    found = [
        (row, n, text) for row in range(4) for n, text in enumerate(texts_of(pieces[row])) if scores[row, n] > -1e8
    ]
    assert len(found) >= 12
    for row, n, text in found:
        target = np.array([[2, *text, *[0] * (7 - len(text))]], np.int32)
        each = next_piece(backbone, SOURCE[row : row + 1], target)[0]
        total = sum(each[place, piece] for place, piece in enumerate([*text, END]))
        assert scores[row, n] == pytest.approx(total / (len(text) + 1) ** 0.7, abs=1e-5)
        assert len(text) <= LIMITS[row]
    for row in range(4):
        assert (np.diff(scores[row]) <= 0).all()
        assert len({tuple(text) for r, _, text in found if r == row}) == len([r for r, _, _ in found if r == row])


@pytest.mark.parametrize("backbone", BACKBONES)
def test_no_row_knows_of_the_others_nor_of_padding(backbone: str) -> None:
    settings = {"beams": 3, "n_best": 2}
    pieces, scores = decoder(backbone).translate(SOURCE, limits=LIMITS, **settings)
    for row in range(4):
        source = SOURCE[row][SOURCE[row] > 0][None]
        for one in (source, np.pad(source, ((0, 0), (0, 3)))):
            alone, score = decoder(backbone).translate(one, limits=LIMITS[row : row + 1], **settings)
            assert texts_of(alone[0]) == texts_of(pieces[row])
            np.testing.assert_allclose(score[0], scores[row], atol=1e-5)


def test_no_run_of_pieces_stands_there_twice() -> None:
    limits = np.full(4, 9, np.int32)
    free, _ = decoder("transformer").translate(SOURCE, beams=3, length_penalty=3.0, limits=limits)
    for size in (1, 2, 3):
        pieces, _ = decoder("transformer").translate(SOURCE, beams=3, length_penalty=3.0, no_repeat=size, limits=limits)
        assert any(_repeats(text, size) for text in texts_of(free[:, 0]))
        for text in texts_of(pieces[:, 0]):
            assert not _repeats(text, size)
            assert len(text) > 2


def _repeats(text: list[int], size: int) -> bool:
    runs = [tuple(text[place : place + size]) for place in range(len(text) - size + 1)]
    return len(runs) > len(set(runs))


def test_equal_ones_come_in_the_same_order() -> None:
    """Of a network that knows nothing, all pieces are equal."""
    made, config = network("transformer", 12, 0.0)
    for variable in made.trainable_variables:
        variable.assign(np.zeros(variable.shape, np.float32))
    limits = np.full(4, 2, np.int32)
    pieces, _ = Decoder(made, config).translate(SOURCE, beams=3, n_best=3, length_penalty=0.0, limits=limits)
    assert [texts_of(one) for one in pieces] == 4 * [[[], [4], [5]]]


@pytest.mark.parametrize("count", [7, 640, 1000])
def test_the_largest_are_those_of_a_sort(count: int) -> None:
    values = np.random.default_rng(0).integers(0, 50, (6, 3, count)).astype(np.float32)
    found, places = (np.asarray(one) for one in largest(keras.ops.convert_to_tensor(values), 5))
    wanted = np.argsort(-values, axis=-1, kind="stable")[..., :5]
    np.testing.assert_array_equal(places, wanted)
    np.testing.assert_array_equal(found, np.take_along_axis(values, wanted, -1))


def test_any_number_of_sentences_come_back_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.translation.decoding.BEAMS_AT_ONCE", 6)
    random = np.random.default_rng(0)
    sources = [np.append(random.integers(4, 12, size), END).astype(np.int32) for size in random.integers(0, 9, 11)]
    limits = np.array([2 * len(one) for one in sources], np.int32)
    found = decoder("transformer").translate_all(sources, limits, beams=3, n_best=2)
    for source, limit, one in zip(sources, limits, found, strict=True):
        pieces, scores = decoder("transformer").translate(source[None], beams=3, n_best=2, limits=np.array([limit]))
        assert [text.tolist() for text in one.pieces] == texts_of(pieces[0])
        np.testing.assert_allclose(one.scores, scores[0], atol=1e-5)
    (only,) = decoder("transformer").translate_all(sources[:1], np.zeros(1, np.int32), beams=3, n_best=3)
    assert [text.tolist() for text in only.pieces] == [[]]
    assert only.scores.shape == (1,)
    assert decoder("transformer").translate_all([], np.zeros(0, np.int32), beams=3) == []


@pytest.mark.parametrize("backbone", BACKBONES)
def test_however_it_was_trained_it_translates_in_float32(backbone: str) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        made = network.__wrapped__(backbone)[0]
    finally:
        keras.config.set_dtype_policy(before)
    found = Decoder(made, network(backbone)[1]).translate(SOURCE, beams=3, limits=LIMITS)
    wanted = decoder(backbone).translate(SOURCE, beams=3, limits=LIMITS)
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_allclose(found[1], wanted[1], atol=1e-6)
    assert {layer.compute_dtype for layer in made.layers if layer.name.startswith("decoder_1")} == {"bfloat16"}


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "jax", reason="a graph of TensorFlow")
def test_a_saved_graph_translates_alike(tmp_path: Path) -> None:
    import tensorflow as tf

    made, config = network("transformer")
    stepper, search = stepper_of(made, config), Search(3, n_best=2)

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)], autograph=False)
    def serve(source: tf.Tensor) -> Any:
        limits = tf.reduce_sum(tf.cast(source > 0, tf.int32), axis=1) + 2
        return search(stepper, source, limits, tf.zeros([tf.shape(source)[0], tf.reduce_max(limits)], tf.int32), 1.0)

    module = tf.Module()
    module.serve, module.network = serve, made
    tf.saved_model.save(module, str(tmp_path / "saved"))
    code = (
        "import sys, numpy as np, tensorflow as tf; module = tf.saved_model.load(sys.argv[1] + '/saved'); "
        "found = module.serve(tf.constant(np.load(sys.argv[1] + '/source.npy'))); "
        "np.savez(sys.argv[1] + '/found.npz', *[one.numpy() for one in found])"
    )
    np.save(tmp_path / "source.npy", SOURCE)
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=200, cwd=tmp_path)
    found, limits = np.load(tmp_path / "found.npz"), (SOURCE > 0).sum(1) + 2
    wanted = decoder("transformer").translate(SOURCE, beams=3, n_best=2, limits=limits)
    assert [texts_of(row) for row in found["arr_0"]] == [texts_of(row) for row in wanted[0]]
    np.testing.assert_allclose(found["arr_1"], wanted[1], atol=1e-5)


def test_more_translations_than_beams_are_refused() -> None:
    with pytest.raises(ValueError, match="at most as many"):
        decoder("transformer").translate(SOURCE, beams=2, n_best=3, limits=LIMITS)


@pytest.mark.skipif(BACKEND == "jax", reason="this is the run on JAX")
def test_on_jax(again_on_jax: Callable[[str], None]) -> None:
    again_on_jax("(best_of_all and 1.0) or (whole_network and transformer)")  # each compiles for itself
