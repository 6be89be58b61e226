"""What the model sees of a recording."""

from typing import Any

import keras
import numpy as np

from pipelines.audio.files import FULL
from pipelines.task import Raw
from tasks.speech_recognition.backbones import MELS, SOUND
from tasks.speech_recognition.features import LogMel

_BANDS, _HOPS = 80, 2.5
"""Of pictures of what presets hear: mel bands, and hops that a frame looks at."""


def spectrograms(model: keras.Model, raw: Raw) -> list[np.ndarray]:
    """Of each recording its features as our own networks have them: float32 [frames, mels]. Those of presets are for no
    eye: of theirs the log-mel spectrogram of the same hop."""
    layer = model.get_layer(MELS)
    given = {name: model.input[name] for name in SOUND}
    features = keras.Model(given, layer.output if isinstance(layer, LogMel) else _pictured(given, layer))
    found = []
    splits = raw["audio_splits"].tolist()
    for start, end in zip(splits, splits[1:], strict=False):
        audio = raw["audio"][start:end].astype(np.float32) / np.float32(FULL)
        spare = -len(audio) % layer.hop
        x = {"audio": np.pad(audio, (0, spare))[None], "samples": np.array([end - start], np.int32)}
        found.append(np.asarray(keras.ops.convert_to_numpy(features(x)[0][0])))
    return found


def _pictured(given: dict[str, Any], layer: Any) -> Any:
    return LogMel(layer.rate, _BANDS, round(_HOPS * layer.hop), layer.hop)(given)
