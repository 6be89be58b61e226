"""What the model sees of a recording."""

import keras
import numpy as np

from pipelines.audio.files import FULL
from pipelines.task import Raw
from tasks.speech_recognition.backbones import MELS


def spectrograms(model: keras.Model, raw: Raw) -> list[np.ndarray]:
    """Of each recording its features as the network has them: float32 [frames, mels]."""
    layer = model.get_layer(MELS)
    features = keras.Model(model.input, layer.output)
    found = []
    splits = raw["audio_splits"].tolist()
    for start, end in zip(splits, splits[1:], strict=False):
        audio = raw["audio"][start:end].astype(np.float32) / np.float32(FULL)
        spare = -len(audio) % layer.hop
        x = {"audio": np.pad(audio, (0, spare))[None], "samples": np.array([end - start], np.int32)}
        found.append(np.asarray(keras.ops.convert_to_numpy(features(x)[0][0])))
    return found
