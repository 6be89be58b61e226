"""What the recogniser sees, its layers, its objective and what padding must not change; on both backends."""

import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines.stream import example_keys
from tasks.speech_recognition import lengths
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.encoding import encode
from tasks.speech_recognition.features import LogMel, hidden, mel_bands
from tasks.speech_recognition.model import build_model
from tasks.speech_recognition.objective import error_rate
from tasks.speech_recognition.recurrent import BidirectionalGRU, scanned

BACKEND = os.environ.get("SIXFOLD_TEST_BACKEND", "tensorflow")
"""test_on_jax runs this file again in a process with the other backend."""
RATE = 8_000
ASSETS: dict[str, Any] = {"alphabet": ["", " ", "a", "b", "c"], "rate": RATE}
CONFIG = Config(rate=RATE, mels=20, width=8, layers=1, batch_size=4, dropout=0.0, joined=0.0)
RNG = np.random.default_rng(0)


def raw(samples: list[int], texts: list[list[int]]) -> dict[str, tf.Tensor]:
    audio = (RNG.normal(size=sum(samples)) * 3_000).astype(np.int16)
    flat = np.array([label for text in texts for label in text], np.int32)
    columns = {
        "audio": audio,
        "audio_splits": np.cumsum([0, *samples]),
        "text": flat,
        "text_splits": np.cumsum([0, *map(len, texts)]),
    }
    return {name: tf.constant(column) for name, column in columns.items()}


def given(x: dict[str, Any]) -> dict[str, Any]:
    return {name: keras.ops.convert_to_tensor(np.asarray(one)) for name, one in x.items()}


def slope_of(function: Any, *values: np.ndarray) -> list[np.ndarray]:
    """The gradients of a sum by the backend."""
    if BACKEND == "jax":
        import jax

        return [np.asarray(one) for one in jax.grad(function, argnums=range(len(values)))(*values)]
    variables = [tf.Variable(value) for value in values]
    with tf.GradientTape() as tape:
        total = function(*[variable.value() for variable in variables])
    return [np.asarray(one) for one in tape.gradient(total, variables)]


def test_mel_bands_are_tensorflows() -> None:
    wanted = tf.signal.linear_to_mel_weight_matrix(40, 257, 16_000, 20.0, 8_000.0)
    np.testing.assert_allclose(mel_bands(40, 512, 16_000), wanted, atol=3e-5)


def test_pauses_change_little_where_frames_count_by_their_loudness() -> None:
    clip = RNG.normal(size=RATE).astype(np.float32) * np.sin(np.arange(RATE) / 400).astype(np.float32) * 0.1
    faint = RNG.normal(size=5 * RATE).astype(np.float32) * 1e-4
    frames = RATE // 80
    gaps = []
    for by_loudness in (True, False):
        layer = LogMel(RATE, 20, 200, 80, by_loudness=by_loudness)
        alone, _ = layer(given({"audio": clip[None], "samples": np.array([RATE], np.int32)}))
        longer = np.concatenate([clip, faint])[None]
        paused, _ = layer(given({"audio": longer, "samples": np.array([6 * RATE], np.int32)}))
        gaps.append(np.abs(np.asarray(paused)[0, : frames - 3] - np.asarray(alone)[0, : frames - 3]).mean())
    assert gaps[0] < gaps[1] / 3, gaps
    silent, _ = layer(given({"audio": np.zeros((1, RATE), np.float32), "samples": np.array([RATE], np.int32)}))
    assert np.abs(np.asarray(silent)).max() < 0.01


def test_the_log_mel_of_a_tone_lies_in_its_band() -> None:
    layer = LogMel(RATE, 20, 200, 80, mean=[0.0] * 20, deviation=[1.0] * 20)
    place = np.arange(RATE) / RATE
    tones = np.stack([np.sin(2 * np.pi * hertz * place) for hertz in (300, 1_000, 3_000)]).astype(np.float32)
    mels, counts = layer(given({"audio": tones, "samples": np.array([RATE, RATE, 4_001], np.int32)}))
    mels = np.asarray(keras.ops.convert_to_numpy(mels))
    assert mels.shape == (3, 100, 20)
    found = mels[:, 20:40].mean(axis=1).argmax(axis=-1)
    assert found.tolist() == [
        mel_bands(20, 256, RATE)[round(hertz / RATE * 256)].argmax() for hertz in (300, 1_000, 3_000)
    ]
    np.testing.assert_array_equal(np.asarray(keras.ops.sum(counts, axis=(1, 2))), [100, 100, 51])
    assert not mels[2, 51:].any()


