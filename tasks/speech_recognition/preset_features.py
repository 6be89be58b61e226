"""What the encoders of presets hear: Whisper's log-mel spectrogram, or the samples themselves.

Either answers as features.LogMel does: features [rows, frames, bands], and which frames count [rows, frames, 1].
"""

from typing import Any

import keras
import numpy as np

from tasks.speech_recognition.features import PACKAGE

_LEAST = 1e-10
_RANGE = 8.0
"""Powers of ten below the loudest place, where it is cut off."""
_HIGHEST_MEL = 45.245640471924965
"""8,000 Hz, on Slaney's scale: straight up to 1,000 Hz, which is 15, then a power."""


@keras.saving.register_keras_serializable(PACKAGE)
class WhisperMel(keras.layers.Layer):
    """{"audio": float32 [rows, samples] from -1 to 1, "samples": int32 [rows]} -> as keras_hub's WhisperAudioConverter
    (0.32) has it of the same clip, behind which that has silence: the logarithm of the power in each mel band, cut off
    8 powers of ten below the loudest place, plus 4, over 4. Frames that do not count are 0.

    Computed in float32 whatever the precision.

    Args:
        rate: samples a second.
        mels: bands.
        window, hop: in samples.
    """

    def __init__(self, rate: int, mels: int, window: int, hop: int, **settings: Any) -> None:
        super().__init__(**{**settings, "dtype": "float32"})
        self.rate, self.mels, self.window, self.hop = rate, mels, window, hop
        self._bands = slaney_bands(mels, window, rate)

    def call(self, x: dict[str, Any]) -> tuple[Any, Any]:
        """See the class."""
        counts = counted(x["samples"], keras.ops.shape(x["audio"])[1] // self.hop, self.hop)
        # Two frames more than there are: the windows of the others reach behind the end, and the loudest place is
        # looked for in all that hear something.
        half = self.window // 2
        audio = keras.ops.pad(keras.ops.cast(x["audio"], "float32"), ((0, 0), (0, half + 2 * self.hop)))
        audio = keras.ops.concatenate([keras.ops.flip(audio[:, 1 : half + 1], axis=1), audio], axis=1)
        real, imaginary = keras.ops.stft(audio, self.window, self.hop, self.window, center=False)
        power = keras.ops.square(real) + keras.ops.square(imaginary)
        mels = keras.ops.log(keras.ops.maximum(keras.ops.matmul(power, self._bands), _LEAST)) / float(np.log(10.0))
        loudest = keras.ops.max(mels, axis=(1, 2), keepdims=True)
        mels = (keras.ops.maximum(mels, loudest - _RANGE) + 4.0) / 4.0
        return mels[:, : keras.ops.shape(counts)[1]] * counts, counts

    def compute_output_spec(self, x: dict[str, Any]) -> tuple[Any, Any]:
        """Said, as not every backend can tell of so many open sides."""
        return _specs(x, self.hop, self.mels)

    def get_config(self) -> dict[str, Any]:
        """See keras.layers.Layer."""
        names = ("rate", "mels", "window", "hop")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(PACKAGE)
class Samples(keras.layers.Layer):
    """The sound itself, as Moonshine hears it: `hop` samples a frame, 0 behind the end.

    Args:
        rate: samples a second.
        hop: samples of a frame.
        normalised: whether each clip is shifted and scaled by its own mean and deviation.
    """

    def __init__(self, rate: int, hop: int, normalised: bool = False, **settings: Any) -> None:
        super().__init__(**{**settings, "dtype": "float32"})
        self.rate, self.hop, self.normalised = rate, hop, normalised

    def call(self, x: dict[str, Any]) -> tuple[Any, Any]:
        """See the class."""
        audio, samples = keras.ops.cast(x["audio"], "float32"), keras.ops.cast(x["samples"], "int32")
        frames = keras.ops.shape(audio)[1] // self.hop
        if self.normalised:
            place = keras.ops.arange(keras.ops.shape(audio)[1], dtype="int32")
            there = keras.ops.cast(place[None] < samples[:, None], "float32")
            total = keras.ops.cast(keras.ops.maximum(samples, 1), "float32")[:, None]
            apart = (audio - keras.ops.sum(audio * there, axis=1, keepdims=True) / total) * there
            variance = keras.ops.sum(keras.ops.square(apart), axis=1, keepdims=True) / total
            audio = apart * keras.ops.rsqrt(variance + 1e-7)
        return keras.ops.reshape(audio, (-1, frames, self.hop)), counted(samples, frames, self.hop)

    def compute_output_spec(self, x: dict[str, Any]) -> tuple[Any, Any]:
        """Said, as not every backend can tell of so many open sides."""
        return _specs(x, self.hop, self.hop)

    def get_config(self) -> dict[str, Any]:
        """See keras.layers.Layer."""
        names = ("rate", "hop", "normalised")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def counted(samples: Any, frames: Any, hop: int) -> Any:
    """float32 [rows, frames, 1]: 1 for each frame that begins before the clip ends, else 0."""
    valid = -(-keras.ops.cast(samples, "int32") // hop)
    counts = keras.ops.arange(frames, dtype="int32")[None] < valid[:, None]
    return keras.ops.expand_dims(keras.ops.cast(counts, "float32"), -1)


def slaney_bands(mels: int, length: int, rate: int) -> np.ndarray:
    """float32 [length // 2 + 1, mels]: triangles of equal area that stand evenly on Slaney's mel scale (1998), from 0
    to 8,000 Hz, as Whisper has them."""
    scale = np.linspace(0.0, _HIGHEST_MEL, mels + 2)
    edges = np.where(scale < 15.0, scale * 200.0 / 3, 1_000.0 * 6.4 ** ((np.maximum(scale, 15.0) - 15.0) / 27.0))
    hertz = np.fft.rfftfreq(length, 1.0 / rate)[:, None]
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    weights: np.ndarray = np.maximum(np.minimum(rising, falling), 0.0) * 2.0 / (edges[2:] - edges[:-2])
    found: np.ndarray = weights.astype(np.float32)
    return found


def _specs(x: dict[str, Any], hop: int, bands: int) -> tuple[Any, Any]:
    rows, samples = x["audio"].shape
    frames = None if samples is None else samples // hop
    return tuple(keras.KerasTensor((rows, frames, size), "float32") for size in (bands, 1))
