"""Images a second that each way of varying them yields, from pixels in memory.

python benchmarks/augmentation_speed.py
"""

import statistics
import time
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.stream import PARTNER, example_keys
from tasks.image_classification.config import Config
from tasks.image_classification.encoding import encode

SHAPES = ((224, 3, 32), (28, 1, 64))
WAYS: dict[str, dict[str, Any]] = {
    "none": {},
    "flip": {"augment": "flip"},
    "crop": {"augment": "crop"},
    "flip-crop": {"augment": "flip-crop"},
    "rand_augment 1": {"rand_augment": 1},
    "rand_augment 2": {"rand_augment": 2},
    "erasing 0.25": {"erasing": 0.25},
    "mixup 0.2": {"mixup": 0.2},
    "cutmix 1": {"cutmix": 1.0},
    "mixup 0.2, cutmix 1": {"mixup": 0.2, "cutmix": 1.0},
    "all of it": {"augment": "flip-crop", "rand_augment": 2, "erasing": 0.25, "mixup": 0.2, "cutmix": 1.0},
}


def rate(config: Config, size: int, channels: int, batch: int, turns: int = 12) -> float:
    """Images a second: the median of the turns but the first two."""
    pixels = np.random.default_rng(0).integers(0, 256, (batch, size, size, channels), np.uint8)
    raw = {"pixels": tf.constant(pixels), "label": tf.zeros([batch], tf.int32)}
    if config.mixup or config.cutmix:
        raw |= {PARTNER + name: column for name, column in raw.items()}
    encoder = tf.function(encode(config, {"classes": ["a", "b"]}, True), autograph=False)
    seconds = []
    for turn in range(turns):
        keys = tf.constant(example_keys(0, turn, np.arange(batch)))
        started = time.perf_counter()
        encoder(raw, keys)[0].numpy()
        seconds.append(time.perf_counter() - started)
    return batch / statistics.median(seconds[2:])


def main() -> None:
    """Print the table."""
    print(
        "| way | " + " | ".join(f"{size}x{size}x{channels}, batch {batch}" for size, channels, batch in SHAPES) + " |"
    )
    print("|---|" + "---|" * len(SHAPES))
    for name, settings in WAYS.items():
        found = []
        for size, channels, batch in SHAPES:
            color = "grey" if channels == 1 else "rgb"
            config = Config(**{"augment": "none", **settings, "image_size": size, "color": color})
            found.append(f"{rate(config, size, channels, batch):,.0f}")
        print(f"| {name} | " + " | ".join(found) + " |", flush=True)


if __name__ == "__main__":
    main()
