"""Makes the built-in sample: numbers and rows of digits, said by espeak-ng in several voices and speeds, with noise.

The synthesiser comes with the package espeakng-loader, of the extra [dev], and needs no network. It is run by hand:
python -m tasks.speech_recognition.data.make_sample
"""

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import soundfile
import soxr

from pipelines.sources.philox import numbers
from tasks.speech_recognition.data.sample import COLUMNS, FOLDER, RATE, SOUND, TABLE, Spoken

VOICES = (
    *("en", "en-us", "en-gb-scotland+m3", "en-us+f4", "en-gb-x-rp+m7"),
    *("en-029+f5", "en+m5", "en-us+Annie", "en+f2", "en-us-nyc+m2"),
)
"""Accents, and behind + the throat."""
_CLIPS = 500
_SEED = 9
_CHOICES = 16
"""Random numbers of a clip, more than any needs."""
_SPEEDS, _PITCHES = (130, 220), (35, 65)
"""Words a minute; espeak-ng's own scale from 0 to 100."""
_PEAKS, _NOISES = (4, 14), (20, 40)
"""Decibels below full scale; and below the loudest sample, of the noise's deviation."""
_PAUSES = (30, 200)
"""Milliseconds before and behind what is said."""
_COMPRESSION = 0.95
"""Of Opus, from 0 to 1: 18 kbit/s. Without what is above 4,000 Hz, fifty would be sixty."""

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")

_Draw = Callable[[int, int], int]
"""Bounds -> a whole number from the first up to the second."""


def texts() -> list[str]:
    """What is said in each clip, always the same."""
    return [_text(_draw(iter(choices))) for choices in numbers(_SEED, _CLIPS, _CHOICES).tolist()]


def recorded() -> Iterator[tuple[str, str, np.ndarray]]:
    """(voice, text, float32 [samples]) of each clip.

    Raises:
        ModuleNotFoundError: espeakng-loader is not installed.
    """
    synthesiser = Synthesiser()
    choices = numbers(_SEED + 1, _CLIPS, _CHOICES).tolist()
    for row, text in enumerate(texts()):
        draw = _draw(iter(choices[row]))
        voice = VOICES[row % len(VOICES)]
        said = synthesiser.say(text, voice, draw(*_SPEEDS), draw(*_PITCHES))
        yield voice, text, _room(soxr.resample(said, synthesiser.rate, RATE), row, draw)


class Synthesiser:
    """espeak-ng, through its C interface (speak_lib.h)."""

    _RETRIEVAL, _UTF8, _RATE, _PITCH = 1, 1, 1, 3

    def __init__(self) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self._heard: list[np.ndarray] = []
        # The library keeps no reference of its own to what it calls.
        self._called = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)(
            self._hear
        )
        self.rate: int = self._library.espeak_Initialize(
            self._RETRIEVAL, 0, espeakng_loader.get_data_path().encode(), 0
        )
        self._library.espeak_SetSynthCallback(self._called)

    def say(self, text: str, voice: str, speed: int, pitch: int) -> np.ndarray:
        """float32 [samples], -1 to 1.

        Args:
            text: in words.
            voice: one of espeak-ng's names.
            speed: words a minute.
            pitch: 0 to 100.

        Raises:
            ValueError: there is no such voice.
        """
        self._heard = []
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"espeak-ng has no voice {voice}")
        self._library.espeak_SetParameter(self._RATE, speed, 0)
        self._library.espeak_SetParameter(self._PITCH, pitch, 0)
        data = text.encode() + b"\0"
        self._library.espeak_Synth(data, len(data), 0, 1, 0, self._UTF8, None, None)
        self._library.espeak_Synchronize()
        return np.concatenate(self._heard).astype(np.float32) / 32_768

    def _hear(self, samples: Any, count: int, events: Any) -> int:
        del events
        if samples and count:
            self._heard.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0


def _text(draw: _Draw) -> str:
    """Two to four digits, or a number from 20 up to 999 without the teens, which would be too rare to learn."""
    if draw(0, 1):
        return " ".join(_DIGITS[draw(0, 9)] for _ in range(draw(2, 4)))
    words = [_DIGITS[draw(1, 9)], "hundred"] if draw(0, 1) else []
    words.append(_TENS[draw(0, 7)])
    digit = draw(0, 9)
    return " ".join([*words, _DIGITS[digit]] if digit else words)


def _room(said: np.ndarray, row: int, draw: _Draw) -> np.ndarray:
    """What is said, of another loudness, between pauses, in noise."""
    peak, below = 10 ** (-draw(*_PEAKS) / 20), 10 ** (-draw(*_NOISES) / 20)
    pauses = [np.zeros(draw(*_PAUSES) * RATE // 1000, np.float32) for _ in range(2)]
    sound = np.concatenate([pauses[0], said * (peak / np.abs(said).max()), pauses[1]])
    return (sound + peak * below * _normal(row, len(sound))).astype(np.float32)


def _normal(row: int, count: int) -> np.ndarray:
    """float64 [count]: Box and Muller's numbers, deviation 1."""
    drawn = (numbers(_SEED + 2 + row, 1, 2 * count)[0].astype(np.float64) + 0.5) / 2**32
    normal: np.ndarray = np.sqrt(-2 * np.log(drawn[:count])) * np.cos(2 * np.pi * drawn[count:])
    return normal


def _draw(choices: Iterator[int]) -> _Draw:
    return lambda low, high: low + (next(choices) * (high - low + 1) >> 32)


def _make() -> None:
    FOLDER.mkdir(exist_ok=True)
    clips, sounds, start = [], [], 0
    for voice, text, sound in recorded():
        clips.append(Spoken(start, len(sound), voice, text))
        sounds.append(sound)
        start += len(sound)
    options = {"format": "OGG", "subtype": "OPUS", "compression_level": _COMPRESSION}
    with soundfile.SoundFile(SOUND, "w", RATE, 1, **options) as file:
        for sound in sounds:  # at once, the encoder would lay all of it on the stack
            file.write(sound)
    lines = ["\t".join(COLUMNS), *(f"{clip.start}\t{clip.samples}\t{clip.speaker}\t{clip.text}" for clip in clips)]
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _make()
