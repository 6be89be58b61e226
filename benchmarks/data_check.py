"""How long `sixfold data check` takes on the 70,000 images of Fashion-MNIST, as a whole process.

python benchmarks/data_check.py [--data-root ../shared/data] [--turns 3]
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    words = [sys.executable, "-m", "pipelines.cli", "data", "check", "image-classification", "--data"]
    seconds = []
    for _ in range(arguments.turns):
        started = time.perf_counter()
        subprocess.run([*words, str(arguments.data_root / "fashion_mnist")], check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    print(f"data check of Fashion-MNIST: median {statistics.median(seconds):.2f} s of {len(seconds)}")
