"""How long the cheap verbs take: the median of ten fresh processes each. `python benchmarks/cli_latency.py`."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GOAL_SECONDS = 0.4
VERBS = (
    "--help",
    "tasks",
    "run --help",
    "run image-classification --help",
    "recipes image-classification",
    "config show image-classification",
    "config validate image-classification --batch-size 64",
    "config schema image-classification",
    "data check image-classification --help",
    "predict --help",
)


def seconds(verb: str) -> float:
    """Wall time of one call."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *verb.split()], check=True, capture_output=True, env=environment
    )
    return time.perf_counter() - started


def main() -> int:
    """Print a table; exit 1 where a verb misses the goal."""
    missed = False
    print(f"median of 10, in seconds; goal: under {GOAL_SECONDS}")
    for verb in VERBS:
        median = statistics.median(seconds(verb) for _ in range(10))
        missed |= median >= GOAL_SECONDS
        print(f"{median:.3f}  sixfold {verb}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
