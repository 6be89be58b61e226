"""What `--deterministic` costs on this machine's CPU.

    python benchmarks/determinism.py [--data-root ../shared/data] [--turns 5]

The switch holds for a process, so each turn is a process: the default network on Fashion-MNIST, batch 64, cropped, some
hundred updates after a warm-up, once with and once without; printed is the median over turns of the ratio of
neighbouring turns. The same for the small dense network.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

STEPS = {"cnn": 120, "mlp": 6000}
OPTIONS = {"cnn": {"limit": 12800}, "mlp": {"backbone": "mlp", "augment": "none", "batch_size": 32}}


def child(which: str, root: str, deterministic: bool) -> None:
    """Updates a second, on standard output."""
    import saving

    options = {**OPTIONS[which], "data": f"{root}/fashion_mnist", "deterministic": deterministic}
    trainer = saving.trainer_for(options)
    from pipelines.schedules import learning_rates

    steps, started, warm = 0, 0.0, STEPS[which] // 3
    for block in trainer.train.blocks(0, trainer.total, trainer.longest):
        count = int(block[2].shape[0])
        trainer.steps.train(block, learning_rates(trainer.config, steps, count, trainer.total, 1.0))
        before, steps = steps, steps + count
        if before < warm <= steps:
            first, started = steps, time.perf_counter()
        if steps >= warm + STEPS[which]:
            break
    print((steps - first) / (time.perf_counter() - started))


def rate(which: str, root: Path, deterministic: bool) -> float:
    """Of a process of its own."""
    words = [sys.executable, __file__, "--child", which, "--data-root", str(root)]
    words += ["--deterministic"] if deterministic else []
    return float(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[-1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--child", choices=list(STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--deterministic", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, str(arguments.data_root), arguments.deterministic)
        sys.exit()
    for which in STEPS:
        pairs = [[rate(which, arguments.data_root, flag) for flag in (True, False)] for _ in range(arguments.turns)]
        ratios = [on / off for on, off in pairs]
        on, off = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(
            f"{which}: deterministic {statistics.median(ratios):.3f} of the speed without "
            f"({min(ratios):.3f} to {max(ratios):.3f}; {on:,.1f} and {off:,.1f} updates/s, {arguments.turns} turns)",
            flush=True,
        )
