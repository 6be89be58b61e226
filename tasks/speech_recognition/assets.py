"""What a model takes from its training split besides the alphabet: a language model, the usual loudness of each mel
band."""

from dataclasses import replace
from typing import cast

import keras
import numpy as np

from pipelines.audio.files import FULL
from pipelines.task import Assets, Data
from tasks.speech_recognition import language, sounds
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.data.stores import ClipStore
from tasks.speech_recognition.features import LEAST_DEVIATION, LogMel
from tasks.speech_recognition.implied import imply
from tasks.speech_recognition.lengths import bounds, window_and_hop

_CLIPS = 16
_MOST = 2_000
"""Clips that the usual loudness is taken from."""


def load_data(config: Config) -> Data:
    """The data of a run, decoded as the run to start from has it, if there is one; the assets of `sounds.load_data`,
    and as asked for `language_model` and `normal`.

    Raises:
        DataError: as there.
    """
    config = imply(config)
    data = sounds.load_data(config)
    train = cast(ClipStore, data.splits["train"])
    more: Assets = {}
    if config.language_model != "none":
        more = _language(train, len(data.assets["alphabet"]), config)
    if config.normalization == "global":
        more["normal"] = _normal(train, config, int(data.assets["rate"]))
    return replace(data, assets={**data.assets, **more})


def _language(train: ClipStore, size: int, config: Config) -> Assets:
    every = np.arange(len(train))
    assert train.written is not None
    ids, splits = train.written.take(every if train.places is None else train.places)
    labels = [ids[start:end].tolist() for start, end in zip(splits[:-1], splits[1:], strict=True)]
    return language.learnt(train.texts(every), labels, size, config)


def _normal(train: ClipStore, config: Config, rate: int) -> Assets:
    """Mean and deviation of each mel band over the frames of training clips, chosen by the seed."""
    nothing: list[float] = [0.0] * config.mels
    layer = LogMel(rate, config.mels, *window_and_hop(config, rate), mean=nothing, deviation=[1.0] * config.mels)
    chosen = np.sort(np.random.default_rng(config.seed).permutation(len(train))[:_MOST])
    limits = bounds(config, rate)
    frames, total, squares = 0.0, np.zeros(config.mels), np.zeros(config.mels)
    for start in range(0, len(chosen), _CLIPS):
        raw = train.fetch(chosen[start : start + _CLIPS])
        samples = np.diff(raw["audio_splits"]).astype(np.int32)
        length = next(limit for limit in limits if limit >= samples.max())
        audio = np.zeros((len(samples), length), np.float32)
        there = np.arange(length) < samples[:, None]
        audio[there] = raw["audio"] / np.float32(FULL)
        found = layer({"audio": keras.ops.convert_to_tensor(audio), "samples": keras.ops.convert_to_tensor(samples)})
        mels, counts = (keras.ops.convert_to_numpy(one).astype(np.float64) for one in found)
        frames += float(counts.sum())
        total += mels.sum(axis=(0, 1))
        squares += np.square(mels).sum(axis=(0, 1))
    mean = total / max(frames, 1)
    deviation = np.sqrt(np.maximum(squares / max(frames, 1) - mean**2, LEAST_DEVIATION**2))
    return {"mean": mean.round(6).tolist(), "deviation": deviation.round(6).tolist()}
