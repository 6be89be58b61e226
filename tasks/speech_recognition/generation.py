"""Transcripts that a preset's own decoder writes, piece by piece, by beam search."""

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from pipelines.devices import compiled
from pipelines.text.ids import Ids
from pipelines.text.search import Search
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.steppers import PresetStepper

FEW = 10
"""Pieces that any transcript may have."""
_LENGTHS = (16, 32, 64, 128, 256, 512, 1_024)
"""Of what there is room for, in pieces; beyond, whole multiples of the last."""


@dataclass(frozen=True)
class Written:
    """Of one clip."""

    pieces: list[int]
    """Without start and end."""
    likelihood: float
    """Their log-probability, that of the end among them."""


class Generator:
    """A network that writes. Compiled once, on JAX for each shape.

    Args:
        network: as `build_network` makes it for decoder generate.
        config: it was made with; beams, and pieces_per_second, which is resolved.
        ids: of the pieces that are no text.
        rate: samples a second.
    """

    def __init__(self, network: keras.Model, config: Config, ids: Ids, rate: int) -> None:
        search, stepper = Search(config.beams, ids=ids), PresetStepper(network, ids)

        def write(audio: Any, samples: Any, limits: Any, blank: Any) -> tuple[Any, Any]:
            # By length, that hypotheses of any length compare.
            return search(stepper, {"audio": audio, "samples": samples}, limits, blank, np.float32(1))

        self._write, self._ids, self._rate = compiled(write, network), ids, rate
        self._each_second = config.pieces_per_second or 0.0

    def generate(self, audio: np.ndarray, samples: np.ndarray) -> list[Written]:
        """Of each row its likeliest transcript that was found, which ends at its limit at the latest.

        Args:
            audio: float32 [rows, samples], from -1 to 1, zeros behind the end of each.
            samples: int32 [rows], how many there are.
        """
        limits = np.ceil(samples / self._rate * self._each_second).astype(np.int32) + FEW
        blank = np.full((len(samples), _at_least(int(limits.max(initial=1)))), self._ids.pad, np.int32)
        pieces, scores = (np.asarray(one)[:, 0] for one in self._write(audio, samples, limits, blank))
        found = [row[row != self._ids.pad].tolist() for row in pieces]
        return [Written(row, float(score) * (len(row) + 1)) for row, score in zip(found, scores, strict=True)]


def _at_least(length: int) -> int:
    """The smallest of few lengths that holds so many."""
    return next((one for one in _LENGTHS if one >= length), math.ceil(length / _LENGTHS[-1]) * _LENGTHS[-1])
