"""Connected digits put together from recordings of single ones, as those of the Free Spoken Digit Dataset
(github.com/Jakobovski/free-spoken-digit-dataset): a manifest folder to train on, with its own train, valid and test.

    python -m tasks.speech_recognition.data.compose_digits FSDD OUT
    sixfold run speech-recognition --data OUT

FSDD holds {digit}_{speaker}_{number}.wav, or a folder recordings of them. Numbers 0 to 4 of each speaker and digit are
the test, as the data set has it; 5 to 9 validation; the others train. Each utterance is three to seven digits of one
speaker, with pauses between them; the same seed composes the same ones. All recordings of a split are used about
equally often: each is drawn from a shuffled deck of its speaker and digit. Utterances are FLAC files.
"""

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from pipelines.audio.files import Stretch, decoded, opened
from pipelines.errors import DataError, SixfoldError

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NAME = re.compile(r"(?P<digit>[0-9])_(?P<speaker>[^_]+)_(?P<number>[0-9]+)\.wav")
_TEST, _VALID = 5, 10
"""The numbers below which a recording is of the test, or of validation."""
_LENGTHS = (3, 7)
_PAUSES = (0.05, 0.25)
"""Seconds between two digits."""
_EDGES = (0.05, 0.2)
"""Before the first and behind the last one."""
_HISS = 12
"""Deviation of the noise in pauses, of 32,768: what is dead silent is heard nowhere."""


@dataclass
class Decks:
    """The recordings of a speaker by digit, each drawn once before any is drawn again."""

    recordings: dict[int, list[Path]]
    random: np.random.Generator
    left: dict[int, list[Path]] = field(default_factory=dict)

    def draw(self, digit: int) -> Path:
        """The next recording of a digit."""
        if not self.left.get(digit):
            every = sorted(self.recordings[digit])
            self.left[digit] = [every[place] for place in self.random.permutation(len(every))]
        return self.left[digit].pop()


def compose(source: Path, out: Path, utterances: dict[str, int], *, rate: int = 8_000, seed: int = 0) -> None:
    """Write OUT/train.jsonl, valid.jsonl and test.jsonl with their sound.

    Args:
        source: where the recordings lie.
        out: a folder that is not there yet, or empty.
        utterances: by split, how many, the same of each speaker.
        rate: samples a second.
        seed: of what is drawn.

    Raises:
        DataError: there are no such recordings, or out is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is there already and not empty: name another folder.")
    found = _recordings(source)
    for number, (split, wanted) in enumerate(utterances.items()):
        (out / split).mkdir(parents=True)
        random = np.random.Generator(np.random.Philox(key=[seed, number]))
        rows = _write(out, split, found[split], wanted, rate, random)
        with (out / f"{split}.jsonl").open("w", encoding="utf-8") as manifest:
            manifest.writelines(json.dumps(row) + "\n" for row in rows)


def _recordings(source: Path) -> dict[str, dict[str, dict[int, list[Path]]]]:
    """By split, speaker and digit."""
    folder = source / "recordings" if (source / "recordings").is_dir() else source
    found: dict[str, dict[str, dict[int, list[Path]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for path in sorted(folder.glob("*.wav")):
        if name := _NAME.fullmatch(path.name):
            number = int(name["number"])
            split = "test" if number < _TEST else "valid" if number < _VALID else "train"
            found[split][name["speaker"]][int(name["digit"])].append(path)
    for split in ("train", "valid", "test"):
        lacking = [speaker for speaker, digits in found[split].items() if len(digits) < len(WORDS)]
        if not found[split] or lacking:
            which = f" of {lacking[0]}" if lacking else ""
            raise DataError(f"{folder} lacks recordings of some digit{which} for {split}: fetch the data set whole.")
    return found


def _write(
    out: Path,
    split: str,
    speakers: dict[str, dict[int, list[Path]]],
    utterances: int,
    rate: int,
    random: np.random.Generator,
) -> Iterator[dict[str, str | float]]:
    """The rows of a split's manifest, as their sound is written."""
    names = sorted(speakers)
    decks = {name: Decks(speakers[name], random) for name in names}
    for number in range(utterances):
        speaker = names[number % len(names)]
        digits = random.integers(0, len(WORDS), random.integers(_LENGTHS[0], _LENGTHS[1] + 1)).tolist()
        sound = _joined([decks[speaker].draw(digit) for digit in digits], rate, random)
        path = f"{split}/{number:05}.flac"
        soundfile.write(out / path, sound, rate, subtype="PCM_16")
        yield {
            "audio": path,
            "text": " ".join(WORDS[digit] for digit in digits),
            "speaker": speaker,
            "duration": round(len(sound) / rate, 3),
        }


def _joined(paths: list[Path], rate: int, random: np.random.Generator) -> np.ndarray:
    """int16 [samples]: recordings behind each other, with pauses."""
    pieces = [_pause(_EDGES, rate, random)]
    for path in paths:
        with opened(Stretch(str(path).encode())) as sound:
            pieces += [decoded(sound, rate), _pause(_PAUSES, rate, random)]
    return np.concatenate([*pieces[:-1], _pause(_EDGES, rate, random)])


def _pause(seconds: tuple[float, float], rate: int, random: np.random.Generator) -> np.ndarray:
    noise = random.normal(0, _HISS, round(random.uniform(*seconds) * rate))
    return np.rint(noise).astype(np.int16)


def _main() -> None:
    parser = argparse.ArgumentParser(description="Connected digits from recordings of single ones.")
    parser.add_argument("fsdd", type=Path, help="the folder of recordings, DIGIT_SPEAKER_NUMBER.wav")
    parser.add_argument("out", type=Path, help="the folder to write")
    parser.add_argument("--train", type=int, default=3_000, help="utterances to train on (%(default)s)")
    parser.add_argument("--valid", type=int, default=300, help="of validation (%(default)s)")
    parser.add_argument("--test", type=int, default=600, help="of the test (%(default)s)")
    parser.add_argument("--rate", type=int, default=8_000, help="samples a second (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (%(default)s)")
    given = parser.parse_args()
    utterances = {split: getattr(given, split) for split in ("train", "valid", "test")}
    try:
        compose(given.fsdd, given.out, utterances, rate=given.rate, seed=given.seed)
    except SixfoldError as error:
        parser.error(str(error))


if __name__ == "__main__":
    _main()
