"""From sound to what the network sees: log-mel spectrograms, of which training hides stretches and bands."""

import math
from typing import Any

import keras
import numpy as np

PACKAGE = "sixfold.speech_recognition"
_LEAST = 1e-6
"""Added to a mel band's power before its logarithm: -60 dB, about the noise of 16 bits."""
LEAST_DEVIATION = 1e-2
"""Of a band, that silence is not blown up."""
_LOWEST_HZ = 20.0


@keras.saving.register_keras_serializable(PACKAGE)
class LogMel(keras.layers.Layer):
    """{"audio": float32 [rows, samples] from -1 to 1, "samples": int32 [rows]} -> the logarithms of the power in each
    mel band, float32 [rows, frames, mels], and which frames count, float32 [rows, frames, 1]. Frame t looks at the
    window around sample t times the hop; one counts that begins before the clip ends; the others are 0.

    Computed in float32 whatever the precision.

    Args:
        rate: samples a second.
        mels: bands.
        window, hop: in samples.
        mean, deviation: of each band; None: those of the clip itself.
        by_loudness: whether in those of the clip each frame counts by its amplitude, the geometric mean over the
            bands, so that pauses change them little.
    """

    def __init__(
        self,
        rate: int,
        mels: int,
        window: int,
        hop: int,
        mean: list[float] | None = None,
        deviation: list[float] | None = None,
        by_loudness: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(**{**settings, "dtype": "float32"})
        self.rate, self.mels, self.window, self.hop = rate, mels, window, hop
        self.mean, self.deviation, self.by_loudness = mean, deviation, by_loudness
        self._length = 2 ** math.ceil(math.log2(window))
        self._bands = mel_bands(mels, self._length, rate)

    def call(self, x: dict[str, Any]) -> tuple[Any, Any]:
        """See the class."""
        audio = keras.ops.cast(x["audio"], "float32")
        frames = keras.ops.shape(audio)[1] // self.hop
        spare = self._length - self.hop
        padded = keras.ops.pad(audio, ((0, 0), (spare // 2, spare - spare // 2)))
        real, imaginary = keras.ops.stft(padded, self.window, self.hop, self._length, center=False)
        power = keras.ops.square(real) + keras.ops.square(imaginary)
        mels = keras.ops.log(keras.ops.matmul(power, self._bands) + _LEAST)
        valid = -(-x["samples"] // self.hop)
        counts = keras.ops.arange(frames, dtype="int32")[None] < keras.ops.cast(valid, "int32")[:, None]
        counts = keras.ops.expand_dims(keras.ops.cast(counts, "float32"), -1)
        return self._normalised(mels, counts) * counts, counts

    def compute_output_spec(self, x: dict[str, Any]) -> tuple[Any, Any]:
        """Said, as not every backend can tell of so many open sides."""
        rows, samples = x["audio"].shape
        frames = None if samples is None else samples // self.hop
        return tuple(keras.KerasTensor((rows, frames, bands), "float32") for bands in (self.mels, 1))

    def get_config(self) -> dict[str, Any]:
        """See keras.layers.Layer."""
        names = ("rate", "mels", "window", "hop", "mean", "deviation", "by_loudness")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _normalised(self, mels: Any, counts: Any) -> Any:
        if self.mean is not None and self.deviation is not None:
            return (mels - np.array(self.mean, np.float32)) / np.array(self.deviation, np.float32)
        shares = self._loudness(mels, counts) if self.by_loudness else counts
        total = keras.ops.maximum(keras.ops.sum(shares, axis=1, keepdims=True), 1.0)
        mean = keras.ops.sum(mels * shares, axis=1, keepdims=True) / total
        apart = (mels - mean) * counts
        deviation = keras.ops.sqrt(keras.ops.sum(keras.ops.square(apart) * shares, axis=1, keepdims=True) / total)
        return apart / keras.ops.maximum(deviation, LEAST_DEVIATION)

    def _loudness(self, mels: Any, counts: Any) -> Any:
        """[rows, frames, 1]: of each frame that counts its amplitude, 1 the loudest's; of the others 0."""
        levels = keras.ops.where(counts > 0, keras.ops.mean(mels, axis=2, keepdims=True), math.log(_LEAST))
        return keras.ops.exp(0.5 * (levels - keras.ops.max(levels, axis=1, keepdims=True))) * counts


def mel_bands(mels: int, length: int, rate: int) -> np.ndarray:
    """float32 [length // 2 + 1, mels]: the weight of each frequency in each band: triangles that stand evenly on the
    mel scale (2595 log10(1 + f / 700): O'Shaughnessy, 1987), from 20 Hz to half the rate, as TensorFlow has them."""
    frequencies = _mel(np.linspace(0.0, rate / 2, length // 2 + 1))[:, None]
    edges = np.linspace(_mel(np.array(_LOWEST_HZ)), _mel(np.array(rate / 2)), mels + 2)
    rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    weights: np.ndarray = np.maximum(np.minimum(rising, falling), 0.0)
    weights[0] = 0.0  # what does not change is no sound
    found: np.ndarray = weights.astype(np.float32)
    return found


def hidden(mels: Any, time_masks: Any, mel_masks: Any) -> Any:
    """The spectrogram without what the masks cover, which becomes 0, its mean (SpecAugment: Park et al., 2019).

    Args:
        mels: [rows, frames, bands].
        time_masks: int32 [rows, any, 2]: first frame and number of frames of each.
        mel_masks: the same of bands.
    """
    kept_frames = _kept(time_masks, keras.ops.shape(mels)[1], mels.dtype)
    kept_bands = _kept(mel_masks, keras.ops.shape(mels)[2], mels.dtype)
    return mels * kept_frames[:, :, None] * kept_bands[:, None]


def _kept(masks: Any, places: Any, dtype: Any) -> Any:
    """[rows, places]: 0 where one of the masks lies, else 1."""
    place = keras.ops.arange(places, dtype="int32")
    first, count = masks[..., :1], masks[..., 1:]
    covered = keras.ops.logical_and(place >= first, place < first + count)
    return 1 - keras.ops.cast(keras.ops.any(covered, axis=1), dtype)


def _mel(hertz: np.ndarray) -> np.ndarray:
    return np.asarray(2595.0 * np.log10(1.0 + hertz / 700.0))
