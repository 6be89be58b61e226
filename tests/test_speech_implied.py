"""What the amount of sound decides of a training that was left to the defaults."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from pipelines.task import Data
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.implied import resolve

RATE = 8_000


@dataclass(frozen=True)
class Clips:
    """Of ten seconds each."""

    count: int

    def __len__(self) -> int:
        return self.count

    @property
    def sizes(self) -> np.ndarray:
        return np.full((self.count, 1), 10 * RATE, np.int32)


def resolved(minutes: float, **settings: Any) -> Config:
    train: Any = Clips(round(6 * minutes))
    return resolve(Config(**settings), Data({"train": train}, {"rate": RATE}, {}, "", "", {}))


@pytest.mark.parametrize(
    ("minutes", "seconds", "epochs"),
    [(10, 32.0, 60), (60, 64.0, 30), (600, 160.0, 30)],
)
def test_little_sound_is_learnt_longer_in_smaller_batches(minutes: float, seconds: float, epochs: int) -> None:
    found = resolved(minutes)
    assert (found.rate, found.seconds_per_batch, found.epochs) == (RATE, seconds, epochs)


def test_what_was_set_stays() -> None:
    found = resolved(10, epochs=3, seconds_per_batch=40.0, average=0.5)
    assert (found.epochs, found.seconds_per_batch, found.average) == (3, 40.0, 0.5)
    assert resolved(10, batch_size=4).seconds_per_batch is None


def test_the_average_is_no_longer_than_suits_the_updates() -> None:
    assert resolved(10, epochs=2).average == pytest.approx(1 - 10 / 38, abs=1e-4)  # 19 batches an epoch
    assert resolved(600).average == 0.998
