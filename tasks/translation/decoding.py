"""Sentences, as pieces, to their translations: sorted by length, a batch at a time, in the order they came."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from pipelines.devices import compiled
from pipelines.text.ids import Ids
from pipelines.text.search import LEAST, Search
from pipelines.transfer.pair_presets import longest_text
from tasks.translation.backbones import written_by
from tasks.translation.config import PRESET, Config
from tasks.translation.steppers import stepper_of

BEAMS_AT_ONCE = 640
"""Hypotheses of a batch."""
_LENGTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""What sentences are filled up to, in pieces; and the most pieces of translations."""
_NO_END = int(np.iinfo(np.int32).max)


@dataclass(frozen=True)
class Found:
    """Of one sentence, best first."""

    pieces: list[np.ndarray]
    """int32 [pieces] of each translation, without start and end."""
    scores: np.ndarray
    """float32 [translations]."""


class Decoder:
    """Translates by a network, in float32 however it was trained: fewer bits are no faster here, and tell fewer
    translations apart. Compiled for each way of searching once, on JAX also for each shape.

    Args:
        network: as `build_network` makes it.
        config: it was made with.
        ids: of the pieces that are no text.
    """

    def __init__(self, network: keras.Model, config: Config, ids: Ids | None = None) -> None:
        self._ids = ids or Ids()
        self._network, self._stepper = network, stepper_of(network, config, self._ids)
        self._compiled: dict[Search, Any] = {}
        self._most_read, self._most_written = room(network, config, self._ids)

    def translate(
        self,
        source: np.ndarray,
        *,
        beams: int,
        n_best: int = 1,
        length_penalty: float = 1.0,
        no_repeat: int = 0,
        limits: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """int32 [rows, n_best, L], pieces without start and end, padding behind them; float32 [rows, n_best], their
        scores, best first: the sum of log-probabilities, that of the end among them, over the length, the end counted,
        to the power of length_penalty.

        Args:
            source: int32 [rows, S], with the end, padding behind it.
            beams: hypotheses that are followed at once.
            n_best: translations of each row, at most as many as beams.
            length_penalty: see above.
            no_repeat: no run of so many pieces stands in a translation twice; 0: any may.
            limits: int32 [rows], of pieces.
        """
        if n_best > beams:
            raise ValueError(f"{n_best} translations of {beams} beams: ask for at most as many.")
        if not len(source):
            return np.zeros((0, n_best, 1), np.int32), np.zeros((0, n_best), np.float32)
        search = Search(beams, n_best, no_repeat, self._ids)
        if search not in self._compiled:
            self._compiled[search] = compiled(partial(search, self._stepper), self._network)
        limits = np.minimum(limits, self._most_written)
        longest = _at_least(int(limits.max(initial=1)), self._most_written)
        blank = np.full((len(source), longest), self._ids.pad, np.int32)
        given = (source.astype(np.int32), limits.astype(np.int32), blank, np.float32(length_penalty))
        with in_float32(self._network):
            pieces, scores = self._compiled[search](*given)
        return np.asarray(pieces), np.asarray(scores)

    def translate_all(
        self, sources: Sequence[np.ndarray], limits: np.ndarray, *, beams: int, **settings: Any
    ) -> list[Found]:
        """The same of any number of sentences int32 [pieces], with their ends; where fewer than n_best translations
        were found, as many as there are, and always one."""
        found: list[Found | None] = [None] * len(sources)
        for part in _batches(sources, max(BEAMS_AT_ONCE // beams, 1)):
            filled = self._filled([sources[place] for place in part])
            pieces, scores = self.translate(filled, limits=limits[part], beams=beams, **settings)
            for row, place in enumerate(part):
                there = scores[row] > LEAST
                texts = [one[one != self._ids.pad] for one in pieces[row, there]]
                found[place] = Found(texts, scores[row, there])
        return [one for one in found if one is not None]

    def _filled(self, sources: Sequence[np.ndarray]) -> np.ndarray:
        """int32 [rows, S]."""
        longest = _at_least(max(map(len, sources)), self._most_read)
        filled = np.full((len(sources), longest), self._ids.pad, np.int32)
        for row, one in enumerate(sources):
            filled[row, : len(one)] = one
        return filled


def room(network: keras.Model, config: Config, ids: Ids) -> tuple[int, int]:
    """Pieces that the network has places for: of what it reads, with their marks, and of what it writes."""
    longest = longest_text(written_by(network)) if config.backbone == PRESET else None
    most = longest or _NO_END
    # Of what is written the start counts too, and what may stand before it.
    return most, most - (1 if ids.before is None else 2)


@contextmanager
def in_float32(network: keras.Model) -> Iterator[None]:
    """Its layers compute so where they are called in here; what they hold is float32 already."""
    layers = network._flatten_layers(include_self=False)
    before = [(layer, layer.dtype_policy) for layer in layers]
    for layer, _ in before:
        layer.dtype_policy = "float32"
    try:
        yield
    finally:
        for layer, policy in before:
            layer.dtype_policy = policy


def _batches(sources: Sequence[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    """Places of sentences that are about as long, the longest first."""
    order = np.argsort([-len(one) for one in sources], kind="stable")
    for start in range(0, len(order), rows):
        yield order[start : start + rows]


def _at_least(length: int, most: int) -> int:
    """The smallest of few lengths that holds so many; none above `most`, which does."""
    return min(next((one for one in _LENGTHS if one >= length), length), most)
