"""What a recogniser is held against: a linear classifier of frames, trained by CTC on the same features; and the
transcript that is said most often."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import keras
import numpy as np

from pipelines.task import Baseline, Data, Frozen, Predictor, Raw, Record, Store
from tasks.speech_recognition import alphabet, measures
from tasks.speech_recognition.answers import written
from tasks.speech_recognition.backbones import LOGITS, log_mel
from tasks.speech_recognition.config import CTC, GENERATE, Config
from tasks.speech_recognition.data.stores import ClipStore, Written
from tasks.speech_recognition.decoding import Greedy
from tasks.speech_recognition.prediction import Recogniser
from tasks.speech_recognition.readers import PathReader

_EPOCHS, _MOST_EPOCHS, _UPDATES = 8, 40, 300
"""Passes over the training clips: as many as make so many updates."""
_MOST_SECONDS = 3_600.0
"""Of training sound that the linear classifier sees in an epoch."""
_RATE = 3e-3
_CLIPS = 32
_JUDGED = 256
"""Validation clips that choose the yardstick."""
_CONTEXT = 4
"""Answers' worth of frames that a linear classifier looks at."""


def baseline(config: Config, data: Data, frozen: Frozen | None = None) -> Baseline:
    """A linear classifier, and the most frequent transcript; the yardstick is which of them has fewer wrong words on
    validation: of little sound a linear classifier learns less than it costs to say nothing."""
    del frozen
    store = cast(Any, data.splits["train"])
    both = [_linear_ctc(*_by_characters(config, data)), _most_frequent(store)]
    first, other = sorted(both, key=lambda one: _wrong_words(one, data.splits["valid"]))
    return replace(first, others=(other,))


def _wrong_words(one: Baseline, store: Any) -> int:
    """In the first clips of a split."""
    rows = np.arange(min(len(store), _JUDGED))
    raw = store.fetch(rows) if one.fetch is None else one.fetch(store, rows)
    found = one.predictor([(store.ids(rows), raw)])
    edits = measures.words([str(record.answer["transcript"]) for record in found], store.texts(rows))
    return int(edits.rates[:, 0].sum())


def _by_characters(config: Config, data: Data) -> tuple[Config, Data]:
    """What CTC takes: a preset's tens of thousands of pieces would each be an output of the linear classifier."""
    if config.decoder != GENERATE:
        return config, data
    train = cast(ClipStore, data.splits["train"])
    assert train.places is None, "decoded as they are"
    texts = train.texts(np.arange(len(train)))
    letters = alphabet.learnt(texts)
    train = replace(train, written=Written(*alphabet.encoded(texts, letters)))
    data = replace(data, splits={**data.splits, "train": train}, assets={**data.assets, "alphabet": letters})
    return config.model_copy(update={"decoder": CTC}), data


def _linear_ctc(config: Config, data: Data) -> Baseline:
    store = cast(Any, data.splits["train"])
    rows = _chosen(store.sizes[:, 0] / data.assets["rate"], config.seed)
    model = _linear(config, data.assets)
    batches = list(_batches(data, rows))
    epochs = min(max(_EPOCHS, math.ceil(_UPDATES / len(batches))), _MOST_EPOCHS)
    _fit(model, config, data, batches, epochs)
    note = f"one layer over {_CONTEXT * config.subsampling} frames, {epochs} epochs"
    if len(rows) < len(store):
        note += f" of {len(rows):,} of {len(store):,} training clips, chosen by the seed"
    recogniser = Recogniser(PathReader(model, config, data.assets, Greedy), config, data.assets)
    return Baseline("linear CTC", _predictor(recogniser), note)


def _chosen(seconds: np.ndarray, seed: int) -> np.ndarray:
    """int64 [clips]: as many as last so long, by the seed."""
    order = np.random.default_rng(seed).permutation(len(seconds))
    return np.sort(order[np.cumsum(seconds[order]) - seconds[order] < _MOST_SECONDS])


def _linear(config: Config, assets: dict[str, Any]) -> keras.Model:
    """Audio and samples in, logits out, as the network has it."""
    given = {
        "audio": keras.Input((None,), dtype="float32", name="audio"),
        "samples": keras.Input((), dtype="int32", name="samples"),
    }
    mels, _ = log_mel(config, assets)(given)
    size = _CONTEXT * config.subsampling
    before = (size - config.subsampling) // 2
    x = keras.layers.ZeroPadding1D((before, size - config.subsampling - before))(mels)
    start = keras.initializers.GlorotUniform(config.seed)
    classifier = keras.layers.Conv1D(
        len(assets["alphabet"]), size, config.subsampling, kernel_initializer=start, dtype="float32", name=LOGITS
    )
    return keras.Model(given, classifier(x))


def _fit(model: keras.Model, config: Config, data: Data, batches: Sequence[np.ndarray], epochs: int) -> None:
    """By Adam, with clips of like length beside each other."""
    from tasks.speech_recognition.objective import INPUTS, Objective

    inputs = {name: keras.Input(shape, dtype=dtype, name=name) for name, (shape, dtype) in INPUTS.items()}
    trained = keras.Model(inputs, Objective(model)(inputs)["loss"])
    # What JAX does not compile as a whole it compiles anew at every update.
    compiled = keras.backend.backend() == "jax"
    trained.compile(keras.optimizers.Adam(_RATE, clipnorm=5.0), loss=lambda y, loss: loss, jit_compile=compiled)
    order = np.random.default_rng(config.seed)
    for _ in range(epochs):
        for place in order.permutation(len(batches)).tolist():
            trained.train_on_batch(*_encoded(config, data, batches[place]))


def _batches(data: Data, rows: np.ndarray) -> Iterator[np.ndarray]:
    sizes = data.splits["train"].sizes
    assert sizes is not None
    near = rows[np.argsort(sizes[rows, 0], kind="stable")]
    # Filled up with the first, that all are of one number.
    for start in range(0, len(near), _CLIPS):
        yield np.resize(near[start : start + _CLIPS], _CLIPS)


def _encoded(config: Config, data: Data, rows: np.ndarray) -> tuple[dict[str, Any], Any, Any]:
    import tensorflow as tf

    from tasks.speech_recognition.encoding import encode

    raw = {name: tf.constant(column) for name, column in data.splits["train"].fetch(rows).items()}
    x, y, weight = encode(config, data.assets, False)(raw, tf.zeros([len(rows)], tf.int64))
    return {name: each.numpy() for name, each in x.items()}, y.numpy().astype(np.float32), weight.numpy()


def _predictor(recogniser: Recogniser) -> Predictor:
    def predict(batches: Iterable[tuple[list[str], Raw]]) -> Iterator[Record]:
        for ids, raw in batches:
            yield from recogniser.records(ids, raw)

    return predict


def _most_frequent(store: Any) -> Baseline:
    """Of transcripts that are said equally often, the first in order."""
    counts = Counter(store.texts(np.arange(len(store))))
    text, times = min(counts.items(), key=lambda pair: (-pair[1], pair[0]))

    def predict(batches: Iterable[tuple[list[str], Raw]]) -> Iterator[Record]:
        for ids, raw in batches:
            for name, seconds in zip(ids, raw["seconds"].tolist(), strict=True):
                yield Record(name, written(text, None, seconds))

    note = f"{text!r}, {times:,} of {len(store):,} training clips"
    return Baseline("most frequent transcript", predict, note, _durations)


def _durations(store: Store, indices: np.ndarray) -> Raw:
    """No sound."""
    return {"seconds": cast(Any, store).seconds[indices]}