def test_each_band_of_a_clip_is_normalised_over_its_own_frames() -> None:
    layer = LogMel(RATE, 20, 200, 80)
    audio = RNG.normal(size=(2, RATE)).astype(np.float32) * np.array([[0.01], [0.5]], np.float32)
    mels, _ = layer(given({"audio": audio, "samples": np.array([RATE, 4_000], np.int32)}))
    mels = np.asarray(keras.ops.convert_to_numpy(mels))
    for own in (mels[0], mels[1, :50]):
        np.testing.assert_allclose(own.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(own.std(axis=0), 1, atol=1e-3)
    silent, _ = layer(given({"audio": np.zeros((1, RATE), np.float32), "samples": np.array([RATE], np.int32)}))
    assert np.isfinite(np.asarray(keras.ops.convert_to_numpy(silent))).all()


def test_masks_hide_what_they_cover() -> None:
    mels = np.ones((2, 6, 5), np.float32)
    times = np.array([[[1, 2], [5, 1]], [[0, 0], [3, 9]]], np.int32)
    bands = np.array([[[4, 1]], [[0, 0]]], np.int32)
    kept = np.asarray(keras.ops.convert_to_numpy(hidden(*map(keras.ops.convert_to_tensor, (mels, times, bands)))))
    wanted = np.ones((2, 6, 5))
    wanted[0, [1, 2, 5]] = wanted[0, :, 4] = wanted[1, 3:] = 0
    np.testing.assert_array_equal(kept, wanted)


def test_the_gru_is_keras_own_both_ways() -> None:
    units, x = 6, RNG.normal(size=(3, 7, 4)).astype(np.float32)
    layer = BidirectionalGRU(units)
    counts = (np.arange(7) < np.array([[7], [4], [1]]))[..., None].astype(np.float32)
    layer(keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(counts))
    for variable in layer.weights:
        variable.assign(RNG.normal(size=variable.shape) * 0.5)
    kernel, recurrent, bias, inner = (np.asarray(keras.ops.convert_to_numpy(one)) for one in layer.weights)
    places = np.arange(3 * units).reshape(3, units)  # Keras: update gate, reset gate, candidate
    order, inner_order = places[[2, 1, 0]].ravel(), places[[1, 0, 2]].ravel()
    stock = keras.layers.Bidirectional(keras.layers.GRU(units, return_sequences=True))
    stock.build(x.shape)
    halves = []
    for way in range(2):
        biases = np.zeros((2, 3 * units))
        biases[0], biases[1, 2 * units :] = bias[3 * units * way :][: 3 * units][order], inner[way]
        halves += [kernel[:, 3 * units * way :][:, : 3 * units][:, order], recurrent[way][:, inner_order], biases]
    stock.set_weights(halves)
    weights = RNG.normal(size=(3, 7, 2 * units)).astype(np.float32) * counts

    def own(x: Any) -> Any:
        return keras.ops.sum(layer(x, keras.ops.convert_to_tensor(counts), training=True) * weights)

    def theirs(x: Any) -> Any:
        return keras.ops.sum(stock(x, mask=keras.ops.convert_to_tensor(counts[..., 0] > 0)) * weights)

    wanted = np.asarray(keras.ops.convert_to_numpy(stock(x, mask=counts[..., 0] > 0))) * counts
    for training in (False, True):
        found = np.asarray(keras.ops.convert_to_numpy(layer(x, counts, training=training)))
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_allclose(slope_of(own, x)[0], slope_of(theirs, x)[0], atol=1e-5)


@pytest.mark.parametrize("backwards", [False, True])
def test_the_gru_s_gradient_is_that_of_its_steps(backwards: bool) -> None:
    gates, kernel, bias = (RNG.normal(size=shape).astype(np.float32) for shape in ((5, 3, 12), (4, 12), (4,)))
    weights = RNG.normal(size=(5, 3, 4)).astype(np.float32)

    def own(*values: Any) -> Any:
        return keras.ops.sum(scanned(*values, backwards=backwards) * weights)

    def stepwise(gates: Any, kernel: Any, bias: Any) -> Any:
        state, total = keras.ops.zeros((3, 4)), 0.0
        for frame in reversed(range(5)) if backwards else range(5):
            inner = keras.ops.matmul(state, kernel)
            both = keras.ops.sigmoid(gates[frame, :, 4:] + inner[:, :8])
            candidate = keras.ops.tanh(gates[frame, :, :4] + both[:, :4] * (inner[:, 8:] + bias))
            state = candidate + both[:, 4:] * (state - candidate)
            total = total + keras.ops.sum(state * weights[frame])
        return total

    values = (gates, kernel, bias)
    np.testing.assert_allclose(*(np.asarray(one(*values)) for one in (own, stepwise)), rtol=1e-5)
    for found, wanted in zip(slope_of(own, *values), slope_of(stepwise, *values), strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-5)


@pytest.mark.parametrize("backbone", ["gru", "conformer"])
def test_padding_changes_no_answer(backbone: str) -> None:
    config = CONFIG.model_copy(update={"backbone": backbone, "heads": 2})
    network = build_model(config, ASSETS).whole
    samples = [RATE, 5_000, 81]
    x, _, _ = encode(config, ASSETS, False)(raw(samples, [[2], [3], []]), tf.zeros([3], tf.int64))
    short = given({name: x[name] for name in ("audio", "samples")})
    long = {**short, "audio": keras.ops.pad(short["audio"], ((0, 0), (0, 3_200)))}
    one, other = (np.asarray(keras.ops.convert_to_numpy(network(each))) for each in (short, long))
    for row, count in enumerate(lengths.answers(np.array(samples), CONFIG, RATE).tolist()):
        np.testing.assert_allclose(other[row, :count], one[row, :count], atol=1e-5)


def test_the_kept_network_is_the_one_that_is_trained(tmp_path: Any) -> None:
    built = build_model(CONFIG, ASSETS)
    assert built.whole is not None
    assert built.model.count_params() == built.whole.count_params()
    built.whole.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    x = given({"audio": RNG.normal(size=(2, 3_200)).astype(np.float32), "samples": np.array([3_200, 800], np.int32)})
    np.testing.assert_array_equal(*(np.asarray(keras.ops.convert_to_numpy(one(x))) for one in (built.whole, again)))


def test_the_error_rate_is_levenshteins() -> None:
    said = [[1, 2, 2, 3], [4], [], [1, 2]]
    right = [[1, 2, 3, 3, 4], [4], [1, 2], []]
    distances = [2, 0, 2, 2]
    frames, signs = 12, 5
    logits = np.zeros((4, frames, signs), np.float32)
    logits[:, :, 0] = 1
    for row, labels in enumerate(said):
        for place, label in enumerate(labels):
            logits[row, 2 * place : 2 * place + (1 if labels[place : place + 2] == [label] * 2 else 2), label] = 5
    logits[1, 8:, 3] = 9  # behind the end
    labels = np.array([[*one, *[0] * (6 - len(one))] for one in right], np.int32)
    counts = np.array([12, 8, 12, 12], np.int32)
    found = error_rate(*map(keras.ops.convert_to_tensor, (labels, logits, counts)))
    wanted = [distance / max(len(one), 1) for distance, one in zip(distances, right, strict=True)]
    np.testing.assert_allclose(np.asarray(keras.ops.convert_to_numpy(found)), wanted)


def test_the_objective_learns_two_clips() -> None:
    keras.utils.set_random_seed(0)
    config = CONFIG.model_copy(update={"width": 24})
    place = np.arange(RATE) / RATE
    tones = [np.sin(2 * np.pi * hertz * place) * 8_000 for hertz in (400, 1_500)]
    columns = raw([RATE, RATE], [[2, 3], [4]])
    columns["audio"] = tf.constant(np.concatenate(tones).astype(np.int16))
    x, y, weight = encode(config, ASSETS, False)(columns, tf.zeros([2], tf.int64))
    model = build_model(config, ASSETS).model
    trained = keras.Model(model.input, model.output["loss"])
    trained.compile(keras.optimizers.Adam(0.003), loss=lambda _, loss: loss, jit_compile=BACKEND == "jax")
    x, y = {name: one.numpy() for name, one in x.items()}, y.numpy().astype(np.float32)
    assert weight.numpy().tolist() == [2, 1]
    losses = [float(trained.train_on_batch(x, y)) for _ in range(240)]
    assert losses[-1] < 0.2 * losses[0]
    cer = model(given(x), training=False)["cer"]
    assert np.asarray(keras.ops.convert_to_numpy(cer)).max() <= 0.5


@pytest.mark.skipif(BACKEND == "jax", reason="the stream is TensorFlow's on both")
def test_training_varies_clips_by_their_keys_alone() -> None:
    config = CONFIG.model_copy(update={"noise": 1.0, "noise_snr": (20.0, 20.0)})
    columns = raw([RATE, 6_000], [[2, 3], [4]])
    keys = tf.constant(example_keys(0, 3, np.array([5, 9])))
    once, again = (encode(config, ASSETS, True)(columns, keys)[0] for _ in range(2))
    other = encode(config, ASSETS, True)(columns, tf.constant(example_keys(0, 4, np.array([5, 9]))))[0]
    for name in once:
        np.testing.assert_array_equal(once[name], again[name])
    assert (once["samples"].numpy() != other["samples"].numpy()).any()
    stretched = once["samples"].numpy() / np.array([RATE, 6_000])
    assert ((stretched > 1 / 1.11) & (stretched < 1 / 0.89)).all()
    frames = -(-once["samples"].numpy() // 80)
    masks = once["time_masks"].numpy()
    assert masks.shape == (2, config.time_masks, 2)
    assert (masks[..., 1] <= 0.05 * frames[:, None] + 1).all()
    assert (masks.sum(axis=-1) <= frames[:, None]).all()
    alone = encode(config, ASSETS, True)(
        {name: one[:RATE] if name == "audio" else one[:2] for name, one in columns.items()}, keys[:1]
    )[0]
    count = int(alone["samples"][0])
    np.testing.assert_array_equal(alone["audio"][0, :count], once["audio"][0, :count])


@pytest.mark.skipif(BACKEND == "jax", reason="the stream is TensorFlow's on both")
def test_noise_is_as_loud_as_it_says_and_speed_keeps_a_tone_pure() -> None:
    place = np.arange(2 * RATE) / RATE
    columns = raw([2 * RATE], [[2]])
    columns["audio"] = tf.constant((np.sin(2 * np.pi * 440 * place) * 10_000).astype(np.int16))
    keys = tf.constant(example_keys(0, 0, np.array([1])))
    quiet = CONFIG.model_copy(update={"noise": 0.0, "speed": 0.0})
    loud = quiet.model_copy(update={"noise": 1.0, "noise_snr": (20.0, 20.0)})
    clean, noisy = (encode(one, ASSETS, True)(columns, keys)[0]["audio"].numpy()[0] for one in (quiet, loud))
    ratio = 10 * np.log10((clean**2).sum() / ((noisy - clean) ** 2).sum())
    assert ratio == pytest.approx(20, abs=0.5)
    fast = quiet.model_copy(update={"speed": 0.1})
    x = encode(fast, ASSETS, True)(columns, keys)[0]
    count = int(x["samples"][0])
    spectrum = np.abs(np.fft.rfft(x["audio"].numpy()[0, :count] * np.hanning(count)))
    found = spectrum.argmax() * RATE / count
    assert found == pytest.approx(440 * 2 * RATE / count, rel=0.01)
    assert found != pytest.approx(440, rel=0.001)


@pytest.mark.skipif(BACKEND == "jax", reason="the stream is TensorFlow's on both")
def test_what_does_not_fit_counts_nothing() -> None:
    x, y, weight = encode(CONFIG, ASSETS, False)(raw([800, 800], [[2] * 2, [2] * 40]), tf.zeros([2], tf.int64))
    assert y.numpy().tolist() == [2, 40]
    assert weight.numpy().tolist() == [2, 0]  # three answers, and 40 labels with a blank between each two
    assert x["labels"].shape == (2, 48)


def test_batches_hold_as_much_sound_whatever_its_length() -> None:
    config = Config(rate=RATE, seconds_per_batch=64.0, max_seconds=30.0)
    batching = lengths.batching(config)
    assert batching.bounds == tuple(sorted(batching.bounds))
    limits = np.array([*batching.bounds, lengths.bounds(config, RATE, 30.0)[-1]]) / RATE
    sizes = np.array(batching.batch_sizes)
    assert (sizes * limits <= 64.1).all()
    assert all(size % 8 == 0 for size, limit in zip(sizes, limits, strict=True) if limit <= 8)
    assert lengths.batching(Config(rate=RATE, batch_size=7)).batch_sizes == (7,) * len(sizes)


def test_on_jax(again_on_jax: Callable[[str], None]) -> None:
    if BACKEND == "tensorflow":
        again_on_jax("not on_jax")
