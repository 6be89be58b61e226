"""What an epoch costs when the features of a frozen backbone are computed once.

    python benchmarks/frozen_features.py [--data-root ../shared/data] [--epochs 4]

MobileNetV2 with the given ImageNet weights, its backbone frozen, on photos of ants and bees at 224 pixels without
augmentation: the same run with and without the cache, in one process. Printed are the seconds of an epoch's updates
(medians, the first epoch, which compiles, left out), their ratio, and both test accuracies. The last run is the one of
the README: whole, timed, beside the baseline on the frozen features.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

from pipelines import run
from pipelines.runs import Run
from pipelines.transfer import features


def epochs_of(folder: Path, settings: dict[str, Any]) -> tuple[float, float]:
    """Seconds of an epoch's updates, and the test accuracy."""
    result = run("image-classification", run_dir=str(folder), **settings)
    return statistics.median(event["seconds"] for event in Run(folder).events("epoch")[1:]), result.headline


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--epochs", type=int, default=4)
    arguments = parser.parse_args()
    photos, weights = arguments.data_root / "hymenoptera", arguments.data_root / "weights"
    settings = {
        "data": str(photos / "train"),
        "test": str(photos / "val"),
        "on_bad": "skip",
        "backbone": "MobileNetV2",
        "pretrained": str(weights / "mobilenet_v2_1.0_224_notop.weights.h5"),
        "unfreeze": "none",
        "augment": "none",
    }
    place = Path(tempfile.mkdtemp())
    cached, score = epochs_of(place / "cached", {**settings, "epochs": arguments.epochs})
    with mock.patch.object(features, "cached", lambda built, streams, *_: (built, streams)):
        plain, other = epochs_of(place / "plain", {**settings, "epochs": arguments.epochs})
    print(
        f"an epoch's updates: {cached:.4f} s with cached features, {plain:.2f} s without, {plain / cached:,.0f} times; "
        f"test accuracy {score:.4f} and {other:.4f}"
    )
    started = time.perf_counter()
    result = run("image-classification", run_dir=str(place / "whole"), epochs=20, **settings)
    seconds = time.perf_counter() - started
    baseline = result.metrics["baseline"]
    print(
        f"whole run of 20 epochs: {seconds:.0f} s, test accuracy {result.headline:.4f}; {baseline['name']} "
        f"{baseline['scores']['accuracy']['value']:.4f}"
    )
