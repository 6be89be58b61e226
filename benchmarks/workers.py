"""What the collective path costs: examples a second of two workers on this machine over those of one process, with the
same global batch.

    python benchmarks/workers.py [--backend tensorflow] [--task image-classification] [--epochs 6] [--turns 3]

The two sides alternate; each turn is a training of its own, of which only the epochs after the first are timed. On a
machine of two cores one process has both, and each worker shares them: the ratio is what is lost to messages, to
two data pipelines and to batches half as large.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def main() -> None:
    """Print the rate of each turn, and the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=["tensorflow", "jax"], default="tensorflow")
    parser.add_argument("--task", default="image-classification")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("settings", nargs="*", help="further options of sixfold run, behind --")
    asked = parser.parse_args()
    rates: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(asked.turns):
        for workers, found in rates.items():
            found.append(rate(asked, workers))
            print(f"turn {turn + 1}, {workers} worker(s): {found[-1]:,.0f} examples/s", flush=True)
    one, two = (statistics.median(found) for found in rates.values())
    print(f"two workers over one: {two / one:.2f} ({two:,.0f} against {one:,.0f} examples/s)")


def rate(asked: argparse.Namespace, workers: int) -> float:
    """Examples a second, the median of the epochs but the first."""
    from pipelines.runs import Run

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        # On TensorFlow XLA is of one device alone: without it both sides compute alike. JAX compiles always.
        words = ["run", asked.task, "--backend", asked.backend, "--epochs", asked.epochs, "--jit", "off"]
        words += ["--run-dir", path, *asked.settings]
        command = [sys.executable, "-m", "pipelines.cli", "launch", "--workers", workers, *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [*map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        return statistics.median(one["examples_per_second"] for one in Run(path).events("epoch")[1:])


if __name__ == "__main__":
    main()
