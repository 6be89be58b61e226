"""How many tokens of a text the model sees, and in which shapes. Imports no TensorFlow."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from pipelines.task import Batching
from tasks.text_sentiment.config import Config

_LENGTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024, 2048, 4096, 8192)
"""Each is a shape that costs a trace or a compilation. Short texts are padded by a half at most; of these, a data set
fills some six."""


class Bounded(Protocol):
    """What is known of a tokenizer here: which tokens it puts before and after each text."""

    @property
    def start(self) -> int | None:
        """Before."""

    @property
    def end(self) -> int | None:
        """After."""


def bounds(config: Config) -> tuple[int, ...]:
    """The lengths that texts (or windows) are padded to, in tokens, ascending; the last is max_tokens."""
    return (*[length for length in _LENGTHS if length < config.max_tokens], config.max_tokens)


def window_bounds(config: Config) -> tuple[int, ...]:
    """The numbers of windows that texts are padded to, ascending: 1, 2, 4, ... and the most."""
    if config.long != "windows":
        return (1,)
    return (*[2**power for power in range(7) if 2**power < config.max_windows], config.max_windows)


def room(config: Config, tokenizer: Bounded) -> int:
    """Tokens of a text that one window takes besides those before and after."""
    return config.max_tokens - specials(tokenizer)


def specials(tokenizer: Bounded) -> int:
    """Tokens before and after each text."""
    return (tokenizer.start is not None) + (tokenizer.end is not None)


def cut(config: Config, tokenizer: Bounded) -> Callable[[np.ndarray], np.ndarray]:
    """A function of the numbers of tokens of texts [n]: how many of each the model sees, those before and after not
    counted."""
    most = room(config, tokenizer) * window_bounds(config)[-1]
    return lambda lengths: np.minimum(lengths, most)


def windows(config: Config, tokenizer: Bounded) -> Callable[[np.ndarray], np.ndarray]:
    """The same of the number of windows, at least one; each text is cut into near-equal ones."""
    kept, most = cut(config, tokenizer), room(config, tokenizer)
    return lambda lengths: np.maximum(-(-kept(lengths) // most), 1)


def sizes(config: Config, tokenizer: Bounded) -> Callable[[np.ndarray], np.ndarray]:
    """The same of all tokens that the model sees, those before and after each window counted: int32 [n, 1], what
    batches are costed by."""
    kept, count, extra = cut(config, tokenizer), windows(config, tokenizer), specials(tokenizer)
    return lambda lengths: (kept(lengths) + extra * count(lengths)).astype(np.int32)[:, None]


def batching(config: Config) -> Batching:
    """A bucket for each length that texts are padded to; of several windows, for each number of them."""
    limits = (*bounds(config), *(config.max_tokens * count for count in window_bounds(config)[1:]))
    return Batching(
        cost=lambda sizes: sizes[:, 0],
        bounds=limits[:-1],
        batch_sizes=tuple(_batch_size(config, limit) for limit in limits),
    )


def _batch_size(config: Config, tokens: int) -> int:
    """Of texts of so many tokens: a multiple of 8 where it can be, which devices share equally, and of the parts that
    it is computed in."""
    if config.tokens_per_batch is None:
        return config.batch_size
    many = config.tokens_per_batch // tokens
    part = config.accumulate * (8 if many >= 8 * config.accumulate else 1)
    return max(many // part, 1) * part
