"""What a recogniser is held against: a linear classifier that can learn what is linear, and one answer for all."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.evaluation import predict_store
from pipelines.task import Data, Raw
from tasks.speech_recognition.baseline import baseline
from tasks.speech_recognition.config import Config

RATE = 8_000
ALPHABET = ["", " ", "a", "b", "c"]
TONES = {"a": 300, "b": 1_000, "c": 2_500}


@dataclass(frozen=True)
class Tones:
    """Clips in which each character is a tone of its own, with silence between two."""

    said: list[str]

    def __len__(self) -> int:
        return len(self.said)

    @property
    def sizes(self) -> np.ndarray:
        return np.array([[len(one)] for one in self._clips()], np.int32)

    @property
    def seconds(self) -> np.ndarray:
        return self.sizes[:, 0] / RATE

    def ids(self, indices: np.ndarray) -> list[str]:
        return [f"clip {place}" for place in indices.tolist()]

    def texts(self, indices: np.ndarray) -> list[str]:
        return [self.said[place] for place in indices.tolist()]

    def fetch(self, indices: np.ndarray) -> Raw:
        clips = list(self._clips())
        chosen = [clips[place] for place in indices.tolist()]
        labels = [[ALPHABET.index(sign) for sign in text] for text in self.texts(indices)]
        return {
            "audio": np.concatenate(chosen),
            "audio_splits": np.cumsum([0, *map(len, chosen)]),
            "text": np.array([label for row in labels for label in row], np.int32),
            "text_splits": np.cumsum([0, *map(len, labels)]),
        }

    def _clips(self) -> Iterator[np.ndarray]:
        random = np.random.default_rng(0)
        place = np.arange(RATE // 5) / RATE
        for text in self.said:
            tones = [np.concatenate([np.sin(2 * np.pi * TONES[sign] * place), np.zeros(RATE // 10)]) for sign in text]
            sound = np.concatenate([np.zeros(RATE // 10), *tones])
            yield (8_000 * sound + 30 * random.normal(size=len(sound))).astype(np.int16)


class Unlike(Tones):
    """Whose sound is not what is said to be in it."""

    def texts(self, indices: np.ndarray) -> list[str]:
        return ["ab"] * len(indices)


def texts(count: int, seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    return ["".join(random.choice(list("abc"), random.integers(1, 4))) for _ in range(count)]


def test_it_learns_tones_and_says_what_it_is() -> None:
    config = Config(rate=RATE, mels=20, noise=0.0, speed=0.0)
    train, test = Tones(["ab"] * 9 + texts(120, 0)), Tones(texts(30, 1))
    assets: dict[str, Any] = {"alphabet": ALPHABET, "rate": RATE}
    data = Data({"train": train, "valid": test, "test": test}, assets, {}, "", "", {})
    found = baseline(config, data)
    assert found.name == "linear CTC"
    assert "16 frames" in found.note
    answers = [str(record.answer["transcript"]) for record in predict_store(found.predictor, test, found.fetch)]
    right = np.mean([one == other for one, other in zip(answers, test.said, strict=True)])
    assert right > 0.6
    (other,) = found.others
    same = [str(record.answer["transcript"]) for record in predict_store(other.predictor, test, other.fetch)]
    most = max(sorted(set(train.said)), key=train.said.count)
    assert same == [most] * len(test)
    assert repr(most) in other.note


def test_the_yardstick_is_what_is_better_on_validation() -> None:
    config = Config(rate=RATE, mels=20, noise=0.0, speed=0.0)
    train, valid, test = Tones(["ab"] * 9 + texts(12, 0)), Unlike(["c"] * 5), Tones(texts(5, 1))
    assets: dict[str, Any] = {"alphabet": ALPHABET, "rate": RATE}
    data = Data({"train": train, "valid": valid, "test": test}, assets, {}, "", "", {})
    found = baseline(config, data)
    assert [found.name, *(one.name for one in found.others)] == ["most frequent transcript", "linear CTC"]
