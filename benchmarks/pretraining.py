"""Whether learning from unlabelled images first is worth it where labels are few: Fashion-MNIST with 1 % of its labels.

    python benchmarks/pretraining.py [cnn | mlp] [--data-root ../shared/data] [--seeds 3] [--tune] [--folder DIR]

For each seed 600 of the 60,000 training images are drawn, 60 of each class, and trained on twice with the same
settings: from scratch, and after masked pretraining on `--unlabelled` other training images, whose labels are not read.
60 of the 600 are the validation split, which chooses the epoch. Printed: the test accuracy of each run on the same
10,000 test images; the mean difference with its 95 % interval, from Student's t with seeds - 1 degrees of freedom over
the pairs.

--tune takes other seeds, and scores on 10,000 training images, none of them labelled or unlabelled above, in place of
the test images: by these the settings below were chosen.
"""

import argparse
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from pipelines import run
from pipelines.runs import Run
from pipelines.sources.idx import idx_pairs

LABELLED = 600
HELD_OUT = 10_000
SETTINGS: dict[str, Any] = {
    "batch_size": 32,
    "epochs": 60,
    "learning_rate": 3e-3,
    "augment": "crop",
    "split": "0.9,0.1,0",
    "baseline_iterations": 20,
}
NETWORKS: dict[str, dict[str, Any]] = {
    "cnn": {"backbone": "cnn", "width": 16},
    "mlp": {"backbone": "mlp", "hidden": "256,128"},
}
PRETRAINING: dict[str, dict[str, Any]] = {
    "cnn": {"pretrain_epochs": 4, "pretrain_rate": 3e-3, "pretrain_mask": 0.6},
    "mlp": {"pretrain_epochs": 30, "pretrain_rate": 2e-3, "pretrain_mask": 0.6},
}


def write_sources(root: Path, folder: Path, seed: int, unlabelled: int, *, tune: bool) -> tuple[Path, Path]:
    """labelled.npz, with the images to be scored on as its test split, and unlabelled.npz."""
    pairs = idx_pairs(root / "fashion_mnist")
    images, labels = pairs["train"]
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(images))
    chosen = np.concatenate([shuffled[labels[shuffled] == label][: LABELLED // 10] for label in range(10)])
    rest = np.setdiff1d(shuffled, chosen, assume_unique=True)
    rest = random.permutation(rest)
    held, others = rest[:HELD_OUT], rest[HELD_OUT : HELD_OUT + unlabelled]
    x_test, y_test = (images[held], labels[held]) if tune else pairs["test"]
    few, many = folder / f"labelled-{seed}.npz", folder / f"unlabelled-{seed}.npz"
    np.savez(few, x_train=images[chosen], y_train=labels[chosen], x_test=x_test, y_test=y_test)
    # An .npz must have labels: these, all alike, say nothing.
    np.savez(many, x_train=images[others], y_train=np.zeros(len(others), np.int64))
    return few, many


def accuracy(folder: Path, data: Path, seed: int, **settings: Any) -> float:
    """Of a run on the images to be scored on; one that is finished is not done again."""
    started = time.perf_counter()
    result = run("image-classification", data=str(data), seed=seed, run_dir=str(folder), **settings)
    value: float = result.metrics["scores"]["accuracy"]["value"]
    losses = [event["train"]["loss"] for event in Run(folder).events("pretraining")]
    told = f", reconstruction loss {losses[0]:.4f} to {losses[-1]:.4f}" if losses else ""
    print(f"seed {seed} {folder.name}: {value:.4f}{told} ({time.perf_counter() - started:.0f} s)", flush=True)
    return value


def interval(differences: list[float]) -> tuple[float, float, float]:
    """Mean, low and high of the 95 % interval of paired differences (Student's t)."""
    mean, count = float(np.mean(differences)), len(differences)
    half = float(stats.t.ppf(0.975, count - 1)) * float(np.std(differences, ddof=1)) / math.sqrt(count)
    return mean, mean - half, mean + half


def main() -> None:
    """Both runs of each seed, then the difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--unlabelled", type=int, default=40_000)
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--folder", type=Path, help="where the runs are kept; by default nowhere")
    parser.add_argument("network", nargs="?", choices=list(NETWORKS), default="cnn")
    arguments = parser.parse_args()
    plain, before = {**SETTINGS, **NETWORKS[arguments.network]}, PRETRAINING[arguments.network]
    print(json.dumps({**plain, **before, "unlabelled": arguments.unlabelled}))
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        pairs = []
        for seed in range(arguments.seeds) if not arguments.tune else range(100, 100 + arguments.seeds):
            few, many = write_sources(arguments.data_root, folder, seed, arguments.unlabelled, tune=arguments.tune)
            scratch = accuracy(folder / f"scratch-{seed}", few, seed, **plain)
            after = accuracy(folder / f"pretrained-{seed}", few, seed, pretrain_on=str(many), **plain, **before)
            pairs.append((scratch, after))
    scratch_mean, pretrained_mean = np.mean(pairs, axis=0)
    print(f"from scratch {scratch_mean:.4f}, pretrained {pretrained_mean:.4f}")
    if len(pairs) > 1:
        mean, low, high = interval([after - alone for alone, after in pairs])
        print(f"difference {mean:+.4f}, 95 % interval {low:+.4f} to {high:+.4f} (paired t, {len(pairs) - 1} d.f.)")


if __name__ == "__main__":
    main()
